//! Requests about groups: positions, and the membership that fences.
//!
//! A group has one static member (KIP-345), so that a successor replaces and fences its predecessor at once, without the
//! waiting of an ordinary rebalance.

use bytes::{BufMut, Bytes, BytesMut};
use kafka_protocol::messages::join_group_request::JoinGroupRequestProtocol;
use kafka_protocol::messages::offset_commit_request::{OffsetCommitRequestPartition, OffsetCommitRequestTopic};
use kafka_protocol::messages::offset_fetch_request::{
    OffsetFetchRequestGroup, OffsetFetchRequestTopic, OffsetFetchRequestTopics,
};
use kafka_protocol::messages::sync_group_request::SyncGroupRequestAssignment;
use kafka_protocol::messages::txn_offset_commit_request::{
    TxnOffsetCommitRequestPartition, TxnOffsetCommitRequestTopic,
};
use kafka_protocol::messages::{
    GroupId as GroupName, JoinGroupRequest, OffsetCommitRequest, OffsetFetchRequest, ProducerId, SyncGroupRequest,
    TxnOffsetCommitRequest,
};
use kafka_protocol::protocol::StrBytes;
use onceness_reference::code::Code;
use onceness_reference::ids::{GroupId, Offset, Partition};
use onceness_reference::plan::Protocol;
use onceness_reference::protocol::{Answer, Member, Request, Response};
use std::sync::PoisonError;

use super::Way;
use super::cluster::Kind;
use super::producing::{done, first_error};
use crate::transport::{Lane, TargetError};

/// The instance id of the one member of every group.
pub(super) const INSTANCE: &str = "onceness";
/// Longer than any case: nothing here sends heartbeats.
const SESSION_TIMEOUT_MS: i32 = 60_000;
const REBALANCE_TIMEOUT_MS: i32 = 5_000;

impl Way {
    pub(super) async fn save(
        &self,
        lane: Lane,
        group: GroupId,
        member: Option<&Member>,
        positions: &[(Partition, Offset)],
    ) -> Result<Answer, TargetError> {
        let partitions = positions.iter().map(|(partition, offset)| {
            OffsetCommitRequestPartition::default()
                .with_partition_index(partition.0.into())
                .with_committed_offset(*offset)
                .with_committed_metadata(Some(StrBytes::new()))
        });
        let topic = OffsetCommitRequestTopic::default()
            .with_name(self.room.topic())
            .with_partitions(partitions.collect());
        let shown = Shown::of(member);
        let request = OffsetCommitRequest::default()
            .with_group_id(self.group_name(group))
            .with_generation_id_or_member_epoch(shown.generation)
            .with_member_id(shown.id)
            .with_group_instance_id(shown.instance)
            .with_topics(vec![topic]);
        let broker = self.group_coordinator(group).await?;
        let answer = self.exchange(lane, broker, (7, 9), &request).await?;
        let results = answer.topics.iter().flat_map(|topic| &topic.partitions);
        Ok(first_error(results.map(|result| result.error_code)))
    }

    pub(super) async fn save_in_txn(&self, lane: Lane, request: &Request) -> Result<Answer, TargetError> {
        let Request::SaveInTxn { txn, session, protocol, group, member, positions } = request else {
            // `Transport::call` is the only caller, and passes nothing else.
            return Ok(Err(Code::INVALID_REQUEST));
        };
        let partitions = positions.iter().map(|(partition, offset)| {
            TxnOffsetCommitRequestPartition::default()
                .with_partition_index(partition.0.into())
                .with_committed_offset(*offset)
                .with_committed_metadata(Some(StrBytes::new()))
        });
        let topic = TxnOffsetCommitRequestTopic::default()
            .with_name(self.room.topic())
            .with_partitions(partitions.collect());
        let shown = Shown::of(member.as_ref());
        let message = TxnOffsetCommitRequest::default()
            .with_transactional_id(self.transactional_id(*txn))
            .with_group_id(self.group_name(*group))
            .with_producer_id(ProducerId(session.producer))
            .with_producer_epoch(session.epoch)
            .with_generation_id(shown.generation)
            .with_member_id(shown.id)
            .with_group_instance_id(shown.instance)
            .with_topics(vec![topic]);
        let broker = self.group_coordinator(*group).await?;
        let versions = match protocol {
            Protocol::Tv1 => (3, 4),
            Protocol::Tv2 => (5, 5),
        };
        let answer = self.exchange(lane, broker, versions, &message).await?;
        let results = answer.topics.iter().flat_map(|topic| &topic.partitions);
        Ok(first_error(results.map(|result| result.error_code)))
    }

    pub(super) async fn positions(
        &self,
        lane: Lane,
        group: GroupId,
        partitions: &[Partition],
    ) -> Result<Answer, TargetError> {
        let indexes: Vec<i32> = partitions.iter().map(|partition| partition.0.into()).collect();
        let broker = self.group_coordinator(group).await?;
        let address = self.cluster.broker(broker).unwrap_or_else(|| self.cluster.any_broker().1);
        let many = self.cluster.version::<OffsetFetchRequest>(&address, 7, 9)? >= 8;
        let mut request = OffsetFetchRequest::default().with_require_stable(true);
        if many {
            let topic = OffsetFetchRequestTopics::default()
                .with_name(self.room.topic())
                .with_partition_indexes(indexes);
            let one = OffsetFetchRequestGroup::default()
                .with_group_id(self.group_name(group))
                .with_member_epoch(-1)
                .with_topics(Some(vec![topic]));
            request.groups = vec![one];
        } else {
            let topic = OffsetFetchRequestTopic::default()
                .with_name(self.room.topic())
                .with_partition_indexes(indexes);
            request.group_id = self.group_name(group);
            request.topics = Some(vec![topic]);
        }
        let answer = self.exchange(lane, broker, (7, 9), &request).await?;
        let mut code = answer.error_code;
        let mut found = Vec::new();
        for one in &answer.groups {
            code = if code == 0 { one.error_code } else { code };
            found.extend(one.topics.iter().flat_map(|topic| &topic.partitions).map(|partition| {
                (partition.partition_index, partition.committed_offset, partition.error_code)
            }));
        }
        found.extend(answer.topics.iter().flat_map(|topic| &topic.partitions).map(|partition| {
            (partition.partition_index, partition.committed_offset, partition.error_code)
        }));
        if let Some((_, _, refused)) = found.iter().find(|(_, _, refused)| *refused != 0) {
            code = if code == 0 { *refused } else { code };
        }
        let position = |partition: Partition| {
            let known = found.iter().find(|(index, _, _)| *index == i32::from(partition.0));
            known.map(|(_, offset, _)| *offset).filter(|offset| *offset >= 0)
        };
        let positions = partitions.iter().map(|partition| (*partition, position(*partition))).collect();
        Ok(done(code, || Response::Positions(positions)))
    }

    pub(super) async fn join(&self, lane: Lane, group: GroupId) -> Result<Answer, TargetError> {
        let protocol = JoinGroupRequestProtocol::default()
            .with_name(StrBytes::from_static_str("range"))
            .with_metadata(subscription(&self.room.name));
        let mut request = JoinGroupRequest::default()
            .with_group_id(self.group_name(group))
            .with_session_timeout_ms(SESSION_TIMEOUT_MS)
            .with_rebalance_timeout_ms(REBALANCE_TIMEOUT_MS)
            .with_group_instance_id(Some(StrBytes::from_static_str(INSTANCE)))
            .with_protocol_type(StrBytes::from_static_str("consumer"))
            .with_protocols(vec![protocol]);
        let broker = self.group_coordinator(group).await?;
        let mut joined = self.exchange(lane, broker, (5, 9), &request).await?;
        if Code(joined.error_code) == Code::MEMBER_ID_REQUIRED {
            request.member_id = joined.member_id.clone();
            joined = self.exchange(lane, broker, (5, 9), &request).await?;
        }
        if joined.error_code != 0 {
            return Ok(Err(Code(joined.error_code)));
        }
        let leads = joined.leader == joined.member_id && !joined.skip_assignment;
        let all = SyncGroupRequestAssignment::default()
            .with_member_id(joined.member_id.clone())
            .with_assignment(assignment(&self.room.name));
        let request = SyncGroupRequest::default()
            .with_group_id(self.group_name(group))
            .with_generation_id(joined.generation_id)
            .with_member_id(joined.member_id.clone())
            .with_group_instance_id(Some(StrBytes::from_static_str(INSTANCE)))
            .with_protocol_type(Some(StrBytes::from_static_str("consumer")))
            .with_protocol_name(Some(StrBytes::from_static_str("range")))
            .with_assignments(if leads { vec![all] } else { Vec::new() });
        let synced = self.exchange(lane, broker, (3, 5), &request).await?;
        Ok(done(synced.error_code, || {
            Response::Joined(Member { generation: joined.generation_id, id: joined.member_id.to_string() })
        }))
    }

    /// The name of a group in the room. Whoever asks may make it, so it is noted.
    fn group_name(&self, group: GroupId) -> GroupName {
        self.room.groups.lock().unwrap_or_else(PoisonError::into_inner).insert(group);
        GroupName(StrBytes::from_string(self.room.group(group)))
    }

    async fn group_coordinator(&self, group: GroupId) -> Result<i32, TargetError> {
        self.coordinator(Kind::Group, self.room.group(group)).await
    }
}

/// What a save shows of its sender.
struct Shown {
    generation: i32,
    id: StrBytes,
    instance: Option<StrBytes>,
}

impl Shown {
    fn of(member: Option<&Member>) -> Self {
        match member {
            Some(member) => Shown {
                generation: member.generation,
                id: StrBytes::from_string(member.id.clone()),
                instance: Some(StrBytes::from_static_str(INSTANCE)),
            },
            None => Shown { generation: -1, id: StrBytes::new(), instance: None },
        }
    }
}

/// `ConsumerProtocolSubscription` version 0: what the member wants to read.
fn subscription(topic: &str) -> Bytes {
    let mut bytes = BytesMut::new();
    bytes.put_i16(0);
    bytes.put_i32(1);
    put_string(&mut bytes, topic);
    bytes.put_i32(-1);
    bytes.freeze()
}

/// `ConsumerProtocolAssignment` version 0: what it gets. Nobody here looks at the partitions.
fn assignment(topic: &str) -> Bytes {
    let mut bytes = BytesMut::new();
    bytes.put_i16(0);
    bytes.put_i32(1);
    put_string(&mut bytes, topic);
    bytes.put_i32(1);
    bytes.put_i32(0);
    bytes.put_i32(-1);
    bytes.freeze()
}

fn put_string(bytes: &mut BytesMut, text: &str) {
    // Topic names are far shorter than 32 KiB.
    bytes.put_i16(text.len() as i16);
    bytes.put_slice(text.as_bytes());
}
