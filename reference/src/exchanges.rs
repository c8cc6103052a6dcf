//! What went over the wire in one case, as the rig saw it: every request of the protocol and its answer, also an answer that
//! was hidden from the client. Only an adapter that speaks the protocol knows it.
//!
//! A history's events are what clients know; exchanges are what the broker was asked and said. The second judge
//! ([`crate::explain`]) reads these alone.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::ids::{ClientId, EventId};
use crate::protocol::{Answer, Request};

/// One thing that was seen on the wire. Its place among the others is its time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Exchange {
    /// A request leaves.
    Asked {
        /// The event that was written down last before.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        after: Option<EventId>,
        /// On which connection.
        lane: Lane,
        /// What is asked.
        request: Request,
    },
    /// Its answer is here.
    Answered {
        /// The place of the request among the exchanges.
        of: u32,
        /// What was answered. To a produce with `acks=0`, which no broker answers: it was sent.
        #[serde(with = "result")]
        #[schemars(with = "result::Words")]
        answer: Answer,
    },
    /// No answer came, and none will. The request may have been carried out, or may yet.
    Unanswered {
        /// The place of the request among the exchanges.
        of: u32,
    },
    /// A connection was given up without a word. What was sent on it last may never arrive.
    Cut {
        /// Which.
        lane: Lane,
    },
    /// The broker was killed here, and starts again on the same data.
    Restarted,
    /// The broker was stopped here for a while: what clients wait for in vain may be carried out later, and time passes.
    Paused,
}

/// Which connection a request takes. Requests on one are carried out in order.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Lane {
    /// A client's own.
    Client(ClientId),
    /// One for a request that the network held back, so that others can overtake it. Numbered.
    Held(u32),
    /// The rig's, for the epilogue.
    Rig,
}

/// An answer as JSON: `{"done": …}` or `{"refused": 45}`.
mod result {
    use schemars::JsonSchema;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use crate::code::Code;
    use crate::protocol::{Answer, Response};

    #[derive(Serialize, Deserialize, JsonSchema)]
    #[serde(rename_all = "snake_case", deny_unknown_fields)]
    pub(super) enum Words {
        Done(Response),
        Refused(Code),
    }

    pub(super) fn serialize<S: Serializer>(answer: &Answer, to: S) -> Result<S::Ok, S::Error> {
        match answer.clone() {
            Ok(response) => Words::Done(response),
            Err(code) => Words::Refused(code),
        }
        .serialize(to)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Answer, D::Error> {
        Ok(match Words::deserialize(from)? {
            Words::Done(response) => Ok(response),
            Words::Refused(code) => Err(code),
        })
    }
}
