//! How often each property was put to the test for each claim, and with what result.

use std::collections::BTreeMap;

use onceness_properties::{Claim, Judgement, PROPERTIES, Property, Verdict};
use serde::Serialize;

use crate::options::Options;

/// Counts for every claim of every property, over many cases.
#[derive(Clone, Debug)]
pub struct Tally {
    rows: Vec<Row>,
}

/// One property, for one of its claims.
#[derive(Clone, Debug)]
pub struct Row {
    /// The property.
    pub property: &'static Property,
    /// The claim.
    pub claim: Claim,
    /// What came of it.
    pub count: Count,
    /// What is allowed and was counted.
    pub notes: BTreeMap<&'static str, u64>,
}

/// What came of a property.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Count {
    /// How often the promise was put to the test.
    pub times: u64,
    /// In how many cases.
    pub cases: u64,
    /// In how many cases it was broken, beyond what is accepted.
    pub violated: u64,
    /// In how many cases it was broken only in ways that are accepted.
    pub accepted: u64,
    /// In how many cases the target could not be asked.
    pub unsupported: u64,
}

impl Default for Tally {
    /// Every claim of every property, untested.
    fn default() -> Self {
        let mut rows = Vec::new();
        for claim in Claim::ALL {
            let properties = PROPERTIES.iter().filter(|one| one.claims.contains(&claim));
            rows.extend(properties.map(|property| Row {
                property,
                claim,
                count: Count::default(),
                notes: BTreeMap::new(),
            }));
        }
        Tally { rows }
    }
}

impl Tally {
    /// Takes in what was said of one case. True if something is violated beyond what is accepted.
    pub fn add(&mut self, judgements: &[Judgement], options: &Options) -> bool {
        let mut failed = false;
        for judgement in judgements {
            if !options.claims.has(judgement.claim) {
                continue;
            }
            let row = self.row(judgement);
            for note in &judgement.notes {
                *row.notes.entry(note.what).or_default() += note.times;
            }
            let count = &mut row.count;
            match &judgement.verdict {
                Verdict::Holds { times } => {
                    count.times += times;
                    count.cases += 1;
                }
                Verdict::Untested => {}
                Verdict::Unsupported => count.unsupported += 1,
                Verdict::Violated(violations) => {
                    count.times += violations.len() as u64;
                    count.cases += 1;
                    let (property, claim) = (judgement.property.name, judgement.claim);
                    let accepted = |one| options.accept.find(property, claim, one).is_some();
                    match violations.iter().all(accepted) {
                        true => count.accepted += 1,
                        false => {
                            count.violated += 1;
                            failed = true;
                        }
                    }
                }
            }
        }
        failed
    }

    /// Takes in another tally.
    pub fn merge(&mut self, other: &Tally) {
        // Both hold the same rows in the same order, but for rows that a judge invented (see `row`).
        for theirs in &other.rows {
            let same = |row: &&mut Row| {
                row.claim == theirs.claim && row.property.name == theirs.property.name
            };
            match self.rows.iter_mut().find(same) {
                Some(row) => row.merge(theirs),
                None => self.rows.push(theirs.clone()),
            }
        }
    }

    /// All rows: by claim, then in the order of the catalogue.
    pub fn rows(&self) -> &[Row] {
        &self.rows
    }

    /// The row of a judgement. A property that judges for a claim it does not list gets a row all the same: better seen than lost.
    fn row(&mut self, judgement: &Judgement) -> &mut Row {
        let same = |row: &Row| {
            row.claim == judgement.claim && row.property.name == judgement.property.name
        };
        let place = self.rows.iter().position(same).unwrap_or_else(|| {
            self.rows.push(Row {
                property: judgement.property,
                claim: judgement.claim,
                count: Count::default(),
                notes: BTreeMap::new(),
            });
            self.rows.len() - 1
        });
        &mut self.rows[place]
    }
}

impl Row {
    fn merge(&mut self, other: &Row) {
        self.count.merge(other.count);
        for (what, times) in &other.notes {
            *self.notes.entry(what).or_default() += times;
        }
    }
}

impl Count {
    fn merge(&mut self, other: Count) {
        self.times += other.times;
        self.cases += other.cases;
        self.violated += other.violated;
        self.accepted += other.accepted;
        self.unsupported += other.unsupported;
    }
}
