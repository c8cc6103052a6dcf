//! How librdkafka is set up for each role. What is not said here is as stock applications have it.

use std::time::Duration;

use onceness_reference::plan::{Consumer, Delivery, Isolation};
use rdkafka::ClientConfig;

use super::Room;

/// How long a member may be silent before its group gives its place away: as short as brokers permit unless told otherwise.
pub(super) const SESSION: Duration = Duration::from_secs(6);

/// What every client has. Waits are shorter than usual, for what is waited for here is mostly a fate that has just struck;
/// no promise depends on them.
pub(super) fn client(bootstrap: &str) -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", bootstrap);
    config.set("socket.timeout.ms", "10000");
    config.set("reconnect.backoff.ms", "10").set("reconnect.backoff.max.ms", "200");
    config.set("retry.backoff.ms", "20").set("retry.backoff.max.ms", "200");
    // A fresh client asks for the coordinator again so soon if the first answer was too early.
    config.set("topic.metadata.refresh.fast.interval.ms", "20");
    config
}

/// A producer of that delivery, that reaches the cluster there.
pub(super) fn producer(room: &Room, delivery: Delivery, bootstrap: &str) -> ClientConfig {
    let mut config = client(bootstrap);
    config.set("linger.ms", "0").set("message.timeout.ms", "10000");
    match delivery {
        Delivery::AtMostOnce => config.set("acks", "0").set("retries", "0"),
        Delivery::AtLeastOnce => config.set("acks", "all").set("enable.idempotence", "false"),
        Delivery::Idempotent => config.set("enable.idempotence", "true"),
        Delivery::Transactional { txn, .. } => {
            config.set("transactional.id", room.txn(txn));
            // No transaction may expire in the middle of a case: no property knows of that.
            config.set("transaction.timeout.ms", "600000")
        }
    };
    config
}

/// A consumer that saves nothing by itself and tells where partitions end.
pub(super) fn reader(group: &str, isolation: Isolation, bootstrap: &str) -> ClientConfig {
    let level = match isolation {
        Isolation::ReadCommitted => "read_committed",
        Isolation::ReadUncommitted => "read_uncommitted",
    };
    let mut config = client(bootstrap);
    config.set("group.id", group).set("isolation.level", level);
    config.set("enable.auto.commit", "false").set("enable.partition.eof", "true");
    config.set("fetch.wait.max.ms", "10").set("fetch.error.backoff.ms", "20");
    config.set("auto.offset.reset", "error");
    // A consumer that was cut off waits so long, too, when it is closed.
    config.set("session.timeout.ms", SESSION.as_millis().to_string());
    config.set("heartbeat.interval.ms", "500");
    config
}

/// A consumer as a plan has it. A member is static unless it shares its inputs with others: then its place is free for
/// others as soon as its session is over.
pub(super) fn consumer(room: &Room, consumer: &Consumer, bootstrap: &str) -> ClientConfig {
    let mut config = reader(&room.group(consumer.group), consumer.isolation, bootstrap);
    if consumer.member && !consumer.shared {
        config.set("group.instance.id", "the-one");
    }
    // Rooms have more partitions than cases mostly use; ranges would give all of those to one member.
    config.set("partition.assignment.strategy", "roundrobin");
    config
}
