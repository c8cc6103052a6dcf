//! Clients and brokers that lie, hang or die: their connection ends, the log says why, and the proxy goes on.

use std::sync::Arc;
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use expect_test::{Expect, expect};
use kafka_protocol::messages::{ApiKey, MetadataRequest};
use onceness_reference::plan::Fate;
use tokio::io::AsyncWriteExt;

use super::super::frames::READ_AHEAD;
use super::super::{Proxy, Rules};
use super::broker::{Broker, Client, init, produce, request, rule, settled, until};

/// What is said of a client that sends these bytes and goes no further.
async fn check_client(bytes: &[u8], said: Expect) {
    let (broker, rules) = (Broker::start().await, Arc::new(Rules::default()));
    let proxy = broker.behind(&rules).await;
    let mut client = Client::of(&proxy).await;
    client.send(bytes).await;
    let _ = client.stream.shutdown().await;
    assert!(client.is_cut().await);
    until("it is over", || proxy.connections().is_empty()).await;
    said.assert_eq(&rules.take_troubles().join("\n"));
    assert_eq!(Client::of(&proxy).await.init(1).await, Some(1), "the proxy goes on");
}

/// What is said of a broker that answers by these bytes; none: it closes.
async fn check_broker(bytes: &'static [u8], said: Expect) {
    let broker = Broker::that(move |_| async move { vec![Bytes::from_static(bytes)] }).await;
    let rules = Arc::new(Rules::default());
    let upstream = [broker.address.clone()];
    let patience = Duration::from_millis(100);
    let proxy = Proxy::listen_within(&upstream, "127.0.0.1:0", rules.clone(), patience)
        .await
        .expect("a free port");
    for _ in 0..2 {
        let mut client = Client::of(&proxy).await;
        client.send(&init(1)).await;
        // Some of it may have been passed on.
        while client.next().await.is_some() {}
        until("it is over", || proxy.connections().is_empty()).await;
        said.assert_eq(rules.take_troubles().join("\n").split_once(": ").expect("a trouble").1);
    }
}

#[tokio::test]
async fn clients_that_are_none() {
    check_client(b"", expect![""]).await;
    check_client(b"\0\0", expect!["connection 1: the client closes the connection amid a frame"])
        .await;
    check_client(
        b"GET / HTTP/1.1\r\n\r\n",
        expect!["connection 1: the client announces a frame of 1195725856 bytes"],
    )
    .await;
    check_client(
        b"\xff\xff\xff\xff",
        expect!["connection 1: the client announces a frame of -1 bytes"],
    )
    .await;
    check_client(
        b"\0\0\0\x03abc",
        expect!["connection 1: the client announces a frame of 3 bytes"],
    )
    .await;
    check_client(
        b"\0\0\0\x08\0\x16\0\x04\0\0\0\x01",
        expect!["connection 1: a request cannot be read: it ends too early"],
    )
    .await;
    let half = init(1);
    check_client(
        &half[..half.len() - 1],
        expect!["connection 1: the client closes the connection amid a frame"],
    )
    .await;
    let mut tomorrow = BytesMut::from(&request(1, 13, &MetadataRequest::default())[..]);
    tomorrow[7] = 99;
    check_client(&tomorrow, expect!["connection 1: Metadata in version 99 is not known"]).await;
}

#[tokio::test]
async fn brokers_that_are_none() {
    check_broker(b"", expect!["the broker closes the connection without an answer"]).await;
    check_broker(b"\0\0", expect!["the broker stops for 100ms amid a frame"]).await;
    check_broker(
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        expect!["the broker announces a frame of 1213486160 bytes"],
    )
    .await;
    check_broker(b"\0\0\0\x05\0\0\0\x07\0", expect!["the broker answers request 7, due is 1"])
        .await;
    check_broker(b"\0\0\0\x40\0\0\0\x01half", expect!["the broker stops for 100ms amid a frame"])
        .await;
    check_broker(b"\0\0\0\x04\0\0\0\x01\0\0\0\x04\0\0\0\x02", expect!["the broker speaks unasked"])
        .await;
}

#[tokio::test]
async fn a_cluster_that_is_not_there() {
    let nobody = Broker::start().await;
    let rules = Arc::new(Rules::default());
    // Port 1 is nobody's; the second address is tried.
    let upstream = ["127.0.0.1:1".to_owned(), nobody.address.clone()];
    let proxy = Proxy::listen(&upstream, "127.0.0.1:0", rules.clone()).await.expect("a free port");
    assert_eq!(Client::of(&proxy).await.init(1).await, Some(1));
    let proxy = Proxy::listen(&upstream[..1], "127.0.0.1:0", rules.clone()).await;
    let proxy = proxy.expect("a free port");
    assert!(Client::of(&proxy).await.is_cut().await);
    until("it is told", || {
        rules.take_troubles().iter().any(|words| words.contains("failed to reach 127.0.0.1:1: "))
    })
    .await;
    let taken = Proxy::listen(&upstream, &proxy.address().to_string(), rules).await;
    let refused = taken.expect_err("somebody listens there").to_string();
    assert!(refused.contains("is the address free"), "{refused}");
}

#[tokio::test]
async fn a_broker_that_dies_amid_a_fate_costs_no_exchange() {
    let broker = Broker::that(|_| async { vec![Bytes::new()] }).await;
    let rules = Arc::new(Rules::default());
    let proxy = broker.behind(&rules).await;
    for fate in [Fate::Delivered, Fate::ReplyLost] {
        rules.arm(rule(ApiKey::InitProducerId, fate));
        assert_eq!(Client::of(&proxy).await.init(1).await, None);
        let told = settled(&rules).await;
        assert_eq!((told.len(), told[0].fate, &told[0].answer), (1, fate, &None));
    }
    rules.arm(rule(ApiKey::InitProducerId, Fate::Repeated));
    assert_eq!(Client::of(&proxy).await.init(1).await, None);
    assert_eq!(settled(&rules).await.len(), 2);
    rules.arm(rule(ApiKey::InitProducerId, Fate::Held { rounds: 1 }));
    assert_eq!(Client::of(&proxy).await.init(1).await, None);
    let held = settled(&rules).await[0].held.expect("it is kept");
    let late = proxy.release(held).await.expect("it was kept");
    let trouble = late.trouble.expect("it is told");
    assert_eq!(trouble, "the broker closes the connection without an answer");
}

/// A frame of 100 MB to a broker that reads nothing for a while, and one to a client that does not: what is in between
/// stays where it is.
#[tokio::test]
async fn large_frames_pass_and_are_never_held() {
    const SIZE: usize = 100 << 20;
    let broker = Broker::that(|frame| async move {
        let mut large = BytesMut::new();
        large.put_u32(4 + SIZE as u32);
        large.put_slice(&frame[4..8]);
        let piece = Bytes::from(vec![1; 1 << 20]);
        let pieces = std::iter::repeat_n(piece, SIZE >> 20);
        std::iter::once(large.freeze()).chain(pieces).collect()
    })
    .await;
    let rules = Arc::new(Rules::default());
    let proxy = broker.behind(&rules).await;
    let mut client = Client::of(&proxy).await;
    let large = produce(1, 9, -1, SIZE);
    client.stream.write_all(&large).await.expect("it is taken");
    tokio::time::sleep(Duration::from_millis(200)).await;
    // Nothing is read yet, so the answer waits, most of it in the broker.
    let (correlation, body) = client.next().await.expect("a large answer");
    assert_eq!((correlation, body.len()), (1, SIZE));
    let most = proxy.largest_buffer();
    assert!(most <= 3 * READ_AHEAD, "{most} bytes in a buffer");
    // A fate that must keep the frame cannot befall it; one that needs not, can.
    rules.arm(rule(ApiKey::Produce, Fate::Repeated));
    client.stream.write_all(&large).await.expect("it is taken");
    assert!(client.next().await.is_some());
    let told = settled(&rules).await;
    assert_eq!((told.len(), told[0].fate, told[0].whole), (1, Fate::Delivered, false));
    rules.arm(rule(ApiKey::Produce, Fate::ReplyLost));
    client.stream.write_all(&large).await.expect("it is taken");
    assert!(client.is_cut().await);
    assert_eq!(settled(&rules).await[0].fate, Fate::ReplyLost);
}
