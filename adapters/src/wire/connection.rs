//! One TCP connection: a frame out, a frame in, within a deadline. Whatever comes back is bounded, checked, and never
//! trusted.

use std::io::ErrorKind;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use kafka_protocol::messages::{ApiKey, RequestHeader};
use kafka_protocol::protocol::{Encodable, HeaderVersion, Request, StrBytes};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::answers::Exchange;
use super::fields::Fields;
use crate::TargetError;

/// No answer that this suite asks for is longer.
const FRAME_MAX: usize = 64 << 20;
/// Room is made for what has come, and a little ahead; never for what a length claims.
const READ_AHEAD: usize = 64 << 10;
/// Where the length ends.
const LENGTH: usize = 4;

/// A connection to one broker.
#[derive(Debug)]
pub(super) struct Connection {
    stream: TcpStream,
    address: Arc<str>,
    deadline: Duration,
    correlation: i32,
    /// Made once and written into again and again.
    outbox: BytesMut,
    inbox: BytesMut,
    /// A request was sent whose answer has not come.
    waiting: bool,
    /// Something was sent that gets no answer, and nothing since that got one. The broker may still be at it, and may
    /// close the connection over it.
    posted: bool,
}

impl Connection {
    pub(super) async fn open(
        address: &Arc<str>,
        deadline: Duration,
    ) -> Result<Connection, TargetError> {
        let error = |reason: String| TargetError {
            address: address.to_string(),
            request: "connecting".to_owned(),
            reason,
        };
        let stream = match timeout(deadline, TcpStream::connect(&**address)).await {
            Err(_) => {
                return Err(error(format!(
                    "no answer within {deadline:?}; can it be reached from here?"
                )));
            }
            Ok(Err(cause)) if cause.kind() == ErrorKind::ConnectionRefused => {
                return Err(error(
                    "the connection was refused; is the broker running there?".to_owned(),
                ));
            }
            Ok(Err(cause)) => return Err(error(format!("{cause}; is it the right address?"))),
            Ok(Ok(stream)) => stream,
        };
        stream.set_nodelay(true).map_err(|cause| error(cause.to_string()))?;
        Ok(Connection {
            stream,
            address: address.clone(),
            deadline,
            correlation: 0,
            outbox: BytesMut::new(),
            inbox: BytesMut::new(),
            waiting: false,
            posted: false,
        })
    }

    pub(super) fn address(&self) -> &Arc<str> {
        &self.address
    }

    /// Whether the broker may still be at something that it will not answer.
    pub(super) fn is_posted(&self) -> bool {
        self.posted
    }

    /// Whether a request was sent whose answer may yet come, though nobody waits for it any more.
    pub(super) fn is_waiting(&self) -> bool {
        self.waiting
    }

    /// How long the broker may take for one answer from now on.
    pub(super) fn set_deadline(&mut self, deadline: Duration) {
        self.deadline = deadline;
    }

    /// Waits for the answer to a request that was given up. Then it is known to have been carried out, or never will be.
    pub(super) async fn outlive(&mut self) {
        let _ = timeout(self.deadline, self.read()).await;
    }

    /// Whether the other side has neither closed it nor said anything unasked.
    pub(super) fn is_usable(&self) -> bool {
        let waits = |error: std::io::Error| error.kind() == ErrorKind::WouldBlock;
        self.inbox.is_empty() && self.stream.try_read(&mut [0]).is_err_and(waits)
    }

    /// Sends a request and returns its answer. After an error the connection is of no further use.
    pub(super) async fn exchange<R: Exchange>(
        &mut self,
        version: i16,
        request: &R,
    ) -> Result<R::Answer, TargetError> {
        let deadline = self.deadline;
        let answer = timeout(deadline, async {
            self.write(version, request).await?;
            self.waiting = true;
            let frame = self.read().await;
            self.waiting = false;
            self.answer::<R>(frame?, version)
        });
        let reason = match answer.await {
            Ok(Ok(response)) => {
                self.posted = false;
                return Ok(response);
            }
            Ok(Err(reason)) => reason,
            Err(_) => format!(
                "no answer within {deadline:?}; is it a Kafka listener, and is the broker alive?"
            ),
        };
        Err(self.error(name::<R>(), reason))
    }

    /// Sends a request that gets no answer (produce with `acks=0`).
    pub(super) async fn post<R: Exchange>(
        &mut self,
        version: i16,
        request: &R,
    ) -> Result<(), TargetError> {
        let deadline = self.deadline;
        self.posted = true;
        match timeout(deadline, self.write(version, request)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(reason)) => Err(self.error(name::<R>(), reason)),
            Err(_) => Err(self.error(name::<R>(), format!("not taken within {deadline:?}"))),
        }
    }

    async fn write<R: Exchange>(&mut self, version: i16, request: &R) -> Result<(), String> {
        self.correlation = self.correlation.wrapping_add(1);
        let header = RequestHeader::default()
            .with_request_api_key(R::KEY)
            .with_request_api_version(version)
            .with_correlation_id(self.correlation)
            .with_client_id(Some(StrBytes::from_static_str("onceness")));
        let frame = &mut self.outbox;
        frame.clear();
        frame.put_i32(0);
        let unwritable = |cause| format!("cannot be written in version {version}: {cause:#}");
        header.encode(frame, R::header_version(version)).map_err(unwritable)?;
        request.encode(frame, version).map_err(unwritable)?;
        let length = (frame.len() - LENGTH) as u32;
        frame[..LENGTH].copy_from_slice(&length.to_be_bytes());
        self.stream.write_all(frame).await.map_err(broke)
    }

    /// One frame, without its length. Mostly one read brings all of it.
    async fn read(&mut self) -> Result<Bytes, String> {
        while self.inbox.len() < LENGTH {
            self.receive(LENGTH).await?;
        }
        let start = [self.inbox[0], self.inbox[1], self.inbox[2], self.inbox[3]];
        let length = frame_length(start)?;
        while self.inbox.len() < LENGTH + length {
            self.receive(LENGTH + length).await?;
        }
        self.inbox.advance(LENGTH);
        Ok(self.inbox.split_to(length).freeze())
    }

    /// Takes in more bytes, on the way to so many.
    async fn receive(&mut self, wanted: usize) -> Result<(), String> {
        let have = self.inbox.len();
        self.inbox.reserve((wanted - have).clamp(1 << 10, READ_AHEAD));
        match self.stream.read_buf(&mut self.inbox).await {
            Err(cause) => Err(broke(cause)),
            Ok(0) if have == 0 => {
                Err("closed the connection without an answer; does it speak Kafka's protocol, \
                 in the clear (no TLS) and without authentication (no SASL)?"
                    .to_owned())
            }
            Ok(0) => {
                Err(format!("closed the connection after {have} of {wanted} bytes of its answer"))
            }
            Ok(_) => Ok(()),
        }
    }

    fn answer<R: Exchange>(&self, mut frame: Bytes, version: i16) -> Result<R::Answer, String> {
        // `frame_length` saw to it that there are as many bytes.
        let found = frame.get_i32();
        if found != self.correlation {
            return Err(format!("answers request {found} where {} was asked", self.correlation));
        }
        let flexible = R::Response::header_version(version) >= 1;
        let garbled = |cause| format!("its answer in version {version} cannot be read: it {cause}");
        // ApiVersions is always answered with the oldest header (KIP-511).
        let is_api_versions = R::KEY == ApiKey::ApiVersions as i16;
        let mut fields = Fields::new(frame, flexible || (is_api_versions && version >= 3));
        if flexible && !is_api_versions {
            fields.pass_tags().map_err(garbled)?;
        }
        let answer = R::read(&mut fields, version).map_err(garbled)?;
        fields.end().map_err(garbled)?;
        Ok(answer)
    }

    fn error(&self, request: String, reason: String) -> TargetError {
        TargetError { address: self.address.to_string(), request, reason }
    }
}

/// What Kafka calls a request.
pub(super) fn name<R: Request>() -> String {
    ApiKey::try_from(R::KEY).map_or_else(|()| format!("API {}", R::KEY), |key| format!("{key:?}"))
}

fn frame_length(start: [u8; LENGTH]) -> Result<usize, String> {
    if &start == b"HTTP" {
        return Err("answers in HTTP, not in Kafka's protocol; is it the right port?".to_owned());
    }
    // A TLS alert, which is how servers refuse what is not TLS.
    if start[..2] == [0x15, 0x03] {
        return Err("answers in TLS; this suite speaks to listeners in the clear only".to_owned());
    }
    let length = i32::from_be_bytes(start);
    match usize::try_from(length) {
        Ok(length) if (4..=FRAME_MAX).contains(&length) => Ok(length),
        _ => Err(format!(
            "announces an answer of {length} bytes, so it does not speak Kafka's protocol; is it the right port?"
        )),
    }
}

fn broke(cause: std::io::Error) -> String {
    format!("the connection broke: {cause}")
}
