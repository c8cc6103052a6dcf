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
