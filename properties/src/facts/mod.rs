//! What a history says, in a form that properties can ask: built in one pass over the events.
//!
//! The contestable decision: the final reads are looked up first. Nearly everything that was ever polled is also in
//! them, so a poll is then only compared with a table and leaves no trace unless it differs. Evidence is event ids, which
//! the tables keep for the first sight of each offset; whatever else a story needs is looked for when there is one.

use std::collections::BTreeMap;

use onceness_reference::history::{Call, Event, Fetched, History, Outcome, Reply, Seen};
use onceness_reference::ids::{ClientId, EventId, GroupId, Offset, Partition, Tag};
use onceness_reference::plan::{Client, Fate, Fault, Isolation, Protocol, Saving};
use rustc_hash::FxHashMap;

pub(crate) mod calls;
pub(crate) mod log;
pub(crate) mod positions;
pub(crate) mod tags;

use crate::verdict::Claim;
use crate::watch::Sight;
use crate::weakness::Weaknesses;
use calls::{Asked, Group, Late, Life, Party, Register, Saved, Sent, Told, Transaction};
use log::{EMPTY, FOREIGN, Log, level};
use positions::Mismatch;
use tags::{NONE, Tags};

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
    /// By transactional id.
    pub(crate) inits: Vec<Vec<Init>>,
    /// By transactional id: when each opening was called, and when it and all before it have no effect any more.
    rises: Vec<Vec<(At, At)>>,
    /// Answers to sends and to ends of transactions: the call, the answer.
    pub(crate) answers: Vec<(At, At)>,
    pub(crate) restarts: Vec<At>,
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
        let txns = ids.map(|id| usize::from(id.0) + 1).max().unwrap_or(0);
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
            inits: vec![Vec::new(); txns],
            rises: vec![Vec::new(); txns],
            answers: Vec::new(),
            restarts: Vec::new(),
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

    fn add_party(&mut self, id: ClientId, client: Option<&'h Client>) -> u16 {
        let place = self.parties.len() as u16;
        self.party_of[usize::from(id.0)] = place;
        let consumer = client.and_then(|client| client.consumer.as_ref());
        self.parties.push(Party {
            id,
            delivery: client.and_then(|client| client.delivery),
            consumer,
            life: NONE,
            txn: NONE,
        });
        if let Some(consumer) = consumer {
            self.add_to_group(consumer);
        }
        place
    }

    fn add_to_group(&mut self, consumer: &'h onceness_reference::plan::Consumer) {
        let id = consumer.group;
        if let Some(place) = self.group_of.get(&id) {
            let known = &mut self.groups[*place];
            known.consumer = known.consumer.filter(|known| *known == consumer);
            return;
        }
        self.group_of.insert(id, self.groups.len());
        self.groups.push(Group {
            id,
            consumer: Some(consumer),
            processed: Vec::new(),
            again: Vec::new(),
            view: Vec::new(),
            reached: Vec::new(),
            last_processing: NEVER,
        });
    }

    /// The place of a client; one that the header does not know may have sent something all the same.
    fn party(&mut self, id: ClientId) -> u16 {
        match self.party_of[usize::from(id.0)] {
            NO_PARTY => self.add_party(id, None),
            place => place,
        }
    }

    /// Takes the last read of each partition and level, so that records come to be listed as they are in the log.
    fn take_final_reads(&mut self) {
        let mut reads = BTreeMap::new();
        for (at, event) in self.history.events.iter().enumerate().rev() {
            match event {
                Event::Healed => break,
                Event::Read {
                    partition,
                    isolation,
                    high_watermark,
                    last_stable,
                    records,
                } => {
                    let read = (at as At, *isolation, *high_watermark, *last_stable, records);
                    reads.entry((*partition, level(*isolation))).or_insert(read);
                }
                _ => {}
            }
        }
        let most = |level| reads.iter().filter(move |((_, of), _)| *of == level).map(|(_, read)| read.4.len()).sum();
        self.records.reserve(usize::max(most(0), most(1)));
        for ((partition, _), (at, isolation, high_watermark, last_stable, records)) in reads {
            let log = self.log_mut(partition);
            log.set_final(isolation, at, high_watermark, last_stable, records);
            self.take_final_read(at, partition, isolation, records);
        }
        for log in &mut self.logs {
            log.count_finals();
        }
    }

    fn take_final_read(&mut self, at: At, partition: Partition, isolation: Isolation, records: &[Seen]) {
        let mut before = Offset::MIN;
        for seen in records {
            let tag = log::raw(seen);
            let odd = Odd {
                partition,
                offset: seen.offset,
                tag,
                at,
            };
            if seen.offset <= before {
                keep(&mut self.disorders, odd);
            }
            before = seen.offset;
            let slot = self.log_mut(partition).slot(seen.offset);
            if slot.tag == EMPTY {
                slot.tag = tag;
            } else if slot.tag != tag {
                keep(&mut self.conflicts, odd);
                continue;
            }
            slot.first[level(isolation)] = at;
            slot.last[level(isolation)] = true;
            self.place_record(partition, seen.offset, tag);
        }
    }

    /// A record's place, for the views of consumers; it is asked again when everything is known.
    fn place_record(&mut self, partition: Partition, offset: Offset, tag: u32) {
        if tag != FOREIGN {
            let place = self.record(Tag(tag));
            let record = &mut self.records[place as usize];
            if record.at < 0 {
                (record.partition, record.at) = (partition, offset);
            }
        }
    }

    /// The place of a tag's record, made if it is new.
    #[inline]
    fn record(&mut self, tag: Tag) -> u32 {
        let (place, new) = self.tags.find_or_add(tag);
        if new {
            self.records.push(Fact {
                tag,
                send: NONE,
                place: 0,
                span: 0,
                at: -1,
                first: [NEVER; 2],
                partition: Partition(0),
                key: 0,
                copies: 0,
                copies_committed: 0,
                last: [false; 2],
                forwarded: false,
                ambiguous: false,
            });
        }
        place
    }

    fn take(&mut self, at: At, event: &'h Event) {
        match event {
            Event::Call { client, call, .. } => {
                let party = self.party(*client);
                self.take_call(at, party, call);
            }
            Event::Return { of, outcome } => self.take_return(at, *of, outcome),
            Event::Answer {
                of,
                preparation: false,
                fate,
                outcome,
            } => self.take_answer(at, *of, *fate, outcome),
            Event::Crashed { client, .. } => {
                let party = self.party(*client);
                self.touch(party, at);
                self.end_life(party);
            }
            Event::Fault {
                fault: Fault::Restart,
                happened: true,
            } => self.restarts.push(at),
            Event::Committed {
                group,
                partition,
                offset,
            } => {
                self.committed.insert((*group, *partition), (at, *offset));
                self.tell(*group, *partition, at, at, *offset);
            }
            Event::Stuck { .. } => self.stuck.push(at),
            Event::Read {
                partition,
                isolation,
                records,
                ..
            } => {
                let last = self.log(*partition).last(*isolation);
                if last.is_none_or(|last| last.at != at) {
                    self.take_records(at, *partition, *isolation, records);
                }
            }
            Event::Answer { .. } | Event::Skipped { .. } | Event::Fault { .. } | Event::Healed => {}
        }
    }

    fn touch(&mut self, party: u16, at: At) {
        let life = self.parties[usize::from(party)].life;
        if let Some(life) = self.lives.get_mut(life as usize) {
            life.last = at;
        }
    }

    fn end_life(&mut self, party: u16) {
        let party = &mut self.parties[usize::from(party)];
        (party.life, party.txn) = (NONE, NONE);
    }

    fn begin_life(&mut self, party: u16, open: Asked) {
        self.end_life(party);
        self.parties[usize::from(party)].life = self.lives.len() as u32;
        self.lives.push(Life {
            party,
            open,
            session: None,
            last: open.at,
            latest: NONE,
        });
    }

    fn take_call(&mut self, at: At, party: u16, call: &'h Call) {
        // A history that began before we looked has lives without an opening.
        if matches!(call, Call::Open) {
            self.place[at as usize] = self.lives.len() as u32;
            self.begin_life(party, Asked::new(at));
            return;
        }
        if self.parties[usize::from(party)].life == NONE {
            self.begin_life(party, Asked::NEVER);
        }
        self.touch(party, at);
        match call {
            Call::Open | Call::Poll | Call::Rewind => {}
            Call::Send {
                partition, records, ..
            } => self.take_send(at, party, *partition, records),
            Call::Begin => {
                let life = self.parties[usize::from(party)].life;
                let place = self.transactions.len() as u32;
                self.place[at as usize] = place;
                self.transactions.push(Transaction::new(party, life, at));
                self.parties[usize::from(party)].txn = place;
                self.lives[life as usize].latest = place;
            }
            Call::Commit | Call::Abort | Call::Close => self.take_end(at, party, matches!(call, Call::Commit)),
            Call::Process { records } => self.take_processing(at, party, records),
            Call::Save {
                group,
                positions,
                in_transaction,
            } => self.take_save(at, party, *group, positions, *in_transaction),
        }
        if matches!(call, Call::Close) {
            self.end_life(party);
        }
    }

    fn take_send(
        &mut self,
        at: At,
        party: u16,
        partition: Partition,
        records: &'h [onceness_reference::history::Record],
    ) {
        let Party { life, txn, .. } = self.parties[usize::from(party)];
        let send = self.sends.len() as u32;
        self.place[at as usize] = send;
        let forwards = records.iter().any(|record| record.from.is_some());
        if let Some(txn) = self.transactions.get_mut(txn as usize) {
            txn.work += 1;
            if forwards {
                txn.last_forward = at;
            }
        }
        let mut first = NONE;
        for (place, record) in records.iter().enumerate() {
            let fact = self.record(record.tag);
            if place == 0 {
                first = fact;
            }
            let fact = &mut self.records[fact as usize];
            if fact.send != NONE {
                fact.ambiguous = true;
                continue;
            }
            if fact.partition != partition {
                (fact.partition, fact.at) = (partition, -1);
            }
            fact.send = send;
            fact.place = place as u32;
            fact.forwarded = record.from.is_some();
            fact.key = record.key.0;
        }
        self.sends.push(Sent {
            asked: Asked::new(at),
            party,
            partition,
            life,
            txn,
            base: -1,
            first,
        });
    }

    fn take_end(&mut self, at: At, party: u16, commits: bool) {
        let party = &mut self.parties[usize::from(party)];
        let txn = std::mem::replace(&mut party.txn, NONE);
        if let Some(open) = self.transactions.get_mut(txn as usize) {
            open.commits = commits;
            open.end = Asked::new(at);
            self.place[at as usize] = txn;
        }
    }

    fn take_processing(&mut self, at: At, party: u16, tags: &[Tag]) {
        let Some(consumer) = self.parties[usize::from(party)].consumer else { return };
        let Some(group) = self.group_of.get(&consumer.group) else { return };
        let group = &mut self.groups[*group];
        group.last_processing = at;
        let views = consumer.saving == Saving::AfterProcessing;
        for tag in tags {
            let Some(place) = self.tags.find(*tag) else { continue };
            let index = place as usize;
            if index >= group.processed.len() {
                group.processed.resize(self.records.len(), 0);
            }
            let times = &mut group.processed[index];
            *times = times.saturating_add(1);
            if *times > 1 && !views && group.again.len() < ODD_MAX {
                group.again.push((place, at));
            }
            let record = &self.records[index];
            if views && record.at >= 0 {
                group.take_upsert(&self.records, place, record);
            }
        }
    }

    fn take_save(
        &mut self,
        at: At,
        party: u16,
        group: GroupId,
        positions: &[(Partition, Offset)],
        in_transaction: bool,
    ) {
        let Party { life, txn, .. } = self.parties[usize::from(party)];
        let txn = if in_transaction { txn } else { NONE };
        let save = self.saves.len() as u32;
        self.place[at as usize] = save;
        if let Some(txn) = self.transactions.get_mut(txn as usize) {
            txn.work += 1;
        }
        self.saves.push(Saved {
            asked: Asked::new(at),
            party,
            life,
            group,
            in_transaction,
            txn,
        });
        for (partition, position) in positions {
            let register = self.registers.entry((group, *partition)).or_default();
            register.saved.push((*position, save));
        }
    }

    fn take_return(&mut self, at: At, of: EventId, outcome: &'h Outcome) {
        let Some((party, call, place)) = self.call(at, of) else { return };
        let of = of.0;
        if !matches!(call, Call::Close) {
            self.touch(party, at);
        }
        match call {
            Call::Open => {
                let Some(life) = self.lives.get_mut(place) else { return };
                life.open.returns(at, outcome);
                life.last = at;
                if let Outcome::Done(Reply::Opened { session, positions }) = outcome {
                    life.session = *session;
                    if let Some(id) = self.parties[usize::from(party)].txn_id() {
                        self.opened[usize::from(id.0)] = place as u32;
                    }
                    self.tell_all(party, of, at, positions);
                }
            }
            Call::Send { .. } => {
                let Some(send) = self.sends.get_mut(place) else { return };
                send.asked.returns(at, outcome);
                if let Outcome::Done(Reply::Appended { base: Some(base) }) = outcome {
                    send.base = *base;
                }
            }
            Call::Commit | Call::Abort | Call::Close => {
                if let Some(txn) = self.transactions.get_mut(place) {
                    txn.end.returns(at, outcome);
                }
            }
            Call::Begin => {
                let party = &mut self.parties[usize::from(party)];
                if matches!(outcome, Outcome::Refused(_)) && party.txn as usize == place {
                    party.txn = NONE;
                }
            }
            Call::Save { .. } => {
                let Some(save) = self.saves.get_mut(place) else { return };
                save.asked.returns(at, outcome);
                if let (Outcome::Done(_), Some(txn)) = (outcome, self.transactions.get_mut(save.txn as usize)) {
                    txn.last_save = place as u32;
                }
            }
            Call::Rewind => {
                if let Outcome::Done(Reply::Positions(positions)) = outcome {
                    self.tell_all(party, of, at, positions);
                }
            }
            Call::Poll => {
                if let Outcome::Done(Reply::Polled(polled)) = outcome {
                    let consumer = self.parties[usize::from(party)].consumer;
                    let isolation = consumer.map_or(Isolation::ReadUncommitted, |consumer| consumer.isolation);
                    for fetched in polled {
                        self.take_fetched(at, isolation, fetched);
                    }
                }
            }
            Call::Process { .. } => {}
        }
    }

    /// The client, the call and the place of what it began.
    fn call(&self, at: At, of: EventId) -> Option<(u16, &'h Call, usize)> {
        match self.history.events.get(of.0 as usize) {
            Some(Event::Call { client, call, .. }) if of.0 < at => {
                let party = self.party_of[usize::from(client.0)];
                Some((party, call, self.place[of.0 as usize] as usize))
            }
            _ => None,
        }
    }

    fn take_answer(&mut self, at: At, of: EventId, fate: Fate, outcome: &Outcome) {
        let Some((party, call, place)) = self.call(at, of) else { return };
        match call {
            Call::Open => {
                let Some(life) = self.lives.get_mut(place) else { return };
                life.open.is_answered(at, fate, outcome);
                if let (Outcome::Done(reply), Some(id)) = (outcome, self.parties[usize::from(party)].txn_id()) {
                    let session = match reply {
                        Reply::Opened { session, .. } => *session,
                        _ => None,
                    };
                    self.inits[usize::from(id.0)].push(Init {
                        life: place as u32,
                        asked: of.0,
                        proof: at,
                        session,
                    });
                }
            }
            Call::Send { .. } => {
                self.answers.push((of.0, at));
                let late = self.late(self.sends.get(place).map_or(NONE, |send| send.txn));
                let Some(send) = self.sends.get_mut(place) else { return };
                send.asked.is_answered(at, fate, outcome);
                if let Outcome::Done(Reply::Appended { base: Some(base) }) = outcome {
                    let again = send.base == *base;
                    if send.base < 0 {
                        send.base = *base;
                    }
                    if let (Late::Within(into), false) = (late, again) {
                        self.weaknesses.late_request(at, into);
                        self.weaknesses.late_request(at, send.txn);
                    }
                }
            }
            Call::Commit | Call::Abort | Call::Close => {
                self.answers.push((of.0, at));
                match (self.late(place as u32), outcome, self.transactions.get_mut(place)) {
                    (Late::No, _, Some(txn)) => txn.end.is_answered(at, fate, outcome),
                    (Late::Within(into), Outcome::Done(_), _) => self.weaknesses.late_request(at, into),
                    // It says nothing of the transaction that it was meant for.
                    _ => {}
                }
            }
            Call::Save {
                group, positions, ..
            } => {
                let late = self.late(self.saves.get(place).map_or(NONE, |save| save.txn));
                match (late, outcome, self.saves.get_mut(place)) {
                    (Late::No, _, Some(save)) => save.asked.is_answered(at, fate, outcome),
                    (Late::Within(into), Outcome::Done(_), _) => {
                        self.weaknesses.late_request(at, into);
                        self.weaknesses.late_save(at, *group, positions);
                    }
                    _ => {}
                }
            }
            _ => {}
        }
    }

    /// Where an answer that comes now stands to the transaction that its request was meant for.
    fn late(&self, meant: u32) -> Late {
        let Some(txn) = self.transactions.get(meant as usize) else { return Late::No };
        let (party, life) = (&self.parties[usize::from(txn.party)], &self.lives[txn.life as usize]);
        let opened = party.txn_id().map_or(NONE, |id| self.opened[usize::from(id.0)]);
        let successor = self.lives.get(opened as usize).filter(|successor| successor.open.at > txn.begin);
        let tv1 = party.protocol() == Some(Protocol::Tv1) && life.latest != meant;
        match successor {
            // Until the successor went on, the request may have come just before it.
            Some(successor) if successor.last > successor.open.returned => Late::Superseded,
            _ if tv1 => Late::Within(life.latest),
            Some(_) => Late::Superseded,
            None => Late::No,
        }
    }

    fn tell_all(&mut self, party: u16, asked: At, at: At, positions: &[(Partition, Option<Offset>)]) {
        if let Some(consumer) = self.parties[usize::from(party)].consumer {
            for (partition, position) in positions {
                self.tell(consumer.group, *partition, asked, at, *position);
            }
        }
    }

    fn tell(&mut self, group: GroupId, partition: Partition, asked: At, at: At, position: Option<Offset>) {
        let register = self.registers.entry((group, partition)).or_default();
        register.told.push(Told {
            asked,
            at,
            position,
        });
    }

    fn take_fetched(&mut self, at: At, isolation: Isolation, fetched: &Fetched) {
        self.take_records(at, fetched.partition, isolation, &fetched.records);
        if self.skips.len() < ODD_MAX && self.log(fetched.partition).is_skipped(level(isolation), fetched) {
            self.skips.push(Skipped {
                at,
                partition: fetched.partition,
                isolation,
                from: fetched.from,
                to: fetched.to,
            });
        }
    }

    /// This is the hot loop.
    fn take_records(&mut self, at: At, partition: Partition, isolation: Isolation, records: &[Seen]) {
        let level = level(isolation);
        self.log_mut(partition);
        let log = &mut self.logs[usize::from(partition.0)];
        let mut before = Offset::MIN;
        for seen in records {
            let tag = log::raw(seen);
            let odd = || Odd {
                partition,
                offset: seen.offset,
                tag,
                at,
            };
            if seen.offset <= before {
                keep(&mut self.disorders, odd());
            }
            before = seen.offset;
            let slot = log.slot(seen.offset);
            if slot.tag == EMPTY {
                slot.tag = tag;
            }
            if slot.tag == tag {
                slot.first[level] = slot.first[level].min(at);
            } else {
                keep(&mut self.conflicts, odd());
            }
        }
    }

    fn settle(&mut self) {
        self.settle_inits();
        self.settle_records();
        self.settle_transactions();
        self.mismatches = positions::mismatches(self);
    }

    fn settle_inits(&mut self) {
        for (place, life) in self.lives.iter().enumerate() {
            let Some(id) = self.parties[usize::from(life.party)].txn_id() else { continue };
            if life.open.at == NEVER {
                continue;
            }
            let opened = Init {
                life: place as u32,
                asked: life.open.at,
                proof: if life.session.is_some() { life.open.returned } else { NEVER },
                session: life.session,
            };
            self.inits[usize::from(id.0)].push(opened);
            let rises = &mut self.rises[usize::from(id.0)];
            let before = rises.last().map_or(0, |(_, end)| *end);
            rises.push((life.open.at, before.max(life.open.end_as_opening())));
        }
    }

    fn settle_records(&mut self) {
        let logs = std::mem::take(&mut self.logs);
        for record in &mut self.records {
            record.at = -1;
        }
        for (partition, log) in logs.iter().enumerate() {
            let partition = Partition(partition as u8);
            let read = log.last(Isolation::ReadUncommitted).is_some();
            for (offset, slot) in log.slots() {
                let odd = Odd {
                    partition,
                    offset,
                    tag: slot.tag,
                    at: slot.first_seen(),
                };
                if read && !slot.last[0] {
                    let list = if slot.last[1] { &mut self.hidden } else { &mut self.gone };
                    keep(list, odd);
                }
                let found = (slot.tag != FOREIGN).then(|| self.tags.find(Tag(slot.tag))).flatten();
                let sent_here = |place: &u32| {
                    let record = &self.records[*place as usize];
                    record.send != NONE && (record.ambiguous || record.partition == partition)
                };
                match found.filter(sent_here) {
                    Some(place) => self.records[place as usize].is_seen(offset, slot),
                    None => keep(&mut self.strangers, odd),
                }
            }
        }
        self.logs = logs;
    }

    fn settle_transactions(&mut self) {
        for record in self.records.iter().filter(|record| !record.ambiguous) {
            let Some(send) = self.sends.get(record.send as usize) else { continue };
            let Some(txn) = self.transactions.get_mut(send.txn as usize) else { continue };
            let log = self.logs.get(usize::from(send.partition.0));
            let Some(last) = log.and_then(|log| log.last(Isolation::ReadCommitted)) else { continue };
            let covered = record.at < 0 || record.at < last.end;
            txn.expected += u32::from(send.asked.is_done() && covered);
            txn.visible += u32::from(record.last[1]);
        }
        let mut before: FxHashMap<u32, u32> = FxHashMap::default();
        for (place, save) in self.saves.iter().enumerate() {
            if let Some(txn) = self.transactions.get_mut(save.txn as usize)
                && let Some(earlier) = before.insert(save.txn, place as u32)
            {
                txn.muddled |= self.saves[earlier as usize].asked.end() > save.asked.at;
            }
        }
    }

    /// The record of that tag.
    pub(crate) fn find(&self, tag: Tag) -> Option<&Fact> {
        self.tags.find(tag).map(|place| &self.records[place as usize])
    }

    /// The place of a tag's record.
    pub(crate) fn place_of(&self, tag: Tag) -> Option<u32> {
        self.tags.find(tag)
    }

    /// The send that was called there.
    pub(crate) fn send_at(&self, call: At) -> Option<&Sent> {
        let is_send = |event: &&Event| matches!(event, Event::Call { call: Call::Send { .. }, .. });
        self.history.events.get(call as usize).filter(is_send)?;
        self.sends.get(*self.place.get(call as usize)? as usize)
    }

    /// The place of the transaction that a call of commit or abort ended.
    pub(crate) fn ended_by(&self, call: At) -> Option<usize> {
        let ends = |event: &&Event| matches!(event, Event::Call { call: Call::Commit | Call::Abort, .. });
        self.history.events.get(call as usize).filter(ends)?;
        let place = *self.place.get(call as usize)? as usize;
        (place < self.transactions.len()).then_some(place)
    }

    /// Whether a client's transactional id may have been opened between two events: that raises its epoch.
    pub(crate) fn epoch_may_rise(&self, party: u16, after: At, before: At) -> bool {
        let Some(id) = self.parties[usize::from(party)].txn_id() else { return false };
        let rises = &self.rises[usize::from(id.0)];
        let asked = rises.partition_point(|(asked, _)| *asked < before);
        rises[..asked].last().is_some_and(|(_, end)| after < *end)
    }

    /// Whether no two instances of a group were at work at the same time.
    pub(crate) fn lives_apart(&self, group: &Group<'_>) -> bool {
        let of_group = |life: &&Life| {
            let consumer = self.parties[usize::from(life.party)].consumer;
            consumer.is_some_and(|consumer| consumer.group == group.id)
        };
        let mut until = None;
        // Lives are listed in the order of their openings.
        self.lives.iter().filter(of_group).all(|life| {
            let apart = until.is_none_or(|until| life.open.at != NEVER && until < life.open.at);
            until = Some(life.last).max(until);
            apart
        })
    }

    /// The position that a call saved for a partition.
    pub(crate) fn position_of(&self, save: &Saved, partition: Partition) -> Option<Offset> {
        match self.history.events.get(save.asked.at as usize)? {
            Event::Call {
                call: Call::Save { positions, .. },
                ..
            } => positions.iter().find(|(at, _)| *at == partition).map(|(_, position)| *position),
            _ => None,
        }
    }

    /// Where a record is, and who saw it there first. Slow, for stories.
    pub(crate) fn copies(&self, record: &Fact) -> Vec<(Offset, At)> {
        let slots = self.log(record.partition).slots();
        slots.filter(|(_, slot)| slot.tag == record.tag.0).map(|(offset, slot)| (offset, slot.first_seen())).collect()
    }

    /// The offsets that a read was handed of a partition. Slow, for stories.
    pub(crate) fn handed(&self, at: At, of: Partition) -> Vec<Offset> {
        match self.history.events.get(at as usize) {
            Some(Event::Return {
                outcome: Outcome::Done(Reply::Polled(polled)),
                ..
            }) => {
                let fetched = polled.iter().filter(|fetched| fetched.partition == of);
                fetched.flat_map(|fetched| &fetched.records).map(|seen| seen.offset).collect()
            }
            _ => Vec::new(),
        }
    }

    /// Who reports an event, for stories.
    pub(crate) fn who(&self, at: At) -> String {
        match self.history.events.get(at as usize) {
            Some(Event::Return { of, .. }) => match self.history.events.get(of.0 as usize) {
                Some(Event::Call { client, .. }) => client.to_string(),
                _ => "a reader".to_owned(),
            },
            Some(Event::Read { .. }) => "the final reader".to_owned(),
            _ => "a reader".to_owned(),
        }
    }

    pub(crate) fn client(&self, party: u16) -> ClientId {
        self.parties[usize::from(party)].id
    }

    /// The claim that a send's delivery is an instance of.
    pub(crate) fn claim_of(&self, send: &Sent) -> Option<Claim> {
        calls::claim(self.parties[usize::from(send.party)].delivery)
    }

    pub(crate) fn send_of(&self, record: &Fact) -> Option<&Sent> {
        self.sends.get(record.send as usize)
    }

    pub(crate) fn txn_of(&self, send: &Sent) -> Option<&Transaction> {
        self.transactions.get(send.txn as usize)
    }

    pub(crate) fn log(&self, partition: Partition) -> &Log {
        self.logs.get(usize::from(partition.0)).unwrap_or(&NO_LOG)
    }

    /// A log that is written to; the header of a foreign history may not know it.
    fn log_mut(&mut self, partition: Partition) -> &mut Log {
        let place = usize::from(partition.0);
        if place >= self.logs.len() {
            self.logs.resize(place + 1, Log::default());
        }
        &mut self.logs[place]
    }

    /// A record with what belongs to it, if it was sent and its identity is not in doubt.
    #[inline]
    pub(crate) fn sight(&self, place: u32) -> Option<Sight<'_>> {
        let record = self.records.get(place as usize).filter(|record| !record.ambiguous)?;
        let send = self.send_of(record)?;
        Some(Sight {
            place,
            record,
            send,
            txn: self.txn_of(send).map(|txn| (txn, txn.fate())),
            claim: self.claim_of(send)?,
        })
    }

    /// All records that were sent, some at a time: see [`crate::watch::Watch::records`] for their order.
    pub(crate) fn for_sent(&self, mut see: impl FnMut(&[Sight<'_>])) {
        let order = |record: &Fact| (record.copies == 0, record.partition, record.at);
        let mut places: Vec<u32> = Vec::new();
        // As good as always they are listed in this order already.
        if !self.records.is_sorted_by_key(order) {
            places.extend(0..self.records.len() as u32);
            places.sort_by_key(|place| order(&self.records[*place as usize]));
        }
        let place = |i: usize| places.get(i).copied().unwrap_or(i as u32);
        let mut sights = Vec::with_capacity(SIGHTS);
        for first in (0..self.records.len()).step_by(SIGHTS) {
            let some = first..self.records.len().min(first + SIGHTS);
            // What belongs to them is scattered. Fetched without doing anything else, it is fetched all at once.
            sights.extend(some.filter_map(|i| self.sight(place(i))));
            see(&sights);
            sights.clear();
        }
    }

    /// All records that were sent, as they come.
    pub(crate) fn sights(&self) -> impl Iterator<Item = Sight<'_>> {
        (0..self.records.len() as u32).filter_map(|place| self.sight(place))
    }

    /// The input that a record was made from.
    pub(crate) fn from(&self, record: &Fact) -> Option<Tag> {
        match self.history.events.get(self.send_of(record)?.asked.at as usize)? {
            Event::Call {
                call: Call::Send { records, .. },
                ..
            } => records.get(record.place as usize)?.from,
            _ => None,
        }
    }

    /// Who told the acknowledged offset of a send first.
    pub(crate) fn base_told(&self, send: &Sent) -> At {
        let answers = self.answers.iter().filter(|(call, _)| *call == send.asked.at).map(|(_, answer)| *answer);
        let tells = |at: &At| match self.history.events.get(*at as usize) {
            Some(
                Event::Answer {
                    outcome: Outcome::Done(Reply::Appended { base }),
                    ..
                }
                | Event::Return {
                    outcome: Outcome::Done(Reply::Appended { base }),
                    ..
                },
            ) => *base == Some(send.base),
            _ => false,
        };
        answers.chain([send.asked.returned]).filter(tells).min().unwrap_or(NEVER)
    }

    /// The claims that the clients of this history are instances of.
    pub(crate) fn claims_present(&self) -> Vec<Claim> {
        let of_party = |party: &Party<'_>| {
            let consumes = party.consumer.map(|consumer| claim_of_saving(consumer.saving));
            [calls::claim(party.delivery), consumes]
        };
        let mut claims: Vec<Claim> = self.parties.iter().flat_map(of_party).flatten().collect();
        claims.sort_unstable();
        claims.dedup();
        claims
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

#[cold]
fn keep(list: &mut Vec<Odd>, odd: Odd) {
    if list.len() < ODD_MAX {
        list.push(odd);
    }
}

impl Fact {
    fn is_seen(&mut self, offset: Offset, slot: &log::Slot) {
        if self.copies == 0 {
            self.at = offset;
        }
        self.copies = self.copies.saturating_add(1);
        self.copies_committed = self.copies_committed.saturating_add(u8::from(slot.last[1]));
        self.span = u32::try_from(offset.saturating_sub(self.at)).unwrap_or(u32::MAX);
        for level in 0..2 {
            self.last[level] |= slot.last[level];
            self.first[level] = self.first[level].min(slot.first[level]);
        }
    }

    /// Who saw it first.
    pub(crate) fn first_seen(&self) -> At {
        self.first[0].min(self.first[1])
    }
}

impl Group<'_> {
    #[inline]
    fn take_upsert(&mut self, records: &[Fact], place: u32, record: &Fact) {
        let partition = usize::from(record.partition.0);
        let view = partition << 8 | usize::from(record.key);
        if view >= self.view.len() {
            self.view.resize((partition + 1) << 8, (NONE, NONE));
        }
        if partition >= self.reached.len() {
            self.reached.resize(partition + 1, (NONE, NONE));
        }
        for (last, furthest) in [&mut self.view[view], &mut self.reached[partition]] {
            *last = place;
            if records.get(*furthest as usize).is_none_or(|furthest| furthest.at < record.at) {
                *furthest = place;
            }
        }
    }
}
