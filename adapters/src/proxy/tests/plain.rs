//! A small request of each API that has a passing error, and its answer as the `kafka-protocol` crate reads it.

use bytes::Bytes;
use kafka_protocol::messages::add_partitions_to_txn_request::{
    AddPartitionsToTxnTopic, AddPartitionsToTxnTransaction,
};
use kafka_protocol::messages::offset_commit_request::{
    OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use kafka_protocol::messages::offset_fetch_request::{
    OffsetFetchRequestGroup, OffsetFetchRequestTopic, OffsetFetchRequestTopics,
};
use kafka_protocol::messages::txn_offset_commit_request::{
    TxnOffsetCommitRequestPartition, TxnOffsetCommitRequestTopic,
};
use kafka_protocol::messages::*;
use kafka_protocol::protocol::{Decodable, StrBytes};

use super::broker::{produce, request};

fn name() -> TopicName {
    TopicName(StrBytes::from_static_str("topic"))
}

/// Its correlation id is 3.
pub(super) fn plain(key: ApiKey, version: i16) -> Bytes {
    match key {
        ApiKey::Produce => produce(3, version, -1, 9),
        ApiKey::OffsetCommit => {
            let partition = OffsetCommitRequestPartition::default().with_partition_index(3);
            let topic = OffsetCommitRequestTopic::default().with_name(name());
            let topic = topic.with_partitions(vec![partition; 2]);
            request(3, version, &OffsetCommitRequest::default().with_topics(vec![topic]))
        }
        ApiKey::OffsetFetch if version <= 7 => {
            let topic = OffsetFetchRequestTopic::default().with_name(name());
            let topic = topic.with_partition_indexes(vec![1, 2]);
            request(3, version, &OffsetFetchRequest::default().with_topics(Some(vec![topic])))
        }
        ApiKey::OffsetFetch => {
            let topic = match version {
                10.. => OffsetFetchRequestTopics::default(),
                _ => OffsetFetchRequestTopics::default().with_name(name()),
            };
            let topic = topic.with_partition_indexes(vec![1, 2]);
            let group = OffsetFetchRequestGroup::default().with_topics(Some(vec![topic]));
            request(3, version, &OffsetFetchRequest::default().with_groups(vec![group]))
        }
        ApiKey::FindCoordinator => {
            let asked = FindCoordinatorRequest::default();
            let keys = vec![StrBytes::from_static_str("one"), StrBytes::from_static_str("two")];
            let asked = if version >= 4 { asked.with_coordinator_keys(keys) } else { asked };
            request(3, version, &asked)
        }
        ApiKey::JoinGroup => request(3, version, &JoinGroupRequest::default()),
        ApiKey::Heartbeat => request(3, version, &HeartbeatRequest::default()),
        ApiKey::SyncGroup => request(3, version, &SyncGroupRequest::default()),
        ApiKey::LeaveGroup => request(3, version, &LeaveGroupRequest::default()),
        ApiKey::InitProducerId => request(3, version, &InitProducerIdRequest::default()),
        ApiKey::AddPartitionsToTxn => {
            let topic = AddPartitionsToTxnTopic::default().with_name(name());
            let topics = vec![topic.with_partitions(vec![1, 2])];
            let asked = AddPartitionsToTxnRequest::default();
            let txn = AddPartitionsToTxnTransaction::default().with_topics(topics.clone());
            let asked = match version {
                4.. => asked.with_transactions(vec![txn]),
                _ => asked.with_v3_and_below_topics(topics),
            };
            request(3, version, &asked)
        }
        ApiKey::AddOffsetsToTxn => request(3, version, &AddOffsetsToTxnRequest::default()),
        ApiKey::EndTxn => request(3, version, &EndTxnRequest::default()),
        ApiKey::TxnOffsetCommit => {
            let partition = TxnOffsetCommitRequestPartition::default().with_partition_index(3);
            let topic = TxnOffsetCommitRequestTopic::default().with_name(name());
            let topic = topic.with_partitions(vec![partition; 2]);
            request(3, version, &TxnOffsetCommitRequest::default().with_topics(vec![topic]))
        }
        other => panic!("{other:?} has no passing error"),
    }
}

/// The body of an answer, as text.
pub(super) fn decoded(key: ApiKey, version: i16, body: &mut Bytes) -> String {
    macro_rules! read {
        ($($api:ident => $response:ty),* $(,)?) => {
            match key {
                $(ApiKey::$api => format!("{:?}", <$response>::decode(body, version).expect("it can be read")),)*
                other => panic!("{other:?} has no passing error"),
            }
        };
    }
    read! {
        Produce => ProduceResponse,
        OffsetCommit => OffsetCommitResponse,
        OffsetFetch => OffsetFetchResponse,
        FindCoordinator => FindCoordinatorResponse,
        JoinGroup => JoinGroupResponse,
        Heartbeat => HeartbeatResponse,
        SyncGroup => SyncGroupResponse,
        LeaveGroup => LeaveGroupResponse,
        InitProducerId => InitProducerIdResponse,
        AddPartitionsToTxn => AddPartitionsToTxnResponse,
        AddOffsetsToTxn => AddOffsetsToTxnResponse,
        EndTxn => EndTxnResponse,
        TxnOffsetCommit => TxnOffsetCommitResponse,
    }
}
