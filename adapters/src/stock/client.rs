//! One client of a case on librdkafka.

use std::sync::Arc;
use std::time::{Duration, Instant};

use onceness_reference::history::{Call, Event, Fetched, Outcome, Record, Reply, Skip};
use onceness_reference::ids::{ClientId, EventId, Offset, Partition, Tag};
use onceness_reference::plan::{Client, Consumer, Delivery, Isolation, Op, Saving, Step};
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer as _};
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::message::Message as _;
use rdkafka::producer::{FutureProducer, FutureRecord, Producer as _};
use rdkafka::{Offset as At, TopicPartitionList};

use super::errors::{Failure, failure};
use super::{PATIENCE, Room};
use crate::payload;
use crate::progress::{Progress, Taken, outputs};
use crate::record::Recorder;

/// A poll ends when nothing came for so long: librdkafka tells the end of a partition only once.
const IDLE: Duration = Duration::from_millis(150);

pub(super) struct StockClient {
    spec: Client,
    room: Room,
    life: Option<Life>,
}

struct Life {
    producer: Option<FutureProducer>,
    consumer: Option<Arc<BaseConsumer>>,
    progress: Progress,
    broken: Option<Skip>,
    in_transaction: bool,
    must_abort: bool,
    unsaved_outputs: bool,
    wrote: bool,
    must_rewind: bool,
}

impl StockClient {
    pub(super) fn new(spec: Client, room: Room) -> Self {
        StockClient { spec, room, life: None }
    }

    pub(super) fn id(&self) -> ClientId {
        self.spec.id
    }

    pub(super) async fn perform(&mut self, recorder: &Recorder, step: &Step) {
        if let Err(why) = self.try_perform(recorder, step).await {
            recorder.record(Event::Skipped { step: step.id, client: step.client, why });
        }
    }

    async fn try_perform(&mut self, recorder: &Recorder, step: &Step) -> Result<(), Skip> {
        if !step.fate.is_delivered() || !step.preparation.is_delivered() || step.crash {
            return Err(Skip::Unsupported);
        }
        let call = |call| recorder.record(Event::Call { step: step.id, client: step.client, call });
        let tell = |of: EventId, outcome| {
            recorder.record(Event::Return { of, outcome });
        };
        match &step.op {
            Op::Open => {
                let of = call(Call::Open);
                let outcome = match self.open().await {
                    Ok(life) => {
                        let positions = life.progress.positions();
                        self.life = Some(life);
                        Outcome::Done(Reply::Opened { session: None, positions })
                    }
                    Err(error) => failure(&error).outcome,
                };
                tell(of, outcome);
            }
            Op::Crash => {
                self.life = None;
                recorder.record(Event::Crashed { step: step.id, client: step.client });
            }
            Op::Close => {
                let of = call(Call::Close);
                let outcome = match self.life.take() {
                    Some(life) if life.in_transaction && life.broken.is_none() => {
                        done(life.abort().await)
                    }
                    _ => Outcome::Done(Reply::Nothing),
                };
                tell(of, outcome);
            }
            Op::Begin => {
                let life = self.ready()?;
                let begun = life.producer()?.begin_transaction();
                let of = call(Call::Begin);
                if begun.is_ok() {
                    (life.in_transaction, life.must_abort, life.wrote) = (true, false, false);
                    life.unsaved_outputs = false;
                }
                tell(of, done(begun));
            }
            Op::Commit | Op::Abort => {
                let commits = step.op == Op::Commit;
                let life = self.ready()?;
                life.may_end(commits)?;
                let of = call(if commits { Call::Commit } else { Call::Abort });
                let ended = if commits { life.commit().await } else { life.abort().await };
                life.in_transaction = false;
                if !commits {
                    life.must_rewind = !life.progress.inputs().is_empty();
                    life.progress.drop_polled();
                }
                if let Err(error) = &ended {
                    life.broken = Some(failure(error).broken);
                }
                tell(of, done(ended));
            }
            Op::Send { partition, batches } => {
                self.may_send()?;
                let records = batches.iter().flatten();
                let records: Vec<Record> =
                    records.map(|new| Record { tag: new.tag, key: new.key, from: None }).collect();
                self.send(*partition, records, call, tell).await?;
            }
            Op::Forward { to, tag, limit } => {
                self.may_send()?;
                let life = self.ready()?;
                let records = outputs(&life.progress.forward(usize::from(*limit)), *tag);
                if records.is_empty() {
                    return Err(Skip::NothingToDo);
                }
                life.unsaved_outputs = true;
                self.send(*to, records, call, tell).await?;
            }
            Op::Poll { max } => {
                let room = self.room.clone();
                let life = self.ready()?;
                if life.must_rewind {
                    return Err(Skip::MustRewind);
                }
                let of = call(Call::Poll);
                let outcome = match life.poll(&room, usize::from(*max)).await {
                    Ok(fetched) => Outcome::Done(Reply::Polled(fetched)),
                    Err(error) => failure(&error).outcome,
                };
                tell(of, outcome);
            }
            Op::Process => {
                let saving = self.consumer()?.saving;
                let records: Vec<Tag> = self.ready()?.progress.process(saving);
                if records.is_empty() {
                    return Err(Skip::NothingToDo);
                }
                let of = call(Call::Process { records });
                tell(of, Outcome::Done(Reply::Nothing));
            }
            Op::Save | Op::SaveInTransaction => {
                let (group, saving) = (self.consumer()?.group, self.consumer()?.saving);
                let in_transaction = saving == Saving::InTransaction;
                let room = self.room.clone();
                let life = self.ready()?;
                if in_transaction {
                    life.may_save_in_transaction()?;
                }
                let positions = life.progress.unsaved(saving)?;
                let of = call(Call::Save { group, positions: positions.clone(), in_transaction });
                let saved = life.save(&room, &positions, in_transaction).await;
                match &saved {
                    Ok(()) => {
                        life.progress.saved(&positions);
                        life.unsaved_outputs = false;
                    }
                    Err(error) => life.failed(&failure(error)),
                }
                tell(of, done(saved));
            }
            Op::Rewind => {
                let (room, consumer) = (self.room.clone(), self.consumer()?.clone());
                let life = self.ready()?;
                if life.wrote {
                    return Err(Skip::TransactionOpen);
                }
                let of = call(Call::Rewind);
                let outcome = match life.go_to_saved(&room, &consumer).await {
                    Ok(()) => {
                        life.must_rewind = false;
                        Outcome::Done(Reply::Positions(life.progress.positions()))
                    }
                    Err(error) => failure(&error).outcome,
                };
                tell(of, outcome);
            }
        }
        Ok(())
    }

    async fn open(&self) -> KafkaResult<Life> {
        let mut life = Life {
            producer: None,
            consumer: None,
            progress: Progress::default(),
            broken: None,
            in_transaction: false,
            must_abort: false,
            unsaved_outputs: false,
            wrote: false,
            must_rewind: false,
        };
        if let Some(delivery) = self.spec.delivery {
            life.producer = Some(open_producer(&self.room, delivery).await?);
        }
        if let Some(consumer) = &self.spec.consumer {
            life.consumer = Some(Arc::new(open_consumer(&self.room, consumer)?));
            life.progress = Progress::at_start(consumer);
            life.go_to_saved(&self.room, consumer).await?;
        }
        Ok(life)
    }

    /// librdkafka makes batches as it likes, so each record is a call of its own. All are under way at once.
    async fn send(
        &mut self,
        partition: Partition,
        records: Vec<Record>,
        call: impl Fn(Call) -> EventId,
        tell: impl Fn(EventId, Outcome),
    ) -> Result<(), Skip> {
        let acks = self.spec.delivery != Some(Delivery::AtMostOnce);
        let plain =
            matches!(self.spec.delivery, Some(Delivery::AtMostOnce | Delivery::AtLeastOnce));
        let room = self.room.clone();
        let life = self.ready()?;
        life.wrote |= life.in_transaction;
        let producer = life.producer()?.clone();
        let mut sent = Vec::new();
        for record in records {
            let of = call(Call::Send { partition, records: vec![record], sequence: None });
            let (key, value) = payload::encode(&room.name, partition, &record);
            let message = FutureRecord::to(&room.name)
                .partition(partition.index())
                .key(&key[..])
                .payload(&value[..]);
            sent.push((of, producer.send_result(message).map_err(|(error, _)| error)));
        }
        for (of, queued) in sent {
            let outcome = match queued {
                Ok(delivery) => match delivery.await {
                    Ok(Ok(delivered)) => {
                        let base = (acks && delivered.offset >= 0).then_some(delivered.offset);
                        Outcome::Done(Reply::Appended { base })
                    }
                    Ok(Err((error, _))) => life.refused(&error, plain),
                    Err(_) => Outcome::Unknown,
                },
                Err(error) => life.refused(&error, plain),
            };
            tell(of, if acks { outcome } else { Outcome::Unknown });
        }
        Ok(())
    }

    fn may_send(&mut self) -> Result<(), Skip> {
        let transactional = self.spec.txn().is_some();
        let life = self.ready()?;
        match (transactional, life.in_transaction, life.must_abort) {
            (true, false, _) => Err(Skip::NoTransaction),
            (true, true, true) => Err(Skip::MustAbort),
            _ => Ok(()),
        }
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

impl Life {
    fn producer(&self) -> Result<&FutureProducer, Skip> {
        self.producer.as_ref().ok_or(Skip::NotOpen)
    }

    fn may_end(&self, commits: bool) -> Result<(), Skip> {
        match () {
            () if !self.in_transaction => Err(Skip::NoTransaction),
            () if commits && self.must_abort => Err(Skip::MustAbort),
            () if commits && self.unsaved_outputs => Err(Skip::Unsaved),
            () => Ok(()),
        }
    }

    fn may_save_in_transaction(&self) -> Result<(), Skip> {
        match () {
            () if !self.in_transaction => Err(Skip::NoTransaction),
            () if self.must_abort => Err(Skip::MustAbort),
            () if self.must_rewind => Err(Skip::MustRewind),
            () => Ok(()),
        }
    }

    async fn commit(&self) -> KafkaResult<()> {
        self.with_producer(|producer| producer.commit_transaction(PATIENCE)).await
    }

    async fn abort(&self) -> KafkaResult<()> {
        self.with_producer(|producer| producer.abort_transaction(PATIENCE)).await
    }

    async fn with_producer(
        &self,
        ask: impl FnOnce(FutureProducer) -> KafkaResult<()> + Send + 'static,
    ) -> KafkaResult<()> {
        match self.producer.clone() {
            Some(producer) => blocking(move || ask(producer)).await,
            None => Err(KafkaError::Canceled),
        }
    }

    async fn poll(&mut self, room: &Room, max: usize) -> KafkaResult<Vec<Fetched>> {
        let Some(consumer) = self.consumer.clone() else { return Ok(Vec::new()) };
        let from: Vec<(Partition, Offset)> =
            self.progress.inputs().iter().map(|input| (input.partition, input.fetched)).collect();
        let room = room.clone();
        let taken = blocking(move || take(&consumer, &room, &from, max)).await?;
        let places = taken.into_iter().enumerate();
        Ok(places.filter_map(|(place, taken)| self.progress.take(place, taken)).collect())
    }

    async fn save(
        &self,
        room: &Room,
        positions: &[(Partition, Offset)],
        in_transaction: bool,
    ) -> KafkaResult<()> {
        let mut list = TopicPartitionList::new();
        for (partition, offset) in positions {
            list.add_partition_offset(&room.name, partition.index(), At::Offset(*offset))?;
        }
        let Some(consumer) = self.consumer.clone() else { return Err(KafkaError::Canceled) };
        if in_transaction {
            let group = consumer.group_metadata().ok_or(KafkaError::Canceled)?;
            return self
                .with_producer(move |producer| {
                    producer.send_offsets_to_transaction(&list, &group, PATIENCE)
                })
                .await;
        }
        blocking(move || consumer.commit(&list, CommitMode::Sync)).await
    }

    async fn go_to_saved(&mut self, room: &Room, consumer: &Consumer) -> KafkaResult<()> {
        let Some(client) = self.consumer.clone() else { return Ok(()) };
        let (room, inputs) = (room.clone(), consumer.inputs.clone());
        let positions = blocking(move || {
            let mut list = TopicPartitionList::new();
            for input in &inputs {
                list.add_partition(&room.name, input.index());
            }
            let committed = client.committed_offsets(list, PATIENCE)?;
            let positions: Vec<(Partition, Option<Offset>)> = committed
                .elements()
                .iter()
                .map(|element| (room.partition(element.partition()), known(element.offset())))
                .collect();
            let mut start = TopicPartitionList::new();
            for (partition, position) in &positions {
                let at = At::Offset(position.unwrap_or(0));
                start.add_partition_offset(&room.name, partition.index(), at)?;
            }
            client.assign(&start)?;
            Ok(positions)
        })
        .await?;
        self.progress.go_to_saved(&positions);
        Ok(())
    }

    fn refused(&mut self, error: &KafkaError, plain: bool) -> Outcome {
        let failure = failure(error);
        if !plain {
            self.failed(&failure);
        }
        failure.outcome
    }

    /// A transaction that something failed in can only be aborted; without one the client must start again.
    fn failed(&mut self, failure: &Failure) {
        if self.in_transaction && failure.broken != Skip::Fenced {
            self.must_abort = true;
        } else {
            self.broken = Some(failure.broken);
        }
    }
}

async fn open_producer(room: &Room, delivery: Delivery) -> KafkaResult<FutureProducer> {
    let mut config = room.config();
    config.set("linger.ms", "0").set("message.timeout.ms", "10000");
    match delivery {
        Delivery::AtMostOnce => config.set("acks", "0").set("retries", "0"),
        Delivery::AtLeastOnce => config.set("acks", "all").set("enable.idempotence", "false"),
        Delivery::Idempotent => config.set("enable.idempotence", "true"),
        Delivery::Transactional { txn, .. } => config.set("transactional.id", room.txn(txn)),
    };
    let producer: FutureProducer = config.create()?;
    if matches!(delivery, Delivery::Transactional { .. }) {
        let opened = producer.clone();
        blocking(move || opened.init_transactions(PATIENCE)).await?;
    }
    Ok(producer)
}

pub(super) fn open_consumer(room: &Room, consumer: &Consumer) -> KafkaResult<BaseConsumer> {
    reader(room, &room.group(consumer.group), consumer.isolation)
}

/// A consumer that saves nothing by itself and tells where partitions end.
pub(super) fn reader(room: &Room, group: &str, isolation: Isolation) -> KafkaResult<BaseConsumer> {
    let level = match isolation {
        Isolation::ReadCommitted => "read_committed",
        Isolation::ReadUncommitted => "read_uncommitted",
    };
    let mut config = room.config();
    config.set("group.id", group).set("isolation.level", level);
    config.set("enable.auto.commit", "false").set("enable.partition.eof", "true");
    config.set("fetch.wait.max.ms", "10").set("auto.offset.reset", "error");
    config.create()
}

/// Reads from the assigned partitions until so many records are there, all have ended, or nothing comes any more.
pub(super) fn take(
    consumer: &BaseConsumer,
    room: &Room,
    from: &[(Partition, Offset)],
    max: usize,
) -> KafkaResult<Vec<Taken>> {
    let mut taken: Vec<Taken> =
        from.iter().map(|(_, next)| Taken { next: *next, records: Vec::new() }).collect();
    let place = |partition: i32| from.iter().position(|(one, _)| one.index() == partition);
    let mut open = from.len();
    let mut count = 0;
    let mut last = Instant::now();
    while count < max && open > 0 && last.elapsed() < IDLE.max(PATIENCE / 10) {
        match consumer.poll(IDLE) {
            None if count > 0 || last.elapsed() >= IDLE => break,
            None => {}
            Some(Ok(message)) => {
                last = Instant::now();
                let Some(place) = place(message.partition()) else { continue };
                let partition = room.partition(message.partition());
                let record =
                    payload::decode(&room.name, partition, message.key(), message.payload());
                taken[place].records.push((message.offset(), record));
                taken[place].next = message.offset() + 1;
                count += 1;
            }
            Some(Err(KafkaError::PartitionEOF(_))) => open -= 1,
            Some(Err(error)) => return Err(error),
        }
    }
    Ok(taken)
}

pub(super) fn known(at: At) -> Option<Offset> {
    match at {
        At::Offset(offset) => Some(offset),
        _ => None,
    }
}

/// librdkafka blocks; the threads for that are tokio's.
pub(super) async fn blocking<T: Send + 'static>(
    ask: impl FnOnce() -> KafkaResult<T> + Send + 'static,
) -> KafkaResult<T> {
    tokio::task::spawn_blocking(ask).await.unwrap_or(Err(KafkaError::Canceled))
}

fn done(result: KafkaResult<()>) -> Outcome {
    match result {
        Ok(()) => Outcome::Done(Reply::Nothing),
        Err(error) => failure(&error).outcome,
    }
}
