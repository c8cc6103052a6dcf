//! What a client of librdkafka does as a consumer: reading, saving positions, and being a member of its group.
//!
//! librdkafka tells much only while it is polled, and hands out records then, too: those are kept until they are asked for.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use onceness_reference::history::Record;
use onceness_reference::ids::{Offset, Partition};
use onceness_reference::plan::Consumer;
use rdkafka::consumer::{
    BaseConsumer, CommitMode, Consumer as _, ConsumerContext, ConsumerGroupMetadata,
};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::message::Message as _;
use rdkafka::types::RDKafkaRespErr;
use rdkafka::{ClientConfig, ClientContext, Offset as At, TopicPartitionList};

use super::{PATIENCE, Room, settings};
use crate::payload;
use crate::progress::Taken;

/// A poll ends when nothing came for so long: librdkafka tells the end of a partition only once.
const IDLE: Duration = Duration::from_millis(150);
/// How long nothing at all may come before the first record. The first fetch of a fresh consumer takes its time.
const FIRST: Duration = Duration::from_millis(1500);
/// How often librdkafka is looked after while it is waited for.
const TICK: Duration = Duration::from_millis(10);

/// Saved positions; none: from the start.
pub(super) type Positions = [(Partition, Option<Offset>)];

/// A consumer of librdkafka.
pub(super) struct Reader {
    room: Room,
    consumer: BaseConsumer<Context>,
    /// What was handed out while something else was waited for.
    /// Held by who polls, or the order of what comes would be lost.
    stash: Mutex<VecDeque<Got>>,
    /// Nothing came yet from where it started last.
    fresh: AtomicBool,
    /// It is over. Held by who changes what is read.
    closing: Mutex<bool>,
}

/// What librdkafka told between the records.
#[derive(Default)]
struct Context {
    told: Mutex<Told>,
}

#[derive(Default)]
struct Told {
    /// What the group has given to this member, until it is taken up.
    assigned: Option<Vec<Partition>>,
    /// What it had was taken away.
    revoked: bool,
    /// librdkafka waits until what was given is taken up.
    waits: bool,
    /// Nobody will take up anything any more.
    closing: bool,
}

/// A thing that a poll may bring.
enum Got {
    Record { partition: Partition, offset: Offset, record: Option<Record> },
    End,
}

impl ClientContext for Context {}

impl ConsumerContext for Context {
    /// What was given is taken up by [`Reader::start`], from the saved positions, so nothing is assigned here.
    fn rebalance(
        &self,
        consumer: &BaseConsumer<Self>,
        event: RDKafkaRespErr,
        partitions: &mut TopicPartitionList,
    ) {
        let mut told = self.told();
        let gives = event == RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS;
        if gives && !told.closing {
            let numbers = partitions.elements();
            let numbers = numbers.iter().map(|element| partition(element.partition()));
            told.assigned = Some(numbers.collect());
            told.waits = true;
        } else {
            (told.assigned, told.revoked, told.waits) = (None, true, false);
            drop(told);
            // Cannot fail for a consumer that is open; for one that is not it does not matter.
            let _ = consumer.unassign();
        }
    }
}

impl Context {
    fn take_assigned(&self) -> Option<Vec<Partition>> {
        let mut told = self.told();
        told.revoked &= told.assigned.is_none();
        told.assigned.take()
    }

    fn is_moved(&self) -> bool {
        let told = self.told();
        told.revoked || told.assigned.is_some()
    }

    fn told(&self) -> MutexGuard<'_, Told> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Reader {
    /// Opens a consumer; a member joins its group and waits for what it is given. Blocks. Returns the partitions that it
    /// reads.
    pub(super) fn open(
        room: &Room,
        spec: &Consumer,
        bootstrap: &str,
    ) -> KafkaResult<(Reader, Vec<Partition>)> {
        let reader = Reader::plain(room, &settings::consumer(room, spec, bootstrap))?;
        if !spec.member {
            return Ok((reader, spec.inputs.clone()));
        }
        reader.consumer.subscribe(&[&room.name])?;
        match reader.given(spec) {
            Some(inputs) => Ok((reader, inputs)),
            None => {
                reader.close();
                Err(KafkaError::Subscription("the group gave nothing in time".to_owned()))
            }
        }
    }

    /// A consumer that is told what to read. Does not wait for anything.
    pub(super) fn plain(room: &Room, config: &ClientConfig) -> KafkaResult<Reader> {
        let consumer = config.create_with_context(Context::default())?;
        let fresh = AtomicBool::new(true);
        let (stash, closing) = Default::default();
        Ok(Reader { room: room.clone(), consumer, stash, fresh, closing })
    }

    /// The error behind one that only says that librdkafka gave up.
    pub(super) fn why(&self, error: KafkaError) -> KafkaError {
        match (error.rdkafka_error_code(), self.fatal()) {
            (Some(RDKafkaErrorCode::Fatal), Some(code)) => KafkaError::Global(code),
            _ => error,
        }
    }

    fn fatal(&self) -> Option<RDKafkaErrorCode> {
        self.consumer.client().fatal_error().map(|(code, _)| code)
    }

    /// Whether the group took away what this member had, or gave it something else. Blocks, briefly.
    pub(super) fn is_moved(&self) -> bool {
        self.attend(Duration::ZERO);
        self.consumer.context().is_moved()
    }

    /// Does for a while what an application does all the time: without it, no other member could join. Not while it is
    /// polled or saves anyway.
    pub(super) fn look_after(&self) {
        if let Ok(mut stash) = self.stash.try_lock()
            && let Ok(Some(got)) = self.poll(Duration::ZERO)
        {
            stash.push_back(got);
        }
    }

    /// Waits for what the group gives. Blocks. None if it takes too long.
    pub(super) fn given(&self, spec: &Consumer) -> Option<Vec<Partition>> {
        let since = Instant::now();
        while since.elapsed() < PATIENCE && self.fatal().is_none() {
            if let Some(given) = self.consumer.context().take_assigned() {
                return Some(given.into_iter().filter(|one| spec.inputs.contains(one)).collect());
            }
            self.attend(TICK);
        }
        None
    }

    /// The saved positions. Blocks.
    pub(super) fn saved(
        &self,
        inputs: &[Partition],
    ) -> KafkaResult<Vec<(Partition, Option<Offset>)>> {
        if inputs.is_empty() {
            return Ok(Vec::new());
        }
        let mut list = TopicPartitionList::new();
        for input in inputs {
            list.add_partition(&self.room.name, input.index());
        }
        let committed = self.consumer.committed_offsets(list, PATIENCE)?;
        let position = |at| match at {
            At::Offset(offset) => Some(offset),
            _ => None,
        };
        let elements = committed.elements();
        Ok(elements
            .iter()
            .map(|element| (partition(element.partition()), position(element.offset())))
            .collect())
    }

    /// Reads from these positions on: those of all partitions that it has from now on.
    pub(super) fn start(&self, from: &Positions) -> KafkaResult<()> {
        let start = self.starts(from)?;
        self.begin_anew(|consumer| consumer.assign(&start))
    }

    /// Goes to these positions of partitions that it has.
    pub(super) fn seek(&self, to: &Positions) -> KafkaResult<()> {
        let start = self.starts(to)?;
        self.begin_anew(|consumer| {
            let sought = consumer.seek_partitions(start, PATIENCE)?;
            sought.elements().iter().try_for_each(|element| element.error())
        })
    }

    /// What was handed out before counts no more.
    fn begin_anew(
        &self,
        begin: impl FnOnce(&BaseConsumer<Context>) -> KafkaResult<()>,
    ) -> KafkaResult<()> {
        // Not while it is closed.
        let closing = self.closing.lock().unwrap_or_else(PoisonError::into_inner);
        if *closing {
            return Err(KafkaError::Canceled);
        }
        // Nobody polls meanwhile, or what comes from the new place would be dropped with what came from the old one.
        let mut stash = self.stash();
        begin(&self.consumer)?;
        stash.clear();
        self.consumer.context().told().waits = false;
        self.fresh.store(true, Ordering::Relaxed);
        Ok(())
    }

    fn starts(&self, from: &Positions) -> KafkaResult<TopicPartitionList> {
        let mut start = TopicPartitionList::new();
        for (partition, position) in from {
            let at = At::Offset(position.unwrap_or(0));
            start.add_partition_offset(&self.room.name, partition.index(), at)?;
        }
        Ok(start)
    }

    /// Saves positions. Blocks, and that for as long as there is no coordinator: [`Reader::close`] ends it.
    pub(super) fn save(&self, positions: &[(Partition, Offset)]) -> KafkaResult<()> {
        // Nobody polls meanwhile, so the group cannot move on between the look and the request.
        let _stash = self.stash();
        if self.consumer.context().is_moved() {
            return Err(KafkaError::ConsumerCommit(RDKafkaErrorCode::RebalanceInProgress));
        }
        self.consumer.commit(&self.list(positions)?, CommitMode::Sync)
    }

    /// Ends it. Blocks, while a session lasts at most; then also for others.
    pub(super) fn close(&self) {
        let mut closing = self.closing.lock().unwrap_or_else(PoisonError::into_inner);
        *closing = true;
        let waits = {
            let mut told = self.consumer.context().told();
            told.closing = true;
            std::mem::take(&mut told.waits)
        };
        if waits {
            // librdkafka waits for ever until what it gave is taken up. Closing goes on whatever comes of it.
            let _ = self.consumer.unassign();
        }
        let closes = self.consumer.close_queue();
        drop(closing);
        if closes.is_err() {
            return;
        }
        let since = Instant::now();
        while !self.consumer.closed() && since.elapsed() < PATIENCE {
            self.consumer.poll(TICK);
        }
    }

    /// Positions as librdkafka has them.
    pub(super) fn list(
        &self,
        positions: &[(Partition, Offset)],
    ) -> KafkaResult<TopicPartitionList> {
        let mut list = TopicPartitionList::new();
        for (partition, offset) in positions {
            let at = At::Offset(*offset);
            list.add_partition_offset(&self.room.name, partition.index(), at)?;
        }
        Ok(list)
    }

    /// How the group knows this consumer.
    pub(super) fn group_metadata(&self) -> KafkaResult<ConsumerGroupMetadata> {
        self.consumer.group_metadata().ok_or(KafkaError::Canceled)
    }

    /// Reads until so many records are there, all partitions have ended, or nothing comes any more. Blocks.
    pub(super) fn take(&self, from: &[(Partition, Offset)], max: usize) -> KafkaResult<Vec<Taken>> {
        let empty = |next: &Offset| Taken { next: *next, records: Vec::new() };
        let mut taken: Vec<Taken> = from.iter().map(|(_, next)| empty(next)).collect();
        let mut open = from.len();
        let mut count = 0;
        let mut last = Instant::now();
        while count < max && open > 0 && last.elapsed() < FIRST {
            match self.next(IDLE) {
                Ok(None) if count > 0 || !self.fresh.load(Ordering::Relaxed) => break,
                Ok(None) => {}
                Ok(Some(Got::End)) => {
                    open -= 1;
                    self.fresh.store(false, Ordering::Relaxed);
                }
                Ok(Some(Got::Record { partition, offset, record })) => {
                    last = Instant::now();
                    self.fresh.store(false, Ordering::Relaxed);
                    let Some(place) = from.iter().position(|(one, _)| *one == partition) else {
                        continue;
                    };
                    taken[place].records.push((offset, record));
                    taken[place].next = offset + 1;
                    count += 1;
                }
                // What was handed out before must not be lost.
                Err(_) if count > 0 => break,
                Err(error) => return Err(error),
            }
        }
        Ok(taken)
    }

    /// Reads a partition from its start to its end. Blocks. Returns what is there and the high watermark.
    pub(super) fn read_all(&self, partition: Partition) -> KafkaResult<(Taken, Offset)> {
        let high_watermark = self.high_watermark(partition)?;
        self.start(&[(partition, None)])?;
        let mut taken = Taken::default();
        let since = Instant::now();
        while since.elapsed() < PATIENCE {
            match self.next(IDLE)? {
                Some(Got::End) => return Ok((taken, high_watermark)),
                Some(Got::Record { offset, record, .. }) => taken.records.push((offset, record)),
                None => {}
            }
        }
        Err(KafkaError::MessageConsumption(RDKafkaErrorCode::OperationTimedOut))
    }

    /// A topic that was just made has no leader yet, as far as some brokers know.
    fn high_watermark(&self, partition: Partition) -> KafkaResult<Offset> {
        let since = Instant::now();
        loop {
            match self.consumer.fetch_watermarks(&self.room.name, partition.index(), PATIENCE) {
                Ok((_, high_watermark)) => return Ok(high_watermark),
                Err(error) if passes(&error) && since.elapsed() < PATIENCE => {
                    std::thread::sleep(TICK);
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Lets librdkafka tell what it has to tell.
    fn attend(&self, wait: Duration) {
        let mut stash = self.stash();
        if let Ok(Some(got)) = self.poll(wait) {
            stash.push_back(got);
        }
    }

    fn next(&self, wait: Duration) -> KafkaResult<Option<Got>> {
        let mut stash = self.stash();
        let kept = stash.pop_front();
        if kept.is_some() {
            return Ok(kept);
        }
        self.poll(wait)
    }

    fn poll(&self, wait: Duration) -> KafkaResult<Option<Got>> {
        match self.consumer.poll(wait) {
            None => Ok(None),
            Some(Ok(message)) => {
                let (partition, offset) = (partition(message.partition()), message.offset());
                let (key, value) = (message.key(), message.payload());
                let record = payload::decode(&self.room.name, partition, key, value);
                Ok(Some(Got::Record { partition, offset, record }))
            }
            Some(Err(KafkaError::PartitionEOF(_))) => Ok(Some(Got::End)),
            Some(Err(error)) if passes(&error) => Ok(None),
            Some(Err(error)) => Err(error),
        }
    }

    fn stash(&self) -> MutexGuard<'_, VecDeque<Got>> {
        self.stash.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Connections that broke, of which librdkafka makes new ones by itself, and leaders that are still to be found.
fn passes(error: &KafkaError) -> bool {
    let code = error.rdkafka_error_code();
    let passing = [
        RDKafkaErrorCode::BrokerTransportFailure,
        RDKafkaErrorCode::AllBrokersDown,
        RDKafkaErrorCode::OperationTimedOut,
        RDKafkaErrorCode::Resolve,
        RDKafkaErrorCode::NotLeaderForPartition,
        RDKafkaErrorCode::LeaderNotAvailable,
        RDKafkaErrorCode::UnknownTopicOrPartition,
        RDKafkaErrorCode::UnknownTopic,
        RDKafkaErrorCode::UnknownPartition,
    ];
    code.is_some_and(|code| passing.contains(&code))
}

/// A partition by librdkafka's number.
pub(super) fn partition(number: i32) -> Partition {
    // Rooms have at most PARTITIONS_MAX partitions.
    Partition(number.cast_unsigned())
}

/// librdkafka blocks; the threads for that are tokio's.
pub(super) async fn blocking<T: Send + 'static>(
    ask: impl FnOnce() -> KafkaResult<T> + Send + 'static,
) -> KafkaResult<T> {
    tokio::task::spawn_blocking(ask).await.unwrap_or(Err(KafkaError::Canceled))
}
