//! On a Docker engine, with the image in `ONCENESS_CONTAINER` (`cargo ci container` gives both).

use std::net::TcpListener;
use std::process::{Child, Command};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::sleep;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use onceness::config::Config;
use onceness_adapters::node::{Container, LABEL, Node as _};
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::message::Message as _;
use rdkafka::producer::{FutureProducer, FutureRecord};
use rdkafka::{Offset, TopicPartitionList};

use crate::onceness::Desk;

/// How long what was killed may take until it is gone.
const SOON: Duration = Duration::from_secs(10);
const LONG: Duration = Duration::from_secs(60);

#[test]
#[ignore = "needs a Docker engine and an image: ONCENESS_CONTAINER=IMAGE"]
fn a_container_is_killed_and_paused_and_not_accused() {
    let (_alone, image) = alone();
    let desk = Desk::new();
    let done = desk
        .run(&format!("certify container:{image} --cases 5 --seed 7 --accept KAFKA-17754 --json"));
    // So few cases leave something untested, which is not green; but nothing is accused.
    assert!(matches!(done.code, Some(0 | 3)), "{done:?}");
    let summary = done.json();
    assert_eq!(summary["cases"], 5, "{done:?}");
    assert_eq!(summary["failing"], 0, "{done:?}");
    assert_eq!(summary["troubles"], serde_json::json!([]), "{done:?}");
    let struck = |fault: &str| summary["faults"][fault].as_u64().unwrap_or(0);
    assert!(struck("kill") + struck("restart") > 0, "another seed is needed: {done:?}");
    assert!(struck("pause") > 0, "another seed is needed: {done:?}");
    assert!(!desk.read("onceness-report/target.log").is_empty());
    assert!(ours().is_empty());
}

#[test]
#[ignore = "needs a Docker engine and an image: ONCENESS_CONTAINER=IMAGE"]
fn a_container_keeps_acknowledged_records_when_it_is_killed() {
    let (_alone, image) = alone();
    let runtime = tokio::runtime::Runtime::new().expect("threads");
    runtime.block_on(async {
        let image = Config::default().container(&image);
        let container = Container::run(image, None).await.expect("it starts");
        let address = container.addresses().join(",");
        create_topic(&address).await;
        let producer: FutureProducer =
            client(&address).set("acks", "all").create().expect("a producer");
        let record = FutureRecord::to("kept").key("k").payload("acknowledged");
        producer.send(record, LONG).await.expect("it is acknowledged");
        container.kill().await.expect("it runs");
        container.start().await.expect("it starts again");
        assert_eq!(container.addresses().join(","), address);
        assert_eq!(first_record(&address).as_deref(), Some("acknowledged"));
        container.stop().await.expect("it is removed");
    });
    assert!(ours().is_empty());
}

#[test]
#[ignore = "needs a Docker engine and an image: ONCENESS_CONTAINER=IMAGE"]
fn a_container_is_gone_after_ctrl_c() {
    let (_alone, image) = alone();
    let desk = Desk::new();
    let child = certifying(&desk, &image);
    signal(&child, Signal::SIGINT);
    let output = child.wait_with_output().expect("the binary ends");
    assert_eq!(output.status.code(), Some(3), "{output:?}");
    assert!(ours().is_empty());
}

#[test]
#[ignore = "needs a Docker engine and an image: ONCENESS_CONTAINER=IMAGE"]
fn a_container_is_gone_after_kill_9() {
    let (_alone, image) = alone();
    let desk = Desk::new();
    let mut child = certifying(&desk, &image);
    signal(&child, Signal::SIGKILL);
    child.wait().expect("the binary ends");
    within(SOON, "the container is gone", || ours().is_empty());
}

#[test]
#[ignore = "needs a Docker engine and an image: ONCENESS_CONTAINER=IMAGE"]
fn a_container_that_cannot_be_had_is_told_with_the_reason() {
    let (_alone, image) = alone();
    let desk = Desk::new();
    let refused = |target: &str, settings: &str| {
        desk.write("onceness.toml", &format!("[container.'{target}']\n{settings}\n"));
        let done = desk.run(&format!("certify container:{target} --cases 1"));
        assert_eq!(done.code, Some(3), "{done:?}");
        assert!(ours().is_empty(), "{done:?}");
        done.stderr
    };
    let told = refused("onceness/no-such-image:1", "");
    assert!(told.contains("the engine has no image onceness/no-such-image:1"), "{told}");
    let told = refused(&image, "command = ['/bin/sh', '-c', 'echo no disk; exit 3']");
    assert!(told.contains("it ended with exit code 3 before it was ready"), "{told}");
    assert!(told.contains("the end of its log:\nno disk"), "{told}");
    let told = refused(&image, "command = ['/bin/sleep', '60']\nready-within = '1s'");
    assert!(told.contains("nothing answered at 127.0.0.1:"), "{told}");
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = taken.local_addr().expect("it is bound").port();
    let told = refused(&image, &format!("network = 'host'\nport = {port}"));
    assert!(told.contains(&format!("127.0.0.1:{port} is taken by another program")), "{told}");
}

#[test]
fn without_an_engine_a_container_is_refused_at_once() {
    let desk = Desk::new();
    let started = Instant::now();
    let output = desk
        .command("certify container:apache/kafka:4.1.1 --cases 1")
        .env("DOCKER_HOST", "unix:///no/such/docker.sock")
        .output()
        .expect("the binary starts");
    let told = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(3), "{told}");
    assert!(
        told.contains("no Docker engine answers at DOCKER_HOST=unix:///no/such/docker.sock"),
        "{told}"
    );
    assert!(told.contains("start Docker, or name a running engine by DOCKER_HOST"), "{told}");
    assert!(started.elapsed() < SOON);
}

/// The engine, for one test at a time: what one leaves behind is told by listing.
fn alone() -> (MutexGuard<'static, ()>, String) {
    static ENGINE: Mutex<()> = Mutex::new(());
    let alone = ENGINE.lock().unwrap_or_else(PoisonError::into_inner);
    assert!(ours().is_empty(), "left behind: {:?}", ours());
    (alone, std::env::var("ONCENESS_CONTAINER").expect("ONCENESS_CONTAINER=IMAGE"))
}

/// The containers with our label, running or not.
fn ours() -> Vec<String> {
    let filter = format!("label={LABEL}");
    let listed = Command::new("docker").args(["ps", "-aq", "--filter", &filter]).output();
    let listed = listed.expect("docker is there");
    assert!(listed.status.success(), "{listed:?}");
    String::from_utf8_lossy(&listed.stdout).lines().map(str::to_owned).collect()
}

/// A run whose container is there already.
fn certifying(desk: &Desk, image: &str) -> Child {
    let certify = format!("certify container:{image} --time 60s --seed 1");
    let child = desk.command(&certify).spawn().expect("the binary starts");
    let log = desk.path().join("onceness-report/target.log");
    within(LONG, "a container is there and says something", || {
        !ours().is_empty() && log.metadata().is_ok_and(|log| log.len() > 0)
    });
    child
}

fn signal(child: &Child, signal: Signal) {
    kill(Pid::from_raw(child.id().cast_signed()), signal).expect("the binary runs");
}

fn within(limit: Duration, what: &str, mut happens: impl FnMut() -> bool) {
    let started = Instant::now();
    while !happens() {
        assert!(started.elapsed() < limit, "not within {limit:?}: {what}");
        sleep(Duration::from_millis(50));
    }
}

fn client(address: &str) -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", address);
    config
}

async fn create_topic(address: &str) {
    let admin: AdminClient<DefaultClientContext> = client(address).create().expect("a client");
    let topic = NewTopic::new("kept", 1, TopicReplication::Fixed(1));
    let made = admin.create_topics(&[topic], &AdminOptions::new()).await.expect("it answers");
    assert!(made.iter().all(Result::is_ok), "{made:?}");
}

/// What a fresh reader finds first, if anything.
fn first_record(address: &str) -> Option<String> {
    let reader: BaseConsumer = client(address).set("group.id", "none").create().expect("a client");
    let mut from = TopicPartitionList::new();
    from.add_partition_offset("kept", 0, Offset::Beginning).expect("it is an offset");
    reader.assign(&from).expect("it is a partition");
    let started = Instant::now();
    while started.elapsed() < LONG {
        if let Some(Ok(message)) = reader.poll(Duration::from_secs(1)) {
            return message.payload().map(|bytes| String::from_utf8_lossy(bytes).into_owned());
        }
    }
    None
}
