//! The detection matrix as JSON, for programs. Versioned; fields are added, never changed.

use serde::Serialize;
use serde_json::{Value, json};

use super::word;
use crate::report::Accepted;
use crate::selftest::{Correct, Detection, Needed, SelfTest};

/// The version of the report.
const SELFTEST_VERSION: u32 = 1;

/// The report as indented JSON.
pub fn render(test: &SelfTest) -> String {
    let report = Report {
        version: SELFTEST_VERSION,
        tool: concat!("onceness ", env!("CARGO_PKG_VERSION")),
        seed: test.options.seed,
        repeats: test.options.repeats,
        cases_max: test.options.cases,
        correct_cases: test.options.correct_cases,
        seconds: test.seconds,
        interrupted: test.is_cut_short(),
        exit: test.exit().code(),
        defects: test.detections.iter().map(Found::of).collect(),
        correct: test.correct.iter().map(Suspected::of).collect(),
        not_searched: test.options.left_out.iter().map(|one| one.name).collect(),
        troubles: test.troubles().collect(),
    };
    // Plain structs with string keys always serialize.
    serde_json::to_string_pretty(&report).unwrap_or_default() + "\n"
}

#[derive(Serialize)]
struct Report<'a> {
    version: u32,
    tool: &'static str,
    seed: u64,
    repeats: u64,
    cases_max: u64,
    correct_cases: u64,
    seconds: f64,
    interrupted: bool,
    exit: u8,
    defects: Vec<Found>,
    correct: Vec<Suspected<'a>>,
    not_searched: Vec<&'static str>,
    troubles: Vec<&'a str>,
}

#[derive(Serialize)]
struct Found {
    defect: &'static str,
    verdict: &'static str,
    missed: u64,
    unfinished: u64,
    /// None where a search spent all its cases.
    median: Option<u64>,
    worst: Option<u64>,
    steps_original: Option<usize>,
    steps: Option<usize>,
    shrink_tries: Option<u64>,
    seconds: f64,
    hits: Vec<Value>,
}

impl Found {
    fn of(one: &Detection) -> Found {
        let cases = |needed| match needed {
            Some(Needed::Cases(cases)) => Some(cases),
            Some(Needed::More) | None => None,
        };
        let hits = one.hits.iter().map(|hit| {
            let claims: Vec<&str> = hit.claims.iter().map(|claim| claim.name()).collect();
            json!({
                "seed": hit.seed,
                "cases": hit.cases,
                "property": hit.kind.property,
                "claims": claims,
            })
        });
        Found {
            defect: one.defect.name,
            verdict: word(one.standing()),
            missed: one.missed,
            unfinished: one.unfinished,
            median: cases(one.median()),
            worst: cases(one.worst()),
            steps_original: one.smallest.map(|one| one.steps_original),
            steps: one.smallest.map(|one| one.steps),
            shrink_tries: one.smallest.map(|one| one.tries),
            seconds: one.seconds,
            hits: hits.collect(),
        }
    }
}

#[derive(Serialize)]
struct Suspected<'a> {
    broker: &'static str,
    cases: u64,
    finished: bool,
    seconds: f64,
    accepted: &'a [Accepted],
    accusations: Vec<Value>,
}

impl Suspected<'_> {
    fn of(one: &Correct) -> Suspected<'_> {
        let accusations = one.accusations.iter().map(|accusation| {
            json!({
                "kind": accusation.kind,
                "claims": accusation.claims,
                "cases": accusation.cases,
                "seed": accusation.drawn.as_ref().map(|(seed, _)| *seed),
                "steps": accusation.shrunk.smallest.plan.size(),
                "story": accusation.shrunk.smallest.violation.story,
            })
        });
        Suspected {
            broker: one.name,
            cases: one.cases,
            finished: one.finished,
            seconds: one.seconds,
            accepted: &one.accepted,
            accusations: accusations.collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::render;
    use crate::selftest::tests::{acquitted, came_to, detection};

    #[test]
    fn the_matrix_is_for_programs_too() {
        let test = came_to(vec![detection(&[(4, "resend")], 2, 0)], vec![acquitted()]);
        expect![[r#"
            {
              "version": 1,
              "tool": "onceness 0.1.0",
              "seed": 1,
              "repeats": 3,
              "cases_max": 2000,
              "correct_cases": 5000,
              "seconds": 1.25,
              "interrupted": false,
              "exit": 1,
              "defects": [
                {
                  "defect": "no-dedup",
                  "verdict": "missed",
                  "missed": 2,
                  "unfinished": 0,
                  "median": null,
                  "worst": null,
                  "steps_original": 33,
                  "steps": 3,
                  "shrink_tries": 70,
                  "seconds": 0.25,
                  "hits": [
                    {
                      "cases": 4,
                      "claims": [
                        "idempotent"
                      ],
                      "property": "resend",
                      "seed": 7
                    }
                  ]
                }
              ],
              "correct": [
                {
                  "broker": "as Kafka chooses",
                  "cases": 5000,
                  "finished": true,
                  "seconds": 0.5,
                  "accepted": [],
                  "accusations": []
                }
              ],
              "not_searched": [],
              "troubles": []
            }
        "#]]
        .assert_eq(&render(&test));
    }
}
