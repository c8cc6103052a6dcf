//! The test client: turns an operation and its fate into protocol requests. It owns sessions, epochs, sequences and
//! retries, so the rig plays the retrying client itself, step by step.
//!
//! The one contestable decision: a client knows no more than a real one would. What the rig saw of an answer that was
//! lost on its way goes into the history, never into what the client does next.

mod consuming;
mod forging;
mod producing;
mod wrongly;

use std::collections::{BTreeMap, BTreeSet};

use onceness_reference::history::{Call, Event, Outcome, Reply, Skip};
use onceness_reference::ids::{EventId, GroupId, Partition, TxnId};
use onceness_reference::plan::{Client, Consumer, Delivery, Op, Step};
use onceness_reference::protocol::{Ending, Member, Request, Response, Session};
use onceness_reference::wrongs::client::ClientWrongs;

use crate::ask::{Ask, Known, Wire};
use crate::progress::Progress;
use crate::transport::{Lane, Transport};
use forging::Written;
use producing::{end_request, plain};

/// One client of a case, from one opening to the next.
pub(crate) struct TestClient {
    spec: Client,
    /// It will forge requests, and so remembers what it wrote.
    forges: bool,
    life: Option<Life>,
    wrongs: ClientWrongs,
}

/// What a client that is open knows.
struct Life {
    session: Option<Session>,
    member: Option<Member>,
    /// Why nothing more can be done before the client starts again.
    broken: Option<Skip>,
    sequences: BTreeMap<Partition, i32>,
    written: Written,
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
    pub(crate) fn new(spec: Client, forges: bool, wrongs: ClientWrongs) -> Self {
        TestClient { spec, forges, life: None, wrongs }
    }

    /// The transactional id that it really uses, if any.
    pub(crate) fn txn(&self) -> Option<TxnId> {
        self.spec.txn()
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
            Op::SaveInTransaction if self.wrongs.application.saves_outside => {
                self.save_outside_transaction(wire, step).await
            }
            Op::SaveInTransaction => self.save_in_transaction(wire, step).await,
            Op::Forward { to, tag, limit } => self.forward(wire, step, *to, *tag, *limit).await,
            Op::Rewind => self.rewind(wire, step).await,
            Op::Forge(forge) => self.forge(wire, step, forge).await,
            // Only of members of a kind that it is not.
            Op::Stall => Err(Skip::Unsupported),
        }
    }

    async fn open<T: Transport>(&mut self, wire: &Wire<'_, T>, step: &Step) -> Result<(), Skip> {
        self.life = None;
        // It knows of no rebalance.
        if self.spec.consumer.as_ref().is_some_and(|consumer| consumer.shared) {
            return Err(Skip::Unsupported);
        }
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
                match self
                    .ask(step, of)
                    .send(wire, &Request::InitProducer { txn, expected: None })
                    .await
                {
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
        let sends = matches!(step.op, Op::Send { .. } | Op::Forward { .. });
        let gives_up = self.spec.delivery == Some(Delivery::AtMostOnce)
            || (self.spec.txn().is_some() && self.wrongs.producer.commits_without_failed);
        Ask::new(lane, of, step.fate).crashing(step.crash).retrying(!(sends && gives_up))
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
            written: Written::default(),
            transaction: None,
            must_rewind: false,
            progress: Progress::default(),
        }
    }
}

impl Transaction {
    fn is_known_to_broker(&self) -> bool {
        !self.partitions.is_empty() || !self.groups.is_empty()
    }
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
