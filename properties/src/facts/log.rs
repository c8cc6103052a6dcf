//! What readers saw of one partition: at each offset one record, or a conflict.

use std::collections::BTreeMap;

use onceness_reference::history::{Fetched, Seen};
use onceness_reference::ids::Offset;
use onceness_reference::plan::Isolation;

use super::{At, NEVER};

/// Nothing was read there.
pub(crate) const EMPTY: u32 = u32::MAX;
/// What was read there is no record of this case.
pub(crate) const FOREIGN: u32 = u32::MAX - 1;

/// An offset may leave this much more of the dense table empty than is full.
const SLACK: usize = 4096;

/// So many slots are looked at one by one.
const AT_HAND: usize = 16;

/// What was read at one offset.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Slot {
    /// The tag, [`EMPTY`] or [`FOREIGN`].
    pub(crate) tag: u32,
    /// Who saw it first, at each isolation level.
    pub(crate) first: [At; 2],
    /// Whether the final read shows it, at each isolation level.
    pub(crate) last: [bool; 2],
}

impl Slot {
    const NOTHING: Slot = Slot { tag: EMPTY, first: [NEVER; 2], last: [false; 2] };

    /// Who saw it first.
    pub(crate) fn first_seen(&self) -> At {
        self.first[0].min(self.first[1])
    }
}

/// The final read of a partition, at one isolation level.
#[derive(Clone, Debug)]
pub(crate) struct Final {
    pub(crate) at: At,
    pub(crate) high_watermark: Offset,
    pub(crate) last_stable: Option<Offset>,
    /// Everything below was read, if it is for this reader.
    pub(crate) end: Offset,
    /// How many of its records are below each offset.
    below: Vec<u32>,
}

/// What readers saw of one partition.
#[derive(Clone, Debug, Default)]
pub(crate) struct Log {
    dense: Vec<Slot>,
    sparse: BTreeMap<Offset, Slot>,
    finals: [Option<Final>; 2],
}

/// The place of an isolation level in pairs.
#[inline]
pub(crate) fn level(isolation: Isolation) -> usize {
    match isolation {
        Isolation::ReadUncommitted => 0,
        Isolation::ReadCommitted => 1,
    }
}

/// The tag as slots keep it.
#[inline]
pub(crate) fn raw(seen: &Seen) -> u32 {
    match seen.tag {
        Some(tag) if tag.0 < FOREIGN => tag.0,
        _ => FOREIGN,
    }
}

impl Log {
    pub(crate) const fn new() -> Self {
        Log { dense: Vec::new(), sparse: BTreeMap::new(), finals: [None, None] }
    }

    pub(crate) fn set_final(
        &mut self,
        isolation: Isolation,
        at: At,
        high_watermark: Offset,
        last_stable: Option<Offset>,
        records: &[Seen],
    ) {
        let beyond = records.last().map_or(0, |seen| seen.offset.saturating_add(1));
        let end = match (isolation, last_stable) {
            (Isolation::ReadUncommitted, _) => high_watermark.max(beyond),
            (Isolation::ReadCommitted, Some(last_stable)) => last_stable.min(high_watermark),
            // Where the reader cannot know where it stopped, it surely read as far as its last record.
            (Isolation::ReadCommitted, None) => beyond,
        };
        // Room for all of it at once, if it is as dense as it should be.
        let most = 2 * records.len() + SLACK;
        if let Some(len) =
            usize::try_from(beyond).ok().filter(|len| (self.dense.len()..most).contains(len))
        {
            self.grow(len);
        }
        self.finals[level(isolation)] =
            Some(Final { at, high_watermark, last_stable, end, below: Vec::new() });
    }

    /// Counts what the final reads show, so that a poll can be compared with them at once.
    pub(crate) fn count_finals(&mut self) {
        if !self.sparse.is_empty() {
            return;
        }
        for level in 0..2 {
            if let Some(last) = &mut self.finals[level] {
                let mut sum = 0;
                last.below.reserve_exact(self.dense.len() + 1);
                last.below.push(0);
                last.below.extend(self.dense.iter().map(|slot| {
                    sum += u32::from(slot.last[level]);
                    sum
                }));
            }
        }
    }

    pub(crate) fn last(&self, isolation: Isolation) -> Option<&Final> {
        self.finals[level(isolation)].as_ref()
    }

    /// Whether the final read shows a record from one offset up to another.
    fn shows_between(&self, level: usize, from: Offset, to: Offset) -> bool {
        let Some(last) = &self.finals[level] else { return false };
        if last.below.is_empty() || to <= from {
            return false;
        }
        let most = last.below.len() - 1;
        let place = |offset: Offset| usize::try_from(offset).unwrap_or(0).min(most);
        let (from, to) = (place(from), place(to));
        // The slots are at hand, since their neighbours were just read; the counts are not.
        match self.dense.get(from..to) {
            Some(slots) if slots.len() <= AT_HAND => slots.iter().any(|slot| slot.last[level]),
            _ => last.below[to] > last.below[from],
        }
    }

    /// Whether a poll went past records of the final read without being handed them.
    pub(crate) fn is_skipped(&self, level: usize, fetched: &Fetched) -> bool {
        let mut from = fetched.from;
        for seen in &fetched.records {
            // Most records follow upon each other, so that there is nothing to look for.
            if seen.offset > from && self.shows_between(level, from, seen.offset.min(fetched.to)) {
                return true;
            }
            from = from.max(seen.offset.saturating_add(1));
        }
        from < fetched.to && self.shows_between(level, from, fetched.to)
    }

    #[inline]
    pub(crate) fn get(&self, offset: Offset) -> Option<&Slot> {
        let slot = match usize::try_from(offset).ok().and_then(|place| self.dense.get(place)) {
            Some(slot) => slot,
            None => self.sparse.get(&offset)?,
        };
        (slot.tag != EMPTY).then_some(slot)
    }

    /// The slot of the offset, empty if it is new.
    #[inline]
    pub(crate) fn slot(&mut self, offset: Offset) -> &mut Slot {
        let place = usize::try_from(offset).unwrap_or(usize::MAX);
        if place >= self.dense.len() && place < 2 * self.dense.len() + SLACK {
            self.grow(place + 1);
        }
        match self.dense.get_mut(place) {
            Some(slot) => slot,
            None => self.sparse.entry(offset).or_insert(Slot::NOTHING),
        }
    }

    #[cold]
    fn grow(&mut self, len: usize) {
        self.dense.resize(len, Slot::NOTHING);
        if self.sparse.is_empty() {
            return;
        }
        let beyond = self.sparse.split_off(&(len as Offset));
        let within = std::mem::replace(&mut self.sparse, beyond);
        for (offset, slot) in within {
            match usize::try_from(offset) {
                Ok(place) => self.dense[place] = slot,
                Err(_) => {
                    self.sparse.insert(offset, slot);
                }
            }
        }
    }

    /// What was read, in offset order.
    pub(crate) fn slots(&self) -> impl Iterator<Item = (Offset, &Slot)> {
        let negative = self.sparse.range(..0).map(|(offset, slot)| (*offset, slot));
        let dense = self.dense.iter().enumerate().map(|(place, slot)| (place as Offset, slot));
        let beyond = self.sparse.range(0..).map(|(offset, slot)| (*offset, slot));
        negative.chain(dense).chain(beyond).filter(|(_, slot)| slot.tag != EMPTY)
    }
}
