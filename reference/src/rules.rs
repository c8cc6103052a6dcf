//! Everything a broker may do differently, as one value. Some differences are permitted (versions, and what the protocol
//! leaves open; [`crate::choices`] lists them). Others no correct broker has ([`crate::wrongs`]). So the model stays one,
//! and a seeded bug is a value of this type.

use crate::code::Code;
use crate::plan::Protocol;
use crate::wrongs::Wrongs;

/// How a broker behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Rules {
    /// How many batches of a producer a restart remembers: a snapshot holds one, replaying the log more. From 1 to 5.
    pub window_after_restart: usize,
    /// What a duplicate older than the window is answered: 45, or 46 as before KAFKA-6683.
    pub old_duplicate: Code,
    /// By how much fencing an open transaction raises the epoch: 1, or 2 in Kafka 4.0.0 (KAFKA-19367).
    pub fencing_bump: i16,
    /// One that names its session in the middle of its own transaction, which is aborted, is given the fencing epoch
    /// afterwards. Before Kafka 4.0 it was fenced itself.
    pub renews_fenced: bool,
    /// InitProducerId waits for the transaction that it aborts, or that was decided before: the epoch is raised when that is
    /// complete, and then it is answered. By Kafka the epoch is raised first, and it is refused for the moment (51).
    pub init_waits: bool,
    /// The highest epoch that a client may be given (Kafka: 32766). After it a new producer id begins.
    pub epoch_max: i16,
    /// Over TV2 a marker bears the epoch of the next transaction, so that leaders themselves refuse what comes late (KIP-890).
    /// Else it bears that of its own, and the coordinator alone refuses.
    pub marks_next_epoch: bool,
    /// Markers are written some time after EndTxn was answered, rather than at once.
    pub markers_lag: bool,
    /// A restart sends all markers of a transaction again that is decided and not complete, also those that stand already
    /// (`TransactionCoordinator.onElection`). Else only those that do not.
    pub repeats_markers: bool,
    /// Commits leave one more offset unused in every partition (as Redpanda's do).
    pub burns_offsets: bool,
    /// Every so many requests one is refused for the moment, and not carried out.
    pub refuses_every: Option<u64>,
    /// The epoch of a transactional write is looked at before the coordinator is asked about it (KAFKA-19690). Else what a
    /// zombie sends is refused by the coordinator, and whoever has its producer id now waits for its sequence number.
    pub epoch_first: bool,
    /// What a write or save is answered that belongs to no open transaction: 48, or 120 to newer clients (KIP-890).
    pub unverified: Code,
    /// What the commit of a transaction is answered that has been aborted over TV2: 48, or 90 since KAFKA-20785.
    pub commit_after_abort: Code,
    /// While a transaction is completed any request for its id has to wait (51), whatever its epoch (KAFKA-18464).
    pub completing_first: bool,
    /// A write over TV1, too, is of the transaction that is open in the partition only if it has its epoch. Before
    /// KAFKA-14563, which came with TV2, the producer id was enough, and nobody was asked about a newer epoch.
    pub open_by_epoch: bool,
    /// Which first batches of a producer in a partition must have the sequence number 0.
    pub starts_at_zero: Starts,
    /// The leader asks the coordinator before it takes a transactional write (KIP-890 part 1, Kafka 3.6). Without it a
    /// late write can open a transaction that nobody ends.
    pub verifies_writes: bool,
    /// What no correct broker does.
    pub wrong: Wrongs,
}

impl Default for Rules {
    fn default() -> Self {
        Rules {
            window_after_restart: 1,
            old_duplicate: Code::OUT_OF_ORDER_SEQUENCE_NUMBER,
            fencing_bump: 1,
            renews_fenced: true,
            init_waits: false,
            epoch_max: i16::MAX - 1,
            marks_next_epoch: true,
            markers_lag: true,
            repeats_markers: true,
            burns_offsets: false,
            refuses_every: None,
            epoch_first: true,
            unverified: Code::INVALID_TXN_STATE,
            commit_after_abort: Code::INVALID_TXN_STATE,
            completing_first: false,
            open_by_epoch: true,
            starts_at_zero: Starts::OverTv2,
            verifies_writes: true,
            wrong: Wrongs::default(),
        }
    }
}

impl Rules {
    /// Whether the epoch of a write, too, tells whether it is of the transaction that is open.
    pub(crate) fn asks_epoch(&self, protocol: Protocol) -> bool {
        self.open_by_epoch || protocol == Protocol::Tv2
    }

    /// Correct brokers that, taken together, choose everything that a broker may choose.
    pub fn permitted() -> Vec<Permitted> {
        let kafka = Rules::default();
        vec![
            Permitted { name: "as Kafka chooses", rules: kafka },
            Permitted {
                name: "a restart remembers five batches, markers come at once",
                rules: Rules {
                    window_after_restart: 5,
                    marks_next_epoch: false,
                    markers_lag: false,
                    init_waits: true,
                    starts_at_zero: Starts::Always,
                    ..kafka
                },
            },
            Permitted {
                name: "old duplicates are answered 46, commits burn offsets",
                rules: Rules {
                    window_after_restart: 2,
                    old_duplicate: Code::DUPLICATE_SEQUENCE_NUMBER,
                    repeats_markers: false,
                    burns_offsets: true,
                    ..kafka
                },
            },
            Permitted {
                name: "fencing raises the epoch by two, epochs end at two",
                rules: Rules { window_after_restart: 3, fencing_bump: 2, epoch_max: 2, ..kafka },
            },
            Permitted {
                name: "the state of a transaction is looked at before the epoch",
                rules: Rules {
                    window_after_restart: 4,
                    unverified: Code::TRANSACTION_ABORTABLE,
                    commit_after_abort: Code::PRODUCER_FENCED,
                    completing_first: true,
                    ..kafka
                },
            },
            Permitted {
                name: "as Kafka before 4.0",
                rules: Rules {
                    renews_fenced: false,
                    epoch_first: false,
                    open_by_epoch: false,
                    starts_at_zero: Starts::Never,
                    ..kafka
                },
            },
            Permitted {
                name: "every fifth request is refused for the moment",
                rules: Rules { refuses_every: Some(5), ..kafka },
            },
        ]
    }
}

/// Of which producers that a partition does not know the first batch must have the sequence number 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Starts {
    /// Of none: the broker may have forgotten them.
    Never,
    /// Of those whose transactions are of TV2, which start anew with every one (KAFKA-18202).
    OverTv2,
    /// Of all, so that no batch in flight overtakes the first (KAFKA-15591).
    Always,
}

/// A correct broker.
#[derive(Clone, Copy, Debug)]
pub struct Permitted {
    /// What it chose, in a few words.
    pub name: &'static str,
    /// Its rules.
    pub rules: Rules,
}
