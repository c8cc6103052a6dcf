//! The clauses: what a log like Kafka's must, should and may do, one sentence each, and what of it this suite sees.
//!
//! A clause is judged by what clients see come of it, or by every answer on the wire; never by the number of an error.
//! Which properties judge it, say their sources, which name it. [`Observed`] says how far that goes, and
//! [`Hazard::is_caused`] under what, so that nobody takes silence for a proof. [`SOURCES`] says how to read where they
//! come from.

mod dedup;
mod end_to_end;
mod isolation;
mod log;
mod offsets;
mod transactions;

use crate::history::{Call, Event, History};
use crate::plan::{Fate, Fault};

/// One thing that a broker (or, where it says so, a client) must, should or may do.
#[derive(Debug)]
pub struct Clause {
    /// Its section and number, such as `LOG-01`.
    pub id: &'static str,
    /// How binding it is.
    pub level: Level,
    /// Who can see whether it is kept.
    pub through: Through,
    /// What makes it hard to keep, any one of these.
    pub hazards: &'static [Hazard],
    /// Without what it says nothing.
    pub premise: Option<Premise>,
    /// What it says.
    pub statement: &'static str,
    /// Where it comes from.
    pub source: &'static str,
    /// How far this suite judges it.
    pub observed: Observed,
}

/// How binding a clause is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// Safety: a broker that breaks it breaks a promise.
    Must,
    /// The same over the transaction protocol since KIP-890 part 2 (TV2); the one before it cannot.
    MustOverTv2,
    /// The answer that Kafka gives, or liveness.
    Should,
    /// Permitted: a broker may do so or not.
    May,
}

/// Who can see whether a clause is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Through {
    /// An application with any client.
    Client,
    /// Only who reads and writes requests.
    Wire,
}

/// What makes a clause hard to keep. What is judged, is judged under those that the rig can cause.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hazard {
    /// An answer or a connection is lost.
    Cut,
    /// A process is killed, and started again on the same data.
    Crash,
    /// Another broker becomes the leader or the coordinator.
    Move,
    /// A request is repeated, late, or overtaken by another.
    Late,
    /// A process stands still, or a time runs out.
    Pause,
    /// Data or state is old enough to be deleted, or is deleted by request.
    Expiry,
    /// A disk loses what was written, or a leader is elected that lacks it.
    Disk,
    /// A log is compacted, or begins a new segment.
    Compaction,
}

/// What a case must have had for a clause to say anything of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Premise {
    /// The broker was killed, and started again.
    Restart,
    /// A request was lost, late, repeated, put off or forged.
    Disorder,
}

/// How far this suite judges a clause.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Observed {
    /// By the properties that name it in their source.
    Judged,
    /// The same, but for this.
    Partly(&'static str),
    /// It could be, and this is how, or what is missing.
    NotYet(&'static str),
    /// It cannot be, for this reason.
    Never(&'static str),
}

/// How sources are written, for people.
pub const SOURCES: &str = "\
Sources: KIP-… and KAFKA-… are Kafka's proposals and issues, project#… is an issue or pull request of that project. A file is
Kafka's, its line that of revision 1eb7644349cb (October 2024), unless another project or revision is named.";

/// All sections, in order.
pub const SECTIONS: [&[Clause]; 6] = [
    log::CLAUSES,
    dedup::CLAUSES,
    transactions::CLAUSES,
    isolation::CLAUSES,
    offsets::CLAUSES,
    end_to_end::CLAUSES,
];

/// All clauses, in order.
pub fn all() -> impl Iterator<Item = &'static Clause> {
    SECTIONS.iter().copied().flatten()
}

/// The clause of that id.
pub fn find(id: &str) -> Option<&'static Clause> {
    all().find(|clause| clause.id == id)
}

/// Whether a word is an id of a section that there is, be there such a clause or not.
pub fn is_id(word: &str) -> bool {
    let section = |id: &str| id.split_once('-').map(|(section, _)| section.to_owned());
    let sections = SECTIONS.iter().filter_map(|clauses| clauses.first());
    section(word).is_some_and(|known| {
        sections.filter_map(|first| section(first.id)).any(|section| section == known)
    })
}

impl Level {
    /// As in RFC 2119.
    pub fn name(self) -> &'static str {
        match self {
            Level::Must => "MUST",
            Level::MustOverTv2 => "MUST over TV2",
            Level::Should => "SHOULD",
            Level::May => "MAY",
        }
    }
}

impl Through {
    /// In words.
    pub fn name(self) -> &'static str {
        match self {
            Through::Client => "through any client",
            Through::Wire => "on the wire",
        }
    }
}

impl Hazard {
    /// In words.
    pub fn name(self) -> &'static str {
        match self {
            Hazard::Cut => "lost answers",
            Hazard::Crash => "crashes",
            Hazard::Move => "changes of leader",
            Hazard::Late => "late requests",
            Hazard::Pause => "pauses",
            Hazard::Expiry => "expiry",
            Hazard::Disk => "losses of disk",
            Hazard::Compaction => "compaction",
        }
    }

    /// Whether the rig can cause it.
    pub fn is_caused(self) -> bool {
        match self {
            Hazard::Cut | Hazard::Crash | Hazard::Late | Hazard::Pause => true,
            Hazard::Move | Hazard::Expiry | Hazard::Disk | Hazard::Compaction => false,
        }
    }
}

impl Premise {
    /// All of them.
    pub const ALL: [Premise; 2] = [Premise::Restart, Premise::Disorder];

    /// Whether the case had it.
    pub fn holds_in(self, history: &History) -> bool {
        history.events.iter().any(|event| match (self, event) {
            (Premise::Restart, Event::Fault { fault, happened: true }) => *fault != Fault::Pause,
            (Premise::Disorder, Event::Answer { fate, .. }) => *fate != Fate::Delivered,
            (Premise::Disorder, Event::Call { call: Call::Forge(_), .. }) => true,
            _ => false,
        })
    }
}

impl Observed {
    /// In words.
    pub fn name(self) -> &'static str {
        match self {
            Observed::Judged => "judged",
            Observed::Partly(_) => "judged in part",
            Observed::NotYet(_) => "not judged yet",
            Observed::Never(_) => "not observable",
        }
    }

    /// Whether a property judges it, wholly or in part.
    pub fn is_judged(self) -> bool {
        matches!(self, Observed::Judged | Observed::Partly(_))
    }

    /// What is not judged of it, and why.
    pub fn reason(self) -> Option<&'static str> {
        match self {
            Observed::Judged => None,
            Observed::Partly(reason) | Observed::NotYet(reason) | Observed::Never(reason) => {
                Some(reason)
            }
        }
    }
}

/// One line of a section's table.
const fn clause(
    id: &'static str,
    level: Level,
    through: Through,
    hazards: &'static [Hazard],
    statement: &'static str,
    source: &'static str,
    observed: Observed,
) -> Clause {
    Clause { id, level, through, hazards, premise: None, statement, source, observed }
}

impl Clause {
    /// The same, of cases that had this.
    const fn given(self, premise: Premise) -> Clause {
        Clause { premise: Some(premise), ..self }
    }
}

/// What is said of a clause that only permits.
const PERMITTED: Observed = Observed::Never(
    "a permission, which nothing can break; no property accuses who makes use of it",
);
/// What is said of a clause about followers.
const ONE_NODE: Observed = Observed::NotYet(
    "needs a cluster of several nodes, of which one is killed or cut off; we start one",
);
