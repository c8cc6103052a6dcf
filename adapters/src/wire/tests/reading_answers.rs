//! Answers as the `kafka-protocol` crate writes them, in every version that we speak, read back by us.

use std::fmt::Debug;

use bytes::{Bytes, BytesMut};
use kafka_protocol::messages::add_partitions_to_txn_response::{
    AddPartitionsToTxnPartitionResult, AddPartitionsToTxnTopicResult,
};
use kafka_protocol::messages::api_versions_response::{
    ApiVersion, FinalizedFeatureKey, SupportedFeatureKey,
};
use kafka_protocol::messages::create_topics_response::{
    CreatableTopicConfigs, CreatableTopicResult,
};
use kafka_protocol::messages::delete_groups_response::DeletableGroupResult;
use kafka_protocol::messages::delete_topics_response::DeletableTopicResult;
use kafka_protocol::messages::fetch_response::{
    AbortedTransaction, FetchableTopicResponse, LeaderIdAndEpoch, PartitionData,
};
use kafka_protocol::messages::find_coordinator_response::Coordinator as ToldCoordinator;
use kafka_protocol::messages::join_group_response::JoinGroupResponseMember;
use kafka_protocol::messages::leave_group_response::MemberResponse;
use kafka_protocol::messages::metadata_response::{
    MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use kafka_protocol::messages::offset_commit_response::{
    OffsetCommitResponsePartition, OffsetCommitResponseTopic,
};
use kafka_protocol::messages::offset_fetch_response::{
    OffsetFetchResponseGroup, OffsetFetchResponsePartition, OffsetFetchResponsePartitions,
    OffsetFetchResponseTopic, OffsetFetchResponseTopics,
};
use kafka_protocol::messages::produce_response::{
    BatchIndexAndErrorMessage, PartitionProduceResponse, TopicProduceResponse,
};
use kafka_protocol::messages::txn_offset_commit_response::{
    TxnOffsetCommitResponsePartition, TxnOffsetCommitResponseTopic,
};
use kafka_protocol::messages::*;
use kafka_protocol::protocol::{Encodable, HeaderVersion, StrBytes};
use onceness_reference::protocol::Session;
use proptest::prelude::*;
use uuid::Uuid;

use super::super::answers::{
    Abilities, Catch, Coordinator, Exchange, Found, Geography, Joined, Named, Produced, Saved,
    Topic,
};
use super::super::fields::{Fields, Malformed};

fn text(text: &'static str) -> StrBytes {
    StrBytes::from_static_str(text)
}

fn topic() -> TopicName {
    TopicName(text("room"))
}

fn read<R: Exchange>(version: i16, bytes: Bytes) -> Result<R::Answer, Malformed> {
    let flexible = R::Response::header_version(version) >= 1 || (R::KEY == 18 && version >= 3);
    let mut fields = Fields::new(bytes, flexible);
    let answer = R::read(&mut fields, version)?;
    fields.end()?;
    Ok(answer)
}

/// Writes an answer in every version, and reads it back.
fn check<R: Exchange>(write: impl Fn(i16) -> R::Response, expected: impl Fn(i16) -> R::Answer)
where
    R::Answer: Debug + PartialEq,
{
    for version in R::SPOKEN.0..=R::SPOKEN.1 {
        let mut bytes = BytesMut::new();
        write(version)
            .encode(&mut bytes, version)
            .expect("the crate writes every version that we speak");
        let answer = read::<R>(version, bytes.clone().freeze());
        assert_eq!(answer, Ok(expected(version)), "API {} version {version}", R::KEY);
        for end in 0..bytes.len() {
            let cut = bytes.clone().freeze().slice(..end);
            assert!(
                read::<R>(version, cut).is_err(),
                "API {} version {version} cut at {end}",
                R::KEY
            );
        }
    }
}

#[test]
fn of_the_cluster() {
    let features = || {
        FinalizedFeatureKey::default()
            .with_name(text("transaction.version"))
            .with_max_version_level(2)
    };
    check::<ApiVersionsRequest>(
        |version| {
            let answer = ApiVersionsResponse::default().with_api_keys(vec![
                ApiVersion::default().with_api_key(7).with_min_version(1).with_max_version(9),
            ]);
            if version < 3 {
                return answer;
            }
            answer
                .with_supported_features(vec![
                    SupportedFeatureKey::default().with_name(text("f")).with_max_version(1),
                ])
                .with_finalized_features_epoch(5)
                .with_finalized_features(vec![features()])
                .with_zk_migration_ready(true)
        },
        |version| Abilities {
            code: 0,
            ranges: vec![(7, 1, 9)],
            finalized: if version >= 3 {
                vec![("transaction.version".into(), 2)]
            } else {
                Vec::new()
            },
        },
    );
    check::<MetadataRequest>(
        |version| {
            let broker =
                MetadataResponseBroker::default().with_node_id(BrokerId(4)).with_port(9092);
            let partition = |index, leader| {
                MetadataResponsePartition::default()
                    .with_partition_index(index)
                    .with_leader_id(BrokerId(leader))
                    .with_replica_nodes(vec![BrokerId(4), BrokerId(5)])
                    .with_isr_nodes(vec![BrokerId(4)])
                    .with_offline_replicas(if version >= 5 {
                        vec![BrokerId(5)]
                    } else {
                        Vec::new()
                    })
            };
            let topic = MetadataResponseTopic::default()
                .with_name(Some(topic()))
                .with_topic_id(if version >= 10 { Uuid::from_u128(9) } else { Uuid::nil() })
                .with_partitions(vec![partition(0, 4), partition(1, -1)]);
            MetadataResponse::default()
                .with_brokers(vec![
                    broker.clone().with_host(text("localhost")),
                    broker
                        .with_node_id(BrokerId(1_500_000_000))
                        .with_host(text("::1"))
                        .with_rack(Some(text("r"))),
                ])
                .with_cluster_id(Some(text("id")))
                .with_controller_id(BrokerId(4))
                .with_topics(vec![topic])
        },
        |version| Geography {
            brokers: vec![(4, "localhost:9092".into()), (1_500_000_000, "[::1]:9092".into())],
            cluster: "id".into(),
            controller: 4,
            topics: vec![Topic {
                code: 0,
                name: "room".into(),
                id: if version >= 10 { 9 } else { 0 },
                leaders: vec![(0, 4), (1, -1)],
            }],
        },
    );
    check::<FindCoordinatorRequest>(
        |version| match version {
            4.. => {
                let found =
                    ToldCoordinator::default().with_key(text("k")).with_node_id(BrokerId(3));
                let found = found.with_host(text("h")).with_port(1).with_error_code(15);
                FindCoordinatorResponse::default().with_coordinators(vec![found])
            }
            _ => FindCoordinatorResponse::default()
                .with_error_code(15)
                .with_error_message(Some(text("wait")))
                .with_node_id(BrokerId(3))
                .with_host(text("h"))
                .with_port(1),
        },
        |_| vec![Coordinator { code: 15, node: 3, address: "h:1".into() }],
    );
}

#[test]
fn of_topics_and_groups() {
    let named = |message: &str| Named { name: "room".into(), code: 36, message: message.into() };
    check::<CreateTopicsRequest>(
        |version| {
            let result = CreatableTopicResult::default().with_name(topic()).with_error_code(36);
            let result = result.with_error_message(Some(text("why")));
            let config =
                CreatableTopicConfigs::default().with_name(text("n")).with_value(Some(text("v")));
            let result = match version {
                5.. => result.with_configs(Some(vec![config])).with_topic_config_error_code(29),
                _ => result,
            };
            CreateTopicsResponse::default().with_topics(vec![result])
        },
        |_| vec![named("why")],
    );
    check::<DeleteTopicsRequest>(
        |version| {
            let result =
                DeletableTopicResult::default().with_name(Some(topic())).with_error_code(36);
            let message = (version >= 5).then_some(text("why"));
            DeleteTopicsResponse::default().with_responses(vec![result.with_error_message(message)])
        },
        |version| vec![named(if version >= 5 { "why" } else { "" })],
    );
    check::<DeleteGroupsRequest>(
        |_| {
            let result = DeletableGroupResult::default()
                .with_group_id(GroupId(text("room")))
                .with_error_code(36);
            DeleteGroupsResponse::default().with_results(vec![result])
        },
        |_| vec![named("")],
    );
    check::<LeaveGroupRequest>(
        |_| {
            let member = MemberResponse::default().with_member_id(text("m")).with_error_code(25);
            LeaveGroupResponse::default().with_error_code(3).with_members(vec![member])
        },
        |_| 3,
    );
    check::<JoinGroupRequest>(
        |version| {
            let member = JoinGroupResponseMember::default()
                .with_member_id(text("m"))
                .with_group_instance_id(Some(text("i")))
                .with_metadata(Bytes::from_static(b"abc"));
            JoinGroupResponse::default()
                .with_error_code(79)
                .with_generation_id(6)
                .with_protocol_type((version >= 7).then_some(text("consumer")))
                .with_protocol_name(Some(text("range")))
                .with_leader(text("l"))
                .with_skip_assignment(version >= 9)
                .with_member_id(text("m"))
                .with_members(vec![member])
        },
        |version| Joined {
            code: 79,
            generation: 6,
            leader: "l".into(),
            skip_assignment: version >= 9,
            member: "m".into(),
        },
    );
    check::<SyncGroupRequest>(
        |_| {
            SyncGroupResponse::default()
                .with_error_code(27)
                .with_assignment(Bytes::from_static(b"abc"))
        },
        |_| 27,
    );
}

#[test]
fn of_transactions() {
    let session = Session { producer: 8, epoch: 3 };
    check::<InitProducerIdRequest>(
        |_| {
            let answer = InitProducerIdResponse::default().with_error_code(51);
            answer.with_producer_id(ProducerId(8)).with_producer_epoch(3)
        },
        |_| (51, session),
    );
    check::<AddPartitionsToTxnRequest>(
        |_| {
            let partition = AddPartitionsToTxnPartitionResult::default()
                .with_partition_index(2)
                .with_partition_error_code(55);
            let topic = AddPartitionsToTxnTopicResult::default()
                .with_name(topic())
                .with_results_by_partition(vec![partition]);
            AddPartitionsToTxnResponse::default().with_results_by_topic_v3_and_below(vec![topic])
        },
        |_| vec![(2, 55)],
    );
    check::<AddOffsetsToTxnRequest>(
        |_| AddOffsetsToTxnResponse::default().with_error_code(49),
        |_| 49,
    );
    check::<EndTxnRequest>(
        |version| {
            let answer = EndTxnResponse::default();
            if version < 5 {
                answer
            } else {
                answer.with_producer_id(ProducerId(8)).with_producer_epoch(3)
            }
        },
        |version| (0, (version >= 5).then_some(session)),
    );
    check::<TxnOffsetCommitRequest>(
        |_| {
            let partition = TxnOffsetCommitResponsePartition::default()
                .with_partition_index(1)
                .with_error_code(82);
            let topic = TxnOffsetCommitResponseTopic::default()
                .with_name(topic())
                .with_partitions(vec![partition]);
            TxnOffsetCommitResponse::default().with_topics(vec![topic])
        },
        |_| vec![(1, 82)],
    );
}

#[test]
fn of_positions() {
    check::<OffsetCommitRequest>(
        |_| {
            let partition = OffsetCommitResponsePartition::default()
                .with_partition_index(1)
                .with_error_code(22);
            let topic = OffsetCommitResponseTopic::default()
                .with_name(topic())
                .with_partitions(vec![partition]);
            OffsetCommitResponse::default().with_topics(vec![topic])
        },
        |_| vec![(1, 22)],
    );
    check::<OffsetFetchRequest>(
        |version| {
            if version >= 8 {
                let partition = OffsetFetchResponsePartitions::default()
                    .with_partition_index(1)
                    .with_committed_offset(-1)
                    .with_metadata(Some(text("")))
                    .with_error_code(88);
                let topic = OffsetFetchResponseTopics::default()
                    .with_name(topic())
                    .with_partitions(vec![partition]);
                let group = OffsetFetchResponseGroup::default()
                    .with_topics(vec![topic])
                    .with_error_code(14);
                return OffsetFetchResponse::default().with_groups(vec![group]);
            }
            let partition = OffsetFetchResponsePartition::default()
                .with_partition_index(1)
                .with_committed_offset(-1)
                .with_metadata(None)
                .with_error_code(88);
            let topic = OffsetFetchResponseTopic::default()
                .with_name(topic())
                .with_partitions(vec![partition]);
            OffsetFetchResponse::default()
                .with_topics(vec![topic])
                .with_error_code(if version >= 2 { 14 } else { 0 })
        },
        |version| Saved { code: if version >= 2 { 14 } else { 0 }, positions: vec![(1, (88, -1))] },
    );
}

#[test]
fn of_records() {
    check::<ProduceRequest>(
        |version| {
            let record = BatchIndexAndErrorMessage::default();
            let record =
                record.with_batch_index(1).with_batch_index_error_message(Some(text("bad")));
            let partition = PartitionProduceResponse::default()
                .with_index(3)
                .with_error_code(87)
                .with_base_offset(17);
            let partition = match version {
                8.. => {
                    partition.with_record_errors(vec![record]).with_error_message(Some(text("bad")))
                }
                _ => partition,
            };
            let topic = TopicProduceResponse::default()
                .with_name(topic())
                .with_partition_responses(vec![partition]);
            ProduceResponse::default().with_responses(vec![topic])
        },
        |_| vec![(3, Produced { code: 87, base: 17 })],
    );
    check::<FetchRequest>(
        |version| {
            let aborted =
                AbortedTransaction::default().with_producer_id(ProducerId(5)).with_first_offset(2);
            let partition = PartitionData::default()
                .with_partition_index(3)
                .with_error_code(6)
                .with_high_watermark(20)
                .with_last_stable_offset(10)
                .with_aborted_transactions(Some(vec![aborted]))
                .with_records(Some(Bytes::from_static(b"records")));
            let leader =
                LeaderIdAndEpoch::default().with_leader_id(BrokerId(2)).with_leader_epoch(7);
            let partition =
                if version >= 12 { partition.with_current_leader(leader) } else { partition };
            let nothing =
                PartitionData::default().with_partition_index(4).with_aborted_transactions(None);
            let topic = FetchableTopicResponse::default().with_partitions(vec![partition, nothing]);
            let topic = match version {
                13.. => topic.with_topic_id(Uuid::from_u128(9)),
                _ => topic.with_topic(TopicName(text("room"))),
            };
            FetchResponse::default().with_responses(vec![topic])
        },
        |_| {
            let records = Bytes::from_static(b"records");
            let (high_watermark, last_stable) = (20, 10);
            let found =
                Found { code: 6, high_watermark, last_stable, aborted: vec![(5, 2)], records };
            let nothing = PartitionData::default();
            let nothing = Found {
                code: 0,
                high_watermark: nothing.high_watermark,
                last_stable: nothing.last_stable_offset,
                aborted: Vec::new(),
                records: Bytes::new(),
            };
            Catch { code: 0, partitions: vec![(3, found), (4, nothing)] }
        },
    );
}

#[test]
fn a_version_that_is_not_spoken_is_told_in_the_oldest_form() {
    let old = Bytes::from_static(&[0, 35, 0, 0, 0, 0]);
    let abilities =
        read::<ApiVersionsRequest>(3, old).expect("this is how brokers before 2.4 answer");
    assert_eq!(abilities.code, 35);
}

proptest! {
    #[test]
    fn garbage_never_panics(garbage in prop::collection::vec(any::<u8>(), 0..200), version in 0i16..20) {
        fn try_one<R: Exchange>(version: i16, garbage: &[u8]) {
            let version = version.clamp(R::SPOKEN.0, R::SPOKEN.1);
            let _ = read::<R>(version, Bytes::copy_from_slice(garbage));
        }
        try_one::<ApiVersionsRequest>(version, &garbage);
        try_one::<MetadataRequest>(version, &garbage);
        try_one::<CreateTopicsRequest>(version, &garbage);
        try_one::<DeleteTopicsRequest>(version, &garbage);
        try_one::<FindCoordinatorRequest>(version, &garbage);
        try_one::<InitProducerIdRequest>(version, &garbage);
        try_one::<AddPartitionsToTxnRequest>(version, &garbage);
        try_one::<EndTxnRequest>(version, &garbage);
        try_one::<TxnOffsetCommitRequest>(version, &garbage);
        try_one::<OffsetCommitRequest>(version, &garbage);
        try_one::<OffsetFetchRequest>(version, &garbage);
        try_one::<ProduceRequest>(version, &garbage);
        try_one::<FetchRequest>(version, &garbage);
        try_one::<JoinGroupRequest>(version, &garbage);
        try_one::<SyncGroupRequest>(version, &garbage);
        try_one::<LeaveGroupRequest>(version, &garbage);
        try_one::<DeleteGroupsRequest>(version, &garbage);
    }
}
