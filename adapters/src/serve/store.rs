//! The bytes of what was appended, by partition. The model knows records by tags only; here is what they stand for.

use std::collections::{BTreeMap, HashMap};

use bytes::Bytes;
use onceness_reference::history::Record;
use onceness_reference::ids::{Key, Offset, Partition, Tag};
use onceness_reference::protocol::{Body, LogBatch};

use super::batches::{self, Arrived};

/// So much may be stored, of all partitions. What a topic held is free again when it is deleted.
const BYTES_MAX: usize = 1 << 30;
/// What the model needs for a batch, and for each record.
const BATCH_COST: usize = 200;
const RECORD_COST: usize = 40;

#[derive(Default)]
pub(super) struct Store {
    partitions: HashMap<Partition, Stored>,
    bytes: usize,
}

#[derive(Default)]
struct Stored {
    /// By the tag of the first record.
    batches: BTreeMap<u32, Bytes>,
    next: u32,
    bytes: usize,
}

impl Store {
    /// What the model is told of the records of a batch. None if there is no room for it.
    pub(super) fn tagged(&self, partition: Partition, arrived: &Arrived) -> Option<Vec<Record>> {
        let next = self.partitions.get(&partition).map_or(0, |stored| stored.next);
        let count = u32::try_from(arrived.keys.len()).ok()?;
        let last = next.checked_add(count)?;
        let room = self.bytes + RECORD_COST * arrived.keys.len() < BYTES_MAX;
        let record = |(tag, key): (u32, &Option<u32>)| Record {
            tag: Tag(tag),
            // Without a key, no record is an upsert of another.
            key: Key(key.unwrap_or(!tag)),
            from: None,
        };
        room.then(|| (next..last).zip(&arrived.keys).map(record).collect())
    }

    /// Keeps a batch that was appended at that offset.
    pub(super) fn keep(&mut self, partition: Partition, base: Offset, bytes: &Bytes, records: u32) {
        let stored = self.partitions.entry(partition).or_default();
        let cost = bytes.len() + BATCH_COST + RECORD_COST * records as usize;
        stored.batches.insert(stored.next, batches::at(bytes, base));
        stored.next += records;
        stored.bytes += cost;
        self.bytes += cost;
    }

    pub(super) fn forget(&mut self, partition: Partition) {
        if let Some(gone) = self.partitions.remove(&partition) {
            self.bytes -= gone.bytes;
        }
    }

    /// A batch of the model, as bytes.
    pub(super) fn read(&self, partition: Partition, batch: &LogBatch) -> Bytes {
        batches::read(batch, self.kept(partition, batch))
    }

    /// The first record of a partition that is not older: timestamp and offset.
    pub(super) fn since(&self, partition: Partition, timestamp: i64) -> Option<(i64, Offset)> {
        let mut kept = self.partitions.get(&partition)?.batches.values();
        kept.find_map(|bytes| batches::since(bytes, timestamp))
    }

    /// The first record of a partition with the latest timestamp of all: timestamp and offset.
    pub(super) fn latest(&self, partition: Partition) -> Option<(i64, Offset)> {
        let kept = &self.partitions.get(&partition)?.batches;
        let latest = kept.values().map(batches::latest).max()?;
        self.since(partition, latest)
    }

    fn kept(&self, partition: Partition, batch: &LogBatch) -> Option<&Bytes> {
        let Body::Records(records) = &batch.body else { return None };
        let tag = records.iter().find_map(|(_, record)| record.as_ref())?.tag;
        let batches = &self.partitions.get(&partition)?.batches;
        batches.range(..=tag.0).next_back().map(|(_, bytes)| bytes)
    }
}
