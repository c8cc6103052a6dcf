//! Ready means that the broker answers requests and lists itself, never that a port is open.
//!
//! Two requests are written by hand, byte by byte: this must not depend on the code it serves to test.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

const API_VERSIONS: i16 = 18;
const METADATA: i16 = 3;
const TIMEOUT: Duration = Duration::from_secs(1);

/// Whether the broker answers an ApiVersions request and reports exactly one broker, itself: before it is unfenced it
/// reports none.
pub(crate) fn is_ready(address: SocketAddr) -> bool {
    let versions = ask(address, API_VERSIONS, 0, &[]);
    // Version 1 with no topics: the reply opens with the list of brokers.
    let metadata = ask(address, METADATA, 1, &0_i32.to_be_bytes());
    versions.is_ok_and(|reply| !reply.is_empty())
        && metadata.is_ok_and(|reply| reply.starts_with(&1_i32.to_be_bytes()))
}

/// One request on a connection of its own; the reply comes without its size and correlation id.
fn ask(address: SocketAddr, api: i16, version: i16, body: &[u8]) -> io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect_timeout(&address, TIMEOUT)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.write_all(&frame(api, version, body))?;
    let mut size = [0; 4];
    stream.read_exact(&mut size)?;
    let mut reply = Vec::new();
    stream.take(u32::from_be_bytes(size).into()).read_to_end(&mut reply)?;
    Ok(reply.split_off(reply.len().min(4)))
}

fn frame(api: i16, version: i16, body: &[u8]) -> Vec<u8> {
    let size = 10 + body.len() as i32;
    let mut frame = Vec::new();
    frame.extend(size.to_be_bytes());
    frame.extend(api.to_be_bytes());
    frame.extend(version.to_be_bytes());
    frame.extend(1_i32.to_be_bytes()); // correlation id
    frame.extend((-1_i16).to_be_bytes()); // no client id
    frame.extend(body);
    frame
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_its_size_and_its_header() {
        let expected = [0, 0, 0, 10, 0, 18, 0, 0, 0, 0, 0, 1, 255, 255];
        assert_eq!(frame(API_VERSIONS, 0, &[]), expected);
    }

    #[test]
    fn an_open_port_is_not_enough() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        assert!(!is_ready(listener.local_addr().unwrap()));
    }
}
