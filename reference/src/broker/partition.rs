//! A partition: the log, and what its leader knows of each producer (`UnifiedLog`, `ProducerStateManager`).
//!
//! What the leader knows is a function of the log: [`Log::restart`] rebuilds it by replaying every batch.

mod cells;

use crate::code::Code;
use crate::history::Record;
use crate::ids::Offset;
use crate::plan::Isolation;
use crate::protocol::{Batch, Body, Ending, FetchReply, LogBatch, Session};
use crate::rules::{Rules, Starts};

use super::producer::{Producer, WINDOW, last_sequence, precedes, sequence_after};

/// How many batches an expired transaction stayed open for (a defect).
const EXPIRES_AFTER: Offset = 3;

/// One partition.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Log {
    batches: Vec<LogBatch>,
    end: Offset,
    /// How many batches a restart finds again.
    durable: usize,
    producers: Vec<Producer>,
    waiting: Vec<Waiting>,
    aborted: Vec<Aborted>,
    /// The next append gets the offset before the end (a defect).
    reuse_next: bool,
    /// Batches that have their offsets, and nothing at them yet (a defect).
    unstored: Vec<Offset>,
}

/// How much there is of a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extent {
    /// How many batches the log has.
    pub batches: usize,
    /// The offset of the next record: the high watermark, with one replica.
    pub end: Offset,
    /// The last stable offset.
    pub last_stable: Offset,
}

/// A transactional write that the coordinator was asked about, and that has not come into the log yet
/// (`VerificationStateEntry`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Waiting {
    session: Session,
    /// The lowest that was seen: what is higher has to wait for it (KAFKA-14920).
    lowest_sequence: i32,
    /// Whether the epochs of its client are fresh ones, which start at zero (TV2).
    fresh: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Aborted {
    producer: i64,
    first: Offset,
    marker: Offset,
}

impl Log {
    /// The offset at which the batch already stands, if it is one of the last few of its session.
    pub(super) fn duplicate(&mut self, rules: &Rules, batch: &Batch) -> Option<Offset> {
        let wrong = &rules.wrong.dedup;
        let producer = self.producer(batch.session?)?;
        if batch.session? != producer.session && !wrong.mixes_epochs {
            return None;
        }
        let last_sequence = last_sequence(batch);
        let window = wrong.window.unwrap_or(WINDOW);
        let twin = *(producer.recent.iter().rev().take(window)).find(|recent| {
            recent.first_sequence == batch.first_sequence && recent.last_sequence == last_sequence
        })?;
        if wrong.rewinds_on_duplicates {
            let place = self.place(batch.session?);
            self.producers[place].next_sequence = Some(sequence_after(last_sequence, 1));
        }
        if wrong.overwrites {
            self.overwrite(rules, twin.base, batch);
        }
        Some(match wrong.acks_at_end {
            true => self.end,
            false => twin.base,
        })
    }

    /// Whether that session has a transaction open here, or its producer has, of whichever epoch.
    pub(super) fn in_transaction(&self, session: Session, by_epoch: bool) -> bool {
        self.producer(session).is_some_and(|producer| {
            producer.open_first.is_some() && (producer.session == session || !by_epoch)
        })
    }

    /// Whether that session had a write verified here, in whichever transaction.
    pub(super) fn was_verified(&self, session: Session) -> bool {
        (self.producer(session))
            .is_some_and(|producer| producer.session == session && producer.verified)
    }

    /// Whether a newer epoch of the producer has been here.
    pub(super) fn is_fenced(&self, rules: &Rules, session: Session) -> bool {
        !rules.wrong.dedup.accepts_stale_epochs
            && (self.producer(session))
                .is_some_and(|producer| session.epoch < producer.session.epoch)
    }

    /// The coordinator is asked about a write with that sequence number, which was not in the log before.
    pub(super) fn await_verification(
        &mut self,
        session: Session,
        first_sequence: i32,
        fresh: bool,
    ) {
        let known = |waiting: &&mut Waiting| waiting.session.producer == session.producer;
        let asked = Waiting { session, lowest_sequence: first_sequence, fresh };
        match self.waiting.iter_mut().find(known) {
            None => self.waiting.push(asked),
            Some(waiting) if session.epoch > waiting.session.epoch => {
                *waiting = Waiting { fresh: waiting.fresh, ..asked };
            }
            Some(waiting) if session.epoch == waiting.session.epoch => {
                waiting.lowest_sequence = waiting.lowest_sequence.min(first_sequence);
            }
            Some(_) => {}
        }
    }

    /// Appends a batch that is not a duplicate, if its session and sequence allow (`ProducerAppendInfo`).
    pub(super) fn append(
        &mut self,
        rules: &Rules,
        batch: &Batch,
        transactional: bool,
        fresh_epochs: bool,
        acks: bool,
    ) -> Result<Offset, Code> {
        if let Some(session) = batch.session {
            self.check(rules, session, batch, transactional, fresh_epochs)?;
        }
        if self.reuse_next {
            self.reuse_next = false;
            self.end = (self.end - 1).max(0);
        }
        let base = self.end;
        let body = Body::Records(placed(rules, base, &batch.records));
        self.push(
            rules,
            LogBatch {
                base,
                last: base + batch.records.len() as Offset - 1,
                session: batch.session,
                first_sequence: batch.first_sequence,
                transactional,
                body,
            },
        );
        let all = self.batches.len();
        match rules.wrong.log.acks_before_durable {
            true if acks => self.durable = self.durable.max(all - 1),
            _ => self.durable = all,
        }
        if rules.wrong.log.stores_late {
            self.unstored.push(base);
        }
        if rules.wrong.isolation.expires_open {
            self.expire_open();
        }
        Ok(base)
    }

    /// How many batches have their offsets, and are not stored yet.
    pub(super) fn unstored(&self) -> usize {
        self.unstored.len()
    }

    /// Stores one of those.
    pub(super) fn store(&mut self, place: usize) {
        self.unstored.swap_remove(place);
    }

    /// What is known of the producer once the batch has been appended, which it has not (a defect).
    pub(super) fn remember_refused(&mut self, rules: &Rules, batch: &Batch) {
        let Some(session) = batch.session else { return };
        if self.check(rules, session, batch, true, false).is_ok() {
            let last = self.end + batch.records.len() as Offset - 1;
            let place = self.place(session);
            let refused = LogBatch {
                base: self.end,
                last,
                session: batch.session,
                first_sequence: batch.first_sequence,
                transactional: false,
                body: Body::Records(Vec::new()),
            };
            self.producers[place].learn_records(rules, &refused);
        }
    }

    /// Writes a marker: the producer's transaction ends here. With one coordinator that never moves, markers come in order
    /// and once each, so of Kafka's checks on markers only the epoch is left. Whether it was taken, for whoever sends it
    /// again until it is.
    pub(super) fn end_transaction(
        &mut self,
        rules: &Rules,
        session: Session,
        ending: Ending,
    ) -> bool {
        if self.is_fenced(rules, session) {
            // A newer epoch has the partition, and nobody asks again (TransactionMarkerRequestCompletionHandler).
            return true;
        }
        if rules.wrong.transactions.refuses_markers_again && self.ends_with_marker_of(session) {
            return false;
        }
        let base = self.end;
        // The burned offset is part of the batch, so that a restart does not give it out again.
        let burned = Offset::from(rules.burns_offsets && ending == Ending::Commit);
        self.push(
            rules,
            LogBatch {
                base,
                last: base + burned,
                session: Some(session),
                first_sequence: -1,
                transactional: true,
                body: Body::Marker(ending),
            },
        );
        self.durable = self.batches.len();
        true
    }

    /// The transaction of that producer is decided: from now on a defective broker lets readers pass.
    pub(super) fn pass(&mut self, session: Session) {
        let place = self.place(session);
        self.producers[place].passed = true;
    }

    /// How many batches there are, and how far readers may read.
    pub(super) fn extent(&self, rules: &Rules) -> Extent {
        let last_stable = match rules.wrong.isolation.lists_end_to_all {
            true => self.end,
            false => self.last_stable(rules),
        };
        Extent { batches: self.batches.len(), end: self.end, last_stable }
    }

    /// Reads from an offset on, so many batches at most.
    pub(super) fn fetch(
        &self,
        rules: &Rules,
        offset: Offset,
        isolation: Isolation,
        batches_max: usize,
    ) -> Result<FetchReply, Code> {
        if offset < 0 || offset > self.end {
            return Err(Code::OFFSET_OUT_OF_RANGE);
        }
        let last_stable = self.last_stable(rules);
        let limit = match isolation {
            Isolation::ReadCommitted => last_stable,
            Isolation::ReadUncommitted => self.end,
        };
        // Neither the first nor the last offsets ever go down, whatever is wrong with a log.
        let first = self.batches.partition_point(|batch| batch.last < offset);
        let batches: Vec<LogBatch> = (self.batches[first..].iter())
            .take_while(|batch| batch.base < limit)
            .filter(|batch| isolation == Isolation::ReadCommitted || !self.hides(rules, batch))
            .filter(|batch| !self.unstored.contains(&batch.base))
            .take(batches_max)
            .cloned()
            .collect();
        let limit = match batches.last() {
            Some(last) if batches.len() == batches_max => limit.min(last.last + 1),
            _ => limit,
        };
        Ok(FetchReply {
            high_watermark: self.end,
            last_stable,
            aborted: self.aborted_in(rules, offset, limit, isolation),
            batches,
        })
    }

    /// Finds again what is durable, and replays it.
    pub(super) fn restart(&mut self, rules: &Rules) {
        let wrong = &rules.wrong;
        self.batches.truncate(self.durable);
        self.lose_unstored();
        if wrong.log.compacts_to_oldest {
            self.compact_to_oldest();
        }
        if wrong.log.compacts_markers {
            self.batches.retain(|batch| !matches!(batch.body, Body::Marker(_)));
            self.durable = self.batches.len();
        }
        self.end = self.batches.last().map_or(0, |batch| batch.last + 1);
        self.reuse_next = wrong.log.reuses_offsets && !self.batches.is_empty();
        self.producers.clear();
        self.waiting.clear();
        self.aborted.clear();
        let batches = std::mem::take(&mut self.batches);
        for batch in &batches {
            self.learn(rules, batch);
        }
        self.batches = batches;
        for producer in &mut self.producers {
            producer.forget_batches(rules);
            if wrong.isolation.forgets_open_on_restart {
                producer.open_first = None;
            }
        }
        if wrong.isolation.forgets_aborted_on_restart {
            self.aborted.clear();
        }
    }

    /// Epoch, then sequence, then whether the batch may be outside a transaction, in the order of `ProducerAppendInfo`. A
    /// newer epoch starts afresh.
    fn check(
        &self,
        rules: &Rules,
        session: Session,
        batch: &Batch,
        transactional: bool,
        fresh_epochs: bool,
    ) -> Result<(), Code> {
        let wrong = &rules.wrong.dedup;
        let first_sequence = batch.first_sequence;
        let overtakes = |waiting: &Waiting| {
            waiting.session.producer == session.producer
                && first_sequence > waiting.lowest_sequence
                && !rules.wrong.dedup.accepts_gaps
        };
        let fenced = self.is_fenced(rules, session);
        if !fenced && self.waiting.iter().any(overtakes) {
            return Err(Code::OUT_OF_ORDER_SEQUENCE_NUMBER);
        }
        let Some(producer) = self.producer(session) else {
            // Once a client of fresh epochs was here, no other write of its producer starts anywhere else either.
            let of_fresh =
                |waiting: &Waiting| waiting.session.producer == session.producer && waiting.fresh;
            let starts_at_zero = match rules.starts_at_zero {
                Starts::Never => false,
                Starts::OverTv2 => fresh_epochs || self.waiting.iter().any(of_fresh),
                Starts::Always => true,
            };
            return match starts_at_zero && first_sequence != 0 && !wrong.accepts_gaps {
                true => Err(Code::OUT_OF_ORDER_SEQUENCE_NUMBER),
                false => Ok(()),
            };
        };
        if fenced {
            return Err(Code::INVALID_PRODUCER_EPOCH);
        }
        let newer = session.epoch > producer.session.epoch;
        if wrong.refuses_own_epochs && newer && !transactional {
            return Err(Code::OUT_OF_ORDER_SEQUENCE_NUMBER);
        }
        let expected = match newer {
            true if wrong.starts_epochs_anywhere => None,
            true => Some(0),
            false => producer.next_sequence,
        };
        match expected {
            _ if wrong.accepts_gaps || session.epoch < producer.session.epoch => {}
            Some(expected) if first_sequence == expected => {}
            Some(expected)
                if wrong.calls_overlaps_duplicates && precedes(first_sequence, expected) =>
            {
                return Err(Code::DUPLICATE_SEQUENCE_NUMBER);
            }
            // Only what is old as a whole may be called a duplicate: clients take that for a success (KAFKA-6683).
            Some(expected) if !newer && precedes(last_sequence(batch), expected) => {
                return match wrong.appends_old_duplicates {
                    true => Ok(()),
                    false => Err(rules.old_duplicate),
                };
            }
            Some(_) => return Err(Code::OUT_OF_ORDER_SEQUENCE_NUMBER),
            None => {}
        }
        match producer.open_first {
            Some(_) if !transactional => Err(Code::INVALID_TXN_STATE),
            _ => Ok(()),
        }
    }

    fn push(&mut self, rules: &Rules, batch: LogBatch) {
        self.end = batch.last + 1;
        self.learn(rules, &batch);
        self.batches.push(batch);
    }

    /// What a batch tells of its producer, at append and at replay alike.
    fn learn(&mut self, rules: &Rules, batch: &LogBatch) {
        let Some(session) = batch.session else { return };
        if batch.transactional {
            let marker = matches!(batch.body, Body::Marker(_));
            // Over TV2 the next transaction may have begun before the marker of the last one is here (KAFKA-18575).
            let is_of_next =
                |waiting: &Waiting| marker && waiting.fresh && waiting.session == session;
            self.waiting.retain(|waiting| {
                waiting.session.producer != session.producer || is_of_next(waiting)
            });
        }
        let place = self.place(session);
        let producer = &mut self.producers[place];
        if session.epoch > producer.session.epoch {
            producer.session = session;
            if !rules.wrong.dedup.mixes_epochs {
                producer.recent.clear();
            }
            producer.next_sequence = Some(0);
            producer.verified = false;
        }
        match &batch.body {
            Body::Records(_) => producer.learn_records(rules, batch),
            Body::Marker(ending) => {
                // A producer known by its marker alone has an epoch, so its first batch is no longer any batch.
                producer.next_sequence.get_or_insert(0);
                let first = producer.open_first.take();
                producer.passed = false;
                if let (Ending::Abort, Some(first)) = (ending, first) {
                    self.aborted.push(Aborted {
                        producer: session.producer,
                        first,
                        marker: batch.base,
                    });
                }
            }
        }
    }

    fn last_stable(&self, rules: &Rules) -> Offset {
        let wrong = &rules.wrong.isolation;
        if wrong.shows_open {
            return self.end;
        }
        let holding = self.producers.iter().filter(|producer| !producer.passed);
        let open = holding.filter_map(|producer| producer.open_first).min();
        match open {
            Some(first) if wrong.shows_first_open => first + 1,
            Some(first) => first,
            None => self.end,
        }
    }

    /// The aborted transactions that overlap what is returned, and none that ended before it (else committed records of
    /// the same producer would be hidden).
    fn aborted_in(
        &self,
        rules: &Rules,
        offset: Offset,
        limit: Offset,
        isolation: Isolation,
    ) -> Vec<(i64, Offset)> {
        let wrong = &rules.wrong.isolation;
        if isolation == Isolation::ReadUncommitted || wrong.hides_aborted_list {
            return Vec::new();
        }
        (self.aborted.iter())
            .filter(|aborted| aborted.marker >= offset || wrong.lists_older)
            .filter(|aborted| aborted.first >= offset || !wrong.lists_from_offset)
            .filter(|aborted| aborted.first < limit)
            .map(|aborted| (aborted.producer, aborted.first))
            .collect()
    }

    /// Whether a defective broker keeps the batch from readers who may see everything.
    fn hides(&self, rules: &Rules, batch: &LogBatch) -> bool {
        rules.wrong.isolation.hides_aborted_records
            && batch.transactional
            && (self.aborted.iter()).any(|aborted| {
                batch.session.is_some_and(|session| session.producer == aborted.producer)
                    && (aborted.first..aborted.marker).contains(&batch.base)
            })
    }

    fn compact_to_oldest(&mut self) {
        let mut kept = Vec::new();
        for batch in &mut self.batches {
            let Body::Records(records) = &mut batch.body else {
                continue;
            };
            records.retain(|(_, record)| {
                let Some(record) = record else { return true };
                let newer = kept.contains(&record.key);
                kept.push(record.key);
                !newer
            });
        }
    }

    /// Batches that were not stored in time leave their offsets behind, and nothing at them.
    fn lose_unstored(&mut self) {
        for base in self.unstored.drain(..) {
            if let Some(lost) = self.batches.iter_mut().find(|batch| batch.base == base) {
                lost.body = Body::Records(Vec::new());
            }
        }
    }

    fn expire_open(&mut self) {
        let end = self.end;
        for producer in &mut self.producers {
            producer.open_first.take_if(|first| *first + EXPIRES_AFTER < end);
        }
    }

    fn overwrite(&mut self, rules: &Rules, base: Offset, batch: &Batch) {
        if let Some(original) = self.batches.iter_mut().find(|original| original.base == base) {
            original.body = Body::Records(placed(rules, base, &batch.records));
        }
    }

    /// Whether the last that its producer wrote here is a marker of that epoch.
    fn ends_with_marker_of(&self, session: Session) -> bool {
        let its = |batch: &&LogBatch| {
            batch.session.is_some_and(|other| other.producer == session.producer)
        };
        (self.batches.iter().rev().find(its)).is_some_and(|last| {
            last.session == Some(session) && matches!(last.body, Body::Marker(_))
        })
    }

    fn producer(&self, session: Session) -> Option<&Producer> {
        (self.producers.iter()).find(|known| known.session.producer == session.producer)
    }

    fn place(&mut self, session: Session) -> usize {
        let known = |known: &Producer| known.session.producer == session.producer;
        self.producers.iter().position(known).unwrap_or_else(|| {
            self.producers.push(Producer {
                session,
                open_first: None,
                passed: false,
                verified: false,
                recent: Vec::new(),
                next_sequence: None,
            });
            self.producers.len() - 1
        })
    }
}

fn placed(rules: &Rules, base: Offset, records: &[Record]) -> Vec<(Offset, Option<Record>)> {
    let place = |(i, record): (usize, &Record)| {
        let damaged = rules.wrong.log.damages_long_batches && i >= 2;
        (base + i as Offset, (!damaged).then_some(*record))
    };
    records.iter().enumerate().map(place).collect()
}
