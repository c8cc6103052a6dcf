//! A plan: what will be tried. It holds no offset, epoch or sequence, for only a broker can know those.
//!
//! A plan is rounds of steps: the steps of one round overlap in time, rounds do not. So concurrency is data, and
//! shrinks like any other. A plan is stored as itself (JSON), never as the seed that it once came from.

use std::collections::BTreeSet;
use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::ids::{ClientId, GroupId, Key, Partition, StepId, Tag, TxnId};

pub mod forge;

use forge::Forge;

/// The version of the plan format that this crate writes, and the only one it reads.
pub const PLAN_VERSION: u32 = 1;

/// No fate holds a request for more rounds than this.
pub const HELD_ROUNDS_MAX: u8 = 8;

/// Kafka's clients keep at most this many batches in flight per connection, and brokers remember as many (KIP-98).
pub const BATCHES_IN_FLIGHT_MAX: usize = 5;

/// What will be tried: clients, and rounds of their steps.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// The format: [`PLAN_VERSION`].
    pub version: u32,
    /// Decides how overlapping requests interleave where the rig can decide it (the in-memory broker).
    pub schedule: u64,
    /// How many partitions the case's topic has.
    pub partitions: u8,
    /// Who takes part.
    pub clients: Vec<Client>,
    /// What they do, round by round.
    pub rounds: Vec<Round>,
}

/// One client: an application instance with a producer, a consumer or both.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Client {
    /// Its number, unique in the plan.
    pub id: ClientId,
    /// How it produces, if it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delivery: Option<Delivery>,
    /// How it consumes, if it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub consumer: Option<Consumer>,
}

/// The four deliveries of a producer. The retry rules are the client's: at-most-once never resends, at-least-once
/// resends as a new record, idempotent and transactional resend the same sequence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Delivery {
    /// No acknowledgement (`acks=0`), no retry.
    AtMostOnce,
    /// `acks=all` and resending, without a producer id.
    AtLeastOnce,
    /// Producer id and sequence numbers, outside transactions.
    Idempotent,
    /// Inside transactions of this transactional id.
    Transactional {
        /// The transactional id.
        txn: TxnId,
        /// Which transaction protocol the client speaks.
        protocol: Protocol,
    },
}

/// The transaction protocol, before and since KIP-890 part 2 (`transaction.version` 1 and 2).
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Protocol {
    /// Partitions are added by the client; the epoch stays from one transaction to the next.
    Tv1,
    /// Partitions are added by the first write; every end of a transaction bumps the epoch.
    Tv2,
}

/// How a client consumes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Consumer {
    /// The group whose positions it reads and saves.
    pub group: GroupId,
    /// Whether it joins the group as its (one, static) member, and so can be fenced by a successor, or only uses its offsets.
    pub member: bool,
    /// Whether it is a dynamic member instead: the members of the group share the inputs among them, and each partition moves
    /// when members come and go.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub shared: bool,
    /// The partitions that it reads.
    pub inputs: Vec<Partition>,
    /// What it may see.
    pub isolation: Isolation,
    /// When it saves its position.
    pub saving: Saving,
}

/// `isolation.level` of a consumer (KIP-98).
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Isolation {
    /// Everything in the log.
    ReadUncommitted,
    /// Only what is not part of an open or aborted transaction.
    ReadCommitted,
}

/// When a consumer saves its position: the three consumer semantics.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Saving {
    /// Save, then process: at most once.
    BeforeProcessing,
    /// Process, then save: at least once.
    AfterProcessing,
    /// In the transaction that holds the output: exactly once.
    InTransaction,
}

/// Steps that overlap in time, after the faults that open the round.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Round {
    /// What befalls the broker: before the steps begin, while nothing but held requests is on its way, or while they are
    /// under way. At most one of the latter kind.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub faults: Vec<Fault>,
    /// At most one step of each client. None at all, and no faults: the broker gets time for its own work.
    pub steps: Vec<Step>,
}

/// What befalls the broker.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Fault {
    /// Killed (as by `kill -9`) before the steps of the round begin, and started again on the same data.
    Restart,
    /// Killed while the steps of the round are under way, and started again on the same data.
    Kill,
    /// Stopped as the steps of the round begin, and let go on after a while, which is longer than clients wait for an answer:
    /// their requests time out, and may arrive after all.
    Pause,
}

impl Fault {
    /// Whether it strikes while the steps of the round are under way.
    pub fn overlaps(self) -> bool {
        match self {
            Fault::Restart => false,
            Fault::Kill | Fault::Pause => true,
        }
    }

    /// What it is called, as in plans.
    pub fn name(self) -> &'static str {
        match self {
            Fault::Restart => "restart",
            Fault::Kill => "kill",
            Fault::Pause => "pause",
        }
    }
}

/// One operation of one client, and what befalls its requests.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Step {
    /// Its number, unique in the plan.
    pub id: StepId,
    /// Who does it.
    pub client: ClientId,
    /// What is asked.
    pub op: Op,
    /// What befalls the request that carries out the operation (of a send: its first batch).
    #[serde(default, skip_serializing_if = "Fate::is_delivered")]
    pub fate: Fate,
    /// What befalls the request that prepares it, if there is one: adding a partition or a group to a transaction (TV1).
    #[serde(default, skip_serializing_if = "Fate::is_delivered")]
    pub preparation: Fate,
    /// The client crashes at this request, after it left and before its answer came. It never retries it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub crash: bool,
}

/// What a client may ask.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Op {
    /// Start: get a producer session (which fences predecessors of the same transactional id), join the group, read
    /// the saved position.
    Open,
    /// Produce batches to a partition, all in flight together, in this order.
    Send {
        /// Where to.
        partition: Partition,
        /// One to five batches of one or more records.
        batches: Vec<Vec<NewRecord>>,
    },
    /// Begin a transaction. Sends nothing.
    Begin,
    /// Commit the transaction.
    Commit,
    /// Abort the transaction. The client's read position must be rewound before it polls again.
    Abort,
    /// Read on from the position, in every input.
    Poll {
        /// At most this many records, over all inputs.
        max: u8,
    },
    /// Hand over what was polled to the application. A client that saves first processes only what it saved.
    Process,
    /// Save the position: what was polled (saving first) or what was processed.
    Save,
    /// Save, inside the transaction, the position after what was forwarded.
    SaveInTransaction,
    /// Produce, inside the transaction, one output record for each record polled and not yet forwarded.
    Forward {
        /// Where to. Never an input of the same client.
        to: Partition,
        /// The outputs are tagged `tag`, `tag + 1`, … in input order.
        tag: Tag,
        /// At most this many.
        limit: u8,
    },
    /// Go back to the saved position, and forget what was polled.
    Rewind,
    /// Stand still, heartbeats too, until the session is over and the group has given its place away; then go on, a zombie.
    Stall,
    /// Send a request as no client library sends it, and go on from whatever is answered. A client that does so once is
    /// trusted by nobody: no property judges it.
    Forge(Forge),
    /// Die: forget everything, tell nobody.
    Crash,
    /// End in good order: abort what is open, forget the session.
    Close,
}

/// One record to be produced.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NewRecord {
    /// Its identity.
    pub tag: Tag,
    /// What it is an upsert of.
    pub key: Key,
}

/// What befalls a request on its way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Fate {
    /// Nothing: it arrives, and so does its answer.
    #[default]
    Delivered,
    /// It never arrives. The client notices a timeout.
    RequestLost,
    /// It arrives, its answer does not. The client notices a timeout.
    ReplyLost,
    /// It arrives twice. The client sees the first answer.
    Repeated,
    /// It never arrives: an answer in the broker's name says that it cannot now. The client asks again.
    Busy,
    /// The network keeps it. The client notices a timeout; the request arrives as late as this.
    Held {
        /// How many rounds later it arrives, overlapping the steps of that round. At the latest before the final reads.
        rounds: u8,
    },
}

impl Fate {
    /// Whether nothing befalls the request.
    pub fn is_delivered(&self) -> bool {
        *self == Fate::Delivered
    }
}

impl Plan {
    /// All steps, in order.
    pub fn steps(&self) -> impl Iterator<Item = &Step> {
        self.rounds.iter().flat_map(|round| &round.steps)
    }

    /// The client of that number.
    pub fn client(&self, id: ClientId) -> Option<&Client> {
        self.clients.iter().find(|client| client.id == id)
    }

    /// The transactional ids that appear, in order.
    pub fn txns(&self) -> BTreeSet<TxnId> {
        self.clients.iter().filter_map(Client::txn).collect()
    }

    /// The groups that appear, in order.
    pub fn groups(&self) -> BTreeSet<GroupId> {
        (self.clients.iter())
            .filter_map(|client| client.consumer.as_ref())
            .map(|consumer| consumer.group)
            .collect()
    }

    /// The clients that forge.
    pub fn forgers(&self) -> BTreeSet<ClientId> {
        let forges = self.steps().filter(|step| matches!(step.op, Op::Forge(_)));
        forges.map(|step| step.client).collect()
    }

    /// All faults of the broker, in order.
    pub fn faults(&self) -> impl Iterator<Item = Fault> {
        self.rounds.iter().flat_map(|round| &round.faults).copied()
    }

    /// What size means when plans shrink: steps, faults and fates.
    pub fn size(&self) -> usize {
        self.faults().count() + self.steps().count()
    }
}

impl Client {
    /// Its transactional id, if it is a transactional producer.
    pub fn txn(&self) -> Option<TxnId> {
        match self.delivery {
            Some(Delivery::Transactional { txn, .. }) => Some(txn),
            _ => None,
        }
    }

    /// The transaction protocol that it speaks, if it is a transactional producer.
    pub fn protocol(&self) -> Option<Protocol> {
        match self.delivery {
            Some(Delivery::Transactional { protocol, .. }) => Some(protocol),
            _ => None,
        }
    }
}

/// Why something is not a plan, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlanFault {
    /// The step, where one is to blame.
    pub step: Option<StepId>,
    /// The round by its place, where one is to blame and none of its steps.
    pub round: Option<usize>,
    /// What is wrong with it.
    pub reason: String,
}

impl fmt::Display for PlanFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.step, self.round) {
            (Some(step), _) => write!(f, "step {step}: {}", self.reason),
            (None, Some(round)) => write!(f, "round {round}: {}", self.reason),
            (None, None) => write!(f, "{}", self.reason),
        }
    }
}

impl std::error::Error for PlanFault {}
