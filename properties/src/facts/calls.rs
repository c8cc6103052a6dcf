//! What became of single calls, and of the lives and transactions that they belong to.

use onceness_reference::code::Code;
use onceness_reference::history::Outcome;
use onceness_reference::ids::{ClientId, GroupId, Key, Offset, Partition, Tag, TxnId};
use onceness_reference::plan::{Consumer, Delivery, Fate, Protocol};

use super::tags::NONE;
use super::{At, NEVER};
use crate::verdict::Claim;

/// What a client knows of its call in the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Known {
    /// It never returned, or with an unknown outcome.
    Nothing,
    Done,
    Refused,
}

/// A call, and what became of it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asked {
    pub(crate) at: At,
    pub(crate) returned: At,
    /// The earliest event that proves that it happened, be it an answer hidden from the client.
    pub(crate) done_by: At,
    /// The latest event that tells of it.
    last: At,
    pub(crate) known: Known,
    /// How many requests carried it out, as far as told.
    pub(crate) answers: u16,
    /// Something befell one of them.
    mishap: bool,
    /// Of one of them nobody knows whether it took effect.
    vague: bool,
    /// The last of them was put off, which need not mean that it has no effect.
    put_off: bool,
}

impl Asked {
    pub(crate) const NEVER: Asked = Asked {
        at: NEVER,
        returned: NEVER,
        done_by: NEVER,
        last: NEVER,
        known: Known::Nothing,
        answers: 0,
        mishap: false,
        vague: false,
        put_off: false,
    };

    pub(crate) fn new(at: At) -> Self {
        Asked { at, last: at, ..Asked::NEVER }
    }

    pub(crate) fn returns(&mut self, at: At, outcome: &Outcome) {
        self.returned = at;
        self.last = self.last.max(at);
        self.known = match outcome {
            Outcome::Done(_) => Known::Done,
            Outcome::Refused(_) => Known::Refused,
            Outcome::Unknown => Known::Nothing,
        };
        if self.known == Known::Done {
            self.done_by = self.done_by.min(at);
        }
        self.puts_off(outcome);
    }

    pub(crate) fn is_answered(&mut self, at: At, fate: Fate, outcome: &Outcome) {
        self.answers = self.answers.saturating_add(1);
        self.last = self.last.max(at);
        // What was refused for now is sent again, and no longer where it was.
        self.mishap |= fate != Fate::Delivered || matches!(outcome, Outcome::Refused(_));
        self.vague |= *outcome == Outcome::Unknown && fate != Fate::RequestLost;
        if matches!(outcome, Outcome::Done(_)) {
            self.done_by = self.done_by.min(at);
        }
        // Of a request that never arrived the broker knows nothing, whatever was said in its name.
        if fate != Fate::Busy {
            self.puts_off(outcome);
        }
    }

    fn puts_off(&mut self, outcome: &Outcome) {
        match outcome {
            Outcome::Refused(code) if *code == Code::CONCURRENT_TRANSACTIONS => self.put_off = true,
            Outcome::Done(_) => self.put_off = false,
            _ => {}
        }
    }

    /// It did not happen: refused, and no hidden answer says otherwise.
    pub(crate) fn is_refused(&self) -> bool {
        self.known == Known::Refused && self.done_by == NEVER
    }

    /// It happened, as the client or the rig knows.
    pub(crate) fn is_done(&self) -> bool {
        self.done_by != NEVER
    }

    /// It has no effect after this event. [`NEVER`] where a request may still be under way.
    pub(crate) fn end(&self) -> At {
        let accounted = self.answers > 0 && !self.vague;
        match self.known {
            Known::Nothing if !accounted => NEVER,
            _ => self.last,
        }
    }

    /// An opening has no effect on the producer epoch after this event. One that is put off makes the broker abort what is
    /// open, with a raised epoch, and that takes its time (KIP-98).
    pub(crate) fn end_as_opening(&self) -> At {
        if self.put_off { NEVER } else { self.end() }
    }

    /// It was carried out by one request that nothing befell.
    pub(crate) fn is_undisturbed(&self) -> bool {
        !self.mishap && self.answers <= 1
    }
}

/// A client, and where it stands while the history is read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Party<'h> {
    pub(crate) id: ClientId,
    pub(crate) delivery: Option<Delivery>,
    pub(crate) consumer: Option<&'h Consumer>,
    /// Its present life.
    pub(super) life: u32,
    /// Its open transaction.
    pub(super) txn: u32,
}

impl Party<'_> {
    pub(crate) fn txn_id(&self) -> Option<TxnId> {
        match self.delivery {
            Some(Delivery::Transactional { txn, .. }) => Some(txn),
            _ => None,
        }
    }

    pub(crate) fn protocol(&self) -> Option<Protocol> {
        match self.delivery {
            Some(Delivery::Transactional { protocol, .. }) => Some(protocol),
            _ => None,
        }
    }
}

/// The claim that a delivery is an instance of.
pub(crate) fn claim(delivery: Option<Delivery>) -> Option<Claim> {
    Some(match delivery? {
        Delivery::AtMostOnce => Claim::AtMostOnce,
        Delivery::AtLeastOnce => Claim::AtLeastOnce,
        Delivery::Idempotent => Claim::Idempotent,
        Delivery::Transactional { .. } => Claim::Transactional,
    })
}

/// A client from one opening to the next.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Life {
    /// The place of the client among the parties.
    pub(crate) party: u16,
    pub(crate) open: Asked,
    /// Producer id and epoch, if it was told.
    pub(crate) session: Option<(i64, i16)>,
    /// The last event of its own doing.
    pub(crate) last: At,
    /// The transaction that it began last.
    pub(super) latest: u32,
}

/// Where an answer comes, seen from the transaction that its request was meant for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Late {
    /// Before the next transaction.
    No,
    /// In this later transaction of the same producer epoch, and with a protocol that cannot tell them apart.
    Within(u32),
    /// After the producer epoch was raised.
    Superseded,
}

/// The call of one batch.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sent {
    pub(crate) asked: Asked,
    /// The place of the client among the parties.
    pub(crate) party: u16,
    pub(crate) partition: Partition,
    pub(crate) life: u32,
    pub(crate) txn: u32,
    /// The acknowledged offset of the first record, as the client or else the rig learned it; -1 if neither did.
    pub(crate) base: Offset,
    /// The place of its first record.
    pub(crate) first: u32,
}

impl Sent {
    /// The acknowledged offset of its record at that place, if one was acknowledged.
    #[inline]
    pub(crate) fn acked(&self, place: u32) -> Option<Offset> {
        (self.base >= 0).then(|| self.base.saturating_add(Offset::from(place)))
    }
}

/// The call that saved positions.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Saved {
    pub(crate) asked: Asked,
    pub(crate) party: u16,
    pub(crate) life: u32,
    pub(crate) group: GroupId,
    pub(crate) in_transaction: bool,
    pub(crate) txn: u32,
}

/// What became of a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TxnFate {
    Committed,
    /// Aborted, refused, or left open until a successor aborted it.
    NotCommitted,
    /// Its commit was called, and nobody learned the outcome.
    InDoubt,
}

/// A transaction, from its begin to its end.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Transaction {
    pub(crate) party: u16,
    pub(crate) life: u32,
    pub(crate) begin: At,
    /// It was to be committed. Else aborted, by a call or by being left open.
    pub(crate) commits: bool,
    /// The call that ended it, if one did.
    pub(crate) end: Asked,
    /// How many sends and saves were tried.
    pub(crate) work: u32,
    /// When a record made from an input was last sent.
    pub(crate) last_forward: At,
    /// The last save that was done.
    pub(crate) last_save: u32,
    /// Two saves in it overlapped, or a copy of the first came after the second: no telling which one stands.
    pub(crate) muddled: bool,
    /// How many of its accepted records the final reads (read_committed) should show, and do show.
    pub(crate) expected: u32,
    pub(crate) visible: u32,
}

impl Transaction {
    pub(super) fn new(party: u16, life: u32, begin: At) -> Self {
        Transaction {
            party,
            life,
            begin,
            commits: false,
            end: Asked::NEVER,
            work: 0,
            last_forward: NEVER,
            last_save: NONE,
            muddled: false,
            expected: 0,
            visible: 0,
        }
    }

    pub(crate) fn fate(&self) -> TxnFate {
        match (self.commits, self.end.known, self.end.is_done()) {
            (false, ..) | (true, Known::Refused, false) => TxnFate::NotCommitted,
            // Refused, and yet a hidden answer says that it was done: no telling.
            (true, Known::Refused, true) => TxnFate::InDoubt,
            (true, _, true) => TxnFate::Committed,
            (true, _, false) => TxnFate::InDoubt,
        }
    }
}

/// A position that a group was told.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Told {
    /// The call that asked, and the event that told.
    pub(crate) asked: At,
    pub(crate) at: At,
    pub(crate) position: Option<Offset>,
}

/// What was saved for and told of one position of a group.
#[derive(Clone, Debug, Default)]
pub(crate) struct Register {
    /// Value and save.
    pub(crate) saved: Vec<(Offset, u32)>,
    pub(crate) told: Vec<Told>,
}

/// What an application has of a key of an input in the end.
#[derive(Clone, Copy, Debug)]
pub(crate) struct View<'h> {
    pub(crate) at: At,
    pub(crate) group: GroupId,
    pub(crate) partition: Partition,
    pub(crate) key: Key,
    pub(crate) records: &'h [Tag],
}

/// A group, and what its consumers did with what they read.
#[derive(Clone, Debug)]
pub(crate) struct Group<'h> {
    pub(crate) id: GroupId,
    /// How its consumers consume; none if they do not agree.
    pub(crate) consumer: Option<&'h Consumer>,
    /// How often each record was processed.
    pub(crate) processed: Vec<u8>,
    /// Records that were processed again, and where.
    pub(crate) again: Vec<(u32, At)>,
    /// The view that processing upserts leaves: by partition and key, the record processed last and the furthest one.
    pub(crate) view: Vec<(u32, u32)>,
    /// By partition, the record processed last and the furthest one.
    pub(crate) reached: Vec<(u32, u32)>,
    /// The last call of processing.
    pub(crate) last_processing: At,
}
