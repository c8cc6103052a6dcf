//! The promise of the gate: whatever happens to it, no broker and no folder stays.
//!
//! These tests start brokers of their own, so plain `cargo test` leaves them out. The names of those with an Apache Kafka
//! avoid the word, as the gate counts tests by it; those with a kfake or a Nisshi have it in theirs, as the gate leaves
//! them out too.

#![allow(clippy::unwrap_used)]

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// A gate that lends a broker to a command which prints the address and then waits.
struct Gate {
    process: Child,
    broker: String,
    temporary: tempfile::TempDir,
}

impl Gate {
    fn lending(broker: &str, script: &str) -> Gate {
        let temporary = tempfile::tempdir().unwrap();
        let mut process = Command::new(env!("CARGO_BIN_EXE_onceness-ci"))
            .args([broker, "--", "sh", "-c", script])
            .env("TMPDIR", temporary.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut broker = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut broker).unwrap();
        Gate { process, broker: broker.trim().to_owned(), temporary }
    }

    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.process.id() as i32), signal).unwrap();
    }

    /// Waits for the end of the gate; then nothing may listen and no folder be left, at the latest after a moment.
    fn ends_without_trace(mut self) -> Option<i32> {
        let code = self.process.wait().unwrap().code();
        let deadline = Instant::now() + Duration::from_secs(10);
        while TcpStream::connect(&self.broker).is_ok() || !entries(self.temporary.path()).is_empty()
        {
            assert!(
                Instant::now() < deadline,
                "{} or {:?} is left",
                self.broker,
                entries(self.temporary.path())
            );
            thread::sleep(Duration::from_millis(20));
        }
        code
    }
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect()
}

#[test]
#[ignore = "starts a broker"]
fn a_failing_command_leaves_nothing_and_its_exit_code() {
    let gate = Gate::lending("kafka", "echo {}; test $ONCENESS_KAFKA = {} && exit 7");
    assert_eq!(gate.ends_without_trace(), Some(7));
}

#[test]
#[ignore = "starts a broker"]
fn a_terminated_gate_leaves_nothing() {
    let gate = Gate::lending("kafka", "echo {}; exec sleep 60");
    TcpStream::connect(&gate.broker).unwrap();
    gate.signal(Signal::SIGTERM);
    assert_eq!(gate.ends_without_trace(), Some(128 + 15));
}

#[test]
#[ignore = "starts a broker"]
fn a_killed_gate_leaves_nothing() {
    let gate = Gate::lending("kafka", "echo {}; exec sleep 60");
    TcpStream::connect(&gate.broker).unwrap();
    gate.signal(Signal::SIGKILL);
    assert_eq!(gate.ends_without_trace(), None);
}

#[test]
#[ignore = "starts a broker, and builds it with Go"]
fn a_failing_command_leaves_no_kfake() {
    let gate = Gate::lending("kfake", "echo {}; test $ONCENESS_KAFKA = {} && exit 7");
    assert_eq!(gate.ends_without_trace(), Some(7));
}

#[test]
#[ignore = "starts a broker, and builds it with Go"]
fn a_terminated_gate_leaves_no_kfake() {
    let gate = Gate::lending("kfake", "echo {}; exec sleep 60");
    TcpStream::connect(&gate.broker).unwrap();
    gate.signal(Signal::SIGTERM);
    assert_eq!(gate.ends_without_trace(), Some(128 + 15));
}

#[test]
#[ignore = "starts a broker, and builds it with Go"]
fn a_killed_gate_leaves_no_kfake() {
    let gate = Gate::lending("kfake", "echo {}; exec sleep 60");
    TcpStream::connect(&gate.broker).unwrap();
    gate.signal(Signal::SIGKILL);
    assert_eq!(gate.ends_without_trace(), None);
}

#[test]
#[ignore = "starts a broker, and builds it with Cargo for minutes"]
fn a_killed_gate_leaves_no_nisshi() {
    let gate = Gate::lending("nisshi", "echo {}; exec sleep 60");
    TcpStream::connect(&gate.broker).unwrap();
    gate.signal(Signal::SIGKILL);
    assert_eq!(gate.ends_without_trace(), None);
}
