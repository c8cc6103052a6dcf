//! What the `apache/kafka` image wants to be told: a single node, quick to restart, fit for transactions.

use std::collections::BTreeMap;

/// A broker talks to itself over an address of its own choice. What it advertises to clients is a port of the engine's
/// machine, which need not be reachable from inside, so there is an internal listener beside the published one: without it,
/// the first transactional send hangs.
const SETTINGS: [(&str, &str); 24] = [
    ("CLUSTER_ID", "b25jZW5lc3MtYm94ZWQtMA"),
    ("KAFKA_NODE_ID", "1"),
    ("KAFKA_PROCESS_ROLES", "broker,controller"),
    ("KAFKA_CONTROLLER_QUORUM_VOTERS", "1@localhost:9093"),
    ("KAFKA_CONTROLLER_LISTENER_NAMES", "CONTROLLER"),
    ("KAFKA_LISTENERS", "CLIENTS://:9092,CONTROLLER://:9093,BROKERS://:9094"),
    ("KAFKA_ADVERTISED_LISTENERS", "CLIENTS://{host}:{port},BROKERS://localhost:9094"),
    ("KAFKA_INTER_BROKER_LISTENER_NAME", "BROKERS"),
    (
        "KAFKA_LISTENER_SECURITY_PROTOCOL_MAP",
        "CLIENTS:PLAINTEXT,CONTROLLER:PLAINTEXT,BROKERS:PLAINTEXT",
    ),
    ("KAFKA_AUTO_CREATE_TOPICS_ENABLE", "false"),
    ("KAFKA_OFFSETS_TOPIC_REPLICATION_FACTOR", "1"),
    ("KAFKA_OFFSETS_TOPIC_NUM_PARTITIONS", "3"),
    ("KAFKA_TRANSACTION_STATE_LOG_REPLICATION_FACTOR", "1"),
    ("KAFKA_TRANSACTION_STATE_LOG_MIN_ISR", "1"),
    ("KAFKA_TRANSACTION_STATE_LOG_NUM_PARTITIONS", "3"),
    ("KAFKA_SHARE_COORDINATOR_STATE_TOPIC_REPLICATION_FACTOR", "1"),
    ("KAFKA_SHARE_COORDINATOR_STATE_TOPIC_MIN_ISR", "1"),
    // A killed broker is let in again when its old registration has expired.
    ("KAFKA_BROKER_SESSION_TIMEOUT_MS", "4000"),
    ("KAFKA_BROKER_HEARTBEAT_INTERVAL_MS", "500"),
    // Waiting is not what is tested.
    ("KAFKA_GROUP_INITIAL_REBALANCE_DELAY_MS", "0"),
    ("KAFKA_GROUP_MIN_SESSION_TIMEOUT_MS", "100"),
    ("KAFKA_TRANSACTION_ABORT_TIMED_OUT_TRANSACTION_CLEANUP_INTERVAL_MS", "1000"),
    ("KAFKA_LOG_SEGMENT_DELETE_DELAY_MS", "1000"),
    ("KAFKA_LOG_INDEX_SIZE_MAX_BYTES", "65536"),
];

/// The environment of a single node, by the contract of the `apache/kafka` image. Clients are expected at port 9092 inside.
pub fn kafka_environment() -> BTreeMap<String, String> {
    SETTINGS.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}
