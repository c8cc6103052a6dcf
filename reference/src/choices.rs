//! What a correct broker may choose, as data: each choice with its values in words, so that a judge can try them and a
//! report can say which of them a broker has made.

use crate::code::Code;
use crate::exchanges::Exchange;
use crate::plan::Protocol;
use crate::protocol::{Ending, Request};
use crate::rules::{Rules, Starts};

/// One thing that the protocol leaves open, or that differs between versions.
#[derive(Debug)]
pub struct Choice {
    /// What is chosen, in a few words.
    pub name: &'static str,
    /// Where it is said that there is a choice.
    pub source: &'static str,
    /// Whether it may show in an answer because of this, which went over the wire: where no exchange of a case says so, all its
    /// values explain the same. None where the second judge leaves it open in any case: refusals for the moment, when markers
    /// are written, and which of two codes says that a transaction is not open.
    pub shows: Option<fn(&Exchange) -> bool>,
    /// What may be chosen; the first is what [`Rules::default`] has.
    pub values: &'static [Value],
}

/// One value of a choice.
#[derive(Debug)]
pub struct Value {
    /// What a broker does that chose it: "a broker that …".
    pub words: &'static str,
    /// Makes the choice.
    pub set: fn(&mut Rules),
}

impl Value {
    /// These rules with this choice made.
    pub fn chosen(&self, mut rules: Rules) -> Rules {
        (self.set)(&mut rules);
        rules
    }

    /// Whether these rules have chosen it.
    pub fn is_chosen_by(&self, rules: &Rules) -> bool {
        self.chosen(*rules) == *rules
    }
}

const fn value(words: &'static str, set: fn(&mut Rules)) -> Value {
    Value { words, set }
}

/// What these rules choose otherwise than [`Rules::default`], in words.
pub fn unlike_default(rules: &Rules) -> impl Iterator<Item = &'static str> {
    let others = CHOICES.iter().flat_map(|choice| &choice.values[1..]);
    others.filter(|value| value.is_chosen_by(rules)).map(|value| value.words)
}

fn is_restart(seen: &Exchange) -> bool {
    matches!(seen, Exchange::Restarted)
}

fn is_refusal(seen: &Exchange, codes: &[Code]) -> bool {
    matches!(seen, Exchange::Answered { answer: Err(code), .. } if codes.contains(code))
}

fn request(seen: &Exchange) -> Option<&Request> {
    match seen {
        Exchange::Asked { request, .. } => Some(request),
        _ => None,
    }
}

/// Whether somebody opens a transactional id, which may be open.
fn opens_again(seen: &Exchange) -> bool {
    matches!(request(seen), Some(Request::InitProducer { txn: Some(_), .. }))
}

/// Which version of transactions a write to a partition claims to be of.
fn write(request: &Request) -> Option<Protocol> {
    match request {
        Request::Produce { txn: Some((_, protocol)), .. }
        | Request::Malformed { txn: Some((_, protocol)), .. } => Some(*protocol),
        _ => None,
    }
}

/// All choices. They do not depend on one another.
pub const CHOICES: &[Choice] = &[
    Choice {
        name: "batches remembered by a restart",
        source: "ProducerStateManager.java:661 (a snapshot holds one batch, replaying the log more)",
        shows: Some(is_restart),
        values: &[
            value("remembers the last batch of a producer over a restart", |rules| {
                rules.window_after_restart = 1;
            }),
            value("remembers the last two batches of a producer over a restart", |rules| {
                rules.window_after_restart = 2;
            }),
            value("remembers the last three batches of a producer over a restart", |rules| {
                rules.window_after_restart = 3;
            }),
            value("remembers the last four batches of a producer over a restart", |rules| {
                rules.window_after_restart = 4;
            }),
            value("remembers the last five batches of a producer over a restart", |rules| {
                rules.window_after_restart = 5;
            }),
        ],
    },
    Choice {
        name: "old duplicates",
        source: "KAFKA-6683",
        shows: Some(|seen| {
            is_refusal(seen, &[Code::OUT_OF_ORDER_SEQUENCE_NUMBER, Code::DUPLICATE_SEQUENCE_NUMBER])
        }),
        values: &[
            value("answers 45 to old duplicates", |rules| {
                rules.old_duplicate = Code::OUT_OF_ORDER_SEQUENCE_NUMBER;
            }),
            value("answers 46 to old duplicates (as before KAFKA-6683)", |rules| {
                rules.old_duplicate = Code::DUPLICATE_SEQUENCE_NUMBER;
            }),
        ],
    },
    Choice {
        name: "epochs skipped by fencing",
        source: "KAFKA-19367",
        shows: Some(opens_again),
        values: &[
            value("raises the epoch by one when it fences a transaction", |rules| {
                rules.fencing_bump = 1;
            }),
            value(
                "raises the epoch by two when it fences a transaction (as Kafka 4.0.0)",
                |rules| {
                    rules.fencing_bump = 2;
                },
            ),
        ],
    },
    Choice {
        name: "a session named in the middle of its transaction",
        source: "TransactionCoordinator.scala:540 of Kafka 3.9.1 (lastProducerEpoch)",
        shows: Some(|seen| {
            matches!(request(seen), Some(Request::InitProducer { txn: Some(_), expected: Some(_) }))
        }),
        values: &[
            value(
                "gives a session to one that named its own in the middle of its transaction",
                |rules| {
                    rules.renews_fenced = true;
                },
            ),
            value(
                "fences one that named its own session in the middle of its transaction (as before Kafka 4.0)",
                |rules| rules.renews_fenced = false,
            ),
        ],
    },
    Choice {
        name: "opening what is open",
        source: "KIP-98 (5.3: the transaction is completed first); TransactionCoordinator.scala:151 (51 until it is)",
        shows: Some(opens_again),
        values: &[
            value(
                "refuses InitProducerId for the moment while it aborts the open transaction",
                |rules| rules.init_waits = false,
            ),
            value(
                "answers InitProducerId when the open transaction is aborted (as kfake)",
                |rules| rules.init_waits = true,
            ),
        ],
    },
    Choice {
        name: "the last epoch",
        source: "TransactionMetadata.scala:165 (only that epochs end, and what comes then)",
        shows: Some(|seen| {
            opens_again(seen) || matches!(request(seen), Some(Request::EndTxn { .. }))
        }),
        values: &[
            value("gives a new producer id after epoch 32766", |rules| {
                rules.epoch_max = i16::MAX - 1;
            }),
            value("gives a new producer id after epoch 2", |rules| rules.epoch_max = 2),
        ],
    },
    Choice {
        name: "the epoch of markers",
        source: "KIP-890 (no client is told of it)",
        shows: Some(|seen| {
            matches!(request(seen), Some(Request::EndTxn { protocol: Protocol::Tv2, .. }))
        }),
        values: &[
            value("over TV2 writes markers in the epoch of the next transaction", |rules| {
                rules.marks_next_epoch = true;
            }),
            value(
                "over TV2 writes markers in the epoch of their transaction (as kfake)",
                |rules| {
                    rules.marks_next_epoch = false;
                },
            ),
        ],
    },
    Choice {
        name: "when markers are written",
        source: "TransactionCoordinator.scala:692",
        shows: None,
        values: &[
            value("writes markers after EndTxn was answered", |rules| rules.markers_lag = true),
            value("writes markers before it answers EndTxn", |rules| rules.markers_lag = false),
        ],
    },
    Choice {
        name: "markers after a restart",
        source: "TransactionStateManager.loadTransactionsForTxnTopicPartition",
        shows: Some(is_restart),
        values: &[
            value("after a restart writes all markers of what is not complete again", |rules| {
                rules.repeats_markers = true;
            }),
            value("after a restart writes the missing markers only", |rules| {
                rules.repeats_markers = false
            }),
        ],
    },
    Choice {
        name: "unused offsets",
        source: "redpanda#13364",
        shows: Some(|seen| {
            matches!(request(seen), Some(Request::EndTxn { ending: Ending::Commit, .. }))
        }),
        values: &[
            value("uses every offset", |rules| rules.burns_offsets = false),
            value("leaves an offset unused at every commit (as Redpanda)", |rules| {
                rules.burns_offsets = true;
            }),
        ],
    },
    Choice {
        name: "refusals for the moment",
        source: "Errors.java (6, 14, 15, 16, 19 and 51 are always allowed, and bound nothing but progress)",
        shows: None,
        values: &[
            value("refuses nothing that it could do", |rules| rules.refuses_every = None),
            value("refuses every fifth request for the moment", |rules| {
                rules.refuses_every = Some(5);
            }),
        ],
    },
    Choice {
        name: "late writes of an older epoch",
        source: "KAFKA-19690 (UnifiedLog.maybeStartTransactionVerification)",
        shows: Some(|seen| request(seen).is_some_and(|request| write(request).is_some())),
        values: &[
            value(
                "refuses writes of an older epoch before it asks for their transaction",
                |rules| {
                    rules.epoch_first = true;
                },
            ),
            value(
                "lets a producer wait for the sequence number of its zombie (as before KAFKA-19690)",
                |rules| rules.epoch_first = false,
            ),
        ],
    },
    Choice {
        name: "writes outside transactions",
        source: "KIP-890; AddPartitionsToTxnManager.scala:226",
        shows: None,
        values: &[
            value("answers 48 to transactional writes outside a transaction", |rules| {
                rules.unverified = Code::INVALID_TXN_STATE;
            }),
            value(
                "answers 120 to transactional writes outside a transaction (to newer clients)",
                |rules| rules.unverified = Code::TRANSACTION_ABORTABLE,
            ),
        ],
    },
    Choice {
        name: "the epoch of an open transaction",
        source: "KAFKA-14563 (UnifiedLog.hasOngoingTransaction)",
        shows: Some(|seen| match request(seen) {
            Some(Request::SaveInTxn { protocol, .. }) => *protocol == Protocol::Tv1,
            Some(request) => write(request) == Some(Protocol::Tv1),
            None => false,
        }),
        values: &[
            value("asks for the transaction of a newer epoch, whichever is open", |rules| {
                rules.open_by_epoch = true;
            }),
            value(
                "takes a write of a newer epoch into an open transaction of TV1 (as before KAFKA-14563)",
                |rules| rules.open_by_epoch = false,
            ),
        ],
    },
    Choice {
        name: "the first sequence number",
        source: "KAFKA-18202; KAFKA-15591 (since apache/kafka#23234 in an empty partition)",
        shows: Some(|seen| match request(seen) {
            Some(Request::Produce { batch, .. }) => batch.first_sequence > 0,
            _ => false,
        }),
        values: &[
            value("takes no other first sequence number than 0 over TV2", |rules| {
                rules.starts_at_zero = Starts::OverTv2;
            }),
            value("takes any first sequence number (as before KAFKA-18202)", |rules| {
                rules.starts_at_zero = Starts::Never;
            }),
            value("takes no other first sequence number than 0 (as kfake)", |rules| {
                rules.starts_at_zero = Starts::Always;
            }),
        ],
    },
    Choice {
        name: "a commit of what was aborted",
        source: "KAFKA-20785",
        shows: Some(|seen| {
            is_refusal(
                seen,
                &[Code::INVALID_TXN_STATE, Code::TRANSACTION_ABORTABLE, Code::PRODUCER_FENCED],
            )
        }),
        values: &[
            value("answers 48 to the commit of a transaction that was aborted", |rules| {
                rules.commit_after_abort = Code::INVALID_TXN_STATE;
            }),
            value(
                "answers 90 to the commit of a transaction that was aborted (since KAFKA-20785)",
                |rules| rules.commit_after_abort = Code::PRODUCER_FENCED,
            ),
        ],
    },
    Choice {
        name: "epoch or state first",
        source: "KAFKA-18464; KAFKA-18660",
        shows: Some(|seen| matches!(seen, Exchange::Answered { answer: Err(_), .. })),
        values: &[
            value("looks at the epoch before it looks whether it must wait", |rules| {
                rules.completing_first = false;
            }),
            value(
                "answers 51 while a transaction is completed, whatever the epoch (since KAFKA-18464)",
                |rules| rules.completing_first = true,
            ),
        ],
    },
];
