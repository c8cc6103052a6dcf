//! A broker that is Kafka but broken: a proxy that forwards every frame and edits some answers.

use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use bytes::{Bytes, BytesMut};
use kafka_protocol::messages::{
    ApiKey, ApiVersionsResponse, FetchResponse, FindCoordinatorResponse, MetadataResponse,
    ResponseHeader,
};
use kafka_protocol::protocol::{Decodable, Encodable, StrBytes};

/// What an answer is the answer to: API key and version, by correlation id.
type Asked = Arc<Mutex<HashMap<i32, (i16, i16)>>>;

/// What is wrong with the broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lie {
    /// Fetch answers list no aborted transactions: a consumer at read_committed shows what it would of a broker without that.
    HidesAborted,
    /// It does not know of producer ids, hence of no transactions either.
    KnowsNoProducerIds,
}

/// Starts the proxy and tells its address. It ends with the process.
pub(crate) fn start(upstream: SocketAddr, lie: Lie) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("a bound listener has an address");
    thread::spawn(move || {
        for client in listener.incoming().flatten() {
            let Ok(broker) = TcpStream::connect(upstream) else { return };
            join(client, broker, address, lie);
        }
    });
    address
}

fn join(client: TcpStream, broker: TcpStream, address: SocketAddr, lie: Lie) {
    for stream in [&client, &broker] {
        stream.set_nodelay(true).expect("a TCP socket takes TCP_NODELAY");
    }
    let asked = Asked::default();
    let requests = (client.try_clone().expect("clone"), broker.try_clone().expect("clone"));
    let noted = asked.clone();
    thread::spawn(move || pump(requests, |frame| note(frame, &noted)));
    thread::spawn(move || pump((broker, client), |frame| edited(frame, &asked, address, lie)));
}

/// Passes frames on until either side is gone, then closes both.
fn pump((mut from, mut to): (TcpStream, TcpStream), mut change: impl FnMut(Vec<u8>) -> Vec<u8>) {
    while let Ok(frame) = read_frame(&mut from) {
        let frame = change(frame);
        let mut bytes = (frame.len() as u32).to_be_bytes().to_vec();
        bytes.extend(frame);
        if to.write_all(&bytes).is_err() {
            break;
        }
    }
    let _ = from.shutdown(std::net::Shutdown::Both);
    let _ = to.shutdown(std::net::Shutdown::Both);
}

fn read_frame(from: &mut TcpStream) -> io::Result<Vec<u8>> {
    let mut length = [0; 4];
    from.read_exact(&mut length)?;
    let mut frame = vec![0; u32::from_be_bytes(length) as usize];
    from.read_exact(&mut frame)?;
    Ok(frame)
}

/// Every request begins with its API key, version and correlation id.
fn note(frame: Vec<u8>, asked: &Asked) -> Vec<u8> {
    let short = |at: usize| i16::from_be_bytes([frame[at], frame[at + 1]]);
    let correlation = i32::from_be_bytes([frame[4], frame[5], frame[6], frame[7]]);
    asked.lock().expect("no panic while locked").insert(correlation, (short(0), short(2)));
    frame
}

fn edited(frame: Vec<u8>, asked: &Asked, address: SocketAddr, lie: Lie) -> Vec<u8> {
    let correlation = i32::from_be_bytes([frame[0], frame[1], frame[2], frame[3]]);
    let question = asked.lock().expect("no panic while locked").remove(&correlation);
    let Some((key, version)) = question else {
        return frame;
    };
    let host = StrBytes::from_string(address.ip().to_string());
    let port = i32::from(address.port());
    match ApiKey::try_from(key) {
        Ok(ApiKey::ApiVersions) if lie == Lie::KnowsNoProducerIds => {
            edit::<ApiVersionsResponse>(frame, ApiKey::ApiVersions, version, |answer| {
                answer.api_keys.retain(|known| known.api_key != ApiKey::InitProducerId as i16);
            })
        }
        Ok(ApiKey::Fetch) if lie == Lie::HidesAborted => {
            edit::<FetchResponse>(frame, ApiKey::Fetch, version, |answer| {
                for partition in answer.responses.iter_mut().flat_map(|topic| &mut topic.partitions)
                {
                    partition.aborted_transactions = Some(Vec::new());
                }
            })
        }
        // Clients must come back through the proxy.
        Ok(ApiKey::Metadata) => {
            edit::<MetadataResponse>(frame, ApiKey::Metadata, version, |answer| {
                for broker in &mut answer.brokers {
                    (broker.host, broker.port) = (host.clone(), port);
                }
            })
        }
        Ok(ApiKey::FindCoordinator) => {
            edit::<FindCoordinatorResponse>(frame, ApiKey::FindCoordinator, version, |answer| {
                // Since version 4 the answer is a list, and the fields of older versions must stay empty.
                if answer.coordinators.is_empty() {
                    (answer.host, answer.port) = (host.clone(), port);
                }
                for coordinator in &mut answer.coordinators {
                    (coordinator.host, coordinator.port) = (host.clone(), port);
                }
            })
        }
        _ => frame,
    }
}

fn edit<T: Decodable + Encodable>(
    frame: Vec<u8>,
    key: ApiKey,
    version: i16,
    change: impl FnOnce(&mut T),
) -> Vec<u8> {
    let header_version = key.response_header_version(version);
    let mut bytes = Bytes::from(frame);
    let header = ResponseHeader::decode(&mut bytes, header_version).expect("Kafka's own header");
    let mut answer = T::decode(&mut bytes, version).expect("Kafka's own answer");
    change(&mut answer);
    let mut edited = BytesMut::new();
    header.encode(&mut edited, header_version).expect("what was decoded encodes");
    answer.encode(&mut edited, version).expect("what was decoded encodes");
    edited.to_vec()
}
