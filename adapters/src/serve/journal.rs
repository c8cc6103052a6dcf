//! What happened to a broker, written down, so that it is there again when its process was killed: the requests that change
//! something, in the order in which they were carried out, and the broker's own work. To start again is to carry them out
//! again, which the model does alike each time.
//!
//! A kill of the process loses nothing that was answered. One of the machine may: nothing is forced to the disk.

use std::fs::{File, OpenOptions};
use std::io::{self, BufReader, Read, Write};
use std::path::Path;

use bytes::Bytes;
use nix::fcntl::{Flock, FlockArg};

/// What a journal begins with. Then come the rules' checksum and a seed, then entries.
const MAGIC: &[u8; 16] = b"onceness-serve-1";
/// An entry is its kind, two times, two lengths, and so many bytes.
const ENTRY_HEAD: usize = 1 + 8 + 8 + 4 + 4;
/// The longest request.
const BYTES_MAX: usize = 32 << 20;

/// One thing that happened.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Entry {
    /// A request was carried out: its frame without the length, when it came and when that was, and what was remembered of it.
    Request { frame: Bytes, came: i64, now: i64, memo: Option<String> },
    /// All markers that were due were written.
    Markers,
    /// Time did its work.
    Passed { now: i64 },
    /// The broker was killed, and started again.
    Restarted { now: i64 },
}

/// A journal, open at its end.
pub(super) struct Journal {
    file: Flock<File>,
    /// Draws the order of markers.
    pub(super) seed: u64,
}

impl Journal {
    /// Opens a journal, or begins one; what is in it is handed over entry by entry. An entry that was cut off by a kill is
    /// cut off for good: nobody was told of it.
    pub(super) fn open(
        path: &Path,
        rules: u32,
        seed: u64,
        mut replay: impl FnMut(u64, Entry),
    ) -> io::Result<Journal> {
        let file = OpenOptions::new().read(true).append(true).create(true).open(path)?;
        let mut file = Flock::lock(file, FlockArg::LockExclusiveNonblock)
            .map_err(|_| invalid("another process has it open"))?;
        if file.metadata()?.len() == 0 {
            file.write_all(&[&MAGIC[..], &rules.to_be_bytes(), &seed.to_be_bytes()].concat())?;
            return Ok(Journal { file, seed });
        }
        let mut reader = BufReader::with_capacity(1 << 20, &*file);
        let mut start = [0; 28];
        reader.read_exact(&mut start).map_err(|_| invalid("it is no journal of onceness serve"))?;
        if &start[..16] != MAGIC {
            return Err(invalid("it is no journal of onceness serve"));
        }
        if start[16..20] != rules.to_be_bytes() {
            return Err(invalid("it was written by a broker with another --defect"));
        }
        let mut seed = [0; 8];
        seed.copy_from_slice(&start[20..]);
        let seed = u64::from_be_bytes(seed);
        let mut end = start.len() as u64;
        while let Some((length, entry)) = read(&mut reader)? {
            end += length as u64;
            replay(seed, entry);
        }
        file.set_len(end)?;
        Ok(Journal { file, seed })
    }

    /// Writes down what has happened.
    pub(super) fn write(&mut self, entry: &Entry) -> io::Result<()> {
        let none: (&[u8], &str) = (&[], "");
        let (kind, now, came, (frame, memo)) = match entry {
            Entry::Request { frame, came, now, memo: None } => (0, *now, *came, (&frame[..], "")),
            Entry::Request { frame, came, now, memo: Some(memo) } => {
                (1, *now, *came, (&frame[..], &memo[..]))
            }
            Entry::Markers => (2u8, 0, 0, none),
            Entry::Passed { now } => (3, *now, 0, none),
            Entry::Restarted { now } => (4, *now, 0, none),
        };
        let mut bytes = Vec::with_capacity(ENTRY_HEAD + frame.len() + memo.len());
        bytes.push(kind);
        bytes.extend(now.to_be_bytes());
        bytes.extend(came.to_be_bytes());
        bytes.extend((frame.len() as u32).to_be_bytes());
        bytes.extend((memo.len() as u32).to_be_bytes());
        bytes.extend(frame);
        bytes.extend(memo.as_bytes());
        self.file.write_all(&bytes)
    }
}

/// The next entry and its length. None at the end, or where the last one was cut off.
fn read(reader: &mut impl Read) -> io::Result<Option<(usize, Entry)>> {
    let mut head = [0; ENTRY_HEAD];
    if !read_whole(reader, &mut head)? {
        return Ok(None);
    }
    let number = |at: usize| {
        let mut bytes = [0; 8];
        bytes.copy_from_slice(&head[at..at + 8]);
        i64::from_be_bytes(bytes)
    };
    let length = |at: usize| {
        u32::from_be_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]) as usize
    };
    let (now, came) = (number(1), number(9));
    let (of_frame, of_memo) = (length(17), length(21));
    if of_frame > BYTES_MAX || of_memo > BYTES_MAX {
        return Err(invalid("an entry of it is damaged"));
    }
    let mut frame = vec![0; of_frame];
    let mut memo = vec![0; of_memo];
    if !read_whole(reader, &mut frame)? || !read_whole(reader, &mut memo)? {
        return Ok(None);
    }
    let memo = String::from_utf8(memo).map_err(|_| invalid("an entry of it is damaged"))?;
    let frame = Bytes::from(frame);
    let entry = match head[0] {
        0 => Entry::Request { frame, came, now, memo: None },
        1 => Entry::Request { frame, came, now, memo: Some(memo) },
        2 => Entry::Markers,
        3 => Entry::Passed { now },
        4 => Entry::Restarted { now },
        _ => return Err(invalid("an entry of it is damaged")),
    };
    Ok(Some((ENTRY_HEAD + of_frame + of_memo, entry)))
}

/// Whether there was as much.
fn read_whole(reader: &mut impl Read, into: &mut [u8]) -> io::Result<bool> {
    match reader.read_exact(into) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error),
    }
}

fn invalid(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entries() -> [Entry; 5] {
        let frame = Bytes::from_static(b"frame");
        [
            Entry::Request { frame: frame.clone(), came: 1, now: 2, memo: None },
            Entry::Request { frame, came: 1, now: 3, memo: Some("m-1".to_owned()) },
            Entry::Markers,
            Entry::Passed { now: 4 },
            Entry::Restarted { now: 5 },
        ]
    }

    fn replayed(path: &Path, rules: u32) -> io::Result<Vec<Entry>> {
        let mut found = Vec::new();
        let journal = Journal::open(path, rules, 9, |seed, entry| {
            assert_eq!(seed, 7);
            found.push(entry);
        })?;
        assert_eq!(journal.seed, 7);
        Ok(found)
    }

    #[test]
    fn what_is_written_comes_back_but_for_what_was_cut_off() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("journal");
        let mut journal = Journal::open(&path, 1, 7, |_, _| {}).expect("a new one");
        entries().iter().for_each(|entry| journal.write(entry).expect("a disk"));
        let held = replayed(&path, 1).expect_err("it is open");
        assert_eq!(held.to_string(), "another process has it open");
        drop(journal);
        assert_eq!(replayed(&path, 1).expect("a journal"), entries());
        let other = replayed(&path, 2).expect_err("others wrote it");
        assert_eq!(other.to_string(), "it was written by a broker with another --defect");

        let whole = std::fs::metadata(&path).expect("it is there").len();
        let file = OpenOptions::new().write(true).open(&path).expect("it is there");
        file.set_len(whole - 1).expect("a disk");
        assert_eq!(replayed(&path, 1).expect("a journal"), entries()[..4]);
        assert_eq!(replayed(&path, 1).expect("a journal"), entries()[..4]);
    }

    #[test]
    fn what_is_no_journal_is_refused_and_left_as_it_is() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("notes");
        std::fs::write(&path, "buy milk, and thirty more letters").expect("a disk");
        let error = replayed(&path, 1).expect_err("no journal");
        assert_eq!(error.to_string(), "it is no journal of onceness serve");
        assert!(std::fs::read_to_string(&path).expect("it is there").starts_with("buy milk"));
    }
}
