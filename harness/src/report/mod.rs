//! What a certification came to, as data; and the modules that render it, the only ones that render anything.

use std::collections::BTreeMap;

use onceness_properties::Claim;
use onceness_reference::features::Features;
use onceness_reference::ids::EventId;
use onceness_reference::plan::{Fault, Plan};
use onceness_reference::profile::Profile;
use serde::Serialize;

use crate::accept::{Accept, Breach};
use crate::exit::Exit;
use crate::options::Options;
use crate::search::{Broken, Ended, Searched};
use crate::shrink::Shrunk;
use crate::tally::{Count, Tally};
use crate::trial::Kind;

use covered::Covered;

pub mod covered;
pub mod failure;
mod forging;
pub mod json;
pub mod judged;
pub mod junit;
pub mod price;
pub mod price_json;
pub mod requests;
pub mod selftest;
pub mod style;
pub mod sweep;
pub mod table;
pub mod timeline;

/// What a certification came to.
#[derive(Debug)]
pub struct Report {
    /// How users name the target.
    pub target: String,
    /// What was driven, for people.
    pub driven: String,
    /// The seed of the run.
    pub seed: u64,
    /// How many cases were run and judged.
    pub cases: u64,
    /// How many of them failed.
    pub failing: u64,
    /// How often the broker was really struck, by fault.
    pub faults: BTreeMap<Fault, u64>,
    /// How many cases the target did not answer in.
    pub silent: u64,
    /// What it was in the last of them.
    pub last_error: Option<String>,
    /// How long the cases took.
    pub seconds: f64,
    /// Why the search ended.
    pub ended: Ended,
    /// What became of each claim.
    pub claims: Vec<ClaimReport>,
    /// What was put to the test, clause by clause and cell by cell.
    pub covered: Covered,
    /// The failures, each kind once, in the order of the first case that showed it.
    pub failures: Vec<Failure>,
    /// What is not as it should be, in the order of the first case that showed it.
    pub deviations: Vec<Deviated>,
    /// The accepted weaknesses that were met.
    pub accepted: Vec<Accepted>,
    /// The accepted breaches of the target, met or not.
    pub breaches: Vec<AcceptedBreach>,
    /// Whether one that no longer occurs leaves the run not green.
    pub deny_stale: bool,
    /// Cases in which the rig itself broke.
    pub broke: Vec<Broken>,
    /// What else went wrong: files that could not be written, a target that could not be cleaned.
    pub troubles: Vec<String>,
    /// Whether the user named the claims.
    pub claims_named: bool,
}

/// What became of a claim.
#[derive(Debug, Serialize)]
pub struct ClaimReport {
    /// Which.
    pub claim: Claim,
    /// The worst of its properties.
    pub verdict: Word,
    /// Its properties.
    pub properties: Vec<PropertyReport>,
}

/// What became of a property of a claim.
#[derive(Debug, Serialize)]
pub struct PropertyReport {
    /// Which.
    pub property: &'static str,
    /// What became of it.
    pub verdict: Word,
    /// How often.
    #[serde(flatten)]
    pub count: Count,
    /// What is allowed and was counted: losses at most once, duplicates at least once.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub notes: BTreeMap<&'static str, u64>,
}

/// A verdict over many cases, mildest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Word {
    /// The target cannot be asked.
    Unsupported,
    /// Kept whenever it was put to the test.
    Holds,
    /// Broken, but only in ways that the user accepts.
    Accepted,
    /// Never put to the test.
    Untested,
    /// Broken.
    Violated,
}

/// A kind of failure, with its smallest example.
#[derive(Debug)]
pub struct Failure {
    /// What is broken.
    pub kind: Kind,
    /// For which claims.
    pub claims: Vec<Claim>,
    /// In how many cases.
    pub cases: u64,
    /// The number of the first case that showed it.
    pub index: Option<u64>,
    /// That case's seed and knobs, if it was drawn.
    pub drawn: Option<(u64, Profile)>,
    /// That case's plan.
    pub original: Plan,
    /// Its smallest form.
    pub shrunk: Shrunk,
    /// The one command that runs it again.
    pub replay: String,
    /// Where it is kept.
    pub folder: Option<std::path::PathBuf>,
}

/// A kind of deviation, with its first example.
#[derive(Debug, Serialize)]
pub struct Deviated {
    /// What deviates.
    pub what: String,
    /// Whether it breaks a promise, too.
    pub breaks: bool,
    /// In how many cases.
    pub cases: u64,
    /// The first of them, counted from 1.
    pub first_case: u64,
    /// Its seed.
    pub seed: u64,
    /// The events of its history that show it.
    pub evidence: Vec<EventId>,
    /// What happened there, in one sentence.
    pub story: String,
    /// The command that shows it.
    pub look: String,
}

/// An accepted weakness that was met.
#[derive(Debug, Serialize)]
pub struct Accepted {
    /// Its id.
    pub weakness: &'static str,
    /// What it is, in a few words.
    pub title: &'static str,
    /// How it comes about.
    pub explanation: &'static str,
    /// Where it is described.
    pub source: &'static str,
    /// In how many cases it was met.
    pub cases: u64,
}

/// An accepted breach of the target.
#[derive(Debug, Serialize)]
pub struct AcceptedBreach {
    /// What is accepted, and why.
    #[serde(flatten)]
    pub breach: Breach,
    /// In how many cases it was met.
    pub cases: u64,
    /// How often what it excuses was put to the test, for each claim at least.
    pub tested: u64,
    /// It was put to the test and not met: nothing has to be excused any more.
    pub stale: bool,
}

impl Word {
    /// The word that reports show.
    pub fn text(self) -> &'static str {
        match self {
            Word::Unsupported => "unsupported",
            Word::Holds => "holds",
            Word::Accepted => "accepted",
            Word::Untested => "untested",
            Word::Violated => "violated",
        }
    }

    fn of(count: Count) -> Word {
        match count {
            Count { violated: 1.., .. } => Word::Violated,
            Count { accepted: 1.., .. } => Word::Accepted,
            Count { times: 1.., .. } => Word::Holds,
            Count { unsupported: 1.., .. } => Word::Unsupported,
            _ => Word::Untested,
        }
    }
}

impl Report {
    /// What the search says, before failures are made smaller.
    pub(crate) fn of(
        searched: &Searched,
        driven: String,
        features: Features,
        options: &Options,
        seconds: f64,
    ) -> Report {
        Report {
            target: options.target.clone(),
            driven,
            seed: options.seed,
            cases: searched.cases,
            failing: searched.failing,
            faults: searched.faults.clone(),
            silent: searched.silent,
            last_error: searched.last_error.as_ref().map(ToString::to_string),
            seconds,
            ended: searched.ended,
            claims: claims(&searched.tally, features, options),
            covered: Covered::of(&searched.coverage, features, options),
            failures: Vec::new(),
            deviations: Vec::new(),
            accepted: Accepted::all(weaknesses_met(&searched.accepted, options)),
            breaches: breaches(searched, features, options),
            deny_stale: options.deny_stale,
            broke: searched.broke.values().cloned().collect(),
            troubles: Vec::new(),
            claims_named: options.claims.named,
        }
    }

    /// What the process says. A proven violation outweighs all else; more than one silent case in a hundred leaves nothing proven.
    pub fn exit(&self) -> Exit {
        let any = |word: Word| self.claims.iter().any(|claim| claim.verdict == word);
        let cut_short = !matches!(self.ended, Ended::Complete | Ended::FailFast);
        let silent = self.silent * 100 > self.cases;
        let open = any(Word::Untested) || (self.claims_named && any(Word::Unsupported));
        if any(Word::Violated) {
            Exit::Violated
        } else if !self.broke.is_empty() {
            Exit::Internal
        } else if self.claims.is_empty() {
            Exit::NothingSelected
        } else if cut_short || silent || open || !self.troubles.is_empty() {
            Exit::Inconclusive
        } else if self.deny_stale && self.breaches.iter().any(|one| one.stale) {
            Exit::Stale
        } else {
            Exit::Holds
        }
    }
}

fn claims(tally: &Tally, features: Features, options: &Options) -> Vec<ClaimReport> {
    let report = |claim: &Claim| {
        let rows = tally.rows().iter().filter(|row| row.claim == *claim);
        let properties: Vec<PropertyReport> = rows
            .map(|row| PropertyReport {
                property: row.property.name,
                verdict: if row.property.is_supported(*claim, features) {
                    Word::of(row.count)
                } else {
                    Word::Unsupported
                },
                count: row.count,
                notes: row.notes.clone(),
            })
            .collect();
        let worst = properties.iter().map(|one| one.verdict).max();
        ClaimReport { claim: *claim, verdict: worst.unwrap_or(Word::Untested), properties }
    };
    options.claims.chosen.iter().map(report).collect()
}

/// The accepted weaknesses that were met, by id, with how many cases met them.
pub(crate) fn weaknesses_met(
    met: &BTreeMap<usize, u64>,
    options: &Options,
) -> impl Iterator<Item = (&'static str, u64)> {
    options.accept.iter().enumerate().filter_map(|(place, accept)| match accept {
        Accept::Weakness(id) => Some((*id, *met.get(&place)?)),
        Accept::Breach(_) => None,
    })
}

/// The accepted breaches of the target that were met, with how many cases met them.
pub(crate) fn breaches_met(met: &BTreeMap<usize, u64>, options: &Options) -> Vec<(Breach, u64)> {
    let all = accepted_breaches(options);
    all.filter_map(|(place, breach)| Some((breach.clone(), *met.get(&place)?))).collect()
}

fn accepted_breaches(options: &Options) -> impl Iterator<Item = (usize, &Breach)> {
    options.accept.iter().enumerate().filter_map(|(place, accept)| match accept {
        Accept::Breach(breach) => Some((place, breach)),
        Accept::Weakness(_) => None,
    })
}

fn breaches(searched: &Searched, features: Features, options: &Options) -> Vec<AcceptedBreach> {
    let told = accepted_breaches(options).map(|(place, breach)| {
        let cases = searched.accepted.get(&place).copied().unwrap_or(0);
        let tested = breach.tested(&searched.tally, features);
        AcceptedBreach { breach: breach.clone(), cases, tested, stale: cases == 0 && tested > 0 }
    });
    told.collect()
}

impl Accepted {
    /// Known weaknesses, by id, with how many cases met them.
    pub(crate) fn all(met: impl Iterator<Item = (&'static str, u64)>) -> Vec<Accepted> {
        let known = met.filter_map(|(id, cases)| Some((crate::weakness::find(id)?, cases)));
        let told = known.map(|(known, cases)| Accepted {
            weakness: known.id,
            title: known.title,
            explanation: known.explanation,
            source: known.source,
            cases,
        });
        told.collect()
    }
}
