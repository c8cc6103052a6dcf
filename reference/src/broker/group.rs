//! The group coordinator: saved positions, plain and pending in transactions, and who may save them
//! (`OffsetMetadataManager`; KIP-447). Who its members are is told by `membership`.

mod cells;

use std::collections::{BTreeMap, BTreeSet};

use crate::code::Code;
use crate::ids::{Offset, Partition};
use crate::protocol::{Ending, Member, Session};
use crate::rules::Rules;

use super::membership::Membership;

/// More saves than this are not kept, unless they are of so many partitions.
const SAVES_KEPT: usize = 4096;
/// A position that so many others were saved after is expired (a defect).
const EXPIRES_AFTER: u64 = 3;

/// One group. All of it is durable.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Group {
    pub(super) membership: Membership,
    saved: Vec<Saved>,
    pending: Vec<(Session, Saved)>,
    /// How many positions were ever saved: the place of the next one in the coordinator's own log.
    writes: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Saved {
    partition: Partition,
    offset: Offset,
    written: u64,
}

impl Group {
    /// The one static member joins and syncs; it replaces its predecessor, whose saves are refused from now on.
    pub(super) fn join(&mut self) -> Member {
        self.membership.join_alone()
    }

    /// Whether a save by that member, or by nobody in particular, is allowed.
    pub(super) fn check_member(
        &self,
        rules: &Rules,
        member: Option<&Member>,
        in_transaction: bool,
    ) -> Result<(), Code> {
        match member {
            _ if rules.wrong.offsets.accepts_replaced_members => Ok(()),
            // TxnOffsetCommit without member data is accepted even on a group with members.
            None if in_transaction || self.membership.is_empty() => Ok(()),
            None => Err(Code::UNKNOWN_MEMBER_ID),
            // Kafka before OffsetCommit v9; later versions say GROUP_ID_NOT_FOUND of a group that is not there.
            Some(_) if !self.exists() => Err(Code::ILLEGAL_GENERATION),
            Some(member) => {
                self.membership.check(member)?;
                match self.membership.is_completing() && !in_transaction {
                    true => Err(Code::REBALANCE_IN_PROGRESS),
                    false => Ok(()),
                }
            }
        }
    }

    /// Whether anybody ever joined it or saved in it.
    fn exists(&self) -> bool {
        self.writes > 0 || self.membership.was_joined()
    }

    /// OffsetCommit.
    pub(super) fn save(&mut self, positions: &[(Partition, Offset)]) {
        for &(partition, offset) in positions {
            self.writes += 1;
            self.saved.push(Saved { partition, offset, written: self.writes });
        }
        if self.saved.len() > SAVES_KEPT {
            self.forget_old_saves();
        }
    }

    /// Of each partition only the last save counts, and the one before if that is lost.
    fn forget_old_saves(&mut self) {
        let mut kept: BTreeMap<Partition, u8> = BTreeMap::new();
        self.saved.reverse();
        self.saved.retain(|saved| {
            let count = kept.entry(saved.partition).or_default();
            *count = count.saturating_add(1);
            *count <= 2
        });
        self.saved.reverse();
    }

    /// Whether that session has saved in a transaction whose marker is not written here yet.
    pub(super) fn in_transaction(&self, session: Session, by_epoch: bool) -> bool {
        self.pending.iter().any(|(owner, _)| {
            *owner == session || (owner.producer == session.producer && !by_epoch)
        })
    }

    /// TxnOffsetCommit.
    pub(super) fn save_pending(&mut self, session: Session, positions: &[(Partition, Offset)]) {
        for &(partition, offset) in positions {
            self.writes += 1;
            let saved = Saved { partition, offset, written: self.writes };
            self.pending.push((session, saved));
        }
    }

    /// The marker of a transaction: its positions take effect, or are forgotten. Of a plain and a transactional save the
    /// one that was *written* later wins (`OffsetMetadataManager.completeTransactionalOffsets`).
    pub(super) fn end_transaction(&mut self, rules: &Rules, session: Session, ending: Ending) {
        let its = |owner: &Session| owner.producer == session.producer;
        if (self.pending.iter()).any(|(owner, _)| its(owner) && owner.epoch > session.epoch) {
            // Refused as in any other log, and nobody asks again.
            return;
        }
        let (ended, open): (Vec<_>, Vec<_>) =
            (self.pending.drain(..)).partition(|(owner, _)| its(owner));
        self.pending = open;
        if rules.wrong.offsets.stays_unstable {
            self.pending.extend(&ended);
        }
        if ending == Ending::Commit {
            self.saved.extend(ended.iter().map(|(_, saved)| *saved));
        }
    }

    /// OffsetFetch. With `require_stable` refused while a transaction may still change an answer. Kafka refuses partition
    /// by partition; here one unstable partition refuses them all, for clients ask again for all anyway.
    pub(super) fn positions(
        &self,
        rules: &Rules,
        partitions: &[Partition],
        stable: bool,
    ) -> Result<Vec<(Partition, Option<Offset>)>, Code> {
        if stable
            && !rules.wrong.offsets.tells_unstable
            && (self.pending.iter()).any(|(_, pending)| partitions.contains(&pending.partition))
        {
            return Err(Code::UNSTABLE_OFFSET_COMMIT);
        }
        let found = partitions.iter().map(|&partition| {
            let position = self.position(rules, partition);
            (partition, self.reported(rules, position))
        });
        Ok(found.collect())
    }

    /// Where there is a position, saved or pending.
    pub(super) fn partitions(&self) -> BTreeSet<Partition> {
        let pending = self.pending.iter().map(|(_, saved)| saved);
        self.saved.iter().chain(pending).map(|saved| saved.partition).collect()
    }

    /// All of it is found again, but by a defective broker.
    pub(super) fn restart(&mut self, rules: &Rules) {
        let wrong = &rules.wrong.offsets;
        if wrong.forgets_on_restart {
            self.saved.pop();
        }
        if wrong.forgets_pending_on_restart {
            self.pending.clear();
        }
        if wrong.reorders_on_restart {
            for (saved, settled) in self.saved.iter_mut().zip(1..) {
                saved.written = settled;
            }
        }
    }

    fn position(&self, rules: &Rules, partition: Partition) -> Option<Offset> {
        let expired = |saved: &Saved| {
            rules.wrong.offsets.expires_in_use && saved.written + EXPIRES_AFTER <= self.writes
        };
        (self.saved.iter())
            .filter(|saved| saved.partition == partition)
            .max_by_key(|saved| saved.written)
            .filter(|saved| !expired(saved))
            .map(|saved| saved.offset)
    }

    fn reported(&self, rules: &Rules, position: Option<Offset>) -> Option<Offset> {
        match position {
            Some(offset) if rules.wrong.offsets.one_ahead => Some(offset + 1),
            None if rules.wrong.offsets.zero_for_none => Some(0),
            position => position,
        }
    }
}
