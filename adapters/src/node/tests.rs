//! Nodes that need no broker: shell commands that fail in every way in which a broker can.

use std::collections::BTreeMap;
use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::time::{Duration, Instant};

use expect_test::{Expect, expect};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

use super::{Guard, Launch, Process, quoted};

const SOON: Duration = Duration::from_secs(5);

/// A shell command as a broker.
fn shell(script: &str) -> Launch {
    Launch {
        name: "launch:test".to_owned(),
        command: ["sh", "-c", script].map(str::to_owned).to_vec(),
        prepare: Vec::new(),
        templates: Vec::new(),
        folder: "/".into(),
        environment: BTreeMap::new(),
        address: "127.0.0.1:{port}".to_owned(),
        ready_within: Duration::from_millis(500),
        stop_signal: Signal::SIGTERM,
        data: None,
        pause: Duration::from_secs(1),
    }
}

/// Why it does not start, with what changes from run to run left out.
async fn refused(launch: Launch, expected: &Expect) {
    let error = Process::launch(launch, None).await.unwrap_err();
    let mut text = error.to_string();
    if let Some((before, rest)) = text.split_once("127.0.0.1:") {
        text = format!("{before}ADDRESS{}", rest.trim_start_matches(|c: char| c.is_ascii_digit()));
    }
    expected.assert_eq(&text);
}

#[tokio::test]
async fn a_missing_program_is_named() {
    let launch = Launch { command: vec!["no-such-broker".to_owned()], ..shell("") };
    refused(launch, &expect![[r#"
        failed to start launch:test: it ended with exit status: 127 (is the program 'no-such-broker' there?) before it was ready; the end of its log:
        sh: 1: exec: no-such-broker: not found"#]]).await;
}

#[tokio::test]
async fn a_missing_folder_is_named() {
    refused(Launch { folder: "/no/such/folder".into(), ..shell("") }, &expect!["failed to start launch:test: no command can be run in /no/such/folder: No such file or directory (os error 2)"]).await;
}

#[tokio::test]
async fn a_program_that_ends_at_once_is_told_with_the_end_of_its_log() {
    refused(shell("seq 1 30; echo cannot read its settings >&2; exit 3"), &expect![[r#"
        failed to start launch:test: it ended with exit status: 3 before it was ready; the end of its log:
        12
        13
        14
        15
        16
        17
        18
        19
        20
        21
        22
        23
        24
        25
        26
        27
        28
        29
        30
        cannot read its settings"#]]).await;
}

#[tokio::test]
async fn a_program_that_never_answers_is_told_with_the_end_of_its_log() {
    refused(
        shell("echo thinking; exec sleep 60"),
        &expect![[r#"
        failed to start launch:test: nothing answered at ADDRESS within 500ms; the end of its log:
        thinking"#]],
    )
    .await;
}

#[tokio::test]
async fn a_port_that_is_taken_is_named() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    refused(Launch { address, ..shell("exec sleep 60") }, &expect!["failed to start launch:test: ADDRESS is taken by another program; end that, or write {port} for a port that is free"]).await;
}

#[tokio::test]
async fn another_port_is_tried_where_the_port_was_ours_to_choose() {
    let folder = TempDir::new().unwrap();
    let tries = folder.path().join("tries");
    let script =
        format!("echo {{port}} >> {}; echo Address already in use; exit 1", tries.display());
    let error =
        Process::launch(shell(&script), Some(&folder.path().join("target.log"))).await.unwrap_err();
    assert!(error.to_string().contains("no port was free in 3 attempts"), "{error}");
    assert_eq!(fs::read_to_string(&tries).unwrap().lines().count(), 3);
}

#[tokio::test]
async fn what_prepares_it_and_fails_is_told() {
    let prepare = ["sh", "-c", "echo no disk; exit 9"].map(str::to_owned).to_vec();
    refused(
        Launch { prepare, ..shell("exec sleep 60") },
        &expect![[r#"
        failed to prepare launch:test: its command ended with exit status: 9; the end of its log:
        no disk"#]],
    )
    .await;
}

#[tokio::test]
async fn placeholders_are_filled_everywhere() {
    let folder = TempDir::new().unwrap();
    let template = folder.path().join("server.properties");
    fs::write(&template, "port={port} other={port:other} data={data} {other} ${HOME}\n").unwrap();
    let script = "cat {data}/server.properties; echo again {port} {port:other} $IT; exit 1";
    let launch = Launch {
        templates: vec![template],
        environment: [("IT".to_owned(), "{port}".to_owned())].into(),
        data: Some(folder.path().join("data")),
        ..shell(script)
    };
    let error = Process::launch(launch, Some(&folder.path().join("target.log"))).await.unwrap_err();
    let words: Vec<&str> = error.last_words.split([' ', '\n', '=']).collect();
    let [_, port, _, other, _, data, kept, home, _, again, other_again, of_environment] = words[..]
    else {
        panic!("{error}");
    };
    assert_eq!((port, other), (again, other_again));
    assert_eq!(port, of_environment);
    assert_ne!(port, other);
    assert_eq!(data, folder.path().join("data").display().to_string());
    assert_eq!((kept, home), ("{other}", "${HOME}"));
}

#[tokio::test]
async fn one_that_is_given_up_leaves_no_process_and_no_folder() {
    let folder = TempDir::new().unwrap();
    let told = folder.path().join("told");
    let script = format!("sleep 60 & echo $! {{data}} > {}; wait", told.display());
    let launch = Launch { ready_within: SOON, ..shell(&script) };
    let log = folder.path().join("target.log");
    // Dropped while it waits, as by Ctrl-C.
    let _ =
        tokio::time::timeout(Duration::from_millis(500), Process::launch(launch, Some(&log))).await;
    let told = fs::read_to_string(&told).unwrap();
    let (pid, data) = told.trim().split_once(' ').unwrap();
    assert!(!Path::new(data).exists());
    wait_until_gone(pid.parse().unwrap());
}

#[test]
fn the_last_order_is_carried_out_whatever_is_in_it() {
    let folder = TempDir::new().unwrap();
    let odd = folder.path().join("it's \"$odd\" \\");
    let guard = Guard::hire().unwrap();
    guard
        .order(&format!("touch {}", quoted(&folder.path().join("first").to_string_lossy())))
        .unwrap();
    guard.order(&format!("touch {}", quoted(&odd.to_string_lossy()))).unwrap();
    assert!(guard.order("two\nlines").is_err());
    drop(guard);
    assert!(odd.exists());
    assert!(!folder.path().join("first").exists());
}

#[test]
fn a_dismissed_guard_does_nothing() {
    let folder = TempDir::new().unwrap();
    let guard = Guard::hire().unwrap();
    guard.order(&format!("touch {}", quoted(&folder.path().join("it").to_string_lossy()))).unwrap();
    guard.dismiss().unwrap();
    drop(guard);
    assert!(!folder.path().join("it").exists());
}

/// A process that was killed may be a zombie for as long as nobody reaps it.
fn wait_until_gone(pid: i32) {
    let end = Instant::now() + SOON;
    let zombie = |pid| {
        fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| stat.contains(") Z "))
    };
    while kill(Pid::from_raw(pid), None).is_ok() && !zombie(pid) {
        assert!(Instant::now() < end, "process {pid} is left");
        std::thread::sleep(Duration::from_millis(10));
    }
}
