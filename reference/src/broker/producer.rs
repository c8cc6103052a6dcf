//! What a partition's leader knows of one producer (`ProducerStateEntry`), and the circle of sequence numbers.

use crate::ids::Offset;
use crate::protocol::{Batch, LogBatch, Session};
use crate::rules::Rules;

/// How many sequence numbers there are: 0 to 2147483647.
const SEQUENCES: i64 = 1 << 31;
/// How many batches of a producer are recognised when they come again.
pub(super) const WINDOW: usize = 5;

/// What the leader knows of one producer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Producer {
    pub(super) session: Session,
    /// First offset of its open transaction.
    pub(super) open_first: Option<Offset>,
    /// That transaction no longer holds readers back (a defect).
    pub(super) passed: bool,
    /// It had a write verified in this epoch.
    pub(super) verified: bool,
    /// The last batches, oldest first.
    pub(super) recent: Vec<Recent>,
    /// The sequence number after the last batch of this epoch.
    pub(super) next_sequence: Option<i32>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Recent {
    pub(super) first_sequence: i32,
    pub(super) last_sequence: i32,
    pub(super) base: Offset,
}

impl Producer {
    pub(super) fn learn_records(&mut self, rules: &Rules, batch: &LogBatch) {
        let wrong = &rules.wrong.dedup;
        let last_sequence = sequence_after(batch.first_sequence, (batch.last - batch.base) as i32);
        if self.recent.len() >= WINDOW {
            self.recent.remove(0);
        }
        self.recent.push(Recent {
            first_sequence: batch.first_sequence,
            last_sequence,
            base: batch.base,
        });
        self.next_sequence = match self.next_sequence {
            // An old duplicate was appended.
            Some(next) if wrong.appends_old_duplicates && precedes(last_sequence, next) => {
                Some(next)
            }
            _ if wrong.goes_negative => Some(last_sequence.wrapping_add(1)),
            _ => Some(sequence_after(last_sequence, 1)),
        };
        self.verified |= batch.transactional;
        if batch.transactional && self.open_first.is_none() {
            self.open_first = Some(batch.base);
        }
    }

    /// A restart knows only the last few again.
    pub(super) fn forget_batches(&mut self, rules: &Rules) {
        let wrong = &rules.wrong.dedup;
        let forgotten = self.recent.len().saturating_sub(rules.window_after_restart);
        self.recent.drain(..forgotten);
        if wrong.forgets_on_restart {
            self.recent.clear();
            self.next_sequence = None;
        }
        if wrong.forgets_last_on_restart
            && let Some(last) = self.recent.pop()
        {
            self.next_sequence = Some(last.first_sequence);
        }
    }
}

pub(super) fn last_sequence(batch: &Batch) -> i32 {
    sequence_after(batch.first_sequence, batch.records.len() as i32 - 1)
}

/// Whether a sequence number lies before another, of the two ways round the circle the shorter one.
pub(super) fn precedes(sequence: i32, other: i32) -> bool {
    let ahead = (i64::from(other) - i64::from(sequence)).rem_euclid(SEQUENCES);
    (1..=SEQUENCES / 2).contains(&ahead)
}

/// Sequence numbers wrap from 2147483647 to 0 (`DefaultRecordBatch.incrementSequence`).
pub(super) fn sequence_after(sequence: i32, by: i32) -> i32 {
    ((i64::from(sequence) + i64::from(by)) % SEQUENCES) as i32
}
