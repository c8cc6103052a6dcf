//! One TCP connection: a frame out, a frame in, within a deadline. Whatever comes back is bounded, checked, and never
//! trusted.

use std::time::Duration;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use kafka_protocol::messages::{ApiKey, RequestHeader, ResponseHeader};
use kafka_protocol::protocol::{Decodable, Encodable, HeaderVersion, Request, StrBytes};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::TargetError;

/// No answer that this suite asks for is longer.
const FRAME_MAX: usize = 64 << 20;
/// Room is made for what has come, and a little ahead; never for what a length claims.
const READ_AHEAD: usize = 64 << 10;

/// A connection to one broker.
#[derive(Debug)]
pub(super) struct Connection {
    stream: TcpStream,
    address: String,
    correlation: i32,
    deadline: Duration,
}

impl Connection {
    pub(super) async fn open(address: &str, deadline: Duration) -> Result<Connection, TargetError> {
        let error = |reason: String| TargetError {
            address: address.to_owned(),
            request: "connecting".to_owned(),
            reason,
        };
        let stream = match timeout(deadline, TcpStream::connect(address)).await {
            Err(_) => return Err(error(format!("no answer within {deadline:?}; is the address reachable from here?"))),
            Ok(Err(cause)) => return Err(error(format!("{cause}; is the broker running there?"))),
            Ok(Ok(stream)) => stream,
        };
        stream.set_nodelay(true).map_err(|cause| error(cause.to_string()))?;
        Ok(Connection { stream, address: address.to_owned(), correlation: 0, deadline })
    }

    pub(super) fn address(&self) -> &str {
        &self.address
    }

    /// Sends a request and returns its answer.
    pub(super) async fn exchange<R: Request>(
        &mut self,
        version: i16,
        request: &R,
    ) -> Result<R::Response, TargetError> {
        let deadline = self.deadline;
        let key = api_key::<R>();
        let answer = timeout(deadline, async {
            self.write(key, version, request).await?;
            let frame = self.read().await?;
            self.answer::<R>(frame, key, version)
        });
        let reason = match answer.await {
            Ok(Ok(response)) => return Ok(response),
            Ok(Err(reason)) => reason,
            Err(_) => format!("no answer within {deadline:?}; is it a Kafka listener, and is the broker alive?"),
        };
        Err(self.error(key, reason))
    }

    /// Sends a request that gets no answer (produce with `acks=0`).
    pub(super) async fn post<R: Request>(&mut self, version: i16, request: &R) -> Result<(), TargetError> {
        let deadline = self.deadline;
        let key = api_key::<R>();
        match timeout(deadline, self.write(key, version, request)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(reason)) => Err(self.error(key, reason)),
            Err(_) => Err(self.error(key, format!("not taken within {deadline:?}"))),
        }
    }

    async fn write<R: Request>(&mut self, key: ApiKey, version: i16, request: &R) -> Result<(), String> {
        self.correlation = self.correlation.wrapping_add(1);
        let mut header = RequestHeader::default();
        header.request_api_key = R::KEY;
        header.request_api_version = version;
        header.correlation_id = self.correlation;
        header.client_id = Some(StrBytes::from_static_str("onceness"));
        let mut frame = BytesMut::new();
        frame.put_i32(0);
        let unwritable = |cause| format!("cannot be written in version {version}: {cause:#}");
        header.encode(&mut frame, key.request_header_version(version)).map_err(unwritable)?;
        request.encode(&mut frame, version).map_err(unwritable)?;
        let length = (frame.len() - 4) as u32;
        frame[..4].copy_from_slice(&length.to_be_bytes());
        self.stream.write_all(&frame).await.map_err(|cause| format!("the connection broke: {cause}"))
    }

    async fn read(&mut self) -> Result<Bytes, String> {
        let mut start = [0; 4];
        self.fill(&mut start).await?;
        if &start == b"HTTP" {
            return Err("answers in HTTP, not in Kafka's protocol; is it the right port?".to_owned());
        }
        let length = usize::try_from(i32::from_be_bytes(start)).unwrap_or(usize::MAX);
        if !(4..=FRAME_MAX).contains(&length) {
            return Err(format!(
                "announces an answer of {} bytes, so it does not speak Kafka's protocol; is it the right port?",
                u32::from_be_bytes(start)
            ));
        }
        let mut frame = BytesMut::with_capacity(length.min(READ_AHEAD));
        while frame.len() < length {
            frame.reserve((length - frame.len()).min(READ_AHEAD));
            let mut rest = (&mut self.stream).take((length - frame.len()) as u64);
            let count = rest.read_buf(&mut frame).await.map_err(|cause| format!("the connection broke: {cause}"))?;
            if count == 0 {
                return Err(format!("closed the connection after {} of {length} bytes of its answer", frame.len()));
            }
        }
        Ok(frame.freeze())
    }

    async fn fill(&mut self, start: &mut [u8]) -> Result<(), String> {
        let closed = "closed the connection without an answer; does it speak Kafka's protocol, in the clear?";
        match self.stream.read_exact(start).await {
            Ok(_) => Ok(()),
            Err(cause) if cause.kind() == std::io::ErrorKind::UnexpectedEof => Err(closed.to_owned()),
            Err(cause) => Err(format!("the connection broke: {cause}")),
        }
    }

    fn answer<R: Request>(&self, mut frame: Bytes, key: ApiKey, version: i16) -> Result<R::Response, String> {
        let found = i32::from_be_bytes([frame[0], frame[1], frame[2], frame[3]]);
        if found != self.correlation {
            return Err(format!("answers request {found} where {} was asked", self.correlation));
        }
        // ApiVersions is always answered with the oldest header (KIP-511).
        let header_version = match key {
            ApiKey::ApiVersions => 0,
            _ => R::Response::header_version(version),
        };
        let garbled = |cause| format!("its answer cannot be read as version {version}: {cause:#}");
        ResponseHeader::decode(&mut frame, header_version).map_err(garbled)?;
        let response = R::Response::decode(&mut frame, version).map_err(garbled)?;
        match frame.remaining() {
            0 => Ok(response),
            extra => Err(format!("its answer has {extra} bytes too many for version {version}")),
        }
    }

    fn error(&self, key: ApiKey, reason: String) -> TargetError {
        TargetError { address: self.address.clone(), request: format!("{key:?}"), reason }
    }
}

/// Every request type of the crate has a key that the crate knows.
fn api_key<R: Request>() -> ApiKey {
    ApiKey::try_from(R::KEY).unwrap_or(ApiKey::ApiVersions)
}
