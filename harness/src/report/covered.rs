//! What was put to the test, clause by clause and cell by cell, as data and in two sentences.

use onceness_reference::cells::Cell;
use onceness_reference::features::Features;
use serde::Serialize;

use super::style::{NOTE, paint, thousands};
use crate::coverage::{Coverage, Kept};
use crate::options::Options;

/// No sentence names more cells than this.
const NAMED_MAX: usize = 3;

/// What was put to the test.
#[derive(Debug, Default)]
pub struct Covered {
    /// What became of each clause that is judged.
    pub clauses: Vec<ClauseReport>,
    /// How often each state and request was reached; none if answers are not seen.
    pub cells: Vec<CellReport>,
}

/// What became of a clause.
#[derive(Debug, Serialize)]
pub struct ClauseReport {
    /// Its id.
    pub clause: &'static str,
    /// How binding it is.
    pub level: &'static str,
    /// What became of it.
    #[serde(flatten)]
    pub kept: Kept,
}

/// How often a request found a state.
#[derive(Debug, Serialize)]
pub struct CellReport {
    /// The request.
    pub request: &'static str,
    /// The state that it found.
    pub state: &'static str,
    /// What of that kind was asked.
    pub asked: &'static str,
    /// How often, and was answered as it must be.
    pub times: u64,
    #[serde(skip)]
    name: String,
}

impl Covered {
    /// What that coverage comes to on a target that can do so much.
    pub(super) fn of(coverage: &Coverage, features: Features, options: &Options) -> Covered {
        let clauses = coverage.clauses(features, options);
        Covered {
            clauses: clauses
                .map(|(clause, kept)| ClauseReport {
                    clause: clause.id,
                    level: clause.level.name(),
                    kept,
                })
                .collect(),
            cells: coverage
                .cells(features)
                .into_iter()
                .map(|(cell, times)| CellReport::of(cell, times))
                .collect(),
        }
    }

    /// In two sentences at most.
    pub(super) fn render(&self) -> String {
        if self.clauses.is_empty() {
            return String::new();
        }
        let mut text = format!("\nclauses: {}\n", self.clauses());
        if !self.cells.is_empty() {
            text += &format!("states and requests: {}\n", self.reached());
        }
        text
    }

    fn clauses(&self) -> String {
        let ids = |wanted: fn(Kept) -> bool| {
            let some = self.clauses.iter().filter(|one| wanted(one.kept));
            some.map(|one| one.clause).collect::<Vec<_>>()
        };
        let holding = ids(|kept| matches!(kept, Kept::Holds { .. }));
        let mut text = format!("{} of {} hold", holding.len(), self.clauses.len());
        for (what, ids) in [
            ("may be broken", ids(|kept| kept == Kept::Violated)),
            ("untested", ids(|kept| kept == Kept::Untested)),
            ("unsupported", ids(|kept| kept == Kept::Unsupported)),
        ] {
            if !ids.is_empty() {
                text += &paint(NOTE, format!("; {what}: {}", ids.join(", ")));
            }
        }
        text
    }

    fn reached(&self) -> String {
        let never: Vec<&CellReport> = self.cells.iter().filter(|cell| cell.times == 0).collect();
        let (all, reached) = (self.cells.len() as u64, (self.cells.len() - never.len()) as u64);
        let mut text = format!("{} of {} reached", thousands(reached), thousands(all));
        let named: Vec<&str> = never.iter().take(NAMED_MAX).map(|cell| &*cell.name).collect();
        if !named.is_empty() {
            text += &paint(NOTE, format!("; never {}", named.join("; ")));
        }
        if never.len() > named.len() {
            text += &format!("; and {} more (--json lists them)", never.len() - named.len());
        }
        text
    }
}

impl CellReport {
    fn of(cell: Cell, times: u64) -> CellReport {
        let (table, row, column) = (cell.table(), usize::from(cell.row), usize::from(cell.column));
        CellReport {
            request: table.name,
            state: table.rows[row],
            asked: table.columns[column],
            times,
            name: cell.name(),
        }
    }
}

#[cfg(test)]
mod tests {
    use anstream::adapter::strip_str;
    use expect_test::expect;
    use onceness_reference::cells;

    use super::*;

    fn rendered(covered: &Covered) -> String {
        strip_str(&covered.render()).to_string()
    }

    #[test]
    fn what_was_not_tested_is_named() {
        let clause = |clause, kept| ClauseReport { clause, level: "MUST", kept };
        let cells: Vec<Cell> = cells::all().collect();
        let covered = Covered {
            clauses: vec![
                clause("LOG-01", Kept::Holds { times: 12 }),
                clause("LOG-02", Kept::Violated),
                clause("LOG-03", Kept::Untested),
                clause("LOG-04", Kept::Untested),
                clause("LOG-05", Kept::Unsupported),
            ],
            cells: cells[..6]
                .iter()
                .zip([7, 0, 0, 1, 0, 0])
                .map(|(cell, times)| CellReport::of(*cell, times))
                .collect(),
        };
        expect![[r#"

            clauses: 1 of 5 hold; may be broken: LOG-02; untested: LOG-03, LOG-04; unsupported: LOG-05
            states and requests: 2 of 6 reached; never InitProducerId: unknown id, another producer id named; InitProducerId: Empty, no session named; InitProducerId: Empty, the one before named; and 1 more (--json lists them)
        "#]]
        .assert_eq(&rendered(&covered));
    }

    #[test]
    fn a_client_whose_answers_are_not_seen_reaches_no_state() {
        let kept = Kept::Holds { times: 1 };
        let clauses = vec![ClauseReport { clause: "LOG-01", level: "MUST", kept }];
        let covered = Covered { clauses, cells: Vec::new() };
        expect![[r#"

            clauses: 1 of 1 hold
        "#]]
        .assert_eq(&rendered(&covered));
        assert_eq!(rendered(&Covered::default()), "");
    }
}
