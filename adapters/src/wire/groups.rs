//! Requests about groups: positions, and the membership that fences.
//!
//! A group has one static member (KIP-345), so that a successor replaces and fences its predecessor at once, without the
//! waiting of an ordinary rebalance.

use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};
use kafka_protocol::messages::join_group_request::JoinGroupRequestProtocol;
use kafka_protocol::messages::offset_commit_request::{
    OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use kafka_protocol::messages::offset_fetch_request::{
    OffsetFetchRequestGroup, OffsetFetchRequestTopic, OffsetFetchRequestTopics,
};
use kafka_protocol::messages::sync_group_request::SyncGroupRequestAssignment;
use kafka_protocol::messages::txn_offset_commit_request::{
    TxnOffsetCommitRequestPartition, TxnOffsetCommitRequestTopic,
};
use kafka_protocol::messages::{
    GroupId as GroupName, JoinGroupRequest, OffsetCommitRequest, OffsetFetchRequest, ProducerId,
    SyncGroupRequest, TxnOffsetCommitRequest,
};
use kafka_protocol::protocol::StrBytes;
use onceness_reference::code::Code;
use onceness_reference::ids::{GroupId, Offset, Partition, TxnId};
use onceness_reference::plan::Protocol;
use onceness_reference::protocol::{Member, Response, Session};

use super::answers::{ByPartition, Exchange, Joined};
use super::cluster::Kind;
use super::way::{Failed, Told, Way, check, said_of};
use crate::transport::{Lane, TargetError};

/// The instance id of the one member of every group.
pub(super) const INSTANCE: &str = "onceness";
/// Longer than any case: nothing here sends heartbeats.
const SESSION_TIMEOUT_MS: i32 = 60_000;
const REBALANCE_TIMEOUT_MS: i32 = 5_000;
/// A member that is told to join again does so no more often than this; then its client hears of it.
const JOINS_MAX: usize = 4;
/// Any version that we speak.
const ANY: (i16, i16) = (0, i16::MAX);

impl Way {
    pub(super) async fn save(
        &self,
        lane: Lane,
        group: GroupId,
        member: Option<&Member>,
        positions: &[(Partition, Offset)],
    ) -> Told {
        let partitions = positions.iter().map(|(partition, offset)| {
            OffsetCommitRequestPartition::default()
                .with_partition_index(partition.index())
                .with_committed_offset(*offset)
                .with_committed_metadata(Some(StrBytes::new()))
        });
        let topic = OffsetCommitRequestTopic::default()
            .with_name(self.room.topic())
            .with_partitions(partitions.collect());
        let shown = Shown::of(member);
        let request = OffsetCommitRequest::default()
            .with_group_id(self.group_name(group, false))
            .with_generation_id_or_member_epoch(shown.generation)
            .with_member_id(shown.id)
            .with_group_instance_id(shown.instance)
            .with_topics(vec![topic]);
        let broker = self.group_coordinator(group).await?;
        // Static members are known from version 7 on; from version 9 on a group that is not there has a code of its own.
        let versions = if member.is_some() { (7, 8) } else { ANY };
        let answer = self.exchange(lane, &broker, versions, &request).await?;
        all_saved::<OffsetCommitRequest>(&broker, positions, &answer)
    }

    pub(super) async fn save_in_txn(
        &self,
        lane: Lane,
        (txn, session, protocol): (TxnId, Session, Protocol),
        group: GroupId,
        member: Option<&Member>,
        positions: &[(Partition, Offset)],
    ) -> Told {
        let partitions = positions.iter().map(|(partition, offset)| {
            TxnOffsetCommitRequestPartition::default()
                .with_partition_index(partition.index())
                .with_committed_offset(*offset)
                .with_committed_metadata(Some(StrBytes::new()))
        });
        let topic = TxnOffsetCommitRequestTopic::default()
            .with_name(self.room.topic())
            .with_partitions(partitions.collect());
        let shown = Shown::of(member);
        let request = TxnOffsetCommitRequest::default()
            .with_transactional_id(self.transactional_id(txn))
            .with_group_id(self.group_name(group, false))
            .with_producer_id(ProducerId(session.producer))
            .with_producer_epoch(session.epoch)
            .with_generation_id(shown.generation)
            .with_member_id(shown.id)
            .with_group_instance_id(shown.instance)
            .with_topics(vec![topic]);
        let broker = self.group_coordinator(group).await?;
        let versions = match (protocol, member) {
            (Protocol::Tv2, _) => (5, 5),
            // Members are shown from version 3 on (KIP-447).
            (Protocol::Tv1, Some(_)) => (3, 4),
            (Protocol::Tv1, None) => (0, 4),
        };
        let answer = self.exchange(lane, &broker, versions, &request).await?;
        all_saved::<TxnOffsetCommitRequest>(&broker, positions, &answer)
    }

    pub(super) async fn positions(
        &self,
        lane: Lane,
        group: GroupId,
        partitions: &[Partition],
        stable: bool,
    ) -> Told {
        let version = self.cluster.version::<OffsetFetchRequest>(ANY)?;
        let name = self.group_name(group, false);
        let topic = self.room.topic();
        let indexes: Vec<i32> = partitions.iter().map(|partition| partition.index()).collect();
        // Brokers before 2.5 do not know of unstable positions.
        let request = OffsetFetchRequest::default().with_require_stable(stable && version >= 7);
        let request = if version >= 8 {
            let topic = OffsetFetchRequestTopics::default()
                .with_name(topic)
                .with_partition_indexes(indexes);
            let one = OffsetFetchRequestGroup::default()
                .with_group_id(name)
                .with_member_epoch(-1)
                .with_topics(Some(vec![topic]));
            request.with_groups(vec![one])
        } else {
            let topic =
                OffsetFetchRequestTopic::default().with_name(topic).with_partition_indexes(indexes);
            request.with_group_id(name).with_topics(Some(vec![topic]))
        };
        let broker = self.group_coordinator(group).await?;
        let answer = self.exchange(lane, &broker, ANY, &request).await?;
        check(answer.code)?;
        let mut found = Vec::with_capacity(partitions.len());
        for partition in partitions {
            let (code, offset) =
                *said_of::<_, OffsetFetchRequest>(&broker, *partition, &answer.positions)?;
            check(code)?;
            found.push((*partition, (offset >= 0).then_some(offset)));
        }
        Ok(Response::Positions(found))
    }

    pub(super) async fn join(&self, lane: Lane, group: GroupId) -> Told {
        let broker = self.group_coordinator(group).await?;
        let mut id = String::new();
        let mut last = Code::REBALANCE_IN_PROGRESS;
        for _ in 0..JOINS_MAX {
            let joined = self.join_once(lane, &broker, group, &id).await?;
            let code = match joined.code {
                0 => self.sync(lane, &broker, group, &joined).await?,
                code => code,
            };
            last = Code(code);
            match last {
                Code(0) => {
                    return Ok(Response::Joined(Member {
                        generation: joined.generation,
                        id: joined.member,
                        instance: Some(INSTANCE.to_owned()),
                    }));
                }
                // The id to join with came along.
                Code::MEMBER_ID_REQUIRED => id = joined.member,
                // Somebody else moved in between.
                Code::REBALANCE_IN_PROGRESS => {}
                _ => break,
            }
        }
        Err(Failed::Refused(last))
    }

    async fn join_once(
        &self,
        lane: Lane,
        broker: &Arc<str>,
        group: GroupId,
        id: &str,
    ) -> Result<Joined, TargetError> {
        let protocol = JoinGroupRequestProtocol::default()
            .with_name(StrBytes::from_static_str("range"))
            .with_metadata(subscription(&self.room.name));
        let request = JoinGroupRequest::default()
            .with_group_id(self.group_name(group, true))
            .with_session_timeout_ms(SESSION_TIMEOUT_MS)
            .with_rebalance_timeout_ms(REBALANCE_TIMEOUT_MS)
            .with_member_id(StrBytes::from_string(id.to_owned()))
            .with_group_instance_id(Some(StrBytes::from_static_str(INSTANCE)))
            .with_protocol_type(StrBytes::from_static_str("consumer"))
            .with_protocols(vec![protocol]);
        self.exchange(lane, broker, ANY, &request).await
    }

    async fn sync(
        &self,
        lane: Lane,
        broker: &Arc<str>,
        group: GroupId,
        joined: &Joined,
    ) -> Result<i16, TargetError> {
        let member = StrBytes::from_string(joined.member.clone());
        let leads = joined.leader == joined.member && !joined.skip_assignment;
        let all = SyncGroupRequestAssignment::default()
            .with_member_id(member.clone())
            .with_assignment(assignment(&self.room.name));
        let request = SyncGroupRequest::default()
            .with_group_id(self.group_name(group, true))
            .with_generation_id(joined.generation)
            .with_member_id(member)
            .with_group_instance_id(Some(StrBytes::from_static_str(INSTANCE)))
            .with_protocol_type(Some(StrBytes::from_static_str("consumer")))
            .with_protocol_name(Some(StrBytes::from_static_str("range")))
            .with_assignments(if leads { vec![all] } else { Vec::new() });
        self.exchange(lane, broker, ANY, &request).await
    }

    /// The name of a group in the room. Whoever asks may make it, so it is noted.
    fn group_name(&self, group: GroupId, joins: bool) -> GroupName {
        let name = self.room.group(group);
        self.rooms.note_group(&name, joins);
        GroupName(StrBytes::from_string(name))
    }

    async fn group_coordinator(&self, group: GroupId) -> Result<Arc<str>, Failed> {
        self.coordinator(Kind::Group, self.room.group(group)).await
    }
}

/// Done if every position was saved.
fn all_saved<R: Exchange>(
    broker: &str,
    positions: &[(Partition, Offset)],
    answer: &ByPartition<i16>,
) -> Told {
    for (partition, _) in positions {
        check(*said_of::<_, R>(broker, *partition, answer)?)?;
    }
    Ok(Response::Done)
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
                instance: member.instance.clone().map(StrBytes::from_string),
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
