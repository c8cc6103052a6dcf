//! `onceness serve`, as people start it: certified when it is right, caught when it is wrong, and not brought down by idle
//! connections or slow readers.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::process::Child;
use std::time::{Duration, Instant};

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use onceness_reference::defects;
use rdkafka::ClientConfig;
use rdkafka::producer::{FutureProducer, FutureRecord};

use crate::onceness::Desk;

/// A broker that runs.
struct Broker {
    child: Child,
    /// What it said first.
    said: String,
    address: String,
}

impl Broker {
    fn start(desk: &Desk, arguments: &str) -> Broker {
        let command = format!("serve --listen 127.0.0.1:0 {arguments}");
        let mut child = desk.command(&command).spawn().expect("the binary starts");
        let mut said = String::new();
        let mut stdout = BufReader::new(child.stdout.take().expect("piped"));
        stdout.read_line(&mut said).expect("it says where it listens");
        let address = said.strip_prefix("listening on ").and_then(|rest| rest.split(' ').next());
        let address = address.unwrap_or_else(|| panic!("{said}")).to_owned();
        child.stdout = Some(stdout.into_inner());
        Broker { child, said, address }
    }

    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id().cast_signed()), signal).expect("the binary runs");
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(&self.address).expect("it listens");
        stream.set_read_timeout(Some(Duration::from_secs(20))).expect("a socket");
        stream
    }

    /// What it holds in memory, in bytes.
    fn memory(&self) -> usize {
        let status = format!("/proc/{}/status", self.child.id());
        let status = std::fs::read_to_string(status).expect("the binary runs");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a size");
        let kilobytes = line.trim().trim_end_matches(" kB");
        kilobytes.parse::<usize>().expect("a number") << 10
    }
}

impl Drop for Broker {
    /// A test that fails leaves nothing that runs.
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_broker_that_is_right_is_certified() {
    let desk = Desk::new();
    let broker = Broker::start(&desk, "");
    let command = "--cases 1000 --seed 1 --accept KAFKA-17754 --json";
    let done = desk.run(&format!("certify kafka://{} {command}", broker.address));
    assert_eq!(done.code, Some(0), "{done:?}");
    assert_eq!(done.json()["cases"], 1000);
}

#[test]
fn brokers_that_are_wrong_are_caught_as_in_memory() {
    let desk = Desk::new();
    for name in [
        "no-dedup",
        "aborted-list-empty",
        "damaged-long-batch",
        "torn-commit",
        "stale-epoch-accepted",
        "replaced-member-accepted",
        "position-one-ahead",
        "late-end-txn",
    ] {
        let broker = Broker::start(&desk, &format!("--defect {name}"));
        let command = "--cases 1000 --seed 1 --accept KAFKA-17754 --fail-fast --shrink-tries 0";
        let done = desk.run(&format!("certify kafka://{} {command}", broker.address));
        assert_eq!(done.code, Some(1), "{name}: {done:?}");
        // Which case is first is a matter of chance, and with it which of the broken properties.
        let breaks = defects::find(name).expect("a defect").breaks;
        let violated = |property: &&str| done.stdout.contains(&format!("{property} violated"));
        assert!(breaks.iter().chain(&["answers"]).any(violated), "{name}: {done:?}");
    }
}

/// The same broker, right, and each time somebody wrong who uses it.
#[test]
fn clients_and_applications_that_are_wrong_are_caught_on_a_broker_that_is_right() {
    let desk = Desk::new();
    let broker = Broker::start(&desk, "");
    let wrong = defects::all().filter(|defect| !defect.is_of_broker());
    for defect in wrong {
        let name = defect.name;
        let command = "--cases 3000 --seed 1 --accept KAFKA-17754 --fail-fast --shrink-tries 0";
        let target = format!("kafka://{}?defect={name}", broker.address);
        let done = desk.run(&format!("certify {target} {command}"));
        assert_eq!(done.code, Some(1), "{name}: {done:?}");
        let violated = |property: &&str| done.stdout.contains(&format!("{property} violated"));
        assert!(defect.breaks.iter().any(violated), "{name}: {done:?}");
    }
}

#[test]
fn it_says_what_it_is_and_ends_by_ctrl_c() {
    let desk = Desk::new();
    let mut broker = Broker::start(&desk, "--defect no-dedup");
    let expected = format!(
        "listening on {} as a broker in which a resent batch is appended again\n",
        broker.address
    );
    assert_eq!(broker.said, expected);
    let mut idle = broker.connect();
    broker.signal(Signal::SIGINT);
    assert_eq!(broker.child.wait().expect("it ends").code(), Some(0));
    assert_eq!(idle.read(&mut [0]).unwrap_or(0), 0, "its connections end");
}

#[test]
fn a_signal_kills_the_broker_inside_and_starts_it_again() {
    let desk = Desk::new();
    let mut broker = Broker::start(&desk, "");
    let mut client = broker.connect();
    broker.signal(Signal::SIGUSR1);
    assert_eq!(client.read(&mut [0]).unwrap_or(0), 0, "its connections end");
    let mut told = [0; 10];
    broker.child.stdout.as_mut().expect("piped").read_exact(&mut told).expect("it says so");
    assert_eq!(&told, b"restarted\n");
    assert!(lives(&broker));
}

#[test]
fn a_broker_with_a_journal_is_killed_and_started_again_without_a_loss() {
    let desk = Desk::new();
    let send = |broker: &Broker, payload: &str| {
        let mut config = ClientConfig::new();
        let producer: FutureProducer =
            config.set("bootstrap.servers", &broker.address).create().expect("a client");
        let record = FutureRecord::<(), _>::to("t").partition(0).payload(payload);
        let sent = producer.send(record, Duration::from_secs(20));
        futures::executor::block_on(sent).expect("it is acknowledged").offset
    };
    for round in 0..3 {
        let broker = Broker::start(&desk, "--journal journal");
        assert_eq!(send(&broker, "one more"), round);
        broker.signal(Signal::SIGKILL);
    }
    let other = desk.run("serve --journal journal --defect torn-commit --listen 127.0.0.1:0");
    assert_eq!(other.code, Some(2), "{other:?}");
    let expected = "error: opening the journal to journal: it was written by a broker with another";
    assert!(other.stderr.contains(expected), "{other:?}");
}

#[test]
fn a_launched_broker_that_forgets_what_it_acknowledged_is_caught() {
    let desk = Desk::new();
    let serve = env!("CARGO_BIN_EXE_onceness");
    let launch = |name: &str, more: &str| {
        format!(
            "[launch.{name}]\npause = '1s'\ncommand = ['{serve}', 'serve', '--listen', \
             '127.0.0.1:{{port}}', '--journal', '{{data}}/journal'{more}]\n"
        )
    };
    let wrong = launch("wrong", ", '--defect', 'ack-before-durable'");
    desk.write("onceness.toml", &(launch("right", "") + &wrong));
    let command =
        "--seed 1 --shrink-tries 0 --accept KAFKA-17754 --claims at-least-once,idempotent";
    let done = desk.run(&format!("certify launch:right --cases 12 {command}"));
    // So few cases may leave something untested; but nothing is accused.
    assert!(matches!(done.code, Some(0 | 3)), "{done:?}");
    assert!(!done.stdout.contains("violated"), "{done:?}");
    let done = desk.run(&format!("certify launch:wrong --cases 100 --fail-fast {command}"));
    assert_eq!(done.code, Some(1), "{done:?}");
    assert!(done.stdout.contains("no-loss violated"), "{done:?}");
}

#[test]
fn what_cannot_be_served_is_said_before_it_starts() {
    let check = |arguments: &str, expected: &str| {
        let done = Desk::new().run(arguments);
        assert_eq!(done.code, Some(2), "{done:?}");
        assert!(done.stderr.contains(expected), "{done:?}");
    };
    check("serve --defect no-dedupe", "unknown defect 'no-dedupe'; did you mean 'no-dedup'?");
    check(
        "serve --defect rewind-forgotten",
        "'rewind-forgotten' is a defect of the application; drive the broker by kafka://…?defect=rewind-forgotten",
    );
    check("serve --defect xyzzy", "unknown defect 'xyzzy'; known: ack-before-durable, ");
    check("serve --listen nowhere", "error: listening to nowhere: ");
    let desk = Desk::new();
    let broker = Broker::start(&desk, "");
    check(&format!("serve --listen {}", broker.address), "Address already in use");
}

#[test]
fn a_thousand_idle_connections_cost_little_and_hold_up_nobody() {
    // This side needs as many open files.
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE).expect("a limit");
    setrlimit(Resource::RLIMIT_NOFILE, most, most).expect("it is raised to what is allowed");
    let desk = Desk::new();
    let broker = Broker::start(&desk, "");
    assert!(lives(&broker));
    let before = broker.memory();
    let mut idle: Vec<TcpStream> = (0..1_000).map(|_| broker.connect()).collect();
    for stream in &mut idle {
        // Half of a length.
        stream.write_all(&[0, 0]).expect("it is taken");
    }
    assert!(lives(&broker));
    let cost = broker.memory().saturating_sub(before);
    assert!(cost < 32 << 20, "{cost} bytes");
}

#[test]
fn slow_readers_wait_for_themselves_and_memory_stays_bounded() {
    let desk = Desk::new();
    let broker = Broker::start(&desk, "");
    let mut client = broker.connect();
    let mut config = ClientConfig::new();
    let producer: FutureProducer =
        config.set("bootstrap.servers", &broker.address).create().expect("a client");
    let payload = vec![b'v'; 900_000];
    let record = FutureRecord::<(), _>::to("t").partition(0).payload(&payload);
    let sent = producer.send(record, Duration::from_secs(20));
    futures::executor::block_on(sent).expect("it is appended");
    let before = broker.memory();
    let mut slow: Vec<TcpStream> = (0..50).map(|_| broker.connect()).collect();
    for stream in &mut slow {
        // Five gigabytes of answers, all told, that nobody reads.
        for _ in 0..100 {
            stream.write_all(&request(1, 4, &fetch())).expect("it is taken");
        }
    }
    std::thread::sleep(Duration::from_millis(300));
    let started = Instant::now();
    let answer = ask(&mut client, 1, 4, &fetch());
    assert!(answer.len() > 900_000, "{} bytes", answer.len());
    assert!(started.elapsed() < Duration::from_secs(5));
    let cost = broker.memory().saturating_sub(before);
    assert!(cost < 300 << 20, "{cost} bytes");
}

fn lives(broker: &Broker) -> bool {
    ask(&mut broker.connect(), 18, 0, &[]).starts_with(&[0, 0])
}

/// The answer to a request, behind its correlation id.
fn ask(stream: &mut TcpStream, api: i16, version: i16, body: &[u8]) -> Vec<u8> {
    stream.write_all(&request(api, version, body)).expect("it is taken");
    let mut length = [0; 4];
    stream.read_exact(&mut length).expect("an answer");
    let mut frame = vec![0; u32::from_be_bytes(length) as usize];
    stream.read_exact(&mut frame).expect("an answer");
    frame.split_off(4)
}

fn request(api: i16, version: i16, body: &[u8]) -> Vec<u8> {
    let header = [&api.to_be_bytes()[..], &version.to_be_bytes(), &[0, 0, 0, 9], &[0, 1, b'c']];
    sized(&[header.concat(), body.to_vec()].concat())
}

/// Fetch 4: at once, up to 2 MiB of partition 0 of topic t from offset 0 on.
fn fetch() -> Vec<u8> {
    let most = [0, 0x20, 0, 0];
    let start = [&[0xff; 4][..], &[0; 4], &[0; 4], &most, &[0], &[0, 0, 0, 1, 0, 1, b't']];
    let partition = [&[0, 0, 0, 1][..], &[0; 4], &[0; 8], &most];
    [start.concat(), partition.concat()].concat()
}

fn sized(bytes: &[u8]) -> Vec<u8> {
    [&(bytes.len() as u32).to_be_bytes(), bytes].concat()
}
