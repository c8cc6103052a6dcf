//! The transaction coordinator: who may write under a transactional id, what belongs to the open transaction, and how it
//! ends. The tables are those of `TransactionCoordinator` and `TransactionMetadata` for TV1 and TV2 (KIP-98, KIP-360,
//! KIP-890).
//!
//! Simpler than Kafka where clients cannot tell: transitions are durable at once, so nothing is ever pending. And without a
//! clock no transaction times out by itself; whoever has one says when ([`Coordinator::fence`]).

mod cells;

use std::collections::BTreeMap;

use crate::code::Code;
use crate::ids::{GroupId, Partition, TxnId};
use crate::plan::Protocol;
use crate::protocol::{Ending, Session};
use crate::rules::Rules;

use super::Ended;

/// What a transaction touches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    Partition(Partition),
    Group(GroupId),
}

/// A marker to be written: the transaction's outcome at one place. Without a place: that it is complete.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Marker {
    /// Whether the transaction is complete only with it. A defective broker does not wait for all.
    pub(super) awaited: bool,
    pub(crate) txn: TxnId,
    pub(super) session: Session,
    pub(super) ending: Ending,
    pub(crate) place: Option<Place>,
}

/// The coordinator's durable state.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Coordinator {
    txns: BTreeMap<TxnId, Txn>,
    producers: i64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Txn {
    session: Session,
    /// What the epoch of the client was before it ran out and the producer id changed.
    previous: Option<Session>,
    /// The session whose producer was told the present one, and may have missed the answer (KIP-360).
    told: Option<Session>,
    /// The session that takes over at completion, when the epoch ran out.
    next: Option<Session>,
    state: State,
    places: Vec<Place>,
    markers_left: usize,
}

/// Where a transactional id stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Nothing was begun since the producer came.
    Empty,
    /// A transaction is open.
    Ongoing,
    /// It is decided, and its markers are being written.
    Prepare(Ending),
    /// All its markers are written.
    Complete(Ending),
}

impl State {
    /// The name that Kafka gives it.
    pub fn name(self) -> &'static str {
        match self {
            State::Empty => "Empty",
            State::Ongoing => "Ongoing",
            State::Prepare(Ending::Commit) => "PrepareCommit",
            State::Prepare(Ending::Abort) => "PrepareAbort",
            State::Complete(Ending::Commit) => "CompleteCommit",
            State::Complete(Ending::Abort) => "CompleteAbort",
        }
    }
}

/// A transactional id, as its coordinator sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transaction {
    /// The session that may write.
    pub session: Session,
    /// Where it stands.
    pub state: State,
    /// The partitions of its transaction.
    pub partitions: Vec<Partition>,
}

/// Why InitProducerId gives no session, and the markers that it causes nevertheless.
#[derive(Debug)]
pub(super) struct Refused {
    pub(super) code: Code,
    pub(super) markers: Vec<Marker>,
}

impl Refused {
    fn because(code: Code) -> Self {
        Refused { code, markers: Vec::new() }
    }
}

impl Coordinator {
    /// A producer id that was never given before.
    pub(super) fn fresh(&mut self) -> Session {
        self.producers += 1;
        Session { producer: self.producers, epoch: 0 }
    }

    /// The producer id that [`Coordinator::fresh`] gives next.
    pub(super) fn give_next(&mut self, producer: i64) {
        self.producers = producer - 1;
    }

    /// Whether the transactional id has that producer id, or gets it at completion.
    pub(super) fn has_producer(&self, id: TxnId, producer: i64) -> bool {
        self.txns.get(&id).is_some_and(|txn| {
            txn.session.producer == producer
                || txn.next.is_some_and(|next| next.producer == producer)
        })
    }

    /// Where the transaction of that id is, if one is open or decided and not complete.
    pub(super) fn places(&self, id: TxnId) -> &[Place] {
        self.txns.get(&id).map_or(&[], |txn| &txn.places)
    }

    /// InitProducerId of a transactional id, by a new instance or by one that names its session (KIP-360). An open
    /// transaction is aborted first: then the markers are returned, and the client must ask again.
    pub(super) fn init(
        &mut self,
        rules: &Rules,
        id: TxnId,
        expected: Option<Session>,
    ) -> Result<Session, Refused> {
        let fresh = self.fresh();
        let txn = self.txn_or_new(id, fresh);
        if expected.is_some_and(|expected| !txn.knows(rules, expected)) {
            return Err(Refused::because(Code::PRODUCER_FENCED));
        }
        match txn.state {
            State::Prepare(_) => Err(Refused::because(Code::CONCURRENT_TRANSACTIONS)),
            State::Ongoing if !rules.wrong.transactions.adopts => {
                let markers = match rules.init_waits {
                    true => txn.prepare(rules, id, Ending::Abort, txn.session),
                    false => txn.fence(rules, id),
                };
                Err(Refused { code: Code::CONCURRENT_TRANSACTIONS, markers })
            }
            State::Ongoing => {
                txn.session.epoch += 1;
                Ok(txn.session)
            }
            State::Empty | State::Complete(_) => {
                txn.renew(rules, fresh, expected).map_err(Refused::because)
            }
        }
    }

    /// Aborts an open transaction in the broker's own name, as when its time is up: its producer is fenced.
    pub(super) fn fence(&mut self, rules: &Rules, id: TxnId) -> Vec<Marker> {
        match self.txns.get_mut(&id) {
            Some(txn) if txn.state == State::Ongoing => txn.fence(rules, id),
            _ => Vec::new(),
        }
    }

    /// What is known of a transactional id.
    pub(super) fn describe(&self, id: TxnId) -> Option<Transaction> {
        let txn = self.txns.get(&id)?;
        let partition = |place: &Place| match place {
            Place::Partition(partition) => Some(*partition),
            Place::Group(_) => None,
        };
        Some(Transaction {
            session: txn.session,
            state: txn.state,
            partitions: txn.places.iter().filter_map(partition).collect(),
        })
    }

    /// Forgets a transactional id that nothing is open of, as brokers do after some days.
    pub(super) fn forget(&mut self, id: TxnId) -> bool {
        let idle = |txn: &Txn| matches!(txn.state, State::Empty | State::Complete(_));
        let idle = self.txns.get(&id).is_none_or(idle);
        idle && self.txns.remove(&id).is_some()
    }

    /// AddPartitionsToTxn, AddOffsetsToTxn, or the implicit form of TV2.
    pub(super) fn add(
        &mut self,
        rules: &Rules,
        id: TxnId,
        session: Session,
        place: Place,
    ) -> Result<(), Code> {
        self.check(rules, id, session)?;
        let txn = self.txn(id)?;
        if !matches!(txn.state, State::Prepare(_)) {
            txn.state = State::Ongoing;
        }
        if !txn.places.contains(&place) {
            txn.places.push(place);
        }
        Ok(())
    }

    /// Whether the place belongs to the open transaction of that session: the verification that leaders ask for
    /// (KIP-890 part 1), and the group coordinator for its part.
    pub(super) fn check_open(
        &self,
        rules: &Rules,
        id: TxnId,
        session: Session,
        place: Place,
    ) -> Result<(), Code> {
        let txn = self.check(rules, id, session)?;
        match txn.state {
            State::Prepare(_) => Ok(()),
            State::Ongoing if txn.places.contains(&place) => Ok(()),
            _ => Err(rules.unverified),
        }
    }

    /// EndTxn.
    pub(super) fn end(
        &mut self,
        rules: &Rules,
        id: TxnId,
        session: Session,
        ending: Ending,
        protocol: Protocol,
    ) -> Result<Ended, Code> {
        let fresh = self.fresh();
        let wrong = &rules.wrong.transactions;
        let txn = self.txn(id)?;
        txn.check_completing(rules)?;
        if wrong.accepts_late_end && txn.accepts_late(session)
            || wrong.accepts_early_end && txn.accepts_early(session)
        {
            return Ok(txn.end(rules, id, ending, txn.session));
        }
        match protocol {
            Protocol::Tv1 => txn.end_tv1(rules, id, session, ending),
            Protocol::Tv2 => txn.end_tv2(rules, id, session, ending, fresh),
        }
    }

    /// One marker of that transaction was written; with the last one the transaction is complete.
    pub(super) fn marked(&mut self, id: TxnId) {
        let Ok(txn) = self.txn(id) else { return };
        txn.markers_left = txn.markers_left.saturating_sub(1);
        if let (0, State::Prepare(ending)) = (txn.markers_left, txn.state) {
            txn.state = State::Complete(ending);
            txn.places.clear();
            if let Some(next) = txn.next.take() {
                txn.session = next;
            }
        }
    }

    /// What is durable is found again, and nothing is lost of it but by a defective broker.
    pub(super) fn restart(&mut self, rules: &Rules) {
        let wrong = &rules.wrong;
        if wrong.dedup.repeats_ids_on_restart {
            self.producers = 0;
        }
        for txn in self.txns.values_mut() {
            if wrong.transactions.forgets_open_on_restart && txn.state == State::Ongoing {
                txn.state = State::Empty;
                txn.places.clear();
            }
            if wrong.transactions.flips_on_restart && txn.state == State::Prepare(Ending::Commit) {
                txn.state = State::Prepare(Ending::Abort);
            }
        }
    }

    /// The markers of all transactions that are decided and not complete, those too that stand already.
    pub(super) fn all_markers(&mut self, rules: &Rules) -> Vec<Marker> {
        let markers = self.txns.iter_mut().flat_map(|(id, txn)| match txn.state {
            State::Prepare(ending) => txn.prepare(rules, *id, ending, txn.session),
            _ => Vec::new(),
        });
        markers.collect()
    }

    /// Whether anything can be added to the transaction of that session, or would be if it were not open.
    fn check(&self, rules: &Rules, id: TxnId, session: Session) -> Result<&Txn, Code> {
        let txn = self.txns.get(&id).ok_or(Code::INVALID_PRODUCER_ID_MAPPING)?;
        txn.check_completing(rules)?;
        txn.check(rules, session)?;
        match txn.state {
            State::Prepare(_) if !rules.wrong.transactions.begins_early => {
                Err(Code::CONCURRENT_TRANSACTIONS)
            }
            _ => Ok(txn),
        }
    }

    fn txn(&mut self, id: TxnId) -> Result<&mut Txn, Code> {
        self.txns.get_mut(&id).ok_or(Code::INVALID_PRODUCER_ID_MAPPING)
    }

    fn txn_or_new(&mut self, id: TxnId, fresh: Session) -> &mut Txn {
        self.txns.entry(id).or_insert_with(|| Txn {
            session: Session { epoch: -1, ..fresh },
            previous: None,
            told: None,
            next: None,
            state: State::Empty,
            places: Vec::new(),
            markers_left: 0,
        })
    }
}

impl Txn {
    /// Whether a session that names itself can be this producer's, or was before its epoch ran out.
    fn knows(&self, rules: &Rules, expected: Session) -> bool {
        self.session.epoch == -1
            || expected.producer == self.session.producer
            || (self.previous == Some(expected) && expected.epoch >= rules.epoch_max)
    }

    /// The next session. One that asks again, for it missed the answer, is told the same once more.
    fn renew(
        &mut self,
        rules: &Rules,
        fresh: Session,
        expected: Option<Session>,
    ) -> Result<Session, Code> {
        let current = expected.is_none_or(|expected| expected == self.session);
        if !current && self.session.epoch != -1 {
            if expected != self.told {
                return Err(Code::PRODUCER_FENCED);
            }
            self.state = State::Empty;
            return Ok(self.session);
        }
        self.state = State::Empty;
        self.told = expected;
        if self.session.epoch >= rules.epoch_max {
            self.previous = Some(self.session);
            self.session = self.after_last(rules, fresh);
        } else {
            self.session.epoch += 1;
        }
        Ok(self.session)
    }

    /// The session after the last epoch.
    fn after_last(&self, rules: &Rules, fresh: Session) -> Session {
        match rules.wrong.transactions.repeats_epochs {
            true => Session { epoch: 0, ..self.session },
            false => fresh,
        }
    }

    /// The bumped epoch is not shown to a client that names no session; it fences the predecessor.
    ///
    /// An abort in the broker's own name is always of TV2 where there is TV2, and remembers the epoch before its own: so one
    /// that names its session in the middle of its transaction gets the fencing epoch itself
    /// (`TransactionMetadata.prepareAbortOrCommit`).
    fn fence(&mut self, rules: &Rules, id: TxnId) -> Vec<Marker> {
        let mut fencing = self.session;
        fencing.epoch = fencing.epoch.saturating_add(rules.fencing_bump);
        self.told = rules.renews_fenced.then_some(Session { epoch: fencing.epoch - 1, ..fencing });
        self.session = fencing;
        self.prepare(rules, id, Ending::Abort, fencing)
    }

    /// Whether all have to wait, whoever they are, until the transaction is complete.
    fn check_completing(&self, rules: &Rules) -> Result<(), Code> {
        match self.state {
            State::Prepare(_) if rules.completing_first => Err(Code::CONCURRENT_TRANSACTIONS),
            _ => Ok(()),
        }
    }

    /// Whether the session is the one that may ask.
    fn check(&self, rules: &Rules, session: Session) -> Result<(), Code> {
        if session.producer != self.session.producer {
            return Err(Code::INVALID_PRODUCER_ID_MAPPING);
        }
        let stale = session.epoch < self.session.epoch;
        if session.epoch != self.session.epoch && !(stale && rules.wrong.dedup.accepts_stale_epochs)
        {
            return Err(Code::PRODUCER_FENCED);
        }
        Ok(())
    }

    /// TV1: judged by the state alone, so a late EndTxn of one transaction ends the next one (KAFKA-17754).
    fn end_tv1(
        &mut self,
        rules: &Rules,
        id: TxnId,
        session: Session,
        ending: Ending,
    ) -> Result<Ended, Code> {
        self.check(rules, session)?;
        match self.state {
            State::Empty => Err(Code::INVALID_TXN_STATE),
            State::Ongoing => Ok(self.end(rules, id, ending, self.session)),
            State::Prepare(under_way) if under_way == ending => self.end_again(rules),
            State::Complete(done) if done == ending => Ok(self.unchanged()),
            State::Prepare(_) | State::Complete(_) => Err(Code::INVALID_TXN_STATE),
        }
    }

    /// TV2: every end bumps the epoch, so a retry is told by an epoch one behind, and anything older is refused.
    fn end_tv2(
        &mut self,
        rules: &Rules,
        id: TxnId,
        session: Session,
        ending: Ending,
        fresh: Session,
    ) -> Result<Ended, Code> {
        let retry = self.is_retry_of(session);
        if session.producer != self.session.producer && !retry {
            return Err(Code::INVALID_PRODUCER_ID_MAPPING);
        }
        let current = session == self.session;
        let stale = rules.wrong.dedup.accepts_stale_epochs && session.epoch < self.session.epoch;
        match (self.state, ending) {
            (State::Ongoing, _) if current || stale => {
                let marker = self.bump(rules, fresh);
                Ok(self.end(rules, id, ending, marker))
            }
            // Aborting nothing is allowed: a client that does not know its state may make sure.
            (State::Empty | State::Complete(_), Ending::Abort) if current => {
                let marker = self.bump(rules, fresh);
                Ok(self.end(rules, id, ending, marker))
            }
            (State::Empty | State::Complete(_), Ending::Commit) if current => {
                Err(Code::INVALID_TXN_STATE)
            }
            (State::Prepare(under_way), _) if retry && under_way == ending => self.end_again(rules),
            (State::Complete(done), _) if retry && done == ending => Ok(self.unchanged()),
            (State::Complete(Ending::Abort), Ending::Commit) if retry => {
                Err(rules.commit_after_abort)
            }
            (State::Prepare(_) | State::Complete(_), _) if retry => Err(Code::INVALID_TXN_STATE),
            _ => Err(Code::PRODUCER_FENCED),
        }
    }

    /// EndTxn, once more, of a transaction that is being completed.
    fn end_again(&self, rules: &Rules) -> Result<Ended, Code> {
        let wrong = &rules.wrong.transactions;
        match () {
            () if wrong.begins_early => Ok(self.unchanged()),
            () if wrong.refuses_end_again => Err(Code::INVALID_TXN_STATE),
            () => Err(Code::CONCURRENT_TRANSACTIONS),
        }
    }

    /// Whether the session is the one that the last EndTxn of TV2 was asked with.
    fn is_retry_of(&self, session: Session) -> bool {
        let one_behind = session.producer == self.session.producer
            && i32::from(session.epoch) + 1 == i32::from(self.session.epoch);
        one_behind || (self.previous == Some(session) && self.session.epoch == 0)
    }

    fn accepts_late(&self, session: Session) -> bool {
        self.state == State::Ongoing
            && session.producer == self.session.producer
            && session.epoch < self.session.epoch
    }

    fn accepts_early(&self, session: Session) -> bool {
        self.state == State::Ongoing
            && session.producer == self.session.producer
            && session.epoch > self.session.epoch
    }

    /// Raises the epoch for what comes after this end, and tells which its markers bear. When the epoch runs out a new producer
    /// id takes over.
    fn bump(&mut self, rules: &Rules, fresh: Session) -> Session {
        let ended = self.session;
        if self.session.epoch >= rules.epoch_max {
            self.previous = Some(self.session);
            self.next = Some(self.after_last(rules, fresh));
        }
        self.told = Some(ended);
        self.session.epoch += 1;
        if rules.marks_next_epoch { self.session } else { ended }
    }

    fn end(&mut self, rules: &Rules, id: TxnId, ending: Ending, marker: Session) -> Ended {
        let session = self.next.unwrap_or(self.session);
        Ended { markers: self.prepare(rules, id, ending, marker), session }
    }

    fn unchanged(&self) -> Ended {
        Ended { session: self.session, markers: Vec::new() }
    }

    /// From here on the outcome cannot flip.
    fn prepare(
        &mut self,
        rules: &Rules,
        id: TxnId,
        ending: Ending,
        marker: Session,
    ) -> Vec<Marker> {
        self.state = State::Prepare(ending);
        let mut markers: Vec<Marker> = (self.places.iter())
            .map(|place| Marker::new(id, marker, ending, Some(*place)))
            .collect();
        // The coordinator writes that it is complete by itself, after all markers: for a moment a log is closed to the
        // transaction that is not complete.
        markers.push(Marker::new(id, marker, ending, None));
        if rules.wrong.transactions.tears_commits {
            let partitions =
                |marker: &&mut Marker| matches!(marker.place, Some(Place::Partition(_)));
            for torn in markers.iter_mut().filter(partitions).skip(1) {
                torn.ending = Ending::Abort;
            }
        }
        self.markers_left = markers.len();
        markers
    }
}
