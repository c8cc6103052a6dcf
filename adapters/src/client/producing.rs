//! What a test client does as a producer: sequences, retries, and the bounds of transactions.

use onceness_reference::history::{Call, Event, Outcome, Record, Reply, Sequence, Skip};
use onceness_reference::ids::{EventId, GroupId, Partition, TxnId};
use onceness_reference::plan::{Client, Delivery, Fate, NewRecord, Protocol, Step};
use onceness_reference::protocol::{Batch, Ending, Request, Response, Session};
use onceness_reference::wrongs::client::ProducerWrongs;

use super::{Life, TestClient, Transaction, settled};
use crate::ask::{Ask, Known, Wire};
use crate::transport::Transport;

/// What can be added to a transaction.
pub(super) enum Place {
    Partition(Partition),
    Group(GroupId),
}

impl TestClient {
    pub(super) fn begin<T: Transport>(
        &mut self,
        wire: &Wire<'_, T>,
        step: &Step,
    ) -> Result<(), Skip> {
        let life = self.ready()?;
        if life.transaction.is_some() {
            return Err(Skip::TransactionOpen);
        }
        life.transaction = Some(Transaction::default());
        let of = wire.call(step, Call::Begin);
        let outcome = Outcome::Done(Reply::Nothing);
        wire.record(Event::Return { of, outcome });
        Ok(())
    }

    pub(super) async fn end<T: Transport>(
        &mut self,
        wire: &Wire<'_, T>,
        step: &Step,
        ending: Ending,
    ) -> Result<(), Skip> {
        let rewinds = !self.wrongs.application.never_rewinds;
        let gives_up = ending == Ending::Commit && self.wrongs.producer.aborts_after_commit;
        let life = self.ready()?;
        let transaction = life.transaction.take().ok_or(Skip::NoTransaction)?;
        let unfit = match ending {
            Ending::Commit if transaction.must_abort => Some(Skip::MustAbort),
            Ending::Commit if transaction.unsaved_outputs => Some(Skip::Unsaved),
            _ => None,
        };
        if let Some(why) = unfit {
            life.transaction = Some(transaction);
            return Err(why);
        }
        let of = wire.call(
            step,
            match ending {
                Ending::Commit => Call::Commit,
                Ending::Abort => Call::Abort,
            },
        );
        if ending == Ending::Abort && rewinds {
            life.must_rewind = !life.progress.inputs().is_empty();
            life.progress.drop_polled();
        } else if ending == Ending::Abort {
            life.progress.read_on();
        }
        let known = match transaction.is_known_to_broker() {
            // As real clients do: a transaction that nothing was added to ends without a request.
            false => Known::Done(Response::Done),
            true => {
                // `ready` has checked the session of transactional clients.
                let session = self.ready()?.session;
                let request = end_request(&self.spec, session, ending).ok_or(Skip::InDoubt)?;
                self.ask(step, of).retrying(!gives_up).send(wire, &request).await
            }
        };
        let (of, known) = match known {
            Known::Unknown if gives_up && !step.crash => self.abort_instead(wire, step, of).await,
            known => (of, known),
        };
        let life = self.ready()?;
        life.ended(&known, transaction.must_abort);
        wire.record(Event::Return { of, outcome: settled(known) });
        self.crash_if_told(wire, step);
        Ok(())
    }

    /// Sends batches: all of them once, in order, and then again what needs it. So a batch can overtake one that was lost.
    pub(super) async fn send<T: Transport>(
        &mut self,
        wire: &Wire<'_, T>,
        step: &Step,
        partition: Partition,
        batches: Vec<Vec<Record>>,
    ) -> Result<(), Skip> {
        let delivery = self.spec.delivery;
        let txn = self.spec.txn().zip(self.spec.protocol());
        let life = self.ready()?;
        if txn.is_some() {
            let transaction = life.transaction.as_ref().ok_or(Skip::NoTransaction)?;
            if transaction.must_abort {
                return Err(Skip::MustAbort);
            }
        }
        let mut sending = Vec::new();
        for records in batches {
            let batch = life.number(partition, records);
            let call = Call::Send {
                partition,
                records: batch.records.clone(),
                sequence: batch.session.map(|session| Sequence {
                    producer: session.producer,
                    epoch: session.epoch,
                    first: batch.first_sequence,
                }),
            };
            let of = wire.call(step, call);
            let request = Request::Produce {
                partition,
                batch,
                acks: delivery != Some(Delivery::AtMostOnce),
                txn,
            };
            sending.push((of, request));
        }
        let mut outcomes = self.attempt(wire, step, partition, &mut sending).await;
        if self.wrongs.producer.outlives_fencing && outcomes.iter().any(Known::is_fenced) {
            outcomes = self.outlive(wire, step, partition, &mut sending, outcomes).await;
        }
        let acks = delivery != Some(Delivery::AtMostOnce);
        let all_done = outcomes.iter().all(|known| matches!(known, Known::Done(_)));
        for ((of, _), known) in sending.iter().zip(&outcomes) {
            let outcome = match acks {
                true => settled(known.clone()),
                // Nothing ever tells a client that asks for no acknowledgement.
                false => Outcome::Unknown,
            };
            wire.record(Event::Return { of: *of, outcome });
        }
        if !all_done {
            self.failed(&outcomes);
        }
        if self.forges {
            self.remember(&sending, &outcomes);
        }
        self.crash_if_told(wire, step);
        Ok(())
    }

    /// All of them once, in a transaction that they are admitted to, and again until the client knows.
    pub(super) async fn attempt<T: Transport>(
        &mut self,
        wire: &Wire<'_, T>,
        step: &Step,
        partition: Partition,
        sending: &mut [(EventId, Request)],
    ) -> Vec<Known> {
        match self.admit(wire, step, sending[0].0, Place::Partition(partition)).await {
            Ok(()) => self.deliver(wire, step, partition, sending).await,
            Err(known) => vec![known; sending.len()],
        }
    }

    /// TV1: adds a partition or group to the transaction before it is first written to. TV2 does so by writing.
    pub(super) async fn admit<T: Transport>(
        &mut self,
        wire: &Wire<'_, T>,
        step: &Step,
        of: EventId,
        place: Place,
    ) -> Result<(), Known> {
        let (txn, protocol) = (self.spec.txn(), self.spec.protocol());
        let preparation = self.preparation(step, of);
        let Some(life) = &mut self.life else { return Ok(()) };
        let (Some(txn), Some(session)) = (txn, life.session) else { return Ok(()) };
        let Some(transaction) = &mut life.transaction else { return Ok(()) };
        // Known to the broker from now on, whatever the answer: the end must be told.
        let (added, request) = match place {
            Place::Partition(partition) => {
                let added = transaction.partitions.insert(partition);
                (added, Request::AddPartition { txn, session, partition })
            }
            Place::Group(group) => {
                let added = transaction.groups.insert(group);
                (added, Request::AddGroup { txn, session, group })
            }
        };
        if !added || protocol == Some(Protocol::Tv2) {
            return Ok(());
        }
        match preparation.send(wire, &request).await {
            Known::Done(_) => Ok(()),
            other => Err(other),
        }
    }

    async fn deliver<T: Transport>(
        &mut self,
        wire: &Wire<'_, T>,
        step: &Step,
        partition: Partition,
        sending: &mut [(EventId, Request)],
    ) -> Vec<Known> {
        let mut asks: Vec<Ask> = Vec::new();
        for (i, (of, request)) in sending.iter().enumerate() {
            let fate = if i == 0 { step.fate } else { Fate::Delivered };
            let mut ask = self.ask(step, *of).meeting(fate);
            ask.first_copy(wire, request).await;
            asks.push(ask);
        }
        let put_off = asks.iter().any(Ask::is_put_off);
        if self.wrongs.producer != ProducerWrongs::default() {
            self.tamper(wire, step, partition, &mut asks, sending).await;
        }
        // A batch behind one that got lost is refused as out of order; it is sent again after it.
        let mut behind = false;
        let mut outcomes = Vec::new();
        for (ask, (_, request)) in asks.iter_mut().zip(sending.iter()) {
            if behind {
                ask.reconsider_order();
            }
            behind |= ask.is_open();
            outcomes.push(ask.settle(wire, request).await);
        }
        let restarts = put_off && self.wrongs.producer.restarts_sequences;
        if let Some(life) = self.life.as_mut().filter(|_| restarts) {
            life.sequences.remove(&partition);
        }
        outcomes
    }

    /// What a client does when a batch or position was not accepted: give up the transaction, or the session.
    pub(super) fn failed(&mut self, outcomes: &[Known]) {
        let plain =
            matches!(self.spec.delivery, Some(Delivery::AtMostOnce | Delivery::AtLeastOnce));
        let Some(life) = &mut self.life else { return };
        if outcomes.iter().any(Known::is_fenced) {
            life.broken = Some(Skip::Fenced);
        } else if let Some(transaction) = &mut life.transaction {
            if self.wrongs.producer.commits_without_failed {
                return;
            }
            transaction.must_abort = true;
            if outcomes.iter().any(|known| matches!(known, Known::Unknown)) {
                life.broken = Some(Skip::InDoubt);
            }
        } else if !plain {
            life.broken = Some(Skip::InDoubt);
        }
    }
}

impl Life {
    /// A batch with the next sequence numbers of the session.
    pub(super) fn number(&mut self, partition: Partition, records: Vec<Record>) -> Batch {
        let first_sequence = match self.session {
            Some(_) => {
                let next = self.sequences.entry(partition).or_insert(0);
                let first = *next;
                *next = next.wrapping_add(records.len() as i32) & i32::MAX;
                first
            }
            None => -1,
        };
        Batch { session: self.session, first_sequence, records }
    }

    /// What the client knows after the end of its transaction.
    fn ended(&mut self, known: &Known, had_failed: bool) {
        match known {
            Known::Done(Response::Ended(session)) => {
                let bumped = self.session != Some(*session);
                self.session = Some(*session);
                if bumped {
                    self.sequences.clear();
                } else if had_failed {
                    // Without a new epoch the sequence numbers of what was refused are lost.
                    self.broken = Some(Skip::InDoubt);
                }
            }
            Known::Done(_) => {
                if had_failed {
                    self.broken = Some(Skip::InDoubt);
                }
            }
            known if known.is_fenced() => self.broken = Some(Skip::Fenced),
            _ => self.broken = Some(Skip::InDoubt),
        }
    }
}

pub(super) fn plain(record: &NewRecord) -> Record {
    Record { tag: record.tag, key: record.key, from: None }
}

pub(super) fn end_request(
    spec: &Client,
    session: Option<Session>,
    ending: Ending,
) -> Option<Request> {
    let (txn, protocol): (TxnId, Protocol) = spec.txn().zip(spec.protocol())?;
    Some(Request::EndTxn { txn, session: session?, ending, protocol })
}
