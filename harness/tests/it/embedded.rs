//! The suite against its own zoo: each seeded defect is found, shrunk to a few steps, and called by its right name; the
//! correct broker is not accused.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use futures::executor::block_on;
use onceness::options::{Claims, Confirm, Options, Shrinking};
use onceness::report::Report;
use onceness::selftest::unsearched;
use onceness::weakness::WEAKNESSES;
use onceness::{Exit, Rig, Target, certify};
use onceness_adapters::Adapter;
use onceness_adapters::memory::Memory;
use onceness_properties::{Verdict, judge};
use onceness_reference::choices::CHOICES;
use onceness_reference::defects;
use onceness_reference::explain::{Explained, explain};
use onceness_reference::features::Features;
use onceness_reference::rules::{Permitted, Rules};
use onceness_reference::{generate, text};
use proptest::test_runner::{TestCaseError, TestError, TestRunner};

async fn run(target: Target, cases: u64, jobs: usize) -> Report {
    let options = Options {
        target: target.to_string(),
        deterministic: true,
        seed: 1,
        cases: Some(cases),
        time: None,
        until_covered: None,
        jobs,
        claims: Claims::all(),
        accept: WEAKNESSES.iter().map(|weakness| weakness.id).collect(),
        deny_stale: false,
        fail_fast: false,
        shrink: Shrinking {
            tries_max: 20_000,
            time_max: Duration::from_secs(60),
            confirm: Confirm::ONCE,
            final_runs: 1,
        },
    };
    let adapter = target.open(&Rig::default()).await.expect("the embedded broker is always there");
    certify(Arc::clone(&adapter), &options, &Rig::default()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn every_defect_is_found_and_shrunk() {
    let (mut misses, mut large) = (Vec::new(), Vec::new());
    let searched = defects::all().filter(|defect| unsearched(defect).is_none());
    for defect in searched.clone() {
        let mut report = run(Target::Memory(Some(defect)), 1_000, 2).await;
        // The rarest of them need the broker to be killed between two steps of a forger.
        if report.failures.is_empty() {
            report = run(Target::Memory(Some(defect)), 10_000, 2).await;
        }
        let right = |property: &str| defect.breaks.contains(&property);
        // A case that needs one order of requests in a hundred may stop shrinking early; one that does not is told as well.
        let found = (report.failures.iter()).filter(|failure| right(failure.kind.property));
        match found.min_by_key(|failure| failure.shrunk.smallest.plan.size()) {
            None => misses.push(format!("{}: {:?}", defect.name, named(&report))),
            Some(failure) => {
                let size = failure.shrunk.smallest.plan.size();
                if size > 12 || failure.shrunk.hits != 1 {
                    misses.push(format!("{}: {size} steps", defect.name));
                } else if size > 8 {
                    large.push(format!("{}: {size} steps", defect.name));
                }
            }
        }
    }
    assert!(misses.is_empty(), "{misses:#?}");
    // Some stories take longer: to abort, to go on, to save and to commit are four steps alone.
    assert!(large.len() * 10 <= searched.count(), "{large:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn shrinking_does_not_depend_on_how_many_run_at_once() {
    let defect = defects::find("no-dedup");
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

/// Whatever a broker may choose and still be right, no property accuses it of more than the protocol's own weakness.
#[test]
fn correct_brokers_of_every_permitted_kind_are_not_accused() {
    for Permitted { name, rules } in Rules::permitted() {
        let memory = Memory::new(rules, name.to_owned());
        for seed in 0..2_000 {
            let (profile, plan) = generate::plan(seed, Features::EMBEDDED);
            let history = block_on(memory.run(&plan)).expect("memory is always there");
            for judgement in judge(&history) {
                let Verdict::Violated(violations) = judgement.verdict else { continue };
                let unexplained = violations.iter().find(|violation| violation.weakness.is_none());
                assert!(unexplained.is_none(), "{rules:?}\n{profile:?}\n{unexplained:?}");
            }
        }
    }
}

/// What the second judge leaves untried for a case makes no difference to it, whether the broker is right or wrong.
#[test]
fn a_choice_that_cannot_show_explains_the_same() {
    let wrong = ["stale-epoch-accepted", "late-end-txn", "no-dedup", "dedup-lost-on-restart"];
    let wrong = wrong.map(|name| defects::find(name).expect("a defect").rules());
    let mut hidden = BTreeSet::new();
    for rules in Rules::permitted().iter().map(|broker| broker.rules).chain(wrong) {
        let memory = Memory::new(rules, "memory".to_owned());
        for seed in 0..100 {
            let (_, plan) = generate::plan(seed, Features::EMBEDDED);
            let history = block_on(memory.run(&plan)).expect("memory is always there");
            let explained = explain(&history, Rules::default());
            // What the broker should have answered instead is in its own words.
            let found = |explained: &Explained| {
                let odd: Vec<u32> = explained.odd.iter().map(|odd| odd.request).collect();
                let accused = explained.accusation.as_ref().map(|accusation| accusation.request);
                (explained.judged.clone(), explained.unjudged, odd, accused)
            };
            for choice in CHOICES {
                let Some(shows) = choice.shows else { continue };
                if history.exchanges.iter().any(shows) {
                    continue;
                }
                hidden.insert(choice.name);
                for value in &choice.values[1..] {
                    let other = explain(&history, value.chosen(Rules::default()));
                    assert_eq!(found(&other), found(&explained), "{}, seed {seed}", value.words);
                }
            }
        }
    }
    let tried = CHOICES.iter().filter(|choice| choice.shows.is_some());
    assert_eq!(hidden.len(), tried.count(), "some choice shows in every case");
}

#[test]
fn the_same_plan_gives_the_same_history_bytes() {
    for seed in 0..200 {
        let bytes = || {
            let (_, plan) = generate::plan(seed, Features::EMBEDDED);
            let memory = Memory::new(Rules::default(), "memory".to_owned());
            let history = block_on(memory.run(&plan)).expect("memory is always there");
            (text::plan_to_json(&plan), text::history_to_lines(&history))
        };
        assert_eq!(bytes(), bytes(), "seed {seed}");
    }
}

/// A user's own property test: the strategy draws, the embedded broker runs, proptest shrinks by our cuts.
#[test]
fn a_proptest_of_ones_own_shrinks_well() {
    let memory = Memory::new(
        defects::find("no-dedup").expect("a defect").rules(),
        "memory:no-dedup".to_owned(),
    );
    let mut runner = TestRunner::deterministic();
    let failed = runner.run(&generate::plans(Features::EMBEDDED), |plan| {
        let history = block_on(memory.run(&plan)).expect("memory is always there");
        let broken = judge(&history).iter().any(|one| matches!(one.verdict, Verdict::Violated(_)));
        if broken { Err(TestCaseError::fail("a promise was broken")) } else { Ok(()) }
    });
    match failed {
        Err(TestError::Fail(_, plan)) => assert!(plan.size() <= 4, "{plan:?}"),
        other => panic!("the defect was not found: {other:?}"),
    }
}

fn named(report: &Report) -> Vec<&str> {
    report.failures.iter().map(|failure| failure.kind.property).collect()
}
