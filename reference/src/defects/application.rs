//! Defects of applications: brokers and client are right, and used in a wrong way.

use super::Defect;

pub(super) const DEFECTS: &[Defect] = &[
    misdeed!(
        Application: "saved-before-processing",
        "an application that is to process at least once saves its position when it polls",
        "enable.auto.commit with records that are processed elsewhere",
        ["consume-at-least-once"],
        application.saves_before_processing
    ),
    misdeed!(
        Application: "rewind-forgotten",
        "after an abort the application reads on, and passes over the inputs of the aborted transaction",
        "KAFKA-17582; section 5.3 of Jepsen's Bufstream 0.1.0",
        ["exactly-once"],
        application.never_rewinds
    ),
    misdeed!(
        Application: "last-offset-saved",
        "an application saves the offset of its last record, not the next one",
        "what the documentation of KafkaConsumer.commitSync warns of",
        ["exactly-once", "consume-at-most-once"],
        application.saves_last
    ),
    misdeed!(
        Application: "saved-outside-transaction",
        "a read-process-write loop saves its position outside the transaction of its output",
        "commitSync instead of sendOffsetsToTransaction (KIP-98)",
        ["exactly-once"],
        application.saves_outside
    ),
    misdeed!(
        Application: "output-read-uncommitted",
        "whoever reads the output of transactions reads it at read_uncommitted, the default of isolation.level",
        "isolation.level as it is if nobody sets it (KIP-98)",
        ["isolation"],
        application.reads_uncommitted
    ),
    misdeed!(
        Application: "append-not-upsert",
        "an application that is to process at least once appends to what it has of a key, so that what is replayed counts twice",
        "counters and lists that are kept under at-least-once (Kafka docs/design.html, Message Delivery Semantics)",
        ["upserts"],
        application.appends
    ),
    misdeed!(
        Application: "fences-nobody",
        "each instance has a transactional id of its own and saves positions as no member of its group, so that it fences no other",
        "the reason for KIP-447",
        ["fencing", "exactly-once"],
        application.fences_nobody
    ),
];
