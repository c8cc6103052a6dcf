//! What a property says of a history.

use onceness_reference::ids::EventId;
use serde::Serialize;

/// A delivery semantic that a broker claims; each property speaks for some of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Claim {
    /// Fire and forget; save the position, then process.
    AtMostOnce,
    /// Resend until acknowledged; process, then save the position.
    AtLeastOnce,
    /// Producer id and sequence numbers.
    Idempotent,
    /// All of a transaction or nothing, and isolation.
    Transactional,
    /// Consumed positions in the transaction of the output.
    ExactlyOnce,
}

impl Claim {
    /// All of them, weakest first.
    pub const ALL: [Claim; 5] = [
        Claim::AtMostOnce,
        Claim::AtLeastOnce,
        Claim::Idempotent,
        Claim::Transactional,
        Claim::ExactlyOnce,
    ];

    /// The name that users type.
    pub fn name(self) -> &'static str {
        match self {
            Claim::AtMostOnce => "at-most-once",
            Claim::AtLeastOnce => "at-least-once",
            Claim::Idempotent => "idempotent",
            Claim::Transactional => "transactional",
            Claim::ExactlyOnce => "exactly-once",
        }
    }
}

/// What one property says of one history, for one claim.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// The promise was put to the test this often, and kept.
    Holds {
        /// How often.
        times: u64,
    },
    /// The promise was never put to the test.
    Untested,
    /// The target, driven this way, cannot be asked.
    Unsupported,
    /// The promise was broken.
    Violated(Vec<Violation>),
}

/// A broken promise, with its proof.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Violation {
    /// The events that prove it, in order.
    pub evidence: Vec<EventId>,
    /// The proof told in one sentence.
    pub story: String,
    /// A known weakness of the protocol itself that explains it, by id (for example `KAFKA-17754`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weakness: Option<&'static str>,
}

/// What is not as it should be: another answer than Kafka's, a clause that is a SHOULD, or a kind of violation where a property
/// knows many.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Deviation {
    /// What deviates, in the same words wherever it is seen.
    pub what: String,
    /// It breaks a promise, too: so says the verdict, and this says how.
    pub breaks: bool,
    /// The events that show it, in order.
    pub evidence: Vec<EventId>,
    /// What happened, told in one sentence.
    pub story: String,
}
