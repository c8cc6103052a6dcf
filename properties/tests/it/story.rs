//! The tiny constructor: a history, event by event, and what a property says of it.

use std::fmt::Write as _;

use expect_test::Expect;
use onceness_properties::{Claim, Verdict, judge, property};
use onceness_reference::code::Code;
use onceness_reference::history::{
    Call, Event, Fetched, HISTORY_VERSION, Header, History, Outcome, Record, Reply, Seen, Sequence,
};
use onceness_reference::ids::{
    ClientId, EventId, GroupId, Key, Offset, Partition, StepId, Tag, TxnId,
};
use onceness_reference::plan::{
    Client, Consumer, Delivery, Fate, Fault, Isolation, Protocol, Saving,
};

pub(crate) const RU: Isolation = Isolation::ReadUncommitted;
pub(crate) const RC: Isolation = Isolation::ReadCommitted;
pub(crate) const HELD: Fate = Fate::Held { rounds: 1 };

/// A history in the making. Methods return the id of the (first) event that they add.
pub(crate) struct Story {
    pub(crate) history: History,
}

pub(crate) fn producer(delivery: Delivery) -> (Option<Delivery>, Option<Consumer>) {
    (Some(delivery), None)
}

pub(crate) fn transactional(protocol: Protocol) -> Delivery {
    Delivery::Transactional { txn: TxnId(0), protocol }
}

/// Reads partition 0 for group 0, at read_committed.
pub(crate) fn consumer(saving: Saving, member: bool) -> Consumer {
    let inputs = vec![Partition(0)];
    Consumer { group: GroupId(0), member, shared: false, inputs, isolation: RC, saving }
}

pub(crate) fn reader(saving: Saving) -> (Option<Delivery>, Option<Consumer>) {
    (None, Some(consumer(saving, false)))
}

pub(crate) fn member(saving: Saving) -> (Option<Delivery>, Option<Consumer>) {
    (None, Some(consumer(saving, true)))
}

/// A read-process-write loop.
pub(crate) fn looping(protocol: Protocol) -> (Option<Delivery>, Option<Consumer>) {
    (Some(transactional(protocol)), Some(consumer(Saving::InTransaction, false)))
}

impl Story {
    /// Two partitions; the clients are c0, c1, ….
    pub(crate) fn of<const N: usize>(clients: [(Option<Delivery>, Option<Consumer>); N]) -> Self {
        let clients = clients.into_iter().enumerate().map(|(id, (delivery, consumer))| Client {
            id: ClientId(id as u8),
            delivery,
            consumer,
        });
        let header = Header {
            version: HISTORY_VERSION,
            target: "story".to_owned(),
            partitions: 2,
            clients: clients.collect(),
        };
        Story { history: History { header, events: Vec::new(), exchanges: Vec::new() } }
    }

    pub(crate) fn event(&mut self, event: Event) -> EventId {
        self.history.events.push(event);
        EventId(self.history.events.len() as u32 - 1)
    }

    pub(crate) fn call(&mut self, client: u8, call: Call) -> EventId {
        self.event(Event::Call { step: StepId(0), client: ClientId(client), call })
    }

    pub(crate) fn returns(&mut self, of: EventId, outcome: Outcome) -> EventId {
        self.event(Event::Return { of, outcome })
    }

    pub(crate) fn answer(&mut self, of: EventId, fate: Fate, outcome: Outcome) -> EventId {
        self.event(Event::Answer { of, preparation: false, fate, outcome })
    }

    pub(crate) fn does(&mut self, client: u8, call: Call, outcome: Outcome) -> EventId {
        let of = self.call(client, call);
        self.returns(of, outcome);
        of
    }

    pub(crate) fn done(&mut self, client: u8, call: Call) -> EventId {
        self.does(client, call, Outcome::Done(Reply::Nothing))
    }

    pub(crate) fn begin(&mut self, client: u8) -> EventId {
        self.done(client, Call::Begin)
    }

    pub(crate) fn commit(&mut self, client: u8) -> EventId {
        self.done(client, Call::Commit)
    }

    pub(crate) fn abort(&mut self, client: u8) -> EventId {
        self.done(client, Call::Abort)
    }

    pub(crate) fn crash(&mut self, client: u8) -> EventId {
        self.event(Event::Crashed { step: StepId(0), client: ClientId(client) })
    }

    pub(crate) fn restart(&mut self) -> EventId {
        self.event(Event::Fault { fault: Fault::Restart, happened: true })
    }

    /// A restart while requests are under way.
    pub(crate) fn kill(&mut self) -> EventId {
        self.event(Event::Fault { fault: Fault::Kill, happened: true })
    }

    /// Opens with a producer epoch and the saved position of partition 0.
    pub(crate) fn open(&mut self, client: u8, epoch: i16, position: Option<Offset>) -> EventId {
        self.does(client, Call::Open, opened(epoch, position))
    }

    pub(crate) fn send(&mut self, client: u8, partition: u8, tags: &[u32]) -> EventId {
        let records = tags.iter().map(|tag| record(*tag, None)).collect();
        self.call(client, send(partition, records))
    }

    pub(crate) fn sent(
        &mut self,
        client: u8,
        partition: u8,
        tags: &[u32],
        base: Offset,
    ) -> EventId {
        let of = self.send(client, partition, tags);
        self.returns(of, appended(base));
        of
    }

    /// Sends, to partition 1, outputs made of inputs.
    pub(crate) fn forwarded(
        &mut self,
        client: u8,
        outputs: &[(u32, u32)],
        base: Offset,
    ) -> EventId {
        let records = outputs.iter().map(|(tag, from)| record(*tag, Some(*from))).collect();
        self.does(client, send(1, records), appended(base))
    }

    /// Polls partition 0 from one position to another.
    pub(crate) fn polled(
        &mut self,
        client: u8,
        from: Offset,
        to: Offset,
        records: &[(Offset, u32)],
    ) -> EventId {
        let polled = Reply::Polled(vec![Fetched {
            partition: Partition(0),
            from,
            to,
            records: seen(records),
        }]);
        let of = self.call(client, Call::Poll);
        self.returns(of, Outcome::Done(polled))
    }

    pub(crate) fn process(&mut self, client: u8, tags: &[u32]) -> EventId {
        let records = tags.iter().map(|tag| Tag(*tag)).collect();
        self.done(client, Call::Process { records })
    }

    /// Saves a position of partition 0.
    pub(crate) fn save(&mut self, client: u8, position: Offset) -> EventId {
        self.call(client, save(position, false))
    }

    pub(crate) fn saved(&mut self, client: u8, position: Offset) -> EventId {
        self.done(client, save(position, false))
    }

    pub(crate) fn saved_in_transaction(&mut self, client: u8, position: Offset) -> EventId {
        self.done(client, save(position, true))
    }

    /// The final read of a partition at one level.
    pub(crate) fn read_at(
        &mut self,
        isolation: Isolation,
        partition: u8,
        end: Offset,
        records: &[(Offset, u32)],
    ) -> EventId {
        self.event(Event::Read {
            partition: Partition(partition.into()),
            isolation,
            high_watermark: end,
            last_stable: Some(end),
            records: seen(records),
        })
    }

    /// The final read of partition 0 at read_committed, where something holds back the last stable offset.
    pub(crate) fn read_held_back(
        &mut self,
        stable: Offset,
        end: Offset,
        records: &[(Offset, u32)],
    ) -> EventId {
        self.event(Event::Read {
            partition: Partition(0),
            isolation: RC,
            high_watermark: end,
            last_stable: Some(stable),
            records: seen(records),
        })
    }

    /// The final reads of a partition, the same at both levels.
    pub(crate) fn read(
        &mut self,
        partition: u8,
        end: Offset,
        records: &[(Offset, u32)],
    ) -> EventId {
        let first = self.read_at(RU, partition, end, records);
        self.read_at(RC, partition, end, records);
        first
    }

    pub(crate) fn healed(&mut self) -> EventId {
        self.event(Event::Healed)
    }

    /// The final position of group 0 in partition 0.
    pub(crate) fn committed(&mut self, offset: Option<Offset>) -> EventId {
        self.event(Event::Committed { group: GroupId(0), partition: Partition(0), offset })
    }

    /// What the application of group 0 has in the end of key 0 of partition 0.
    pub(crate) fn view(&mut self, tags: &[u32]) -> EventId {
        let records = tags.iter().map(|tag| Tag(*tag)).collect();
        let (group, partition, key) = (GroupId(0), Partition(0), Key(0));
        self.event(Event::View { group, partition, key, records })
    }

    /// What a property says of it.
    #[track_caller]
    pub(crate) fn check(&self, name: &str, claim: Claim, expected: Expect) {
        assert!(
            property(name).is_some_and(|property| property.claims.contains(&claim)),
            "{name} does not claim that"
        );
        let judgements = judge(&self.history);
        let judgement = judgements
            .iter()
            .find(|judgement| judgement.property.name == name && judgement.claim == claim);
        expected
            .assert_eq(&judgement.map_or_else(String::new, |judgement| told(&judgement.verdict)));
    }

    /// What every property says that accuses.
    #[track_caller]
    pub(crate) fn check_all(&self, expected: Expect) {
        expected.assert_eq(&self.accusations());
    }

    #[track_caller]
    pub(crate) fn accuses_none(&self) {
        assert_eq!(self.accusations(), "");
    }

    fn accusations(&self) -> String {
        let mut text = String::new();
        for judgement in judge(&self.history) {
            if matches!(judgement.verdict, Verdict::Violated(_)) {
                let (name, claim) = (judgement.property.name, judgement.claim.name());
                let _ = writeln!(text, "{name}/{claim}: {}", told(&judgement.verdict));
            }
        }
        text
    }

    /// What was counted.
    pub(crate) fn notes(&self, name: &str, claim: Claim) -> Vec<(&'static str, u64)> {
        let judgements = judge(&self.history).into_iter();
        let mut of_property = judgements
            .filter(|judgement| judgement.property.name == name && judgement.claim == claim);
        let notes = of_property.next().map(|judgement| judgement.notes).unwrap_or_default();
        notes.iter().map(|note| (note.what, note.times)).collect()
    }
}

fn told(verdict: &Verdict) -> String {
    match verdict {
        Verdict::Holds { times } => format!("holds, {times} times"),
        Verdict::Untested => "untested".to_owned(),
        Verdict::Unsupported => "unsupported".to_owned(),
        Verdict::Violated(violations) => {
            let told = violations.iter().map(|violation| {
                let evidence: Vec<String> =
                    violation.evidence.iter().map(ToString::to_string).collect();
                let weakness = violation.weakness.map_or_else(String::new, |id| format!(" ({id})"));
                format!("{}: {}{weakness}", evidence.join(" "), violation.story)
            });
            told.collect::<Vec<_>>().join("\n")
        }
    }
}

/// Records are upserts of the key that is the tens of their tag.
pub(crate) fn record(tag: u32, from: Option<u32>) -> Record {
    Record { tag: Tag(tag), key: Key(tag / 10), from: from.map(Tag) }
}

pub(crate) fn send(partition: u8, records: Vec<Record>) -> Call {
    Call::Send {
        partition: Partition(partition.into()),
        records,
        sequence: Some(Sequence { producer: 0, epoch: 0, first: 0 }),
    }
}

pub(crate) fn save(position: Offset, in_transaction: bool) -> Call {
    Call::Save { group: GroupId(0), positions: vec![(Partition(0), position)], in_transaction }
}

pub(crate) fn opened(epoch: i16, position: Option<Offset>) -> Outcome {
    Outcome::Done(Reply::Opened {
        session: Some((0, epoch)),
        positions: vec![(Partition(0), position)],
    })
}

pub(crate) fn appended(base: Offset) -> Outcome {
    Outcome::Done(Reply::Appended { base: Some(base) })
}

pub(crate) fn nothing() -> Outcome {
    Outcome::Done(Reply::Nothing)
}

pub(crate) fn refused(code: Code) -> Outcome {
    Outcome::Refused(code)
}

fn seen(records: &[(Offset, u32)]) -> Vec<Seen> {
    let seen = records
        .iter()
        .map(|(offset, tag)| Seen { offset: *offset, tag: (*tag != CORRUPT).then_some(Tag(*tag)) });
    seen.collect()
}

/// Stands for bytes that are no record of the case.
pub(crate) const CORRUPT: u32 = 666_666;
