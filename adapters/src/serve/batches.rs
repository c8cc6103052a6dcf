//! The bytes of record batches: checked when they come (`LogValidator`, `ProduceRequest.validateRecords`), kept as they are,
//! and written anew only where the model says that not all of a batch is left, or that some of it is damaged.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use onceness_reference::code::Code;
use onceness_reference::history::Record;
use onceness_reference::ids::Offset;
use onceness_reference::protocol::{Body, Ending, LogBatch, Session};

use crate::wire::batch::{
    COMPRESSION, CONTROL, CRC_END, HEADER, LENGTH_END, TRANSACTIONAL, head, put_varint, take,
    varint,
};

/// The largest batch, as brokers have it by default (`message.max.bytes`).
const BATCH_MAX: usize = 1_048_588;
/// What is inside a compressed batch is not looked at, so its number of records is only believed up to this.
const COMPRESSED_RECORDS_MAX: i32 = 1 << 16;
/// Where the fields of a header begin.
const MAGIC: usize = 16;
const ATTRIBUTES: usize = 21;
const LAST_DELTA: usize = 23;
const BASE_TIMESTAMP: usize = 27;
const MAX_TIMESTAMP: usize = 35;
const PRODUCER: usize = 43;
const EPOCH: usize = 51;
const SEQUENCE: usize = 53;
const COUNT: usize = 57;
/// The timestamp of what has none.
const NO_TIMESTAMP: i64 = -1;

/// A batch that may be appended.
#[derive(Debug)]
pub(super) struct Arrived {
    pub(super) session: Option<Session>,
    pub(super) first_sequence: i32,
    /// Of each record a number that stands for its key; none where it has no key, or one that cannot be seen.
    pub(super) keys: Vec<Option<u32>>,
}

/// What a batch says of itself, be it sound or not.
pub(super) struct Claim {
    pub(super) session: Option<Session>,
    pub(super) first_sequence: i32,
    pub(super) transactional: bool,
}

/// Checks that a client wants to append one batch, before anything of it is believed (`ProduceRequest.validateRecords`).
pub(super) fn claim(bytes: &Bytes) -> Result<Claim, Code> {
    if bytes.len() < HEADER {
        return Err(if bytes.is_empty() { Code::INVALID_RECORD } else { Code::CORRUPT_MESSAGE });
    }
    if bytes[MAGIC] != 2 {
        return Err(Code::UNSUPPORTED_FOR_MESSAGE_FORMAT);
    }
    let length = usize::try_from(i32::from_be_bytes(head(bytes, 8))).unwrap_or(usize::MAX);
    if length > bytes.len() - LENGTH_END {
        return Err(Code::CORRUPT_MESSAGE);
    }
    // One batch for each partition.
    if length < bytes.len() - LENGTH_END {
        return Err(Code::INVALID_RECORD);
    }
    let producer = i64::from_be_bytes(head(bytes, PRODUCER));
    let session = Session { producer, epoch: i16::from_be_bytes(head(bytes, EPOCH)) };
    let attributes = i16::from_be_bytes(head(bytes, ATTRIBUTES));
    Ok(Claim {
        session: (producer >= 0).then_some(session),
        first_sequence: i32::from_be_bytes(head(bytes, SEQUENCE)),
        transactional: attributes & TRANSACTIONAL != 0,
    })
}

/// Checks what a client wants to append.
pub(super) fn check(bytes: &Bytes) -> Result<Arrived, Code> {
    let claim = claim(bytes)?;
    if bytes.len() > BATCH_MAX {
        return Err(Code::MESSAGE_TOO_LARGE);
    }
    if u32::from_be_bytes(head(bytes, CRC_END - 4)) != crc32c::crc32c(&bytes[CRC_END..]) {
        return Err(Code::CORRUPT_MESSAGE);
    }
    let attributes = i16::from_be_bytes(head(bytes, ATTRIBUTES));
    let last_delta = i32::from_be_bytes(head(bytes, LAST_DELTA));
    let count = i32::from_be_bytes(head(bytes, COUNT));
    let based = i64::from_be_bytes(head(bytes, 0)) != 0;
    let counted = count > 0 && last_delta == count - 1;
    let sequenced =
        claim.session.is_none_or(|session| claim.first_sequence >= 0 && session.epoch >= 0);
    if based || !counted || !sequenced || attributes & CONTROL != 0 {
        return Err(Code::INVALID_RECORD);
    }
    Ok(Arrived {
        session: claim.session,
        first_sequence: if claim.session.is_some() { claim.first_sequence } else { -1 },
        keys: keys(bytes, attributes, count)?,
    })
}

fn keys(bytes: &Bytes, attributes: i16, count: i32) -> Result<Vec<Option<u32>>, Code> {
    if attributes & COMPRESSION != 0 {
        return match count <= COMPRESSED_RECORDS_MAX {
            true => Ok(vec![None; count as usize]),
            false => Err(Code::INVALID_RECORD),
        };
    }
    let found = records(bytes).ok_or(Code::INVALID_RECORD)?;
    let in_order = found.iter().zip(0..).all(|(record, delta)| record.offset_delta == delta);
    if found.len() != count as usize || !in_order {
        return Err(Code::INVALID_RECORD);
    }
    Ok(found.iter().map(|record| record.key.as_deref().map(crc32c::crc32c)).collect())
}

/// The batch at its place in the log. The checksum does not cover that.
pub(super) fn at(bytes: &Bytes, base: Offset) -> Bytes {
    let mut placed = BytesMut::from(&bytes[..]);
    placed[..8].copy_from_slice(&base.to_be_bytes());
    placed.freeze()
}

/// The first record of a batch with at least that timestamp: its timestamp and offset. Of a compressed batch, the first.
pub(super) fn since(bytes: &Bytes, timestamp: i64) -> Option<(i64, Offset)> {
    if i64::from_be_bytes(head(bytes, MAX_TIMESTAMP)) < timestamp {
        return None;
    }
    let base = Offset::from_be_bytes(head(bytes, 0));
    let first = i64::from_be_bytes(head(bytes, BASE_TIMESTAMP));
    if i16::from_be_bytes(head(bytes, ATTRIBUTES)) & COMPRESSION != 0 {
        return Some((first, base));
    }
    let found = records(bytes)?.into_iter().map(|record| {
        (first.saturating_add(record.timestamp_delta), base.saturating_add(record.offset_delta))
    });
    found.into_iter().find(|(at, _)| *at >= timestamp)
}

/// The largest timestamp of a batch.
pub(super) fn latest(bytes: &Bytes) -> i64 {
    i64::from_be_bytes(head(bytes, MAX_TIMESTAMP))
}

/// A batch as it is read, from the bytes that were appended.
pub(super) fn read(batch: &LogBatch, kept: Option<&Bytes>) -> Bytes {
    match (&batch.body, kept) {
        (Body::Marker(ending), _) => marker(batch, *ending),
        (Body::Records(_), None) => write(batch, NO_TIMESTAMP, &[]),
        (Body::Records(left), Some(bytes)) => {
            let count = i32::from_be_bytes(head(bytes, COUNT));
            let whole =
                left.len() == count as usize && left.iter().all(|(_, record)| record.is_some());
            match whole {
                true => bytes.clone(),
                false => partly(batch, left, bytes),
            }
        }
    }
}

/// What is left of a batch.
fn partly(batch: &LogBatch, left: &[(Offset, Option<Record>)], bytes: &Bytes) -> Bytes {
    if i16::from_be_bytes(head(bytes, ATTRIBUTES)) & COMPRESSION != 0 {
        // Nobody can damage one record of it without damaging them all.
        let mut damaged = BytesMut::from(&bytes[..]);
        if let Some(last) = damaged.last_mut() {
            *last ^= 0xff;
        }
        return damaged.freeze();
    }
    let found = records(bytes).unwrap_or_default();
    let of =
        |offset: Offset| found.iter().find(|record| record.offset_delta == offset - batch.base);
    let kept = left.iter().filter_map(|(offset, record)| {
        of(*offset).map(|raw| match record {
            Some(_) => raw.whole.clone(),
            None => raw.damaged(),
        })
    });
    write(batch, i64::from_be_bytes(head(bytes, BASE_TIMESTAMP)), &Vec::from_iter(kept))
}

/// The control batch that ends a transaction (`EndTransactionMarker`).
fn marker(batch: &LogBatch, ending: Ending) -> Bytes {
    let mut body = BytesMut::new();
    body.put_i8(0);
    put_varint(&mut body, 0);
    put_varint(&mut body, 0);
    put_varint(&mut body, 4);
    body.put_i16(0);
    body.put_i16(i16::from(ending == Ending::Commit));
    put_varint(&mut body, 6);
    body.put_i16(0);
    body.put_i32(0);
    put_varint(&mut body, 0);
    write(batch, NO_TIMESTAMP, &[with_length(&body)])
}

/// A batch of these records, each with its length.
fn write(batch: &LogBatch, timestamp: i64, records: &[Bytes]) -> Bytes {
    let mut bytes = BytesMut::with_capacity(HEADER + records.iter().map(Bytes::len).sum::<usize>());
    let session = batch.session.unwrap_or(Session { producer: -1, epoch: -1 });
    let transactional = if batch.transactional { TRANSACTIONAL } else { 0 };
    let control = if matches!(batch.body, Body::Marker(_)) { CONTROL } else { 0 };
    bytes.put_i64(batch.base);
    bytes.put_i32(0);
    bytes.put_i32(-1);
    bytes.put_i8(2);
    bytes.put_u32(0);
    bytes.put_i16(transactional | control);
    bytes.put_i32((batch.last - batch.base) as i32);
    bytes.put_i64(timestamp);
    bytes.put_i64(timestamp);
    bytes.put_i64(session.producer);
    bytes.put_i16(session.epoch);
    bytes.put_i32(batch.first_sequence);
    bytes.put_i32(records.len() as i32);
    records.iter().for_each(|record| bytes.put_slice(record));
    let length = (bytes.len() - LENGTH_END) as i32;
    bytes[8..LENGTH_END].copy_from_slice(&length.to_be_bytes());
    let sum = crc32c::crc32c(&bytes[CRC_END..]);
    bytes[CRC_END - 4..CRC_END].copy_from_slice(&sum.to_be_bytes());
    bytes.freeze()
}

/// One record, as it lies in its batch.
struct Raw {
    /// With its length.
    whole: Bytes,
    timestamp_delta: i64,
    offset_delta: i64,
    key: Option<Bytes>,
    /// What is before the value and its length, the value, and what is after it.
    before: Bytes,
    value: Bytes,
    after: Bytes,
}

impl Raw {
    /// The same with another value: no byte of it is as it was.
    fn damaged(&self) -> Bytes {
        let mut body = BytesMut::from(&self.before[..]);
        let value = if self.value.is_empty() { &b"damaged"[..] } else { &self.value[..] };
        put_varint(&mut body, value.len() as i32);
        body.extend(value.iter().map(|byte| !byte));
        body.put_slice(&self.after);
        with_length(&body)
    }
}

fn with_length(body: &[u8]) -> Bytes {
    let mut record = BytesMut::new();
    put_varint(&mut record, body.len() as i32);
    record.put_slice(body);
    record.freeze()
}

/// The records of a batch that is not compressed. None if they are not what they should be. No room is made for what a
/// header claims.
fn records(batch: &Bytes) -> Option<Vec<Raw>> {
    let mut rest = batch.slice(HEADER..);
    let mut records = Vec::new();
    while !rest.is_empty() {
        let start = rest.clone();
        let length = usize::try_from(varint(&mut rest)?).ok()?;
        let body = take(&mut rest, length)?;
        let whole = start.slice(..start.len() - rest.len());
        records.push(record(whole, body)?);
    }
    Some(records)
}

fn record(whole: Bytes, body: Bytes) -> Option<Raw> {
    let mut rest = body.clone();
    rest.try_get_i8().ok()?;
    let timestamp_delta = varint(&mut rest)?;
    let offset_delta = varint(&mut rest)?;
    let key = part(&mut rest)?;
    let before = body.slice(..body.len() - rest.len());
    let value = part(&mut rest)?.unwrap_or_default();
    let after = rest.clone();
    let headers = varint(&mut rest)?;
    for _ in 0..headers {
        part(&mut rest)??;
        part(&mut rest)?;
    }
    let sound = headers >= 0 && rest.is_empty();
    sound.then_some(Raw { whole, timestamp_delta, offset_delta, key, before, value, after })
}

fn part(bytes: &mut Bytes) -> Option<Option<Bytes>> {
    match varint(bytes)? {
        -1 => Some(None),
        length => take(bytes, usize::try_from(length).ok()?).map(Some),
    }
}

#[cfg(test)]
mod tests {
    use onceness_reference::ids::{Key, Tag};
    use proptest::prelude::*;

    use super::*;
    use crate::wire::batch::{FoundBatch, FoundBody, NewBatch, decode, encode};

    const SESSION: Session = Session { producer: 7, epoch: 2 };

    /// Three records, of which two have the same key.
    fn batch() -> Bytes {
        let records = ["a", "b", "a"].map(|key| (key.into(), format!("value of {key}").into()));
        encode(&NewBatch {
            session: Some(SESSION),
            first_sequence: 5,
            transactional: true,
            timestamp: 1_000,
            records: records.into(),
        })
    }

    /// The batch with some bytes of its header replaced, and a checksum that fits.
    fn with(at: usize, bytes: &[u8]) -> Bytes {
        let mut changed = batch().to_vec();
        changed[at..at + bytes.len()].copy_from_slice(bytes);
        let sum = crc32c::crc32c(&changed[CRC_END..]);
        changed[CRC_END - 4..CRC_END].copy_from_slice(&sum.to_be_bytes());
        changed.into()
    }

    /// As the model has it at offset 10, with what is left of its records.
    fn in_log(left: &[(Offset, bool)]) -> LogBatch {
        let record = Record { tag: Tag(0), key: Key(0), from: None };
        let records = left.iter().map(|(offset, sound)| (*offset, sound.then_some(record)));
        LogBatch {
            base: 10,
            last: 12,
            session: Some(SESSION),
            first_sequence: 5,
            transactional: true,
            body: Body::Records(records.collect()),
        }
    }

    fn read_back(batch: &LogBatch, kept: Option<&Bytes>) -> FoundBatch {
        decode(read(batch, kept)).expect("a batch").pop().expect("one batch")
    }

    fn values(found: &FoundBatch) -> Vec<(Offset, String)> {
        let FoundBody::Records(records) = &found.body else { panic!("{found:?}") };
        let text = |value: &Option<Bytes>| {
            String::from_utf8_lossy(value.as_deref().unwrap_or_default()).into_owned()
        };
        records.iter().map(|(offset, _, value)| (*offset, text(value))).collect()
    }

    #[test]
    fn a_sound_batch_is_taken_with_its_keys() {
        let arrived = check(&batch()).expect("a sound batch");
        assert_eq!((arrived.session, arrived.first_sequence), (Some(SESSION), 5));
        assert!(claim(&batch()).is_ok_and(|claim| claim.transactional));
        assert!(arrived.keys[0] == arrived.keys[2] && arrived.keys[0] != arrived.keys[1]);
    }

    #[test]
    fn what_kafka_refuses_is_refused() {
        let refused = |bytes: &[u8]| check(&Bytes::copy_from_slice(bytes)).expect_err("refused");
        assert_eq!(refused(b""), Code::INVALID_RECORD);
        assert_eq!(refused(&batch()[..60]), Code::CORRUPT_MESSAGE);
        assert_eq!(refused(&batch()[..80]), Code::CORRUPT_MESSAGE);
        assert_eq!(refused(&[&batch()[..], &batch()].concat()), Code::INVALID_RECORD);
        let mut damaged = batch().to_vec();
        damaged[80] ^= 1;
        assert_eq!(refused(&damaged), Code::CORRUPT_MESSAGE);
        assert_eq!(refused(&with(MAGIC, &[1])), Code::UNSUPPORTED_FOR_MESSAGE_FORMAT);
        for (what, bytes) in [
            ("a base offset", with(0, &5i64.to_be_bytes())),
            ("a control batch", with(ATTRIBUTES, &(CONTROL | TRANSACTIONAL).to_be_bytes())),
            ("a count that is not the range", with(COUNT, &2i32.to_be_bytes())),
            ("fewer records than it counts", with(LAST_DELTA, &i32::MAX.to_be_bytes())),
            ("no sequence", with(SEQUENCE, &(-1i32).to_be_bytes())),
            ("no epoch", with(EPOCH, &(-1i16).to_be_bytes())),
        ] {
            assert_eq!(refused(&bytes), Code::INVALID_RECORD, "{what}");
        }
    }

    #[test]
    fn a_compressed_batch_claims_no_more_records_than_are_believed() {
        let claims = |count: i32| {
            let mut bytes = with(LAST_DELTA, &(count - 1).to_be_bytes()).to_vec();
            bytes[ATTRIBUTES..LAST_DELTA].copy_from_slice(&1i16.to_be_bytes());
            bytes[COUNT..HEADER].copy_from_slice(&count.to_be_bytes());
            let sum = crc32c::crc32c(&bytes[CRC_END..]);
            bytes[CRC_END - 4..CRC_END].copy_from_slice(&sum.to_be_bytes());
            check(&bytes.into()).map(|arrived| arrived.keys.len())
        };
        assert_eq!(claims(COMPRESSED_RECORDS_MAX), Ok(1 << 16));
        assert_eq!(claims(COMPRESSED_RECORDS_MAX + 1), Err(Code::INVALID_RECORD));
    }

    #[test]
    fn a_batch_is_read_as_it_was_written_unless_the_model_says_otherwise() {
        let kept = at(&batch(), 10);
        let sound = |offset: Offset, key: &str| (offset, format!("value of {key}"));
        let whole = read_back(&in_log(&[(10, true), (11, true), (12, true)]), Some(&kept));
        assert_eq!(values(&whole), [sound(10, "a"), sound(11, "b"), sound(12, "a")]);
        assert_eq!((whole.base, whole.last, whole.session), (10, 12, Some(SESSION)));

        let compacted = read_back(&in_log(&[(10, true), (11, true)]), Some(&kept));
        assert_eq!(values(&compacted), [sound(10, "a"), sound(11, "b")]);
        assert_eq!(compacted.last, 12);

        let damaged = read_back(&in_log(&[(10, true), (11, true), (12, false)]), Some(&kept));
        assert_eq!(values(&damaged)[..2], [sound(10, "a"), sound(11, "b")]);
        assert_ne!(values(&damaged)[2], sound(12, "a"));

        let emptied = read_back(&in_log(&[]), None);
        assert_eq!((values(&emptied), emptied.last), (vec![], 12));
    }

    #[test]
    fn markers_are_read_as_markers() {
        for ending in [Ending::Commit, Ending::Abort] {
            let marker = LogBatch { last: 10, body: Body::Marker(ending), ..in_log(&[]) };
            assert_eq!(read_back(&marker, None).body, FoundBody::Marker(ending));
        }
    }

    #[test]
    fn the_first_record_of_a_time_is_found() {
        let kept = at(&batch(), 10);
        assert_eq!(since(&kept, 1_000), Some((1_000, 10)));
        assert_eq!(since(&kept, 1_001), None);
        assert_eq!(latest(&kept), 1_000);
    }

    proptest! {
        #[test]
        fn garbage_is_refused_without_a_panic(place in 0usize..140, byte in any::<u8>(), sums in any::<bool>()) {
            let mut bytes = batch().to_vec();
            let place = place % bytes.len();
            bytes[place] = byte;
            if sums {
                let sum = crc32c::crc32c(&bytes[CRC_END..]);
                bytes[CRC_END - 4..CRC_END].copy_from_slice(&sum.to_be_bytes());
            }
            let bytes = Bytes::from(bytes);
            if check(&bytes).is_ok() {
                let _ = since(&at(&bytes, 10), 0);
            }
        }
    }
}
