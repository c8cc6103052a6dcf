//! What a served broker does with clients that lie, hang or know other protocols: what Kafka does. Their connection is
//! answered or closed, and the server goes on.

use std::time::{Duration, Instant};

use onceness_reference::rules::Rules;

use crate::serving::{Served, Socket, frame, request};

const PRODUCE: i16 = 0;
const FETCH: i16 = 1;
const METADATA: i16 = 3;
const API_VERSIONS: i16 = 18;
const CREATE_TOPICS: i16 = 19;
const UNSUPPORTED_VERSION: [u8; 2] = [0, 35];

/// Whether it answers.
fn lives(served: &Served) -> bool {
    let answer = served.socket().ask(API_VERSIONS, 0, &[]);
    answer.is_some_and(|answer| answer.starts_with(&[0, 0]))
}

/// The connection of a client that says this is closed; no other is.
fn check_closed(served: &Served, bytes: &[u8]) {
    let mut other = served.socket();
    let mut socket = served.socket();
    socket.send(bytes);
    let _ = socket.0.shutdown(std::net::Shutdown::Write);
    assert_eq!(socket.frame(), None, "{bytes:?}");
    assert!(other.ask(API_VERSIONS, 0, &[]).is_some(), "{bytes:?}");
    assert!(lives(served), "{bytes:?}");
}

#[test]
fn what_is_no_request_ends_its_connection() {
    let served = Served::start(Rules::default());
    let most = i32::MAX.to_be_bytes();
    for bytes in [
        &b""[..],
        b"\0",
        b"\0\0\0\x20half of it",
        b"GET / HTTP/1.1\r\n\r\n",
        b"\xff\xff\xff\xff",
        b"\x7f\xff\xff\xff",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        &frame(b""),
        &frame(b"\0\x12\0\0"),
        &request(9_999, 0, &[]),
        &request(-1, 0, &[]),
        &request(PRODUCE, 2, &[]),
        &request(PRODUCE, 99, &[]),
        &request(PRODUCE, -1, &[]),
        &request(METADATA, 1, &most),
        &request(METADATA, 1, &[0, 0, 0, 1, 0x7f, 0xff, b'x']),
        &request(CREATE_TOPICS, 2, &most),
        // Neither a transactional id nor acks=0; a timeout, and so many topics.
        &request(PRODUCE, 3, &[&[0xff, 0xff, 0, 1, 0, 0, 0, 0], &most[..]].concat()),
        &request(FETCH, 4, b"\0\0\0\0"),
    ] {
        check_closed(&served, bytes);
    }
}

#[test]
fn an_unknown_version_of_api_versions_is_answered_with_the_known_ones() {
    let served = Served::start(Rules::default());
    let mut socket = served.socket();
    for version in [5, 99, i16::MAX, -1] {
        let answer = socket.ask(API_VERSIONS, version, b"whatever this is").expect("an answer");
        assert_eq!(answer[..2], UNSUPPORTED_VERSION);
        assert_eq!(answer[2..], [0, 0, 0, 1, 0, 18, 0, 0, 0, 4], "ApiVersions from 0 to 4");
    }
    assert!(socket.ask(API_VERSIONS, 0, &[]).is_some_and(|answer| answer[..2] == [0, 0]));
}

#[test]
fn half_a_frame_holds_up_nobody_else() {
    let served = Served::start(Rules::default());
    let mut half: Vec<Socket> = (0..50).map(|_| served.socket()).collect();
    for socket in &mut half {
        // Sixteen megabytes are announced, and do not come.
        socket.send(&(16i32 << 20).to_be_bytes());
        socket.send(&[0; 1_000]);
    }
    let started = Instant::now();
    assert!(lives(&served));
    assert!(started.elapsed() < Duration::from_secs(2));
}

#[test]
fn requests_that_come_at_once_are_answered_in_order() {
    let served = Served::start(Rules::default());
    let mut socket = served.socket();
    socket.send(&[request(API_VERSIONS, 0, &[]), request(API_VERSIONS, 77, &[])].concat());
    let codes = [socket.frame(), socket.frame()].map(|frame| frame.map(|frame| frame[5]));
    assert_eq!(codes, [Some(0), Some(35)]);
}

#[test]
fn random_bodies_of_every_request_never_end_the_server() {
    let served = Served::start(Rules::default());
    let mut dice = fastrand::Rng::with_seed(7);
    let mut socket = served.socket();
    socket.0.set_read_timeout(Some(Duration::from_millis(20))).expect("a socket");
    for _ in 0..3_000 {
        let (api, version) = (dice.i16(0..75), dice.i16(0..14));
        // Small numbers are more often lengths, counts and codes that lead somewhere.
        let small = dice.bool();
        let body: Vec<u8> = (0..dice.usize(0..120))
            .map(|_| if small { dice.u8(0..4) } else { dice.u8(..) })
            .collect();
        socket.send(&request(api, version, &body));
        if socket.frame().is_none() {
            socket = served.socket();
            socket.0.set_read_timeout(Some(Duration::from_millis(20))).expect("a socket");
        }
    }
    assert!(lives(&served));
}

#[test]
fn a_restart_cuts_all_connections_and_keeps_what_is_durable() {
    let served = Served::start(Rules::default());
    let mut socket = served.socket();
    // Asked for, the topic is made.
    let topic = [0, 0, 0, 1, 0, 1, b't'];
    assert!(socket.ask(METADATA, 1, &topic).is_some());
    served.server.restart();
    assert_eq!(socket.frame(), None);
    let all = served.socket().ask(METADATA, 1, &[0xff; 4]).expect("an answer");
    assert!(all.windows(3).any(|bytes| bytes == [0, 1, b't']), "{all:?}");
}

#[test]
fn a_server_that_is_dropped_closes_everything() {
    let served = Served::start(Rules::default());
    let mut socket = served.socket();
    assert!(socket.ask(API_VERSIONS, 0, &[]).is_some());
    assert_eq!(served.server.connections(), 1);
    let Served { server, runtime } = served;
    drop(server);
    assert_eq!(socket.frame(), None);
    drop(runtime);
}
