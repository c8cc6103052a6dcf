//! A broker that accepts everything, in the oldest versions that we speak or in the newest: whether each of our requests
//! can be written in both, and its answer understood.

use std::sync::Arc;

use bytes::{Buf, BufMut, BytesMut};
use kafka_protocol::messages::add_partitions_to_txn_response::{
    AddPartitionsToTxnPartitionResult, AddPartitionsToTxnTopicResult,
};
use kafka_protocol::messages::api_versions_response::{ApiVersion, FinalizedFeatureKey};
use kafka_protocol::messages::create_topics_response::CreatableTopicResult;
use kafka_protocol::messages::delete_groups_response::DeletableGroupResult;
use kafka_protocol::messages::delete_topics_response::DeletableTopicResult;
use kafka_protocol::messages::fetch_response::{FetchableTopicResponse, PartitionData};
use kafka_protocol::messages::find_coordinator_response::Coordinator;
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
use kafka_protocol::messages::produce_response::{PartitionProduceResponse, TopicProduceResponse};
use kafka_protocol::messages::txn_offset_commit_response::{
    TxnOffsetCommitResponsePartition, TxnOffsetCommitResponseTopic,
};
use kafka_protocol::messages::*;
use kafka_protocol::protocol::{Decodable, Encodable, Request as Message, StrBytes};
use onceness_reference::history::Record;
use onceness_reference::ids::{ClientId, GroupId as Group, Key, Partition, Tag, TxnId};
use onceness_reference::plan::{Isolation, Protocol};
use onceness_reference::protocol::{Batch, Ending, FetchReply, Member, Request, Response, Session};
use onceness_reference::wellformed::PARTITIONS_MAX;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use uuid::Uuid;

use super::super::Kafka;
use super::super::answers::Exchange;
use super::super::way::Way;
use crate::Adapter;
use crate::transport::{Lane, Transport};

#[derive(Clone, Copy, Debug, PartialEq)]
enum Era {
    Old,
    New,
}

async fn broker(era: Era) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback has a free port");
    let port = listener.local_addr().expect("it is bound").port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve(stream, era, port));
        }
    });
    format!("127.0.0.1:{port}")
}

async fn serve(mut stream: TcpStream, era: Era, port: u16) {
    while let Ok(length) = stream.read_i32().await {
        let mut frame = vec![0; length as usize];
        stream.read_exact(&mut frame).await.expect("our frames are whole");
        let mut frame = bytes::Bytes::from(frame);
        let key = ApiKey::try_from(frame.slice(..2).get_i16()).expect("a known request");
        let version = frame.slice(2..4).get_i16();
        let header = RequestHeader::decode(&mut frame, key.request_header_version(version))
            .expect("a header");
        let mut answer = BytesMut::new();
        answer.put_i32(0);
        answer.put_i32(header.correlation_id);
        if key.response_header_version(version) >= 1 {
            answer.put_u8(0);
        }
        if respond(era, port, key, version, &mut frame, &mut answer) {
            let length = (answer.len() - 4) as u32;
            answer[..4].copy_from_slice(&length.to_be_bytes());
            stream.write_all(&answer).await.expect("the client waits for it");
        }
    }
}

fn taken<R: Decodable>(frame: &mut bytes::Bytes, version: i16) -> R {
    let request = R::decode(frame, version).expect("a request of that version");
    assert!(frame.is_empty(), "nothing is left of it");
    request
}

/// Writes the answer. False if there is to be none.
fn respond(
    era: Era,
    port: u16,
    key: ApiKey,
    version: i16,
    frame: &mut bytes::Bytes,
    answer: &mut BytesMut,
) -> bool {
    macro_rules! put {
        ($response:expr) => {{
            $response.encode(answer, version).expect("an answer of that version");
            true
        }};
    }
    let node = BrokerId(1);
    let host = StrBytes::from_static_str("127.0.0.1");
    let port = i32::from(port);
    match key {
        ApiKey::ApiVersions if era == Era::Old && version > 0 => {
            // In the form of version 0, without a range for itself even.
            answer.put_i16(35);
            answer.put_i32(0);
            true
        }
        ApiKey::ApiVersions => {
            let apis = ranges(era).into_iter().map(|(key, min, max)| {
                ApiVersion::default().with_api_key(key).with_min_version(min).with_max_version(max)
            });
            let answer = ApiVersionsResponse::default().with_api_keys(apis.collect());
            let feature = FinalizedFeatureKey::default()
                .with_name(StrBytes::from_static_str("transaction.version"))
                .with_max_version_level(2);
            put!(if version >= 3 { answer.with_finalized_features(vec![feature]) } else { answer })
        }
        ApiKey::Metadata => {
            let asked: MetadataRequest = taken(frame, version);
            let broker = MetadataResponseBroker::default()
                .with_node_id(node)
                .with_host(host)
                .with_port(port);
            let partition = |index| {
                MetadataResponsePartition::default()
                    .with_partition_index(index)
                    .with_leader_id(node)
            };
            let topic = |topic: metadata_request::MetadataRequestTopic| {
                MetadataResponseTopic::default()
                    .with_name(topic.name)
                    .with_topic_id(if version >= 10 { Uuid::from_u128(1) } else { Uuid::nil() })
                    .with_partitions((0..i32::from(PARTITIONS_MAX)).map(partition).collect())
            };
            let topics = asked.topics.unwrap_or_default().into_iter().map(topic).collect();
            put!(MetadataResponse::default().with_brokers(vec![broker]).with_topics(topics))
        }
        ApiKey::CreateTopics => {
            let asked: CreateTopicsRequest = taken(frame, version);
            let made = asked
                .topics
                .into_iter()
                .map(|topic| CreatableTopicResult::default().with_name(topic.name));
            put!(CreateTopicsResponse::default().with_topics(made.collect()))
        }
        ApiKey::DeleteTopics => {
            let asked: DeleteTopicsRequest = taken(frame, version);
            let names =
                asked.topics.into_iter().filter_map(|topic| topic.name).chain(asked.topic_names);
            let gone = names.map(|name| DeletableTopicResult::default().with_name(Some(name)));
            put!(DeleteTopicsResponse::default().with_responses(gone.collect()))
        }
        ApiKey::FindCoordinator => {
            let _: FindCoordinatorRequest = taken(frame, version);
            let found =
                Coordinator::default().with_node_id(node).with_host(host.clone()).with_port(port);
            let answer = FindCoordinatorResponse::default();
            put!(match version {
                4.. => answer.with_coordinators(vec![found]),
                _ => answer.with_node_id(node).with_host(host).with_port(port),
            })
        }
        ApiKey::InitProducerId => {
            let _: InitProducerIdRequest = taken(frame, version);
            put!(
                InitProducerIdResponse::default()
                    .with_producer_id(ProducerId(7))
                    .with_producer_epoch(1)
            )
        }
        ApiKey::AddPartitionsToTxn => {
            let _: AddPartitionsToTxnRequest = taken(frame, version);
            let partition = AddPartitionsToTxnPartitionResult::default().with_partition_index(2);
            let topic =
                AddPartitionsToTxnTopicResult::default().with_results_by_partition(vec![partition]);
            put!(
                AddPartitionsToTxnResponse::default()
                    .with_results_by_topic_v3_and_below(vec![topic])
            )
        }
        ApiKey::AddOffsetsToTxn => {
            let _: AddOffsetsToTxnRequest = taken(frame, version);
            put!(AddOffsetsToTxnResponse::default())
        }
        ApiKey::EndTxn => {
            let _: EndTxnRequest = taken(frame, version);
            let answer = EndTxnResponse::default();
            put!(match version {
                5.. => answer.with_producer_id(ProducerId(7)).with_producer_epoch(2),
                _ => answer,
            })
        }
        ApiKey::TxnOffsetCommit => {
            let _: TxnOffsetCommitRequest = taken(frame, version);
            let partition = TxnOffsetCommitResponsePartition::default().with_partition_index(2);
            let topic = TxnOffsetCommitResponseTopic::default().with_partitions(vec![partition]);
            put!(TxnOffsetCommitResponse::default().with_topics(vec![topic]))
        }
        ApiKey::OffsetCommit => {
            let _: OffsetCommitRequest = taken(frame, version);
            let partition = OffsetCommitResponsePartition::default().with_partition_index(2);
            let topic = OffsetCommitResponseTopic::default().with_partitions(vec![partition]);
            put!(OffsetCommitResponse::default().with_topics(vec![topic]))
        }
        ApiKey::OffsetFetch => {
            let _: OffsetFetchRequest = taken(frame, version);
            if version >= 8 {
                let partition = OffsetFetchResponsePartitions::default()
                    .with_partition_index(2)
                    .with_committed_offset(9);
                let topic = OffsetFetchResponseTopics::default().with_partitions(vec![partition]);
                let group = OffsetFetchResponseGroup::default().with_topics(vec![topic]);
                return put!(OffsetFetchResponse::default().with_groups(vec![group]));
            }
            let partition = OffsetFetchResponsePartition::default()
                .with_partition_index(2)
                .with_committed_offset(9);
            let topic = OffsetFetchResponseTopic::default().with_partitions(vec![partition]);
            put!(OffsetFetchResponse::default().with_topics(vec![topic]))
        }
        ApiKey::JoinGroup => {
            let asked: JoinGroupRequest = taken(frame, version);
            assert_eq!(asked.group_instance_id.as_deref(), Some("onceness"));
            let member = StrBytes::from_static_str("m");
            let again = asked.member_id.is_empty();
            let answer = JoinGroupResponse::default().with_error_code(if again { 79 } else { 0 });
            let answer =
                answer.with_generation_id(3).with_leader(member.clone()).with_member_id(member);
            let name = StrBytes::from_static_str("range");
            put!(answer.with_protocol_name(Some(name)))
        }
        ApiKey::SyncGroup => {
            let asked: SyncGroupRequest = taken(frame, version);
            assert_eq!(asked.assignments.len(), 1, "the leader assigns");
            put!(SyncGroupResponse::default())
        }
        ApiKey::LeaveGroup => {
            let _: LeaveGroupRequest = taken(frame, version);
            put!(LeaveGroupResponse::default())
        }
        ApiKey::DeleteGroups => {
            let asked: DeleteGroupsRequest = taken(frame, version);
            let gone = asked
                .groups_names
                .into_iter()
                .map(|id| DeletableGroupResult::default().with_group_id(id));
            put!(DeleteGroupsResponse::default().with_results(gone.collect()))
        }
        ApiKey::Produce => {
            let asked: ProduceRequest = taken(frame, version);
            let partition = PartitionProduceResponse::default().with_index(2).with_base_offset(-1);
            let topic = TopicProduceResponse::default().with_partition_responses(vec![partition]);
            asked.acks != 0 && put!(ProduceResponse::default().with_responses(vec![topic]))
        }
        ApiKey::Fetch => {
            let asked: FetchRequest = taken(frame, version);
            let partition = |asked: &fetch_request::FetchPartition| {
                PartitionData::default()
                    .with_partition_index(asked.partition)
                    .with_high_watermark(5)
            };
            let topic = |asked: &fetch_request::FetchTopic| {
                let partitions = asked.partitions.iter().map(partition).collect();
                FetchableTopicResponse::default().with_partitions(partitions)
            };
            put!(FetchResponse::default().with_responses(asked.topics.iter().map(topic).collect()))
        }
        other => panic!("{other:?} is not asked"),
    }
}

fn ranges(era: Era) -> Vec<(i16, i16, i16)> {
    fn one<R: Exchange>(era: Era) -> (i16, i16, i16) {
        let (least, most) = R::SPOKEN;
        match era {
            Era::Old => (R::KEY, least, least),
            Era::New => (R::KEY, least, most + 5),
        }
    }
    // A member can show itself from these versions on.
    let static_members = match era {
        Era::Old => [(OffsetCommitRequest::KEY, 2, 7), (TxnOffsetCommitRequest::KEY, 0, 3)],
        Era::New => [one::<OffsetCommitRequest>(era), one::<TxnOffsetCommitRequest>(era)],
    };
    let mut ranges = vec![
        one::<ApiVersionsRequest>(era),
        one::<MetadataRequest>(era),
        one::<CreateTopicsRequest>(era),
        one::<DeleteTopicsRequest>(era),
        one::<FindCoordinatorRequest>(era),
        one::<InitProducerIdRequest>(era),
        one::<AddPartitionsToTxnRequest>(era),
        one::<AddOffsetsToTxnRequest>(era),
        one::<EndTxnRequest>(era),
        one::<OffsetFetchRequest>(era),
        one::<JoinGroupRequest>(era),
        one::<SyncGroupRequest>(era),
        one::<LeaveGroupRequest>(era),
        one::<DeleteGroupsRequest>(era),
        one::<ProduceRequest>(era),
        one::<FetchRequest>(era),
    ];
    ranges.extend(static_members);
    ranges
}

async fn everything(era: Era, protocol: Protocol) {
    let address = broker(era).await;
    let kafka = Kafka::connect(&[address]).await.expect("it answers as a broker does");
    assert_eq!(kafka.features().tv2, era == Era::New);
    let room = kafka.rooms.take(&kafka.cluster).await.expect("topics can be made");
    let way = Arc::new(Way::new(kafka.cluster.clone(), kafka.rooms.clone(), room, None));
    let (partition, txn, group) = (Partition(2), TxnId(0), Group(0));
    let session = Session { producer: 7, epoch: 1 };
    let next = if protocol == Protocol::Tv2 { Session { producer: 7, epoch: 2 } } else { session };
    let record = Record { tag: Tag(1), key: Key(1), from: None };
    let batch = Batch { session: Some(session), first_sequence: 0, records: vec![record] };
    let member =
        Member { generation: 3, id: "m".to_owned(), instance: Some("onceness".to_owned()) };
    let positions = vec![(partition, 9)];
    let save_in_txn = |member| Request::SaveInTxn {
        txn,
        session,
        protocol,
        group,
        member,
        positions: positions.clone(),
    };
    let save = |member| Request::Save { group, member, positions: positions.clone() };
    let fetched = FetchReply { high_watermark: 5, last_stable: -1, ..FetchReply::default() };
    let (acks, produced) = (true, Response::Appended(None));
    let exchanges = [
        (Request::InitProducer { txn: None, expected: None }, Response::Producer(session)),
        (Request::InitProducer { txn: Some(txn), expected: None }, Response::Producer(session)),
        (Request::AddPartition { txn, session, partition }, Response::Done),
        (Request::AddGroup { txn, session, group }, Response::Done),
        (
            Request::Produce { partition, batch: batch.clone(), acks, txn: Some((txn, protocol)) },
            produced.clone(),
        ),
        (
            Request::Produce { partition, batch: batch.clone(), acks: false, txn: None },
            Response::Done,
        ),
        (Request::Produce { partition, batch, acks, txn: None }, produced),
        (save_in_txn(None), Response::Done),
        (save_in_txn(Some(member.clone())), Response::Done),
        (Request::EndTxn { txn, session, ending: Ending::Commit, protocol }, Response::Ended(next)),
        (Request::Join { group }, Response::Joined(member.clone())),
        (save(None), Response::Done),
        (save(Some(member)), Response::Done),
        (
            Request::Positions { group, partitions: vec![partition], stable: true },
            Response::Positions(vec![(partition, Some(9))]),
        ),
        (
            Request::Fetch { partition, offset: 0, isolation: Isolation::ReadCommitted },
            Response::Fetched(fetched),
        ),
    ];
    for (request, response) in exchanges {
        let answer = way.call(Lane::Client(ClientId(0)), &request).await;
        assert_eq!(answer, Ok(Ok(response)), "{era:?} {request:?}");
    }
    let forgotten = Request::AddPartition { txn, session, partition: Partition(1) };
    let error =
        way.call(Lane::Rig, &forgotten).await.expect_err("the broker always speaks of partition 2");
    assert_eq!(error.reason, "its answer says nothing of partition 1, which was asked about");
    drop(way);
    kafka.clean().await.expect("everything can be deleted");
}

#[tokio::test]
async fn the_oldest_versions_work() {
    everything(Era::Old, Protocol::Tv1).await;
}

#[tokio::test]
async fn the_newest_versions_work() {
    everything(Era::New, Protocol::Tv1).await;
    everything(Era::New, Protocol::Tv2).await;
}
