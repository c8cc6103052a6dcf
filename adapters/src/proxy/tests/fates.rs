//! Each fate, as the client sees it, as the broker sees it, and as it is told.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use kafka_protocol::messages::{
    ApiKey, InitProducerIdRequest, InitProducerIdResponse, ProduceResponse, TransactionalId,
};
use kafka_protocol::protocol::{Decodable, StrBytes};
use onceness_reference::code::Code;
use onceness_reference::plan::Fate;
use tokio::time::timeout;

use super::super::{CopyNumber, Exchange, Rule, Rules, busy_apis, busy_code};
use super::broker::{Broker, Client, SOON, init, produce, request_of, rule, settled, until};
use super::plain::{decoded, plain};

fn producer(exchange: &Exchange) -> Option<i64> {
    let mut body = exchange.answer.clone()?;
    let answer =
        InitProducerIdResponse::decode(&mut body, 4).expect("an answer without its header");
    Some(answer.producer_id.0)
}

#[tokio::test]
async fn what_meets_nothing_passes() {
    let (broker, rules) = (Broker::start().await, Arc::new(Rules::default()));
    let proxy = broker.behind(&rules).await;
    let mut client = Client::of(&proxy).await;
    assert_eq!(client.init(1).await, Some(1));
    assert_eq!(client.init(2).await, Some(2));
    assert_eq!(broker.correlations(), [1, 2]);
    assert_eq!(rules.take().len(), 0);
}

#[tokio::test]
async fn delivered_is_told_with_request_and_answer() {
    let (broker, rules) = (Broker::start().await, Arc::new(Rules::default()));
    let proxy = broker.behind(&rules).await;
    rules.arm(rule(ApiKey::InitProducerId, Fate::Delivered));
    let mut client = Client::of(&proxy).await;
    assert_eq!(client.init(4).await, Some(4));
    let told = settled(&rules).await;
    let [exchange] = &told[..] else { panic!("{told:?}") };
    assert_eq!(exchange.start.client, "tester");
    assert_eq!(exchange.start.txn.as_deref(), Some("t"));
    assert_eq!((exchange.start.version, exchange.start.correlation), (4, 4));
    let asked = InitProducerIdRequest::decode(&mut exchange.request.clone(), 4).expect("its body");
    assert_eq!(asked.transactional_id.expect("as it was sent").as_str(), "t");
    assert!(exchange.whole);
    assert_eq!(producer(exchange), Some(4));
}

#[tokio::test]
async fn lost_requests_never_arrive_and_the_client_is_cut() {
    let (broker, rules) = (Broker::start().await, Arc::new(Rules::default()));
    let proxy = broker.behind(&rules).await;
    let mut client = Client::of(&proxy).await;
    assert_eq!(client.init(1).await, Some(1));
    rules.arm(rule(ApiKey::InitProducerId, Fate::RequestLost));
    assert_eq!(client.init(2).await, None);
    let told = settled(&rules).await;
    assert_eq!((told[0].fate, producer(&told[0])), (Fate::RequestLost, None));
    // The rule is spent, and the proxy is not.
    assert_eq!(Client::of(&proxy).await.init(3).await, Some(3));
    assert_eq!(broker.correlations(), [1, 3]);
}

#[tokio::test]
async fn lost_replies_are_told_to_the_owner_only() {
    let (broker, rules) = (Broker::start().await, Arc::new(Rules::default()));
    let proxy = broker.behind(&rules).await;
    let mut client = Client::of(&proxy).await;
    rules.arm(rule(ApiKey::InitProducerId, Fate::ReplyLost));
    assert_eq!(client.init(2).await, None);
    let told = settled(&rules).await;
    assert_eq!((told[0].fate, producer(&told[0])), (Fate::ReplyLost, Some(2)));
    assert_eq!(broker.correlations(), [2]);
}

#[tokio::test]
async fn what_comes_after_a_lost_reply_never_arrives() {
    let (broker, rules) = (Broker::start().await, Arc::new(Rules::default()));
    let proxy = broker.behind(&rules).await;
    rules.arm(Rule { api: 12, ..rule(ApiKey::Heartbeat, Fate::ReplyLost) });
    let mut client = Client::of(&proxy).await;
    let heartbeat =
        super::broker::request(2, 4, &kafka_protocol::messages::HeartbeatRequest::default());
    client.send(&[init(1), heartbeat, init(3)].concat()).await;
    // What came before is answered.
    assert_eq!(client.next().await.map(|(correlation, _)| correlation), Some(1));
    assert!(client.is_cut().await);
    assert_eq!(broker.correlations(), [1, 2]);
}

#[tokio::test]
async fn repeated_requests_arrive_twice_before_the_client_knows() {
    let (broker, rules) = (Broker::start().await, Arc::new(Rules::default()));
    let proxy = broker.behind(&rules).await;
    rules.arm(rule(ApiKey::InitProducerId, Fate::Repeated));
    let mut client = Client::of(&proxy).await;
    assert_eq!(client.init(5).await, Some(5));
    let arrived = broker.arrived();
    assert_eq!(broker.correlations(), [5, 5]);
    assert_ne!(arrived[0].connection, arrived[1].connection);
    let told = settled(&rules).await;
    let copies: Vec<_> = told.iter().map(|one| (one.copy, producer(one))).collect();
    assert_eq!(copies, [(CopyNumber::Second, Some(5)), (CopyNumber::First, Some(5))]);
    assert_eq!(client.init(6).await, Some(6));
}

#[tokio::test]
async fn held_requests_arrive_when_their_owner_says() {
    let (broker, rules) = (Broker::start().await, Arc::new(Rules::default()));
    let proxy = broker.behind(&rules).await;
    rules.arm(rule(ApiKey::InitProducerId, Fate::Held { rounds: 2 }));
    assert_eq!(Client::of(&proxy).await.init(1).await, None);
    let told = settled(&rules).await;
    let held = told[0].held.expect("it is kept");
    assert_eq!((told[0].fate, producer(&told[0])), (Fate::Held { rounds: 2 }, None));
    assert_eq!(Client::of(&proxy).await.init(2).await, Some(2));
    assert_eq!(broker.correlations(), [2]);
    // Even while the client is stalled: it is the network that kept it.
    proxy.stall();
    let late = proxy.release(held).await.expect("it was kept");
    assert_eq!((late.copy, producer(&late)), (CopyNumber::Late, Some(1)));
    assert_eq!(rules.take().len(), 1);
    assert_eq!(broker.correlations(), [2, 1]);
    assert!(proxy.release(held).await.is_none(), "it is released once");
}

#[tokio::test]
async fn busy_is_said_in_the_brokers_name() {
    let (broker, rules) = (Broker::start().await, Arc::new(Rules::default()));
    let proxy = broker.behind(&rules).await;
    rules.arm(rule(ApiKey::InitProducerId, Fate::Busy));
    let fenced = Some(Code::PRODUCER_FENCED);
    rules.arm(Rule { code: fenced, ..rule(ApiKey::InitProducerId, Fate::Busy) });
    let mut client = Client::of(&proxy).await;
    assert_eq!(client.init(1).await, Some(-14));
    assert_eq!(client.init(2).await, Some(-90));
    assert_eq!(client.init(3).await, Some(3));
    assert_eq!(broker.correlations(), [3]);
    let told = settled(&rules).await;
    assert!(told.iter().all(|one| one.fate == Fate::Busy && one.answer.is_some()), "{told:?}");
}

#[tokio::test]
async fn busy_names_the_partitions_of_a_produce_in_every_version() {
    let (broker, rules) = (Broker::start().await, Arc::new(Rules::default()));
    let proxy = broker.behind(&rules).await;
    let mut client = Client::of(&proxy).await;
    for version in 3..=13 {
        rules.arm(rule(ApiKey::Produce, Fate::Busy));
        client.send(&produce(9, version, -1, 300_000)).await;
        let (correlation, mut body) = client.next().await.expect("it is answered");
        assert_eq!(correlation, 9);
        if version >= 9 {
            body = body.slice(1..);
        }
        let answer = ProduceResponse::decode(&mut body, version).expect("an answer");
        let topic = &answer.responses[0];
        match version {
            13.. => assert_eq!(topic.topic_id.as_u128(), 5),
            _ => assert_eq!(topic.name.as_str(), "topic"),
        }
        let partition = &topic.partition_responses[0];
        assert_eq!((partition.index, partition.error_code, partition.base_offset), (3, 19, -1));
    }
    assert_eq!(broker.correlations(), [0; 0]);
}

#[tokio::test]
async fn unanswered_produces_wait_for_nothing() {
    let (broker, rules) = (Broker::start().await, Arc::new(Rules::default()));
    let proxy = broker.behind(&rules).await;
    let mut client = Client::of(&proxy).await;
    for version in 3..=13 {
        client.send(&produce(version.into(), version, 0, 100)).await;
        assert_eq!(client.init(100).await, Some(100), "version {version}");
    }
    // One that is refused gets lost instead: nobody would hear of it.
    rules.arm(rule(ApiKey::Produce, Fate::Busy));
    client.send(&produce(20, 9, 0, 100)).await;
    assert!(client.is_cut().await);
    assert_eq!(settled(&rules).await[0].fate, Fate::RequestLost);
    // One that arrives twice arrives twice.
    rules.arm(rule(ApiKey::Produce, Fate::Repeated));
    let mut client = Client::of(&proxy).await;
    client.send(&produce(21, 9, 0, 100)).await;
    until("both copies", || broker.correlations().iter().filter(|one| **one == 21).count() == 2)
        .await;
    // What was sent last arrives, though the client has gone.
    client.send(&produce(22, 9, 0, 1_000_000)).await;
    drop(client);
    until("the last words", || broker.correlations().contains(&22)).await;
    assert!(!broker.correlations().contains(&20));
}

#[tokio::test]
async fn rules_fit_a_transactional_id() {
    let (broker, rules) = (Broker::start().await, Arc::new(Rules::default()));
    let proxy = broker.behind(&rules).await;
    let other = Some("other".to_owned());
    rules.arm(Rule { txn: other, ..rule(ApiKey::InitProducerId, Fate::Busy) });
    let mut client = Client::of(&proxy).await;
    assert_eq!(client.init(1).await, Some(1));
    assert!(rules.disarm(7), "it met nothing");
    let this = Some("t".to_owned());
    rules.arm(Rule { txn: this, ..rule(ApiKey::InitProducerId, Fate::Busy) });
    assert_eq!(client.init(2).await, Some(-14));
    assert!(!rules.disarm(7), "it met a request");
}

#[tokio::test]
async fn requests_may_start_with_long_names() {
    let (broker, rules) = (Broker::start().await, Arc::new(Rules::default()));
    let proxy = broker.behind(&rules).await;
    let long = StrBytes::from_string("n".repeat(32_000));
    let asked = InitProducerIdRequest::default();
    let asked = asked.with_transactional_id(Some(TransactionalId(long.clone())));
    let txn = Some(long.to_string());
    rules.arm(Rule { txn, ..rule(ApiKey::InitProducerId, Fate::Delivered) });
    let mut client = Client::of(&proxy).await;
    let frame = request_of(1, 4, long, &asked);
    for piece in frame.chunks(9000) {
        client.send(piece).await;
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    assert_eq!(client.next().await.map(|(correlation, _)| correlation), Some(1));
    assert_eq!(settled(&rules).await[0].start.client.len(), 32_000);
}

#[tokio::test]
async fn cut_means_these_connections_and_no_others() {
    let (broker, rules) = (Broker::start().await, Arc::new(Rules::default()));
    let proxy = broker.behind(&rules).await;
    let mut one = Client::of(&proxy).await;
    assert_eq!(one.init(1).await, Some(1));
    let named = proxy.connections();
    let mut other = Client::of(&proxy).await;
    assert_eq!(other.init(2).await, Some(2));
    assert!(proxy.cut(named[0]));
    assert!(!proxy.cut(named[0]));
    assert!(one.is_cut().await);
    assert_eq!(other.init(3).await, Some(3));
    proxy.cut_all();
    assert!(other.is_cut().await);
    assert_eq!(Client::of(&proxy).await.init(4).await, Some(4));
}

#[tokio::test]
async fn a_stalled_client_hears_nothing_and_sends_nothing() {
    let (broker, rules) = (Broker::start().await, Arc::new(Rules::default()));
    let proxy = broker.behind(&rules).await;
    let mut client = Client::of(&proxy).await;
    assert_eq!(client.init(1).await, Some(1));
    proxy.stall();
    client.send(&init(2)).await;
    assert!(timeout(Duration::from_millis(100), client.next()).await.is_err());
    assert_eq!(broker.correlations(), [1]);
    proxy.resume();
    assert_eq!(client.next().await.map(|(correlation, _)| correlation), Some(2));
}

#[tokio::test]
async fn answers_keep_the_order_of_requests() {
    // Answers come in any number of pieces, and slowly.
    let broker = Broker::that(|frame| async move {
        tokio::time::sleep(Duration::from_millis(1)).await;
        let answer = super::broker::answer(&frame);
        answer.into_iter().flat_map(|bytes| [bytes.slice(..3), bytes.slice(3..)]).collect()
    })
    .await;
    let rules = Arc::new(Rules::default());
    let proxy = broker.behind(&rules).await;
    rules.arm(rule(ApiKey::Heartbeat, Fate::Busy));
    let mut client = Client::of(&proxy).await;
    let heartbeat = kafka_protocol::messages::HeartbeatRequest::default();
    let mut sent: Vec<Bytes> = (0..50).map(init).collect();
    sent.push(super::broker::request(50, 4, &heartbeat));
    sent.extend((51..100).map(|correlation| produce(correlation, 9, 1, 10)));
    client.send(&sent.concat()).await;
    for due in 0..100 {
        assert_eq!(client.next().await.map(|(correlation, _)| correlation), Some(due));
    }
}

#[tokio::test]
async fn dropping_it_closes_everything() {
    let (broker, rules) = (Broker::start().await, Arc::new(Rules::default()));
    let proxy = broker.behind(&rules).await;
    let (address, mut client) = (proxy.address(), Client::of(&proxy).await);
    assert_eq!(client.init(1).await, Some(1));
    rules.arm(rule(ApiKey::InitProducerId, Fate::Held { rounds: 1 }));
    let owners = Arc::strong_count(&rules);
    drop(proxy);
    assert!(client.is_cut().await);
    let refused = async { while tokio::net::TcpStream::connect(address).await.is_ok() {} };
    timeout(SOON, refused).await.expect("nobody listens any more");
    until("no task keeps it", || Arc::strong_count(&rules) == 1).await;
    assert!(owners > 1);
}

/// Every API that has a passing error says it, in every version that the crate writes, in a form that the crate reads; and
/// what was said is found in it again.
#[tokio::test]
async fn busy_is_said_by_every_api_in_every_version() {
    let (broker, rules) = (Broker::start().await, Arc::new(Rules::default()));
    let proxy = broker.behind(&rules).await;
    let mut client = Client::of(&proxy).await;
    let mut asked = 0;
    for api in busy_apis() {
        let key = ApiKey::try_from(api).expect("it has a name");
        let versions = match key {
            // Version 1 has no place for the error; of these three the crate writes less than it says.
            ApiKey::OffsetFetch | ApiKey::OffsetCommit => 2..=9,
            ApiKey::InitProducerId => 0..=5,
            _ => key.valid_versions().min..=key.valid_versions().max,
        };
        for version in versions {
            rules.arm(rule(key, Fate::Busy));
            client.send(&plain(key, version)).await;
            let (correlation, _) = client.next().await.expect("it is answered");
            assert_eq!(correlation, 3, "{key:?} {version}");
            let told = settled(&rules).await;
            let mut body = told[0].answer.clone().expect("it was answered");
            let said = busy_code(api).expect("it is in the table");
            let read = decoded(key, version, &mut body);
            assert!(body.is_empty(), "{key:?} {version}");
            assert!(read.contains(&format!("error_code: {}", said.0)), "{key:?} {version}: {read}");
            if key != ApiKey::OffsetFetch {
                assert_eq!(told[0].codes(), Some(vec![said]), "{key:?} {version}");
            }
            asked += 1;
        }
    }
    assert!(asked > 60, "only {asked}");
    assert_eq!(broker.correlations(), [0; 0]);
}
