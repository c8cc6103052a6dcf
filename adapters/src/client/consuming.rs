//! What a test client does as a consumer: polling, processing, forwarding, and saving its position before, after or with
//! its output.

use onceness_reference::history::{Call, Event, Outcome, Reply, Skip};
use onceness_reference::ids::{EventId, Offset, Partition, Tag};
use onceness_reference::plan::{Consumer, Fate, Isolation, Saving, Step};
use onceness_reference::protocol::{Request, Response};

use super::producing::Place;
use super::{Life, TestClient, Transaction, settled};
use crate::ask::{Ask, Known, Wire};
use crate::progress::{Progress, outputs};
use crate::reading::Reader;
use crate::transport::{Lane, Transport};

impl TestClient {
    pub(super) async fn poll<T: Transport>(
        &mut self,
        wire: &Wire<'_, T>,
        step: &Step,
        max: usize,
    ) -> Result<(), Skip> {
        let isolation = match self.wrongs.application.reads_uncommitted {
            true => Isolation::ReadUncommitted,
            false => self.consumer()?.isolation,
        };
        let (lane, wrongs) = (Lane::Client(self.spec.id), self.wrongs.consumer);
        let life = self.ready()?;
        if life.must_rewind {
            return Err(Skip::MustRewind);
        }
        let of = wire.call(step, Call::Poll);
        let mut left = max;
        let mut polled = Vec::new();
        let mut failure = None;
        for place in 0..life.progress.inputs().len() {
            if left == 0 {
                break;
            }
            let input = &life.progress.inputs()[place];
            let reader = Reader { lane, partition: input.partition, isolation, wrongs };
            match reader.fetch(wire.transport, input.fetched, left).await {
                Ok(Ok(fetched)) => {
                    left -= fetched.taken.records.len();
                    polled.extend(life.progress.take(place, fetched.taken));
                }
                Ok(Err(code)) => failure = Some(Outcome::Refused(code)),
                Err(_) => failure = Some(Outcome::Unknown),
            }
        }
        let outcome = match failure {
            Some(failure) if polled.is_empty() => failure,
            _ => Outcome::Done(Reply::Polled(polled)),
        };
        wire.record(Event::Return { of, outcome });
        if self.wrongs.application.saves_before_processing {
            self.save_polled(wire, step).await?;
        }
        Ok(())
    }

    pub(super) fn process<T: Transport>(
        &mut self,
        wire: &Wire<'_, T>,
        step: &Step,
    ) -> Result<(), Skip> {
        let (group, saving) = (self.consumer()?.group, self.consumer()?.saving);
        let appends = self.wrongs.application.appends;
        let life = self.ready()?;
        let records = match saving {
            Saving::AfterProcessing => {
                let mut view = wire.views.of(group, appends);
                life.progress.process(saving, |input, record| view.take(input, record))
            }
            _ => life.progress.process(saving, |_, _| {}),
        };
        if records.is_empty() {
            return Err(Skip::NothingToDo);
        }
        let of = wire.call(step, Call::Process { records });
        let outcome = Outcome::Done(Reply::Nothing);
        wire.record(Event::Return { of, outcome });
        Ok(())
    }

    pub(super) async fn save<T: Transport>(
        &mut self,
        wire: &Wire<'_, T>,
        step: &Step,
    ) -> Result<(), Skip> {
        let saving = self.consumer()?.saving;
        let positions = self.ready()?.progress.unsaved(saving)?;
        self.save_at_once(wire, step, positions).await
    }

    pub(super) async fn save_at_once<T: Transport>(
        &mut self,
        wire: &Wire<'_, T>,
        step: &Step,
        positions: Vec<(Partition, Offset)>,
    ) -> Result<(), Skip> {
        let group = self.consumer()?.group;
        let member = self.ready()?.member.clone();
        let asked = self.asked(positions.clone());
        let of =
            wire.call(step, Call::Save { group, positions: asked.clone(), in_transaction: false });
        let request = Request::Save { group, member, positions: asked };
        let known = self.ask(step, of).send(wire, &request).await;
        let life = self.ready()?;
        match &known {
            Known::Done(_) => life.progress.saved(&positions),
            known if known.is_fenced() => life.broken = Some(Skip::Fenced),
            _ => life.broken = Some(Skip::InDoubt),
        }
        wire.record(Event::Return { of, outcome: settled(known) });
        self.crash_if_told(wire, step);
        Ok(())
    }

    pub(super) async fn save_in_transaction<T: Transport>(
        &mut self,
        wire: &Wire<'_, T>,
        step: &Step,
    ) -> Result<(), Skip> {
        let group = self.consumer()?.group;
        let (txn, protocol) =
            (self.spec.txn().zip(self.spec.protocol())).ok_or(Skip::NoTransaction)?;
        let life = self.ready()?;
        let transaction = life.transaction.as_ref().ok_or(Skip::NoTransaction)?;
        if transaction.must_abort {
            return Err(Skip::MustAbort);
        }
        if life.must_rewind {
            return Err(Skip::MustRewind);
        }
        let positions = life.progress.unsaved(Saving::InTransaction)?;
        let session = life.session.ok_or(Skip::InDoubt)?;
        let member = life.member.clone();
        let asked = self.asked(positions.clone());
        let of =
            wire.call(step, Call::Save { group, positions: asked.clone(), in_transaction: true });
        let request =
            Request::SaveInTxn { txn, session, protocol, group, member, positions: asked };
        let known = match self.admit(wire, step, of, Place::Group(group)).await {
            Ok(()) => self.ask(step, of).send(wire, &request).await,
            Err(known) => known,
        };
        match &known {
            Known::Done(_) => {
                let life = self.ready()?;
                life.progress.saved(&positions);
                if let Some(transaction) = &mut life.transaction {
                    transaction.unsaved_outputs = false;
                }
            }
            _ => self.failed(std::slice::from_ref(&known)),
        }
        wire.record(Event::Return { of, outcome: settled(known) });
        self.crash_if_told(wire, step);
        Ok(())
    }

    pub(super) async fn forward<T: Transport>(
        &mut self,
        wire: &Wire<'_, T>,
        step: &Step,
        to: Partition,
        tag: Tag,
        limit: u8,
    ) -> Result<(), Skip> {
        let life = self.ready()?;
        let transaction = life.transaction.as_ref().ok_or(Skip::NoTransaction)?;
        if transaction.must_abort {
            return Err(Skip::MustAbort);
        }
        let records = outputs(&life.progress.forward(usize::from(limit)), tag);
        if records.is_empty() {
            return Err(Skip::NothingToDo);
        }
        if let Some(transaction) = &mut life.transaction {
            transaction.unsaved_outputs = true;
        }
        self.send(wire, step, to, vec![records]).await
    }

    pub(super) async fn rewind<T: Transport>(
        &mut self,
        wire: &Wire<'_, T>,
        step: &Step,
    ) -> Result<(), Skip> {
        let consumer = self.consumer()?.clone();
        let lane = Lane::Client(self.spec.id);
        if self.wrongs.application.never_rewinds && consumer.saving == Saving::InTransaction {
            return Err(Skip::NothingToDo);
        }
        let life = self.ready()?;
        // Its own pending positions would make the client wait for itself, and its outputs would be written twice.
        if life.transaction.as_ref().is_some_and(Transaction::is_known_to_broker) {
            return Err(Skip::TransactionOpen);
        }
        let of = wire.call(step, Call::Rewind);
        let outcome =
            match life.go_to_saved(wire, Ask::new(lane, of, Fate::Delivered), &consumer).await {
                Ok(()) => {
                    life.must_rewind = false;
                    Outcome::Done(Reply::Positions(life.progress.positions()))
                }
                Err(outcome) => outcome,
            };
        wire.record(Event::Return { of, outcome });
        Ok(())
    }
}

impl Life {
    pub(super) async fn join<T: Transport>(
        &mut self,
        wire: &Wire<'_, T>,
        step: &Step,
        of: EventId,
        consumer: &Consumer,
    ) -> Result<(), Outcome> {
        let plain = || Ask::new(Lane::Client(step.client), of, Fate::Delivered).preparing();
        if consumer.member {
            let group = consumer.group;
            match plain().send(wire, &Request::Join { group }).await {
                Known::Done(Response::Joined(member)) => self.member = Some(member),
                other => return Err(settled(other)),
            }
        }
        self.progress = Progress::at_start(&consumer.inputs);
        self.go_to_saved(wire, plain(), consumer).await
    }

    async fn go_to_saved<T: Transport>(
        &mut self,
        wire: &Wire<'_, T>,
        ask: Ask,
        consumer: &Consumer,
    ) -> Result<(), Outcome> {
        let request = Request::Positions {
            group: consumer.group,
            partitions: consumer.inputs.clone(),
            stable: true,
        };
        let positions = match ask.send(wire, &request).await {
            Known::Done(Response::Positions(positions)) => positions,
            other => return Err(settled(other)),
        };
        self.progress.go_to_saved(&positions);
        Ok(())
    }
}
