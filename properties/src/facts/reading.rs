//! Reading a history, event by event.

use std::collections::BTreeMap;

use onceness_reference::history::{Call, Event, Fetched, Outcome, Record, Reply, Seen};
use onceness_reference::ids::{ClientId, EventId, GroupId, Offset, Partition, Tag};
use onceness_reference::plan::{Client, Consumer, Fate, Fault, Isolation, Protocol, Saving};

use super::calls::{Asked, Group, Known, Late, Life, Party, Saved, Sent, Told, Transaction, View};
use super::log::{self, EMPTY, FOREIGN, Log, level};
use super::tags::NONE;
use super::{At, Fact, Facts, Init, NEVER, NO_PARTY, ODD_MAX, Odd, Skipped};
impl<'h> Facts<'h> {
    pub(super) fn add_party(&mut self, id: ClientId, client: Option<&'h Client>) -> u16 {
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

    fn add_to_group(&mut self, consumer: &'h Consumer) {
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
    pub(super) fn take_final_reads(&mut self) {
        let mut reads = BTreeMap::new();
        for (at, event) in self.history.events.iter().enumerate().rev() {
            match event {
                Event::Healed => break,
                Event::Read { partition, isolation, high_watermark, last_stable, records } => {
                    let read = (at as At, *isolation, *high_watermark, *last_stable, records);
                    reads.entry((*partition, level(*isolation))).or_insert(read);
                }
                _ => {}
            }
        }
        let most = |level| {
            reads
                .iter()
                .filter(move |((_, of), _)| *of == level)
                .map(|(_, read)| read.4.len())
                .sum()
        };
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

    fn take_final_read(
        &mut self,
        at: At,
        partition: Partition,
        isolation: Isolation,
        records: &[Seen],
    ) {
        let mut before = Offset::MIN;
        for seen in records {
            let tag = log::raw(seen);
            let odd = Odd { partition, offset: seen.offset, tag, at };
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

    /// A log that is written to; the header of a foreign history may not know it.
    fn log_mut(&mut self, partition: Partition) -> &mut Log {
        let place = partition.0 as usize;
        if place >= self.logs.len() {
            self.logs.resize(place + 1, Log::default());
        }
        &mut self.logs[place]
    }

    pub(super) fn take(&mut self, at: At, event: &'h Event) {
        match event {
            Event::Call { client, call, .. } => {
                let party = self.party(*client);
                self.take_call(at, party, call);
            }
            Event::Return { of, outcome } => self.take_return(at, *of, outcome),
            Event::Answer { of, preparation: false, fate, outcome } => {
                self.take_answer(at, *of, *fate, outcome)
            }
            Event::Crashed { client, .. } => {
                let party = self.party(*client);
                self.touch(party, at);
                self.end_life(party);
            }
            Event::Fault { fault: Fault::Restart, happened: true } => self.restarts.push(at),
            Event::Fault { fault: Fault::Kill, happened: true } => self.kills.push(at),
            Event::Committed { group, partition, offset } => {
                self.committed.insert((*group, *partition), (at, *offset));
                self.tell(*group, *partition, at, at, *offset);
            }
            Event::View { group, partition, key, records } => {
                let (group, partition, key) = (*group, *partition, *key);
                self.views.push(View { at, group, partition, key, records });
            }
            Event::Stuck { .. } => self.stuck.push(at),
            Event::Read { partition, isolation, records, .. } => {
                let last = self.log(*partition).last(*isolation);
                if last.is_none_or(|last| last.at != at) {
                    self.take_records(at, *partition, *isolation, records);
                }
            }
            Event::Answer { .. }
            | Event::Skipped { .. }
            | Event::Fault { .. }
            | Event::Unmarked { .. }
            | Event::Healed => {}
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
        self.lives.push(Life { party, open, session: None, last: open.at, latest: NONE });
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
            // What is forged is left out before.
            Call::Open | Call::Poll | Call::Rewind | Call::Stall | Call::Forge(_) => {}
            Call::Send { partition, records, .. } => self.take_send(at, party, *partition, records),
            Call::Begin => {
                let life = self.parties[usize::from(party)].life;
                let place = self.transactions.len() as u32;
                self.place[at as usize] = place;
                self.transactions.push(Transaction::new(party, life, at));
                self.parties[usize::from(party)].txn = place;
                self.lives[life as usize].latest = place;
            }
            Call::Commit | Call::Abort | Call::Close => {
                self.take_end(at, party, matches!(call, Call::Commit))
            }
            Call::Process { records } => self.take_processing(at, party, records),
            Call::Save { group, positions, in_transaction } => {
                self.take_save(at, party, *group, positions, *in_transaction)
            }
        }
        if matches!(call, Call::Close) {
            self.end_life(party);
        }
    }

    fn take_send(&mut self, at: At, party: u16, partition: Partition, records: &'h [Record]) {
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
            // In a history a key is at most 255.
            fact.key = record.key.0 as u8;
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
        self.saves.push(Saved { asked: Asked::new(at), party, life, group, in_transaction, txn });
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
                        self.opened[id.0 as usize] = place as u32;
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
                } else if matches!((call, outcome), (Call::Abort, Outcome::Done(_))) {
                    self.abort_after_all(party, of, at, outcome);
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
                if let (Outcome::Done(_), Some(txn)) =
                    (outcome, self.transactions.get_mut(save.txn as usize))
                {
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
                    let isolation =
                        consumer.map_or(Isolation::ReadUncommitted, |consumer| consumer.isolation);
                    for fetched in polled {
                        self.take_fetched(at, isolation, fetched);
                    }
                }
            }
            Call::Process { .. } | Call::Stall | Call::Forge(_) => {}
        }
    }

    /// A commit whose answer never came, and then an abort that was done: that is what the client was told in the end.
    fn abort_after_all(&mut self, party: u16, of: At, at: At, outcome: &Outcome) {
        let life = self.parties[usize::from(party)].life;
        let latest = self.lives.get(life as usize).map_or(NONE, |life| life.latest);
        let in_doubt = |txn: &&mut Transaction| txn.commits && txn.end.known == Known::Nothing;
        if let Some(txn) = self.transactions.get_mut(latest as usize).filter(in_doubt) {
            txn.commits = false;
            txn.end = Asked::new(of);
            txn.end.returns(at, outcome);
            self.place[of as usize] = latest;
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
        // A late request whose answer a broker took with it may have been accepted like any other.
        let arrived = !matches!(fate, Fate::RequestLost | Fate::Busy);
        match call {
            Call::Open => {
                let Some(life) = self.lives.get_mut(place) else { return };
                life.open.is_answered(at, fate, outcome);
                if let (Outcome::Done(reply), Some(id)) =
                    (outcome, self.parties[usize::from(party)].txn_id())
                {
                    let session = match reply {
                        Reply::Opened { session, .. } => *session,
                        _ => None,
                    };
                    self.inits[id.0 as usize].push(Init {
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
                if let (Outcome::Unknown, true, Late::Within(into)) = (outcome, arrived, late) {
                    self.weaknesses.late_request(at, into);
                    self.weaknesses.late_request(at, send.txn);
                }
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
                    (Late::No, _, Some(txn)) if txn.end.at == of.0 => {
                        txn.end.is_answered(at, fate, outcome)
                    }
                    (Late::Within(into), Outcome::Done(_) | Outcome::Unknown, _) if arrived => {
                        self.weaknesses.late_request(at, into)
                    }
                    // It says nothing of the transaction that it was meant for.
                    _ => {}
                }
            }
            Call::Save { group, positions, .. } => {
                let late = self.late(self.saves.get(place).map_or(NONE, |save| save.txn));
                match (late, outcome, self.saves.get_mut(place)) {
                    (Late::No, _, Some(save)) => save.asked.is_answered(at, fate, outcome),
                    (Late::Within(into), Outcome::Done(_) | Outcome::Unknown, _) if arrived => {
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
        let opened = party.txn_id().map_or(NONE, |id| self.opened[id.0 as usize]);
        let successor =
            self.lives.get(opened as usize).filter(|successor| successor.open.at > txn.begin);
        let tv1 = party.protocol() == Some(Protocol::Tv1) && life.latest != meant;
        match successor {
            // Until the successor went on, the request may have come just before it.
            Some(successor) if successor.last > successor.open.returned => Late::Superseded,
            _ if tv1 => Late::Within(life.latest),
            Some(_) => Late::Superseded,
            None => Late::No,
        }
    }

    fn tell_all(
        &mut self,
        party: u16,
        asked: At,
        at: At,
        positions: &[(Partition, Option<Offset>)],
    ) {
        if let Some(consumer) = self.parties[usize::from(party)].consumer {
            for (partition, position) in positions {
                self.tell(consumer.group, *partition, asked, at, *position);
            }
        }
    }

    fn tell(
        &mut self,
        group: GroupId,
        partition: Partition,
        asked: At,
        at: At,
        position: Option<Offset>,
    ) {
        let register = self.registers.entry((group, partition)).or_default();
        register.told.push(Told { asked, at, position });
    }

    fn take_fetched(&mut self, at: At, isolation: Isolation, fetched: &Fetched) {
        self.take_records(at, fetched.partition, isolation, &fetched.records);
        if self.skips.len() < ODD_MAX
            && self.log(fetched.partition).is_skipped(level(isolation), fetched)
        {
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
    fn take_records(
        &mut self,
        at: At,
        partition: Partition,
        isolation: Isolation,
        records: &[Seen],
    ) {
        let level = level(isolation);
        self.log_mut(partition);
        let log = &mut self.logs[partition.0 as usize];
        let mut before = Offset::MIN;
        for seen in records {
            let tag = log::raw(seen);
            let odd = || Odd { partition, offset: seen.offset, tag, at };
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
}

#[cold]
pub(super) fn keep(list: &mut Vec<Odd>, odd: Odd) {
    if list.len() < ODD_MAX {
        list.push(odd);
    }
}

impl Group<'_> {
    #[inline]
    fn take_upsert(&mut self, records: &[Fact], place: u32, record: &Fact) {
        let partition = record.partition.0 as usize;
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
