//! The suite against its own zoo: each seeded defect is found, shrunk to a few steps, and called by its right name; the
//! correct broker is not accused.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use onceness::options::{Claims, Confirm, Options, Shrinking};
use onceness::report::Report;
use onceness::weakness::WEAKNESSES;
use onceness::{Exit, Rig, Target, certify};
use onceness_reference::defects::DEFECTS;

async fn run(target: Target, cases: u64, jobs: usize) -> Report {
    let options = Options {
        target: target.to_string(),
        deterministic: true,
        seed: 1,
        cases: Some(cases),
        time: None,
        jobs,
        claims: Claims::all(),
        accept: WEAKNESSES.iter().map(|weakness| weakness.id).collect(),
        fail_fast: false,
        shrink: Shrinking {
            tries_max: 20_000,
            time_max: Duration::from_secs(60),
            confirm: Confirm::ONCE,
            final_runs: 1,
        },
    };
    let adapter = target.open().await.expect("the embedded broker is always there");
    certify(Arc::clone(&adapter), &options, &Rig::default()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn every_defect_is_found_and_shrunk() {
    let mut misses = Vec::new();
    for defect in DEFECTS {
        let report = run(Target::Memory(Some(defect)), 400, 2).await;
        let right = |property: &str| defect.breaks.contains(&property);
        let found = (report.failures.iter()).find(|failure| right(failure.kind.property));
        match found {
            None => misses.push(format!("{}: {:?}", defect.name, named(&report))),
            Some(failure) => {
                let size = failure.shrunk.smallest.plan.size();
                if size > 8 || failure.shrunk.hits != 1 {
                    misses.push(format!("{}: {size} steps", defect.name));
                }
            }
        }
    }
    assert!(misses.is_empty(), "{misses:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn shrinking_does_not_depend_on_how_many_run_at_once() {
    let defect = DEFECTS.first();
    let alone = run(Target::Memory(defect), 100, 1).await;
    let many = run(Target::Memory(defect), 100, 7).await;
    let smallest = |report: &Report| {
        let failures = report.failures.iter();
        let told =
            failures.map(|one| (one.kind, one.shrunk.tries, one.shrunk.smallest.plan.clone()));
        told.collect::<Vec<_>>()
    };
    assert!(!alone.failures.is_empty());
    assert_eq!(smallest(&alone), smallest(&many));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_correct_broker_is_not_accused() {
    let report = run(Target::Memory(None), 1_000, 2).await;
    assert_ne!(report.exit(), Exit::Violated, "{:?}", named(&report));
    assert!(!Path::new("onceness-report").exists());
}

fn named(report: &Report) -> Vec<&str> {
    report.failures.iter().map(|failure| failure.kind.property).collect()
}
