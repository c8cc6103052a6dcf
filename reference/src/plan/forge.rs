//! Forging: requests that no client library sends, in few parameters that go together freely.
//!
//! All of it is relative to what the forging client knows, never absolute: a plan holds no offset, epoch or sequence. The
//! contestable decision: a client that forges is trusted by nobody. No property judges what it does; only that it harms
//! nobody else. What the broker answers it is another judge's business.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Isolation, NewRecord};
use crate::ids::Partition;

/// No forged request goes back, or ahead, by more than this.
pub const BACK_MAX: u8 = 7;

/// A request as no client library sends it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Forge {
    /// Produce, of one batch. Nothing is added to a transaction before: over TV1 what was not added is outside of it.
    Produce {
        /// Where to.
        to: Partition,
        /// What. A repeat sends the records of what it repeats instead.
        records: Vec<NewRecord>,
        /// Whose session it shows.
        pose: Pose,
        /// Its sequence number.
        number: Number,
        /// Not marked as transactional, though its client has a transactional id.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        plain: bool,
        /// What is wrong with its bytes.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        flaw: Option<Flaw>,
    },
    /// AddPartitionsToTxn.
    AddPartition {
        /// What is added.
        partition: Partition,
        /// Whose session it shows.
        pose: Pose,
    },
    /// AddOffsetsToTxn, of the client's group.
    AddGroup {
        /// Whose session it shows.
        pose: Pose,
    },
    /// EndTxn, whether something is open or not.
    End {
        /// A commit, or else an abort.
        commit: bool,
        /// Whose session it shows.
        pose: Pose,
    },
    /// InitProducerId, in the middle of a life (KIP-360).
    Init {
        /// Which session it names as its own; [`Pose::Nobody`]: none.
        expecting: Pose,
    },
    /// OffsetCommit or TxnOffsetCommit of the client's group, of a position behind what it wrote last, or one further outside
    /// of a transaction.
    Save {
        /// Where.
        partition: Partition,
        /// TxnOffsetCommit. Its group is not added to the transaction before.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        in_transaction: bool,
        /// Whose session it shows, if in a transaction.
        pose: Pose,
        /// Which membership it shows.
        member: Shown,
    },
    /// Fetch.
    Fetch {
        /// Where.
        partition: Partition,
        /// From where on.
        from: From,
        /// What the reader may see.
        isolation: Isolation,
        /// At most one byte is asked for: the first batch comes all the same.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        byte: bool,
    },
    /// ListOffsets.
    List {
        /// Where.
        partition: Partition,
        /// The first offset, or else the one behind the last.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        earliest: bool,
        /// What the reader may see.
        isolation: Isolation,
    },
    /// OffsetFetch of the client's group, also in the middle of its own transaction.
    Positions {
        /// Where.
        partition: Partition,
        /// Also of what a transaction may still change (`require_stable` is not set, as before KIP-447).
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        unstable: bool,
    },
}

/// Whose producer session a request shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Pose {
    /// The client's own.
    Own,
    /// The client's own, by an earlier epoch.
    Behind {
        /// By how many. 1 to [`BACK_MAX`].
        epochs: u8,
    },
    /// The client's own, by the next epoch, which nobody gave it.
    Ahead,
    /// A producer id that was never given out.
    Stranger,
    /// None.
    Nobody,
}

/// The sequence number of a forged batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Number {
    /// The right one.
    Next,
    /// The number and the records of an earlier batch.
    Repeat {
        /// How many batches back: 1 is the last one. 1 to [`BACK_MAX`].
        back: u8,
    },
    /// A number of an earlier batch, for other records.
    Within {
        /// How many batches back: 1 is the last one. 1 to [`BACK_MAX`].
        back: u8,
        /// How many numbers behind its first one.
        shift: u8,
    },
    /// Too high.
    Gap {
        /// By how much. 1 or more.
        by: u8,
    },
    /// The first of all.
    Zero,
    /// Near the last of all, 2147483647, behind which 0 follows.
    Wrap {
        /// How far from it.
        before: u8,
    },
}

/// What is wrong with the bytes of a produce.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Flaw {
    /// The checksum.
    Checksum,
    /// The number of records: one more than there are.
    Count,
    /// The base offset: not 0.
    Base,
    /// It claims to be a control batch, as only brokers write them.
    Control,
    /// It is larger than brokers take (`message.max.bytes`).
    Big,
    /// There are two batches for one partition.
    Two,
    /// The acknowledgement that it asks for: `acks=2`.
    Acks,
    /// It is marked as transactional in a request without a transactional id.
    Orphan,
}

/// Which membership a save shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Shown {
    /// The client's own, if it is a member.
    Own,
    /// The generation before.
    Stale,
    /// The next generation.
    Future,
    /// A member id that was never given out.
    Stranger,
    /// None.
    Nobody,
}

/// From where on a fetch reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum From {
    /// The start.
    Start,
    /// Before it.
    Before,
    /// The middle of a batch.
    Inside,
    /// The end.
    End,
    /// Beyond it.
    Beyond,
}

impl Forge {
    /// Whether it may change anything.
    pub fn writes(&self) -> bool {
        !matches!(self, Forge::Fetch { .. } | Forge::List { .. } | Forge::Positions { .. })
    }

    /// The partition that it is about.
    pub fn partition(&self) -> Option<Partition> {
        match self {
            Forge::Produce { to: partition, .. }
            | Forge::AddPartition { partition, .. }
            | Forge::Save { partition, .. }
            | Forge::Fetch { partition, .. }
            | Forge::List { partition, .. }
            | Forge::Positions { partition, .. } => Some(*partition),
            Forge::AddGroup { .. } | Forge::End { .. } | Forge::Init { .. } => None,
        }
    }

    /// The same, to be changed.
    pub(crate) fn partition_mut(&mut self) -> Option<&mut Partition> {
        match self {
            Forge::Produce { to: partition, .. }
            | Forge::AddPartition { partition, .. }
            | Forge::Save { partition, .. }
            | Forge::Fetch { partition, .. }
            | Forge::List { partition, .. }
            | Forge::Positions { partition, .. } => Some(partition),
            Forge::AddGroup { .. } | Forge::End { .. } | Forge::Init { .. } => None,
        }
    }

    /// The records that it may send as its own.
    pub fn records(&self) -> &[NewRecord] {
        match self {
            Forge::Produce { records, .. } => records,
            _ => &[],
        }
    }

    /// Its parameters one step plainer each, best first. A produce that is plain in all of them is an ordinary send.
    pub fn plainer(&self) -> Vec<Forge> {
        let mut plainer = Vec::new();
        let mut change = |with: &dyn Fn(&mut Forge) -> bool| {
            let mut forge = self.clone();
            if with(&mut forge) {
                plainer.push(forge);
            }
        };
        change(&|forge| match forge {
            Forge::Produce { flaw, .. } => flaw.take().is_some(),
            _ => false,
        });
        change(&|forge| match forge {
            Forge::Produce { number, .. } => plain(number, Number::Next),
            Forge::Save { member, .. } => plain(member, Shown::Nobody),
            Forge::Fetch { from, .. } => plain(from, From::Start),
            _ => false,
        });
        change(&|forge| match forge {
            Forge::Produce { pose, .. }
            | Forge::AddPartition { pose, .. }
            | Forge::AddGroup { pose }
            | Forge::End { pose, .. }
            | Forge::Save { pose, .. }
            | Forge::Init { expecting: pose } => plain(pose, Pose::Own),
            Forge::Fetch { .. } | Forge::List { .. } | Forge::Positions { .. } => false,
        });
        change(&|forge| match forge {
            Forge::Produce { plain, .. } => std::mem::take(plain),
            Forge::End { commit, .. } => !std::mem::replace(commit, true),
            Forge::Save { in_transaction, .. } => std::mem::take(in_transaction),
            Forge::Fetch { byte, .. } => std::mem::take(byte),
            Forge::List { earliest, .. } => std::mem::take(earliest),
            Forge::Positions { unstable, .. } => std::mem::take(unstable),
            _ => false,
        });
        change(&|forge| match forge {
            Forge::Produce { number, .. } => number.shrink(),
            _ => false,
        });
        change(&|forge| match forge {
            Forge::Produce { records, .. } if records.len() > 1 => records.pop().is_some(),
            _ => false,
        });
        plainer
    }

    /// How far it is from the plainest request of its kind.
    pub fn oddity(&self) -> u64 {
        let pose = |pose: &Pose| u64::from(*pose != Pose::Own);
        match self {
            Forge::Produce { records, pose: shown, number, plain, flaw, .. } => {
                let flaws = u64::from(*plain) + u64::from(flaw.is_some());
                records.len() as u64 + pose(shown) + number.oddity() + flaws
            }
            Forge::AddPartition { pose: shown, .. }
            | Forge::AddGroup { pose: shown }
            | Forge::Init { expecting: shown } => pose(shown),
            Forge::End { commit, pose: shown } => pose(shown) + u64::from(!commit),
            Forge::Save { in_transaction, pose: shown, member, .. } => {
                pose(shown) + u64::from(*in_transaction) + u64::from(*member != Shown::Nobody)
            }
            Forge::Fetch { from, byte, .. } => u64::from(*from != From::Start) + u64::from(*byte),
            Forge::List { earliest, .. } => u64::from(*earliest),
            Forge::Positions { unstable, .. } => u64::from(*unstable),
        }
    }

    /// Whether it makes sense by itself.
    ///
    /// # Errors
    /// Why it does not.
    pub(crate) fn check(&self) -> Result<(), String> {
        let far = |number: u8| number == 0 || number > BACK_MAX;
        let pose = match self {
            Forge::Produce { pose, .. }
            | Forge::AddPartition { pose, .. }
            | Forge::AddGroup { pose }
            | Forge::End { pose, .. }
            | Forge::Save { pose, .. }
            | Forge::Init { expecting: pose } => *pose,
            Forge::Fetch { .. } | Forge::List { .. } | Forge::Positions { .. } => Pose::Own,
        };
        match (pose, self) {
            (Pose::Behind { epochs }, _) if far(epochs) => {
                Err(format!("forges an epoch {epochs} behind, not 1 to {BACK_MAX}"))
            }
            (_, Forge::Produce { records, .. }) if records.is_empty() => {
                Err("forges an empty batch".to_owned())
            }
            (
                _,
                Forge::Produce {
                    number: Number::Repeat { back } | Number::Within { back, .. },
                    ..
                },
            ) if far(*back) => Err(format!("goes {back} batches back, not 1 to {BACK_MAX}")),
            (_, Forge::Produce { number: Number::Gap { by: 0 }, .. }) => {
                Err("forges a gap of nothing".to_owned())
            }
            _ => Ok(()),
        }
    }
}

impl Number {
    fn oddity(self) -> u64 {
        match self {
            Number::Next => 0,
            Number::Zero => 1,
            Number::Repeat { back } => 1 + u64::from(back),
            Number::Gap { by } => 1 + u64::from(by),
            Number::Wrap { before } => 2 + u64::from(before),
            Number::Within { back, shift } => 2 + u64::from(back) + u64::from(shift),
        }
    }

    /// Makes its amounts smaller. Whether that was possible.
    fn shrink(&mut self) -> bool {
        match self {
            Number::Within { shift: amount @ 1.., .. }
            | Number::Wrap { before: amount @ 1.. }
            | Number::Repeat { back: amount @ 2.. }
            | Number::Within { back: amount @ 2.., .. }
            | Number::Gap { by: amount @ 2.. } => {
                *amount -= 1;
                true
            }
            _ => false,
        }
    }
}

/// Whether a parameter was not the plain one, as it is now.
fn plain<T: PartialEq>(parameter: &mut T, value: T) -> bool {
    let odd = *parameter != value;
    *parameter = value;
    odd
}
