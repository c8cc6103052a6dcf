//! librdkafka's mock cluster: a broker that breaks promises, found out without any set-up.

use std::collections::BTreeSet;

use crate::onceness::Desk;

#[test]
fn the_mock_cluster_breaks_isolation_fencing_positions_and_deduplication() {
    let desk = Desk::new();
    let done = desk.run("certify mock --cases 60 --seed 1 --shrink-tries 0 --json");
    assert_eq!(done.code, Some(1), "{done:?}");
    let report = done.json();
    let broken: BTreeSet<&str> = report["failures"]
        .as_array()
        .expect("failures")
        .iter()
        .filter_map(|failure| failure["property"].as_str())
        .collect();
    for property in ["isolation", "fencing", "position", "no-duplicate"] {
        assert!(broken.contains(property), "{property} is not among {broken:?}");
    }
}
