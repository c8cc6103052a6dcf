//! Addresses in answers, of each API in each version, as the `kafka-protocol` crate writes and reads them.

use std::sync::Arc;

use bytes::{Buf, Bytes};
use kafka_protocol::messages::api_versions_response::ApiVersion;
use kafka_protocol::messages::describe_cluster_response::DescribeClusterBroker;
use kafka_protocol::messages::fetch_response::{
    AbortedTransaction, FetchableTopicResponse, NodeEndpoint, PartitionData,
};
use kafka_protocol::messages::find_coordinator_response::Coordinator;
use kafka_protocol::messages::metadata_response::{
    MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use kafka_protocol::messages::produce_response::{
    BatchIndexAndErrorMessage, LeaderIdAndEpoch, NodeEndpoint as ProduceEndpoint,
    PartitionProduceResponse, TopicProduceResponse,
};
use kafka_protocol::messages::*;
use kafka_protocol::protocol::{Decodable, Encodable, HeaderVersion, Request, StrBytes};
use uuid::Uuid;

use super::super::{Proxy, Rules};
use super::broker::{Broker, Client, framed, request};

/// A proxy whose broker answers everything by that.
async fn saying(frame: Bytes) -> (Broker, Proxy) {
    // In pieces of a few bytes: no field is whole when it comes.
    let broker = Broker::that(move |_| {
        let frame = frame.clone();
        async move { frame.chunks(700).map(Bytes::copy_from_slice).collect() }
    })
    .await;
    let proxy = broker.behind(&Arc::new(Rules::default())).await;
    (broker, proxy)
}

/// What the client is told, through a proxy, of that answer in that version.
async fn told<R: Request>(
    version: i16,
    asked: R,
    response: R::Response,
) -> (R::Response, Broker, Proxy)
where
    R::Response: Encodable + Decodable + HeaderVersion,
{
    let (broker, proxy) = saying(framed(1, version, &response)).await;
    let mut client = Client::of(&proxy).await;
    client.send(&request(1, version, &asked)).await;
    let (_, mut body) = client.next().await.expect("it is answered");
    if R::Response::header_version(version) >= 1 {
        assert_eq!(body.get_u8(), 0, "no tagged fields in the header");
    }
    let told = R::Response::decode(&mut body, version).expect("it can be read");
    assert!(body.is_empty(), "nothing is left of it");
    (told, broker, proxy)
}

fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

/// A name that is longer than what comes in its place, or of which there are many.
fn far_away(node: i32) -> StrBytes {
    text(&format!("broker-{node}.in.another.country.example"))
}

/// The host and the port are the proxy's own, and those of no other broker.
fn check_address(host: &StrBytes, port: i32, seen: &mut Vec<i32>) {
    assert_eq!(host.as_str(), "127.0.0.1");
    assert!(port > 0 && !seen.contains(&port), "{port} after {seen:?}");
    seen.push(port);
}

#[tokio::test]
async fn metadata_in_every_version() {
    for version in 0..=13 {
        let broker = |node| {
            let broker = MetadataResponseBroker::default().with_node_id(BrokerId(node));
            let broker = broker.with_host(far_away(node)).with_port(9092);
            broker.with_rack((version >= 1).then(|| text("rack")))
        };
        let topic = MetadataResponseTopic::default().with_name(Some(TopicName(text("t"))));
        let topic = topic.with_partitions(vec![MetadataResponsePartition::default(); 900]);
        let answer = MetadataResponse::default().with_brokers((0..40).map(broker).collect());
        let answer = answer.with_topics(vec![topic]);
        let (mut told, _broker, _proxy) =
            told(version, MetadataRequest::default(), answer.clone()).await;
        let mut ports = Vec::new();
        for (broker, was) in told.brokers.iter_mut().zip(&answer.brokers) {
            check_address(&broker.host, broker.port, &mut ports);
            (broker.host, broker.port) = (was.host.clone(), was.port);
        }
        assert_eq!(told, answer, "nothing else changes in version {version}");
    }
}

#[tokio::test]
async fn coordinators_in_every_version() {
    for version in 0..=6 {
        let answer = match version {
            ..=3 => FindCoordinatorResponse::default()
                .with_node_id(BrokerId(1))
                .with_host(far_away(1))
                .with_port(9092),
            _ => FindCoordinatorResponse::default().with_coordinators(vec![
                Coordinator::default().with_key(text("a")).with_host(far_away(1)).with_port(9092),
                // Where there is none, there is none.
                Coordinator::default().with_key(text("b")).with_port(-1).with_error_code(15),
                Coordinator::default().with_key(text("c")).with_host(far_away(2)).with_port(9092),
            ]),
        };
        let (mut told, _broker, _proxy) =
            told(version, FindCoordinatorRequest::default(), answer.clone()).await;
        let mut ports = Vec::new();
        if version <= 3 {
            check_address(&told.host, told.port, &mut ports);
            (told.host, told.port) = (answer.host.clone(), answer.port);
        }
        for (one, was) in told.coordinators.iter_mut().zip(&answer.coordinators) {
            if was.port > 0 {
                check_address(&one.host, one.port, &mut ports);
            }
            (one.host, one.port) = (was.host.clone(), was.port);
        }
        assert_eq!(told, answer, "nothing else changes in version {version}");
    }
}

#[tokio::test]
async fn clusters_in_every_version() {
    for version in 0..=2 {
        let broker = |node| {
            let broker = DescribeClusterBroker::default().with_broker_id(BrokerId(node));
            broker.with_host(far_away(node)).with_port(9092).with_rack(Some(text("rack")))
        };
        let answer = DescribeClusterResponse::default().with_brokers((0..3).map(broker).collect());
        let answer = answer.with_cluster_id(text("cluster")).with_error_message(None);
        let (mut told, _broker, _proxy) =
            told(version, DescribeClusterRequest::default(), answer.clone()).await;
        let mut ports = Vec::new();
        for (broker, was) in told.brokers.iter_mut().zip(&answer.brokers) {
            check_address(&broker.host, broker.port, &mut ports);
            (broker.host, broker.port) = (was.host.clone(), was.port);
        }
        assert_eq!(told, answer, "nothing else changes in version {version}");
    }
}

#[tokio::test]
async fn hints_of_produce_are_hidden() {
    for version in 3..=13 {
        let leader = LeaderIdAndEpoch::default().with_leader_id(BrokerId(2)).with_leader_epoch(4);
        let fault = BatchIndexAndErrorMessage::default();
        let fault = fault.with_batch_index_error_message(Some(text("a fault of a record")));
        let mut partition = PartitionProduceResponse::default().with_index(1).with_error_code(6);
        if version >= 8 {
            partition = partition.with_record_errors(vec![fault; 70]);
            partition = partition.with_error_message(Some(text("a fault of a batch")));
        }
        if version >= 10 {
            partition = partition.with_current_leader(leader);
        }
        let topic = match version {
            13.. => TopicProduceResponse::default().with_topic_id(Uuid::from_u128(7)),
            _ => TopicProduceResponse::default().with_name(TopicName(text("topic"))),
        };
        let topic = topic.with_partition_responses(vec![partition; 3]);
        let mut answer = ProduceResponse::default().with_responses(vec![topic]);
        if version >= 10 {
            let hint = ProduceEndpoint::default().with_host(far_away(2)).with_port(9092);
            answer = answer.with_node_endpoints(vec![hint]);
        }
        let asked = ProduceRequest::default().with_acks(-1);
        let (mut told, _broker, _proxy) = told(version, asked, answer.clone()).await;
        assert_eq!(told.node_endpoints, []);
        let hidden = std::mem::take(&mut told.unknown_tagged_fields);
        assert_eq!(hidden.contains_key(&0x7f), version >= 10, "version {version}");
        answer.node_endpoints.clear();
        assert_eq!(told, answer, "nothing else changes in version {version}");
    }
}

#[tokio::test]
async fn hints_of_fetch_are_hidden() {
    for version in 4..=18 {
        let records = Bytes::from(vec![0; 200_000]);
        let aborted = AbortedTransaction::default().with_producer_id(ProducerId(3));
        let partition =
            PartitionData::default().with_partition_index(1).with_records(Some(records));
        let mut partition = partition.with_aborted_transactions(Some(vec![aborted; 90]));
        if version >= 12 {
            let leader = fetch_response::LeaderIdAndEpoch::default().with_leader_id(BrokerId(2));
            partition = partition.with_current_leader(leader.with_leader_epoch(4));
        }
        let topic = match version {
            13.. => FetchableTopicResponse::default().with_topic_id(Uuid::from_u128(7)),
            _ => FetchableTopicResponse::default().with_topic(TopicName(text("topic"))),
        };
        let empty = PartitionData::default().with_records(None).with_aborted_transactions(None);
        let topic = topic.with_partitions(vec![partition, empty]);
        let mut answer = FetchResponse::default().with_responses(vec![topic.clone(), topic]);
        if version >= 16 {
            let hint = NodeEndpoint::default().with_host(far_away(2)).with_port(9092);
            answer = answer.with_node_endpoints(vec![hint]);
        }
        let (mut told, _broker, _proxy) =
            told(version, FetchRequest::default(), answer.clone()).await;
        assert_eq!(told.node_endpoints, []);
        let hidden = std::mem::take(&mut told.unknown_tagged_fields);
        assert_eq!(hidden.contains_key(&0x7f), version >= 16, "version {version}");
        answer.node_endpoints.clear();
        assert_eq!(told, answer, "nothing else changes in version {version}");
    }
}

#[tokio::test]
async fn versions_beyond_what_is_known_are_not_told_of() {
    for version in 0..=4 {
        let api = |key: ApiKey, most| {
            let api = ApiVersion::default().with_api_key(key as i16);
            api.with_min_version(0).with_max_version(most)
        };
        let api_keys = vec![
            api(ApiKey::Produce, 99),
            api(ApiKey::Fetch, 11),
            api(ApiKey::Metadata, 99),
            api(ApiKey::EndTxn, 99),
        ];
        let answer = ApiVersionsResponse::default().with_api_keys(api_keys);
        let (told, _broker, _proxy) =
            told(version, ApiVersionsRequest::default(), answer.clone()).await;
        let most: Vec<i16> = told.api_keys.iter().map(|api| api.max_version).collect();
        assert_eq!(most, [13, 11, 13, 99]);
    }
    // What refuses the version of the question is told in the oldest form, whatever it was.
    let refusal = ApiVersionsResponse::default().with_error_code(35);
    let (_broker, proxy) = saying(framed(1, 0, &refusal)).await;
    let mut client = Client::of(&proxy).await;
    client.send(&request(1, 3, &ApiVersionsRequest::default())).await;
    let (_, body) = client.next().await.expect("it is answered");
    assert_eq!(&body[..], [0, 35, 0, 0, 0, 0]);
}

#[tokio::test]
async fn lies_about_addresses_end_the_connection() {
    let lies: [&[u8]; 3] = [
        // Metadata 0 with 2147483647 brokers; with half a broker; with a name that is no text.
        &[0, 0, 0, 8, 0, 0, 0, 1, 0x7f, 0xff, 0xff, 0xff],
        &[0, 0, 0, 14, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1, 0, 9],
        &[0, 0, 0, 19, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1, 0, 1, 0xff, 0, 0, 0, 9],
    ];
    for lie in lies {
        let (_broker, proxy) = saying(Bytes::from_static(lie)).await;
        let mut client = Client::of(&proxy).await;
        client.send(&request(1, 0, &MetadataRequest::default())).await;
        assert!(client.is_cut().await);
    }
    // More brokers than any cluster has.
    let broker = |node| MetadataResponseBroker::default().with_host(far_away(node)).with_port(9092);
    let many = MetadataResponse::default().with_brokers((0..2000).map(broker).collect());
    let (_broker, proxy) = saying(framed(1, 0, &many)).await;
    let mut client = Client::of(&proxy).await;
    client.send(&request(1, 0, &MetadataRequest::default())).await;
    assert!(client.is_cut().await);
}

#[tokio::test]
async fn a_client_that_follows_an_advertised_address_stays_on_the_proxy() {
    let other = Broker::start().await;
    let port = other.address.rsplit(':').next().and_then(|port| port.parse().ok());
    let advertised = MetadataResponseBroker::default()
        .with_host(text("127.0.0.1"))
        .with_port(port.expect("a port"));
    let answer = MetadataResponse::default().with_brokers(vec![advertised]);
    let (told, _broker, proxy) = told(4, MetadataRequest::default(), answer).await;
    let address = ("127.0.0.1", told.brokers[0].port as u16);
    let stream = tokio::net::TcpStream::connect(address).await.expect("the proxy listens");
    let mut client = Client { stream };
    assert_eq!(client.init(1).await, Some(1));
    assert_eq!(other.correlations(), [1]);
    proxy.cut_all();
    assert!(client.is_cut().await);
}

#[tokio::test]
async fn each_of_several_brokers_is_listened_for_apart() {
    let (one, two) = (Broker::start().await, Broker::start().await);
    let port = |broker: &Broker| {
        broker.address.rsplit(':').next().and_then(|port| port.parse().ok()).expect("a port")
    };
    let broker = |at: &Broker| {
        MetadataResponseBroker::default().with_host(text("127.0.0.1")).with_port(port(at))
    };
    let answer = MetadataResponse::default().with_brokers(vec![broker(&one), broker(&two)]);
    let frame = framed(1, 4, &answer);
    let teller = Broker::that(move |_| {
        let frame = frame.clone();
        async move { vec![frame] }
    })
    .await;
    // Both are known as bootstrap addresses too, after one that answers first.
    let upstream = [teller.address.clone(), one.address.clone(), two.address.clone()];
    let rules = Arc::new(Rules::default());
    let proxy = Proxy::listen(&upstream, "127.0.0.1:0", rules).await.expect("a free port");
    let mut client = Client::of(&proxy).await;
    client.send(&request(1, 4, &MetadataRequest::default())).await;
    let (_, mut body) = client.next().await.expect("it is answered");
    let told = MetadataResponse::decode(&mut body, 4).expect("it can be read");
    for (correlation, (broker, at)) in [&one, &two].into_iter().zip(&told.brokers).enumerate() {
        let address = ("127.0.0.1", at.port as u16);
        let stream = tokio::net::TcpStream::connect(address).await.expect("the proxy listens");
        let correlation = correlation as i32;
        assert!(Client { stream }.init(correlation).await.is_some());
        assert_eq!(broker.correlations(), [correlation]);
    }
}
