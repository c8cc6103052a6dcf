//! What a history says of its mishap: whether it happened, exactly where, and what became of the transaction it struck.

use onceness_reference::history::{Call, Event, History, Outcome, Reply};
use onceness_reference::ids::{ClientId, EventId, Offset, Partition, StepId, Tag};
use onceness_reference::plan::{Fate, Isolation};
use serde::Serialize;

use super::boundary::{Boundary, Place, Places, Stage, Which};
use super::mishap::{Mishap, Struck};
use super::points::{Expected, is_loop};

/// How surely a boundary was visited.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Visit {
    /// The mishap did not happen, or not there.
    No,
    /// Near it: nobody can look into this broker.
    Approximated,
    /// There.
    Exact,
}

/// What became of the transaction that was open, or ending, when its client crashed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Aftermath {
    /// Whoever went on started after what the transaction had read.
    pub new_position: bool,
    /// How many outputs it tried to write.
    pub outputs: usize,
    /// How many of them a final read_committed reader saw.
    pub visible: usize,
}

impl Aftermath {
    /// Whether this is what has to come of it.
    pub fn is(self, expected: Expected) -> bool {
        match expected {
            Expected::Undone => !self.new_position && self.visible == 0,
            Expected::Done => self.new_position && self.visible == self.outputs,
        }
    }
}

/// How surely the mishap of a plan struck its boundary.
pub(super) fn visit(
    history: &History,
    boundary: &Boundary,
    mishap: Mishap,
    struck: &Struck,
    embedded: bool,
) -> Visit {
    let seen = Seen { history, boundary, struck };
    if !seen.happened(mishap) {
        return Visit::No;
    }
    match boundary.place {
        Place::After(stage) => seen.stage(stage, embedded),
        _ => Visit::Exact,
    }
}

/// What became of the transaction that the crash struck, if it had read something.
pub(super) fn aftermath(
    history: &History,
    boundary: &Boundary,
    struck: &Struck,
) -> Option<Aftermath> {
    let seen = Seen { history, boundary, struck };
    let crashed = seen.crashed(struck.crash?)?;
    let read = seen.last_poll(crashed)?;
    let (_, Reply::Opened { positions, .. }) = seen.done(struck.open?)? else { return None };
    let is_past = |(partition, to): &(Partition, Offset)| {
        positions.iter().any(|(other, position)| other == partition && *position >= Some(*to))
    };
    let outputs = seen.outputs(crashed);
    let visible = outputs.iter().filter(|tag| is_visible(history, **tag)).count();
    Some(Aftermath { new_position: read.iter().all(is_past), outputs: outputs.len(), visible })
}

/// Whether every loop has read its inputs to their ends.
pub(super) fn is_drained(history: &History) -> bool {
    let loops = history.header.clients.iter().filter(|client| is_loop(client));
    let mut consumers = loops.filter_map(|client| client.consumer.as_ref());
    consumers.all(|consumer| {
        consumer.inputs.iter().all(|input| {
            let position = history.events.iter().find_map(|event| match event {
                Event::Committed { group, partition, offset }
                    if group == &consumer.group && partition == input =>
                {
                    Some(offset.unwrap_or(0))
                }
                _ => None,
            });
            let (Some(position), Some(last)) =
                (position, last_read(history, *input, consumer.isolation))
            else {
                return false;
            };
            last.iter().all(|(offset, _)| *offset < position)
        })
    })
}

fn last_read(
    history: &History,
    wanted: Partition,
    level: Isolation,
) -> Option<Vec<(Offset, Option<Tag>)>> {
    history.events.iter().find_map(|event| match event {
        Event::Read { partition, isolation, records, .. }
            if *partition == wanted && *isolation == level =>
        {
            Some(records.iter().map(|seen| (seen.offset, seen.tag)).collect())
        }
        _ => None,
    })
}

fn is_visible(history: &History, tag: Tag) -> bool {
    history.events.iter().any(|event| match event {
        Event::Read { isolation: Isolation::ReadCommitted, records, .. } => {
            records.iter().any(|seen| seen.tag == Some(tag))
        }
        _ => false,
    })
}

struct Seen<'a> {
    history: &'a History,
    boundary: &'a Boundary,
    struck: &'a Struck,
}

impl<'a> Seen<'a> {
    fn happened(&self, mishap: Mishap) -> bool {
        let step = self.boundary.step;
        let at_request = match self.boundary.place {
            Place::Lost(which) if mishap == Mishap::Held => {
                self.befell(step, which, |fate| matches!(fate, Fate::Held { .. }), false)
            }
            Place::Lost(which) => self.befell(step, which, |fate| fate == Fate::RequestLost, false),
            Place::Applied(which) if mishap == Mishap::Repeated => {
                self.befell(step, which, |fate| fate == Fate::Repeated, true)
            }
            Place::Applied(which) => self.befell(step, which, |fate| fate == Fate::ReplyLost, true),
            Place::Nowhere | Place::Before | Place::After(_) => true,
        };
        let crashed = self.struck.crash.is_none_or(|step| self.crashed(step).is_some());
        let went_on = self.struck.open.is_none_or(|step| self.done(step).is_some());
        let struck = mishap.fault().is_none() || self.restarted().is_some();
        at_request && crashed && went_on && struck
    }

    fn befell(
        &self,
        step: StepId,
        which: Which,
        wanted: impl Fn(Fate) -> bool,
        applied: bool,
    ) -> bool {
        self.history.events.iter().any(|event| match event {
            Event::Answer { of, preparation, fate, outcome } => {
                self.step_of(*of) == Some(step)
                    && *preparation == (which == Which::Preparation)
                    && wanted(*fate)
                    && !(applied && matches!(outcome, Outcome::Refused(_)))
            }
            _ => false,
        })
    }

    /// How far the broker was with the transaction.
    fn stage(&self, stage: Stage, embedded: bool) -> Visit {
        if stage == Stage::Complete {
            return if self.was_complete() { Visit::Exact } else { Visit::No };
        }
        if !embedded {
            return Visit::Approximated;
        }
        let unmarked = self.history.events.iter().find_map(|event| match event {
            Event::Unmarked { partitions, groups } => Some(Places {
                partitions: partitions.iter().copied().collect(),
                groups: groups.iter().copied().collect(),
            }),
            _ => None,
        });
        let all = &self.boundary.written;
        let there = match (stage, unmarked) {
            (_, None) => false,
            (Stage::Unmarked, Some(unmarked)) => unmarked == *all,
            (_, Some(unmarked)) => unmarked != *all,
        };
        if there { Visit::Exact } else { Visit::No }
    }

    /// The outsider saw all outputs, and the loop its new position, before the mishap.
    fn was_complete(&self) -> bool {
        let end = self.struck.crash.and_then(|step| self.crashed(step)).or(self.restarted());
        let Some(end) = end else { return false };
        let outputs = self.outputs(end);
        let outsider = self.struck.outsider;
        let shown = self.replies(end).filter(|(client, _, _)| Some(*client) == outsider);
        let shown: Vec<Tag> = shown
            .filter_map(|(_, _, reply)| match reply {
                Reply::Polled(fetched) => Some(fetched),
                _ => None,
            })
            .flatten()
            .flat_map(|fetched| fetched.records.iter().filter_map(|seen| seen.tag))
            .collect();
        let Some(read) = self.last_poll(end) else { return false };
        let rewound = self.replies(end).filter(|(client, _, _)| *client == self.boundary.client);
        let at = rewound
            .filter_map(|(_, _, reply)| match reply {
                Reply::Positions(positions) => Some(positions),
                _ => None,
            })
            .last();
        let is_past = |(partition, to): &(Partition, Offset)| {
            at.is_some_and(|at| {
                at.iter().any(|(one, offset)| one == partition && *offset >= Some(*to))
            })
        };
        outputs.iter().all(|tag| shown.contains(tag)) && read.iter().all(is_past)
    }

    fn crashed(&self, wanted: StepId) -> Option<usize> {
        self.history
            .events
            .iter()
            .position(|event| matches!(event, Event::Crashed { step, .. } if *step == wanted))
    }

    fn restarted(&self) -> Option<usize> {
        self.history
            .events
            .iter()
            .position(|event| matches!(event, Event::Fault { happened: true, .. }))
    }

    /// Where the struck client's last poll before an event ended. None if it read nothing.
    fn last_poll(&self, end: usize) -> Option<Vec<(Partition, Offset)>> {
        let polls = self.replies(end).filter_map(|(client, _, reply)| match reply {
            Reply::Polled(fetched) if client == self.boundary.client => Some(fetched),
            _ => None,
        });
        let last = polls.last()?;
        let read: Vec<_> = last.iter().map(|one| (one.partition, one.to)).collect();
        (!read.is_empty()).then_some(read)
    }

    /// What the struck client tried to write since it last read or began, before an event: one transaction, or nothing.
    fn outputs(&self, end: usize) -> Vec<Tag> {
        let mut outputs = Vec::new();
        for event in &self.history.events[..end] {
            match event {
                Event::Call { client, call: Call::Begin | Call::Poll, .. }
                    if *client == self.boundary.client =>
                {
                    outputs.clear();
                }
                Event::Call { client, call: Call::Send { records, .. }, .. }
                    if *client == self.boundary.client =>
                {
                    outputs.extend(records.iter().map(|record| record.tag));
                }
                _ => {}
            }
        }
        outputs
    }

    /// The replies before an event: to whom, for which step, and what.
    fn replies(&self, end: usize) -> impl Iterator<Item = (ClientId, StepId, &'a Reply)> {
        let history = self.history;
        history.events[..end].iter().filter_map(|event| match event {
            Event::Return { of, outcome: Outcome::Done(reply) } => {
                match history.events.get(of.0 as usize) {
                    Some(Event::Call { client, step, .. }) => Some((*client, *step, reply)),
                    _ => None,
                }
            }
            _ => None,
        })
    }

    fn done(&self, step: StepId) -> Option<(ClientId, &'a Reply)> {
        let mut replies = self.replies(self.history.events.len());
        replies.find_map(|(client, of, reply)| (of == step).then_some((client, reply)))
    }

    fn step_of(&self, of: EventId) -> Option<StepId> {
        match self.history.events.get(of.0 as usize) {
            Some(Event::Call { step, .. }) => Some(*step),
            _ => None,
        }
    }
}
