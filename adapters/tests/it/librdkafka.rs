//! librdkafka against a served broker, without any JVM: ordinary and transactional round trips, groups, positions.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use onceness_reference::rules::Rules;
use rdkafka::admin::{AdminClient, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer as _};
use rdkafka::message::{Header, Headers as _, Message as _, OwnedHeaders};
use rdkafka::producer::{FutureProducer, FutureRecord, Producer as _};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};

use crate::serving::Served;

const PATIENCE: Duration = Duration::from_secs(20);

fn config(served: &Served) -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", served.address().to_string());
    config
}

fn producer(served: &Served, settings: &[(&str, &str)]) -> FutureProducer {
    let mut config = config(served);
    settings.iter().for_each(|(name, value)| _ = config.set(*name, *value));
    config.create().expect("a client")
}

fn member(served: &Served, group: &str, settings: &[(&str, &str)]) -> BaseConsumer {
    let mut config = config(served);
    config.set("group.id", group).set("auto.offset.reset", "earliest");
    config.set("enable.auto.commit", "false").set("session.timeout.ms", "6000");
    config.set("heartbeat.interval.ms", "100");
    settings.iter().for_each(|(name, value)| _ = config.set(*name, *value));
    config.create().expect("a client")
}

fn send(producer: &FutureProducer, topic: &str, partition: i32, payload: &str) -> i64 {
    let headers = OwnedHeaders::new().insert(Header { key: "h", value: Some(payload) });
    let record =
        FutureRecord::to(topic).partition(partition).key("k").payload(payload).headers(headers);
    let sent = futures::executor::block_on(producer.send(record, PATIENCE));
    sent.expect("it is acknowledged").offset
}

/// So many payloads, and no more for a while.
fn read(consumer: &BaseConsumer, count: usize) -> Vec<String> {
    let mut payloads = Vec::new();
    let end = Instant::now() + PATIENCE;
    while Instant::now() < end {
        let wait = if payloads.len() < count { 100 } else { 300 };
        match consumer.poll(Duration::from_millis(wait)) {
            Some(record) => {
                let record = record.expect("a record");
                let payload = record.payload_view::<str>().expect("a payload").expect("text");
                let header = record.headers().expect("headers").get(0).value;
                assert_eq!((header, record.key()), (Some(payload.as_bytes()), Some(&b"k"[..])));
                payloads.push(payload.to_owned());
            }
            None if payloads.len() >= count => break,
            None => {}
        }
    }
    payloads
}

fn numbers(range: std::ops::Range<u32>) -> Vec<String> {
    range.map(|number| number.to_string()).collect()
}

/// A position that the group has in partition 0.
fn position(consumer: &BaseConsumer, topic: &str) -> Offset {
    let mut asked = TopicPartitionList::new();
    asked.add_partition(topic, 0);
    let found = consumer.committed_offsets(asked, PATIENCE).expect("an answer");
    found.find_partition(topic, 0).expect("it was asked for").offset()
}

#[test]
fn what_is_produced_is_consumed_by_whichever_guarantee() {
    let served = Served::start(Rules::default());
    for (topic, settings) in [
        ("fire", &[("acks", "0"), ("max.in.flight", "1")][..]),
        ("one", &[("acks", "1")]),
        ("idempotent", &[("enable.idempotence", "true")]),
        ("small", &[("compression.type", "lz4"), ("enable.idempotence", "true")]),
    ] {
        let producer = producer(&served, settings);
        for payload in numbers(0..50) {
            send(&producer, topic, 0, &payload);
        }
        let consumer = member(&served, topic, &[]);
        consumer.subscribe(&[topic]).expect("a subscription");
        assert_eq!(read(&consumer, 50), numbers(0..50), "{topic}");
    }
}

#[test]
fn a_group_goes_on_where_it_was_and_shares_its_partitions() {
    let served = Served::start(Rules::default());
    let producer = producer(&served, &[]);
    let admin: AdminClient<DefaultClientContext> = config(&served).create().expect("a client");
    let new = NewTopic::new("shared", 2, TopicReplication::Fixed(1));
    let made = futures::executor::block_on(admin.create_topics([&new], &Default::default()));
    assert_eq!(made.expect("an answer").len(), 1);
    send(&producer, "shared", 0, "a");

    let first = member(&served, "g", &[]);
    first.subscribe(&["shared"]).expect("a subscription");
    assert_eq!(read(&first, 1), ["a"]);
    first.commit_consumer_state(CommitMode::Sync).expect("it is committed");
    assert_eq!(position(&first, "shared"), Offset::Offset(1));

    let second = member(&served, "g", &[]);
    second.subscribe(&["shared"]).expect("a subscription");
    let end = Instant::now() + PATIENCE;
    let owned = |consumer: &BaseConsumer| -> BTreeSet<i32> {
        let owned = consumer.assignment().expect("an assignment");
        owned.elements().iter().map(|one| one.partition()).collect()
    };
    while (owned(&first).len(), owned(&second).len()) != (1, 1) {
        assert!(Instant::now() < end, "{:?} {:?}", owned(&first), owned(&second));
        assert!(first.poll(Duration::from_millis(20)).is_none());
        assert!(second.poll(Duration::from_millis(20)).is_none());
    }
    assert_eq!(&owned(&first) | &owned(&second), BTreeSet::from([0, 1]));

    // It leaves, and the other has both.
    drop(second);
    while owned(&first).len() != 2 {
        assert!(Instant::now() < end, "{:?}", owned(&first));
        assert!(first.poll(Duration::from_millis(20)).is_none());
    }
    send(&producer, "shared", 0, "b");
    send(&producer, "shared", 1, "c");
    let mut seen = read(&first, 2);
    seen.sort();
    assert_eq!(seen, ["b", "c"]);
}

#[test]
fn transactions_commit_and_abort_with_their_positions() {
    let served = Served::start(Rules::default());
    let inputs = producer(&served, &[]);
    send(&inputs, "in", 0, "0");
    send(&inputs, "in", 0, "1");
    let consumer = member(&served, "loop", &[("isolation.level", "read_committed")]);
    consumer.subscribe(&["in"]).expect("a subscription");
    assert_eq!(read(&consumer, 2), ["0", "1"]);
    let metadata = consumer.group_metadata().expect("a member");
    let upto = |offset| {
        let mut positions = TopicPartitionList::new();
        positions.add_partition_offset("in", 0, Offset::Offset(offset)).expect("an offset");
        positions
    };

    let writer = producer(&served, &[("transactional.id", "t")]);
    writer.init_transactions(PATIENCE).expect("a producer id");
    for (payload, offset, commits) in [("x", 1, true), ("y", 2, false), ("z", 2, true)] {
        writer.begin_transaction().expect("a transaction");
        send(&writer, "out", 0, payload);
        writer.send_offsets_to_transaction(&upto(offset), &metadata, PATIENCE).expect("positions");
        match commits {
            true => writer.commit_transaction(PATIENCE).expect("a commit"),
            false => writer.abort_transaction(PATIENCE).expect("an abort"),
        }
        let expected = if commits { offset } else { offset - 1 };
        assert_eq!(position(&consumer, "in"), Offset::Offset(expected), "{payload}");
    }
    writer.begin_transaction().expect("a transaction");
    send(&writer, "out", 0, "open");

    for (isolation, expected) in
        [("read_committed", &["x", "z"][..]), ("read_uncommitted", &["x", "y", "z", "open"])]
    {
        let reader = member(&served, isolation, &[("isolation.level", isolation)]);
        reader.subscribe(&["out"]).expect("a subscription");
        assert_eq!(read(&reader, expected.len()), expected, "{isolation}");
    }

    // A successor ends what is open, and its predecessor is fenced.
    let successor = producer(&served, &[("transactional.id", "t")]);
    successor.init_transactions(PATIENCE).expect("a producer id");
    let fenced = writer.commit_transaction(PATIENCE).expect_err("it was replaced");
    assert!(fenced.to_string().contains("fenced"), "{fenced}");
}

#[test]
fn a_transaction_whose_time_is_up_is_aborted() {
    let served = Served::start(Rules::default());
    let settings = [("transactional.id", "slow"), ("transaction.timeout.ms", "1000")];
    let writer = producer(&served, &[settings[0], settings[1], ("message.timeout.ms", "1000")]);
    writer.init_transactions(PATIENCE).expect("a producer id");
    writer.begin_transaction().expect("a transaction");
    send(&writer, "out", 0, "late");
    let plain = producer(&served, &[]);
    send(&plain, "out", 0, "after");
    let reader = member(&served, "reader", &[("isolation.level", "read_committed")]);
    reader.subscribe(&["out"]).expect("a subscription");
    assert_eq!(read(&reader, 1), ["after"]);
    writer.commit_transaction(PATIENCE).expect_err("it came too late");
}
