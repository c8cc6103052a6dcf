//! The fields of an answer, read one after the other.
//!
//! Ours rather than the decoders of the `kafka-protocol` crate: those make room for as many entries as an array claims
//! (`Vec::with_capacity` of a number from the wire), so four bytes of a confused broker would end the whole run in an
//! allocation failure, which nothing can catch. Here an array may claim no more entries than there are bytes left.

use std::fmt;

use bytes::{Buf, Bytes};

/// What is left of an answer.
#[derive(Debug)]
pub(crate) struct Fields {
    bytes: Bytes,
    /// Whether lengths are varints and structures end in tagged fields (KIP-482).
    flexible: bool,
}

/// Why an answer cannot be read.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Malformed(pub(crate) String);

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

type Read<T> = Result<T, Malformed>;

impl Fields {
    pub(crate) fn new(bytes: Bytes, flexible: bool) -> Self {
        Fields { bytes, flexible }
    }

    pub(crate) fn bool(&mut self) -> Read<bool> {
        self.bytes.try_get_u8().map(|byte| byte != 0).map_err(|_| ends())
    }

    pub(crate) fn i8(&mut self) -> Read<i8> {
        self.bytes.try_get_i8().map_err(|_| ends())
    }

    pub(crate) fn i16(&mut self) -> Read<i16> {
        self.bytes.try_get_i16().map_err(|_| ends())
    }

    pub(crate) fn i32(&mut self) -> Read<i32> {
        self.bytes.try_get_i32().map_err(|_| ends())
    }

    pub(crate) fn i64(&mut self) -> Read<i64> {
        self.bytes.try_get_i64().map_err(|_| ends())
    }

    pub(crate) fn uuid(&mut self) -> Read<u128> {
        self.bytes.try_get_u128().map_err(|_| ends())
    }

    /// A string; null reads as an empty one, for no answer gives the two different meanings.
    pub(crate) fn text(&mut self) -> Read<String> {
        Ok(self.text_or_null()?.unwrap_or_default())
    }

    /// A string, or null: of some requests it means something else than an empty one.
    pub(crate) fn text_or_null(&mut self) -> Read<Option<String>> {
        let length = match self.flexible {
            true => self.compact_length()?,
            false => i64::from(self.i16()?),
        };
        let Some(bytes) = self.take(length)? else { return Ok(None) };
        let text = String::from_utf8(bytes.into());
        text.map(Some).map_err(|_| Malformed("has text that is not UTF-8".into()))
    }

    /// Bytes, or null.
    pub(crate) fn blob(&mut self) -> Read<Option<Bytes>> {
        let length = self.length()?;
        self.take(length)
    }

    /// An array; null reads as an empty one.
    pub(crate) fn array<T>(&mut self, mut entry: impl FnMut(&mut Self) -> Read<T>) -> Read<Vec<T>> {
        (0..self.count()?).map(|_| entry(self)).collect()
    }

    /// How many entries an array has, where they are read one by one; null reads as none.
    pub(crate) fn count(&mut self) -> Read<i64> {
        Ok(self.count_or_null()?.unwrap_or(0))
    }

    /// The same, where null means something else than none.
    pub(crate) fn count_or_null(&mut self) -> Read<Option<i64>> {
        let count = self.length()?;
        if count > self.bytes.len() as i64 || count < -1 {
            let left = self.bytes.len();
            return Err(Malformed(format!(
                "has an array of {count} entries in its last {left} bytes"
            )));
        }
        Ok((count >= 0).then_some(count))
    }

    /// An array of structures, or null where that means something else than an empty one.
    pub(crate) fn structs_or_null<T>(
        &mut self,
        mut entry: impl FnMut(&mut Self) -> Read<T>,
    ) -> Read<Option<Vec<T>>> {
        let Some(count) = self.count_or_null()? else { return Ok(None) };
        let entries = (0..count).map(|_| {
            let read = entry(self)?;
            self.pass_tags()?;
            Ok(read)
        });
        entries.collect::<Read<_>>().map(Some)
    }

    /// An array of structures, whose tagged fields are passed over.
    pub(crate) fn structs<T>(
        &mut self,
        mut entry: impl FnMut(&mut Self) -> Read<T>,
    ) -> Read<Vec<T>> {
        self.array(|fields| {
            let read = entry(fields)?;
            fields.pass_tags()?;
            Ok(read)
        })
    }

    /// Passes over the tagged fields at the end of a structure.
    pub(crate) fn pass_tags(&mut self) -> Read<()> {
        self.tags(|_, _| Ok(()))
    }

    /// Hands over the tagged fields at the end of a structure. What is not read of one is passed over.
    pub(crate) fn tags(&mut self, mut field: impl FnMut(u32, &mut Self) -> Read<()>) -> Read<()> {
        if !self.flexible {
            return Ok(());
        }
        for _ in 0..self.unsigned()? {
            let tag = self.unsigned()?;
            let size = self.unsigned()?;
            let bytes = self.take(i64::from(size))?.unwrap_or_default();
            field(tag, &mut Fields { bytes, flexible: true })?;
        }
        Ok(())
    }

    /// The same bytes, read by the other of the two encodings: a header's form is not its body's.
    pub(crate) fn encoded(self, flexible: bool) -> Self {
        Fields { flexible, ..self }
    }

    /// How many bytes are left.
    pub(crate) fn left(&self) -> usize {
        self.bytes.len()
    }

    /// Nothing may be left.
    pub(crate) fn end(self) -> Read<()> {
        match self.bytes.len() {
            0 => Ok(()),
            extra => Err(Malformed(format!("has {extra} bytes too many"))),
        }
    }

    fn length(&mut self) -> Read<i64> {
        match self.flexible {
            true => self.compact_length(),
            false => self.i32().map(i64::from),
        }
    }

    /// One more than the length, so that 0 can be null.
    fn compact_length(&mut self) -> Read<i64> {
        Ok(i64::from(self.unsigned()?) - 1)
    }

    fn unsigned(&mut self) -> Read<u32> {
        let mut value = 0u64;
        for shift in (0..35).step_by(7) {
            let byte = self.bytes.try_get_u8().map_err(|_| ends())?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return u32::try_from(value).map_err(|_| overlong());
            }
        }
        Err(overlong())
    }

    fn take(&mut self, length: i64) -> Read<Option<Bytes>> {
        match usize::try_from(length) {
            Ok(length) if length <= self.bytes.len() => Ok(Some(self.bytes.split_to(length))),
            Err(_) if length == -1 => Ok(None),
            _ => Err(Malformed(format!(
                "has a field of {length} bytes in its last {} bytes",
                self.bytes.len()
            ))),
        }
    }
}

fn ends() -> Malformed {
    Malformed("ends too early".into())
}

fn overlong() -> Malformed {
    Malformed("has a number of more than 32 bits".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arrays_claim_no_more_than_there_is() {
        let mut plain = Fields::new(Bytes::from_static(&[0x7f, 0xff, 0xff, 0xff, 0]), false);
        let error = plain.array(Fields::i8).expect_err("nobody has that many entries");
        assert_eq!(error.to_string(), "has an array of 2147483647 entries in its last 1 bytes");
        let mut compact = Fields::new(Bytes::from_static(&[0xff, 0xff, 0xff, 0xff, 0x0f, 0]), true);
        let error = compact.array(Fields::i8).expect_err("nobody has that many entries");
        assert_eq!(error.to_string(), "has an array of 4294967294 entries in its last 1 bytes");
    }

    #[test]
    fn null_and_empty_read_alike() {
        let mut fields = Fields::new(Bytes::from_static(&[0, 1, 0, 1, 2, b'x']), true);
        assert_eq!(fields.text(), Ok(String::new()));
        assert_eq!(fields.text(), Ok(String::new()));
        assert_eq!(fields.blob(), Ok(None));
        assert_eq!(fields.blob(), Ok(Some(Bytes::new())));
        assert_eq!(fields.text(), Ok("x".to_owned()));
        assert_eq!(fields.end(), Ok(()));
    }
}
