//! `selftest`: what the suite finds of its own zoo, and the page that says so.

use std::collections::BTreeSet;
use std::fs;
use std::io::Read as _;
use std::path::Path;
use std::thread::sleep;
use std::time::Duration;

use expect_test::expect;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use onceness::selftest::{SelfTestOptions, Standing, selftest, unsearched};
use onceness::{Exit, Rig};
use onceness_reference::defects::{self, Culprit, Defect};
use onceness_reference::rules::Rules;

use crate::onceness::Desk;

/// The page may be older than the last change of the generator, but not than the last change of the catalogue.
#[test]
fn the_page_tells_of_every_defect_that_it_is_found() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../ci/detection.md");
    let page = fs::read_to_string(page).expect("onceness selftest --seed 1 --page ci/detection.md");
    let rows: Vec<Vec<&str>> = page
        .lines()
        .filter(|line| line.starts_with("| `"))
        .map(|line| line.split('|').map(str::trim).collect())
        .collect();
    let told: Vec<(&str, &str, &str)> =
        rows.iter().map(|row| (row[1].trim_matches('`'), row[2], row[3])).collect();
    let verdict = |defect| unsearched(defect).unwrap_or("found");
    let (left_out, searched): (Vec<&Defect>, Vec<&Defect>) =
        defects::all().partition(|defect| unsearched(defect).is_some());
    let all = searched.iter().chain(&left_out).copied();
    let all = all.map(|defect| (defect.name, defect.summary, verdict(defect)));
    assert_eq!(told, all.collect::<Vec<_>>());
    for (row, defect) in rows.iter().zip(searched) {
        let owned = defect.breaks.iter().any(|property| row[4].contains(property));
        assert!(owned, "{} is found by {}", defect.name, row[4]);
    }
    for broker in Rules::permitted() {
        let acquitted = |line: &str| {
            line.starts_with(&format!("| {} |", broker.name)) && line.ends_with("| 0 |")
        };
        assert!(page.lines().any(acquitted), "{}", broker.name);
    }
}

#[test]
fn only_what_is_asked_for_is_tested_and_told() {
    let done = Desk::new().run("selftest --only torn-commit,no-dedup --seed 1 --repeats 3 --json");
    assert_eq!(done.code, Some(0), "{done:?}");
    let test = done.json();
    let names: Vec<&str> = test["defects"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|one| one["defect"].as_str().expect("a name"))
        .collect();
    assert_eq!(names, ["no-dedup", "torn-commit"]);
    assert_eq!(test["correct"].as_array().map(Vec::len), Some(0));
    let first = &test["defects"][0];
    assert_eq!(
        (&first["verdict"], first["hits"].as_array().map(Vec::len)),
        (&"found".into(), Some(3))
    );
    // The seed of a hit is enough to have it again.
    let (seed, cases) = (&first["hits"][2]["seed"], &first["hits"][2]["cases"]);
    let again = format!("certify memory:no-dedup --seed {seed} --cases {cases} --shrink-tries 0");
    assert_eq!(Desk::new().run(&again).code, Some(1));
}

#[test]
fn the_same_seed_gives_the_same_page_on_any_number_of_cores() {
    let page = |jobs: u32| {
        let desk = Desk::new();
        let done = desk.run(&format!(
            "selftest --seed 3 --repeats 1 --correct-cases 401 --jobs {jobs} --page kept/page.md"
        ));
        assert_eq!(done.code, Some(0), "{done:?}");
        desk.read("kept/page.md")
    };
    let one = page(1);
    assert_eq!(one, page(3));
    let brokers: BTreeSet<&str> = defects::all().map(|defect| defect.name).collect();
    assert!(brokers.iter().all(|name| one.contains(&format!("| `{name}` |"))), "{one}");
    // One of seven brokers, with its share of what cannot be divided.
    assert!(one.contains("| 58 | 0 |"), "{one}");
}

/// One case is too few for a defect that shows only after restarts.
#[test]
fn a_defect_that_is_missed_fails_the_run() {
    let done = Desk::new().run("selftest --only positions-lost-on-restart --seed 1 --cases 1");
    assert_eq!(done.code, Some(1), "{done:?}");
    assert!(done.stdout.ends_with("missed: positions-lost-on-restart\n"), "{done:?}");
}

/// A broker that the catalogue calls wrong and that is right: nothing is found, and that is said.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_there_is_not_found() {
    const HARMLESS: Defect = Defect {
        name: "harmless",
        summary: "nothing",
        copies: "nothing",
        breaks: &["no-loss"],
        needs: None,
        culprit: Culprit::Broker(Rules::default),
    };
    static ZOO: [Defect; 1] = [HARMLESS];
    let options = SelfTestOptions {
        seed: 1,
        defects: vec![&ZOO[0]],
        left_out: Vec::new(),
        repeats: 2,
        cases: 500,
        correct_cases: 0,
        jobs: 1,
    };
    let test = selftest(&options, &Rig::default()).await;
    assert_eq!(test.detections[0].standing(), Standing::Missed);
    assert_eq!((test.detections[0].missed, test.exit()), (2, Exit::Violated));
}

#[test]
fn what_is_typed_wrongly_is_refused() {
    let refused = |arguments: &str| {
        let done = Desk::new().run(arguments);
        assert_eq!(done.code, Some(2), "{done:?}");
        done.stderr.lines().next().unwrap_or_default().to_owned()
    };
    expect!["error: invalid value 'no-dedup,torn-comit' for '--only <NAMES>': unknown defect 'torn-comit'; did you mean 'torn-commit'?"].assert_eq(&refused("selftest --only no-dedup,torn-comit"));
    expect!["error: invalid value ',' for '--only <NAMES>': no defect is named; `onceness defects` lists all"].assert_eq(&refused("selftest --only ,"));
    expect!["error: invalid value '0' for '--cases <N>': 0 is not in 1..18446744073709551615"]
        .assert_eq(&refused("selftest --cases 0"));
    expect!["error: the argument '--only <NAMES>' cannot be used with '--page <FILE>'"]
        .assert_eq(&refused("selftest --only no-dedup --page page.md"));
    expect!["error: failed to write /proc/nowhere: No such file or directory (os error 2)"]
        .assert_eq(&refused("selftest --page /proc/nowhere/page.md"));
}

#[test]
fn ctrl_c_ends_it_with_what_was_found_and_no_page() {
    let desk = Desk::new();
    let mut child = desk
        .command("selftest --seed 1 --repeats 1000000 --json --page page.md")
        .spawn()
        .expect("the binary starts");
    let mut told = [0; 10];
    let mut stderr = child.stderr.take().expect("piped");
    stderr.read_exact(&mut told).expect("something is told");
    sleep(Duration::from_millis(300));
    kill(Pid::from_raw(child.id().cast_signed()), Signal::SIGINT).expect("the binary runs");
    let output = child.wait_with_output().expect("the binary ends");
    assert_eq!(output.status.code(), Some(3));
    let test: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(test["interrupted"], true);
    let searched = defects::all().filter(|defect| unsearched(defect).is_none());
    assert_eq!(test["defects"].as_array().map(Vec::len), Some(searched.count()));
    assert!(!desk.path().join("page.md").exists());
}
