//! What a guarantee costs: the words for what is timed, and the trait of whoever can time it.
//!
//! A meter does the I/O of one turn and says how long each record took; what many turns amount to is the harness's
//! business. Clocks are read here rather than there because a record is final inside the client, in the callback of its
//! acknowledgement: whoever waits for that callback from outside times its own scheduler as well.

use std::time::Duration;

use futures::future::BoxFuture;

use crate::TargetError;

/// What has a price: a way to produce, or a way to consume.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// `acks=0`, no retries.
    AtMostOnce,
    /// `acks=all`, retries, no producer id.
    AtLeastOnce,
    /// Producer id and sequence numbers.
    Idempotent,
    /// Transactions of so many records each.
    Transactional(u32),
    /// A consumer that sees everything.
    ReadUncommitted,
    /// A consumer that sees committed transactions only.
    ReadCommitted,
}

/// What of it is timed in a turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Measure {
    /// How long one record takes while nothing else is under way: the next one (or the next transaction) is sent when it is
    /// final. For consumers, how long until it is read.
    Latency,
    /// How many records go through when as many are under way as the client takes. For consumers, how fast a log is drained.
    Throughput,
}

/// What all turns have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Load {
    /// The size of a record's value; [`RECORD_BYTES`] bounds it.
    pub record_bytes: usize,
    /// How long a producer waits for more records to go into a batch.
    pub linger: Duration,
    /// Fills the records.
    pub seed: u64,
}

/// What sizes of records can be timed: a record bears a number, and brokers take 1 MB by default.
pub const RECORD_BYTES: std::ops::RangeInclusive<u64> = 16..=900_000;

/// What one turn came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Turn {
    /// Producing: from handing a record over until it is final, which is until it is acknowledged, in a transaction until
    /// the commit is, and without acknowledgements until it is handed over to the socket.
    /// Consuming: from then until it is read; nothing if it was read before.
    pub waits: Vec<Duration>,
    /// Consuming: from handing a record over to the producer until it is read.
    pub waits_since_sent: Vec<Duration>,
    /// Records that arrived: acknowledged, committed, found in the log, or read.
    pub records: u64,
    /// Records that did not.
    pub lost: u64,
    /// How long all of them took.
    pub elapsed: Duration,
}

/// Whether a target can do what is to be timed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Support {
    /// It can.
    Supported,
    /// It cannot, for this reason.
    Unsupported(String),
}

/// Times one target by one client.
pub trait Meter: Send + Sync {
    /// What is driven, for people: target and client.
    fn describe(&self) -> String;

    /// Opens the clients of a kind and tries them out, so that no turn pays for that.
    ///
    /// # Errors
    /// When the target does not answer.
    fn open(&self, kind: Kind) -> BoxFuture<'_, Result<Support, TargetError>>;

    /// One turn of about so long; one record or one transaction at least. What comes before a connection is warm is not timed.
    ///
    /// # Errors
    /// When the target does not answer, or refuses. The next turn of that kind starts with new clients then.
    fn turn(
        &self,
        kind: Kind,
        measure: Measure,
        length: Duration,
    ) -> BoxFuture<'_, Result<Turn, TargetError>>;

    /// Removes whatever the turns left on the target.
    ///
    /// # Errors
    /// When that cannot be done.
    fn clean(&self) -> BoxFuture<'_, Result<(), TargetError>>;
}

impl Kind {
    /// All of them: producers, then consumers, in the order of the reports.
    pub const ALL: [Kind; 9] = [
        Kind::AtMostOnce,
        Kind::AtLeastOnce,
        Kind::Idempotent,
        Kind::Transactional(1),
        Kind::Transactional(10),
        Kind::Transactional(100),
        Kind::Transactional(1000),
        Kind::ReadUncommitted,
        Kind::ReadCommitted,
    ];

    /// Whether it is a way to consume.
    pub fn consumes(self) -> bool {
        matches!(self, Kind::ReadUncommitted | Kind::ReadCommitted)
    }
}
