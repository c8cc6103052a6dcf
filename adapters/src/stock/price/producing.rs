//! A producer of one kind, and its turns.

use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use rdkafka::ClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::producer::{
    BaseRecord, DeliveryResult, Producer as _, ProducerContext, ThreadedProducer,
};

use super::{TURN_BYTES, deadline, locked, timed_out};
use crate::price::{Kind, Load, Turn};
use crate::stock::{PATIENCE, Place};

/// So many records are under way at most, and so many bytes: room for full batches, and a short wait at the end of a turn.
const UNDER_WAY_MAX: u64 = 10_000;
const BYTES_UNDER_WAY_MAX: u64 = 16 << 20;
/// What is not in the log so long after the last that got there is lost.
const LOST_AFTER: Duration = Duration::from_millis(500);

/// A producer of one kind.
pub(super) struct Writer {
    kind: Kind,
    producer: ThreadedProducer<Reporter>,
    ledger: Arc<Ledger>,
    /// Asks for the ends of logs.
    asker: BaseConsumer,
    filler: Vec<u8>,
}

/// A record that was handed over.
pub(super) struct Sent {
    pub(super) number: u64,
    pub(super) at: Instant,
}

/// A record that was reported.
pub(super) struct Reported {
    pub(super) sent: Sent,
    pub(super) at: Instant,
}

/// What the callbacks of a producer tell.
#[derive(Default)]
struct Ledger {
    told: Mutex<Told>,
    bell: Condvar,
}

#[derive(Default)]
struct Told {
    /// How many records were handed over since the producer was opened.
    sent: u64,
    /// Those that came back since the last settlement.
    delivered: Vec<Reported>,
    /// How many came back, well or not, since the producer was opened.
    back: u64,
    error: Option<KafkaError>,
}

struct Reporter(Arc<Ledger>);

impl ClientContext for Reporter {}

impl ProducerContext for Reporter {
    type DeliveryOpaque = Box<Sent>;

    fn delivery(&self, result: &DeliveryResult<'_>, sent: Box<Sent>) {
        let at = Instant::now();
        let mut told = locked(&self.0.told);
        told.back += 1;
        match result {
            Ok(_) => told.delivered.push(Reported { sent: *sent, at }),
            Err((error, _)) => {
                told.error.get_or_insert_with(|| error.clone());
            }
        }
        self.0.bell.notify_all();
    }
}

impl Writer {
    pub(super) fn open(place: &Place, kind: Kind, load: Load, number: u64) -> KafkaResult<Writer> {
        let mut config = place.config();
        config.set("linger.ms", load.linger.as_millis().to_string());
        config.set("message.timeout.ms", "10000");
        match kind {
            Kind::AtMostOnce => config.set("acks", "0").set("retries", "0"),
            Kind::AtLeastOnce => config.set("acks", "all").set("enable.idempotence", "false"),
            Kind::Transactional(_) => {
                config.set("transactional.id", format!("{}-price-t{number}", place.run))
            }
            Kind::Idempotent | Kind::ReadUncommitted | Kind::ReadCommitted => {
                config.set("enable.idempotence", "true")
            }
        };
        let ledger = Arc::new(Ledger::default());
        let producer: ThreadedProducer<Reporter> =
            config.create_with_context(Reporter(ledger.clone()))?;
        if matches!(kind, Kind::Transactional(_)) {
            producer.init_transactions(PATIENCE)?;
        }
        let mut random = fastrand::Rng::with_seed(load.seed);
        let mut filler = vec![0; load.record_bytes];
        random.fill(&mut filler);
        Ok(Writer { kind, producer, ledger, asker: place.config().create()?, filler })
    }

    /// One record after the other, or one transaction, each when the one before is final.
    pub(super) fn latency(&self, topic: &str, at: i32, length: Duration) -> KafkaResult<Turn> {
        self.settle(topic, at)?;
        let end = self.end(topic, at)?;
        let started = Instant::now();
        let mut turn = Turn::default();
        let mut sent = 0;
        while sent == 0 || started.elapsed() < length {
            match self.kind {
                Kind::Transactional(records) => {
                    let (delivered, committed) = self.transaction(topic, at, records, true)?;
                    turn.waits.extend(delivered.iter().map(|one| committed - one.sent.at));
                    sent += u64::from(records);
                }
                _ => {
                    self.send(topic, at)?;
                    let delivered = self.wait_for_reports()?;
                    turn.waits.extend(delivered.iter().map(|one| one.at - one.sent.at));
                    sent += 1;
                }
            }
        }
        turn.elapsed = started.elapsed();
        (turn.records, turn.lost) = self.count(topic, at, end, sent)?;
        Ok(turn)
    }

    /// As many records under way as go.
    pub(super) fn throughput(&self, topic: &str, at: i32, length: Duration) -> KafkaResult<Turn> {
        self.settle(topic, at)?;
        let end = self.end(topic, at)?;
        let enough = (TURN_BYTES / self.filler.len() as u64).max(1);
        let started = Instant::now();
        let mut sent = 0;
        while sent == 0 || (sent < enough && started.elapsed() < length) {
            match self.kind {
                Kind::Transactional(records) => {
                    self.transaction(topic, at, records, true)?;
                    sent += u64::from(records);
                }
                _ => {
                    self.send(topic, at)?;
                    sent += 1;
                }
            }
        }
        self.wait_for_reports()?;
        // Without acknowledgements only the log itself tells what arrived, and when.
        let (records, lost) = self.count(topic, at, end, sent)?;
        let waited = if lost > 0 { LOST_AFTER } else { Duration::ZERO };
        let elapsed = started.elapsed().saturating_sub(waited);
        Ok(Turn { records, lost, elapsed, ..Turn::default() })
    }

    /// A transaction; its records, and when it was over.
    pub(super) fn transaction(
        &self,
        topic: &str,
        at: i32,
        records: u32,
        commits: bool,
    ) -> KafkaResult<(Vec<Reported>, Instant)> {
        self.producer.begin_transaction()?;
        for _ in 0..records {
            self.send(topic, at)?;
        }
        // Before a commit too: what is still under way then makes the wrapper of librdkafka poll for 100 ms and no less,
        // which is no price of transactions. And an abort would throw away what was not sent yet.
        let delivered = self.wait_for_reports()?;
        self.wait_for_quiet()?;
        match commits {
            true => self.producer.commit_transaction(PATIENCE)?,
            false => self.producer.abort_transaction(PATIENCE)?,
        }
        Ok((delivered, Instant::now()))
    }

    /// Sends until something arrives: a new topic has no leader yet, and a producer has to find it.
    fn settle(&self, topic: &str, at: i32) -> KafkaResult<()> {
        let patience = deadline();
        loop {
            let end = self.end(topic, at)?;
            match self.kind {
                Kind::Transactional(_) => drop(self.transaction(topic, at, 1, true)?),
                _ => self.send(topic, at)?,
            }
            let reported = self.wait_for_reports();
            // Without acknowledgements a record may be lost; that one is not counted.
            if self.kind != Kind::AtMostOnce {
                return reported.map(drop);
            }
            if self.arrived(topic, at, end, 1)? >= 1 {
                return Ok(());
            }
            if Instant::now() > patience {
                return Err(timed_out());
            }
        }
    }

    /// Hands a record over, when there is room for it.
    fn send(&self, topic: &str, at: i32) -> KafkaResult<()> {
        let room = UNDER_WAY_MAX.min(BYTES_UNDER_WAY_MAX / self.filler.len() as u64).max(1);
        let number = {
            let mut told = self.wait_until(|told| told.sent - told.back < room)?;
            told.sent += 1;
            told.sent
        };
        let mut payload = self.filler.clone();
        payload[..8].copy_from_slice(&number.to_be_bytes());
        let sent = Box::new(Sent { number, at: Instant::now() });
        let record: BaseRecord<'_, (), [u8], Box<Sent>> =
            BaseRecord::with_opaque_to(topic, sent).partition(at).payload(&payload);
        self.producer.send(record).map_err(|(error, _)| {
            locked(&self.ledger.told).back += 1;
            error
        })
    }

    /// Waits until all records are reported, and takes what was told of them.
    fn wait_for_reports(&self) -> KafkaResult<Vec<Reported>> {
        let mut told = self.wait_until(|told| told.back == told.sent)?;
        let delivered = std::mem::take(&mut told.delivered);
        match told.error.take() {
            // What is lost without acknowledgements is counted in the log.
            Some(error) if self.kind != Kind::AtMostOnce => Err(error),
            _ => Ok(delivered),
        }
    }

    /// Waits until librdkafka counts nothing as under way: it still does for a moment after the last callback.
    fn wait_for_quiet(&self) -> KafkaResult<()> {
        let patience = deadline();
        while self.producer.in_flight_count() > 0 {
            if Instant::now() > patience {
                return Err(timed_out());
            }
            std::thread::yield_now();
        }
        Ok(())
    }

    fn wait_until(
        &self,
        enough: impl Fn(&Told) -> bool,
    ) -> KafkaResult<std::sync::MutexGuard<'_, Told>> {
        let waiting = |told: &mut Told| !enough(told);
        let told = locked(&self.ledger.told);
        let waited = self.ledger.bell.wait_timeout_while(told, PATIENCE, waiting);
        let (told, timeout) = waited.unwrap_or_else(std::sync::PoisonError::into_inner);
        match timeout.timed_out() {
            true => Err(timed_out()),
            false => Ok(told),
        }
    }

    /// How many records arrived, and how many are lost.
    fn count(&self, topic: &str, at: i32, end: i64, sent: u64) -> KafkaResult<(u64, u64)> {
        match self.kind {
            Kind::AtMostOnce => {
                let arrived = self.arrived(topic, at, end, sent)?.min(sent);
                Ok((arrived, sent - arrived))
            }
            _ => Ok((sent, 0)),
        }
    }

    /// Waits until so many records were added to a log, or no more come.
    fn arrived(&self, topic: &str, at: i32, end: i64, expected: u64) -> KafkaResult<u64> {
        let (mut arrived, mut last) = (0, Instant::now());
        while arrived < expected && last.elapsed() < LOST_AFTER {
            let now = (self.end(topic, at)? - end).max(0) as u64;
            if now > arrived {
                (arrived, last) = (now, Instant::now());
            }
        }
        Ok(arrived)
    }

    /// Where a log ends. Only producers without acknowledgements ask.
    fn end(&self, topic: &str, at: i32) -> KafkaResult<i64> {
        if self.kind != Kind::AtMostOnce {
            return Ok(0);
        }
        let patience = deadline();
        loop {
            match self.asker.fetch_watermarks(topic, at, PATIENCE) {
                Ok((_, end)) => return Ok(end),
                Err(error) if Instant::now() > patience => return Err(error),
                // A new topic is not everywhere yet.
                Err(_) => std::thread::sleep(Duration::from_millis(20)),
            }
        }
    }
}
