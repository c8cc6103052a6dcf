//! Against a real broker, whose address is in `ONCENESS_KAFKA` (`cargo ci kafka` gives it one).

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::KafkaError;
use rdkafka::message::Message as _;
use rdkafka::producer::{FutureProducer, FutureRecord};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};

use crate::liar::{self, Lie};
use crate::onceness::Desk;
use crate::proxy::Running;

#[test]
#[ignore = "needs a broker that speaks Kafka: ONCENESS_KAFKA=HOST:PORT"]
fn a_real_kafka_is_certified_and_left_clean() {
    let (_alone, address) = alone();
    let before = our_topics(&address);
    let desk = Desk::new();
    let done = desk.run(&format!("certify kafka://{address} --cases 100 --accept KAFKA-17754"));
    // So few cases may leave something untested, which is not green; but nothing is accused.
    assert!(matches!(done.code, Some(0 | 3)), "{done:?}");
    assert!(!done.stdout.contains("violated"), "{done:?}");
    assert!(!done.stdout.contains("did not answer"), "{done:?}");
    assert!(!desk.path().join("onceness-report/running").exists());
    let left: Vec<String> = our_topics(&address).difference(&before).cloned().collect();
    assert!(left.is_empty(), "left behind: {left:?}");
}

#[test]
#[ignore = "needs a broker that speaks Kafka: ONCENESS_KAFKA=HOST:PORT"]
fn a_kafka_that_hides_its_aborted_transactions_is_caught_and_the_failure_shrunk() {
    let (_alone, address) = alone();
    let liar = liar::start(numeric(&address), Lie::HidesAborted);
    let desk = Desk::new();
    let done = desk.run(&format!(
        "certify kafka://{liar} --cases 60 --seed 1 --jobs 16 --accept KAFKA-17754 --fail-fast"
    ));
    assert_eq!(done.code, Some(1), "{done:?}");
    assert!(done.stdout.contains("isolation violated"), "{done:?}");
    let shrunk = done.stdout.lines().find_map(|line| line.trim().strip_prefix("shrunk from "));
    let steps =
        shrunk.and_then(|rest| rest.split(" to ").nth(1)?.split(' ').next()?.parse::<u32>().ok());
    assert!(steps.is_some_and(|steps| steps <= 8), "{done:?}");
}

#[test]
#[ignore = "needs a broker that speaks Kafka: ONCENESS_KAFKA=HOST:PORT"]
fn a_real_kafka_is_driven_and_read_back_by_librdkafka() {
    let (_alone, address) = alone();
    let before = our_topics(&address);
    let desk = Desk::new();
    for (client, cases) in [("rdkafka", 100), ("both", 24)] {
        let done = desk.run(&format!(
            "certify kafka://{address}?client={client} --cases {cases} --seed 3 --accept KAFKA-17754,KAFKA-15591"
        ));
        assert!(matches!(done.code, Some(0 | 3)), "{done:?}");
        assert!(!done.stdout.contains("violated"), "{done:?}");
        assert!(!done.stdout.contains("did not answer"), "{done:?}");
    }
    let left: Vec<String> = our_topics(&address).difference(&before).cloned().collect();
    assert!(left.is_empty(), "left behind: {left:?}");
}

#[test]
#[ignore = "needs a broker that speaks Kafka: ONCENESS_KAFKA=HOST:PORT"]
fn a_stock_producer_meets_each_fate_through_the_proxy_on_a_real_kafka() {
    const RECORDS: usize = 60;
    let (_alone, address) = alone();
    let topic = Topic::make(&address);
    let desk = Desk::new();
    let rules = ["reply-lost", "request-lost", "repeated", "busy", "held"];
    let rules = rules.into_iter().enumerate().map(|(place, fate)| {
        let hold = if fate == "held" { "hold = '300ms'\n" } else { "" };
        let nth = 5 + 7 * place;
        format!("[[rule]]\napi = 'Produce'\nclient = 'stock'\nfate = '{fate}'\nnth = {nth}\n{hold}")
    });
    let more = "[[rule]]\napi = 'InitProducerId'\nfate = 'busy'\nnth = 1\n\
                [[rule]]\napi = 'EndTxn'\nfate = 'busy'\nnth = 1\n";
    desk.write("faults.toml", &(rules.collect::<String>() + more));
    let proxy = Running::start(&desk, &format!("--to {address} --plan faults.toml --seed 1"));

    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", &proxy.address).set("client.id", "stock");
    config.set("enable.idempotence", "true").set("linger.ms", "0");
    let producer: FutureProducer = config.create().expect("a client");
    let mut acknowledged = Vec::new();
    for number in 0..RECORDS {
        let payload = number.to_string();
        let record = FutureRecord::<(), _>::to(&topic.name).partition(0).payload(&payload);
        let sent = producer.send(record, Duration::from_secs(20));
        futures::executor::block_on(sent).expect("it is acknowledged in the end");
        acknowledged.push(payload);
    }
    // What was held has arrived by then.
    std::thread::sleep(Duration::from_millis(500));
    drop(producer);
    let ended = proxy.interrupt();
    assert_eq!(topic.payloads(), acknowledged, "{}", ended.stdout);

    assert_eq!(ended.code, Some(0), "{ended:?}");
    let says = |words: &str| assert!(ended.stdout.contains(words), "{words}: {}", ended.stdout);
    let shown = |fate: &str, said: &str| {
        let line =
            |line: &str| line.contains(fate) && line.contains(said) && line.contains("stock");
        assert!(ended.stdout.lines().any(line), "{fate}, {said}: {}", ended.stdout);
    };
    shown("reply-lost", "no error");
    shown("request-lost", "never arrived");
    shown("second copy", "no error");
    shown("repeated", "no error");
    shown("busy", "NOT_ENOUGH_REPLICAS (19)");
    shown("busy", "COORDINATOR_LOAD_IN_PROGRESS (14)");
    shown("held 300ms", "kept");
    shown("arrives late", "");
    says("Produce held, nth 33, client stock: applied to 1 of ");
    says("EndTxn busy, nth 1: never applied: no such request came");
}

/// A topic of one test, gone when the test is over.
struct Topic {
    address: String,
    name: String,
}

impl Topic {
    fn make(address: &str) -> Topic {
        let name = format!("onceness-test-{:08x}", std::process::id());
        let topic = Topic { address: address.to_owned(), name };
        let new = [NewTopic::new(&topic.name, 1, TopicReplication::Fixed(1))];
        let (admin, options) = (topic.admin(), AdminOptions::new());
        let made = futures::executor::block_on(admin.create_topics(&new, &options));
        let made = made.expect("a broker answers");
        assert!(made[0].is_ok(), "{made:?}");
        topic
    }

    fn admin(&self) -> AdminClient<DefaultClientContext> {
        (ClientConfig::new().set("bootstrap.servers", &self.address)).create().expect("a client")
    }

    /// What is in it, in order, read from the broker itself.
    fn payloads(&self) -> Vec<String> {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &self.address).set("group.id", &self.name);
        config.set("enable.partition.eof", "true").set("enable.auto.commit", "false");
        let reader: BaseConsumer = config.create().expect("a client");
        let mut from = TopicPartitionList::new();
        from.add_partition_offset(&self.name, 0, Offset::Beginning).expect("an offset");
        reader.assign(&from).expect("it is assigned");
        let mut payloads = Vec::new();
        loop {
            match reader.poll(Duration::from_secs(10)).expect("a record, or the end") {
                Err(KafkaError::PartitionEOF(_)) => return payloads,
                read => {
                    let record = read.expect("a record");
                    let payload = record.payload_view::<str>().expect("a payload");
                    payloads.push(payload.expect("our text").to_owned());
                }
            }
        }
    }
}

impl Drop for Topic {
    fn drop(&mut self) {
        let (admin, options) = (self.admin(), AdminOptions::new());
        let gone = [&self.name[..]];
        let _ = futures::executor::block_on(admin.delete_topics(&gone, &options));
    }
}

#[test]
#[ignore = "needs a broker that speaks Kafka: ONCENESS_KAFKA=HOST:PORT"]
fn what_guarantees_cost_is_measured_on_a_real_kafka_which_is_left_clean() {
    let (_alone, address) = alone();
    let before = our_topics(&address);
    let desk = Desk::new();
    let done =
        desk.run(&format!("price kafka://{address} --time 40s --record-size 100 --seed 1 --json"));
    assert_eq!(done.code, Some(0), "{done:?}");
    let report = done.json();
    assert_eq!(desk.read("onceness-report/price.json"), done.stdout);
    let tables = report["tables"].as_array().expect("a list");
    assert_eq!(tables.len(), 5, "{report}");
    for table in tables {
        let rows = table["rows"].as_array().expect("a list");
        let consumes = table["what"] != "produce_latency" && table["what"] != "produce_throughput";
        assert_eq!(rows.len(), if consumes { 2 } else { 7 }, "{table}");
        for row in rows {
            assert_eq!(row["verdict"], "measured", "{row}");
            assert!(row["figures"]["records"].as_u64() > Some(0), "{row}");
            assert!(row["figures"]["rounds"].as_u64() >= Some(3), "{row}");
            // Nothing gets lost between a client and a broker that both live.
            assert_eq!(row["figures"]["lost"], 0, "{row}");
        }
    }
    let left: Vec<String> = our_topics(&address).difference(&before).cloned().collect();
    assert!(left.is_empty(), "left behind: {left:?}");
}

#[test]
#[ignore = "needs a broker that speaks Kafka: ONCENESS_KAFKA=HOST:PORT"]
fn ctrl_c_ends_pricing_a_real_kafka_which_is_left_clean() {
    let (_alone, address) = alone();
    let before = our_topics(&address);
    let desk = Desk::new();
    let command = format!("price kafka://{address} --time 10m --json");
    let child = desk.command(&command).spawn().expect("the binary starts");
    while our_topics(&address) == before {
        std::thread::sleep(Duration::from_millis(50));
    }
    kill(Pid::from_raw(child.id().cast_signed()), Signal::SIGINT).expect("the binary runs");
    let output = child.wait_with_output().expect("the binary ends");
    assert_eq!(output.status.code(), Some(3), "{output:?}");
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(report["ended"], "interrupted");
    assert_eq!(report["inconclusive"], "it was interrupted before there was enough to tell");
    let left: Vec<String> = our_topics(&address).difference(&before).cloned().collect();
    assert!(left.is_empty(), "left behind: {left:?}");
}

#[test]
#[ignore = "needs a broker that speaks Kafka: ONCENESS_KAFKA=HOST:PORT"]
fn a_kafka_without_producer_ids_is_priced_as_far_as_it_goes() {
    let (_alone, address) = alone();
    let poor = liar::start(numeric(&address), Lie::KnowsNoProducerIds);
    let desk = Desk::new();
    let done = desk.run(&format!("price kafka://{poor} --time 5s --seed 1"));
    assert_eq!(done.code, Some(0), "{done:?}");
    for (kind, supported) in
        [("at-least-once ", true), ("idempotent ", false), ("read_committed ", false)]
    {
        let rows: Vec<&str> = done.stdout.lines().filter(|line| line.starts_with(kind)).collect();
        assert!(!rows.is_empty(), "{done:?}");
        assert!(rows.iter().all(|row| row.contains("unsupported") != supported), "{rows:?}");
    }
}

fn numeric(address: &str) -> SocketAddr {
    address.parse().expect("HOST:PORT with a numeric host")
}

#[test]
#[ignore = "needs a broker that speaks Kafka: ONCENESS_KAFKA=HOST:PORT"]
fn a_real_kafka_holds_at_every_boundary_of_a_loop() {
    let (_alone, address) = alone();
    let before = our_topics(&address);
    let desk = Desk::new();
    let done = desk.run(&format!("certify kafka://{address} --sweep --accept KAFKA-17754 --json"));
    let sweep = done.json();
    assert_eq!(done.code, Some(0), "{done:?}");
    assert!(sweep["counts"]["holds"].as_u64() > Some(150), "{}", sweep["counts"]);
    for plan in sweep["plans"].as_array().expect("plans") {
        let points = plan["points"].as_array().expect("points");
        let visited = points.iter().filter(|point| point["visit"] == "exact");
        // All but those inside the broker, and in TV2 those that it has not.
        assert!(visited.clone().count() >= 7, "{points:?}");
        for point in visited {
            assert_eq!(point["crashes"], point["as_expected"], "{point}");
        }
    }
    let left: Vec<String> = our_topics(&address).difference(&before).cloned().collect();
    assert!(left.is_empty(), "left behind: {left:?}");
}

/// The broker, for one test at a time: what one leaves behind is told by comparing.
fn alone() -> (MutexGuard<'static, ()>, String) {
    static BROKER: Mutex<()> = Mutex::new(());
    let alone = BROKER.lock().unwrap_or_else(PoisonError::into_inner);
    (alone, std::env::var("ONCENESS_KAFKA").expect("ONCENESS_KAFKA=HOST:PORT"))
}

fn our_topics(address: &str) -> BTreeSet<String> {
    let reader: BaseConsumer =
        (ClientConfig::new().set("bootstrap.servers", address)).create().expect("a client");
    let metadata = reader.fetch_metadata(None, Duration::from_secs(10)).expect("a broker answers");
    let names = metadata.topics().iter().map(|topic| topic.name().to_owned());
    names.filter(|name| name.starts_with("onceness")).collect()
}
