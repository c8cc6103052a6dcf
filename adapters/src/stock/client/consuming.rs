//! What a client does as a consumer: reading, processing, saving its position, and keeping up with its group.

use onceness_reference::history::{Call, Event, Outcome, Reply, Skip};
use onceness_reference::ids::{Partition, Tag};
use onceness_reference::plan::{Consumer, Saving};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use tokio::time::timeout;

use super::{Life, StockClient, Turn, ask, done, patience};
use crate::progress::Progress;
use crate::stock::PATIENCE;
use crate::stock::consuming::{Positions, Reader, blocking};
use crate::stock::door::{Calls, Errand};
use crate::stock::errors::failure;

impl StockClient {
    pub(super) async fn poll(&mut self, turn: Turn<'_>, max: usize) -> Result<(), Skip> {
        let life = self.ready()?;
        if life.must_rewind {
            return Err(Skip::MustRewind);
        }
        self.take_up_what_the_group_gave(turn).await?;
        let of = self.call(turn, Call::Poll);
        let life = self.ready()?;
        let outcome = match life.poll(max).await {
            Ok(reply) => Outcome::Done(reply),
            Err(error) => {
                let failure = failure(&error);
                if failure.broken == Skip::Fenced {
                    life.broken = Some(Skip::Fenced);
                }
                failure.outcome
            }
        };
        self.recorder.record(Event::Return { of, outcome });
        Ok(())
    }

    /// Whether the group took away what this member had, or gave it something else.
    async fn is_moved(&mut self) -> Result<bool, Skip> {
        let shared = self.consumer()?.shared;
        let reader = self.ready()?.reader.clone().filter(|_| shared);
        let Some(reader) = reader else { return Ok(false) };
        Ok(blocking(move || Ok(reader.is_moved())).await.unwrap_or(false))
    }

    /// Groups do not check who saves positions of which partition, only that it is a member: each has to save its own alone.
    async fn stay_with_the_group(&mut self) -> Result<(), Skip> {
        if self.is_moved().await? { Err(Skip::MustRewind) } else { Ok(()) }
    }

    /// A member that was given other partitions goes on from what is saved of them.
    async fn take_up_what_the_group_gave(&mut self, turn: Turn<'_>) -> Result<(), Skip> {
        if !self.is_moved().await? {
            return Ok(());
        }
        let consumer = self.consumer()?.clone();
        let of = self.call(turn, Call::Rewind);
        let life = self.ready()?;
        let reader = life.reader()?.clone();
        let given = blocking(move || Ok(reader.given(&consumer))).await.unwrap_or_default();
        let outcome = match given {
            Some(inputs) => match life.go_to_saved(inputs).await {
                Ok(()) => Outcome::Done(Reply::Positions(life.progress.positions())),
                Err(error) => failure(&error).outcome,
            },
            None => Outcome::Unknown,
        };
        if !matches!(outcome, Outcome::Done(_)) {
            life.broken = Some(Skip::InDoubt);
        }
        self.recorder.record(Event::Return { of, outcome });
        Ok(())
    }

    pub(super) fn process(&mut self, turn: Turn<'_>) -> Result<(), Skip> {
        let saving = self.consumer()?.saving;
        let records: Vec<Tag> = self.ready()?.progress.process(saving, |_, _| {});
        if records.is_empty() {
            return Err(Skip::NothingToDo);
        }
        let of = self.call(turn, Call::Process { records });
        self.recorder.record(Event::Return { of, outcome: Outcome::Done(Reply::Nothing) });
        Ok(())
    }

    pub(super) async fn save(&mut self, turn: Turn<'_>) -> Result<(), Skip> {
        let &Consumer { group, saving, shared, .. } = self.consumer()?;
        self.stay_with_the_group().await?;
        let life = self.ready()?;
        let positions = life.progress.unsaved(saving)?;
        let (door, reader) = (life.door.clone(), life.reader()?.clone());
        let saved = Call::Save { group, positions: positions.clone(), in_transaction: false };
        let of = self.call(turn, saved);
        let errand = Errand::of(turn.step, Calls::One(of), turn.round);
        let asked = positions.clone();
        let saving = blocking(move || reader.save(&asked).map_err(|error| reader.why(error)));
        let saving = async {
            let timed_out = KafkaError::ConsumerCommit(RDKafkaErrorCode::OperationTimedOut);
            timeout(PATIENCE, saving).await.unwrap_or(Err(timed_out))
        };
        let saved = ask(&door, errand, saving, false).await;
        let life = self.ready()?;
        match &saved {
            Some(Ok(())) => life.progress.saved(&positions),
            Some(Err(error)) => {
                let failure = failure(error);
                // A member that was expelled joins again by itself.
                let goes_on = shared && matches!(failure.outcome, Outcome::Refused(_));
                life.broken = Some(failure.broken).filter(|_| !goes_on);
            }
            None => {}
        }
        self.told(of, &door, saved.map_or(Outcome::Unknown, done));
        self.crash_if_told(turn);
        Ok(())
    }

    pub(super) async fn save_in_transaction(&mut self, turn: Turn<'_>) -> Result<(), Skip> {
        let group = self.consumer()?.group;
        let life = self.ready()?;
        life.may_save_in_transaction()?;
        let positions = life.progress.unsaved(Saving::InTransaction)?;
        let (door, reader) = (life.door.clone(), life.reader()?.clone());
        let writer = life.writer()?.waiting(patience(turn.step));
        if let Some(transaction) = &mut life.transaction {
            transaction.used = true;
        }
        let saved = Call::Save { group, positions: positions.clone(), in_transaction: true };
        let of = self.call(turn, saved);
        let errand = Errand::of(turn.step, Calls::One(of), turn.round);
        let saving = async {
            let (list, member) = (reader.list(&positions)?, reader.group_metadata()?);
            writer.save(list, member).await
        };
        let saved = ask(&door, errand, saving, false).await;
        let life = self.ready()?;
        match &saved {
            Some(Ok(())) => {
                life.progress.saved(&positions);
                if let Some(transaction) = &mut life.transaction {
                    transaction.unsaved_outputs = false;
                }
            }
            Some(Err(error)) => life.failed(&failure(error)),
            None => {}
        }
        self.told(of, &door, saved.map_or(Outcome::Unknown, done));
        self.crash_if_told(turn);
        Ok(())
    }

    pub(super) async fn rewind(&mut self, turn: Turn<'_>) -> Result<(), Skip> {
        self.consumer()?;
        let life = self.ready()?;
        // Its own pending positions would make the client wait for itself, and its outputs would be written twice.
        if life.transaction.as_ref().is_some_and(|transaction| transaction.used) {
            return Err(Skip::TransactionOpen);
        }
        let of = self.call(turn, Call::Rewind);
        let life = self.ready()?;
        let outcome = match life.go_back().await {
            Ok(()) => {
                life.must_rewind = false;
                Outcome::Done(Reply::Positions(life.progress.positions()))
            }
            Err(error) => {
                // It may have gone back in some of its inputs and not in others.
                life.broken = Some(Skip::InDoubt);
                failure(&error).outcome
            }
        };
        self.recorder.record(Event::Return { of, outcome });
        Ok(())
    }
}

impl Life {
    fn may_save_in_transaction(&self) -> Result<(), Skip> {
        match &self.transaction {
            None => Err(Skip::NoTransaction),
            Some(transaction) if transaction.must_abort => Err(Skip::MustAbort),
            Some(_) if self.must_rewind => Err(Skip::MustRewind),
            Some(_) => Ok(()),
        }
    }

    async fn poll(&mut self, max: usize) -> KafkaResult<Reply> {
        let Some(reader) = self.reader.clone() else { return Ok(Reply::Polled(Vec::new())) };
        let inputs = self.progress.inputs().iter();
        let from: Vec<_> = inputs.map(|input| (input.partition, input.fetched)).collect();
        let reading = move || reader.take(&from, max).map_err(|error| reader.why(error));
        let taken = blocking(reading).await?.into_iter().enumerate();
        let fetched = taken.filter_map(|(place, taken)| self.progress.take(place, taken));
        Ok(Reply::Polled(fetched.collect()))
    }

    /// Starts reading these inputs, from their saved positions.
    pub(super) async fn go_to_saved(&mut self, inputs: Vec<Partition>) -> KafkaResult<()> {
        self.progress = Progress::at_start(&inputs);
        self.begin_at_saved(inputs, Reader::start).await
    }

    /// Goes back to the saved positions of what it reads.
    async fn go_back(&mut self) -> KafkaResult<()> {
        let inputs = self.progress.inputs().iter().map(|input| input.partition).collect();
        self.begin_at_saved(inputs, Reader::seek).await
    }

    async fn begin_at_saved(
        &mut self,
        inputs: Vec<Partition>,
        begin: fn(&Reader, &Positions) -> KafkaResult<()>,
    ) -> KafkaResult<()> {
        let Some(reader) = self.reader.clone() else { return Ok(()) };
        let positions = blocking(move || {
            let positions = reader.saved(&inputs).map_err(|error| reader.why(error))?;
            begin(&reader, &positions)?;
            Ok(positions)
        });
        self.progress.go_to_saved(&positions.await?);
        Ok(())
    }
}
