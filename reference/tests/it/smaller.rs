//! Shrinking: what "smaller" means, that it ends, and that it gets down to what matters.

use std::collections::BTreeSet;

use onceness_reference::features::Features;
use onceness_reference::generate::plan;
use onceness_reference::plan::forge::{Forge, Number, Pose};
use onceness_reference::plan::{Client, Delivery, Fate, Fault, Op, Plan, Round, Step};
use onceness_reference::smaller::{measure, smaller};

fn drawn(count: u64) -> impl Iterator<Item = Plan> {
    (0..count).map(|seed| plan(seed, Features::ALL).1)
}

#[test]
fn every_candidate_is_well_formed_and_smaller() {
    for plan in drawn(300) {
        let size = measure(&plan);
        for candidate in smaller(&plan) {
            assert_eq!(candidate.check(), Ok(()), "{plan:#?}");
            assert!(measure(&candidate) < size, "{candidate:#?}");
        }
    }
}

#[test]
fn candidates_come_in_the_same_order_every_time() {
    for plan in drawn(20) {
        assert!(smaller(&plan).eq(smaller(&plan)));
    }
}

/// What is in a candidate was in the plan: cutting invents no step, client or record.
#[test]
fn cuts_invent_nothing() {
    for plan in drawn(50) {
        let ids = |plan: &Plan| plan.steps().map(|step| step.id).collect::<BTreeSet<_>>();
        let clients = |plan: &Plan| plan.clients.iter().map(|one| one.id).collect::<BTreeSet<_>>();
        for candidate in smaller(&plan) {
            assert!(ids(&candidate).is_subset(&ids(&plan)));
            assert!(clients(&candidate).is_subset(&clients(&plan)));
        }
    }
}

/// The boldest first: among the first few is one that halves the rounds.
#[test]
fn the_first_candidates_halve_the_plan() {
    for plan in drawn(300).filter(|plan| plan.rounds.len() >= 4) {
        let rounds = smaller(&plan).take(3).map(|candidate| candidate.rounds.len()).min();
        assert!(rounds.unwrap() <= plan.rounds.len().div_ceil(2), "{plan:#?}");
    }
}

#[test]
fn nothing_is_smaller_than_nothing() {
    for plan in drawn(10) {
        let least = shrunk(plan, |_| true);
        assert_eq!((least.size(), least.clients.len(), least.rounds.len()), (0, 0, 0));
        assert_eq!(smaller(&least).count(), 0);
    }
}

/// Greedily: goes to the first candidate that still fails, until there is none. That it ends is the order of `measure`.
fn shrunk(mut plan: Plan, fails: impl Fn(&Plan) -> bool) -> Plan {
    while let Some(next) = smaller(&plan).find(&fails) {
        plan = next;
    }
    plan
}

/// From whatever plan a search comes with, shrinking ends at so many steps and faults, of so many clients.
fn shrinks_to(steps: usize, clients: usize, fails: impl Fn(&Plan) -> bool) -> Vec<Plan> {
    let found: Vec<Plan> = drawn(300).filter(&fails).map(|plan| shrunk(plan, &fails)).collect();
    assert!(found.len() >= 10, "only {} plans fail", found.len());
    for plan in &found {
        assert_eq!((plan.size(), plan.clients.len()), (steps, clients), "{plan:#?}");
        // What does not overlap needs no rounds of its own beyond one a step.
        assert!(plan.rounds.len() <= steps, "{plan:#?}");
        assert!(plan.schedule == 0 && plan.partitions <= 3, "{plan:#?}");
    }
    found
}

fn any_step(plan: &Plan, wanted: impl Fn(&Client, &Step) -> bool) -> bool {
    plan.steps().any(|step| wanted(plan.client(step.client).unwrap(), step))
}

#[test]
fn one_step_and_what_it_needs() {
    shrinks_to(3, 1, |plan| any_step(plan, |_, step| step.op == Op::Commit));
    shrinks_to(3, 1, |plan| any_step(plan, |_, step| step.op == Op::SaveInTransaction));
    shrinks_to(2, 1, |plan| any_step(plan, |_, step| step.op == Op::Rewind));
    shrinks_to(1, 1, |plan| {
        any_step(plan, |client, step| client.txn().is_some() && step.op == Op::Open)
    });
}

#[test]
fn a_step_and_its_mishap() {
    let is_idempotent = |client: &Client| client.delivery == Some(Delivery::Idempotent);
    let found = shrinks_to(2, 1, |plan| {
        any_step(plan, |client, step| {
            let sends = matches!(step.op, Op::Send { .. });
            is_idempotent(client) && sends && step.fate == Fate::Repeated
        })
    });
    assert!(found.iter().all(|plan| !plan.steps().any(|step| step.crash)));
    let found = shrinks_to(3, 1, |plan| {
        any_step(plan, |_, step| step.op == Op::Abort && matches!(step.fate, Fate::Held { .. }))
    });
    for plan in found {
        assert_eq!(plan.steps().last().unwrap().fate, Fate::Held { rounds: 1 });
    }
}

#[test]
fn a_fault() {
    shrinks_to(1, 0, |plan| plan.rounds.iter().any(|round| round.faults == [Fault::Restart]));
}

/// One of several faults, and a kill in the middle of a round only where it has to be in the middle.
#[test]
fn one_fault_of_several() {
    let has = |plan: &Plan, wanted| plan.faults().any(|fault| fault == wanted);
    shrinks_to(1, 0, |plan| has(plan, Fault::Kill));
    shrinks_to(1, 0, |plan| has(plan, Fault::Pause));
    let found = shrinks_to(1, 0, |plan| has(plan, Fault::Kill) || has(plan, Fault::Restart));
    assert!(found.iter().all(|plan| plan.faults().eq([Fault::Restart])));
}

#[test]
fn a_restart_between_two_steps() {
    shrinks_to(4, 1, |plan| {
        plan.clients.iter().any(|client| {
            let sends = |round: &Round| {
                round.steps.iter().any(|step| {
                    step.client == client.id
                        && client.delivery == Some(Delivery::Idempotent)
                        && matches!(step.op, Op::Send { .. })
                })
            };
            let first = plan.rounds.iter().position(sends);
            let last = plan.rounds.iter().rposition(sends);
            let (Some(first), Some(last)) = (first, last) else { return false };
            first < last
                && plan.rounds[first + 1..=last].iter().any(|round| !round.faults.is_empty())
        })
    });
}

/// No cut makes steps overlap that did not, so overlaps shrink to the earliest steps that do.
#[test]
fn two_clients_that_overlap() {
    let opens = |round: &Round| round.steps.iter().filter(|step| step.op == Op::Open).count();
    let found = shrinks_to(2, 2, |plan| plan.rounds.iter().any(|round| opens(round) > 1));
    assert!(found.iter().all(|plan| plan.rounds.len() == 1));
}

/// Amounts shrink too: one record in one batch, to the first partition, with the first key.
#[test]
fn how_much_is_sent() {
    let found = shrinks_to(2, 1, |plan| {
        any_step(plan, |client, step| client.txn().is_none() && matches!(step.op, Op::Send { .. }))
    });
    for plan in found {
        let Some(Op::Send { partition, batches }) = plan.steps().last().map(|step| &step.op) else {
            panic!("{plan:#?}")
        };
        assert_eq!((partition.0, batches.len(), batches[0].len()), (0, 1, 1));
        assert_eq!(batches[0][0].key.0, 0);
        assert_eq!(plan.partitions, 1);
    }
}

/// What is forged becomes plainer in every parameter that does not matter, and in the end an ordinary send.
#[test]
fn what_is_forged() {
    let forges = |plan: &Plan, wanted: fn(&Forge) -> bool| {
        any_step(plan, |_, step| matches!(&step.op, Op::Forge(forge) if wanted(forge)))
    };
    let found = shrinks_to(2, 1, |plan| {
        forges(plan, |forge| matches!(forge, Forge::Produce { number: Number::Repeat { .. }, .. }))
    });
    for plan in found {
        let Some(Op::Forge(forge)) = plan.steps().last().map(|step| &step.op) else {
            panic!("{plan:#?}")
        };
        let Forge::Produce { to, records, pose, number, plain, flaw } = forge else {
            panic!("{forge:?}")
        };
        assert_eq!((to.0, records.len(), *pose), (0, 1, Pose::Own));
        assert_eq!((*number, *plain, *flaw), (Number::Repeat { back: 1 }, false, None));
    }
    let sends = shrinks_to(2, 1, |plan| {
        any_step(plan, |client, step| {
            let sends = matches!(step.op, Op::Send { .. } | Op::Forge(Forge::Produce { .. }));
            client.delivery == Some(Delivery::Idempotent) && sends
        })
    });
    for plan in sends {
        assert!(plan.steps().all(|step| !matches!(step.op, Op::Forge(_))), "{plan:#?}");
    }
}

/// A loop that only has to write becomes a producer, which needs nothing to read.
#[test]
fn a_loop_that_need_not_read() {
    let found = shrinks_to(3, 1, |plan| {
        any_step(plan, |client, step| {
            let writes = matches!(step.op, Op::Send { .. } | Op::Forward { .. });
            client.txn().is_some() && writes
        })
    });
    for plan in found {
        assert_eq!(plan.clients[0].consumer, None, "{plan:#?}");
    }
}

/// Many steps that only took time give way to a round of nothing, though fewer of them would not have taken enough.
#[test]
fn time_that_is_needed() {
    let fails = |plan: &Plan| {
        let Some(restart) = plan.rounds.iter().position(|round| !round.faults.is_empty()) else {
            return false;
        };
        let before = &plan.rounds[..restart];
        let steps: usize = before.iter().map(|round| round.steps.len()).sum();
        steps >= 3 || (steps == 0 && restart > 0)
    };
    for plan in drawn(300).filter(fails) {
        let least = shrunk(plan, fails);
        assert_eq!((least.size(), least.rounds.len()), (1, 2), "{least:#?}");
    }
}
