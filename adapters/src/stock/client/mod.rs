//! One client of a case on librdkafka: what each operation of a plan is to it, and what goes into the history.

mod consuming;
mod producing;

use std::sync::{Arc, Weak};
use std::time::Duration;

use onceness_reference::history::{Call, Event, Outcome, Record, Reply, Skip};
use onceness_reference::ids::{ClientId, EventId};
use onceness_reference::plan::{Client, Consumer, Delivery, NewRecord, Op, Protocol, Step};
use rdkafka::error::KafkaResult;
use tokio::time::timeout;

use super::consuming::{Reader, blocking};
use super::door::{Calls, Door, Errand};
use super::errors::{Failure, failure};
use super::producing::Writer;
use super::settings::SESSION;
use super::{PATIENCE, Room};
use crate::TargetError;
use crate::progress::{Progress, outputs};
use crate::record::Recorder;

/// How long a client that is about to crash waits for an answer that will not come.
const LAST_PATIENCE: Duration = Duration::from_secs(3);
/// How long after the end of a session its group has noticed.
const GRACE: Duration = Duration::from_secs(1);
/// So much later librdkafka is given the next batch: it has begun to send the one before by then.
const BETWEEN_BATCHES: Duration = Duration::from_millis(1);
/// How often a member is looked after.
const LOOK_AFTER_EVERY: Duration = Duration::from_millis(20);
/// How long it takes at most until librdkafka sends what it sends by itself.
const SOON: Duration = Duration::from_secs(2);

/// A client, from its first opening to the end of the case.
pub(super) struct StockClient {
    spec: Client,
    room: Room,
    recorder: Arc<Recorder>,
    life: Option<Life>,
    /// The doors of all its lives, for some hold requests longer than those last.
    doors: Vec<Arc<Door>>,
}

/// What a client that is open knows.
struct Life {
    door: Arc<Door>,
    writer: Option<Writer>,
    reader: Option<Arc<Reader>>,
    progress: Progress,
    /// Why nothing more can be done before the client starts again.
    broken: Option<Skip>,
    transaction: Option<Transaction>,
    must_rewind: bool,
}

/// The open transaction, as its client knows it.
#[derive(Default)]
struct Transaction {
    /// Something was sent or saved in it.
    used: bool,
    /// Something in it failed, so it must not be committed.
    must_abort: bool,
    /// Outputs were written and the position of their inputs not yet saved.
    unsaved_outputs: bool,
}

/// A step, and the round that it is in.
#[derive(Clone, Copy)]
pub(super) struct Turn<'a> {
    pub(super) step: &'a Step,
    pub(super) round: usize,
}

impl StockClient {
    pub(super) fn new(spec: Client, room: Room, recorder: Arc<Recorder>) -> Self {
        StockClient { spec, room, recorder, life: None, doors: Vec::new() }
    }

    pub(super) fn id(&self) -> ClientId {
        self.spec.id
    }

    /// Its doors, open or closed.
    pub(super) fn doors(&self) -> &[Arc<Door>] {
        &self.doors
    }

    /// Carries out one step and records what happened.
    ///
    /// # Errors
    /// When there can be no door to the cluster.
    pub(super) async fn perform(&mut self, turn: Turn<'_>) -> Result<(), TargetError> {
        let Step { id: step, client, op, .. } = turn.step;
        if *op == Op::Open {
            self.crash();
            let brokers = self.room.brokers();
            let door = Door::open(&brokers, &self.room.name, &self.recorder).await?;
            self.doors.push(Arc::new(door));
        }
        if let Err(why) = self.try_perform(turn).await {
            self.recorder.record(Event::Skipped { step: *step, client: *client, why });
        }
        Ok(())
    }

    async fn try_perform(&mut self, turn: Turn<'_>) -> Result<(), Skip> {
        match &turn.step.op {
            Op::Open => self.open(turn).await,
            Op::Crash => {
                self.crash();
                self.crashed(turn);
                Ok(())
            }
            Op::Close => self.close(turn).await,
            Op::Begin => self.begin(turn),
            Op::Commit => self.end(turn, true).await,
            Op::Abort => self.end(turn, false).await,
            Op::Send { partition, batches } => {
                self.may_send()?;
                let record = |new: &NewRecord| Record { tag: new.tag, key: new.key, from: None };
                let batches = batches.iter().map(|batch| batch.iter().map(record).collect());
                self.send(turn, *partition, batches.collect()).await
            }
            Op::Forward { to, tag, limit } => {
                self.may_send()?;
                let life = self.ready()?;
                let records = outputs(&life.progress.forward(usize::from(*limit)), *tag);
                if records.is_empty() {
                    return Err(Skip::NothingToDo);
                }
                if let Some(transaction) = &mut life.transaction {
                    transaction.unsaved_outputs = true;
                }
                self.send(turn, *to, vec![records]).await
            }
            Op::Poll { max } => self.poll(turn, usize::from(*max)).await,
            Op::Process => self.process(turn),
            Op::Save => self.save(turn).await,
            Op::SaveInTransaction => self.save_in_transaction(turn).await,
            Op::Rewind => self.rewind(turn).await,
            Op::Stall => self.stall(turn).await,
            // No library sends what is forged.
            Op::Forge(_) => Err(Skip::Unsupported),
        }
    }

    async fn open(&mut self, turn: Turn<'_>) -> Result<(), Skip> {
        let Some(door) = self.doors.last().cloned() else { return Err(Skip::NotOpen) };
        // librdkafka does not speak it; what it does instead would be judged by other rules.
        if self.spec.protocol() == Some(Protocol::Tv2) {
            return Err(Skip::Unsupported);
        }
        let of = self.call(turn, Call::Open);
        let errand = Errand::of(turn.step, Calls::One(of), turn.round);
        let starting = self.start(&door, patience(turn.step));
        let started = ask(&door, errand, starting, self.asks_by_itself()).await;
        let outcome = match started {
            Some(Ok(life)) => {
                let positions = life.progress.positions();
                self.life = Some(life);
                // An idempotent producer may be given its session later.
                let session = door.session().filter(|_| self.spec.txn().is_some());
                Outcome::Done(Reply::Opened { session, positions })
            }
            Some(Err(error)) => failure(&error).outcome,
            None => Outcome::Unknown,
        };
        if self.life.is_none() && !turn.step.crash {
            door.close();
        }
        self.told(of, &door, outcome);
        self.crash_if_told(turn);
        Ok(())
    }

    /// Whether its session comes some time after it was opened.
    fn asks_by_itself(&self) -> bool {
        self.spec.delivery == Some(Delivery::Idempotent)
    }

    async fn start(&self, door: &Arc<Door>, patience: Duration) -> KafkaResult<Life> {
        let mut life = Life {
            door: door.clone(),
            writer: None,
            reader: None,
            progress: Progress::default(),
            broken: None,
            transaction: None,
            must_rewind: false,
        };
        match self.equip(&mut life, patience).await {
            Ok(()) => Ok(life),
            Err(error) => {
                door.close();
                tokio::task::spawn_blocking(move || life.close());
                Err(error)
            }
        }
    }

    /// Opens the producer and the consumer of a life.
    async fn equip(&self, life: &mut Life, patience: Duration) -> KafkaResult<()> {
        let bootstrap = life.door.address();
        if let Some(delivery) = self.spec.delivery {
            let writer = Writer::open(&self.room, delivery, &bootstrap, patience).await?;
            life.writer = Some(writer.waiting(PATIENCE));
        }
        if let Some(consumer) = self.spec.consumer.clone() {
            let (room, shared) = (self.room.clone(), consumer.shared);
            let opening = blocking(move || Reader::open(&room, &consumer, &bootstrap));
            let (reader, inputs) = opening.await?;
            let reader = Arc::new(reader);
            if shared {
                let reader = Arc::downgrade(&reader);
                tokio::task::spawn_blocking(move || look_after(&reader));
            }
            life.reader = Some(reader);
            life.progress = Progress::at_start(&inputs);
            life.go_to_saved(inputs).await?;
        }
        Ok(())
    }

    async fn close(&mut self, turn: Turn<'_>) -> Result<(), Skip> {
        let life = self.life.take().ok_or(Skip::NotOpen)?;
        let of = self.call(turn, Call::Close);
        let open = life.transaction.is_some() && life.broken.is_none();
        let aborted = match &life.writer {
            Some(writer) if open => writer.abort().await,
            _ => Ok(()),
        };
        let door = life.door.clone();
        // In good order: a member leaves its group.
        let _ = timeout(PATIENCE, tokio::task::spawn_blocking(move || life.close())).await;
        door.close();
        self.recorder.record(Event::Return { of, outcome: done(aborted) });
        Ok(())
    }

    /// Its group expels it meanwhile. librdkafka notices by itself that its session is over, as soon as it goes on, and saves
    /// nothing then: so what is judged is that the group moves on, not that it refuses a zombie.
    async fn stall(&mut self, turn: Turn<'_>) -> Result<(), Skip> {
        let door = self.ready()?.door.clone();
        let of = self.call(turn, Call::Stall);
        door.stall();
        tokio::time::sleep(SESSION + GRACE).await;
        door.resume();
        self.recorder.record(Event::Return { of, outcome: Outcome::Done(Reply::Nothing) });
        Ok(())
    }

    /// Dies: its connections are cut at once, and what librdkafka would still like to say is not heard.
    pub(super) fn crash(&mut self) {
        if let Some(door) = self.doors.last() {
            door.close();
        }
        if let Some(life) = self.life.take() {
            // Takes its time, and nobody needs to wait for it.
            tokio::task::spawn_blocking(move || life.close());
        }
    }

    fn crashed(&self, turn: Turn<'_>) {
        let Step { id: step, client, .. } = *turn.step;
        self.recorder.record(Event::Crashed { step, client });
    }

    fn crash_if_told(&mut self, turn: Turn<'_>) {
        if turn.step.crash {
            self.crash();
            self.crashed(turn);
        }
    }

    fn call(&self, turn: Turn<'_>, call: Call) -> EventId {
        let Step { id: step, client, .. } = *turn.step;
        self.recorder.record(Event::Call { step, client, call })
    }

    /// Records what the client knows of a call in the end.
    fn told(&self, of: EventId, door: &Door, outcome: Outcome) {
        let outcome = door.known(of, outcome);
        self.recorder.record(Event::Return { of, outcome });
    }

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
}

/// A case that is given up halfway leaves nothing behind either.
impl Drop for StockClient {
    fn drop(&mut self) {
        self.crash();
    }
}

impl Life {
    /// Ends what librdkafka does for it. Blocks.
    fn close(self) {
        if let Some(reader) = &self.reader {
            reader.close();
        }
    }

    fn writer(&self) -> Result<&Writer, Skip> {
        self.writer.as_ref().ok_or(Skip::NotOpen)
    }

    fn reader(&self) -> Result<&Arc<Reader>, Skip> {
        self.reader.as_ref().ok_or(Skip::NotOpen)
    }

    /// A transaction that something failed in can only be aborted; without one the client must start again.
    fn failed(&mut self, failure: &Failure) {
        match &mut self.transaction {
            Some(transaction) if failure.broken != Skip::Fenced => transaction.must_abort = true,
            _ => self.broken = Some(failure.broken),
        }
    }
}

/// Lets the client ask, while the door knows what for. None if the client crashed over it. `later`: what is asked for may
/// leave the client only when that is over.
async fn ask<T>(
    door: &Door,
    errand: Errand,
    asking: impl Future<Output = T>,
    later: bool,
) -> Option<T> {
    let crashes = errand.crashes();
    door.begin(errand);
    let answer = async {
        let answer = asking.await;
        if later && door.is_waiting() {
            // If it does not come, there is nothing that could meet a fate.
            let _ = timeout(SOON, door.struck()).await;
        }
        answer
    };
    let answer = tokio::select! {
        biased;
        () = door.struck(), if crashes => None,
        answer = answer => Some(answer),
    };
    door.end();
    answer
}

/// Looks after a member as long as there is one. Blocks.
fn look_after(reader: &Weak<Reader>) {
    while let Some(reader) = reader.upgrade() {
        reader.look_after();
        drop(reader);
        std::thread::sleep(LOOK_AFTER_EVERY);
    }
}

/// How long a step waits for one answer.
fn patience(step: &Step) -> Duration {
    if step.crash { LAST_PATIENCE } else { PATIENCE }
}

fn done(result: KafkaResult<()>) -> Outcome {
    match result {
        Ok(()) => Outcome::Done(Reply::Nothing),
        Err(error) => failure(&error).outcome,
    }
}
