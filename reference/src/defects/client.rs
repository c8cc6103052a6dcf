//! Defects of client libraries, which a broker that is right does not make good.

use super::Defect;

pub(super) const DEFECTS: &[Defect] = &[
    misdeed!(
        Client: "sequences-restarted",
        "after a batch that was refused for the moment the client counts from zero again, and what it sends next is called a duplicate",
        "librdkafka before 1.9.0, when metadata lacked the topic for a moment",
        ["no-loss", "isolation", "stable-offsets"],
        producer.restarts_sequences
    ),
    misdeed!(
        Client: "resent-in-new-epoch",
        "a batch that timed out is sent again in a new epoch, which no broker can tell from a new batch",
        "librdkafka#4953; KAFKA-14034 (here at any time-out, there after an error that followed one)",
        ["no-duplicate", "resend"],
        producer.resends_in_new_epoch
    ),
    misdeed!(
        Client: "committed-without-failed",
        "a batch that timed out is given up, and its transaction is committed all the same",
        "librdkafka before 1.5.2",
        ["atomicity"],
        producer.commits_without_failed
    ),
    misdeed!(
        Client: "renewed-in-transaction",
        "after a refusal that passes the client takes a new session in the middle of a transaction, and commits without what it sent before",
        "librdkafka#3575 (there after a change of leader)",
        ["atomicity", "no-duplicate", "order", "fencing"],
        producer.renews_in_transaction
    ),
    misdeed!(
        Client: "resent-backwards",
        "batches that have to be sent again are numbered anew and sent in another order",
        "KAFKA-8483",
        ["order", "no-loss", "resend"],
        producer.resends_backwards
    ),
    misdeed!(
        Client: "commit-given-up",
        "a commit that timed out is followed by an abort, and what was committed is called aborted",
        "section 5.4 of Jepsen's Bufstream 0.1.0; librdkafka#5423",
        ["isolation", "fencing"],
        producer.aborts_after_commit
    ),
    misdeed!(
        Client: "fenced-goes-on",
        "an instance that is fenced takes a new session by itself, and goes on",
        "KAFKA-18019 (there once its transactional id had expired, which takes longer than plans last)",
        ["fencing", "no-duplicate", "exactly-once"],
        producer.outlives_fencing
    ),
    misdeed!(
        Client: "aborted-not-left-out",
        "a consumer at read_committed hands out what was aborted",
        "librdkafka#3020",
        ["isolation"],
        consumer.shows_aborted
    ),
    misdeed!(
        Client: "aborted-taken-as-listed",
        "a consumer takes the list of aborted transactions, which is in the order of their ends, for one in the order of their beginnings",
        "pull request 145 of confluentinc/kafka",
        ["isolation"],
        consumer.takes_aborted_as_listed
    ),
];
