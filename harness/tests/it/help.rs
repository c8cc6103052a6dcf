//! The help, as it is printed: a change of it is a change of what we promise.

use expect_test::{ExpectFile, expect_file};

use crate::onceness::Desk;

fn check(arguments: &str, expected: ExpectFile) {
    let done = Desk::new().run(arguments);
    assert_eq!(done.code, Some(0), "{done:?}");
    expected.assert_eq(&done.stdout);
}

#[test]
fn help_is_as_it_was() {
    check("--help", expect_file!["help/onceness.txt"]);
    check("certify --help", expect_file!["help/certify.txt"]);
    check("run --help", expect_file!["help/run.txt"]);
    check("replay --help", expect_file!["help/replay.txt"]);
    check("shrink --help", expect_file!["help/shrink.txt"]);
    check("check --help", expect_file!["help/check.txt"]);
    check("price --help", expect_file!["help/price.txt"]);
    check("selftest --help", expect_file!["help/selftest.txt"]);
    check("plan --help", expect_file!["help/plan.txt"]);
    check("proxy --help", expect_file!["help/proxy.txt"]);
    check("serve --help", expect_file!["help/serve.txt"]);
    check("clauses --help", expect_file!["help/clauses.txt"]);
}

#[test]
fn the_catalogues_are_listed_for_people_and_programs() {
    let desk = Desk::new();
    for list in ["properties", "defects"] {
        let text = desk.run(list);
        let json = desk.run(&format!("{list} --json")).json();
        let entries = json.as_array().expect("a list");
        assert!(!entries.is_empty());
        for entry in entries {
            let name = entry["name"].as_str().expect("a name");
            assert!(text.stdout.contains(name), "{name}");
        }
    }
}

#[test]
fn the_clauses_are_listed_for_people_and_programs() {
    check("clauses", expect_file!["catalogue/clauses.txt"]);
    let desk = Desk::new();
    let text = desk.run("clauses").stdout;
    let json = desk.run("clauses --json").json();
    let clauses = json.as_array().expect("a list");
    for clause in clauses {
        let id = clause["id"].as_str().expect("an id");
        assert!(text.contains(&format!("{id}  ")), "{id}");
        let judged = clause["state"].as_str().expect("a state").starts_with("judged");
        let judges = clause["judged_by"].as_array().expect("a list");
        assert_eq!(judged, !judges.is_empty(), "{clause}");
    }
    let counts = text.lines().last().expect("a last line");
    assert!(counts.starts_with(&format!("{} clauses: ", clauses.len())), "{counts}");
    let readme = concat!(env!("CARGO_MANIFEST_DIR"), "/../README.md");
    let readme = std::fs::read_to_string(readme).expect("the README");
    assert!(readme.replace('\n', " ").contains(counts), "the README counts otherwise");
}
