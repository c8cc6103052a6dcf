//! What a history says, in a form that properties can ask: built in one pass over the events.
//!
//! The contestable decision: the final reads are looked up first. Nearly everything that was ever polled is also in
//! them, so a poll is then only compared with a table and leaves no trace unless it differs. Evidence is event ids, which
//! the tables keep for the first sight of each offset; whatever else a story needs is looked for when there is one.

use std::collections::BTreeMap;

use onceness_reference::history::History;
use onceness_reference::ids::{GroupId, Offset, Partition, Tag};
use onceness_reference::plan::{Client, Isolation, Saving};
use rustc_hash::FxHashMap;

use crate::verdict::Claim;
use crate::weakness::Weaknesses;
use calls::{Group, Life, Party, Register, Saved, Sent, Transaction, View};
use log::Log;
use positions::Mismatch;
use tags::{NONE, Tags};

mod asking;
pub(crate) mod calls;
pub(crate) mod log;
pub(crate) mod positions;
mod reading;
mod settling;
pub(crate) mod tags;

/// An event's place in its history.
pub(crate) type At = u32;

/// The place of an event that did not come.
pub(crate) const NEVER: At = u32::MAX;

/// So many records are looked at together.
const SIGHTS: usize = 64;

/// Odd sights of a kind that are kept. There are never more violations told than this of one property.
const ODD_MAX: usize = 64;

/// A record: what was sent and where it was seen. There are many, so it is kept small.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fact {
    pub(crate) tag: Tag,
    /// The send that it belongs to, and its place there. [`NONE`]: never sent.
    pub(crate) send: u32,
    pub(crate) place: u32,
    /// From its first offset to its last one.
    pub(crate) span: u32,
    /// The first offset where it was seen; -1 if it was not.
    pub(crate) at: Offset,
    /// Who saw it first, at each isolation level.
    pub(crate) first: [At; 2],
    /// The partition that it was sent to; of one that was never sent, where it was seen.
    pub(crate) partition: Partition,
    pub(crate) key: u8,
    /// At how many offsets it was seen, and how many of these the final read_committed read shows.
    pub(crate) copies: u8,
    pub(crate) copies_committed: u8,
    /// Whether the final read shows it, at each isolation level.
    pub(crate) last: [bool; 2],
    /// Made from an input.
    pub(crate) forwarded: bool,
    /// Sent by two calls, so it identifies nothing.
    pub(crate) ambiguous: bool,
}

/// Something at an offset that should not be there.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Odd {
    pub(crate) partition: Partition,
    pub(crate) offset: Offset,
    /// The tag, or [`FOREIGN`].
    pub(crate) tag: u32,
    /// The reader who saw it.
    pub(crate) at: At,
}

/// A reader who went past records without being handed them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Skipped {
    pub(crate) at: At,
    pub(crate) partition: Partition,
    pub(crate) isolation: Isolation,
    pub(crate) from: Offset,
    pub(crate) to: Offset,
}

/// An epoch of a transactional id was, or may have been, raised between these events.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Init {
    pub(crate) life: u32,
    pub(crate) asked: At,
    /// What proves it; [`NEVER`] if nothing does.
    pub(crate) proof: At,
    pub(crate) session: Option<(i64, i16)>,
}

/// What a history says, in a form that properties can ask.
#[derive(Debug)]
pub struct Facts<'h> {
    pub(crate) history: &'h History,
    pub(crate) parties: Vec<Party<'h>>,
    pub(crate) lives: Vec<Life>,
    pub(crate) sends: Vec<Sent>,
    pub(crate) saves: Vec<Saved>,
    pub(crate) transactions: Vec<Transaction>,
    pub(crate) records: Vec<Fact>,
    pub(crate) logs: Vec<Log>,
    pub(crate) groups: Vec<Group<'h>>,
    pub(crate) registers: BTreeMap<(GroupId, Partition), Register>,
    /// The committed offsets of the epilogue.
    pub(crate) committed: BTreeMap<(GroupId, Partition), (At, Option<Offset>)>,
    /// What applications have of keys in the end.
    pub(crate) views: Vec<View<'h>>,
    /// By transactional id.
    pub(crate) inits: Vec<Vec<Init>>,
    /// By transactional id: when each opening was called, and when it and all before it have no effect any more.
    rises: Vec<Vec<(At, At)>>,
    /// Answers to sends and to ends of transactions: the call, the answer.
    pub(crate) answers: Vec<(At, At)>,
    pub(crate) restarts: Vec<At>,
    /// Restarts in the middle of a round: whatever was under way then may have happened before or not at all.
    pub(crate) kills: Vec<At>,
    pub(crate) stuck: Vec<At>,
    /// An offset where a reader saw something else than another.
    pub(crate) conflicts: Vec<Odd>,
    /// Something where no record was sent to.
    pub(crate) strangers: Vec<Odd>,
    /// Something that was seen and is gone.
    pub(crate) gone: Vec<Odd>,
    /// Something that read_uncommitted hides from read_committed's view.
    pub(crate) hidden: Vec<Odd>,
    /// Something that was handed out behind something later.
    pub(crate) disorders: Vec<Odd>,
    pub(crate) skips: Vec<Skipped>,
    pub(crate) mismatches: Vec<Mismatch>,
    pub(crate) weaknesses: Weaknesses,
    tags: Tags,
    party_of: [u16; 256],
    /// By event: the place of what a call began among its kind.
    place: Vec<u32>,
    group_of: FxHashMap<GroupId, usize>,
    /// By transactional id: the life that opened last.
    opened: Vec<u32>,
}

const NO_PARTY: u16 = u16::MAX;

static NO_LOG: Log = Log::new();

impl<'h> Facts<'h> {
    /// Reads a history.
    pub fn of(history: &'h History) -> Self {
        let mut facts = Facts::empty(history);
        for client in &history.header.clients {
            facts.add_party(client.id, Some(client));
        }
        facts.take_final_reads();
        for (at, event) in history.events.iter().enumerate() {
            facts.take(at as At, event);
        }
        facts.settle();
        facts
    }

    fn empty(history: &'h History) -> Self {
        let ids = history.header.clients.iter().filter_map(Client::txn);
        let txns = ids.map(|id| id.0 as usize + 1).max().unwrap_or(0);
        Facts {
            history,
            parties: Vec::new(),
            lives: Vec::new(),
            sends: Vec::new(),
            saves: Vec::new(),
            transactions: Vec::new(),
            records: Vec::new(),
            logs: vec![Log::default(); usize::from(history.header.partitions)],
            groups: Vec::new(),
            registers: BTreeMap::new(),
            committed: BTreeMap::new(),
            views: Vec::new(),
            inits: vec![Vec::new(); txns],
            rises: vec![Vec::new(); txns],
            answers: Vec::new(),
            restarts: Vec::new(),
            kills: Vec::new(),
            stuck: Vec::new(),
            conflicts: Vec::new(),
            strangers: Vec::new(),
            gone: Vec::new(),
            hidden: Vec::new(),
            disorders: Vec::new(),
            skips: Vec::new(),
            mismatches: Vec::new(),
            weaknesses: Weaknesses::default(),
            tags: Tags::default(),
            party_of: [NO_PARTY; 256],
            place: vec![NONE; history.events.len()],
            group_of: FxHashMap::default(),
            opened: vec![NONE; txns],
        }
    }
}

/// The claim that a way of saving positions is an instance of.
pub(crate) fn claim_of_saving(saving: Saving) -> Claim {
    match saving {
        Saving::BeforeProcessing => Claim::AtMostOnce,
        Saving::AfterProcessing => Claim::AtLeastOnce,
        Saving::InTransaction => Claim::ExactlyOnce,
    }
}
