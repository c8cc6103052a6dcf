//! What is reached is not always a Kafka broker, and not always well. Each of these ends within its bound, in words that
//! say what was found and what to look at.

use std::future::Future;
use std::time::{Duration, Instant};

use expect_test::{Expect, expect};
use onceness_adapters::TargetError;
use onceness_adapters::wire::Kafka;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

const DEADLINE: Duration = Duration::from_millis(300);

/// Serves every connection like this, and tells where.
async fn server<S, F>(serve: S) -> String
where
    S: Fn(TcpStream) -> F + Send + 'static,
    F: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback has a free port");
    let address = listener.local_addr().expect("it is bound").to_string();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve(stream));
        }
    });
    address
}

/// Takes one request, and answers it with these bytes, the first four being the request's number.
async fn answer(stream: &mut TcpStream, body: &[u8]) {
    let mut frame = vec![0; stream.read_i32().await.unwrap_or(0) as usize];
    stream.read_exact(&mut frame).await.expect("a whole request");
    let number = &frame[4..8];
    let length = (number.len() + body.len()) as u32;
    let frame = [&length.to_be_bytes(), number, body].concat();
    stream.write_all(&frame).await.expect("the client waits for it");
}

async fn refused(address: String) -> TargetError {
    let start = Instant::now();
    let error = Kafka::connect_within(std::slice::from_ref(&address), DEADLINE)
        .await
        .expect_err("it is no Kafka broker");
    assert!(start.elapsed() < DEADLINE * 6, "took {:?}", start.elapsed());
    error
}

fn check(error: &TargetError, address: &str, expected: &Expect) {
    expected.assert_eq(&error.to_string().replace(address, "ADDRESS"));
}

async fn says<S, F>(serve: S, expected: &Expect)
where
    S: Fn(TcpStream) -> F + Send + 'static,
    F: Future<Output = ()> + Send + 'static,
{
    let address = server(serve).await;
    check(&refused(address.clone()).await, &address, expected);
}

#[tokio::test]
async fn nobody_there() {
    let closed = closed_port().await;
    check(
        &refused(closed.clone()).await,
        &closed,
        &expect!["connecting to ADDRESS: the connection was refused; is the broker running there?"],
    );
    let error = refused("nowhere.invalid:9092".to_owned()).await;
    assert!(error.to_string().starts_with("connecting to nowhere.invalid:9092: "), "{error}");
    assert!(error.reason.ends_with("; is it the right address?"), "{error}");
}

async fn closed_port() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback has a free port");
    listener.local_addr().expect("it is bound").to_string()
}

#[tokio::test]
async fn no_address_at_all() {
    let error = Kafka::connect(&[]).await.expect_err("there is nowhere to connect to");
    check(&error, "nowhere", &expect!["connecting to the cluster: no address was given"]);
}

#[tokio::test]
async fn a_web_server() {
    let serve = |mut stream: TcpStream| async move {
        stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await.expect("the client listens");
        tokio::time::sleep(DEADLINE).await;
    };
    says(serve, &expect!["ApiVersions to ADDRESS: answers in HTTP, not in Kafka's protocol; is it the right port?"]).await;
}

#[tokio::test]
async fn a_listener_in_tls() {
    let serve = |mut stream: TcpStream| async move {
        stream.write_all(&[0x15, 0x03, 0x03, 0, 2, 2, 50]).await.expect("the client listens");
        tokio::time::sleep(DEADLINE).await;
    };
    says(serve, &expect!["ApiVersions to ADDRESS: answers in TLS; this suite speaks to listeners in the clear only"]).await;
}

#[tokio::test]
async fn silence() {
    let serve = |stream: TcpStream| async move {
        tokio::time::sleep(DEADLINE * 10).await;
        drop(stream);
    };
    says(serve, &expect!["ApiVersions to ADDRESS: no answer within 300ms; is it a Kafka listener, and is the broker alive?"]).await;
}

#[tokio::test]
async fn the_door_closed_at_once() {
    let serve = |mut stream: TcpStream| async move {
        let mut request = [0; 1024];
        let _ = stream.read(&mut request).await;
    };
    says(serve, &expect!["ApiVersions to ADDRESS: closed the connection without an answer; does it speak Kafka's protocol, in the clear (no TLS) and without authentication (no SASL)?"]).await;
}

#[tokio::test]
async fn the_door_closed_in_the_middle() {
    let serve = |mut stream: TcpStream| async move {
        let mut request = [0; 1024];
        let _ = stream.read(&mut request).await;
        stream.write_all(&[0, 0, 1, 0, 0, 0, 0, 1, 9, 9]).await.expect("the client listens");
    };
    says(
        serve,
        &expect![
            "ApiVersions to ADDRESS: closed the connection after 10 of 260 bytes of its answer"
        ],
    )
    .await;
}

#[tokio::test]
async fn a_drip() {
    let serve = |mut stream: TcpStream| async move {
        let _ = stream.write_all(&[0, 0, 1, 0]).await;
        while stream.write_all(&[0]).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    says(serve, &expect!["ApiVersions to ADDRESS: no answer within 300ms; is it a Kafka listener, and is the broker alive?"]).await;
}

#[tokio::test]
async fn absurd_lengths() {
    for (length, expected) in [
        (
            i32::MAX,
            expect![
                "ApiVersions to ADDRESS: announces an answer of 2147483647 bytes, so it does not speak Kafka's protocol; is it the right port?"
            ],
        ),
        (
            -5,
            expect![
                "ApiVersions to ADDRESS: announces an answer of -5 bytes, so it does not speak Kafka's protocol; is it the right port?"
            ],
        ),
        (
            3,
            expect![
                "ApiVersions to ADDRESS: announces an answer of 3 bytes, so it does not speak Kafka's protocol; is it the right port?"
            ],
        ),
    ] {
        let serve = move |mut stream: TcpStream| async move {
            stream.write_all(&length.to_be_bytes()).await.expect("the client listens");
            tokio::time::sleep(DEADLINE).await;
        };
        says(serve, &expected).await;
    }
}

#[tokio::test]
async fn another_request_answered() {
    let serve = |mut stream: TcpStream| async move {
        stream.write_all(&[0, 0, 0, 8, 0, 0, 0, 99, 0, 0, 0, 0]).await.expect("the client listens");
        tokio::time::sleep(DEADLINE).await;
    };
    says(serve, &expect!["ApiVersions to ADDRESS: answers request 99 where 1 was asked"]).await;
}

#[tokio::test]
async fn arrays_longer_than_the_answer() {
    let serve = |mut stream: TcpStream| async move {
        answer(&mut stream, &[0, 0, 0xff, 0xff, 0xff, 0xff, 0x0f, 0, 0, 0, 0, 0]).await;
    };
    says(serve, &expect!["ApiVersions to ADDRESS: its answer in version 3 cannot be read: it has an array of 4294967294 entries in its last 5 bytes"]).await;
}

#[tokio::test]
async fn answers_too_short_and_too_long() {
    let short = |mut stream: TcpStream| async move { answer(&mut stream, &[0]).await };
    says(
        short,
        &expect![
            "ApiVersions to ADDRESS: its answer in version 3 cannot be read: it ends too early"
        ],
    )
    .await;
    let long = |mut stream: TcpStream| async move {
        answer(&mut stream, &[0, 0, 1, 0, 0, 0, 0, 0, 7]).await
    };
    says(long, &expect!["ApiVersions to ADDRESS: its answer in version 3 cannot be read: it has 1 bytes too many"]).await;
}

/// ApiVersions of a broker that offers Metadata version 4 and nothing else.
const ONLY_METADATA: &[u8] = &[0, 0, 2, 0, 3, 0, 4, 0, 4, 0, 0, 0, 0, 0, 0];

#[tokio::test]
async fn a_broker_too_old() {
    let serve = |mut stream: TcpStream| async move {
        answer(&mut stream, &[0, 0, 2, 0, 3, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0]).await;
        tokio::time::sleep(DEADLINE).await;
    };
    says(
        serve,
        &expect![
            "Metadata to ADDRESS: the brokers speak versions 0 to 1, this suite needs 4 to 12"
        ],
    )
    .await;
}

#[tokio::test]
async fn a_broker_that_is_nobody() {
    let serve = |mut stream: TcpStream| async move {
        answer(&mut stream, ONLY_METADATA).await;
        answer(&mut stream, &[[0; 4].as_slice(), &[0; 4], &[0xff; 2], &[0; 4], &[0; 4]].concat())
            .await;
        tokio::time::sleep(DEADLINE).await;
    };
    says(serve, &expect!["Metadata to ADDRESS: names no broker; is the cluster still starting?"])
        .await;
}

#[tokio::test]
async fn an_advertised_address_that_cannot_be_reached() {
    let closed = closed_port().await;
    let port: i32 = closed
        .rsplit(':')
        .next()
        .and_then(|port| port.parse().ok())
        .expect("an address ends in a port");
    let serve = move |mut stream: TcpStream| async move {
        answer(&mut stream, ONLY_METADATA).await;
        let broker =
            [&1i32.to_be_bytes(), [0, 9].as_slice(), b"127.0.0.1", &port.to_be_bytes(), &[0xff; 2]];
        let metadata =
            [&[0; 4], [0, 0, 0, 1].as_slice(), &broker.concat(), &[0xff; 2], &[0; 4], &[0; 4]];
        answer(&mut stream, &metadata.concat()).await;
        tokio::time::sleep(DEADLINE).await;
    };
    let address = server(serve).await;
    let error = refused(address.clone())
        .await
        .to_string()
        .replace(&closed, "ADVERTISED")
        .replace(&address, "ADDRESS");
    expect!["connecting to ADVERTISED: ADDRESS advertises broker 1 at ADVERTISED, which cannot be reached from here (the connection was refused; is the broker running there?); set advertised.listeners to an address that clients can reach"].assert_eq(&error);
}
