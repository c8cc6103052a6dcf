//! The test client: turns an operation and its fate into protocol requests. It owns sessions, epochs, sequences and
//! retries, so the rig plays the retrying client itself, step by step.
//!
//! The one contestable decision: a client knows no more than a real one would. What the rig saw of an answer that was
//! lost on its way goes into the history, never into what the client does next.

use std::collections::{BTreeMap, BTreeSet};

use onceness_reference::history::{Call, Event, Outcome, Record, Reply, Sequence, Skip};
use onceness_reference::ids::{EventId, GroupId, Partition, Tag, TxnId};
use onceness_reference::plan::{
    Client, Consumer, Delivery, Fate, NewRecord, Op, Protocol, Saving, Step,
};
use onceness_reference::protocol::{Batch, Ending, Member, Request, Response, Session};

use crate::ask::{Ask, Known, Wire};
use crate::progress::{Progress, outputs};
use crate::reading::Reader;
use crate::transport::{Lane, Transport};

/// One client of a case, from one opening to the next.
pub(crate) struct TestClient {
    spec: Client,
    life: Option<Life>,
}

/// What a client that is open knows.
struct Life {
    session: Option<Session>,
    member: Option<Member>,
    /// Why nothing more can be done before the client starts again.
    broken: Option<Skip>,
    sequences: BTreeMap<Partition, i32>,
    transaction: Option<Transaction>,
    must_rewind: bool,
    progress: Progress,
}

/// The open transaction, as its client knows it.
#[derive(Default)]
struct Transaction {
    partitions: BTreeSet<Partition>,
    groups: BTreeSet<GroupId>,
    /// Something in it failed, so it must not be committed (the producer's contract, KIP-98).
    must_abort: bool,
    /// Outputs were written and the position of their inputs not yet saved: committing now would repeat them.
    unsaved_outputs: bool,
}

impl TestClient {
    pub(crate) fn new(spec: Client) -> Self {
        TestClient { spec, life: None }
    }

    /// Carries out one step of this client and records what happened.
    pub(crate) async fn perform<T: Transport>(&mut self, wire: &Wire<'_, T>, step: &Step) {
        if let Err(why) = self.try_perform(wire, step).await {
            let (step, client) = (step.id, step.client);
            wire.record(Event::Skipped { step, client, why });
        }
    }

    async fn try_perform<T: Transport>(
        &mut self,
        wire: &Wire<'_, T>,
        step: &Step,
    ) -> Result<(), Skip> {
        match &step.op {
            Op::Open => self.open(wire, step).await,
            Op::Crash => self.crash(wire, step),
            Op::Close => self.close(wire, step).await,
            Op::Begin => self.begin(wire, step),
            Op::Send { partition, batches } => {
                let batches =
                    batches.iter().map(|batch| batch.iter().map(plain).collect()).collect();
                self.send(wire, step, *partition, batches).await
            }
            Op::Commit => self.end(wire, step, Ending::Commit).await,
            Op::Abort => self.end(wire, step, Ending::Abort).await,
            Op::Poll { max } => self.poll(wire, step, usize::from(*max)).await,
            Op::Process => self.process(wire, step),
            Op::Save => self.save(wire, step).await,
            Op::SaveInTransaction => self.save_in_transaction(wire, step).await,
            Op::Forward { to, tag, limit } => self.forward(wire, step, *to, *tag, *limit).await,
            Op::Rewind => self.rewind(wire, step).await,
        }
    }

    async fn open<T: Transport>(&mut self, wire: &Wire<'_, T>, step: &Step) -> Result<(), Skip> {
        self.life = None;
        let of = wire.call(step, Call::Open);
        let outcome = match self.start(wire, step, of).await {
            Ok(life) => {
                let opened = Reply::Opened {
                    session: life.session.map(|session| (session.producer, session.epoch)),
                    positions: life.progress.positions(),
                };
                self.life = Some(life);
                Outcome::Done(opened)
            }
            Err(outcome) => outcome,
        };
        wire.record(Event::Return { of, outcome });
        self.crash_if_told(wire, step);
        Ok(())
    }

    async fn start<T: Transport>(
        &self,
        wire: &Wire<'_, T>,
        step: &Step,
        of: EventId,
    ) -> Result<Life, Outcome> {
        let session = match self.spec.delivery {
            Some(Delivery::Idempotent | Delivery::Transactional { .. }) => {
                let txn = self.spec.txn();
                match self.ask(step, of).send(wire, &Request::InitProducer { txn }).await {
                    Known::Done(Response::Producer(session)) => Some(session),
                    Known::Refused(code, _) => return Err(Outcome::Refused(code)),
                    _ => return Err(Outcome::Unknown),
                }
            }
            _ => None,
        };
        let mut life = Life::new(session);
        if let Some(consumer) = &self.spec.consumer {
            // The session may have been won already, so a failure from here on is not "did not happen".
            let joined = life.join(wire, step, of, consumer).await;
            joined.map_err(|outcome| if session.is_some() { Outcome::Unknown } else { outcome })?;
        }
        Ok(life)
    }

    fn crash<T: Transport>(&mut self, wire: &Wire<'_, T>, step: &Step) -> Result<(), Skip> {
        self.life = None;
        wire.transport.cut(Lane::Client(self.spec.id));
        let (step, client) = (step.id, step.client);
        wire.record(Event::Crashed { step, client });
        Ok(())
    }

    fn crash_if_told<T: Transport>(&mut self, wire: &Wire<'_, T>, step: &Step) {
        if step.crash {
            // Cannot fail: crashing asks nothing.
            let _ = self.crash(wire, step);
        }
    }

    async fn close<T: Transport>(&mut self, wire: &Wire<'_, T>, step: &Step) -> Result<(), Skip> {
        let life = self.life.as_mut().ok_or(Skip::NotOpen)?;
        let of = wire.call(step, Call::Close);
        let mut outcome = Outcome::Done(Reply::Nothing);
        let open = life.transaction.take().is_some_and(|open| open.is_known_to_broker());
        if let (true, None, Some(request)) =
            (open, life.broken, end_request(&self.spec, life.session, Ending::Abort))
        {
            outcome = settled(self.ask(step, of).send(wire, &request).await);
        }
        wire.record(Event::Return { of, outcome });
        self.life = None;
        Ok(())
    }

    fn begin<T: Transport>(&mut self, wire: &Wire<'_, T>, step: &Step) -> Result<(), Skip> {
        let life = self.ready()?;
        if life.transaction.is_some() {
            return Err(Skip::TransactionOpen);
        }
        life.transaction = Some(Transaction::default());
        let of = wire.call(step, Call::Begin);
        let outcome = Outcome::Done(Reply::Nothing);
        wire.record(Event::Return { of, outcome });
        Ok(())
    }

    async fn end<T: Transport>(
        &mut self,
        wire: &Wire<'_, T>,
        step: &Step,
        ending: Ending,
    ) -> Result<(), Skip> {
        let life = self.ready()?;
        let transaction = life.transaction.take().ok_or(Skip::NoTransaction)?;
        let unfit = match ending {
            Ending::Commit if transaction.must_abort => Some(Skip::MustAbort),
            Ending::Commit if transaction.unsaved_outputs => Some(Skip::Unsaved),
            _ => None,
        };
        if let Some(why) = unfit {
            life.transaction = Some(transaction);
            return Err(why);
        }
        let of = wire.call(
            step,
            match ending {
                Ending::Commit => Call::Commit,
                Ending::Abort => Call::Abort,
            },
        );
        if ending == Ending::Abort {
            life.must_rewind = !life.progress.inputs().is_empty();
            life.progress.drop_polled();
        }
        let known = match transaction.is_known_to_broker() {
            // As real clients do: a transaction that nothing was added to ends without a request.
            false => Known::Done(Response::Done),
            true => {
                // `ready` has checked the session of transactional clients.
                let session = self.ready()?.session;
                let request = end_request(&self.spec, session, ending).ok_or(Skip::InDoubt)?;
                self.ask(step, of).send(wire, &request).await
            }
        };
        let life = self.ready()?;
        life.ended(&known, transaction.must_abort);
        wire.record(Event::Return { of, outcome: settled(known) });
        self.crash_if_told(wire, step);
        Ok(())
    }

    /// Sends batches: all of them once, in order, and then again what needs it. So a batch can overtake one that was lost.
    async fn send<T: Transport>(
        &mut self,
        wire: &Wire<'_, T>,
        step: &Step,
        partition: Partition,
        batches: Vec<Vec<Record>>,
    ) -> Result<(), Skip> {
        let delivery = self.spec.delivery;
        let txn = self.spec.txn().zip(self.spec.protocol());
        let life = self.ready()?;
        if txn.is_some() {
            let transaction = life.transaction.as_ref().ok_or(Skip::NoTransaction)?;
            if transaction.must_abort {
                return Err(Skip::MustAbort);
            }
        }
        let mut sending = Vec::new();
        for records in batches {
            let batch = life.number(partition, records);
            let call = Call::Send {
                partition,
                records: batch.records.clone(),
                sequence: batch.session.map(|session| Sequence {
                    producer: session.producer,
                    epoch: session.epoch,
                    first: batch.first_sequence,
                }),
            };
            let of = wire.call(step, call);
            let request = Request::Produce {
                partition,
                batch,
                acks: delivery != Some(Delivery::AtMostOnce),
                txn,
            };
            sending.push((of, request));
        }
        let first = sending[0].0;
        let outcomes = match self.admit(wire, step, first, partition).await {
            Ok(()) => self.deliver(wire, step, &sending).await,
            Err(known) => sending.iter().map(|_| known.clone()).collect(),
        };
        let acks = delivery != Some(Delivery::AtMostOnce);
        let all_done = outcomes.iter().all(|known| matches!(known, Known::Done(_)));
        for ((of, _), known) in sending.iter().zip(&outcomes) {
            let outcome = match acks {
                true => settled(known.clone()),
                // Nothing ever tells a client that asks for no acknowledgement.
                false => Outcome::Unknown,
            };
            wire.record(Event::Return { of: *of, outcome });
        }
        if !all_done {
            self.failed(&outcomes);
        }
        self.crash_if_told(wire, step);
        Ok(())
    }

    /// TV1: adds the partition to the transaction before the first write.
    async fn admit<T: Transport>(
        &mut self,
        wire: &Wire<'_, T>,
        step: &Step,
        of: EventId,
        partition: Partition,
    ) -> Result<(), Known> {
        let (txn, protocol) = (self.spec.txn(), self.spec.protocol());
        let preparation = self.preparation(step, of);
        let Some(life) = &mut self.life else {
            return Ok(());
        };
        let (Some(txn), Some(session)) = (txn, life.session) else {
            return Ok(());
        };
        let Some(transaction) = &mut life.transaction else {
            return Ok(());
        };
        if protocol == Some(Protocol::Tv2) || transaction.partitions.contains(&partition) {
            transaction.partitions.insert(partition);
            return Ok(());
        }
        // Known to the broker from now on, whatever the answer: the end must be told.
        transaction.partitions.insert(partition);
        let request = Request::AddPartition { txn, session, partition };
        match preparation.send(wire, &request).await {
            Known::Done(_) => Ok(()),
            other => Err(other),
        }
    }

    async fn deliver<T: Transport>(
        &self,
        wire: &Wire<'_, T>,
        step: &Step,
        sending: &[(EventId, Request)],
    ) -> Vec<Known> {
        let mut asks: Vec<Ask> = Vec::new();
        for (i, (of, request)) in sending.iter().enumerate() {
            let fate = if i == 0 { step.fate } else { Fate::Delivered };
            let mut ask = self.ask(step, *of).meeting(fate);
            ask.first_copy(wire, request).await;
            asks.push(ask);
        }
        // A batch behind one that got lost is refused as out of order; it is sent again after it.
        let mut behind = false;
        let mut outcomes = Vec::new();
        for (ask, (_, request)) in asks.iter_mut().zip(sending) {
            if behind {
                ask.reconsider_order();
            }
            behind |= ask.is_open();
            outcomes.push(ask.settle(wire, request).await);
        }
        outcomes
    }

    /// What a client does when a batch or position was not accepted: give up the transaction, or the session.
    fn failed(&mut self, outcomes: &[Known]) {
        let plain =
            matches!(self.spec.delivery, Some(Delivery::AtMostOnce | Delivery::AtLeastOnce));
        let Some(life) = &mut self.life else { return };
        if outcomes.iter().any(Known::is_fenced) {
            life.broken = Some(Skip::Fenced);
        } else if let Some(transaction) = &mut life.transaction {
            transaction.must_abort = true;
            if outcomes.iter().any(|known| matches!(known, Known::Unknown)) {
                life.broken = Some(Skip::InDoubt);
            }
        } else if !plain {
            life.broken = Some(Skip::InDoubt);
        }
    }

    async fn poll<T: Transport>(
        &mut self,
        wire: &Wire<'_, T>,
        step: &Step,
        max: usize,
    ) -> Result<(), Skip> {
        let isolation = self.consumer()?.isolation;
        let lane = Lane::Client(self.spec.id);
        let life = self.ready()?;
        if life.must_rewind {
            return Err(Skip::MustRewind);
        }
        let of = wire.call(step, Call::Poll);
        let mut left = max;
        let mut polled = Vec::new();
        let mut failure = None;
        for place in 0..life.progress.inputs().len() {
            if left == 0 {
                break;
            }
            let input = &life.progress.inputs()[place];
            let reader = Reader { lane, partition: input.partition, isolation };
            match reader.fetch(wire.transport, input.fetched, left).await {
                Ok(fetched) => {
                    left -= fetched.taken.records.len();
                    polled.extend(life.progress.take(place, fetched.taken));
                }
                Err(outcome) => failure = Some(outcome),
            }
        }
        let outcome = match failure {
            Some(failure) if polled.is_empty() => failure,
            _ => Outcome::Done(Reply::Polled(polled)),
        };
        wire.record(Event::Return { of, outcome });
        Ok(())
    }

    fn process<T: Transport>(&mut self, wire: &Wire<'_, T>, step: &Step) -> Result<(), Skip> {
        let saving = self.consumer()?.saving;
        let life = self.ready()?;
        let records = life.progress.process(saving);
        if records.is_empty() {
            return Err(Skip::NothingToDo);
        }
        let of = wire.call(step, Call::Process { records });
        let outcome = Outcome::Done(Reply::Nothing);
        wire.record(Event::Return { of, outcome });
        Ok(())
    }

    async fn save<T: Transport>(&mut self, wire: &Wire<'_, T>, step: &Step) -> Result<(), Skip> {
        let consumer = self.consumer()?;
        let (group, saving) = (consumer.group, consumer.saving);
        let life = self.ready()?;
        let positions = life.progress.unsaved(saving)?;
        let member = life.member.clone();
        let of = wire
            .call(step, Call::Save { group, positions: positions.clone(), in_transaction: false });
        let request = Request::Save { group, member, positions: positions.clone() };
        let known = self.ask(step, of).send(wire, &request).await;
        let life = self.ready()?;
        match &known {
            Known::Done(_) => life.progress.saved(&positions),
            known if known.is_fenced() => life.broken = Some(Skip::Fenced),
            _ => life.broken = Some(Skip::InDoubt),
        }
        wire.record(Event::Return { of, outcome: settled(known) });
        self.crash_if_told(wire, step);
        Ok(())
    }

    async fn save_in_transaction<T: Transport>(
        &mut self,
        wire: &Wire<'_, T>,
        step: &Step,
    ) -> Result<(), Skip> {
        let group = self.consumer()?.group;
        let (txn, protocol) =
            (self.spec.txn().zip(self.spec.protocol())).ok_or(Skip::NoTransaction)?;
        let life = self.ready()?;
        let transaction = life.transaction.as_ref().ok_or(Skip::NoTransaction)?;
        if transaction.must_abort {
            return Err(Skip::MustAbort);
        }
        if life.must_rewind {
            return Err(Skip::MustRewind);
        }
        let positions = life.progress.unsaved(Saving::InTransaction)?;
        let session = life.session.ok_or(Skip::InDoubt)?;
        let member = life.member.clone();
        let of = wire
            .call(step, Call::Save { group, positions: positions.clone(), in_transaction: true });
        let request = Request::SaveInTxn {
            txn,
            session,
            protocol,
            group,
            member,
            positions: positions.clone(),
        };
        let known = match self.admit_group(wire, step, of, group).await {
            Ok(()) => self.ask(step, of).send(wire, &request).await,
            Err(known) => known,
        };
        match &known {
            Known::Done(_) => {
                let life = self.ready()?;
                life.progress.saved(&positions);
                if let Some(transaction) = &mut life.transaction {
                    transaction.unsaved_outputs = false;
                }
            }
            _ => self.failed(std::slice::from_ref(&known)),
        }
        wire.record(Event::Return { of, outcome: settled(known) });
        self.crash_if_told(wire, step);
        Ok(())
    }

    /// TV1: adds the group to the transaction before its first position.
    async fn admit_group<T: Transport>(
        &mut self,
        wire: &Wire<'_, T>,
        step: &Step,
        of: EventId,
        group: GroupId,
    ) -> Result<(), Known> {
        let (txn, protocol) = (self.spec.txn(), self.spec.protocol());
        let preparation = self.preparation(step, of);
        let Some(life) = &mut self.life else {
            return Ok(());
        };
        let (Some(txn), Some(session)) = (txn, life.session) else {
            return Ok(());
        };
        let Some(transaction) = &mut life.transaction else {
            return Ok(());
        };
        let added = !transaction.groups.insert(group);
        if added || protocol == Some(Protocol::Tv2) {
            return Ok(());
        }
        let request = Request::AddGroup { txn, session, group };
        match preparation.send(wire, &request).await {
            Known::Done(_) => Ok(()),
            other => Err(other),
        }
    }

    async fn forward<T: Transport>(
        &mut self,
        wire: &Wire<'_, T>,
        step: &Step,
        to: Partition,
        tag: Tag,
        limit: u8,
    ) -> Result<(), Skip> {
        let life = self.ready()?;
        let transaction = life.transaction.as_ref().ok_or(Skip::NoTransaction)?;
        if transaction.must_abort {
            return Err(Skip::MustAbort);
        }
        let records = outputs(&life.progress.forward(usize::from(limit)), tag);
        if records.is_empty() {
            return Err(Skip::NothingToDo);
        }
        if let Some(transaction) = &mut life.transaction {
            transaction.unsaved_outputs = true;
        }
        self.send(wire, step, to, vec![records]).await
    }

    async fn rewind<T: Transport>(&mut self, wire: &Wire<'_, T>, step: &Step) -> Result<(), Skip> {
        let consumer = self.consumer()?.clone();
        let lane = Lane::Client(self.spec.id);
        let life = self.ready()?;
        // Its own pending positions would make the client wait for itself, and its outputs would be written twice.
        if life.transaction.as_ref().is_some_and(Transaction::is_known_to_broker) {
            return Err(Skip::TransactionOpen);
        }
        let of = wire.call(step, Call::Rewind);
        let outcome =
            match life.go_to_saved(wire, Ask::new(lane, of, Fate::Delivered), &consumer).await {
                Ok(()) => {
                    life.must_rewind = false;
                    Outcome::Done(Reply::Positions(life.progress.positions()))
                }
                Err(outcome) => outcome,
            };
        wire.record(Event::Return { of, outcome });
        Ok(())
    }

    /// The client's life, if it may go on.
    fn ready(&mut self) -> Result<&mut Life, Skip> {
        let life = self.life.as_mut().ok_or(Skip::NotOpen)?;
        match life.broken {
            Some(why) => Err(why),
            None => Ok(life),
        }
    }

    fn consumer(&self) -> Result<&Consumer, Skip> {
        self.spec.consumer.as_ref().ok_or(Skip::NothingToDo)
    }

    /// How this client asks for what carries out the step.
    fn ask(&self, step: &Step, of: EventId) -> Ask {
        let lane = Lane::Client(self.spec.id);
        let retries =
            self.spec.delivery != Some(Delivery::AtMostOnce) || !matches!(step.op, Op::Send { .. });
        Ask::new(lane, of, step.fate).crashing(step.crash).retrying(retries)
    }

    /// How it asks for what prepares the step.
    fn preparation(&self, step: &Step, of: EventId) -> Ask {
        Ask::new(Lane::Client(self.spec.id), of, step.preparation).preparing()
    }
}

impl Life {
    fn new(session: Option<Session>) -> Self {
        Life {
            session,
            member: None,
            broken: None,
            sequences: BTreeMap::new(),
            transaction: None,
            must_rewind: false,
            progress: Progress::default(),
        }
    }

    async fn join<T: Transport>(
        &mut self,
        wire: &Wire<'_, T>,
        step: &Step,
        of: EventId,
        consumer: &Consumer,
    ) -> Result<(), Outcome> {
        let plain = || Ask::new(Lane::Client(step.client), of, Fate::Delivered).preparing();
        if consumer.member {
            let group = consumer.group;
            match plain().send(wire, &Request::Join { group }).await {
                Known::Done(Response::Joined(member)) => self.member = Some(member),
                other => return Err(settled(other)),
            }
        }
        self.progress = Progress::at_start(consumer);
        self.go_to_saved(wire, plain(), consumer).await
    }

    async fn go_to_saved<T: Transport>(
        &mut self,
        wire: &Wire<'_, T>,
        ask: Ask,
        consumer: &Consumer,
    ) -> Result<(), Outcome> {
        let request =
            Request::Positions { group: consumer.group, partitions: consumer.inputs.clone() };
        let positions = match ask.send(wire, &request).await {
            Known::Done(Response::Positions(positions)) => positions,
            other => return Err(settled(other)),
        };
        self.progress.go_to_saved(&positions);
        Ok(())
    }

    /// A batch with the next sequence numbers of the session.
    fn number(&mut self, partition: Partition, records: Vec<Record>) -> Batch {
        let first_sequence = match self.session {
            Some(_) => {
                let next = self.sequences.entry(partition).or_insert(0);
                let first = *next;
                *next = next.wrapping_add(records.len() as i32) & i32::MAX;
                first
            }
            None => -1,
        };
        Batch { session: self.session, first_sequence, records }
    }

    /// What the client knows after the end of its transaction.
    fn ended(&mut self, known: &Known, had_failed: bool) {
        match known {
            Known::Done(Response::Ended(session)) => {
                let bumped = self.session != Some(*session);
                self.session = Some(*session);
                if bumped {
                    self.sequences.clear();
                } else if had_failed {
                    // Without a new epoch the sequence numbers of what was refused are lost.
                    self.broken = Some(Skip::InDoubt);
                }
            }
            Known::Done(_) => {
                if had_failed {
                    self.broken = Some(Skip::InDoubt);
                }
            }
            known if known.is_fenced() => self.broken = Some(Skip::Fenced),
            _ => self.broken = Some(Skip::InDoubt),
        }
    }
}

impl Transaction {
    fn is_known_to_broker(&self) -> bool {
        !self.partitions.is_empty() || !self.groups.is_empty()
    }
}

fn plain(record: &NewRecord) -> Record {
    Record { tag: record.tag, key: record.key, from: None }
}

fn end_request(spec: &Client, session: Option<Session>, ending: Ending) -> Option<Request> {
    let (txn, protocol): (TxnId, Protocol) = spec.txn().zip(spec.protocol())?;
    Some(Request::EndTxn { txn, session: session?, ending, protocol })
}

/// What goes into the history for what a client knows in the end.
fn settled(known: Known) -> Outcome {
    match known {
        Known::Done(Response::Appended(base)) => Outcome::Done(Reply::Appended { base }),
        Known::Done(_) => Outcome::Done(Reply::Nothing),
        Known::Refused(code, _) => Outcome::Refused(code),
        Known::Unknown => Outcome::Unknown,
    }
}
