//! What a client does as a producer: sending, and the bounds of transactions.

use onceness_reference::history::{Call, Event, Outcome, Record, Reply, Skip};
use onceness_reference::ids::{EventId, Partition, Tag};
use onceness_reference::plan::Delivery;
use rdkafka::error::KafkaError;
use tokio::time::timeout;

use super::{BETWEEN_BATCHES, SOON, StockClient, Transaction, Turn, ask, done, patience};
use crate::stock::door::{Calls, Errand};
use crate::stock::errors::failure;
use crate::stock::producing::delivered;

impl StockClient {
    pub(super) fn begin(&mut self, turn: Turn<'_>) -> Result<(), Skip> {
        let life = self.ready()?;
        if life.transaction.is_some() {
            return Err(Skip::TransactionOpen);
        }
        let begun = life.writer()?.begin();
        if begun.is_ok() {
            life.transaction = Some(Transaction::default());
        }
        let of = self.call(turn, Call::Begin);
        self.recorder.record(Event::Return { of, outcome: done(begun) });
        Ok(())
    }

    pub(super) async fn end(&mut self, turn: Turn<'_>, commits: bool) -> Result<(), Skip> {
        let life = self.ready()?;
        let transaction = life.transaction.as_ref().ok_or(Skip::NoTransaction)?;
        if commits && transaction.must_abort {
            return Err(Skip::MustAbort);
        }
        if commits && transaction.unsaved_outputs {
            return Err(Skip::Unsaved);
        }
        let door = life.door.clone();
        let writer = life.writer()?.waiting(patience(turn.step));
        life.transaction = None;
        if !commits {
            life.must_rewind = !life.progress.inputs().is_empty();
            life.progress.drop_polled();
        }
        let of = self.call(turn, if commits { Call::Commit } else { Call::Abort });
        let errand = Errand::of(turn.step, Calls::One(of), turn.round);
        let ending = async { if commits { writer.commit().await } else { writer.abort().await } };
        let ended = ask(&door, errand, ending, false).await;
        if let (Some(Err(error)), Some(life)) = (&ended, &mut self.life) {
            life.broken = Some(failure(error).broken);
        }
        self.told(of, &door, ended.map_or(Outcome::Unknown, done));
        self.crash_if_told(turn);
        Ok(())
    }

    /// librdkafka makes batches as it likes, so each record is a call of its own. All are under way at once; those of one
    /// batch of the plan follow those of another so late that they mostly travel apart.
    pub(super) async fn send(
        &mut self,
        turn: Turn<'_>,
        partition: Partition,
        batches: Vec<Vec<Record>>,
    ) -> Result<(), Skip> {
        let acks = self.spec.delivery != Some(Delivery::AtMostOnce);
        let life = self.ready()?;
        if let Some(transaction) = &mut life.transaction {
            transaction.used = true;
        }
        let (door, writer) = (life.door.clone(), life.writer()?.clone());
        let call = |record: &Record| {
            let sent = Call::Send { partition, records: vec![*record], sequence: None };
            (record.tag, self.call(turn, sent))
        };
        let calls: Vec<(Tag, EventId)> = batches.iter().flatten().map(call).collect();
        let mut ended: Vec<Result<_, KafkaError>> = Vec::new();
        let errand = Errand::of(turn.step, Calls::Records(calls.clone()), turn.round);
        let errand = if acks { errand } else { errand.unanswered() };
        let room = self.room.clone();
        let sending = async {
            let mut queued = Vec::new();
            for (place, batch) in batches.iter().enumerate() {
                if place > 0 {
                    tokio::time::sleep(BETWEEN_BATCHES).await;
                }
                queued.extend(batch.iter().map(|record| writer.send(&room, partition, record)));
            }
            for sending in queued {
                ended.push(delivered(sending).await);
            }
            if !acks {
                // Or the next step's fate would befall what this one sent.
                let sent = calls.iter().zip(&ended).filter(|(_, ended)| ended.is_ok());
                let sent: Vec<EventId> = sent.map(|((_, of), _)| *of).collect();
                let _ = timeout(SOON, door.left(&sent)).await;
            }
        };
        let _ = ask(&door, errand, sending, false).await;
        let mut ended = ended.into_iter();
        for (_, of) in calls {
            let outcome = match ended.next() {
                Some(Ok(base)) => Outcome::Done(Reply::Appended { base }),
                Some(Err(error)) => self.refused(&error),
                None => Outcome::Unknown,
            };
            self.told(of, &door, if acks { outcome } else { Outcome::Unknown });
        }
        self.crash_if_told(turn);
        Ok(())
    }

    /// What a send that failed means to the client.
    fn refused(&mut self, error: &KafkaError) -> Outcome {
        let plain =
            matches!(self.spec.delivery, Some(Delivery::AtMostOnce | Delivery::AtLeastOnce));
        let failure = failure(error);
        if let Some(life) = self.life.as_mut().filter(|_| !plain) {
            life.failed(&failure);
        }
        failure.outcome
    }

    pub(super) fn may_send(&mut self) -> Result<(), Skip> {
        let transactional = self.spec.txn().is_some();
        match &self.ready()?.transaction {
            None if transactional => Err(Skip::NoTransaction),
            Some(transaction) if transaction.must_abort => Err(Skip::MustAbort),
            _ => Ok(()),
        }
    }
}
