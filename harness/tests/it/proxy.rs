//! `onceness proxy`, as people start it: beside a cluster that is there, or not.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, ChildStdout};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::onceness::Desk;

/// A proxy that runs.
pub(crate) struct Running {
    child: Child,
    stdout: BufReader<ChildStdout>,
    /// Where it listens.
    pub(crate) address: String,
}

/// What it printed in the end, and how it exited.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
}

impl Running {
    pub(crate) fn start(desk: &Desk, arguments: &str) -> Running {
        let mut child = desk
            .command(&format!("proxy --listen 127.0.0.1:0 {arguments}"))
            .spawn()
            .expect("the binary starts");
        let mut stdout = BufReader::new(child.stdout.take().expect("piped"));
        let mut first = String::new();
        stdout.read_line(&mut first).expect("it says where it listens");
        let address = first.strip_prefix("listening on ").and_then(|rest| rest.split(' ').next());
        let address = address.unwrap_or_else(|| panic!("{first}")).to_owned();
        Running { child, stdout, address }
    }

    /// The next line that it prints.
    pub(crate) fn line(&mut self) -> String {
        let mut line = String::new();
        self.stdout.read_line(&mut line).expect("it prints text");
        line
    }

    pub(crate) fn interrupt(mut self) -> Ended {
        let process = Pid::from_raw(self.child.id().cast_signed());
        kill(process, Signal::SIGINT).expect("the binary runs");
        let mut stdout = String::new();
        self.stdout.read_to_string(&mut stdout).expect("it prints text");
        let code = self.child.wait().expect("the binary ends").code();
        Ended { code, stdout }
    }
}

impl Drop for Running {
    /// A test that fails leaves nothing that runs.
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_proxy_without_a_cluster_says_so_and_goes_on() {
    let desk = Desk::new();
    desk.write("faults.toml", "[[rule]]\napi = 'EndTxn'\nfate = 'reply-lost'\nevery = 10\n");
    // Port 1 is nobody's.
    let mut proxy = Running::start(&desk, "--to 127.0.0.1:1 --plan faults.toml --seed 1");
    for connection in 1..=2 {
        let mut client = TcpStream::connect(&proxy.address).expect("it listens");
        let _ = client.write_all(b"half");
        assert_eq!(client.read(&mut [0]).unwrap_or(0), 0, "the connection ends");
        let line = proxy.line();
        let told = format!("#{connection}    closed: failed to reach 127.0.0.1:1: ");
        assert!(line.contains(&told), "{line}");
    }
    let ended = proxy.interrupt();
    assert_eq!(ended.code, Some(0), "{ended:?}");
    expect_test::expect![[r#"

        0 requests
        1 rule
          EndTxn reply-lost, every 10: never applied: no such request came
        2 connections closed over a fault
    "#]]
    .assert_eq(&ended.stdout);
}

#[test]
fn what_a_proxy_cannot_do_is_said_before_it_starts() {
    let check = |arguments: &str, expected: &str| {
        let desk = Desk::new();
        desk.write("faults.toml", "[[rule]]\napi = 'Produce'\nfate = 'bussy'\nnth = 1\n");
        let done = desk.run(arguments);
        assert_eq!(done.code, Some(2), "{done:?}");
        assert!(done.stderr.contains(expected), "{done:?}");
    };
    check(
        "proxy --to localhost",
        "'localhost' has no port; an address is HOST:PORT, such as localhost:9092",
    );
    check(
        "proxy --to localhost:9092 --plan faults.toml",
        "error: failed to read faults.toml: line 3: unknown fate 'bussy'; did you mean 'busy'?",
    );
    check("proxy --to localhost:9092 --plan nothing.toml", "error: failed to read nothing.toml: ");
    check("proxy", "--to <HOST:PORT>");
    let taken = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
    let taken = taken.local_addr().expect("it is bound");
    check(
        &format!("proxy --to localhost:9092 --listen {taken}"),
        &format!("error: listening to {taken}: Address already in use"),
    );
}
