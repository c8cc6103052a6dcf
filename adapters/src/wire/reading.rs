//! Fetching: full fetches without a session, one partition at a time, answered at once.

use kafka_protocol::messages::FetchRequest;
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use onceness_reference::code::Code;
use onceness_reference::ids::{Offset, Partition};
use onceness_reference::plan::Isolation;
use onceness_reference::protocol::{Answer, Body, FetchReply, LogBatch, Response};

use super::Way;
use super::batch::{self, FoundBatch, FoundBody};
use crate::payload;
use crate::transport::{Lane, TargetError};

const FETCH_BYTES_MAX: i32 = 4 << 20;

impl Way {
    pub(super) async fn fetch(
        &self,
        lane: Lane,
        partition: Partition,
        offset: Offset,
        isolation: Isolation,
    ) -> Result<Answer, TargetError> {
        let wanted = FetchPartition::default()
            .with_partition(partition.0.into())
            .with_current_leader_epoch(-1)
            .with_fetch_offset(offset)
            .with_partition_max_bytes(FETCH_BYTES_MAX);
        // By name up to version 12, by id after; the codec writes the one that the version has.
        let topic = FetchTopic::default()
            .with_topic(self.room.topic())
            .with_topic_id(self.room.topic_id)
            .with_partitions(vec![wanted]);
        let request = FetchRequest::default()
            .with_max_wait_ms(0)
            .with_min_bytes(0)
            .with_max_bytes(FETCH_BYTES_MAX)
            .with_isolation_level(match isolation {
                Isolation::ReadUncommitted => 0,
                Isolation::ReadCommitted => 1,
            })
            .with_session_id(0)
            .with_session_epoch(-1)
            .with_topics(vec![topic]);
        let leader = self.leader(partition);
        let answer = self.exchange(lane, leader, (4, 17), &request).await?;
        if answer.error_code != 0 {
            return Ok(Err(Code(answer.error_code)));
        }
        let Some(found) = answer.responses.iter().flat_map(|topic| &topic.partitions).next() else {
            return Ok(Err(Code::UNKNOWN_SERVER_ERROR));
        };
        if found.error_code != 0 {
            return Ok(Err(Code(found.error_code)));
        }
        let bytes = found.records.clone().unwrap_or_default();
        let batches = batch::decode(bytes).map_err(|reason| TargetError {
            address: self.cluster.broker(leader).unwrap_or_default(),
            request: "Fetch".to_owned(),
            reason,
        })?;
        let aborted = found.aborted_transactions.iter().flatten();
        Ok(Ok(Response::Fetched(FetchReply {
            high_watermark: found.high_watermark,
            last_stable: found.last_stable_offset,
            aborted: aborted.map(|aborted| (aborted.producer_id.0, aborted.first_offset)).collect(),
            batches: batches.into_iter().map(|batch| self.recognise(partition, batch)).collect(),
        })))
    }

    fn recognise(&self, partition: Partition, found: FoundBatch) -> LogBatch {
        let record = |(offset, key, value): (i64, Option<bytes::Bytes>, Option<bytes::Bytes>)| {
            (offset, payload::decode(&self.room.name, partition, key.as_deref(), value.as_deref()))
        };
        let body = match found.body {
            FoundBody::Records(records) => Body::Records(records.into_iter().map(record).collect()),
            FoundBody::Marker(ending) => Body::Marker(ending),
            FoundBody::OtherControl => Body::Records(Vec::new()),
            // A consumer would be handed an error at this place: one strange record stands for it.
            FoundBody::Damaged => Body::Records(vec![(found.base, None)]),
        };
        LogBatch {
            base: found.base,
            last: found.last,
            session: found.session,
            first_sequence: found.first_sequence,
            transactional: found.transactional,
            body,
        }
    }
}
