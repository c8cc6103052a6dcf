//! The counterexamples in `ci/track-record`: plans that anybody can run again.

use std::fs;
use std::path::{Path, PathBuf};

use onceness::case;

use crate::onceness::Desk;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../ci/track-record")
}

fn cases() -> Vec<PathBuf> {
    let entries = fs::read_dir(folder()).expect("the track record");
    let paths = entries.map(|entry| entry.expect("an entry").path());
    let mut cases: Vec<PathBuf> = paths.filter(|path| path.is_dir()).collect();
    cases.sort();
    cases
}

#[test]
fn every_counterexample_is_a_plan_that_means_something() {
    assert!(!cases().is_empty());
    for path in cases() {
        let loaded = case::load(&path).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(loaded.plan.check(), Ok(()), "{}", path.display());
        assert!(path.join("report.txt").exists(), "{}", path.display());
    }
}

/// The broker may be far away, but what was seen on it is here, and still has to be judged as it was.
#[test]
fn every_history_breaks_the_property_that_its_report_names() {
    for path in cases() {
        let report = fs::read_to_string(path.join("report.txt")).expect("a report");
        let (title, _) = report.split_once(" violated").expect("a title");
        let property = title.rsplit(' ').next().expect("a property");
        let history = path.join("history.jsonl");
        let done = Desk::new().run(&format!("check {}", history.display()));
        assert_eq!(done.code, Some(1), "{}: {done:?}", path.display());
        let broken = |line: &str| line.starts_with(property) && line.contains(" violated (for ");
        assert!(done.stdout.lines().any(broken), "{property} in {}: {done:?}", path.display());
    }
}

#[test]
fn the_page_tells_of_every_counterexample_and_of_no_other() {
    let page = fs::read_to_string(folder().join("README.md")).expect("the page");
    let names = cases()
        .into_iter()
        .map(|path| path.file_name().expect("a name").to_string_lossy().into_owned());
    let mut names: Vec<String> = names.collect();
    for name in &names {
        assert!(page.contains(&format!("ci/track-record/{name} ")), "no command for {name}");
    }
    let told = page.split("ci/track-record/").skip(1);
    let told = told.filter_map(|rest| rest.split([' ', '`', ')', '/', '\n']).next());
    let told = told.filter(|name| !name.is_empty() && !name.contains('.') && !name.contains('<'));
    names.push("README.md".to_owned());
    for name in told {
        assert!(names.iter().any(|known| known == name), "{name} is told and not there");
    }
}
