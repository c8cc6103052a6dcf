//! Brokers that are started here: what is said when they do not start, and an Apache Kafka that is killed and paused. Tests
//! with a Kafka read `ONCENESS_CONFIG`, a file that says how to start one (`cargo ci launch` gives it); the word is not in
//! their names, as the gate counts others by it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use crate::onceness::{Desk, Done};

/// One run with a configuration: the exit code, and what was said last.
fn said(config: &str, arguments: &str) -> (Option<i32>, String) {
    let desk = Desk::new();
    desk.write("onceness.toml", config);
    let done = desk.run(arguments);
    let told = done.stderr.lines().skip_while(|line| !line.starts_with("error"));
    (done.code, told.collect::<Vec<_>>().join("\n"))
}

#[test]
fn a_launch_that_is_not_described_is_a_mistake_of_the_user() {
    let desk = Desk::new();
    let done = desk.run("certify launch:kafka");
    assert_eq!(done.code, Some(2));
    assert!(done.stderr.contains("launch:kafka needs [launch.kafka] in onceness.toml"), "{done:?}");
    let (code, told) = said("[launch.kafka]\ncommand = ['x']", "certify launch:kafak");
    assert_eq!(code, Some(2));
    assert!(told.contains("unknown launch 'kafak'; did you mean 'kafka'?"), "{told}");
    let (code, told) = said("[launch.kafka]\nkommand = ['x']", "certify");
    assert_eq!(code, Some(2));
    assert!(told.contains("onceness.toml: line 2: unknown key 'kommand'"), "{told}");
    let done = desk.run("certify --config no-such-file.toml");
    assert_eq!(done.code, Some(2));
    assert!(done.stderr.contains("failed to read no-such-file.toml"), "{done:?}");
}

#[test]
fn a_broker_that_does_not_start_is_told_with_the_end_of_its_log() {
    let config = "[launch.x]\ncommand = ['sh', '-c', 'echo no quorum; exit 7']";
    let (code, told) = said(config, "certify launch:x");
    assert_eq!(code, Some(3));
    assert_eq!(
        told,
        "error: failed to start launch:x: it ended with exit status: 7 before it was ready; the end of its log:\nno quorum"
    );
    let config =
        "[launch.x]\ncommand = ['sh', '-c', 'echo waiting; exec sleep 60']\nready-within = '300ms'";
    let (code, told) = said(config, "plan --seed 1 launch:x");
    assert_eq!(code, Some(3));
    assert!(told.ends_with(" within 300ms; the end of its log:\nwaiting"), "{told}");
}

#[test]
fn what_a_broker_says_is_in_the_report_folder() {
    let desk = Desk::new();
    desk.write("onceness.toml", "[launch.x]\ncommand = ['sh', '-c', 'echo no quorum; exit 7']");
    desk.run("certify launch:x --out report");
    assert_eq!(desk.read("report/target.log"), "no quorum\n");
}

#[test]
fn ctrl_c_while_a_broker_starts_leaves_nothing() {
    let desk = Desk::new();
    desk.write(
        "onceness.toml",
        "[launch.x]\ncommand = ['sh', '-c', 'echo up; sleep 61 & sleep 61']",
    );
    let run = Run::start(&desk, "certify launch:x");
    run.wait_for_log("up");
    let temporary = run.temporary.clone();
    let done = run.end(Signal::SIGINT);
    assert_eq!(done.code, Some(3), "{done:?}");
    assert!(done.stderr.contains("interrupted"), "{done:?}");
    nothing_is_left(&temporary);
}

#[test]
fn a_fault_that_cannot_befall_the_target_is_refused_up_front() {
    let desk = Desk::new();
    desk.write("plan.json", &plan(r#""pause""#));
    for command in ["run", "replay", "shrink"] {
        let done = desk.run(&format!("{command} plan.json memory"));
        assert_eq!(done.code, Some(2), "{done:?}");
        let told = "the plan has the fault 'pause', which cannot befall memory";
        assert!(done.stderr.contains(told), "{done:?}");
    }
}

#[test]
fn two_faults_that_overlap_a_round_are_refused_with_their_place() {
    let desk = Desk::new();
    desk.write("plan.json", &plan(r#""kill", "pause""#));
    let done = desk.run("run plan.json");
    assert_eq!(done.code, Some(2), "{done:?}");
    let told = "field rounds[2].faults: has more than one fault that overlaps its steps";
    assert!(done.stderr.contains(told), "{done:?}");
}

/// Two producers and a few records, with these faults between and around.
fn plan(faults: &str) -> String {
    format!(
        r#"{{ "version": 1, "schedule": 0, "partitions": 1,
  "clients": [{{ "id": 0, "delivery": "idempotent" }}, {{ "id": 1, "delivery": "at_least_once" }}],
  "rounds": [
    {{ "steps": [{{ "id": 0, "client": 0, "op": "open" }}, {{ "id": 3, "client": 1, "op": "open" }}] }},
    {{ "steps": [{{ "id": 1, "client": 0, "op": {{ "send": {{ "partition": 0, "batches": [[{{ "tag": 0, "key": 0 }}]] }} }} }}] }},
    {{ "faults": [{faults}], "steps": [{{ "id": 2, "client": 0, "op": {{ "send": {{ "partition": 0, "batches": [[{{ "tag": 1, "key": 0 }}]] }} }} }}] }}
  ] }}"#
    )
}

#[test]
#[ignore = "needs a Kafka that can be started: ONCENESS_CONFIG=FILE"]
fn a_broker_that_is_killed_and_paused_is_not_accused() {
    let desk = Desk::new();
    let config = config();
    let done = desk.run(&format!(
        "certify launch:kafka --config {config} --cases 10 --seed 18 --accept KAFKA-17754 --json"
    ));
    // So few cases leave something untested, which is not green; but nothing is accused.
    assert!(matches!(done.code, Some(0 | 3)), "{done:?}");
    let summary = done.json();
    assert_eq!(summary["failures"], Value::Array(Vec::new()), "{done:?}");
    assert_eq!((&summary["cases"], &summary["silent"]), (&10.into(), &0.into()), "{done:?}");
    assert_eq!(summary["troubles"], Value::Array(Vec::new()), "{done:?}");
    for fault in ["restart", "kill", "pause"] {
        assert!(summary["faults"][fault].as_u64() > Some(0), "no {fault}: {done:?}");
    }
}

#[test]
#[ignore = "needs a Kafka that can be started: ONCENESS_CONFIG=FILE"]
fn a_broker_that_loses_its_records_at_each_start_is_caught_and_the_failure_shrunk() {
    let desk = Desk::new();
    wrapped(&desk, "rm -f {data}/log/onceness-*/0*");
    desk.write("plan.json", &plan(r#""restart""#));
    // As many tries as it takes, however busy the machine is; what is left shrinks no further.
    let done = desk.run("shrink plan.json launch:kafka --shrink-tries 10 --shrink-time 3m --json");
    assert_eq!(done.code, Some(1), "{done:?}");
    let lost = done.json();
    assert_eq!(lost["property"], "no-loss", "{done:?}");
    assert_eq!(lost["steps_original"], 5, "{done:?}");
    // Starts, sends, and the restart.
    assert_eq!(lost["steps"], 3, "{done:?}");
}

#[test]
#[ignore = "needs a Kafka that can be started: ONCENESS_CONFIG=FILE"]
fn a_broker_that_does_not_come_back_ends_the_run_with_what_it_said() {
    let desk = Desk::new();
    wrapped(&desk, "test -e {data}/once && echo my disk is gone && exit 1; touch {data}/once");
    let done = desk.run("certify launch:kafka --cases 100 --seed 3 --accept KAFKA-17754 --json");
    assert_eq!(done.code, Some(3), "{done:?}");
    let summary = done.json();
    assert_eq!(summary["ended"], "target_gone", "{done:?}");
    let said = summary["last_error"].as_str().expect("an error");
    assert!(said.contains("failed to start launch:kafka: it ended with exit status: 1"), "{said}");
    assert!(said.ends_with("my disk is gone"), "{said}");
}

#[test]
#[ignore = "needs a Kafka that can be started: ONCENESS_CONFIG=FILE"]
fn a_killed_rig_leaves_no_broker() {
    let desk = Desk::new();
    let run = Run::start(&desk, &format!("certify launch:kafka --config {}", config()));
    run.wait_for_cases();
    let temporary = run.temporary.clone();
    run.end(Signal::SIGKILL);
    nothing_is_left(&temporary);
}

#[test]
#[ignore = "needs a Kafka that can be started: ONCENESS_CONFIG=FILE"]
fn an_interrupted_rig_reports_and_leaves_no_broker() {
    let desk = Desk::new();
    // Its cases are drawn anew each time, and may well meet the protocol's own weakness.
    let run = Run::start(
        &desk,
        &format!("certify launch:kafka --config {} --accept KAFKA-17754 --json", config()),
    );
    run.wait_for_cases();
    let temporary = run.temporary.clone();
    let done = run.end(Signal::SIGINT);
    assert_eq!(done.code, Some(3), "{done:?}");
    assert_eq!(done.json()["ended"], "interrupted");
    assert_eq!(done.json()["troubles"], Value::Array(Vec::new()));
    assert!(!desk.path().join("onceness-report/running").exists());
    nothing_is_left(&temporary);
}

fn config() -> String {
    std::env::var("ONCENESS_CONFIG").expect("ONCENESS_CONFIG=FILE")
}

/// The same Kafka, but something happens before each start.
fn wrapped(desk: &Desk, script: &str) {
    let text = fs::read_to_string(config()).expect("a configuration");
    let shell = format!(r#"command = ["sh", "-c", "{script}; exec \"$@\"", "sh", "#);
    desk.write("onceness.toml", &text.replace("command = [", &shell));
}

/// A run whose temporary folders are its own.
struct Run {
    child: Child,
    temporary: PathBuf,
    report: PathBuf,
}

impl Run {
    fn start(desk: &Desk, arguments: &str) -> Run {
        let temporary = desk.path().join("temporary");
        fs::create_dir(&temporary).expect("a folder for a test");
        let mut command: Command = desk.command(arguments);
        // Nobody reads what is told while it runs.
        command.env("TMPDIR", &temporary).stdin(Stdio::null());
        let child = command.spawn().expect("the binary starts");
        Run { child, temporary, report: desk.path().join("onceness-report") }
    }

    fn wait_for_log(&self, word: &str) {
        let log = self.report.join("target.log");
        wait(|| fs::read_to_string(&log).is_ok_and(|text| text.contains(word)), word);
    }

    /// Until plans are kept because they run.
    fn wait_for_cases(&self) {
        wait(|| self.report.join("running").exists(), "cases run");
    }

    fn end(self, signal: Signal) -> Done {
        kill(Pid::from_raw(self.child.id().cast_signed()), signal).expect("the binary runs");
        let output = self.child.wait_with_output().expect("the binary ends");
        Done {
            code: output.status.code(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

/// At the latest after a moment there is no folder of the run, and no process that was told of one.
fn nothing_is_left(temporary: &Path) {
    wait(
        || {
            let folders = fs::read_dir(temporary).expect("a folder for a test").count();
            folders == 0 && processes(temporary).is_empty()
        },
        "nothing is left",
    );
}

fn processes(temporary: &Path) -> Vec<String> {
    let temporary = temporary.display().to_string();
    let entries = fs::read_dir("/proc").expect("this test needs /proc").flatten();
    let told = entries.filter_map(|entry| {
        let bytes = fs::read(entry.path().join("environ")).ok()?;
        let text = String::from_utf8_lossy(&bytes).into_owned();
        text.contains(&temporary).then(|| entry.path().display().to_string())
    });
    told.collect()
}

fn wait(until: impl Fn() -> bool, what: &str) {
    let end = Instant::now() + Duration::from_secs(60);
    while !until() {
        assert!(Instant::now() < end, "not so after a minute: {what}");
        sleep(Duration::from_millis(20));
    }
}
