//! librdkafka's mock cluster: a broker that breaks promises, found out without any set-up. The plans are those of the track
//! record.

use std::fs;
use std::path::Path;

use crate::onceness::Desk;

/// Replays a counterexample, and expects that property to be broken.
fn breaks(property: &str, case: &str) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../ci/track-record").join(case);
    let folder = fs::canonicalize(folder).expect(case);
    let done = Desk::new().run(&format!("replay {} mock", folder.display()));
    assert_eq!(done.code, Some(1), "{case}: {done:?}");
    let broken = format!("{property} violated (for ");
    assert!(done.stdout.lines().any(|line| line.starts_with(&broken)), "{case}: {done:?}");
}

#[test]
fn the_mock_cluster_appends_what_was_resent() {
    breaks("no-duplicate", "mock-no-dedup");
}

#[test]
fn the_mock_cluster_shows_what_was_not_committed() {
    breaks("isolation", "mock-aborted-record");
}

#[test]
fn the_mock_cluster_lets_a_zombie_commit() {
    breaks("fencing", "mock-zombie-commit");
}

#[test]
fn the_mock_cluster_forgets_positions_of_transactions() {
    breaks("position", "mock-lost-position");
}
