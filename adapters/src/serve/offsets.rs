//! ListOffsets: where a partition begins, where it ends, and which record was the first at a time.

use kafka_protocol::messages::list_offsets_response::{
    ListOffsetsPartitionResponse, ListOffsetsTopicResponse,
};
use kafka_protocol::messages::{ListOffsetsResponse, TopicName};
use onceness_reference::code::Code;
use onceness_reference::ids::Offset;

use super::call::{Call, Handled, code, text};
use super::state::State;

/// What stands for a place rather than for a time.
const LATEST: i64 = -1;
const EARLIEST: i64 = -2;
const LATEST_IN_TIME: i64 = -3;
/// Neither a timestamp nor an offset.
const NONE: i64 = -1;

pub(super) fn list(state: &mut State, call: &mut Call<'_>) -> Handled {
    let version = call.version;
    let fields = &mut call.fields;
    fields.i32()?;
    let committed = version >= 2 && fields.i8()? != 0;
    let topics = fields.structs(|topic| {
        let name = topic.text()?;
        let partitions = topic.structs(|partition| {
            let index = partition.i32()?;
            if version >= 4 {
                partition.i32()?;
            }
            Ok((index, partition.i64()?))
        })?;
        Ok((name, partitions))
    })?;
    let topics = topics.into_iter().map(|(topic, partitions)| {
        let told = partitions.into_iter().map(|(index, timestamp)| {
            let found = state.offset(&topic, index, timestamp, committed);
            let told = ListOffsetsPartitionResponse::default()
                .with_partition_index(index)
                .with_error_code(code(&found));
            let (at, offset) = found.unwrap_or((NONE, NONE));
            told.with_timestamp(at).with_offset(offset)
        });
        let told = told.collect();
        ListOffsetsTopicResponse::default().with_name(TopicName(text(topic))).with_partitions(told)
    });
    let topics = topics.collect();
    call.answer(&ListOffsetsResponse::default().with_topics(topics))
}

impl State {
    /// Timestamp and offset.
    fn offset(
        &self,
        topic: &str,
        index: i32,
        timestamp: i64,
        committed: bool,
    ) -> Result<(i64, Offset), Code> {
        let partition = self.topics.partition(topic, index)?;
        let extent = self.broker.extent(partition).ok_or(Code::UNKNOWN_TOPIC_OR_PARTITION)?;
        let end = if committed { extent.last_stable } else { extent.end };
        let below = |found: &(i64, Offset)| found.1 < end;
        let found = match timestamp {
            LATEST => return Ok((NONE, end)),
            EARLIEST => return Ok((NONE, 0)),
            LATEST_IN_TIME => self.store.latest(partition),
            ..0 => return Err(Code::INVALID_REQUEST),
            _ => self.store.since(partition, timestamp),
        };
        Ok(found.filter(below).unwrap_or((NONE, NONE)))
    }
}
