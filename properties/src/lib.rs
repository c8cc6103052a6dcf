//! The claims: each property a pure function from a history to a verdict. They know the history, never the model; but for
//! `answers`, the second judge, who asks it.
//!
//! One promise, one file. What Kafka permits has no property, and is accused by none: gaps between offsets (markers,
//! aborted records), records of a committed transaction that become visible late or not everywhere at once, interleaved
//! transactions (G0), unknown outcomes that turn out either way, losses of at-most-once and duplicates of at-least-once
//! producers. The last two are counted, as [`Note`]s.
//!
//! A client that forges requests is held to nothing, and nobody is held to anything of it (`forging`): it must harm nobody.
//!
//! A broken promise that a hole of the protocol itself explains is one all the same, and bears its name ([`weakness`]).
//!
//! Reading order: [`verdict`], `forging`, `facts`, `watch`, `findings`, then any property.

use onceness_reference::cells::Cell;
use onceness_reference::clauses;
use onceness_reference::features::Features;
use onceness_reference::history::History;

pub mod verdict;
pub mod weakness;

mod facts;
mod findings;
mod forging;
mod watch;

mod answers;
mod atomicity;
mod consume_at_least_once;
mod consume_at_most_once;
mod exactly_once;
mod fencing;
mod isolation;
mod no_duplicate;
mod no_loss;
mod no_phantom;
mod order;
mod position;
mod progress;
mod resend;
mod stable_offsets;
mod upserts;

pub use facts::Facts;
pub use findings::{Findings, Note, VIOLATIONS_MAX};
pub use verdict::{Claim, Deviation, Verdict, Violation};

/// One promise, and how to see whether it was kept.
#[derive(Debug)]
pub struct Property {
    /// The name that users type, reports show and the file bears.
    pub name: &'static str,
    /// The claims that it speaks for.
    pub claims: &'static [Claim],
    /// The promise, in one sentence, as a broker's manual would word it.
    pub promise: &'static str,
    /// Where the promise comes from: the clauses that it judges by id ([`onceness_reference::clauses`]), and the public sources.
    pub source: &'static str,
    /// Which events witness it.
    pub witness: &'static str,
    /// What it does not claim.
    pub not_claimed: &'static str,
    /// What a target must be able to do for a claim to be put to the test at all.
    pub needs: fn(Claim, Features) -> bool,
    /// How it looks at a history.
    pub(crate) watch: fn() -> Box<dyn watch::Watch>,
}

impl Property {
    /// The ids of the clauses that its source names: those that it judges, wholly or in part.
    pub fn clauses(&self) -> impl Iterator<Item = &'static str> {
        self.source.split([',', ';']).map(str::trim).filter(|word| clauses::is_id(word))
    }

    /// Whether it knows in which cell each test was made, so that it speaks for the clauses that are at stake there alone.
    pub fn knows_cells(&self) -> bool {
        self.name == answers::PROPERTY.name
    }

    /// Whether a target that can do so much can be asked for this claim. If not, it is [`Verdict::Unsupported`].
    pub fn is_supported(&self, claim: Claim, features: Features) -> bool {
        let transactions = matches!(claim, Claim::Transactional | Claim::ExactlyOnce);
        (features.transactions() || !transactions) && (self.needs)(claim, features)
    }

    /// Looks for broken promises of this property alone.
    pub fn find(&self, facts: &Facts<'_>) -> Findings {
        let mut watches = [((self.watch)(), Findings::default())];
        watch::watch(facts, &mut watches);
        let [(_, findings)] = watches;
        findings
    }
}

/// What one property says of a history, for one of its claims.
#[derive(Clone, Debug)]
pub struct Judgement {
    /// Which property.
    pub property: &'static Property,
    /// For which claim.
    pub claim: Claim,
    /// What it says.
    pub verdict: Verdict,
    /// What is allowed and was counted.
    pub notes: Vec<Note>,
    /// What is not as it should be, whether or not it breaks the promise, each kind once.
    pub deviations: Vec<Deviation>,
    /// The cells of the tables of states and requests in which the promise was put to the test and kept, where that is known.
    pub kept: Vec<Cell>,
    /// Those in which it was broken, in one of them at least.
    pub broken: Vec<Cell>,
}

/// All properties, in the order of the reports.
pub const PROPERTIES: &[Property] = &[
    no_loss::PROPERTY,
    no_duplicate::PROPERTY,
    order::PROPERTY,
    stable_offsets::PROPERTY,
    no_phantom::PROPERTY,
    isolation::PROPERTY,
    atomicity::PROPERTY,
    fencing::PROPERTY,
    resend::PROPERTY,
    position::PROPERTY,
    consume_at_most_once::PROPERTY,
    consume_at_least_once::PROPERTY,
    exactly_once::PROPERTY,
    upserts::PROPERTY,
    progress::PROPERTY,
    answers::PROPERTY,
];

/// The property of that name.
pub fn property(name: &str) -> Option<&'static Property> {
    PROPERTIES.iter().find(|property| property.name == name)
}

/// The properties that judge the clause of that id.
pub fn judges_of(clause: &str) -> impl Iterator<Item = &'static Property> {
    PROPERTIES.iter().filter(move |property| property.clauses().any(|id| id == clause))
}

/// Judges a history by every property, for every claim that the property speaks for.
pub fn judge(history: &History) -> Vec<Judgement> {
    let honest = forging::without_forgers(history);
    let facts = Facts::of(&honest);
    let watches = PROPERTIES.iter().map(|property| ((property.watch)(), Findings::default()));
    let mut watches: Vec<_> = watches.collect();
    watch::watch(&facts, &mut watches);
    let mut judgements = Vec::new();
    for (property, (_, findings)) in PROPERTIES.iter().zip(&watches) {
        judgements.extend(property.claims.iter().map(|claim| {
            let (kept, broken) = findings.cells(*claim);
            Judgement {
                property,
                claim: *claim,
                verdict: findings.verdict(*claim),
                notes: findings.notes(*claim).to_vec(),
                deviations: findings.deviations(*claim).to_vec(),
                kept: kept.to_vec(),
                broken: broken.to_vec(),
            }
        }));
    }
    judgements
}
