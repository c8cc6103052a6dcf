//! Defects of what readers are told.

use super::Defect;

pub(super) const DEFECTS: &[Defect] = &[
    defect!(
        "lso-is-high-watermark",
        "read_committed shows open transactions",
        "librdkafka's mock cluster; aborted reads in Jepsen's Redpanda 21.10.1",
        ["isolation"],
        { wrong.isolation.shows_open = true }
    ),
    defect!(
        "lso-off-by-one",
        "read_committed shows the first record of an open transaction",
        "redpanda#3036",
        ["isolation"],
        { wrong.isolation.shows_first_open = true }
    ),
    defect!(
        "lso-before-marker",
        "read_committed goes on when a transaction is decided, before the marker that says how stands in the partition",
        "redpanda#10671; KAFKA-9807",
        ["isolation"],
        { wrong.isolation.shows_decided = true }
    ),
    defect!(
        "open-transaction-expires",
        "a transaction that stays open while others write is forgotten by the partition, and read_committed shows it",
        "KAFKA-9144 (a producer expired with its transaction open)",
        ["isolation"],
        { wrong.isolation.expires_open = true }
    ),
    defect!(
        "open-hidden-on-restart",
        "a restart forgets in partitions which transactions are open, and read_committed shows them",
        "redpanda#30003",
        ["isolation"],
        { wrong.isolation.forgets_open_on_restart = true }
    ),
    defect!(
        "aborted-list-empty",
        "fetches do not tell which transactions were aborted",
        "Tansu/Nisshi service/fetch.rs; librdkafka's mock cluster",
        ["isolation"],
        { wrong.isolation.hides_aborted_list = true }
    ),
    defect!(
        "aborted-list-too-short",
        "fetches do not tell of aborted transactions that began before their offset",
        "inferred from TransactionIndex.java:171",
        ["answers", "isolation"],
        { wrong.isolation.lists_from_offset = true }
    ),
    defect!(
        "aborted-list-too-long",
        "fetches tell of aborted transactions that ended before their offset, which hides what the producer committed since",
        "inferred from TransactionIndex.java:171",
        ["no-loss", "isolation"],
        { wrong.isolation.lists_older = true }
    ),
    defect!(
        "aborted-list-lost-on-restart",
        "a restart forgets which transactions were aborted",
        "kop#1700; the class of KAFKA-13727",
        ["isolation"],
        { wrong.isolation.forgets_aborted_on_restart = true }
    ),
    defect!(
        "aborted-hidden",
        "read_uncommitted leaves out aborted records",
        "redpanda#6630",
        ["isolation", "stable-offsets"],
        { wrong.isolation.hides_aborted_records = true }
    ),
    defect!(
        "list-offsets-ignores-isolation",
        "who may read committed records only is told the end of all of them",
        "librdkafka#3423 (its client took it for the end); Partition.scala:1591",
        ["answers"],
        { wrong.isolation.lists_end_to_all = true }
    ),
];
