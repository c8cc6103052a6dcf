//! A history: what was seen, in the recorder's own order. Properties know nothing else.
//!
//! Every call of a client is one [`Event::Call`] and (unless the rig was stopped) one [`Event::Return`] that refers to it
//! by its place in the history. Between them a call may have several requests; those whose answer the client did not see,
//! or that were sent more than once, are told by [`Event::Answer`]. An answer hidden from the client is known to the rig.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::code::Code;
use crate::exchanges::Exchange;
use crate::ids::{ClientId, EventId, GroupId, Key, Offset, Partition, StepId, Tag};
use crate::plan::forge::Forge;
use crate::plan::{Client, Fate, Fault, Isolation};

/// The version of the history format that this crate writes, and the only one it reads.
pub const HISTORY_VERSION: u32 = 1;

/// What was seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct History {
    /// Who took part, and where.
    pub header: Header,
    /// What happened. An event's id is its place here.
    pub events: Vec<Event>,
    /// What went over the wire meanwhile. Empty where the adapter does not speak the protocol.
    pub exchanges: Vec<Exchange>,
}

/// The first line of a history.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Header {
    /// The format: [`HISTORY_VERSION`].
    pub version: u32,
    /// What was driven, for people: target, client and broker version as far as known.
    pub target: String,
    /// How many partitions the topic had.
    pub partitions: u8,
    /// Who took part.
    pub clients: Vec<Client>,
}

/// One thing that happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Event {
    /// A client begins something. A send is one call for each of its batches.
    Call {
        /// The step of the plan that it belongs to.
        step: StepId,
        /// Who.
        client: ClientId,
        /// What.
        call: Call,
    },
    /// One request of a call was answered (or not), where that differs from what the client learned or is one of several.
    Answer {
        /// The call.
        of: EventId,
        /// The request prepared the call (added a partition or group to the transaction) rather than carrying it out.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        preparation: bool,
        /// What befell the request.
        fate: Fate,
        /// What the broker said. `Unknown` where it was lost on the way there, or nothing came back to the rig either.
        outcome: Outcome,
    },
    /// What the client knows of the call in the end.
    Return {
        /// The call.
        of: EventId,
        /// What it knows.
        outcome: Outcome,
    },
    /// A step was not carried out, for the client was in no state to do so.
    Skipped {
        /// The step.
        step: StepId,
        /// Who.
        client: ClientId,
        /// Why.
        why: Skip,
    },
    /// A client is gone: it forgot everything. Its requests may still be under way.
    Crashed {
        /// The step that says so.
        step: StepId,
        /// Who.
        client: ClientId,
    },
    /// A fault of the broker, at the moment at which it strikes. When it is over, is not told.
    Fault {
        /// Which.
        fault: Fault,
        /// Whether it really happened; if not, the target could not do it.
        happened: bool,
    },
    /// Where the broker, when the fault before this struck it, had yet to write the markers of transactions that were ended.
    /// Told only by a broker that can be looked into, and only if there is such a place.
    Unmarked {
        /// Partitions that lack a marker.
        partitions: Vec<Partition>,
        /// Groups that lack one.
        groups: Vec<GroupId>,
    },
    /// The epilogue begins: no more faults, held requests have arrived, open transactions of every transactional id are
    /// ended by a fresh instance.
    Healed,
    /// After healing: a fresh client read a partition from its start to its end.
    Read {
        /// Where.
        partition: Partition,
        /// At which level.
        isolation: Isolation,
        /// The high watermark; reading stopped there, or at the last stable offset.
        high_watermark: Offset,
        /// The last stable offset, where the client can know it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        last_stable: Option<Offset>,
        /// What an application would be handed, in order.
        records: Vec<Seen>,
    },
    /// After healing: a group's committed offset.
    Committed {
        /// Whose.
        group: GroupId,
        /// Where.
        partition: Partition,
        /// The offset, if there is one.
        offset: Option<Offset>,
    },
    /// After healing: what the application of a group that processes before it saves has of a key of an input. Told by
    /// clients whose application can be asked.
    View {
        /// Whose.
        group: GroupId,
        /// Which input.
        partition: Partition,
        /// Which key.
        key: Key,
        /// The records that its value is made of: the last upsert, and no other.
        records: Vec<Tag>,
    },
    /// After healing: something that had to go on did not, within the time given.
    Stuck {
        /// What, in words.
        what: String,
    },
}

/// What a client begins.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Call {
    /// Start. Returns [`Reply::Opened`].
    Open,
    /// Produce one batch. Returns [`Reply::Appended`].
    Send {
        /// Where to.
        partition: Partition,
        /// What, in order.
        records: Vec<Record>,
        /// The session and sequence that the producer used, if it has any.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        sequence: Option<Sequence>,
    },
    /// Begin a transaction. Returns [`Reply::Nothing`].
    Begin,
    /// Commit the transaction. Returns [`Reply::Nothing`].
    Commit,
    /// Abort the transaction. Returns [`Reply::Nothing`].
    Abort,
    /// Read on. Returns [`Reply::Polled`].
    Poll,
    /// Hand over these records to the application. Returns [`Reply::Nothing`].
    Process {
        /// Which.
        records: Vec<Tag>,
    },
    /// Save these positions (the next offset to read). Returns [`Reply::Nothing`].
    Save {
        /// Whose.
        group: GroupId,
        /// Where and how far.
        positions: Vec<(Partition, Offset)>,
        /// Whether inside the client's transaction.
        in_transaction: bool,
    },
    /// Go back to the saved position. Returns [`Reply::Positions`].
    Rewind,
    /// Send a request as no client library sends it. Returns [`Reply::Appended`], [`Reply::Opened`] (the session to go on
    /// with), [`Reply::Polled`], [`Reply::Positions`] (the offset that was asked for) or [`Reply::Nothing`].
    Forge(Forged),
    /// Stand still until the session is over. Returns [`Reply::Nothing`] when it goes on.
    Stall,
    /// End in good order. Returns [`Reply::Nothing`].
    Close,
}

/// A record as it was produced.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Record {
    /// Its identity.
    pub tag: Tag,
    /// What it is an upsert of.
    pub key: Key,
    /// The input that it was made from, if it is the output of a read-process-write loop.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<Tag>,
}

/// A forged request, in the words of the plan and in the numbers that it then had.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Forged {
    /// What was forged.
    pub forge: Forge,
    /// The producer id and epoch that it showed, if any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<(i64, i16)>,
    /// The sequence number of the first record, if it has any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first: Option<i32>,
    /// The records that were sent: of a repeat, those of what it repeats.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub records: Vec<Record>,
    /// The offset that was read from, or saved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub offset: Option<Offset>,
    /// The generation that it showed, if any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub generation: Option<i32>,
}

/// Which producer session sent a batch, and its first sequence number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Sequence {
    /// The producer id.
    pub producer: i64,
    /// The producer epoch.
    pub epoch: i16,
    /// The sequence number of the first record.
    pub first: i32,
}

/// What is known of a request or a call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Outcome {
    /// It happened.
    Done(Reply),
    /// It did not happen and will not.
    Refused(Code),
    /// It may have happened, or may yet. In doubt: this.
    Unknown,
}

/// What a call that happened gave back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Reply {
    /// No more than that it happened.
    Nothing,
    /// A session began.
    Opened {
        /// Producer id and epoch, where the client is told.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        session: Option<(i64, i16)>,
        /// The saved positions that the consumer starts from; none: from the start.
        positions: Vec<(Partition, Option<Offset>)>,
    },
    /// A batch was appended (now, or by an earlier copy of the request).
    Appended {
        /// The offset of its first record; none where the client is not told.
        base: Option<Offset>,
    },
    /// Records were read.
    Polled(Vec<Fetched>),
    /// The saved positions.
    Positions(Vec<(Partition, Option<Offset>)>),
}

/// What one poll got from one partition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Fetched {
    /// Where.
    pub partition: Partition,
    /// The position before.
    pub from: Offset,
    /// The position after: every offset below it was read or is not for this reader.
    pub to: Offset,
    /// What the application was handed, in order.
    pub records: Vec<Seen>,
}

/// A record as it was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Seen {
    /// Where.
    pub offset: Offset,
    /// Which; none where the bytes are not those of any record of this case as it was sent (corrupt or foreign).
    pub tag: Option<Tag>,
}

/// Why a step was not carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Skip {
    /// The client is not open.
    NotOpen,
    /// A successor fenced the client, or the broker refused its session for good.
    Fenced,
    /// An earlier outcome is unknown; a client that cares for its delivery must start again.
    InDoubt,
    /// Needs a transaction, and there is none.
    NoTransaction,
    /// Needs that no transaction is open.
    TransactionOpen,
    /// Part of the transaction failed, so it can only be aborted.
    MustAbort,
    /// The transaction holds outputs and not yet the position of their inputs.
    Unsaved,
    /// A transaction was aborted and the position not yet rewound.
    MustRewind,
    /// There is nothing to do it with: nothing polled, processed or to save.
    NothingToDo,
    /// The adapter cannot do it.
    Unsupported,
}
