//! A meter on librdkafka: what a guarantee costs those who link it.
//!
//! The clients of all kinds are opened once and kept, for what they cost to open is not what a guarantee costs. All calls
//! block, as librdkafka's do, on a thread that tokio lends for the turn: between handing a record over and its callback
//! stands nothing of ours.

mod consuming;
mod producing;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use futures::future::BoxFuture;
use onceness_reference::plan::Isolation;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};

use super::{PATIENCE, Place};
use crate::TargetError;
use crate::price::{Kind, Load, Measure, Meter, Support, Turn};
use crate::stock::consuming::blocking;
use consuming::Reader;
use producing::Writer;

/// How long a cluster may take to be there.
const REACH: Duration = Duration::from_secs(5);
/// When so much was produced into a topic, the next turns use a new one and it is deleted: a long run fills no disk.
const TOPIC_BYTES: u64 = 256 << 20;
/// No turn produces more.
const TURN_BYTES: u64 = 8 << 20;
/// The log that consumers drain is about so long.
const LOG_BYTES: u64 = 16 << 20;
/// So many transactions make it up; the last of each [`ABORTED_EVERY`] is aborted.
const LOG_TRANSACTIONS: u64 = 40;
/// One in so many transactions of the log that consumers drain is aborted.
pub const ABORTED_EVERY: u64 = 4;
/// How many records the transactions have that a consumer is timed with.
pub const READ_IN_TRANSACTIONS_OF: u32 = 10;

/// A cluster, timed by librdkafka.
pub struct StockMeter {
    place: Place,
    admin: AdminClient<DefaultClientContext>,
    load: Load,
    /// Each kind of producer has a partition of its own, so that the end of a log tells what arrived of one kind.
    writers: Mutex<BTreeMap<Kind, Arc<Writer>>>,
    /// Produces what the readers read.
    source: Mutex<Option<Arc<Writer>>>,
    readers: Mutex<BTreeMap<Kind, Arc<Reader>>>,
    topics: Mutex<Topics>,
    /// Distinguishes the transactional ids of producers that replace each other.
    opened: AtomicU64,
}

#[derive(Debug, Default)]
struct Topics {
    made: u32,
    /// Where turns produce.
    current: Option<String>,
    /// How much they did.
    bytes: u64,
    /// What consumers drain.
    log: Option<Arc<Log>>,
    /// Names of topics that may exist.
    all: Vec<String>,
}

/// A log to be drained.
#[derive(Debug)]
struct Log {
    topic: String,
    records: u64,
    committed: u64,
}

impl std::fmt::Debug for StockMeter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StockMeter").field("place", &self.place).finish_non_exhaustive()
    }
}

impl StockMeter {
    /// Connects to a cluster.
    ///
    /// # Errors
    /// When no broker answers at any of the addresses.
    pub async fn connect(addresses: &[String], load: Load) -> Result<StockMeter, TargetError> {
        let bootstrap = addresses.join(",");
        let run = format!("onceness-{:08x}", fastrand::u32(..));
        let place = Place { bootstrap, run };
        let admin: AdminClient<DefaultClientContext> =
            place.config().create().map_err(|error| place.error("create a client", &error))?;
        let config = place.config();
        let metadata = blocking(move || {
            let asking: BaseConsumer = config.create()?;
            asking.fetch_metadata(None, REACH).map(drop)
        });
        metadata.await.map_err(|error| place.error("Metadata", &error))?;
        Ok(StockMeter {
            place,
            admin,
            load,
            writers: Mutex::default(),
            source: Mutex::default(),
            readers: Mutex::default(),
            topics: Mutex::default(),
            opened: AtomicU64::new(0),
        })
    }

    async fn writer(&self, kind: Kind) -> KafkaResult<Arc<Writer>> {
        if let Some(writer) = locked(&self.writers).get(&kind) {
            return Ok(writer.clone());
        }
        let writer = self.new_writer(kind).await?;
        locked(&self.writers).insert(kind, writer.clone());
        Ok(writer)
    }

    async fn source(&self) -> KafkaResult<Arc<Writer>> {
        if let Some(writer) = locked(&self.source).as_ref() {
            return Ok(writer.clone());
        }
        let writer = self.new_writer(Kind::Transactional(READ_IN_TRANSACTIONS_OF)).await?;
        *locked(&self.source) = Some(writer.clone());
        Ok(writer)
    }

    async fn new_writer(&self, kind: Kind) -> KafkaResult<Arc<Writer>> {
        let (place, load) = (self.place.clone(), self.load);
        let number = self.opened.fetch_add(1, Ordering::Relaxed);
        blocking(move || Writer::open(&place, kind, load, number).map(Arc::new)).await
    }

    async fn reader(&self, kind: Kind) -> KafkaResult<Arc<Reader>> {
        if let Some(reader) = locked(&self.readers).get(&kind) {
            return Ok(reader.clone());
        }
        let level = match kind {
            Kind::ReadCommitted => Isolation::ReadCommitted,
            _ => Isolation::ReadUncommitted,
        };
        let reader = Arc::new(Reader::open(&self.place, level)?);
        locked(&self.readers).insert(kind, reader.clone());
        Ok(reader)
    }

    /// Whatever went wrong with a kind, its next turn starts with new clients.
    fn forget(&self, kind: Kind) {
        match kind.consumes() {
            true => {
                locked(&self.readers).remove(&kind);
                *locked(&self.source) = None;
            }
            false => drop(locked(&self.writers).remove(&kind)),
        }
    }

    /// The topic that turns produce into.
    async fn topic(&self) -> Result<String, TargetError> {
        let full = {
            let mut topics = locked(&self.topics);
            if topics.bytes < TOPIC_BYTES
                && let Some(current) = &topics.current
            {
                return Ok(current.clone());
            }
            topics.bytes = 0;
            topics.current.take()
        };
        let name = self.make_topic(partition(Kind::ReadCommitted) + 1).await?;
        locked(&self.topics).current = Some(name.clone());
        if let Some(full) = full
            && self.delete(std::slice::from_ref(&full)).await.is_ok()
        {
            locked(&self.topics).all.retain(|one| *one != full);
        }
        Ok(name)
    }

    /// Makes a topic as the cluster lets us: not all know the settings, nor a default number of replicas.
    async fn make_topic(&self, partitions: i32) -> Result<String, TargetError> {
        let name = {
            let mut topics = locked(&self.topics);
            let name = format!("{}-price-{}", self.place.run, topics.made);
            topics.made += 1;
            // Noted before it is made: what is interrupted in between is deleted all the same.
            topics.all.push(name.clone());
            name
        };
        let mut refused = KafkaError::Canceled;
        for (replicas, tuned) in [(-1, true), (-1, false), (1, true), (1, false)] {
            let mut topic = NewTopic::new(&name, partitions, TopicReplication::Fixed(replicas));
            if tuned {
                // Deleted means gone at once, and no partition maps 20 MB of index.
                topic = topic.set("file.delete.delay.ms", "1000");
                topic = topic.set("segment.index.bytes", "16384");
            }
            let options = AdminOptions::new().operation_timeout(Some(PATIENCE));
            let made = self.admin.create_topics([&topic], &options).await;
            match made.map(|all| all.into_iter().next()) {
                Ok(Some(Ok(_) | Err((_, RDKafkaErrorCode::TopicAlreadyExists)))) => {
                    return Ok(name);
                }
                Ok(Some(Err((_, code)))) => refused = KafkaError::AdminOp(code),
                Ok(None) => {}
                Err(error) => return Err(self.place.error("CreateTopics", &error)),
            }
        }
        Err(self.place.error("CreateTopics", &refused))
    }

    async fn delete(&self, names: &[String]) -> Result<(), TargetError> {
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let options = AdminOptions::new().operation_timeout(Some(PATIENCE));
        let gone = self.admin.delete_topics(&names, &options).await;
        for gone in gone.map_err(|error| self.place.error("DeleteTopics", &error))? {
            match gone {
                Ok(_) | Err((_, RDKafkaErrorCode::UnknownTopicOrPartition)) => {}
                Err((_, code)) => {
                    return Err(self.place.error("DeleteTopics", &KafkaError::AdminOp(code)));
                }
            }
        }
        Ok(())
    }

    /// The log that consumers drain; made now if there is none.
    async fn log(&self) -> Result<Arc<Log>, TargetError> {
        if let Some(log) = &locked(&self.topics).log {
            return Ok(log.clone());
        }
        let topic = self.make_topic(1).await?;
        let error = |error| self.error("Produce", &error);
        let source = self.source().await.map_err(error)?;
        let records = (LOG_BYTES / self.load.record_bytes as u64).clamp(400, 40_000);
        let filled = blocking(move || fill(&source, topic, (records / LOG_TRANSACTIONS) as u32));
        let log = Arc::new(filled.await.map_err(error)?);
        locked(&self.topics).log = Some(log.clone());
        Ok(log)
    }

    async fn time(
        &self,
        kind: Kind,
        measure: Measure,
        length: Duration,
    ) -> Result<Turn, TargetError> {
        let topic = self.topic().await?;
        let turn = match (kind.consumes(), measure) {
            (true, Measure::Latency) => self.read(kind, topic, length).await,
            (true, Measure::Throughput) => {
                let log = self.log().await?;
                self.drain(kind, log, length).await
            }
            (false, _) => self.produce(kind, measure, topic, length).await,
        };
        turn.map_err(|error| self.error(request(kind), &error))
    }

    async fn produce(
        &self,
        kind: Kind,
        measure: Measure,
        topic: String,
        length: Duration,
    ) -> KafkaResult<Turn> {
        let writer = self.writer(kind).await?;
        let at = partition(kind);
        let turn = blocking(move || match measure {
            Measure::Latency => writer.latency(&topic, at, length),
            Measure::Throughput => writer.throughput(&topic, at, length),
        });
        let turn = turn.await?;
        let sent = (turn.records + turn.lost) * self.load.record_bytes as u64;
        locked(&self.topics).bytes += sent;
        Ok(turn)
    }

    async fn read(&self, kind: Kind, topic: String, length: Duration) -> KafkaResult<Turn> {
        let (source, reader) = (self.source().await?, self.reader(kind).await?);
        blocking(move || reader.tail(&source, &topic, partition(kind), length)).await
    }

    async fn drain(&self, kind: Kind, log: Arc<Log>, length: Duration) -> KafkaResult<Turn> {
        let reader = self.reader(kind).await?;
        let expected = match kind {
            Kind::ReadCommitted => log.committed,
            _ => log.records,
        };
        blocking(move || reader.drain(&log.topic, expected, length)).await
    }

    /// What a broker that was there a moment ago has to say.
    fn error(&self, request: &str, error: &KafkaError) -> TargetError {
        TargetError {
            address: self.place.bootstrap.clone(),
            request: request.to_owned(),
            reason: error.to_string(),
        }
    }

    /// One record or transaction, of which nothing is timed.
    async fn try_out(&self, kind: Kind) -> Result<Support, TargetError> {
        let tried = self.time(kind, Measure::Latency, Duration::ZERO).await;
        match tried {
            Ok(_) => Ok(Support::Supported),
            // Whoever cannot even do this is not there: that must not pass for one that has no transactions.
            Err(error) if matches!(kind, Kind::AtMostOnce | Kind::AtLeastOnce) => Err(error),
            Err(error) => {
                self.forget(kind);
                Ok(Support::Unsupported(error.reason))
            }
        }
    }
}

impl Meter for StockMeter {
    fn describe(&self) -> String {
        let (_, version) = rdkafka::util::get_rdkafka_version();
        format!("kafka://{} by librdkafka {version}", self.place.bootstrap)
    }

    fn open(&self, kind: Kind) -> BoxFuture<'_, Result<Support, TargetError>> {
        Box::pin(async move {
            let support = self.try_out(kind).await?;
            if support == Support::Supported && kind.consumes() {
                self.log().await?;
            }
            Ok(support)
        })
    }

    fn turn(
        &self,
        kind: Kind,
        measure: Measure,
        length: Duration,
    ) -> BoxFuture<'_, Result<Turn, TargetError>> {
        Box::pin(async move {
            let turn = self.time(kind, measure, length).await;
            if turn.is_err() {
                self.forget(kind);
            }
            turn
        })
    }

    fn clean(&self) -> BoxFuture<'_, Result<(), TargetError>> {
        Box::pin(async {
            locked(&self.writers).clear();
            locked(&self.readers).clear();
            *locked(&self.source) = None;
            let all = std::mem::take(&mut *locked(&self.topics)).all;
            match all.is_empty() {
                true => Ok(()),
                false => self.delete(&all).await,
            }
        })
    }
}

/// Fills a log with transactions of which some are aborted.
fn fill(source: &Writer, topic: String, each: u32) -> KafkaResult<Log> {
    let mut log = Log { topic, records: 0, committed: 0 };
    for number in 1..=LOG_TRANSACTIONS {
        let commits = number % ABORTED_EVERY != 0;
        source.transaction(&log.topic, 0, each, commits)?;
        log.records += u64::from(each);
        log.committed += if commits { u64::from(each) } else { 0 };
    }
    Ok(log)
}

/// Where the records of a kind go. Both kinds of consumers read the same partition.
fn partition(kind: Kind) -> i32 {
    let place = Kind::ALL.iter().position(|one| *one == kind).unwrap_or(0);
    place.min(Kind::ALL.len() - 2) as i32
}

fn request(kind: Kind) -> &'static str {
    match kind.consumes() {
        true => "Fetch",
        false => "Produce",
    }
}

/// An error of our own making, for waits that librdkafka does not bound.
fn timed_out() -> KafkaError {
    KafkaError::MessageConsumption(RDKafkaErrorCode::OperationTimedOut)
}

/// Until when something may take that should take no time.
fn deadline() -> Instant {
    Instant::now() + PATIENCE
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
