//! How a request starts: its header, and the first fields of the few bodies that the proxy has to know.

use bytes::Bytes;
use kafka_protocol::messages::ApiKey;

use super::Fault;
use super::frames::{Frame, LENGTH};
use crate::wire::fields::{Fields, Malformed};

/// A request starts within so many bytes: two strings of 32 KiB at most, and small numbers.
const START_MAX: usize = 128 << 10;

/// How a request starts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Start {
    /// Which API (`ApiKey` of the `kafka-protocol` crate).
    pub api: i16,
    /// In which version.
    pub version: i16,
    /// The number that its answer will bear.
    pub correlation: i32,
    /// What the client calls itself (`client.id`).
    pub client: String,
    /// The transactional id that it names, where it names one.
    pub txn: Option<String>,
    /// Whether it is answered: all but a produce with `acks=0`.
    pub answered: bool,
    /// Where its body begins, in a frame without its length.
    pub(super) body: usize,
}

impl Start {
    /// Reads it; the frame stays as it is.
    pub(super) async fn of(frame: &mut Frame<'_>) -> Result<Start, Fault> {
        // Mostly what is here is enough.
        let mut most = 256;
        loop {
            let here = frame.here(most);
            let fault = match parse(here) {
                Ok(start) => return Ok(start),
                Err(fault) => fault,
            };
            let have = here.len();
            if have + LENGTH == frame.len() || have == START_MAX {
                return Err(Fault(format!("a request cannot be read: it {fault}")));
            }
            if have == most {
                most = START_MAX.min(most * 8);
            }
            let wanted = frame.here(most).len().max(have + 1);
            frame.peek(wanted).await?;
        }
    }
}

fn parse(bytes: &[u8]) -> Result<Start, Malformed> {
    let mut fields = Fields::new(Bytes::copy_from_slice(bytes), false);
    let (api, version, correlation) = (fields.i16()?, fields.i16()?, fields.i32()?);
    // Of this one string the length is always two bytes.
    let client = fields.text()?;
    let flexible = ApiKey::try_from(api).is_ok_and(|key| key.request_header_version(version) >= 2);
    let mut fields = fields.encoded(flexible);
    fields.pass_tags()?;
    let body = bytes.len() - fields.left();
    let (txn, answered) = first_fields(api, version, &mut fields)?;
    let txn = txn.filter(|txn| !txn.is_empty());
    Ok(Start { api, version, correlation, client, txn, answered, body })
}

fn first_fields(
    api: i16,
    version: i16,
    fields: &mut Fields,
) -> Result<(Option<String>, bool), Malformed> {
    const TXN: i8 = 1;
    let Ok(key) = ApiKey::try_from(api) else { return Ok((None, true)) };
    let txn = match key {
        ApiKey::Produce => {
            let txn = if version >= 3 { Some(fields.text()?) } else { None };
            return Ok((txn, fields.i16()? != 0));
        }
        ApiKey::InitProducerId
        | ApiKey::AddOffsetsToTxn
        | ApiKey::EndTxn
        | ApiKey::TxnOffsetCommit => fields.text()?,
        ApiKey::AddPartitionsToTxn if version <= 3 => fields.text()?,
        ApiKey::AddPartitionsToTxn => first_of(fields)?,
        ApiKey::FindCoordinator if (1..=3).contains(&version) => {
            let name = fields.text()?;
            if fields.i8()? == TXN { name } else { String::new() }
        }
        ApiKey::FindCoordinator if version >= 4 && fields.i8()? == TXN => first_of(fields)?,
        _ => String::new(),
    };
    Ok((Some(txn), true))
}

/// The first text of an array, or of the first structure in it.
fn first_of(fields: &mut Fields) -> Result<String, Malformed> {
    match fields.count()? {
        0 => Ok(String::new()),
        _ => fields.text(),
    }
}
