//! Fetch, by full requests without a session; it waits for bytes as long as the client wants.

use bytes::{Bytes, BytesMut};
use kafka_protocol::messages::fetch_response::{
    AbortedTransaction, FetchableTopicResponse, PartitionData,
};
use kafka_protocol::messages::{FetchResponse, ProducerId, TopicName};
use onceness_reference::code::Code;
use onceness_reference::ids::Offset;
use onceness_reference::plan::Isolation;
use onceness_reference::protocol::FetchReply;

use super::call::{Call, Handled, Reply, text};
use super::state::State;

/// No answer holds more than this, unless its first batch does.
const BYTES_MAX: usize = 1 << 20;
/// So many batches of a partition are looked at for one answer.
const BATCHES_MAX: usize = 512;
/// The longest wait.
const WAIT_MAX_MS: i64 = 60_000;
/// There are no fetch sessions here, so none is known.
const FETCH_SESSION_ID_NOT_FOUND: i16 = 70;

struct Wanted {
    index: i32,
    offset: Offset,
    bytes_max: usize,
}

pub(super) fn fetch(state: &mut State, call: &mut Call<'_>) -> Handled {
    let version = call.version;
    let fields = &mut call.fields;
    fields.i32()?;
    let (wait, bytes_min, bytes_max) = (fields.i32()?, fields.i32()?, fields.i32()?);
    let isolation = match fields.i8()? {
        0 => Isolation::ReadUncommitted,
        _ => Isolation::ReadCommitted,
    };
    if version >= 7 {
        let session = fields.i32()?;
        fields.i32()?;
        if session != 0 {
            let none = FetchResponse::default().with_error_code(FETCH_SESSION_ID_NOT_FOUND);
            return call.answer(&none);
        }
    }
    let topics = fields.structs(|topic| {
        let name = topic.text()?;
        let partitions = topic.structs(|partition| {
            let index = partition.i32()?;
            if version >= 9 {
                partition.i32()?;
            }
            let offset = partition.i64()?;
            if version >= 12 {
                partition.i32()?;
            }
            if version >= 5 {
                partition.i64()?;
            }
            let bytes_max = usize::try_from(partition.i32()?).unwrap_or(0);
            Ok(Wanted { index, offset, bytes_max })
        })?;
        Ok((name, partitions))
    })?;
    let mut left = usize::try_from(bytes_max).unwrap_or(0).min(BYTES_MAX);
    let mut fetched = 0;
    let mut urgent = topics.is_empty();
    let responses = topics.into_iter().map(|(topic, partitions)| {
        let told = partitions.into_iter().map(|wanted| {
            let limit = wanted.bytes_max.min(left);
            let found = state.read(&topic, &wanted, isolation, limit, fetched == 0);
            urgent |= found.is_err();
            let told = PartitionData::default().with_partition_index(wanted.index);
            match found {
                Ok((reply, bytes)) => {
                    fetched += bytes.len();
                    left = left.saturating_sub(bytes.len());
                    told_of(told, version, isolation, reply, bytes)
                }
                Err(code) => told
                    .with_error_code(code.0)
                    .with_high_watermark(-1)
                    .with_last_stable_offset(-1)
                    .with_records(Some(Bytes::new())),
            }
        });
        let told = told.collect();
        FetchableTopicResponse::default().with_topic(TopicName(text(topic))).with_partitions(told)
    });
    let responses = responses.collect();
    let until = call.came + i64::from(wait).clamp(0, WAIT_MAX_MS);
    let enough = fetched as i64 >= i64::from(bytes_min);
    match urgent || enough || call.now >= until {
        true => call.answer(&FetchResponse::default().with_responses(responses)),
        false => Ok(Reply::Wait(until)),
    }
}

fn told_of(
    told: PartitionData,
    version: i16,
    isolation: Isolation,
    reply: FetchReply,
    bytes: Bytes,
) -> PartitionData {
    let aborted = reply.aborted.iter().map(|(producer, first)| {
        AbortedTransaction::default()
            .with_producer_id(ProducerId(*producer))
            .with_first_offset(*first)
    });
    let told = told
        .with_high_watermark(reply.high_watermark)
        .with_last_stable_offset(reply.last_stable)
        .with_records(Some(bytes))
        .with_aborted_transactions(match isolation {
            Isolation::ReadCommitted => Some(aborted.collect()),
            Isolation::ReadUncommitted => None,
        });
    if version >= 5 { told.with_log_start_offset(0) } else { told }
}

impl State {
    /// So many bytes of a partition; the first batch in any case, if it is to be.
    fn read(
        &self,
        topic: &str,
        wanted: &Wanted,
        isolation: Isolation,
        limit: usize,
        first_in_any_case: bool,
    ) -> Result<(FetchReply, Bytes), Code> {
        let partition = self.topics.partition(topic, wanted.index)?;
        let reply = self.broker.fetch(partition, wanted.offset, isolation, BATCHES_MAX)?;
        let mut bytes = BytesMut::new();
        for batch in &reply.batches {
            let batch = self.store.read(partition, batch);
            let first = bytes.is_empty() && first_in_any_case;
            if !first && bytes.len() + batch.len() > limit {
                break;
            }
            bytes.extend_from_slice(&batch);
        }
        Ok((reply, bytes.freeze()))
    }
}
