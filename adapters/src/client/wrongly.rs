//! What a defective client or application does instead, where that is more than to leave something out
//! (`onceness_reference::wrongs::client` has all of it).

use onceness_reference::history::{Call, Event, Outcome, Skip};
use onceness_reference::ids::{EventId, Offset, Partition};
use onceness_reference::plan::{Fate, Saving, Step};
use onceness_reference::protocol::{Ending, Request, Response, Session};

use super::producing::{Place, end_request};
use super::{Life, TestClient};
use crate::ask::{Ask, Known, Wire};
use crate::transport::{Lane, Transport};

impl TestClient {
    /// Batches were sent once; what is still open is about to be sent again, otherwise than it was.
    pub(super) async fn tamper<T: Transport>(
        &mut self,
        wire: &Wire<'_, T>,
        step: &Step,
        partition: Partition,
        asks: &mut [Ask],
        sending: &mut [(EventId, Request)],
    ) {
        let wrongs = self.wrongs.producer;
        let Some(first) = asks.iter().position(Ask::is_open) else { return };
        if step.crash {
            return;
        }
        let put_off = asks[first].is_put_off();
        let transactional = self.spec.txn().is_some();
        let Some(life) = &mut self.life else { return };
        let Some(session) = life.session else { return };
        if wrongs.resends_in_new_epoch && !put_off && !transactional {
            life.renew(Session { epoch: session.epoch.wrapping_add(1), ..session });
        } else if wrongs.renews_in_transaction && put_off && transactional {
            if !self.renew(wire, sending[first].0).await {
                return;
            }
            let _ = self.admit(wire, step, sending[first].0, Place::Partition(partition)).await;
        } else if wrongs.resends_backwards {
            if let Request::Produce { batch, .. } = &sending[first].1 {
                life.sequences.insert(partition, batch.first_sequence);
            }
            asks.reverse();
            sending.reverse();
        } else {
            return;
        }
        asks.iter_mut().for_each(Ask::reconsider_order);
        let open = asks.iter().zip(sending).filter(|(ask, _)| ask.is_open());
        self.renumber(partition, open.map(|(_, (_, request))| request));
    }

    /// A fenced instance takes a new session, and sends once more in it.
    pub(super) async fn outlive<T: Transport>(
        &mut self,
        wire: &Wire<'_, T>,
        step: &Step,
        partition: Partition,
        sending: &mut [(EventId, Request)],
        outcomes: Vec<Known>,
    ) -> Vec<Known> {
        if !self.renew(wire, sending[0].0).await {
            return outcomes;
        }
        self.renumber(partition, sending.iter_mut().map(|(_, request)| request));
        let again = Step { fate: Fate::Delivered, preparation: Fate::Delivered, ..step.clone() };
        self.attempt(wire, &again, partition, sending).await
    }

    /// Takes a new session for the transactional id. False if there is none to be had.
    async fn renew<T: Transport>(&mut self, wire: &Wire<'_, T>, of: EventId) -> bool {
        let request = Request::InitProducer { txn: self.spec.txn(), expected: None };
        let ask = Ask::new(Lane::Client(self.spec.id), of, Fate::Delivered).preparing();
        match (ask.send(wire, &request).await, &mut self.life) {
            (Known::Done(Response::Producer(session)), Some(life)) => {
                life.renew(session);
                true
            }
            _ => false,
        }
    }

    /// Gives the batches the next sequence numbers.
    fn renumber<'a>(
        &mut self,
        partition: Partition,
        requests: impl Iterator<Item = &'a mut Request>,
    ) {
        let Some(life) = &mut self.life else { return };
        for request in requests {
            if let Request::Produce { batch, .. } = request {
                *batch = life.number(partition, std::mem::take(&mut batch.records));
            }
        }
    }

    /// A commit that nobody answered is left alone, and an abort taken to have happened instead.
    pub(super) async fn abort_instead<T: Transport>(
        &mut self,
        wire: &Wire<'_, T>,
        step: &Step,
        commit: EventId,
    ) -> (EventId, Known) {
        wire.record(Event::Return { of: commit, outcome: Outcome::Unknown });
        let of = wire.call(step, Call::Abort);
        let mut known = Known::Done(Response::Done);
        if let Some(life) = &mut self.life {
            life.must_rewind = !life.progress.inputs().is_empty();
            life.progress.drop_polled();
            if let Some(request) = end_request(&self.spec, life.session, Ending::Abort) {
                let ask = Ask::new(Lane::Client(self.spec.id), of, Fate::Delivered);
                if let done @ Known::Done(_) = ask.send(wire, &request).await {
                    known = done;
                }
            }
        }
        (of, known)
    }

    /// Saves what was polled, before anybody has processed it.
    pub(super) async fn save_polled<T: Transport>(
        &mut self,
        wire: &Wire<'_, T>,
        step: &Step,
    ) -> Result<(), Skip> {
        if self.consumer()?.saving != Saving::AfterProcessing {
            return Ok(());
        }
        match self.ready()?.progress.unsaved(Saving::BeforeProcessing) {
            Ok(positions) => self.save_at_once(wire, step, positions).await,
            Err(_) => Ok(()),
        }
    }

    /// Saves at once what belongs into the transaction.
    pub(super) async fn save_outside_transaction<T: Transport>(
        &mut self,
        wire: &Wire<'_, T>,
        step: &Step,
    ) -> Result<(), Skip> {
        let life = self.ready()?;
        if life.must_rewind {
            return Err(Skip::MustRewind);
        }
        let positions = life.progress.unsaved(Saving::InTransaction)?;
        self.save_at_once(wire, step, positions).await?;
        if let Some(transaction) = self.life.as_mut().and_then(|life| life.transaction.as_mut()) {
            transaction.unsaved_outputs = false;
        }
        Ok(())
    }

    /// The positions that the application asks to save.
    pub(super) fn asked(
        &self,
        mut positions: Vec<(Partition, Offset)>,
    ) -> Vec<(Partition, Offset)> {
        if self.wrongs.application.saves_last {
            positions.iter_mut().for_each(|(_, position)| *position -= 1);
        }
        positions
    }
}

impl Life {
    /// Goes on in another session. What its transaction had so far was not sent in it.
    fn renew(&mut self, session: Session) {
        self.session = Some(session);
        self.sequences.clear();
        if let Some(transaction) = &mut self.transaction {
            transaction.partitions.clear();
            transaction.groups.clear();
        }
    }
}
