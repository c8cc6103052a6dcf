//! Answers in the broker's name: that it cannot now. One table says with which error, for each API that has one that passes.
//!
//! Requests are read by our own bounded readers here too: what is behind a proxy that stands alone is anybody's client.

use bytes::{BufMut, Bytes, BytesMut};
use kafka_protocol::messages::add_partitions_to_txn_response::{
    AddPartitionsToTxnPartitionResult, AddPartitionsToTxnResult, AddPartitionsToTxnTopicResult,
};
use kafka_protocol::messages::find_coordinator_response::Coordinator;
use kafka_protocol::messages::offset_commit_response::{
    OffsetCommitResponsePartition, OffsetCommitResponseTopic,
};
use kafka_protocol::messages::offset_fetch_response::OffsetFetchResponseGroup;
use kafka_protocol::messages::produce_response::{PartitionProduceResponse, TopicProduceResponse};
use kafka_protocol::messages::txn_offset_commit_response::{
    TxnOffsetCommitResponsePartition, TxnOffsetCommitResponseTopic,
};
use kafka_protocol::messages::{
    AddOffsetsToTxnResponse, AddPartitionsToTxnResponse, ApiKey, EndTxnResponse,
    FindCoordinatorResponse, GroupId, HeartbeatResponse, InitProducerIdResponse, JoinGroupResponse,
    LeaveGroupResponse, OffsetCommitResponse, OffsetFetchResponse, ProduceResponse, ResponseHeader,
    SyncGroupResponse, TopicName, TransactionalId, TxnOffsetCommitResponse,
};
use kafka_protocol::protocol::{Encodable, HeaderVersion, StrBytes};
use onceness_reference::code::Code;
use uuid::Uuid;

use super::Fault;
use super::frames::{Frame, LENGTH};
use super::start::Start;
use crate::wire::fields::{Fields, Malformed};

/// What a broker says that cannot now: errors that clients take for passing, and for "not applied".
const BUSY: [(ApiKey, Code); 13] = [
    // Not NOT_LEADER_OR_FOLLOWER, which may come after the append as well.
    (ApiKey::Produce, Code::NOT_ENOUGH_REPLICAS),
    (ApiKey::OffsetCommit, Code::COORDINATOR_LOAD_IN_PROGRESS),
    (ApiKey::OffsetFetch, Code::COORDINATOR_LOAD_IN_PROGRESS),
    (ApiKey::FindCoordinator, Code::COORDINATOR_NOT_AVAILABLE),
    (ApiKey::JoinGroup, Code::COORDINATOR_LOAD_IN_PROGRESS),
    // Loading is no answer to these two.
    (ApiKey::Heartbeat, Code::NOT_COORDINATOR),
    (ApiKey::SyncGroup, Code::NOT_COORDINATOR),
    (ApiKey::LeaveGroup, Code::COORDINATOR_LOAD_IN_PROGRESS),
    (ApiKey::InitProducerId, Code::COORDINATOR_LOAD_IN_PROGRESS),
    (ApiKey::AddPartitionsToTxn, Code::CONCURRENT_TRANSACTIONS),
    (ApiKey::AddOffsetsToTxn, Code::CONCURRENT_TRANSACTIONS),
    (ApiKey::EndTxn, Code::COORDINATOR_LOAD_IN_PROGRESS),
    (ApiKey::TxnOffsetCommit, Code::COORDINATOR_LOAD_IN_PROGRESS),
];

/// The error by which the proxy says that a broker cannot now. None for an API that has none.
pub fn busy_code(api: i16) -> Option<Code> {
    BUSY.iter().find(|(key, _)| *key as i16 == api).map(|(_, code)| *code)
}

/// The APIs that have such an error.
pub fn busy_apis() -> impl Iterator<Item = i16> + Clone {
    BUSY.iter().map(|(key, _)| *key as i16)
}

/// The answer to a request that the broker never sees: a frame with its length. None where there is no such answer to it.
pub(super) async fn answer(
    start: &Start,
    frame: &mut Frame<'_>,
    code: Option<Code>,
) -> Result<Option<Bytes>, Fault> {
    let Some(usual) = busy_code(start.api) else { return Ok(None) };
    let Ok(key) = ApiKey::try_from(start.api) else { return Ok(None) };
    let whole = frame.len() - LENGTH;
    let bytes = frame.peek(whole).await?;
    let flexible = key.request_header_version(start.version) >= 2;
    let body = Bytes::copy_from_slice(&bytes[start.body.min(bytes.len())..]);
    let answer = Answer {
        version: start.version,
        correlation: start.correlation,
        code: code.unwrap_or(usual).0,
        fields: Fields::new(body, flexible),
    };
    let unreadable = |fault| Fault(format!("a request cannot be read: it {fault}"));
    answer.to(key).map_err(unreadable)
}

struct Answer {
    version: i16,
    correlation: i32,
    code: i16,
    /// Of the request.
    fields: Fields,
}

/// A topic, by name or by id, and its partitions.
type Topics = Vec<(String, u128, Vec<i32>)>;

impl Answer {
    fn to(mut self, key: ApiKey) -> Result<Option<Bytes>, Malformed> {
        let code = self.code;
        Ok(match key {
            ApiKey::Produce => {
                let topics = self.produced()?;
                self.frame(&produce(topics, code))
            }
            ApiKey::AddPartitionsToTxn => {
                let answer = self.added()?;
                self.frame(&answer)
            }
            ApiKey::TxnOffsetCommit => {
                let topics = self.saved_in_txn()?.into_iter().map(|(name, _, partitions)| {
                    let told = |index| {
                        TxnOffsetCommitResponsePartition::default()
                            .with_partition_index(index)
                            .with_error_code(code)
                    };
                    TxnOffsetCommitResponseTopic::default()
                        .with_name(topic(name))
                        .with_partitions(partitions.into_iter().map(told).collect())
                });
                let answer = TxnOffsetCommitResponse::default().with_topics(topics.collect());
                self.frame(&answer)
            }
            ApiKey::OffsetCommit => {
                let topics = self.saved()?.into_iter().map(|(name, _, partitions)| {
                    let told = |index| {
                        OffsetCommitResponsePartition::default()
                            .with_partition_index(index)
                            .with_error_code(code)
                    };
                    OffsetCommitResponseTopic::default()
                        .with_name(topic(name))
                        .with_partitions(partitions.into_iter().map(told).collect())
                });
                let answer = OffsetCommitResponse::default().with_topics(topics.collect());
                self.frame(&answer)
            }
            ApiKey::FindCoordinator => {
                let answer = self.sought()?;
                self.frame(&answer)
            }
            ApiKey::OffsetFetch => {
                let answer = self.asked()?;
                answer.and_then(|answer| self.frame(&answer))
            }
            ApiKey::InitProducerId => {
                let nobody = InitProducerIdResponse::default().with_error_code(code);
                self.frame(&nobody.with_producer_id((-1).into()).with_producer_epoch(-1))
            }
            ApiKey::EndTxn => {
                let ended = EndTxnResponse::default().with_error_code(code);
                self.frame(&ended)
            }
            ApiKey::AddOffsetsToTxn => {
                self.frame(&AddOffsetsToTxnResponse::default().with_error_code(code))
            }
            ApiKey::JoinGroup => {
                let joined = JoinGroupResponse::default().with_error_code(code);
                self.frame(&joined.with_generation_id(-1).with_protocol_name(Some(text(""))))
            }
            ApiKey::SyncGroup => self.frame(&SyncGroupResponse::default().with_error_code(code)),
            ApiKey::Heartbeat => self.frame(&HeartbeatResponse::default().with_error_code(code)),
            ApiKey::LeaveGroup => self.frame(&LeaveGroupResponse::default().with_error_code(code)),
            _ => None,
        })
    }

    /// None for a version that the crate does not write.
    fn frame<R: Encodable + HeaderVersion>(&self, response: &R) -> Option<Bytes> {
        let mut frame = BytesMut::new();
        frame.put_i32(0);
        let header = ResponseHeader::default().with_correlation_id(self.correlation);
        header.encode(&mut frame, R::header_version(self.version)).ok()?;
        response.encode(&mut frame, self.version).ok()?;
        let length = (frame.len() - LENGTH) as u32;
        frame[..LENGTH].copy_from_slice(&length.to_be_bytes());
        Some(frame.freeze())
    }

    fn produced(&mut self) -> Result<Topics, Malformed> {
        let by_id = self.version >= 13;
        let fields = &mut self.fields;
        fields.text()?;
        fields.i16()?;
        fields.i32()?;
        fields.structs(|topic| {
            let (name, id) = match by_id {
                true => (String::new(), topic.uuid()?),
                false => (topic.text()?, 0),
            };
            let partitions = topic.structs(|partition| {
                let index = partition.i32()?;
                partition.blob()?;
                Ok(index)
            })?;
            Ok((name, id, partitions))
        })
    }

    fn added(&mut self) -> Result<AddPartitionsToTxnResponse, Malformed> {
        let (code, fields) = (self.code, &mut self.fields);
        let answer = AddPartitionsToTxnResponse::default();
        if self.version <= 3 {
            fields.text()?;
            fields.i64()?;
            fields.i16()?;
            let topics = added_topics(fields)?;
            return Ok(answer.with_results_by_topic_v3_and_below(not_added(topics, code)));
        }
        let transactions = fields.structs(|txn| {
            let id = txn.text()?;
            txn.i64()?;
            txn.i16()?;
            txn.bool()?;
            Ok((id, added_topics(txn)?))
        })?;
        let results = transactions.into_iter().map(|(id, topics)| {
            AddPartitionsToTxnResult::default()
                .with_transactional_id(TransactionalId(text(id)))
                .with_topic_results(not_added(topics, code))
        });
        Ok(answer.with_results_by_transaction(results.collect()))
    }

    fn saved_in_txn(&mut self) -> Result<Topics, Malformed> {
        let (version, fields) = (self.version, &mut self.fields);
        fields.text()?;
        fields.text()?;
        fields.i64()?;
        fields.i16()?;
        if version >= 3 {
            fields.i32()?;
            fields.text()?;
            fields.text()?;
        }
        saved_topics(fields, version >= 2)
    }

    fn saved(&mut self) -> Result<Topics, Malformed> {
        let (version, fields) = (self.version, &mut self.fields);
        fields.text()?;
        fields.i32()?;
        fields.text()?;
        if version >= 7 {
            fields.text()?;
        }
        if version <= 4 {
            fields.i64()?;
        }
        saved_topics(fields, version >= 6)
    }

    fn sought(&mut self) -> Result<FindCoordinatorResponse, Malformed> {
        let code = self.code;
        let answer = FindCoordinatorResponse::default();
        if self.version <= 3 {
            let nobody = answer.with_node_id((-1).into()).with_port(-1);
            return Ok(nobody.with_error_code(code));
        }
        self.fields.i8()?;
        let keys = self.fields.array(Fields::text)?;
        let nobody = keys.into_iter().map(|key| {
            let nobody = Coordinator::default().with_key(text(key)).with_node_id((-1).into());
            nobody.with_port(-1).with_error_code(code)
        });
        Ok(answer.with_coordinators(nobody.collect()))
    }

    /// None for versions so old that they have no place for an error of the group.
    fn asked(&mut self) -> Result<Option<OffsetFetchResponse>, Malformed> {
        let (code, version) = (self.code, self.version);
        let answer = OffsetFetchResponse::default();
        match version {
            ..=1 => return Ok(None),
            2..=7 => return Ok(Some(answer.with_error_code(code))),
            _ => {}
        }
        let groups = self.fields.structs(|group| {
            let id = group.text()?;
            if version >= 9 {
                group.text()?;
                group.i32()?;
            }
            group.structs(|topic| {
                match version {
                    ..=9 => drop(topic.text()?),
                    _ => drop(topic.uuid()?),
                }
                topic.array(Fields::i32)
            })?;
            Ok(id)
        })?;
        let refused = groups.into_iter().map(|id| {
            let refused = OffsetFetchResponseGroup::default().with_group_id(GroupId(text(id)));
            refused.with_error_code(code)
        });
        Ok(Some(answer.with_groups(refused.collect())))
    }
}

fn added_topics(fields: &mut Fields) -> Result<Topics, Malformed> {
    fields.structs(|topic| Ok((topic.text()?, 0, topic.array(Fields::i32)?)))
}

fn saved_topics(fields: &mut Fields, leader_epochs: bool) -> Result<Topics, Malformed> {
    fields.structs(|topic| {
        let name = topic.text()?;
        let partitions = topic.structs(|partition| {
            let index = partition.i32()?;
            partition.i64()?;
            if leader_epochs {
                partition.i32()?;
            }
            partition.text()?;
            Ok(index)
        })?;
        Ok((name, 0, partitions))
    })
}

fn produce(topics: Topics, code: i16) -> ProduceResponse {
    let told = |index| {
        let told = PartitionProduceResponse::default().with_index(index).with_error_code(code);
        told.with_base_offset(-1).with_log_append_time_ms(-1).with_log_start_offset(-1)
    };
    let topics = topics.into_iter().map(|(name, id, partitions)| {
        TopicProduceResponse::default()
            .with_name(topic(name))
            .with_topic_id(Uuid::from_u128(id))
            .with_partition_responses(partitions.into_iter().map(told).collect())
    });
    ProduceResponse::default().with_responses(topics.collect())
}

fn not_added(topics: Topics, code: i16) -> Vec<AddPartitionsToTxnTopicResult> {
    let told = |index| {
        AddPartitionsToTxnPartitionResult::default()
            .with_partition_index(index)
            .with_partition_error_code(code)
    };
    let topics = topics.into_iter().map(|(name, _, partitions)| {
        AddPartitionsToTxnTopicResult::default()
            .with_name(topic(name))
            .with_results_by_partition(partitions.into_iter().map(told).collect())
    });
    topics.collect()
}

fn topic(name: String) -> TopicName {
    TopicName(text(name))
}

fn text(text: impl Into<String>) -> StrBytes {
    StrBytes::from_string(text.into())
}
