//! Ctrl-C once: stop, clean up, report what was done. Twice: abort.

use std::io::Read as _;
use std::thread::sleep;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::onceness::Desk;

#[test]
fn ctrl_c_ends_a_run_with_a_report() {
    let desk = Desk::new();
    let mut child = desk
        .command("certify --seed 1 --time 60s --json --claims at-most-once")
        .spawn()
        .expect("the binary starts");
    // Waits until cases run: what is told first is told just before.
    let mut told = [0; 10];
    let mut stderr = child.stderr.take().expect("piped");
    stderr.read_exact(&mut told).expect("something is told");
    sleep(Duration::from_millis(300));
    let process = Pid::from_raw(child.id().cast_signed());
    kill(process, Signal::SIGINT).expect("the binary runs");
    let output = child.wait_with_output().expect("the binary ends");
    assert_eq!(output.status.code(), Some(3));
    let summary: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(summary["ended"], "interrupted");
    assert!(summary["cases"].as_u64() > Some(0));
    assert_eq!(desk.read("onceness-report/summary.json"), String::from_utf8_lossy(&output.stdout));
}
