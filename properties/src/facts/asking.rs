//! What properties ask.

use onceness_reference::history::{Call, Event, Outcome, Reply};
use onceness_reference::ids::{ClientId, Offset, Partition, Tag};

use super::calls::{self, Group, Life, Party, Saved, Sent, Transaction};
use super::log::Log;
use super::{At, Fact, Facts, NEVER, NO_LOG, SIGHTS, claim_of_saving};
use crate::verdict::Claim;
use crate::watch::Sight;
impl<'h> Facts<'h> {
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

    /// The place of the transaction that a call of commit or abort ended, in the end.
    pub(crate) fn ended_by(&self, call: At) -> Option<usize> {
        let ends =
            |event: &&Event| matches!(event, Event::Call { call: Call::Commit | Call::Abort, .. });
        self.history.events.get(call as usize).filter(ends)?;
        let place = *self.place.get(call as usize)? as usize;
        self.transactions.get(place).filter(|txn| txn.end.at == call).map(|_| place)
    }

    /// Whether a client's transactional id may have been opened between two events: that raises its epoch.
    pub(crate) fn epoch_may_rise(&self, party: u16, after: At, before: At) -> bool {
        let Some(id) = self.parties[usize::from(party)].txn_id() else { return false };
        let rises = &self.rises[id.0 as usize];
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

    /// Whether the position was saved after the last output of a transaction and before its end, in it or (wrongly) not.
    pub(crate) fn saved_after_forwarding(&self, txn: &Transaction) -> bool {
        let after = self.saves.partition_point(|save| save.asked.at <= txn.last_forward);
        let mut before_end =
            self.saves[after..].iter().take_while(|save| save.asked.at < txn.end.at);
        before_end.any(|save| save.life == txn.life && save.asked.known == calls::Known::Done)
    }

    /// The position that a call saved for a partition.
    pub(crate) fn position_of(&self, save: &Saved, partition: Partition) -> Option<Offset> {
        match self.history.events.get(save.asked.at as usize)? {
            Event::Call { call: Call::Save { positions, .. }, .. } => {
                positions.iter().find(|(at, _)| *at == partition).map(|(_, position)| *position)
            }
            _ => None,
        }
    }

    /// Where a record is, and who saw it there first. Slow, for stories.
    pub(crate) fn copies(&self, record: &Fact) -> Vec<(Offset, At)> {
        let slots = self.log(record.partition).slots();
        slots
            .filter(|(_, slot)| slot.tag == record.tag.0)
            .map(|(offset, slot)| (offset, slot.first_seen()))
            .collect()
    }

    /// The offsets that a read was handed of a partition. Slow, for stories.
    pub(crate) fn handed(&self, at: At, of: Partition) -> Vec<Offset> {
        match self.history.events.get(at as usize) {
            Some(Event::Return { outcome: Outcome::Done(Reply::Polled(polled)), .. }) => {
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
        self.logs.get(partition.0 as usize).unwrap_or(&NO_LOG)
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
            Event::Call { call: Call::Send { records, .. }, .. } => {
                records.get(record.place as usize)?.from
            }
            _ => None,
        }
    }

    /// Who told the acknowledged offset of a send first.
    pub(crate) fn base_told(&self, send: &Sent) -> At {
        let answers = self
            .answers
            .iter()
            .filter(|(call, _)| *call == send.asked.at)
            .map(|(_, answer)| *answer);
        let tells = |at: &At| match self.history.events.get(*at as usize) {
            Some(
                Event::Answer { outcome: Outcome::Done(Reply::Appended { base }), .. }
                | Event::Return { outcome: Outcome::Done(Reply::Appended { base }), .. },
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
