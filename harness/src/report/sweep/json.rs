//! A sweep as JSON: `sweep.json`, and what `--json` prints. Versioned; fields are added, never changed.

use serde::Serialize;
use serde_json::{Value, json};

use super::super::json::failed;
use super::{SweepReport, SweptPlan};
use crate::sweep::{Mark, Mishap, Row};

/// The version of the report.
const SWEEP_VERSION: u32 = 1;

/// The report as indented JSON.
pub fn render(report: &SweepReport) -> String {
    let plans: Vec<Value> = report.plans.iter().map(plan).collect();
    let failures: Vec<Value> = report.failures.iter().map(failed).collect();
    let breaches: Vec<Value> = (report.breaches.iter())
        .map(|(breach, runs)| json!({ "breach": breach, "runs": runs }))
        .collect();
    let whole = json!({
        "version": SWEEP_VERSION,
        "tool": concat!("onceness ", env!("CARGO_PKG_VERSION")),
        "target": report.target,
        "driven": report.driven,
        "seconds": report.seconds,
        "ended": report.ended,
        "exit": report.exit().code(),
        "counts": report.counts(),
        "plans": plans,
        "left_out": report.left_out,
        "failures": failures,
        "accepted": report.accepted,
        "accepted_breaches": breaches,
        "troubles": report.troubles,
    });
    // Plain data always serializes.
    serde_json::to_string_pretty(&whole).unwrap_or_default() + "\n"
}

fn plan(plan: &SweptPlan) -> Value {
    let rows: Vec<Value> = plan.rows.iter().map(row).collect();
    json!({ "name": plan.name, "boundaries": rows, "points": plan.points })
}

fn row(row: &Row) -> Value {
    let boundary = &row.boundary;
    let cells = Mishap::ALL.into_iter().zip(&row.cells);
    let told = cells.filter(|(_, cell)| cell.mark != Mark::Meaningless);
    let cells: Vec<Value> = told
        .map(|(mishap, cell)| {
            let mut told =
                json!({ "mishap": mishap, "verdict": word(&cell.mark), "visit": cell.visit });
            match &cell.mark {
                Mark::Violated(kinds) => put(&mut told, "violated", kinds),
                Mark::Untested(why) | Mark::Impossible(why) => put(&mut told, "why", why),
                Mark::NoAnswer(why) | Mark::Broke(why) => put(&mut told, "why", why),
                _ => {}
            }
            if let Some(aftermath) = &cell.aftermath {
                put(&mut told, "aftermath", aftermath);
            }
            if let Some(replay) = &cell.replay {
                put(&mut told, "replay", replay);
            }
            told
        })
        .collect();
    json!({
        "step": boundary.step,
        "client": boundary.client,
        "doing": boundary.doing,
        "at": boundary.at,
        "point": boundary.point,
        "cells": cells,
    })
}

fn word(mark: &Mark) -> &'static str {
    match mark {
        Mark::Meaningless => "meaningless",
        Mark::Impossible(_) => "impossible",
        Mark::NoAnswer(_) => "no_answer",
        Mark::NotRun => "not_run",
        other => other.text(),
    }
}

fn put(object: &mut Value, name: &str, value: impl Serialize) {
    object[name] = json!(value);
}
