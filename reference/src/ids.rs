//! The small numbers that plans and histories speak in. Adapters map them to real names.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

macro_rules! small_number {
    ($(#[$doc:meta])* $name:ident($inner:ty), $prefix:literal) => {
        $(#[$doc])*
        #[derive(
            Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
        )]
        #[serde(transparent)]
        pub struct $name(pub $inner);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!($prefix, "{}"), self.0)
            }
        }
    };
}

// A number that is at most 255 in every plan and history, and is read as such; but a broker of many topics has more of them.
macro_rules! served_number {
    ($(#[$doc:meta])* $name:ident, $prefix:literal) => {
        $(#[$doc])*
        #[derive(
            Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
        )]
        #[serde(from = "u8")]
        #[schemars(!from, transparent)]
        pub struct $name(#[schemars(with = "u8")] pub u32);

        impl From<u8> for $name {
            fn from(number: u8) -> Self {
                $name(number.into())
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!($prefix, "{}"), self.0)
            }
        }
    };
}

small_number!(
    /// The identity of one record of a case. Its payload carries it, so that each observation has exactly one cause.
    Tag(u32), "r"
);
served_number!(
    /// A record key: records of one key are upserts of it.
    Key, "k"
);
small_number!(
    /// One client of a case: an application instance with a producer, a consumer or both.
    ClientId(u8), "c"
);
served_number!(
    /// A transactional id. Two clients with the same one are two instances of the same application.
    TxnId, "t"
);
served_number!(
    /// A consumer group.
    GroupId, "g"
);
served_number!(
    /// A partition of the case's topic.
    Partition, "p"
);
small_number!(
    /// One step of a plan. Ids stay as they are when a plan shrinks.
    StepId(u32), "s"
);
small_number!(
    /// An event's place in its history, counted from 0.
    EventId(u32), "e"
);

/// A record's place in its partition, as the broker assigned it.
pub type Offset = i64;

impl Partition {
    /// Its number as the wire has it.
    pub fn index(self) -> i32 {
        self.0.cast_signed()
    }
}
