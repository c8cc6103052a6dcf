//! Which cell a request finds, of the states that a partition can be in.

use crate::cells::{Cell, Cells, From, In, Known, Landed, Listed, Sequence, Within};
use crate::ids::Offset;
use crate::plan::{Isolation, Protocol};
use crate::protocol::{Batch, Body, Ending, LogBatch};
use crate::rules::Rules;

use super::super::producer::{Producer, Recent, last_sequence, precedes};
use super::Log;

impl Log {
    /// Of a batch that is looked into.
    pub(in super::super) fn cell_of_batch(
        &self,
        batch: &Batch,
        protocol: Option<Protocol>,
    ) -> Cell {
        let table = match protocol {
            None => In::Plain,
            Some(Protocol::Tv1) => In::Tv1,
            Some(Protocol::Tv2) => In::Tv2,
        };
        let (known, sequence) = self.place_of(batch);
        table.cell(known as u8, sequence as u8)
    }

    fn place_of(&self, batch: &Batch) -> (Known, Sequence) {
        let (first, last) = (batch.first_sequence, last_sequence(batch));
        let at_zero = match first {
            0 => Sequence::Next,
            _ => Sequence::Gap,
        };
        let Some(session) = batch.session else { return (Known::Nobody, Sequence::Next) };
        match self.producer(session) {
            None if last < first => (Known::Nothing, Sequence::NextRound),
            None => (Known::Nothing, at_zero),
            Some(producer) if producer.session.epoch > session.epoch => {
                (Known::NewerEpoch, Sequence::Next)
            }
            Some(producer) if producer.session.epoch < session.epoch => {
                (Known::OlderEpoch, at_zero)
            }
            Some(producer) => {
                let known = match producer.open_first {
                    Some(_) => Known::InTransaction,
                    None => Known::Idle,
                };
                (known, self.sequence(producer, batch))
            }
        }
    }

    fn sequence(&self, producer: &Producer, batch: &Batch) -> Sequence {
        let (first, last) = (batch.first_sequence, last_sequence(batch));
        let twin =
            |recent: &&Recent| recent.first_sequence == first && recent.last_sequence == last;
        if let Some(twin) = producer.recent.iter().find(twin) {
            return match self.holds(twin.base, batch) {
                true => Sequence::Duplicate,
                false => Sequence::OtherRecords,
            };
        }
        let next = producer.next_sequence.unwrap_or(0);
        let went_round = producer.recent.last().is_some_and(|last| last.last_sequence > next);
        match () {
            () if first == next && (last < first || went_round) => Sequence::NextRound,
            () if first == next => Sequence::Next,
            () if precedes(last, next) => Sequence::OldDuplicate,
            () if precedes(first, next) => Sequence::Overlap,
            () => Sequence::Gap,
        }
    }

    fn holds(&self, base: Offset, batch: &Batch) -> bool {
        let there = self.batches.iter().rev().find(|there| there.base == base);
        let Some(LogBatch { body: Body::Records(records), .. }) = there else { return false };
        records.iter().filter_map(|(_, record)| *record).eq(batch.records.iter().copied())
    }

    /// Of a fetch: where it begins, and what it reads over.
    pub(in super::super) fn cells_of_fetch(
        &self,
        rules: &Rules,
        offset: Offset,
        isolation: Isolation,
        of_one_byte: bool,
    ) -> Cells {
        let how = match isolation {
            _ if of_one_byte => From::OneByte,
            Isolation::ReadUncommitted => From::Uncommitted,
            Isolation::ReadCommitted => From::Committed,
        };
        let first = self.batches.partition_point(|batch| batch.last < offset);
        let landed = match self.batches.get(first) {
            _ if offset < 0 => Landed::Before,
            _ if offset > self.end => Landed::Beyond,
            _ if offset == self.end => Landed::End,
            _ if offset >= self.last_stable(rules) => Landed::Unstable,
            Some(batch) if batch.base < offset => Landed::Inside,
            _ => Landed::Start,
        };
        let where_it_begins = In::Fetch.cell(landed as u8, how as u8);
        // One byte is one batch, whatever lies behind it.
        if of_one_byte || !(0..self.end).contains(&offset) {
            return Cells::one(where_it_begins);
        }
        let content = In::Content.cell(self.content(offset) as u8, how as u8);
        Cells::two(where_it_begins, content)
    }

    fn content(&self, offset: Offset) -> Within {
        let aborted = self.aborted.iter().any(|aborted| aborted.marker >= offset);
        let open = self.producers.iter().any(|producer| producer.open_first.is_some());
        let marker = |batch: &LogBatch| matches!(batch.body, Body::Marker(Ending::Commit));
        let committed =
            || self.batches.iter().rev().take_while(|one| one.last >= offset).any(marker);
        match (aborted, open) {
            (true, true) => Within::AbortedAndOpen,
            (true, false) => Within::Aborted,
            (false, true) => Within::Open,
            (false, false) if committed() => Within::Committed,
            (false, false) => Within::Plain,
        }
    }

    /// Of ListOffsets.
    pub(in super::super) fn cell_of_list(&self, earliest: bool, isolation: Isolation) -> Cell {
        let open = self.producers.iter().any(|producer| producer.open_first.is_some());
        let listed = match isolation {
            _ if earliest => Listed::Start,
            Isolation::ReadUncommitted => Listed::End,
            Isolation::ReadCommitted => Listed::Stable,
        };
        In::List.cell(u8::from(open), listed as u8)
    }
}
