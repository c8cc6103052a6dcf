//! The requests of the Kafka protocol that this suite speaks, as small enums: what a client asks and a broker answers.
//!
//! One broker-side effect, one request: where Kafka batches (many partitions in one request), these ask for one. The
//! model answers them in process; the wire transport puts them into frames.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::code::Code;
use crate::history::Record;
use crate::ids::{GroupId, Offset, Partition, TxnId};
use crate::plan::forge::Flaw;
use crate::plan::{Isolation, Protocol};

/// A producer session: producer id and epoch.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(deny_unknown_fields)]
pub struct Session {
    /// The producer id.
    pub producer: i64,
    /// The epoch; a higher one fences all lower ones.
    pub epoch: i16,
}

/// A group membership: what a member shows so that the coordinator can tell it from a successor (KIP-447, KIP-345).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Member {
    /// The group's generation.
    pub generation: i32,
    /// The member id that the coordinator gave out.
    pub id: String,
    /// The name that it keeps when it starts again, if it is a static member.
    pub instance: Option<String>,
}

/// A batch on its way to the log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Batch {
    /// The producer's session; none for a producer without id.
    pub session: Option<Session>,
    /// The sequence number of the first record; -1 without a session.
    pub first_sequence: i32,
    /// The records, one at least.
    pub records: Vec<Record>,
}

/// How a transaction ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Ending {
    /// All of it is visible.
    Commit,
    /// None of it is.
    Abort,
}

/// What a client asks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Request {
    /// InitProducerId: a fresh id, or the next epoch of the transactional id's.
    InitProducer {
        /// The transactional id, if any.
        txn: Option<TxnId>,
        /// The session that a producer has already and goes on from (KIP-360).
        expected: Option<Session>,
    },
    /// AddPartitionsToTxn (TV1 only).
    AddPartition {
        /// The transactional id.
        txn: TxnId,
        /// Who asks.
        session: Session,
        /// What is added.
        partition: Partition,
    },
    /// AddOffsetsToTxn (TV1 only).
    AddGroup {
        /// The transactional id.
        txn: TxnId,
        /// Who asks.
        session: Session,
        /// What is added.
        group: GroupId,
    },
    /// Produce, of one batch to one partition.
    Produce {
        /// Where to.
        partition: Partition,
        /// What.
        batch: Batch,
        /// `acks=all` if set, else `acks=0`: no answer is sent.
        acks: bool,
        /// The transaction that the batch belongs to, and the protocol of its client. TV2 adds the partition implicitly.
        txn: Option<(TxnId, Protocol)>,
    },
    /// Produce, of a batch that no broker may take.
    Malformed {
        /// What is wrong with it.
        flaw: Flaw,
        /// Where to.
        partition: Partition,
        /// What it would have been.
        batch: Batch,
        /// As of [`Request::Produce`].
        txn: Option<(TxnId, Protocol)>,
    },
    /// EndTxn.
    EndTxn {
        /// The transactional id.
        txn: TxnId,
        /// Who asks.
        session: Session,
        /// How it ends.
        ending: Ending,
        /// The client's protocol. TV2 bumps the epoch.
        protocol: Protocol,
    },
    /// TxnOffsetCommit.
    SaveInTxn {
        /// The transactional id.
        txn: TxnId,
        /// Who asks.
        session: Session,
        /// The client's protocol. TV2 adds the group implicitly.
        protocol: Protocol,
        /// Whose positions.
        group: GroupId,
        /// The membership, if the client is a member.
        member: Option<Member>,
        /// The positions.
        positions: Vec<(Partition, Offset)>,
    },
    /// OffsetCommit.
    Save {
        /// Whose positions.
        group: GroupId,
        /// The membership, if the client is a member.
        member: Option<Member>,
        /// The positions.
        positions: Vec<(Partition, Offset)>,
    },
    /// OffsetFetch.
    Positions {
        /// Whose.
        group: GroupId,
        /// Where.
        partitions: Vec<Partition>,
        /// Of stable offsets only (`require_stable`, KIP-447).
        stable: bool,
    },
    /// JoinGroup and SyncGroup as the group's one static member: it replaces and fences its predecessor.
    Join {
        /// Which group.
        group: GroupId,
    },
    /// Fetch, of one partition.
    Fetch {
        /// Where.
        partition: Partition,
        /// From which offset on.
        offset: Offset,
        /// What the reader may see.
        isolation: Isolation,
    },
    /// The same, of one byte at most: of the first batch.
    FetchByte {
        /// Where.
        partition: Partition,
        /// From which offset on.
        offset: Offset,
        /// What the reader may see.
        isolation: Isolation,
    },
    /// ListOffsets.
    ListOffsets {
        /// Where.
        partition: Partition,
        /// The first offset, or else the one behind the last that the reader may see.
        earliest: bool,
        /// What the reader may see.
        isolation: Isolation,
    },
}

/// What a broker answers when it does what was asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Response {
    /// To [`Request::InitProducer`].
    Producer(Session),
    /// To [`Request::Produce`]. The offset may be withheld (-1 on the wire).
    Appended(Option<Offset>),
    /// To [`Request::EndTxn`]: the session to go on with (TV2 tells a new one).
    Ended(Session),
    /// To [`Request::Positions`], in the order asked.
    Positions(Vec<(Partition, Option<Offset>)>),
    /// To [`Request::Join`].
    Joined(Member),
    /// To [`Request::Fetch`] and [`Request::FetchByte`].
    Fetched(FetchReply),
    /// To [`Request::ListOffsets`].
    Listed(Offset),
    /// To all others, and to a produce with `acks=0` (the frame was sent; nothing is known).
    Done,
}

/// What a fetch returns. The reader filters what was aborted, as every Kafka consumer does.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FetchReply {
    /// The high watermark.
    pub high_watermark: Offset,
    /// The last stable offset; -1 where the broker did not tell.
    pub last_stable: Offset,
    /// Aborted transactions that overlap what is returned: producer id and first offset. Empty unless read_committed.
    pub aborted: Vec<(i64, Offset)>,
    /// The batches, in log order; the first may begin below the offset asked for.
    pub batches: Vec<LogBatch>,
}

/// A batch as it stands in the log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LogBatch {
    /// The offset of its first record.
    pub base: Offset,
    /// The offset of its last record.
    pub last: Offset,
    /// Who wrote it, if a producer with an id.
    pub session: Option<Session>,
    /// The sequence number of the first record; -1 without a session.
    pub first_sequence: i32,
    /// Whether it belongs to a transaction.
    pub transactional: bool,
    /// What is in it.
    pub body: Body,
}

/// What is in a batch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Body {
    /// Records with their offsets. None: bytes that no client of this case produced.
    Records(Vec<(Offset, Option<Record>)>),
    /// The end of its producer's transaction in this partition.
    Marker(Ending),
}

/// What comes back when something comes back: a response, or an error code.
pub type Answer = Result<Response, Code>;

impl Request {
    /// The name that Kafka gives the request.
    pub fn name(&self) -> &'static str {
        match self {
            Request::InitProducer { .. } => "InitProducerId",
            Request::AddPartition { .. } => "AddPartitionsToTxn",
            Request::AddGroup { .. } => "AddOffsetsToTxn",
            Request::Produce { .. } | Request::Malformed { .. } => "Produce",
            Request::EndTxn { .. } => "EndTxn",
            Request::SaveInTxn { .. } => "TxnOffsetCommit",
            Request::Save { .. } => "OffsetCommit",
            Request::Positions { .. } => "OffsetFetch",
            Request::Join { .. } => "JoinGroup",
            Request::Fetch { .. } | Request::FetchByte { .. } => "Fetch",
            Request::ListOffsets { .. } => "ListOffsets",
        }
    }

    /// The transactional id that it is asked for.
    pub fn txn(&self) -> Option<TxnId> {
        match self {
            Request::InitProducer { txn, .. } => *txn,
            Request::AddPartition { txn, .. }
            | Request::AddGroup { txn, .. }
            | Request::EndTxn { txn, .. }
            | Request::SaveInTxn { txn, .. } => Some(*txn),
            Request::Produce { txn, .. } | Request::Malformed { txn, .. } => {
                txn.map(|(txn, _)| txn)
            }
            Request::Save { .. }
            | Request::Positions { .. }
            | Request::Join { .. }
            | Request::Fetch { .. }
            | Request::FetchByte { .. }
            | Request::ListOffsets { .. } => None,
        }
    }
}
