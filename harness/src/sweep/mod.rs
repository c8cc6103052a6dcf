//! The sweep: one plan, repeated with a mishap at every boundary of it, one by one, and each run judged.
//!
//! The contestable decision: a cell is green only if what it is about was really tried. The mishap must be seen in the history,
//! and where the plan has a read-process-write loop, each of its inputs must have been accounted for and none be left; else
//! the cell is untested, whatever the properties say of the rest.
//!
//! In reading order: [`history`] (what is swept by default), [`boundary`] (where), [`mishap`] (what goes wrong there),
//! [`points`] (the boundaries that have names), `observe` (what really happened), `work` (many cells at once).

use std::sync::Arc;
use std::time::Instant;

use onceness_adapters::Adapter;
use onceness_reference::features::Features;
use onceness_reference::plan::Plan;
use onceness_reference::text::plan_to_json;
use serde::Serialize;

use crate::certify::{clean, keep};
use crate::firsts::First;
use crate::options::Options;
use crate::replay::quoted;
use crate::report::Failure;
use crate::report::sweep::SweepReport;
use crate::rig::Rig;
use crate::search::Ended;
use crate::shrink::{Failing, ShrinkEnded, Shrunk, shrink};
use crate::trial::Kind;

pub mod boundary;
pub mod history;
pub mod mishap;
mod observe;
pub mod points;
mod work;

pub use boundary::Boundary;
pub use mishap::Mishap;
pub use observe::{Aftermath, Visit};

use mishap::{Struck, Variant, strike};
use work::{Found, work};

/// A plan that is swept.
#[derive(Clone, Debug)]
pub struct Base {
    /// What it is called in the report.
    pub name: String,
    /// The plan.
    pub plan: Plan,
}

/// A boundary, and what came of each mishap there.
#[derive(Debug)]
pub struct Row {
    /// Where.
    pub boundary: Boundary,
    /// What came of each mishap, in the order of [`Mishap::ALL`].
    pub cells: Vec<Cell>,
}

/// What came of a mishap at a boundary.
#[derive(Clone, Debug)]
pub struct Cell {
    /// The verdict.
    pub mark: Mark,
    /// How surely it happened there.
    pub visit: Visit,
    /// What became of the transaction that it struck.
    pub aftermath: Option<Aftermath>,
    /// The command that runs it again, where it is violated.
    pub replay: Option<String>,
}

/// The verdict on a cell.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Mark {
    /// The mishap means nothing there.
    Meaningless,
    /// The target cannot have it, and why. Never passed.
    Impossible(&'static str),
    /// Tried, and all that was promised was kept.
    Holds,
    /// Broken, but only by known weaknesses that the user accepts.
    Accepted,
    /// What it is about was not tried.
    Untested(&'static str),
    /// Broken.
    Violated(Vec<Kind>),
    /// The target did not answer.
    NoAnswer(String),
    /// The rig itself broke: a bug of ours.
    Broke(String),
    /// The sweep ended before.
    NotRun,
}

/// How many runs a sweep of these plans is.
pub fn size(bases: &[Base], features: Features) -> u64 {
    let cells = bases.iter().map(|base| jobs_of(0, base, features).1.len() as u64);
    cells.sum()
}

/// Sweeps plans, shrinks what fails, and says what came of each mishap at each boundary.
///
/// Whatever the runs left on the target is removed in the end, also after a stop or an error.
pub async fn sweep(
    adapter: Arc<dyn Adapter>,
    bases: Vec<Base>,
    options: &Options,
    rig: &Rig,
) -> SweepReport {
    let started = Instant::now();
    let features = adapter.features();
    let mut swept = Vec::new();
    let mut jobs = Vec::new();
    for (place, base) in bases.iter().enumerate() {
        let (rows, more) = jobs_of(place, base, features);
        swept.push(rows);
        jobs.extend(more);
    }
    let done = work(&adapter, jobs, options, rig).await;
    let mut report = SweepReport::new(adapter.describe(), options, done.ended, &done.accepted);
    for ((base, row, column), cell) in done.cells {
        swept[base][row].cells[column] = cell;
    }
    report.seconds = started.elapsed().as_secs_f64();
    for (base, rows) in bases.into_iter().zip(swept) {
        report.take(base, rows);
    }
    keep_cells(&mut report, &done.violated, options, rig);
    for (kind, found) in done.found {
        let mut failure = as_found(kind, found, options);
        failure.folder = keep(&mut failure, options, rig, &mut report.troubles);
        if report.ended != Ended::TargetGone && !rig.stop.asked() {
            let failing = failure.shrunk.smallest.clone();
            failure.shrunk = shrink(&adapter, failing, kind, options, rig).await;
            failure.folder = keep(&mut failure, options, rig, &mut report.troubles);
        }
        report.failures.push(failure);
    }
    if rig.stop.asked() && report.ended == Ended::Complete {
        report.ended = Ended::Interrupted;
    }
    report.troubles.extend(clean(adapter.as_ref(), rig).await);
    report
}

/// A cell: which plan, boundary and mishap.
type Address = (usize, usize, usize);

/// The table of a plan before anything was run.
#[cfg(test)]
pub(crate) fn blank(base: &Base, features: Features) -> Vec<Row> {
    jobs_of(0, base, features).0
}

/// One cell to be run.
struct Job {
    address: Address,
    boundary: Boundary,
    mishap: Mishap,
    struck: Struck,
}

/// The table of a plan, and the cells of it that can be run.
fn jobs_of(base: usize, swept: &Base, features: Features) -> (Vec<Row>, Vec<Job>) {
    let mut jobs = Vec::new();
    let mut rows = Vec::new();
    for boundary in boundary::boundaries(&swept.plan) {
        let mut cells = Vec::new();
        for (column, mishap) in Mishap::ALL.into_iter().enumerate() {
            let mark = match strike(&swept.plan, &boundary, mishap, features) {
                Variant::Meaningless => Mark::Meaningless,
                Variant::Impossible(why) => Mark::Impossible(why),
                Variant::Plan(struck) => {
                    let address = (base, rows.len(), column);
                    let boundary = boundary.clone();
                    jobs.push(Job { address, boundary, mishap, struck: *struck });
                    Mark::NotRun
                }
            };
            cells.push(Cell::of(mark));
        }
        rows.push(Row { boundary, cells });
    }
    (rows, jobs)
}

impl Cell {
    fn of(mark: Mark) -> Self {
        Cell { mark, visit: Visit::No, aftermath: None, replay: None }
    }
}

impl Mark {
    /// The word that reports show.
    pub fn text(&self) -> &'static str {
        match self {
            Mark::Meaningless => "",
            Mark::Impossible(_) => "–",
            Mark::Holds => "holds",
            Mark::Accepted => "accepted",
            Mark::Untested(_) => "untested",
            Mark::Violated(_) => "violated",
            Mark::NoAnswer(_) => "no answer",
            Mark::Broke(_) => "broke",
            Mark::NotRun => "not run",
        }
    }

    /// Whether it was run and judged.
    pub fn is_judged(&self) -> bool {
        matches!(self, Mark::Holds | Mark::Accepted | Mark::Violated(_))
    }
}

/// Writes the plan of every violated cell, so that each can be run again as it was.
fn keep_cells(
    report: &mut SweepReport,
    violated: &[(Address, Plan)],
    options: &Options,
    rig: &Rig,
) {
    let Some(folder) = rig.folder.as_ref().filter(|_| !violated.is_empty()) else { return };
    if let Err(error) = folder.create_folder("sweep") {
        report.troubles.push(error.to_string());
        return;
    }
    for ((base, row, column), plan) in violated {
        let row_of = &mut report.plans[*base].rows[*row];
        let mishap = Mishap::ALL[*column].text();
        let name = format!("sweep/{}-{}-{mishap}.json", base + 1, row + 1);
        match folder.write(&name, &plan_to_json(plan)) {
            Ok(()) => {
                let path = folder.path().join(name);
                let path = quoted(&path.to_string_lossy());
                let mut replay = format!("onceness replay {path} {}", quoted(&options.target));
                if let (Some(config), true) = (&rig.config.path, rig.config.named) {
                    replay += &format!(" --config {}", quoted(&config.to_string_lossy()));
                }
                row_of.cells[*column].replay = Some(replay);
            }
            Err(error) => report.troubles.push(error.to_string()),
        }
    }
}

fn as_found(kind: Kind, found: First<Found>, options: &Options) -> Failure {
    let First { cases, index, example } = found;
    let Found { plan, history, violation, claims } = example;
    Failure {
        kind,
        claims,
        cases,
        index: Some(index),
        drawn: None,
        original: plan.clone(),
        shrunk: Shrunk {
            smallest: Failing { plan, history, violation },
            tries: 0,
            ended: ShrinkEnded::Interrupted,
            hits: 0,
            runs: 0,
        },
        replay: format!("onceness certify {} --sweep", options.target),
        folder: None,
    }
}
