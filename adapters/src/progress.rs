//! How far a consumer is: what it fetched, what it handled, what it saved, per input. The rules of the three consumer
//! semantics are here, and nothing of how positions travel.

use std::collections::VecDeque;

use onceness_reference::history::{Fetched, Record, Seen, Skip};
use onceness_reference::ids::{Offset, Partition, Tag};
use onceness_reference::plan::Saving;

/// How far a consumer is in all its inputs.
#[derive(Default)]
pub(crate) struct Progress {
    inputs: Vec<Input>,
    queue: VecDeque<Polled>,
}

/// How far a consumer is in one of its inputs. All are the next offset.
pub(crate) struct Input {
    pub(crate) partition: Partition,
    pub(crate) fetched: Offset,
    handled: Offset,
    saved: Option<Offset>,
}

/// A record that was polled and not yet processed or forwarded.
#[derive(Clone, Copy)]
struct Polled {
    partition: Partition,
    offset: Offset,
    record: Option<Record>,
}

/// What was read from one input, in one go.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Taken {
    /// The position to go on from.
    pub(crate) next: Offset,
    /// The records with their offsets. None: not a record of this case.
    pub(crate) records: Vec<(Offset, Option<Record>)>,
}

impl Taken {
    /// What an application was handed, as the history has it.
    pub(crate) fn seen(&self) -> impl Iterator<Item = Seen> {
        let records = self.records.iter();
        records
            .map(|(offset, record)| Seen { offset: *offset, tag: record.map(|record| record.tag) })
    }
}

impl Progress {
    /// A consumer of these inputs that has read nothing.
    pub(crate) fn at_start(inputs: &[Partition]) -> Self {
        let inputs = inputs.iter().map(|&partition| Input {
            partition,
            fetched: 0,
            handled: 0,
            saved: None,
        });
        Progress { inputs: inputs.collect(), queue: VecDeque::new() }
    }

    pub(crate) fn inputs(&self) -> &[Input] {
        &self.inputs
    }

    /// Starts again from the saved positions, or from the beginning where there are none.
    pub(crate) fn go_to_saved(&mut self, positions: &[(Partition, Option<Offset>)]) {
        self.queue.clear();
        for input in &mut self.inputs {
            let found = positions.iter().find(|(partition, _)| *partition == input.partition);
            input.saved = found.and_then(|(_, position)| *position);
            input.fetched = input.saved.unwrap_or(0);
            input.handled = input.fetched;
        }
    }

    /// The saved positions.
    pub(crate) fn positions(&self) -> Vec<(Partition, Option<Offset>)> {
        self.inputs.iter().map(|input| (input.partition, input.saved)).collect()
    }

    /// Takes what was read from the input at that place. None if the position did not move.
    pub(crate) fn take(&mut self, place: usize, taken: Taken) -> Option<Fetched> {
        let input = &mut self.inputs[place];
        if taken.next == input.fetched {
            return None;
        }
        let partition = input.partition;
        let from = std::mem::replace(&mut input.fetched, taken.next);
        let records = taken.seen().collect();
        let polled =
            taken.records.into_iter().map(|(offset, record)| Polled { partition, offset, record });
        self.queue.extend(polled);
        self.update_handled();
        Some(Fetched { partition, from, to: taken.next, records })
    }

    /// Hands the records that may be processed now to the application. A consumer that saves first processes only what it
    /// saved.
    pub(crate) fn process(
        &mut self,
        saving: Saving,
        mut hand_over: impl FnMut(Partition, &Record),
    ) -> Vec<Tag> {
        let mut tags = Vec::new();
        let inputs = &self.inputs;
        self.queue.retain(|polled| {
            let saved = |input: &Input| {
                input.partition == polled.partition && Some(polled.offset) < input.saved
            };
            let due = saving != Saving::BeforeProcessing || inputs.iter().any(saved);
            if let (true, Some(record)) = (due, &polled.record) {
                tags.push(record.tag);
                hand_over(polled.partition, record);
            }
            !due
        });
        self.update_handled();
        tags
    }

    /// The next so many records that wait, as inputs of a transaction.
    pub(crate) fn forward(&mut self, limit: usize) -> Vec<Record> {
        let taken = self.queue.len().min(limit);
        let inputs = self.queue.drain(..taken).filter_map(|polled| polled.record).collect();
        self.update_handled();
        inputs
    }

    /// Goes on from here, as if nothing had been saved: what an aborted transaction has read is passed over.
    pub(crate) fn read_on(&mut self) {
        self.queue.clear();
        self.update_handled();
        self.inputs.iter_mut().for_each(|input| input.saved = None);
    }

    /// Forgets what was polled.
    pub(crate) fn drop_polled(&mut self) {
        self.queue.clear();
    }

    /// The positions that have moved since they were saved.
    ///
    /// # Errors
    /// When none has.
    pub(crate) fn unsaved(&self, saving: Saving) -> Result<Vec<(Partition, Offset)>, Skip> {
        let position = |input: &Input| match saving {
            Saving::BeforeProcessing => input.fetched,
            Saving::AfterProcessing | Saving::InTransaction => input.handled,
        };
        let moved: Vec<_> = (self.inputs.iter())
            .filter(|input| position(input) > input.saved.unwrap_or(0))
            .map(|input| (input.partition, position(input)))
            .collect();
        if moved.is_empty() { Err(Skip::NothingToDo) } else { Ok(moved) }
    }

    /// These positions are saved now.
    pub(crate) fn saved(&mut self, positions: &[(Partition, Offset)]) {
        for (partition, offset) in positions {
            let input = self.inputs.iter_mut().find(|input| input.partition == *partition);
            if let Some(input) = input {
                input.saved = Some(*offset);
            }
        }
    }

    /// Everything before the first record that still waits was handled.
    fn update_handled(&mut self) {
        for input in &mut self.inputs {
            let waiting = self.queue.iter().find(|polled| polled.partition == input.partition);
            input.handled = waiting.map_or(input.fetched, |polled| polled.offset);
        }
    }
}

/// The outputs of a read-process-write loop: one for each input, tagged in order.
pub(crate) fn outputs(inputs: &[Record], first: Tag) -> Vec<Record> {
    let output = |(i, input): (usize, &Record)| Record {
        tag: Tag(first.0 + i as u32),
        key: input.key,
        from: Some(input.tag),
    };
    inputs.iter().enumerate().map(output).collect()
}
