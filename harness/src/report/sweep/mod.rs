//! What a sweep came to, as data; and the modules that render it.

use std::collections::BTreeMap;

use onceness_reference::plan::Plan;
use serde::Serialize;

use super::{Accepted, Failure, breaches_met, weaknesses_met};
use crate::accept::Breach;
use crate::exit::Exit;
use crate::options::Options;
use crate::search::{Broken, Ended};
use crate::sweep::points::{self, Expected, POINTS, Point};
use crate::sweep::{Aftermath, Base, Cell, Mark, Mishap, Row, Visit};

pub mod json;
pub mod junit;
pub mod table;

/// Why a point is not visited that a plan over TV2 does not have.
const NOT_IN_TV2: &str = "no point of its own in TV2";

/// What a sweep came to.
#[derive(Debug)]
pub struct SweepReport {
    /// How users name the target.
    pub target: String,
    /// What was driven, for people.
    pub driven: String,
    /// How long it took, without shrinking.
    pub seconds: f64,
    /// Why it ended.
    pub ended: Ended,
    /// The plans, each with its table.
    pub plans: Vec<SweptPlan>,
    /// What could not be swept, and why.
    pub left_out: Vec<String>,
    /// The failures, each kind once.
    pub failures: Vec<Failure>,
    /// The accepted weaknesses that were met.
    pub accepted: Vec<Accepted>,
    /// The accepted breaches of the target that were met, and in how many runs.
    pub breaches: Vec<(Breach, u64)>,
    /// What else went wrong: files that could not be written, a target that could not be cleaned.
    pub troubles: Vec<String>,
}

/// One plan, and what came of it.
#[derive(Debug)]
pub struct SweptPlan {
    /// What it is called.
    pub name: String,
    /// The plan itself, without any mishap.
    pub plan: Plan,
    /// Its boundaries.
    pub rows: Vec<Row>,
    /// The points of the loop, if it has one.
    pub points: Vec<PointReport>,
}

/// What came of one point of the read-process-write loop.
#[derive(Debug, Serialize)]
pub struct PointReport {
    /// 1 to 11.
    pub number: u8,
    /// Where it is.
    pub name: &'static str,
    /// What has to come of a crash there.
    pub expected: Expected,
    /// Why.
    pub why: &'static str,
    /// Where that is written.
    pub source: &'static str,
    /// How surely it was visited, by the surest visit.
    pub visit: Visit,
    /// Why it was not visited, if so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub not_visited: Option<&'static str>,
    /// How many cells visited it.
    pub visits: usize,
    /// How many of them are violated.
    pub violated: usize,
    /// In how many of them the client crashed, so that an aftermath can be told.
    pub crashes: usize,
    /// How many of those came out as expected.
    pub as_expected: usize,
}

/// How many cells came to what.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// All promises kept.
    pub holds: usize,
    /// Broken by accepted weaknesses only.
    pub accepted: usize,
    /// Broken.
    pub violated: usize,
    /// Not put to the test.
    pub untested: usize,
    /// Not answered by the target.
    pub no_answer: usize,
    /// The rig itself broke.
    pub broke: usize,
    /// Not run before the end.
    pub not_run: usize,
    /// Not possible on this target.
    pub impossible: usize,
}

impl SweepReport {
    pub(crate) fn new(
        driven: String,
        options: &Options,
        ended: Ended,
        met: &BTreeMap<usize, u64>,
    ) -> Self {
        SweepReport {
            target: options.target.clone(),
            driven,
            seconds: 0.0,
            ended,
            plans: Vec::new(),
            left_out: Vec::new(),
            failures: Vec::new(),
            accepted: Accepted::all(weaknesses_met(met, options)),
            breaches: breaches_met(met, options),
            troubles: Vec::new(),
        }
    }

    pub(crate) fn take(&mut self, base: Base, rows: Vec<Row>) {
        let points = PointReport::all(&base.plan, &rows);
        self.plans.push(SweptPlan { name: base.name, plan: base.plan, rows, points });
    }

    /// How many cells came to what.
    pub fn counts(&self) -> Counts {
        let mut counts = Counts::default();
        for (_, _, cell) in self.cells() {
            match cell.mark {
                Mark::Meaningless => {}
                Mark::Impossible(_) => counts.impossible += 1,
                Mark::Holds => counts.holds += 1,
                Mark::Accepted => counts.accepted += 1,
                Mark::Untested(_) => counts.untested += 1,
                Mark::Violated(_) => counts.violated += 1,
                Mark::NoAnswer(_) => counts.no_answer += 1,
                Mark::Broke(_) => counts.broke += 1,
                Mark::NotRun => counts.not_run += 1,
            }
        }
        counts
    }

    /// What the process says. A proven violation outweighs all else; one cell that was to be run and proves nothing leaves the
    /// sweep inconclusive.
    pub fn exit(&self) -> Exit {
        let counts = self.counts();
        let open = counts.untested + counts.no_answer + counts.not_run;
        let cut_short = !matches!(self.ended, Ended::Complete | Ended::FailFast);
        if counts.violated > 0 {
            Exit::Violated
        } else if counts.broke > 0 {
            Exit::Internal
        } else if cut_short || open > 0 || !self.troubles.is_empty() {
            Exit::Inconclusive
        } else if counts.holds + counts.accepted == 0 {
            Exit::NothingSelected
        } else {
            Exit::Holds
        }
    }

    /// All cells, each with its boundary and mishap.
    pub fn cells(&self) -> impl Iterator<Item = (&Row, Mishap, &Cell)> {
        let rows = self.plans.iter().flat_map(|plan| &plan.rows);
        rows.flat_map(|row| {
            let cells = Mishap::ALL.into_iter().zip(&row.cells);
            cells.map(move |(mishap, cell)| (row, mishap, cell))
        })
    }

    /// The cells in which the rig itself broke.
    pub fn broke(&self) -> Vec<Broken> {
        let broke = self.plans.iter().flat_map(|plan| {
            let cells = plan.rows.iter().flat_map(|row| &row.cells);
            cells.filter_map(|cell| match &cell.mark {
                Mark::Broke(words) => {
                    Some(Broken { seed: plan.plan.schedule, words: words.clone() })
                }
                _ => None,
            })
        });
        broke.collect()
    }
}

impl PointReport {
    /// All points of a plan that has a loop; none otherwise.
    fn all(plan: &Plan, rows: &[Row]) -> Vec<PointReport> {
        match plan.clients.iter().any(points::is_loop) {
            true => POINTS.iter().map(|point| PointReport::of(point, plan, rows)).collect(),
            false => Vec::new(),
        }
    }

    fn of(point: &Point, plan: &Plan, rows: &[Row]) -> PointReport {
        let cells = || {
            let rows = rows.iter().filter(|row| row.boundary.point == Some(point.number));
            rows.flat_map(|row| Mishap::ALL.into_iter().zip(&row.cells))
        };
        let visited = || {
            cells().filter(|(mishap, cell)| {
                cell.mark.is_judged() && cell.visit != Visit::No && mishap.is_a_failure()
            })
        };
        let aftermaths: Vec<Aftermath> = visited().filter_map(|(_, cell)| cell.aftermath).collect();
        let visit = visited().map(|(_, cell)| cell.visit).max().unwrap_or(Visit::No);
        let failures = || cells().filter(|(mishap, _)| mishap.is_a_failure());
        let not_visited = (visit == Visit::No).then(|| match points::exists(point.number, plan) {
            true => why_not_visited(failures().map(|(_, cell)| &cell.mark)),
            false => NOT_IN_TV2,
        });
        PointReport {
            number: point.number,
            name: point.name,
            expected: point.expected,
            why: point.why,
            source: point.source,
            visit,
            not_visited,
            visits: visited().count(),
            violated: visited().filter(|(_, cell)| matches!(cell.mark, Mark::Violated(_))).count(),
            crashes: aftermaths.len(),
            as_expected: aftermaths.iter().filter(|one| one.is(point.expected)).count(),
        }
    }
}

/// Why none of the cells of a point visited it, by their marks.
fn why_not_visited<'a>(marks: impl Iterator<Item = &'a Mark>) -> &'static str {
    let mut impossible = None;
    let mut tried = false;
    for mark in marks {
        match mark {
            Mark::NotRun => return "the sweep ended before",
            Mark::Impossible(why) => impossible = Some(*why),
            Mark::Meaningless => {}
            _ => tried = true,
        }
    }
    impossible.filter(|_| !tried).unwrap_or("no run struck there")
}
