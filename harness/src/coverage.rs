//! What the cases came to, and what that says of each clause.
//!
//! A clause holds as often as it was put to the test: by the second judge, as often as a request found a cell where the
//! clause is at stake and was answered as it must be; by another property, as often as its promise was. Tests of cases that
//! lack the premise of a clause do not count for it. A property that is broken leaves none of its clauses standing, for
//! which of them it was is for people to see.

use std::collections::{BTreeMap, BTreeSet};

use onceness_properties::{Judgement, Property, Verdict, judges_of};
use onceness_reference::cells::{self, Cell};
use onceness_reference::clauses::{self, Clause, Premise};
use onceness_reference::features::Features;
use onceness_reference::history::History;
use serde::Serialize;

use crate::options::Options;

/// What the cases came to.
#[derive(Clone, Debug, Default)]
pub struct Coverage {
    cells: BTreeMap<Cell, Times>,
    properties: BTreeMap<&'static str, Times>,
    /// Broken properties, beyond what is accepted.
    broken: BTreeSet<&'static str>,
    /// Cells in which the second judge accuses, beyond what is accepted.
    broken_cells: BTreeSet<Cell>,
}

/// How often something was put to the test, in all cases and in those that had a premise.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Times {
    all: u64,
    given: [u64; Premise::ALL.len()],
}

/// What became of a clause.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "state")]
pub enum Kept {
    /// Whenever it was put to the test.
    Holds {
        /// How often.
        times: u64,
    },
    /// Never put to the test.
    Untested,
    /// The target, driven this way, cannot be asked.
    Unsupported,
    /// It may be what was broken.
    Violated,
}

impl Coverage {
    /// Takes in what was said of one case.
    pub fn add(&mut self, history: &History, judgements: &[Judgement], options: &Options) {
        let given = Premise::ALL.map(|premise| premise.holds_in(history));
        for judgement in judgements {
            for cell in &judgement.kept {
                self.cells.entry(*cell).or_default().count(1, given);
            }
            if !options.claims.has(judgement.claim) {
                continue;
            }
            let property = judgement.property;
            match &judgement.verdict {
                Verdict::Holds { times } => {
                    self.properties.entry(property.name).or_default().count(*times, given);
                }
                Verdict::Violated(violations) => {
                    let accepted =
                        |one| options.accept.find(property.name, judgement.claim, one).is_some();
                    if !violations.iter().all(accepted) {
                        self.broken.insert(property.name);
                        self.broken_cells.extend(&judgement.broken);
                    }
                }
                Verdict::Untested | Verdict::Unsupported => {}
            }
        }
    }

    /// Takes in another.
    pub fn merge(&mut self, other: &Coverage) {
        for (cell, times) in &other.cells {
            self.cells.entry(*cell).or_default().merge(*times);
        }
        for (property, times) in &other.properties {
            self.properties.entry(property).or_default().merge(*times);
        }
        self.broken.extend(&other.broken);
        self.broken_cells.extend(&other.broken_cells);
    }

    /// How often each cell was reached that a target that can do so much can be brought to, in the order of the tables.
    pub fn cells(&self, features: Features) -> Vec<(Cell, u64)> {
        let reached = |cell: Cell| self.cells.get(&cell).map_or(0, |times| times.all);
        let within = cells::within_reach(features).filter(|_| features.forging);
        within.map(|cell| (cell, reached(cell))).collect()
    }

    /// What became of each clause that a property judges for one of the chosen claims, in the order of the catalogue.
    pub fn clauses(
        &self,
        features: Features,
        options: &Options,
    ) -> impl Iterator<Item = (&'static Clause, Kept)> {
        let chosen =
            |property: &Property| property.claims.iter().any(|one| options.claims.has(*one));
        let judged = clauses::all().filter(move |clause| judges_of(clause.id).any(chosen));
        judged.map(move |clause| (clause, self.kept(clause, features, options)))
    }

    fn kept(&self, clause: &Clause, features: Features, options: &Options) -> Kept {
        let asked = |property: &&Property| {
            let claims = || property.claims.iter().filter(|claim| options.claims.has(**claim));
            claims().any(|claim| property.is_supported(*claim, features))
        };
        if !judges_of(clause.id).any(|property| asked(&property)) {
            return Kept::Unsupported;
        }
        let at_stake = |cell: &Cell| cell.clauses().contains(&clause.id);
        let broken = |property: &'static Property| match property.knows_cells() {
            true => self.broken_cells.iter().any(at_stake),
            false => self.broken.contains(property.name),
        };
        if judges_of(clause.id).any(broken) {
            return Kept::Violated;
        }
        let tested = judges_of(clause.id).map(|property| match property.knows_cells() {
            true => {
                let cells = self.cells.iter().filter(|(cell, _)| at_stake(cell));
                cells.map(|(_, times)| times.of(clause)).sum()
            }
            false => self.properties.get(property.name).map_or(0, |times| times.of(clause)),
        });
        match tested.sum() {
            0 => Kept::Untested,
            times => Kept::Holds { times },
        }
    }
}

impl Times {
    fn count(&mut self, times: u64, given: [bool; Premise::ALL.len()]) {
        self.all += times;
        for (count, given) in self.given.iter_mut().zip(given) {
            *count += if given { times } else { 0 };
        }
    }

    fn merge(&mut self, other: Times) {
        self.all += other.all;
        for (count, more) in self.given.iter_mut().zip(other.given) {
            *count += more;
        }
    }

    fn of(&self, clause: &Clause) -> u64 {
        match clause.premise {
            None => self.all,
            Some(premise) => self.given[premise as usize],
        }
    }
}

#[cfg(test)]
mod tests {
    use onceness_properties::{Claim, Violation, property};
    use onceness_reference::history::{Event, HISTORY_VERSION, Header};
    use onceness_reference::plan::Fault;

    use super::*;
    use crate::options::{Claims, Confirm, Shrinking};

    fn options() -> Options {
        Options {
            target: "hand".to_owned(),
            deterministic: true,
            seed: 0,
            cases: None,
            time: None,
            until_covered: None,
            jobs: 1,
            claims: Claims::all(),
            accept: Default::default(),
            deny_stale: false,
            fail_fast: false,
            shrink: Shrinking {
                tries_max: 0,
                time_max: std::time::Duration::ZERO,
                confirm: Confirm::ONCE,
                final_runs: 0,
            },
        }
    }

    fn history(events: Vec<Event>) -> History {
        let header = Header {
            version: HISTORY_VERSION,
            target: "hand".to_owned(),
            partitions: 1,
            clients: Vec::new(),
        };
        History { header, events, exchanges: Vec::new() }
    }

    fn said(name: &str, claim: Claim, verdict: Verdict) -> Judgement {
        let property = property(name).expect("a property");
        let (notes, deviations) = (Vec::new(), Vec::new());
        let (kept, broken) = (Vec::new(), Vec::new());
        Judgement { property, claim, verdict, notes, deviations, kept, broken }
    }

    fn kept(coverage: &Coverage, id: &str, features: Features) -> Kept {
        let options = options();
        let found = coverage.clauses(features, &options).find(|(clause, _)| clause.id == id);
        found.expect("a clause that is judged").1
    }

    /// That a restart loses nothing was not seen where there was none.
    #[test]
    fn only_cases_with_its_premise_speak_for_a_clause() {
        let holds = || said("no-loss", Claim::AtLeastOnce, Verdict::Holds { times: 3 });
        let restart = || Event::Fault { fault: Fault::Restart, happened: true };
        let mut coverage = Coverage::default();
        coverage.add(&history(Vec::new()), &[holds()], &options());
        assert_eq!(kept(&coverage, "LOG-10", Features::ALL), Kept::Holds { times: 3 });
        assert_eq!(kept(&coverage, "LOG-23", Features::ALL), Kept::Untested);
        let mut other = Coverage::default();
        other.add(&history(vec![restart()]), &[holds()], &options());
        coverage.merge(&other);
        assert_eq!(kept(&coverage, "LOG-10", Features::ALL), Kept::Holds { times: 6 });
        assert_eq!(kept(&coverage, "LOG-23", Features::ALL), Kept::Holds { times: 3 });
    }

    #[test]
    fn the_second_judge_speaks_for_what_is_at_stake_where_it_looked() {
        let at_stake =
            |id: &str| cells::all().find(|cell| cell.clauses() == [id]).expect("a cell of its own");
        let mut one = said("answers", Claim::Idempotent, Verdict::Holds { times: 1 });
        one.kept.push(at_stake("DED-05"));
        let forged = said("order", Claim::Idempotent, Verdict::Untested);
        let mut coverage = Coverage::default();
        coverage.add(&history(Vec::new()), &[one, forged], &options());
        assert_eq!(kept(&coverage, "DED-09", Features::ALL), Kept::Untested);
        // It needs a resend, and this case had none.
        assert_eq!(kept(&coverage, "DED-05", Features::ALL), Kept::Untested);
        assert_eq!(coverage.cells(Features::ALL).iter().map(|(_, times)| times).sum::<u64>(), 1);
        let violation = Violation { evidence: Vec::new(), story: String::new(), weakness: None };
        let mut broken = said("answers", Claim::Idempotent, Verdict::Violated(vec![violation]));
        broken.broken.push(at_stake("DED-09"));
        coverage.add(&history(Vec::new()), &[broken], &options());
        assert_eq!(kept(&coverage, "DED-09", Features::ALL), Kept::Violated);
        assert_eq!(kept(&coverage, "DED-05", Features::ALL), Kept::Untested);
    }

    #[test]
    fn what_cannot_be_asked_is_unsupported_and_has_no_cells() {
        let stock = Features { forging: false, ..Features::ALL };
        let coverage = Coverage::default();
        assert_eq!(kept(&coverage, "DED-09", stock), Kept::Unsupported);
        assert_eq!(kept(&coverage, "DED-09", Features::ALL), Kept::Untested);
        assert!(coverage.cells(stock).is_empty());
    }
}
