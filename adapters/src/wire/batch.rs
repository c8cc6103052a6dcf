//! Record batches of magic 2, as bytes (Kafka's `DefaultRecordBatch`).
//!
//! Ours rather than the codec of the `kafka-protocol` crate, which makes three batches of three records without a sequence,
//! drops the last offset delta, cannot tell a partial batch at the end from damage, and does not wrap sequences as Kafka does.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use onceness_reference::protocol::{Ending, Session};

/// The bytes from the base offset to the records.
const HEADER: usize = 61;
/// The bytes before what the length field counts.
const LENGTH_END: usize = 12;
/// The bytes before what the checksum covers.
const CRC_END: usize = 21;

/// No log gets that long.
const OFFSET_MAX: i64 = i64::MAX >> 1;

const TRANSACTIONAL: i16 = 1 << 4;
const CONTROL: i16 = 1 << 5;
const COMPRESSION: i16 = 0b111;

/// A batch to be produced.
#[derive(Debug)]
pub(super) struct NewBatch {
    pub(super) session: Option<Session>,
    pub(super) first_sequence: i32,
    pub(super) transactional: bool,
    /// Milliseconds since 1970.
    pub(super) timestamp: i64,
    /// Keys and values.
    pub(super) records: Vec<(Vec<u8>, Vec<u8>)>,
}

/// A batch as a broker returned it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct FoundBatch {
    pub(crate) base: i64,
    pub(crate) last: i64,
    pub(crate) session: Option<Session>,
    pub(crate) first_sequence: i32,
    pub(crate) transactional: bool,
    pub(crate) body: FoundBody,
}

/// Offset, key and value.
pub(crate) type FoundRecord = (i64, Option<Bytes>, Option<Bytes>);

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum FoundBody {
    Records(Vec<FoundRecord>),
    Marker(Ending),
    /// A control record that ends no transaction (KRaft's own, for instance).
    OtherControl,
    /// The checksum is wrong, or the records are not what the header says.
    Damaged,
}

pub(super) fn encode(batch: &NewBatch) -> Bytes {
    let mut bytes = BytesMut::with_capacity(HEADER + 96 * batch.records.len());
    let count = batch.records.len() as i32;
    let session = batch.session.unwrap_or(Session { producer: -1, epoch: -1 });
    bytes.put_i64(0);
    bytes.put_i32(0);
    bytes.put_i32(-1);
    bytes.put_i8(2);
    bytes.put_u32(0);
    bytes.put_i16(if batch.transactional { TRANSACTIONAL } else { 0 });
    bytes.put_i32(count - 1);
    bytes.put_i64(batch.timestamp);
    bytes.put_i64(batch.timestamp);
    bytes.put_i64(session.producer);
    bytes.put_i16(session.epoch);
    bytes.put_i32(batch.first_sequence);
    bytes.put_i32(count);
    let mut record = BytesMut::new();
    for (delta, (key, value)) in batch.records.iter().enumerate() {
        record.clear();
        record.put_i8(0);
        put_varint(&mut record, 0);
        put_varint(&mut record, delta as i32);
        for part in [key, value] {
            put_varint(&mut record, part.len() as i32);
            record.put_slice(part);
        }
        put_varint(&mut record, 0);
        put_varint(&mut bytes, record.len() as i32);
        bytes.put_slice(&record);
    }
    let length = (bytes.len() - LENGTH_END) as i32;
    bytes[8..LENGTH_END].copy_from_slice(&length.to_be_bytes());
    let sum = crc32c::crc32c(&bytes[CRC_END..]);
    bytes[CRC_END - 4..CRC_END].copy_from_slice(&sum.to_be_bytes());
    bytes.freeze()
}

/// The whole batches at the start of what a fetch returned. A partial one at the end is what Kafka may send, and passed over.
///
/// # Errors
/// When the bytes are not batches of a form that this suite asks for: an older magic, or compressed.
pub(crate) fn decode(mut bytes: Bytes) -> Result<Vec<FoundBatch>, String> {
    let mut batches = Vec::new();
    while bytes.len() >= HEADER {
        let base = i64::from_be_bytes(head(&bytes, 0));
        let length = i32::from_be_bytes(head(&bytes, 8));
        let magic = bytes[16];
        if magic != 2 {
            return Err(format!("a record batch at offset {base} has magic {magic}, not 2"));
        }
        let whole = usize::try_from(length).ok().filter(|length| *length >= HEADER - LENGTH_END);
        let Some(whole) = whole else {
            return Err(format!("a record batch at offset {base} claims {length} bytes"));
        };
        // Far below where adding to it could overflow.
        if !(0..=OFFSET_MAX).contains(&base) {
            return Err(format!("a record batch claims to be at offset {base}"));
        }
        if bytes.len() < LENGTH_END + whole {
            break;
        }
        batches.push(decode_one(bytes.split_to(LENGTH_END + whole))?);
    }
    Ok(batches)
}

fn decode_one(mut batch: Bytes) -> Result<FoundBatch, String> {
    let sum = u32::from_be_bytes(head(&batch, CRC_END - 4));
    let sound = sum == crc32c::crc32c(&batch[CRC_END..]);
    let base = batch.get_i64();
    batch.advance(CRC_END - 8);
    let attributes = batch.get_i16();
    if attributes & COMPRESSION != 0 {
        return Err(format!(
            "the record batch at offset {base} is compressed; it was not produced so"
        ));
    }
    let last_delta = batch.get_i32();
    batch.advance(16);
    let session = Session { producer: batch.get_i64(), epoch: batch.get_i16() };
    let first_sequence = batch.get_i32();
    let count = batch.get_i32();
    let body = match attributes & CONTROL != 0 {
        _ if !sound => None,
        true => marker(base, count, batch),
        false => records(base, count, &mut batch).map(FoundBody::Records),
    };
    Ok(FoundBatch {
        base,
        last: base + i64::from(last_delta.max(0)),
        session: (session.producer >= 0).then_some(session),
        first_sequence,
        transactional: attributes & TRANSACTIONAL != 0,
        body: body.unwrap_or(FoundBody::Damaged),
    })
}

fn records(base: i64, count: i32, bytes: &mut Bytes) -> Option<Vec<FoundRecord>> {
    // No room is made for what a header claims: each record must be there first.
    let mut records = Vec::new();
    for _ in 0..count {
        let length = usize::try_from(varint(bytes)?).ok()?;
        let mut record = take(bytes, length)?;
        take(&mut record, 1)?;
        varint(&mut record)?;
        let delta = i32::try_from(varint(&mut record)?).ok()?;
        let key = part(&mut record)?;
        let value = part(&mut record)?;
        records.push((base + i64::from(delta), key, value));
    }
    Some(records)
}

/// The key of a control record is its version and type, both 16 bits (`ControlRecordType`).
fn marker(base: i64, count: i32, mut bytes: Bytes) -> Option<FoundBody> {
    let records = records(base, count, &mut bytes)?;
    let (_, key, _) = records.into_iter().next()?;
    let key = key.filter(|key| key.len() >= 4)?;
    Some(match i16::from_be_bytes([key[2], key[3]]) {
        0 => FoundBody::Marker(Ending::Abort),
        1 => FoundBody::Marker(Ending::Commit),
        _ => FoundBody::OtherControl,
    })
}

fn part(bytes: &mut Bytes) -> Option<Option<Bytes>> {
    match varint(bytes)? {
        -1 => Some(None),
        length => take(bytes, usize::try_from(length).ok()?).map(Some),
    }
}

fn take(bytes: &mut Bytes, length: usize) -> Option<Bytes> {
    (bytes.len() >= length).then(|| bytes.split_to(length))
}

fn put_varint(bytes: &mut BytesMut, value: i32) {
    let mut rest = ((value << 1) ^ (value >> 31)) as u32;
    while rest >= 0x80 {
        bytes.put_u8(rest as u8 | 0x80);
        rest >>= 7;
    }
    bytes.put_u8(rest as u8);
}

/// A zigzag varint of up to 64 bits (timestamps are longer than the rest).
fn varint(bytes: &mut Bytes) -> Option<i64> {
    let mut value = 0u64;
    for shift in (0..64).step_by(7) {
        let byte = bytes.try_get_u8().ok()?;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some((value >> 1) as i64 ^ -((value & 1) as i64));
        }
    }
    None
}

/// So many bytes from a place that the caller knows to be there.
fn head<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    let mut taken = [0; N];
    taken.copy_from_slice(&bytes[at..at + N]);
    taken
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn batch(records: Vec<(Vec<u8>, Vec<u8>)>) -> NewBatch {
        NewBatch {
            session: Some(Session { producer: 7, epoch: 2 }),
            first_sequence: 5,
            transactional: true,
            timestamp: 1_700_000_000_000,
            records,
        }
    }

    #[test]
    fn golden_bytes() {
        let bytes = encode(&batch(vec![(b"k".to_vec(), b"v".to_vec())]));
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        expect_test::expect!["00000000000000000000003affffffff026c09d44f0010000000000000018bcfe568000000018bcfe5680000000000000000070002000000050000000110000000026b027600"].assert_eq(&hex);
    }

    #[test]
    fn a_partial_batch_at_the_end_is_passed_over() {
        let one = encode(&batch(vec![(b"k".to_vec(), b"v".to_vec())]));
        let mut two = one.to_vec();
        two.extend(&one[..one.len() - 1]);
        assert_eq!(decode(two.into()).expect("one whole batch").len(), 1);
    }

    #[test]
    fn damage_is_seen() {
        let mut bytes = encode(&batch(vec![(b"k".to_vec(), b"v".to_vec())])).to_vec();
        let end = bytes.len() - 2;
        bytes[end] ^= 1;
        let found = decode(bytes.into()).expect("still a batch");
        assert_eq!(found[0].body, FoundBody::Damaged);
    }

    #[test]
    fn older_and_compressed_batches_are_refused_in_words() {
        let bytes = encode(&batch(vec![(b"k".to_vec(), b"v".to_vec())])).to_vec();
        let mut old = bytes.clone();
        old[16] = 1;
        assert_eq!(
            decode(old.into()),
            Err("a record batch at offset 0 has magic 1, not 2".to_owned())
        );
        let mut compressed = bytes;
        compressed[22] |= 1;
        assert!(decode(compressed.into()).is_err_and(|why| why.contains("compressed")));
    }

    proptest! {
        #[test]
        fn what_is_encoded_comes_back(
            records in prop::collection::vec((prop::collection::vec(any::<u8>(), 0..40), prop::collection::vec(any::<u8>(), 0..300)), 1..6),
        ) {
            let found = decode(encode(&batch(records.clone()))).expect("our own bytes");
            prop_assert_eq!(found.len(), 1);
            prop_assert_eq!(found[0].last, records.len() as i64 - 1);
            prop_assert_eq!(found[0].session, Some(Session { producer: 7, epoch: 2 }));
            prop_assert!(found[0].transactional);
            let expected = records.iter().enumerate().map(|(i, (key, value))| {
                (i as i64, Some(Bytes::from(key.clone())), Some(Bytes::from(value.clone())))
            });
            prop_assert_eq!(&found[0].body, &FoundBody::Records(expected.collect()));
        }

        #[test]
        fn garbage_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..400), magic in any::<bool>()) {
            let mut bytes = bytes;
            if magic && bytes.len() > 16 {
                bytes[16] = 2;
                bytes[8..12].copy_from_slice(&[0, 0, 0, 80]);
            }
            let _ = decode(bytes.into());
        }

        #[test]
        fn damaged_batches_never_panic(place in 0usize..90, byte in any::<u8>()) {
            let mut bytes = encode(&batch(vec![(b"key".to_vec(), b"value".to_vec()); 3])).to_vec();
            let place = place % bytes.len();
            bytes[place] = byte;
            let _ = decode(bytes.into());
        }
    }
}
