//! Which cell a request finds, of the states that a group can be in.

use crate::cells::Member as Column;
use crate::cells::{Allowed, Cell, Found, In, Members};
use crate::code::Code;
use crate::ids::Partition;
use crate::protocol::Member;

use super::{Group, Saved};

impl Group {
    /// Of a save.
    pub(in super::super) fn cell_of_save(&self, table: In, member: Option<&Member>) -> Cell {
        let members = match () {
            () if !self.membership.is_empty() => Members::Some,
            () if self.exists() => Members::Nobody,
            () => Members::NoGroup,
        };
        let column = match member.map(|member| self.membership.check(member)) {
            None => Column::Nobody,
            Some(Err(_)) if members != Members::Some => Column::Stranger,
            Some(Ok(())) => Column::Present,
            Some(Err(Code::ILLEGAL_GENERATION)) => Column::OtherGeneration,
            Some(Err(Code::FENCED_INSTANCE_ID)) => Column::Replaced,
            Some(Err(_)) => Column::Stranger,
        };
        table.cell(members as u8, column as u8)
    }

    /// Of OffsetFetch: by the first partition that a transaction has saved for, or else the first of all.
    pub(in super::super) fn cell_of_positions(
        &self,
        partitions: &[Partition],
        stable: bool,
    ) -> Cell {
        let waits = |partition: &&Partition| {
            self.pending.iter().any(|(_, saved)| saved.partition == **partition)
        };
        let pending = partitions.iter().any(|partition| waits(&partition));
        let found = match pending {
            true => Found::Pending,
            false => partitions.first().map_or(Found::Nothing, |first| self.found(*first)),
        };
        let allowed = match stable {
            true => Allowed::Stable,
            false => Allowed::Any,
        };
        In::Positions.cell(found as u8, allowed as u8)
    }

    fn found(&self, partition: Partition) -> Found {
        let here = || self.saved.iter().filter(|saved| saved.partition == partition);
        let latest = here().max_by_key(|saved| saved.written);
        match (latest, here().next_back()) {
            (Some(latest), Some(last)) if is_before(last, latest) => Found::Overtaken,
            (Some(_), _) => Found::Saved,
            (None, _) => Found::Nothing,
        }
    }
}

fn is_before(one: &Saved, other: &Saved) -> bool {
    one.written < other.written
}
