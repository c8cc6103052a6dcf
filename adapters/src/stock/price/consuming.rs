//! A consumer of one kind, and its turns.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use onceness_reference::plan::Isolation;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::message::Message as _;
use rdkafka::{Offset, TopicPartitionList};

use super::producing::{Reported, Writer};
use super::{READ_IN_TRANSACTIONS_OF, deadline, timed_out};
use crate::price::Turn;
use crate::stock::{PATIENCE, Place};

/// How long a poll waits: short enough to see in time that nothing more comes.
const POLL: Duration = Duration::from_millis(20);
/// A record that is not shown so long after its transaction was committed is lost.
const LOST_AFTER: Duration = Duration::from_secs(5);
/// A drain may take so many turns.
const TURNS_TO_DRAIN: u32 = 20;

/// A consumer at one level.
pub(super) struct Reader {
    level: Isolation,
    consumer: BaseConsumer,
}

/// A transaction that a reader is to see: its records, and when it was committed.
type Written = Vec<(Vec<Reported>, Instant)>;

impl Reader {
    pub(super) fn open(place: &Place, level: Isolation) -> KafkaResult<Reader> {
        let name = match level {
            Isolation::ReadCommitted => "read_committed",
            Isolation::ReadUncommitted => "read_uncommitted",
        };
        let mut config = place.config();
        // No group is ever joined and no position saved: a consumer of librdkafka just needs the name.
        config.set("group.id", format!("{}-price", place.run)).set("isolation.level", name);
        config.set("enable.auto.commit", "false").set("enable.partition.eof", "true");
        config.set("auto.offset.reset", "error");
        Ok(Reader { level, consumer: config.create()? })
    }

    /// Follows the end of a log while transactions are written into it.
    pub(super) fn tail(
        &self,
        source: &Writer,
        topic: &str,
        at: i32,
        length: Duration,
    ) -> KafkaResult<Turn> {
        let started = self.follow(source, topic, at)?;
        let expected = AtomicU64::new(u64::MAX);
        let over = AtomicBool::new(false);
        let (written, read) = std::thread::scope(|scope| {
            let reading = scope.spawn(|| self.read(&expected, &over));
            let written = write(source, topic, at, length);
            match &written {
                Ok(written) => {
                    let records = written.iter().map(|(records, _)| records.len() as u64).sum();
                    expected.store(records, Ordering::SeqCst);
                }
                Err(_) => over.store(true, Ordering::SeqCst),
            }
            (written, reading.join().unwrap_or(Err(KafkaError::Canceled)))
        });
        let elapsed = started.elapsed();
        self.consumer.unassign()?;
        let (written, read) = (written?, read?);
        let mut turn = Turn { elapsed, ..Turn::default() };
        for (records, committed) in &written {
            for record in records {
                let Some(shown) = read.get(&record.sent.number) else {
                    turn.lost += 1;
                    continue;
                };
                let fin = match self.level {
                    Isolation::ReadCommitted => *committed,
                    Isolation::ReadUncommitted => record.at,
                };
                turn.records += 1;
                turn.waits.push(shown.saturating_duration_since(fin));
                turn.waits_since_sent.push(shown.saturating_duration_since(record.sent.at));
            }
        }
        Ok(turn)
    }

    /// Reads a log from its start to its end.
    pub(super) fn drain(&self, topic: &str, expected: u64, length: Duration) -> KafkaResult<Turn> {
        let end = Instant::now() + (length * TURNS_TO_DRAIN).max(LOST_AFTER);
        let started = Instant::now();
        self.assign(topic, 0, Offset::Offset(0))?;
        let (mut records, mut last) = (0, started);
        let whole = loop {
            match self.consumer.poll(POLL) {
                Some(Ok(_)) => (records, last) = (records + 1, Instant::now()),
                Some(Err(KafkaError::PartitionEOF(_))) => break true,
                Some(Err(error)) => return Err(error),
                None if Instant::now() > end => break false,
                None => {}
            }
        };
        self.consumer.unassign()?;
        let lost = if whole { expected.saturating_sub(records) } else { 0 };
        Ok(Turn { records, lost, elapsed: last - started, ..Turn::default() })
    }

    /// Stands at the end of a log, and has seen a record get there.
    fn follow(&self, source: &Writer, topic: &str, at: i32) -> KafkaResult<Instant> {
        let patience = deadline();
        // Before anything is asked of it, the topic has to be there.
        source.transaction(topic, at, 1, true)?;
        let (_, end) = self.consumer.fetch_watermarks(topic, at, PATIENCE)?;
        self.assign(topic, at, Offset::Offset(end))?;
        let (last, _) = source.transaction(topic, at, 1, true)?;
        let last = last.last().map(|record| record.sent.number);
        loop {
            match self.consumer.poll(POLL) {
                // At read_committed the end may be before the first of the two.
                Some(Ok(message)) if message.payload().and_then(number) == last => {
                    return Ok(Instant::now());
                }
                Some(Ok(_) | Err(KafkaError::PartitionEOF(_))) | None => {}
                Some(Err(error)) => return Err(error),
            }
            if Instant::now() > patience {
                return Err(timed_out());
            }
        }
    }

    /// When each record was shown, until all were or no more come.
    fn read(&self, expected: &AtomicU64, over: &AtomicBool) -> KafkaResult<BTreeMap<u64, Instant>> {
        let mut shown = BTreeMap::new();
        let mut last = Instant::now();
        while (shown.len() as u64) < expected.load(Ordering::SeqCst)
            && last.elapsed() < LOST_AFTER
            && !over.load(Ordering::SeqCst)
        {
            match self.consumer.poll(POLL) {
                Some(Ok(message)) => {
                    let now = Instant::now();
                    last = now;
                    if let Some(number) = message.payload().and_then(number) {
                        shown.entry(number).or_insert(now);
                    }
                }
                Some(Err(KafkaError::PartitionEOF(_))) | None => {}
                Some(Err(error)) => return Err(error),
            }
        }
        Ok(shown)
    }

    fn assign(&self, topic: &str, at: i32, from: Offset) -> KafkaResult<()> {
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(topic, at, from)?;
        self.consumer.assign(&list)
    }
}

/// Writes transactions one after the other.
fn write(source: &Writer, topic: &str, at: i32, length: Duration) -> KafkaResult<Written> {
    let started = Instant::now();
    let mut written = Vec::new();
    while written.is_empty() || started.elapsed() < length {
        written.push(source.transaction(topic, at, READ_IN_TRANSACTIONS_OF, true)?);
    }
    Ok(written)
}

fn number(payload: &[u8]) -> Option<u64> {
    Some(u64::from_be_bytes(payload.get(..8)?.try_into().ok()?))
}
