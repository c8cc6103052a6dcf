//! A broker that notes what it is asked and answers it, and a client that asks.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::*;
use kafka_protocol::protocol::{Decodable, Encodable, HeaderVersion, Request, StrBytes};
use onceness_reference::plan::Fate;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

use super::super::{Exchange, Proxy, Rule, Rules};

/// How long anything may take that is to happen.
pub(super) const SOON: Duration = Duration::from_secs(10);

/// A request as it arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Arrived {
    pub(super) connection: usize,
    pub(super) api: i16,
    pub(super) correlation: i32,
}

#[derive(Clone, Debug)]
pub(super) struct Broker {
    pub(super) address: String,
    arrived: Arc<Mutex<Vec<Arrived>>>,
}

impl Broker {
    /// One that answers as its API says, with defaults.
    pub(super) async fn start() -> Broker {
        Broker::that(|frame| async move { answer(&frame).into_iter().collect() }).await
    }

    /// One that answers each frame by so many bytes.
    pub(super) async fn that<F>(answers: impl Fn(Bytes) -> F + Clone + Send + 'static) -> Broker
    where
        F: Future<Output = Vec<Bytes>> + Send,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback has a free port");
        let address = listener.local_addr().expect("it is bound").to_string();
        let broker = Broker { address, arrived: Arc::default() };
        let arrived = broker.arrived.clone();
        tokio::spawn(async move {
            for connection in 0.. {
                let Ok((mut stream, _)) = listener.accept().await else { return };
                let (arrived, answers) = (arrived.clone(), answers.clone());
                tokio::spawn(async move {
                    while let Ok(frame) = read(&mut stream).await {
                        let mut start = &frame[..];
                        let (api, _, correlation) =
                            (start.get_i16(), start.get_i16(), start.get_i32());
                        let one = Arrived { connection, api, correlation };
                        arrived.lock().expect("nobody panics with it").push(one);
                        for bytes in answers(frame).await {
                            if bytes.is_empty() || stream.write_all(&bytes).await.is_err() {
                                return;
                            }
                        }
                    }
                });
            }
        });
        broker
    }

    pub(super) fn arrived(&self) -> Vec<Arrived> {
        self.arrived.lock().expect("nobody panics with it").clone()
    }

    /// The correlation ids of the requests that have arrived, but for the first ones.
    pub(super) fn correlations(&self) -> Vec<i32> {
        self.arrived().iter().map(|one| one.correlation).collect()
    }

    /// A proxy in front of it.
    pub(super) async fn behind(&self, rules: &Arc<Rules>) -> Proxy {
        let upstream = [self.address.clone()];
        Proxy::listen(&upstream, "127.0.0.1:0", rules.clone()).await.expect("a free port")
    }
}

/// A frame without its length.
async fn read(stream: &mut TcpStream) -> std::io::Result<Bytes> {
    let length = stream.read_i32().await?;
    let mut frame = vec![0; usize::try_from(length).expect("no negative length gets here")];
    stream.read_exact(&mut frame).await?;
    Ok(frame.into())
}

/// The answer that the API of a request has, with defaults. None to a produce with `acks=0`.
pub(super) fn answer(frame: &Bytes) -> Option<Bytes> {
    let mut body = frame.clone();
    let key = ApiKey::try_from(frame.slice(..2).get_i16()).expect("a known request");
    let version = frame.slice(2..4).get_i16();
    let header = RequestHeader::decode(&mut body, key.request_header_version(version));
    let correlation = header.expect("a header").correlation_id;
    macro_rules! answer {
        ($request:ty, $response:expr) => {{
            let _: $request = <$request>::decode(&mut body, version).expect("a request");
            Some(framed(correlation, version, &$response))
        }};
    }
    match key {
        ApiKey::Produce => {
            let asked = ProduceRequest::decode(&mut body, version).expect("a request");
            let answer = framed(correlation, version, &ProduceResponse::default());
            (asked.acks != 0).then_some(answer)
        }
        ApiKey::InitProducerId => answer!(
            InitProducerIdRequest,
            InitProducerIdResponse::default().with_producer_id(ProducerId(correlation.into()))
        ),
        ApiKey::Heartbeat => answer!(HeartbeatRequest, HeartbeatResponse::default()),
        ApiKey::EndTxn => answer!(EndTxnRequest, EndTxnResponse::default()),
        other => panic!("no test asks {other:?}"),
    }
}

/// An answer as it travels.
pub(super) fn framed<R: Encodable + HeaderVersion>(
    correlation: i32,
    version: i16,
    response: &R,
) -> Bytes {
    let mut frame = BytesMut::new();
    frame.put_i32(0);
    let header = ResponseHeader::default().with_correlation_id(correlation);
    header.encode(&mut frame, R::header_version(version)).expect("a header");
    response.encode(&mut frame, version).expect("an answer of that version");
    let length = (frame.len() - 4) as u32;
    frame[..4].copy_from_slice(&length.to_be_bytes());
    frame.freeze()
}

/// A request as it travels.
pub(super) fn request<R: Request>(correlation: i32, version: i16, request: &R) -> Bytes {
    request_of(correlation, version, StrBytes::from_static_str("tester"), request)
}

/// The same, of a client of that name.
pub(super) fn request_of<R: Request>(
    correlation: i32,
    version: i16,
    client: StrBytes,
    request: &R,
) -> Bytes {
    let mut frame = BytesMut::new();
    frame.put_i32(0);
    let header = RequestHeader::default()
        .with_request_api_key(R::KEY)
        .with_request_api_version(version)
        .with_correlation_id(correlation)
        .with_client_id(Some(client));
    header.encode(&mut frame, R::header_version(version)).expect("a header");
    request.encode(&mut frame, version).expect("a request of that version");
    let length = (frame.len() - 4) as u32;
    frame[..4].copy_from_slice(&length.to_be_bytes());
    frame.freeze()
}

/// A connection to a proxy.
pub(super) struct Client {
    pub(super) stream: TcpStream,
}

impl Client {
    pub(super) async fn of(proxy: &Proxy) -> Client {
        let stream = TcpStream::connect(proxy.address()).await.expect("the proxy listens");
        Client { stream }
    }

    pub(super) async fn send(&mut self, bytes: &[u8]) {
        // The proxy may have closed already.
        let _ = self.stream.write_all(bytes).await;
    }

    /// The next answer: its correlation id, and what follows. None if the connection ends.
    pub(super) async fn next(&mut self) -> Option<(i32, Bytes)> {
        let read = timeout(SOON, read(&mut self.stream)).await.expect("an answer or the end");
        let mut frame = read.ok()?;
        Some((frame.get_i32(), frame))
    }

    /// Asks for a producer id, and returns it. None if the connection ends.
    pub(super) async fn init(&mut self, correlation: i32) -> Option<i64> {
        self.send(&init(correlation)).await;
        let (found, mut body) = self.next().await?;
        assert_eq!(found, correlation, "the answer to this request");
        body.advance(1);
        let answer = InitProducerIdResponse::decode(&mut body, 4).expect("an answer");
        assert!(body.is_empty(), "nothing is left of it");
        Some(if answer.error_code == 0 {
            answer.producer_id.0
        } else {
            -i64::from(answer.error_code)
        })
    }

    /// Whether the connection has ended, or ends soon.
    pub(super) async fn is_cut(&mut self) -> bool {
        self.next().await.is_none()
    }
}

/// A request for a producer id, of the transactional id `t`.
pub(super) fn init(correlation: i32) -> Bytes {
    let txn = TransactionalId(StrBytes::from_static_str("t"));
    request(correlation, 4, &InitProducerIdRequest::default().with_transactional_id(Some(txn)))
}

/// A produce of so many bytes.
pub(super) fn produce(correlation: i32, version: i16, acks: i16, size: usize) -> Bytes {
    let partition = PartitionProduceData::default().with_index(3);
    let partition = partition.with_records(Some(vec![7; size].into()));
    let topic = match version {
        13.. => TopicProduceData::default().with_topic_id(uuid::Uuid::from_u128(5)),
        _ => TopicProduceData::default().with_name(TopicName(StrBytes::from_static_str("topic"))),
    };
    let topic = topic.with_partition_data(vec![partition]);
    let asked = ProduceRequest::default().with_acks(acks).with_topic_data(vec![topic]);
    request(correlation, version, &asked)
}

/// A rule for the next request of an API.
pub(super) fn rule(api: ApiKey, fate: Fate) -> Rule {
    Rule { api: api as i16, txn: None, fate, code: None, tag: 7 }
}

/// What came of the rules, once nothing is under way.
pub(super) async fn settled(rules: &Rules) -> Vec<Exchange> {
    timeout(SOON, rules.settled(7)).await.expect("fates are met soon");
    rules.take()
}

/// Waits until something holds.
pub(super) async fn until(what: &str, holds: impl Fn() -> bool) {
    let waiting = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    timeout(SOON, waiting).await.unwrap_or_else(|_| panic!("it never came: {what}"));
}
