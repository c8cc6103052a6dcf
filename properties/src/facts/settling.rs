//! What can be said only when the whole history was read: where each record is, and what became of each transaction.

use onceness_reference::ids::{Offset, Partition, Tag};
use onceness_reference::plan::Isolation;
use rustc_hash::FxHashMap;

use super::log::{self, FOREIGN};
use super::reading::keep;
use super::tags::NONE;
use super::{At, Fact, Facts, Init, NEVER, Odd, positions};
impl Facts<'_> {
    pub(super) fn settle(&mut self) {
        self.settle_inits();
        self.settle_records();
        self.settle_transactions();
        self.mismatches = positions::mismatches(self);
    }

    fn settle_inits(&mut self) {
        for (place, life) in self.lives.iter().enumerate() {
            let Some(id) = self.parties[usize::from(life.party)].txn_id() else { continue };
            if life.open.at == NEVER {
                continue;
            }
            let opened = Init {
                life: place as u32,
                asked: life.open.at,
                proof: if life.session.is_some() { life.open.returned } else { NEVER },
                session: life.session,
            };
            self.inits[id.0 as usize].push(opened);
            let rises = &mut self.rises[id.0 as usize];
            let before = rises.last().map_or(0, |(_, end)| *end);
            rises.push((life.open.at, before.max(life.open.end_as_opening())));
        }
    }

    fn settle_records(&mut self) {
        let logs = std::mem::take(&mut self.logs);
        for record in &mut self.records {
            record.at = -1;
        }
        for (partition, log) in logs.iter().enumerate() {
            let partition = Partition(partition as u32);
            let read = log.last(Isolation::ReadUncommitted).is_some();
            for (offset, slot) in log.slots() {
                let odd = Odd { partition, offset, tag: slot.tag, at: slot.first_seen() };
                if read && !slot.last[0] {
                    let list = if slot.last[1] { &mut self.hidden } else { &mut self.gone };
                    keep(list, odd);
                }
                let found = (slot.tag != FOREIGN).then(|| self.tags.find(Tag(slot.tag))).flatten();
                let sent_here = |place: &u32| {
                    let record = &self.records[*place as usize];
                    record.send != NONE && (record.ambiguous || record.partition == partition)
                };
                match found.filter(sent_here) {
                    Some(place) => self.records[place as usize].is_seen(offset, slot),
                    None => keep(&mut self.strangers, odd),
                }
            }
        }
        self.logs = logs;
    }

    fn settle_transactions(&mut self) {
        for record in self.records.iter().filter(|record| !record.ambiguous) {
            let Some(send) = self.sends.get(record.send as usize) else { continue };
            let Some(txn) = self.transactions.get_mut(send.txn as usize) else { continue };
            let log = self.logs.get(send.partition.0 as usize);
            let Some(last) = log.and_then(|log| log.last(Isolation::ReadCommitted)) else {
                continue;
            };
            let covered = record.at < 0 || record.at < last.end;
            txn.expected += u32::from(send.asked.is_done() && covered);
            txn.visible += u32::from(record.last[1]);
        }
        let mut before: FxHashMap<u32, u32> = FxHashMap::default();
        for (place, save) in self.saves.iter().enumerate() {
            if let Some(txn) = self.transactions.get_mut(save.txn as usize)
                && let Some(earlier) = before.insert(save.txn, place as u32)
            {
                txn.muddled |= self.saves[earlier as usize].asked.end() > save.asked.at;
            }
        }
    }
}

impl Fact {
    fn is_seen(&mut self, offset: Offset, slot: &log::Slot) {
        if self.copies == 0 {
            self.at = offset;
        }
        self.copies = self.copies.saturating_add(1);
        self.copies_committed = self.copies_committed.saturating_add(u8::from(slot.last[1]));
        self.span = u32::try_from(offset.saturating_sub(self.at)).unwrap_or(u32::MAX);
        for level in 0..2 {
            self.last[level] |= slot.last[level];
            self.first[level] = self.first[level].min(slot.first[level]);
        }
    }

    /// Who saw it first.
    pub(crate) fn first_seen(&self) -> At {
        self.first[0].min(self.first[1])
    }
}
