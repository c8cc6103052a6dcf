//! A request as it came, and what is to be done about it.

use std::net::SocketAddr;

use bytes::{BufMut, Bytes, BytesMut};
use kafka_protocol::messages::{ApiKey, ResponseHeader};
use kafka_protocol::protocol::{Encodable, HeaderVersion, StrBytes};
use onceness_reference::code::Code;

use crate::wire::fields::{Fields, Malformed};

/// Where a frame's length ends.
pub(super) const LENGTH: usize = 4;

/// A request.
pub(super) struct Call<'a> {
    pub(super) api: ApiKey,
    pub(super) version: i16,
    correlation: i32,
    /// What its client calls itself.
    pub(super) client: String,
    /// Its body.
    pub(super) fields: Fields,
    /// The address that the client came to.
    pub(super) address: SocketAddr,
    /// Milliseconds since 1970.
    pub(super) now: i64,
    /// The same when it came: one that waits is answered later.
    pub(super) came: i64,
    /// What is to be remembered of it while it waits.
    pub(super) memo: &'a mut Option<String>,
}

/// What is to be done about a request.
pub(super) enum Reply {
    /// This frame is the answer.
    Answer(Bytes),
    /// No answer is wanted.
    Nothing,
    /// The connection ends: it is what Kafka does with requests that it does not know.
    Close,
    /// It is to be asked again when something has changed, or at that time.
    Wait(i64),
}

pub(super) type Handled = Result<Reply, Malformed>;

/// When and where a request came.
#[derive(Clone, Copy)]
pub(super) struct Place {
    pub(super) address: SocketAddr,
    pub(super) now: i64,
    pub(super) came: i64,
}

impl<'a> Call<'a> {
    /// Reads the header of a frame without its length. None if it is of no API at all.
    pub(super) fn read(
        frame: Bytes,
        place: Place,
        memo: &'a mut Option<String>,
    ) -> Result<Option<Call<'a>>, Malformed> {
        let mut fields = Fields::new(frame, false);
        let (api, version, correlation) = (fields.i16()?, fields.i16()?, fields.i32()?);
        let Ok(api) = ApiKey::try_from(api) else { return Ok(None) };
        // Of this one string the length is always two bytes.
        let client = fields.text()?;
        let mut fields = fields.encoded(api.request_header_version(version) >= 2);
        // Of ApiVersions any version may come, so what follows its header may be anything.
        if api != ApiKey::ApiVersions {
            fields.pass_tags()?;
        }
        let Place { address, now, came } = place;
        Ok(Some(Call { api, version, correlation, client, fields, address, now, came, memo }))
    }

    pub(super) fn answer<R: Encodable + HeaderVersion>(&self, response: &R) -> Handled {
        self.answer_in(self.version, response)
    }

    /// An answer in another version than was asked for (ApiVersions alone).
    pub(super) fn answer_in<R: Encodable + HeaderVersion>(
        &self,
        version: i16,
        response: &R,
    ) -> Handled {
        let mut frame = BytesMut::new();
        frame.put_i32(0);
        let header = ResponseHeader::default().with_correlation_id(self.correlation);
        let unwritable = |cause| Malformed(format!("cannot be answered: {cause:#}"));
        header.encode(&mut frame, R::header_version(version)).map_err(unwritable)?;
        response.encode(&mut frame, version).map_err(unwritable)?;
        let length = (frame.len() - LENGTH) as u32;
        frame[..LENGTH].copy_from_slice(&length.to_be_bytes());
        Ok(Reply::Answer(frame.freeze()))
    }
}

pub(super) fn text(text: impl Into<String>) -> StrBytes {
    StrBytes::from_string(text.into())
}

/// The error code of an answer: 0 if there is none.
pub(super) fn code<T>(done: &Result<T, Code>) -> i16 {
    done.as_ref().err().map_or(0, |code| code.0)
}
