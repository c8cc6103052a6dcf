//! Drawing: the same seed gives the same plan, plans keep within what the target can do, and they are worth running.

use std::collections::{BTreeMap, BTreeSet};

use onceness_reference::features::Features;
use onceness_reference::generate::{plan, plans};
use onceness_reference::plan::forge::{Forge, Number};
use onceness_reference::plan::{
    Client, Delivery, Fate, Fault, Isolation, Op, Plan, Protocol, Saving, Step,
};
use onceness_reference::text::plan_to_json;
use proptest::test_runner::{Config, RngSeed, TestError, TestRunner};

const SEEDS: u64 = 2_000;

fn drawn(features: Features) -> impl Iterator<Item = Plan> {
    (0..SEEDS).map(move |seed| plan(seed, features).1)
}

#[test]
fn the_same_seed_gives_the_same_profile_and_plan() {
    for seed in (0..200).chain([u64::MAX, u64::MAX / 3]) {
        let (profile, one) = plan(seed, Features::ALL);
        let (same_profile, other) = plan(seed, Features::ALL);
        assert_eq!(profile, same_profile);
        assert_eq!(plan_to_json(&one), plan_to_json(&other));
        assert_eq!(profile.seed, seed);
    }
}

#[test]
fn different_seeds_give_different_plans() {
    let texts: BTreeSet<String> = drawn(Features::ALL).map(|plan| plan_to_json(&plan)).collect();
    assert_eq!(texts.len() as u64, SEEDS);
}

/// All 1,024 kinds of target: what is drawn for each is well formed, and asks for nothing that it cannot do.
#[test]
fn plans_keep_within_what_the_target_can_do() {
    let flag = |bits: u64, place: u64| bits >> place & 1 == 1;
    for seed in 0..64 * SEEDS {
        let bits = seed % 1024;
        let features = Features {
            tv1: flag(bits, 0),
            tv2: flag(bits, 1),
            fates: flag(bits, 2),
            restart: flag(bits, 3),
            members: flag(bits, 4),
            kill: flag(bits, 5),
            pause: flag(bits, 6),
            dear: flag(bits, 7),
            shared: flag(bits, 8),
            forging: flag(bits, 9),
        };
        let (_, plan) = plan(seed, features);
        assert_eq!(plan.check(), Ok(()), "seed {seed}");
        assert!(needs(&plan).within(features), "seed {seed}: {features:?}");
        assert!(!features.dear || plan.faults().count() <= 2, "seed {seed}");
    }
}

/// What a target must be able to do for this plan.
fn needs(plan: &Plan) -> Needs {
    let protocols = |wanted| plan.clients.iter().any(|client| client.protocol() == Some(wanted));
    let is_fated =
        |step: &Step| step.crash || !step.fate.is_delivered() || !step.preparation.is_delivered();
    let mut consumers = plan.clients.iter().filter_map(|client| client.consumer.as_ref());
    Needs(Features {
        tv1: protocols(Protocol::Tv1),
        tv2: protocols(Protocol::Tv2),
        fates: plan.steps().any(is_fated),
        restart: plan.faults().any(|fault| fault == Fault::Restart),
        kill: plan.faults().any(|fault| fault == Fault::Kill),
        pause: plan.faults().any(|fault| fault == Fault::Pause),
        dear: false,
        members: consumers.clone().any(|consumer| consumer.member && !consumer.shared),
        shared: consumers.any(|consumer| consumer.shared),
        forging: !plan.forgers().is_empty(),
    })
}

struct Needs(Features);

impl Needs {
    fn within(&self, can: Features) -> bool {
        let Needs(need) = self;
        (can.tv1 || !need.tv1)
            && (can.tv2 || !need.tv2)
            && (can.fates || !need.fates)
            && (can.restart || !need.restart)
            && (can.kill || !need.kill)
            && (can.pause || !need.pause)
            && (can.members || !need.members)
            && (can.shared || !need.shared)
            && (can.forging || !need.forging)
    }
}

/// Faults that take seconds are in about every second plan.
#[test]
fn dear_faults_are_few() {
    let struck =
        drawn(Features { dear: true, ..Features::ALL }).filter(|plan| plan.faults().count() > 0);
    let struck = struck.count() as u64;
    assert!((SEEDS * 35 / 100..SEEDS * 55 / 100).contains(&struck), "{struck}");
}

#[test]
fn a_target_that_can_do_little_still_gets_plans() {
    let sends = |plan: &Plan| plan.steps().any(|step| matches!(step.op, Op::Send { .. }));
    let count = drawn(Features::NONE).filter(sends).count() as u64;
    assert!(count * 100 >= SEEDS * 95, "{count}");
}

/// Of 2,000 plans at least so many have each of these: half of what was counted when it was written.
const MINIMUMS: &[(u32, &[&str])] = &[
    (900, &["open", "send", "delivered", "overlap"]),
    (600, &["begin", "poll", "partitions", "second life"]),
    (
        350,
        &[
            "commit",
            "commit of a write",
            "crash",
            "crash at a request",
            "held",
            "reply lost",
            "restart",
            "kill",
            "pause",
            "process",
            "save",
            "reads committed",
            "saves in transactions",
            "transactional tv1",
            "transactional tv2",
            "batches in flight",
            "member",
        ],
    ),
    (
        200,
        &[
            "abort",
            "close",
            "at least once",
            "idempotent",
            "forward",
            "save in transaction",
            "request lost",
            "repeated",
            "busy",
            "reads uncommitted",
            "saves after processing",
            "saves before processing",
            "transactional twins",
        ],
    ),
    (130, &["at most once", "rewind", "replaced member", "zombie that writes or ends"]),
    (80, &["fate of a preparation", "member that shares"]),
    (60, &["forged look at a position"]),
    (20, &["stall"]),
    (130, &["forged batch", "forged batch with a flaw", "forged repeat"]),
    (
        80,
        &[
            "forged fetch",
            "forged gap",
            "forged list",
            "forged overlap",
            "forged start",
            "forged wrap",
        ],
    ),
    (45, &["forged end", "forged partition", "forged save"]),
    (14, &["forged group"]),
];

/// In how many of so many plans each thing occurs at least once.
fn occurrences(features: Features) -> BTreeMap<&'static str, u32> {
    let mut counts = BTreeMap::new();
    for plan in drawn(features) {
        let mut found: BTreeSet<&str> = BTreeSet::new();
        for step in plan.steps() {
            found.insert(op_name(&step.op));
            found.insert(fate_name(step.fate));
            if !step.preparation.is_delivered() {
                found.insert("fate of a preparation");
            }
            if step.crash {
                found.insert("crash at a request");
            }
        }
        for client in &plan.clients {
            found.extend(client.delivery.map(delivery_name));
            if let Some(consumer) = &client.consumer {
                found.insert(saving_name(consumer.saving));
                found.insert(isolation_name(consumer.isolation));
                found.extend(consumer.member.then_some("member"));
                found.extend(consumer.shared.then_some("member that shares"));
            }
        }
        found.extend(shapes(&plan));
        for name in found {
            *counts.entry(name).or_insert(0) += 1;
        }
    }
    counts
}

fn shapes(plan: &Plan) -> Vec<&'static str> {
    let clients = &plan.clients;
    let twins = |i: usize| {
        let one = &clients[i];
        clients[..i].iter().any(|other| one.txn().is_some() && one.txn() == other.txn())
    };
    let members = |i: usize| {
        clients[..i].iter().any(|other| match (&clients[i].consumer, &other.consumer) {
            (Some(one), Some(other)) => one.member && !one.shared && one.group == other.group,
            _ => false,
        })
    };
    let lives = clients.iter().any(|client| {
        plan.steps().filter(|step| step.client == client.id && step.op == Op::Open).count() > 1
    });
    let batches = |step: &Step| matches!(&step.op, Op::Send { batches, .. } if batches.len() > 2);
    let mut shapes = vec![
        ((0..clients.len()).any(twins), "transactional twins"),
        ((0..clients.len()).any(members), "replaced member"),
        (lives, "second life"),
        (talks_after_successor(plan), "zombie that writes or ends"),
        (commits_a_write(plan), "commit of a write"),
        (plan.faults().any(|fault| fault == Fault::Restart), "restart"),
        (plan.faults().any(|fault| fault == Fault::Kill), "kill"),
        (plan.faults().any(|fault| fault == Fault::Pause), "pause"),
        (plan.rounds.iter().any(|round| round.steps.len() > 1), "overlap"),
        (plan.steps().any(batches), "batches in flight"),
        (plan.partitions > 1, "partitions"),
    ];
    shapes.retain(|(found, _)| *found);
    shapes.into_iter().map(|(_, name)| name).collect()
}

/// Whether an instance of a transactional id still writes or ends after another one opened.
fn talks_after_successor(plan: &Plan) -> bool {
    let mut last_opened = BTreeMap::new();
    plan.steps().any(|step| {
        let Some(txn) = plan.client(step.client).and_then(|client| client.txn()) else {
            return false;
        };
        match step.op {
            Op::Open => {
                last_opened.insert(txn, step.client);
                false
            }
            Op::Send { .. } | Op::Forward { .. } | Op::Commit | Op::Abort => {
                last_opened.get(&txn).is_some_and(|successor| *successor != step.client)
            }
            _ => false,
        }
    })
}

fn commits_a_write(plan: &Plan) -> bool {
    let mut wrote = BTreeSet::new();
    plan.steps().any(|step| match step.op {
        Op::Begin | Op::Open => {
            wrote.remove(&step.client);
            false
        }
        Op::Send { .. } | Op::Forward { .. } => {
            wrote.insert(step.client);
            false
        }
        Op::Commit => wrote.contains(&step.client),
        _ => false,
    })
}

#[test]
fn plans_are_interesting() {
    let counts = occurrences(Features::ALL);
    for (least, names) in MINIMUMS {
        for name in *names {
            let count = counts.get(name).copied().unwrap_or(0);
            assert!(count >= *least, "{name}: in {count} of {SEEDS} plans, not {least}");
        }
    }
    let named: BTreeSet<&str> = MINIMUMS.iter().flat_map(|(_, names)| *names).copied().collect();
    let counted: BTreeSet<&str> = counts.into_keys().collect();
    assert_eq!(named, counted, "everything that is counted has a minimum");
}

fn op_name(op: &Op) -> &'static str {
    match op {
        Op::Open => "open",
        Op::Send { .. } => "send",
        Op::Begin => "begin",
        Op::Commit => "commit",
        Op::Abort => "abort",
        Op::Poll { .. } => "poll",
        Op::Process => "process",
        Op::Save => "save",
        Op::SaveInTransaction => "save in transaction",
        Op::Forward { .. } => "forward",
        Op::Rewind => "rewind",
        Op::Stall => "stall",
        Op::Forge(forge) => forge_name(forge),
        Op::Crash => "crash",
        Op::Close => "close",
    }
}

fn forge_name(forge: &Forge) -> &'static str {
    match forge {
        Forge::Produce { flaw: Some(_), .. } => "forged batch with a flaw",
        Forge::Produce { number: Number::Next, .. } => "forged batch",
        Forge::Produce { number: Number::Repeat { .. }, .. } => "forged repeat",
        Forge::Produce { number: Number::Within { .. }, .. } => "forged overlap",
        Forge::Produce { number: Number::Gap { .. } | Number::Zero, .. } => "forged gap",
        Forge::Produce { number: Number::Wrap { .. }, .. } => "forged wrap",
        Forge::AddPartition { .. } => "forged partition",
        Forge::AddGroup { .. } => "forged group",
        Forge::End { .. } => "forged end",
        Forge::Init { .. } => "forged start",
        Forge::Save { .. } => "forged save",
        Forge::Fetch { .. } => "forged fetch",
        Forge::List { .. } => "forged list",
        Forge::Positions { .. } => "forged look at a position",
    }
}

fn fate_name(fate: Fate) -> &'static str {
    match fate {
        Fate::Delivered => "delivered",
        Fate::RequestLost => "request lost",
        Fate::ReplyLost => "reply lost",
        Fate::Repeated => "repeated",
        Fate::Busy => "busy",
        Fate::Held { .. } => "held",
    }
}

fn delivery_name(delivery: Delivery) -> &'static str {
    match delivery {
        Delivery::AtMostOnce => "at most once",
        Delivery::AtLeastOnce => "at least once",
        Delivery::Idempotent => "idempotent",
        Delivery::Transactional { protocol: Protocol::Tv1, .. } => "transactional tv1",
        Delivery::Transactional { protocol: Protocol::Tv2, .. } => "transactional tv2",
    }
}

fn saving_name(saving: Saving) -> &'static str {
    match saving {
        Saving::BeforeProcessing => "saves before processing",
        Saving::AfterProcessing => "saves after processing",
        Saving::InTransaction => "saves in transactions",
    }
}

fn isolation_name(isolation: Isolation) -> &'static str {
    match isolation {
        Isolation::ReadCommitted => "reads committed",
        Isolation::ReadUncommitted => "reads uncommitted",
    }
}

fn runner(seed: u64) -> TestRunner {
    TestRunner::new(Config {
        cases: 2_000,
        failure_persistence: None,
        max_shrink_iters: 100_000,
        rng_seed: RngSeed::Fixed(seed),
        ..Config::default()
    })
}

/// The smallest plan that proptest finds to fail a claim.
fn counterexample(seed: u64, holds: impl Fn(&Plan) -> bool) -> Plan {
    let failed = runner(seed).run(&plans(Features::ALL), |plan| {
        proptest::prop_assert!(holds(&plan));
        Ok(())
    });
    match failed {
        Err(TestError::Fail(_, plan)) => plan,
        other => panic!("{other:?}"),
    }
}

#[test]
fn proptest_shrinks_plans() {
    let held_commit = |step: &Step| step.op == Op::Commit && matches!(step.fate, Fate::Held { .. });
    for seed in 0..5 {
        let plan = counterexample(seed, |plan| !plan.steps().any(held_commit));
        assert_eq!(plan.check(), Ok(()));
        assert_eq!((plan.size(), plan.clients.len(), plan.rounds.len()), (3, 1, 3), "{plan:#?}");
        assert_eq!(plan.steps().last().unwrap().fate, Fate::Held { rounds: 1 });
    }
}

#[test]
fn proptest_shrinks_no_further_than_what_fails() {
    for seed in 0..5 {
        let plan = counterexample(seed, |plan| forwards_of_the_busiest(plan) < 2);
        assert_eq!((forwards_of_the_busiest(&plan), plan.size()), (2, 4), "{plan:#?}");
    }
}

fn forwards_of_the_busiest(plan: &Plan) -> usize {
    let of = |client: &Client| {
        let own = plan.steps().filter(|step| step.client == client.id);
        own.filter(|step| matches!(step.op, Op::Forward { .. })).count()
    };
    plan.clients.iter().map(of).max().unwrap_or(0)
}
