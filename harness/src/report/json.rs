//! The report as JSON: `summary.json`, and what `--json` prints. Versioned; fields are added, never changed.

use std::collections::BTreeMap;
use std::path::Path;

use onceness_properties::Claim;
use onceness_reference::plan::Fault;
use serde::Serialize;

use super::covered::{CellReport, ClauseReport};
use super::{Accepted, AcceptedBreach, ClaimReport, Deviated, Failure, Report};
use crate::search::{Broken, Ended};
use crate::shrink::ShrinkEnded;

/// The version of the summary.
const SUMMARY_VERSION: u32 = 1;

/// The report as indented JSON.
pub fn render(report: &Report) -> String {
    let summary = Summary {
        version: SUMMARY_VERSION,
        tool: concat!("onceness ", env!("CARGO_PKG_VERSION")),
        target: &report.target,
        driven: &report.driven,
        seed: report.seed,
        cases: report.cases,
        failing: report.failing,
        faults: &report.faults,
        silent: report.silent,
        last_error: report.last_error.as_deref(),
        seconds: report.seconds,
        ended: report.ended,
        exit: report.exit().code(),
        claims: &report.claims,
        clauses: &report.covered.clauses,
        states: &report.covered.cells,
        failures: report.failures.iter().map(Failed::of).collect(),
        deviations: &report.deviations,
        accepted: &report.accepted,
        accepted_breaches: &report.breaches,
        broke: &report.broke,
        troubles: &report.troubles,
    };
    // Plain structs with string keys always serialize.
    serde_json::to_string_pretty(&summary).unwrap_or_default() + "\n"
}

/// One failure as indented JSON.
pub fn render_failure(failure: &Failure) -> String {
    serde_json::to_string_pretty(&Failed::of(failure)).unwrap_or_default() + "\n"
}

/// One failure as a value.
pub(super) fn failed(failure: &Failure) -> serde_json::Value {
    serde_json::json!(Failed::of(failure))
}

#[derive(Serialize)]
struct Summary<'a> {
    version: u32,
    tool: &'static str,
    target: &'a str,
    driven: &'a str,
    seed: u64,
    cases: u64,
    failing: u64,
    faults: &'a BTreeMap<Fault, u64>,
    silent: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_error: Option<&'a str>,
    seconds: f64,
    ended: Ended,
    exit: u8,
    claims: &'a [ClaimReport],
    clauses: &'a [ClauseReport],
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    states: &'a [CellReport],
    failures: Vec<Failed<'a>>,
    deviations: &'a [Deviated],
    accepted: &'a [Accepted],
    accepted_breaches: &'a [AcceptedBreach],
    broke: &'a [Broken],
    troubles: &'a [String],
}

#[derive(Serialize)]
struct Failed<'a> {
    property: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    weakness: Option<&'static str>,
    claims: &'a [Claim],
    cases: u64,
    /// Counted from 1, as in the report for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    first_case: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    seed: Option<u64>,
    steps_original: usize,
    steps: usize,
    shrinking: ShrinkEnded,
    tries: u64,
    hits: u32,
    runs: u32,
    story: &'a str,
    evidence: Vec<u32>,
    replay: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    folder: Option<&'a Path>,
}

impl<'a> Failed<'a> {
    fn of(failure: &'a Failure) -> Self {
        let shrunk = &failure.shrunk;
        let violation = &shrunk.smallest.violation;
        Failed {
            property: failure.kind.property,
            weakness: failure.kind.weakness,
            claims: &failure.claims,
            cases: failure.cases,
            first_case: failure.index.map(|index| index + 1),
            seed: failure.drawn.as_ref().map(|(seed, _)| *seed),
            steps_original: failure.original.size(),
            steps: shrunk.smallest.plan.size(),
            shrinking: shrunk.ended,
            tries: shrunk.tries,
            hits: shrunk.hits,
            runs: shrunk.runs,
            story: &violation.story,
            evidence: violation.evidence.iter().map(|event| event.0).collect(),
            replay: &failure.replay,
            folder: failure.folder.as_deref(),
        }
    }
}
