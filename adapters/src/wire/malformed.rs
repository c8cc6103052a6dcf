//! Batches that no broker may take, made of one that it would.

use bytes::{Bytes, BytesMut};
use onceness_reference::plan::forge::Flaw;

use super::batch::{CONTROL, CRC_END, LENGTH_END, head};

/// More than brokers take (`message.max.bytes`: 1,048,588 bytes unless told otherwise).
const BIG: usize = 1_100_000;
/// Where the fields of a header are.
const ATTRIBUTES: usize = 21;
const LAST_DELTA: usize = 23;

/// The batch with that flaw. What is wrong with a request rather than with its batch leaves the bytes alone.
pub(super) fn spoil(batch: &Bytes, flaw: Flaw) -> Bytes {
    let mut bytes = BytesMut::from(&batch[..]);
    match flaw {
        Flaw::Acks | Flaw::Orphan => {}
        Flaw::Checksum => bytes[CRC_END - 1] ^= 1,
        Flaw::Base => bytes[..8].copy_from_slice(&1i64.to_be_bytes()),
        Flaw::Two => bytes.extend_from_slice(batch),
        Flaw::Count => {
            let last = i32::from_be_bytes(head(&bytes, LAST_DELTA));
            bytes[LAST_DELTA..LAST_DELTA + 4].copy_from_slice(&(last + 1).to_be_bytes());
            sum(&mut bytes);
        }
        Flaw::Control => {
            let attributes = i16::from_be_bytes(head(&bytes, ATTRIBUTES));
            let control = attributes | CONTROL;
            bytes[ATTRIBUTES..LAST_DELTA].copy_from_slice(&control.to_be_bytes());
            sum(&mut bytes);
        }
        Flaw::Big => {
            bytes.resize(BIG, 0);
            let length = (BIG - LENGTH_END) as i32;
            bytes[8..LENGTH_END].copy_from_slice(&length.to_be_bytes());
            sum(&mut bytes);
        }
    }
    bytes.freeze()
}

fn sum(bytes: &mut [u8]) {
    let sum = crc32c::crc32c(&bytes[CRC_END..]);
    bytes[CRC_END - 4..CRC_END].copy_from_slice(&sum.to_be_bytes());
}
