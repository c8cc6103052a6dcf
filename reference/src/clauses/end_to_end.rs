//! E2E: the patterns of delivery that applications build on all of it.

use super::Hazard::{Crash, Cut, Late, Move, Pause};
use super::Level::{May, Must};
use super::Observed::{Judged, Never, Partly};
use super::Premise::Disorder;
use super::Through::Client;
use super::{Clause, clause};

pub(super) const CLAUSES: &[Clause] = &[
    clause(
        "E2E-01",
        Must,
        Client,
        &[Cut, Crash],
        "A producer that neither waits nor resends leaves each record in the log once or not at all.",
        "docs/design.html:307",
        Judged,
    ),
    clause(
        "E2E-02",
        Must,
        Client,
        &[Cut, Move],
        "A producer that resends until acks=all is answered leaves each acknowledged record in the log at least once.",
        "docs/design.html:271",
        Judged,
    ),
    clause(
        "E2E-03",
        Must,
        Client,
        &[Cut, Move, Late],
        "Of an idempotent producer's session each acknowledged record stands in the log exactly once and in order, any other at most once.",
        "KafkaProducer.java:156; KIP-98",
        Judged,
    ),
    clause(
        "E2E-04",
        Must,
        Client,
        &[Crash],
        "A group that saves before it processes processes nothing twice, and skips only what a crash came between.",
        "docs/design.html, Message Delivery Semantics",
        Partly("that nothing is processed twice; what is skipped without a crash is not asked"),
    ),
    clause(
        "E2E-05",
        Must,
        Client,
        &[Crash, Move],
        "A group that saves after it processed leaves nothing below its position unprocessed, and repeats only what came after its last save.",
        "docs/design.html, Message Delivery Semantics",
        Partly(
            "that nothing is left; what may be repeated follows from the position alone (E2E-09)",
        ),
    ),
    clause(
        "E2E-06",
        Must,
        Client,
        &[Crash],
        "Upserts of a key that are delivered at least once end with the value that exactly once would give.",
        "docs/design.html:290",
        Judged,
    ),
    clause(
        "E2E-07",
        Must,
        Client,
        &[Cut, Crash, Move, Late, Pause],
        "A loop that reads, processes and writes in transactions, with its position in them, counts each input exactly once in its committed output.",
        "docs/design.html:291; KIP-98; KIP-447",
        Partly("without rebalances among the instances of a loop"),
    ),
    clause(
        "E2E-08",
        Must,
        Client,
        &[],
        "After an abort an application must go back to the saved position, or it skips the inputs of the aborted transaction.",
        "KAFKA-17582; jepsen.io/analyses/bufstream-0.1.0 (section 5.3)",
        Judged,
    ),
    clause(
        "E2E-09",
        Must,
        Client,
        &[Crash],
        "The saved position is the next offset to read, where a restart goes on without loss or repetition.",
        "KafkaConsumer.java:277; KAFKA-6607",
        Judged,
    ),
    clause(
        "E2E-10",
        Must,
        Client,
        &[Pause],
        "An instance that lost a partition while it stood still cannot commit output and position for it.",
        "KIP-447; ClassicGroup.java:841",
        Partly(
            "by a successor of the same membership or transactional id, not by a rebalance of loops",
        ),
    ),
    clause(
        "E2E-11",
        Must,
        Client,
        &[Cut, Late, Pause],
        "After a commit that timed out an application may only repeat that commit or start anew.",
        "jepsen.io/analyses/bufstream-0.1.0 (section 5.4); librdkafka#5423",
        Partly(
            "that it is not aborted; what a late commit does to the next transaction is known as KAFKA-17754",
        ),
    ).given(Disorder),
    clause(
        "E2E-12",
        May,
        Client,
        &[],
        "Exactly once ends at the cluster: effects elsewhere need idempotence of their own.",
        "docs/design.html:299",
        Never("lies outside the log, where no client of it looks"),
    ),
];
