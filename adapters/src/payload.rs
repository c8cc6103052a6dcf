//! What a record looks like in a log: its key, and a value that says which record of which case it is, with a checksum of
//! its own. So whatever comes back is either a record of this case in its own partition, or is seen to be none.

use onceness_reference::history::Record;
use onceness_reference::ids::{Key, Partition, Tag};

/// The key and value of a record, for a partition of the topic of that name.
pub(crate) fn encode(topic: &str, partition: Partition, record: &Record) -> (Vec<u8>, Vec<u8>) {
    let from = record.from.map_or_else(|| "-".to_owned(), |tag| tag.0.to_string());
    let text = format!("{topic} {} {} {} {from}", partition.0, record.tag.0, record.key.0);
    let sum = crc32c::crc32c(text.as_bytes());
    (key(record.key), format!("{text} {sum:08x}").into_bytes())
}

/// The record that a key and value stand for; none if they were damaged, or belong elsewhere.
pub(crate) fn decode(
    topic: &str,
    partition: Partition,
    found_key: Option<&[u8]>,
    value: Option<&[u8]>,
) -> Option<Record> {
    let (text, sum) = std::str::from_utf8(value?).ok()?.rsplit_once(' ')?;
    if u32::from_str_radix(sum, 16).ok()? != crc32c::crc32c(text.as_bytes()) {
        return None;
    }
    let mut words = text.split(' ');
    let at_home = words.next()? == topic && words.next()? == partition.0.to_string();
    let tag = Tag(words.next()?.parse().ok()?);
    let record_key = Key(words.next()?.parse().ok()?);
    let from = match words.next()? {
        "-" => None,
        tag => Some(Tag(tag.parse().ok()?)),
    };
    let whole = words.next().is_none() && found_key? == key(record_key);
    (at_home && whole).then_some(Record { tag, key: record_key, from })
}

fn key(key: Key) -> Vec<u8> {
    key.to_string().into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    const RECORD: Record = Record { tag: Tag(17), key: Key(3), from: Some(Tag(5)) };

    #[test]
    fn a_record_comes_back() {
        let (key, value) = encode("t", Partition(1), &RECORD);
        assert_eq!(String::from_utf8_lossy(&value), "t 1 17 3 5 39cbf201");
        assert_eq!(decode("t", Partition(1), Some(&key), Some(&value)), Some(RECORD));
    }

    #[test]
    fn damage_and_strangers_are_seen() {
        let (key, value) = encode("t", Partition(1), &RECORD);
        for place in 0..value.len() {
            let mut damaged = value.clone();
            damaged[place] ^= 1;
            assert_eq!(decode("t", Partition(1), Some(&key), Some(&damaged)), None, "byte {place}");
        }
        assert_eq!(decode("t", Partition(0), Some(&key), Some(&value)), None, "other partition");
        assert_eq!(decode("u", Partition(1), Some(&key), Some(&value)), None, "other topic");
        assert_eq!(decode("t", Partition(1), Some(b"k4"), Some(&value)), None, "other key");
        assert_eq!(decode("t", Partition(1), None, Some(&value)), None, "no key");
        assert_eq!(decode("t", Partition(1), Some(&key), None), None, "tombstone");
    }
}
