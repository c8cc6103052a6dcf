//! What a test client does as a forger: it turns what is relative in a plan into numbers, by what it knows, and then knows
//! what the broker answered, as a tester of protocols does.

use std::collections::BTreeMap;

use onceness_reference::history::{Call, Event, Fetched, Forged, Outcome, Record, Reply, Skip};
use onceness_reference::ids::{EventId, Offset, Partition};
use onceness_reference::plan::forge::{BACK_MAX, Forge, From, Number, Pose, Shown};
use onceness_reference::plan::{Client, Isolation, NewRecord, Step};
use onceness_reference::protocol::{Batch, Ending, Member, Request, Response, Session};
use onceness_reference::wrongs::client::ConsumerWrongs;

use super::producing::plain;
use super::{Life, TestClient, settled};
use crate::ask::{Known, Wire};
use crate::reading::visible;
use crate::transport::{Lane, Transport};

/// Producer ids are given out from 0 on, in blocks of thousands.
const STRANGER: Session = Session { producer: 1 << 40, epoch: 0 };
/// How no session is written where one must be.
const NOBODY: Session = Session { producer: -1, epoch: -1 };

/// The last batches that a forger wrote with a session of its own, oldest first.
#[derive(Default)]
pub(super) struct Written(BTreeMap<Partition, Vec<Earlier>>);

/// One of them.
struct Earlier {
    first: i32,
    base: Offset,
    records: Vec<Record>,
}

impl Written {
    /// The batch so many back; the first one that is remembered if there are not as many.
    fn back(&self, partition: Partition, back: u8) -> Result<&Earlier, Skip> {
        let batches = self.0.get(&partition).ok_or(Skip::NothingToDo)?;
        let place = batches.len().saturating_sub(usize::from(back));
        batches.get(place).ok_or(Skip::NothingToDo)
    }

    /// Takes a batch that was acknowledged at that offset. Whether it is new there.
    fn take(&mut self, partition: Partition, batch: &Batch, base: Offset) -> bool {
        let batches = self.0.entry(partition).or_default();
        let new = batches.iter().all(|earlier| earlier.base != base);
        if new {
            let records = batch.records.clone();
            batches.push(Earlier { first: batch.first_sequence, base, records });
            let old = batches.len().saturating_sub(usize::from(BACK_MAX));
            batches.drain(..old);
        }
        new
    }

    /// Behind the last one.
    fn end(&self, partition: Partition) -> Offset {
        let last = self.0.get(&partition).and_then(|batches| batches.last());
        last.map_or(0, |last| last.base + last.records.len() as Offset)
    }

    /// In the middle of the last one that has a middle.
    fn inside(&self, partition: Partition) -> Result<Offset, Skip> {
        let batches = self.0.get(&partition).into_iter().flatten();
        let long = batches.rev().find(|earlier| earlier.records.len() > 1);
        long.map(|earlier| earlier.base + 1).ok_or(Skip::NothingToDo)
    }
}

impl TestClient {
    pub(super) async fn forge<T: Transport>(
        &mut self,
        wire: &Wire<'_, T>,
        step: &Step,
        forge: &Forge,
    ) -> Result<(), Skip> {
        let end = match forge {
            Forge::Fetch { partition, from: From::End | From::Beyond, .. } => {
                self.end_of(wire, *partition).await?
            }
            _ => 0,
        };
        // Whatever is wrong with its session: that is when forging begins.
        let life = self.life.as_mut().ok_or(Skip::NotOpen)?;
        let (forged, request) = life.forged(&self.spec, forge, end)?;
        let of = wire.call(step, Call::Forge(forged));
        let known = self.ask(step, of).send(wire, &request).await;
        if let (Some(life), Known::Done(response)) = (&mut self.life, &known) {
            life.learn(&request, response);
        }
        wire.record(Event::Return { of, outcome: told(&request, known) });
        Ok(())
    }

    /// Remembers what was sent in good order, and acknowledged.
    pub(super) fn remember(&mut self, sent: &[(EventId, Request)], outcomes: &[Known]) {
        let Some(life) = &mut self.life else { return };
        for ((_, request), known) in sent.iter().zip(outcomes) {
            if let (
                Request::Produce { partition, batch, .. },
                Known::Done(Response::Appended(Some(base))),
            ) = (request, known)
                && batch.session.is_some()
            {
                life.written.take(*partition, batch, *base);
            }
        }
    }

    async fn end_of<T: Transport>(
        &self,
        wire: &Wire<'_, T>,
        partition: Partition,
    ) -> Result<Offset, Skip> {
        let isolation = Isolation::ReadUncommitted;
        let request = Request::ListOffsets { partition, earliest: false, isolation };
        match wire.transport.call(Lane::Client(self.spec.id), &request).await {
            Ok(Ok(Response::Listed(end))) => Ok(end),
            _ => Err(Skip::NothingToDo),
        }
    }
}

impl Life {
    /// The numbers of a forged request, for the history and for the broker.
    fn forged(&self, spec: &Client, forge: &Forge, end: Offset) -> Result<(Forged, Request), Skip> {
        let mut forged = Forged {
            forge: forge.clone(),
            session: None,
            first: None,
            records: Vec::new(),
            offset: None,
            generation: None,
        };
        let txn = spec.txn().ok_or(Skip::NoTransaction);
        let group = || spec.consumer.as_ref().map(|one| one.group).ok_or(Skip::NothingToDo);
        let protocol = spec.protocol().ok_or(Skip::NoTransaction);
        let request = match forge {
            Forge::Produce { to, records, pose, number, plain, flaw } => {
                let batch = self.batch(*to, records, *pose, *number)?;
                forged.session = batch.session.map(pair);
                forged.first = batch.session.map(|_| batch.first_sequence);
                forged.records.clone_from(&batch.records);
                let txn = spec.txn().zip(spec.protocol()).filter(|_| !plain);
                let partition = *to;
                match *flaw {
                    Some(flaw) => Request::Malformed { flaw, partition, batch, txn },
                    None => Request::Produce { partition, batch, acks: true, txn },
                }
            }
            Forge::AddPartition { partition, pose } => {
                let session = self.show(*pose, &mut forged)?;
                Request::AddPartition { txn: txn?, session, partition: *partition }
            }
            Forge::AddGroup { pose } => {
                let session = self.show(*pose, &mut forged)?;
                Request::AddGroup { txn: txn?, session, group: group()? }
            }
            Forge::End { commit, pose } => {
                let session = self.show(*pose, &mut forged)?;
                let ending = if *commit { Ending::Commit } else { Ending::Abort };
                Request::EndTxn { txn: txn?, session, ending, protocol: protocol? }
            }
            Forge::Init { expecting } => {
                let expected = self.pose(*expecting)?;
                forged.session = expected.map(pair);
                Request::InitProducer { txn: spec.txn(), expected }
            }
            Forge::Save { partition, in_transaction, pose, member } => {
                // What is saved beside a transaction differs from what is saved in it, so that it shows which of them won.
                let offset = self.written.end(*partition) + i64::from(!in_transaction);
                forged.offset = Some(offset);
                let (member, positions) = (self.member(*member), vec![(*partition, offset)]);
                forged.generation = member.as_ref().map(|member| member.generation);
                let group = group()?;
                match in_transaction {
                    true => {
                        let session = self.show(*pose, &mut forged)?;
                        let (txn, protocol) = (txn?, protocol?);
                        Request::SaveInTxn { txn, session, protocol, group, member, positions }
                    }
                    false => Request::Save { group, member, positions },
                }
            }
            Forge::Fetch { partition, from, isolation, byte } => {
                let (partition, isolation) = (*partition, *isolation);
                let offset = match from {
                    From::Start => 0,
                    From::Before => -1,
                    From::Inside => self.written.inside(partition)?,
                    From::End => end,
                    From::Beyond => end + 1,
                };
                forged.offset = Some(offset);
                match byte {
                    true => Request::FetchByte { partition, offset, isolation },
                    false => Request::Fetch { partition, offset, isolation },
                }
            }
            Forge::List { partition, earliest, isolation } => Request::ListOffsets {
                partition: *partition,
                earliest: *earliest,
                isolation: *isolation,
            },
            Forge::Positions { partition, unstable } => Request::Positions {
                group: group()?,
                partitions: vec![*partition],
                stable: !unstable,
            },
        };
        Ok((forged, request))
    }

    fn batch(
        &self,
        to: Partition,
        records: &[NewRecord],
        pose: Pose,
        number: Number,
    ) -> Result<Batch, Skip> {
        let session = self.pose(pose)?;
        let own: Vec<Record> = records.iter().map(plain).collect();
        let next = match pose {
            Pose::Ahead => 0,
            _ => self.sequences.get(&to).copied().unwrap_or(0),
        };
        let (first, records) = match number {
            Number::Next => (next, own),
            Number::Gap { by } => (after(next, by.into()), own),
            Number::Zero => (0, own),
            Number::Wrap { before } => (i32::MAX - i32::from(before), own),
            Number::Within { back, shift } => {
                (after(self.written.back(to, back)?.first, shift.into()), own)
            }
            Number::Repeat { back } => {
                let earlier = self.written.back(to, back)?;
                (earlier.first, earlier.records.clone())
            }
        };
        let first_sequence = if session.is_some() { first } else { -1 };
        Ok(Batch { session, first_sequence, records })
    }

    fn pose(&self, pose: Pose) -> Result<Option<Session>, Skip> {
        let own = |by: i16| {
            let session = self.session.ok_or(Skip::NothingToDo)?;
            let epoch = session.epoch.checked_add(by).filter(|epoch| *epoch >= 0);
            Ok(Some(Session { epoch: epoch.ok_or(Skip::NothingToDo)?, ..session }))
        };
        match pose {
            Pose::Own => Ok(self.session),
            Pose::Behind { epochs } => own(-i16::from(epochs)),
            Pose::Ahead => own(1),
            Pose::Stranger => Ok(Some(STRANGER)),
            Pose::Nobody => Ok(None),
        }
    }

    /// The session that a request shows which has to show one.
    fn show(&self, pose: Pose, forged: &mut Forged) -> Result<Session, Skip> {
        let session = self.pose(pose)?;
        forged.session = session.map(pair);
        Ok(session.unwrap_or(NOBODY))
    }

    fn member(&self, shown: Shown) -> Option<Member> {
        let stranger = Member { generation: 1, id: "stranger".to_owned(), instance: None };
        let own = self.member.clone().unwrap_or_else(|| stranger.clone());
        let generation = own.generation;
        match shown {
            Shown::Own => self.member.clone(),
            Shown::Stale => Some(Member { generation: generation - 1, ..own }),
            Shown::Future => Some(Member { generation: generation + 1, ..own }),
            Shown::Stranger => Some(Member { generation, ..stranger }),
            Shown::Nobody => None,
        }
    }

    /// What the client knows after a request was carried out.
    fn learn(&mut self, request: &Request, response: &Response) {
        match (request, response) {
            (Request::Produce { partition, batch, txn, .. }, Response::Appended(Some(base))) => {
                self.wrote(*partition, batch, *base);
                if let (Some(_), Some(transaction)) = (txn, &mut self.transaction) {
                    transaction.partitions.insert(*partition);
                }
            }
            (Request::AddPartition { partition, .. }, _) => {
                if let Some(transaction) = &mut self.transaction {
                    transaction.partitions.insert(*partition);
                }
            }
            (Request::AddGroup { group, .. } | Request::SaveInTxn { group, .. }, _) => {
                if let Some(transaction) = &mut self.transaction {
                    transaction.groups.insert(*group);
                }
            }
            (_, Response::Ended(session)) => {
                if self.session != Some(*session) {
                    self.goes_on_as(*session);
                }
                self.nothing_is_open();
            }
            (_, Response::Producer(session)) => {
                self.goes_on_as(*session);
                self.nothing_is_open();
                self.broken = None;
            }
            _ => {}
        }
    }

    /// A batch was acknowledged; if it is a new one, the next one comes behind it.
    fn wrote(&mut self, partition: Partition, batch: &Batch, base: Offset) {
        let (Some(shown), Some(own)) = (batch.session, self.session) else { return };
        if shown.producer != own.producer || shown.epoch < own.epoch {
            return;
        }
        // Nobody gave it that epoch, but it was taken (of idempotent producers every next one is).
        if shown.epoch > own.epoch {
            self.goes_on_as(shown);
        }
        if self.written.take(partition, batch, base) {
            let next = after(batch.first_sequence, batch.records.len() as i32);
            self.sequences.insert(partition, next);
        }
    }

    fn goes_on_as(&mut self, session: Session) {
        self.session = Some(session);
        self.sequences.clear();
    }

    /// Whatever was in the transaction was ended. The client may think itself in one all the same.
    fn nothing_is_open(&mut self) {
        if let Some(transaction) = &mut self.transaction {
            *transaction = super::Transaction::default();
        }
    }
}

/// What goes into the history: of a forged request all that the broker said.
fn told(request: &Request, known: Known) -> Outcome {
    let reply = match (request, known) {
        (_, Known::Done(Response::Producer(session) | Response::Ended(session))) => {
            Reply::Opened { session: Some(pair(session)), positions: Vec::new() }
        }
        (
            Request::Fetch { partition, offset, .. } | Request::FetchByte { partition, offset, .. },
            Known::Done(Response::Fetched(reply)),
        ) => {
            let taken = visible(reply, *offset, usize::MAX, ConsumerWrongs::default());
            let (from, to, records) = (*offset, taken.next, taken.seen().collect());
            Reply::Polled(vec![Fetched { partition: *partition, from, to, records }])
        }
        (Request::ListOffsets { partition, .. }, Known::Done(Response::Listed(offset))) => {
            Reply::Positions(vec![(*partition, Some(offset))])
        }
        (_, Known::Done(Response::Positions(positions))) => Reply::Positions(positions),
        (_, known) => return settled(known),
    };
    Outcome::Done(reply)
}

fn pair(session: Session) -> (i64, i16) {
    (session.producer, session.epoch)
}

/// Sequence numbers wrap from 2147483647 to 0.
fn after(sequence: i32, by: i32) -> i32 {
    sequence.wrapping_add(by) & i32::MAX
}
