//! What "smaller" means for plans, written once: all well-formed smaller plans of a plan, the boldest cuts first.
//!
//! Smaller is an order on [`measure`], so shrinking ends. Two engines drive it: the proptest `ValueTree` of the plan strategy
//! ([`crate::generate`]), and the harness's parallel shrinker.

use crate::ids::{Key, Partition, StepId};
use crate::plan::forge::Forge;
use crate::plan::{Client, Delivery, Fate, Fault, NewRecord, Op, Plan, Round};

/// What shrinking makes smaller, most important first: steps and faults, then what befalls them, then who takes part, how
/// much overlaps, how long it takes, and how much is sent.
pub fn measure(plan: &Plan) -> [u64; 7] {
    let fates = plan.steps().map(|step| {
        u64::from(!step.fate.is_delivered())
            + u64::from(!step.preparation.is_delivered())
            + u64::from(step.crash)
    });
    let overlapping = plan.faults().filter(|fault| fault.overlaps()).count() as u64;
    let overlaps = (plan.rounds.iter()).map(|round| round.steps.len().saturating_sub(1) as u64);
    [
        plan.size() as u64,
        fates.sum::<u64>() + overlapping,
        plan.clients.len() as u64,
        overlaps.sum(),
        plan.rounds.len() as u64,
        u64::from(plan.partitions) + plan.steps().map(|step| amount(&step.op)).sum::<u64>(),
        plan.steps().map(|step| values(&step.op, step.fate)).sum::<u64>()
            + consumers(plan)
            + u64::from(plan.schedule != 0),
    ]
}

/// Other schedules that are tried when a cut alone does not do: fewer requests interleave in another order, and a failure
/// that needs a certain order is lost with the cut though the smaller plan could fail as well.
const SCHEDULES: std::ops::RangeInclusive<u64> = 1..=4;

/// The longest run of rounds that is cut wherever it begins.
const RUN_MAX: usize = 6;

/// All well-formed smaller plans that one cut away makes, boldest first; then the same cuts under other schedules. Lazy: a
/// candidate is made when it is asked for.
pub fn smaller(plan: &Plan) -> impl Iterator<Item = Plan> + Send + use<> {
    let size = measure(plan);
    let cuts = cuts(plan);
    let steps_only = cuts.iter().copied().filter(|cut| cut.removes_steps());
    let rescheduled: Vec<(Option<u64>, Cut)> =
        steps_only.flat_map(|cut| SCHEDULES.map(move |schedule| (Some(schedule), cut))).collect();
    let plan = plan.clone();
    (cuts.into_iter().map(|cut| (None, cut)))
        .chain(rescheduled)
        .filter_map(move |(schedule, cut)| {
            let mut candidate = apply(&plan, cut)?;
            candidate.schedule = schedule.unwrap_or(candidate.schedule);
            Some(candidate)
        })
        .filter(move |candidate| measure(candidate) < size && candidate.check().is_ok())
}

/// One way to make a plan smaller.
#[derive(Clone, Copy, Debug)]
enum Cut {
    Rounds {
        from: usize,
        count: usize,
    },
    /// Time for the broker in place of these rounds, where nothing else is wanted of them.
    Idle {
        from: usize,
        count: usize,
    },
    Client(usize),
    Faults(usize),
    Fault {
        round: usize,
        place: usize,
    },
    /// A restart between rounds in place of one in the middle of a round.
    Restart {
        round: usize,
        place: usize,
    },
    /// A whole life or a whole transaction of one client.
    Span {
        from: StepId,
        to: StepId,
    },
    Step(StepId),
    Pair(StepId, StepId),
    Crash(StepId),
    Fate(StepId, Fate),
    Preparation(StepId, Fate),
    /// The steps of a round one after another, in either order.
    Split {
        round: usize,
        reversed: bool,
    },
    EmptyRound(usize),
    Merge(usize),
    Batches(StepId),
    Records(StepId),
    /// A producer without transactions in place of one with.
    Plain(usize),
    /// A producer in place of a loop: it sends what the loop would have made of its input.
    Producer(usize),
    LastPartition,
    FirstPartitions(StepId),
    Keys(StepId),
    Limit(StepId),
    /// A forged request that is plainer in one parameter, or an ordinary send if there is none left.
    Forge {
        step: StepId,
        plainer: usize,
    },
    Membership,
    Schedule,
}

impl Cut {
    fn removes_steps(self) -> bool {
        matches!(
            self,
            Cut::Rounds { .. }
                | Cut::Idle { .. }
                | Cut::Client(_)
                | Cut::Plain(_)
                | Cut::Producer(_)
                | Cut::Span { .. }
                | Cut::Step(_)
                | Cut::Pair(..)
        )
    }
}

fn cuts(plan: &Plan) -> Vec<Cut> {
    let mut cuts = Vec::new();
    let rounds = plan.rounds.len();
    let mut count = rounds / 2;
    while count >= 1 {
        let starts = (0..rounds).step_by(count).rev();
        cuts.extend(starts.map(|from| Cut::Rounds { from, count }));
        count /= 2;
    }
    cuts.extend((0..plan.clients.len()).map(Cut::Client));
    cuts.extend(
        (0..plan.clients.len()).filter(|c| is_mere_transactor(&plan.clients[*c])).map(Cut::Plain),
    );
    cuts.extend((0..plan.clients.len()).filter(|c| is_loop(&plan.clients[*c])).map(Cut::Producer));
    cuts.extend((0..rounds).filter(|r| !plan.rounds[*r].faults.is_empty()).map(Cut::Faults));
    for round in 0..rounds {
        let faults = &plan.rounds[round].faults;
        if faults.len() > 1 {
            cuts.extend((0..faults.len()).map(|place| Cut::Fault { round, place }));
        }
        let kills = (0..faults.len()).filter(|place| faults[*place] == Fault::Kill);
        cuts.extend(kills.map(|place| Cut::Restart { round, place }));
    }
    cuts.extend(spans(plan));
    let ids: Vec<StepId> = plan.steps().map(|step| step.id).collect();
    cuts.extend(ids.iter().rev().map(|id| Cut::Step(*id)));
    // Only where plans are small already: their number is quadratic.
    if ids.len() <= 16 {
        for count in (1..=RUN_MAX).rev() {
            let starts = 0..(rounds + 1).saturating_sub(count);
            cuts.extend(starts.clone().map(|from| Cut::Rounds { from, count }));
            cuts.extend(starts.map(|from| Cut::Idle { from, count }));
        }
        for (i, first) in ids.iter().enumerate() {
            cuts.extend(ids[i + 1..].iter().map(|second| Cut::Pair(*first, *second)));
        }
    }
    for step in plan.steps() {
        let id = step.id;
        if step.crash {
            cuts.push(Cut::Crash(id));
        }
        cuts.extend(gentler(step.fate).into_iter().map(|fate| Cut::Fate(id, fate)));
        cuts.extend(gentler(step.preparation).into_iter().map(|fate| Cut::Preparation(id, fate)));
    }
    for round in (0..rounds).filter(|r| plan.rounds[*r].steps.len() > 1) {
        cuts.extend([false, true].map(|reversed| Cut::Split { round, reversed }));
    }
    cuts.extend((0..rounds).filter(|r| is_empty(&plan.rounds[*r])).map(Cut::EmptyRound));
    cuts.extend((0..rounds).filter(|r| plan.rounds[*r].steps.is_empty()).map(Cut::Merge));
    for id in ids {
        cuts.extend([
            Cut::Batches(id),
            Cut::Records(id),
            Cut::FirstPartitions(id),
            Cut::Keys(id),
            Cut::Limit(id),
        ]);
    }
    for (step, forge) in forged(plan) {
        // One more than there are: the ordinary send.
        let plainer = forge.plainer().len().max(1);
        cuts.extend((0..plainer).map(|plainer| Cut::Forge { step, plainer }));
    }
    cuts.extend([Cut::LastPartition, Cut::Membership, Cut::Schedule]);
    cuts
}

/// From a step that opens something (a life, a transaction) to the step that ends it, per client.
fn spans(plan: &Plan) -> Vec<Cut> {
    let mut spans = Vec::new();
    for client in &plan.clients {
        let mut opened = None;
        let mut begun = None;
        for step in plan.steps().filter(|step| step.client == client.id) {
            match step.op {
                Op::Open => opened = Some(step.id),
                Op::Begin => begun = Some(step.id),
                _ => {}
            }
            let ends = matches!(step.op, Op::Commit | Op::Abort);
            if let (true, Some(from)) = (ends, begun.take_if(|_| ends)) {
                spans.push(Cut::Span { from, to: step.id });
            }
            let dies = step.crash || matches!(step.op, Op::Crash | Op::Close);
            if let (true, Some(from)) = (dies, opened.take_if(|_| dies)) {
                spans.push(Cut::Span { from, to: step.id });
            }
        }
    }
    spans
}

fn gentler(fate: Fate) -> Vec<Fate> {
    match fate {
        Fate::Delivered => Vec::new(),
        Fate::Held { rounds } if rounds > 1 => {
            vec![Fate::Delivered, Fate::Held { rounds: 1 }, Fate::Held { rounds: rounds - 1 }]
        }
        _ => vec![Fate::Delivered],
    }
}

fn apply(plan: &Plan, cut: Cut) -> Option<Plan> {
    let mut plan = plan.clone();
    match cut {
        Cut::Rounds { from, count } => {
            let to = (from + count).min(plan.rounds.len());
            plan.rounds.drain(from..to);
        }
        Cut::Idle { from, count } => {
            plan.rounds.splice(from..from + count, [Round::default()]);
        }
        Cut::Client(place) => {
            plan.clients.remove(place);
        }
        Cut::Plain(place) => plan.clients[place].delivery = Some(Delivery::AtLeastOnce),
        Cut::Producer(place) => {
            let client = &mut plan.clients[place];
            client.consumer = None;
            let id = client.id;
            let steps = plan.rounds.iter_mut().flat_map(|round| &mut round.steps);
            for step in steps.filter(|step| step.client == id) {
                if let Op::Forward { to: partition, tag, .. } = step.op {
                    let batches = vec![vec![NewRecord { tag, key: Key(0) }]];
                    step.op = Op::Send { partition, batches };
                }
            }
        }
        Cut::Faults(round) => plan.rounds[round].faults.clear(),
        Cut::Fault { round, place } => {
            plan.rounds[round].faults.remove(place);
        }
        Cut::Restart { round, place } => plan.rounds[round].faults[place] = Fault::Restart,
        Cut::Span { from, to } => cut_span(&mut plan, from, to)?,
        Cut::Step(id) => retain(&mut plan, |step| step != id),
        Cut::Pair(one, other) => retain(&mut plan, |step| step != one && step != other),
        Cut::Crash(id) => step_mut(&mut plan, id)?.crash = false,
        Cut::Fate(id, fate) => step_mut(&mut plan, id)?.fate = fate,
        Cut::Preparation(id, fate) => step_mut(&mut plan, id)?.preparation = fate,
        Cut::Split { round, reversed } => {
            let mut whole = plan.rounds.remove(round);
            if reversed {
                whole.steps.reverse();
            }
            let mut faults = whole.faults;
            let parts = whole
                .steps
                .into_iter()
                .map(|step| Round { faults: std::mem::take(&mut faults), steps: vec![step] });
            let parts: Vec<Round> = parts.collect();
            plan.rounds.splice(round..round, parts);
        }
        Cut::EmptyRound(round) => {
            plan.rounds.remove(round);
        }
        Cut::Merge(round) => {
            let faults = plan.rounds[round].faults.clone();
            let next = plan.rounds.get_mut(round + 1)?;
            next.faults.splice(0..0, faults);
            plan.rounds.remove(round);
        }
        Cut::Batches(id) => match &mut step_mut(&mut plan, id)?.op {
            Op::Send { batches, .. } if batches.len() > 1 => {
                batches.pop();
            }
            _ => return None,
        },
        Cut::Records(id) => match &mut step_mut(&mut plan, id)?.op {
            Op::Send { batches, .. } => {
                (batches.iter_mut().rev().find(|batch| batch.len() > 1))?.pop();
            }
            _ => return None,
        },
        Cut::LastPartition => plan.partitions = plan.partitions.checked_sub(1)?,
        Cut::FirstPartitions(id) => match &mut step_mut(&mut plan, id)?.op {
            Op::Send { partition, .. } if partition.0 > 0 => partition.0 -= 1,
            Op::Forward { to, .. } if to.0 > 0 => *to = Partition(to.0 - 1),
            Op::Forge(forge) => {
                let partition = forge.partition_mut().filter(|partition| partition.0 > 0)?;
                partition.0 -= 1;
            }
            _ => return None,
        },
        Cut::Keys(id) => match &mut step_mut(&mut plan, id)?.op {
            Op::Send { batches, .. } => {
                (batches.iter_mut().flatten()).for_each(|record| record.key = Key(0));
            }
            _ => return None,
        },
        Cut::Limit(id) => match &mut step_mut(&mut plan, id)?.op {
            Op::Poll { max } if *max > 1 => *max -= 1,
            Op::Forward { limit, .. } if *limit > 1 => *limit -= 1,
            _ => return None,
        },
        Cut::Forge { step, plainer } => {
            let op = &mut step_mut(&mut plan, step)?.op;
            let Op::Forge(forge) = op else { return None };
            *op = match (forge.plainer().into_iter().nth(plainer), &*forge) {
                (Some(plainer), _) => Op::Forge(plainer),
                (None, Forge::Produce { to, records, .. }) => {
                    Op::Send { partition: *to, batches: vec![records.clone()] }
                }
                (None, _) => return None,
            };
        }
        Cut::Membership => {
            (plan.clients.iter_mut().filter_map(|client| client.consumer.as_mut()))
                .for_each(|consumer| (consumer.member, consumer.shared) = (false, false));
        }
        Cut::Schedule => plan.schedule = 0,
    }
    Some(plan.repaired())
}

fn cut_span(plan: &mut Plan, from: StepId, to: StepId) -> Option<()> {
    let client = plan.steps().find(|step| step.id == from)?.client;
    let mut inside = false;
    for round in &mut plan.rounds {
        round.steps.retain(|step| {
            if step.client != client {
                return true;
            }
            inside |= step.id == from;
            let cut = inside;
            inside &= step.id != to;
            !cut
        });
    }
    Some(())
}

fn retain(plan: &mut Plan, keep: impl Fn(StepId) -> bool) {
    for round in &mut plan.rounds {
        round.steps.retain(|step| keep(step.id));
    }
}

fn step_mut(plan: &mut Plan, id: StepId) -> Option<&mut crate::plan::Step> {
    (plan.rounds.iter_mut().flat_map(|round| &mut round.steps)).find(|step| step.id == id)
}

fn is_mere_transactor(client: &Client) -> bool {
    client.txn().is_some() && client.consumer.is_none()
}

fn is_loop(client: &Client) -> bool {
    client.txn().is_some() && client.consumer.is_some()
}

fn is_empty(round: &Round) -> bool {
    round.steps.is_empty() && round.faults.is_empty()
}

fn forged(plan: &Plan) -> impl Iterator<Item = (StepId, &Forge)> {
    plan.steps().filter_map(|step| match &step.op {
        Op::Forge(forge) => Some((step.id, forge)),
        _ => None,
    })
}

fn amount(op: &Op) -> u64 {
    match op {
        // Either is more than the send that it may become.
        Op::Forge(forge) => 3 + forge.records().len() as u64 + forge.oddity(),
        Op::Send { batches, .. } => batches.iter().map(|batch| 1 + batch.len() as u64).sum(),
        Op::Forward { .. } => 3,
        _ => 0,
    }
}

fn values(op: &Op, fate: Fate) -> u64 {
    let held = match fate {
        Fate::Held { rounds } => u64::from(rounds),
        _ => 0,
    };
    held + match op {
        Op::Send { partition, batches } => {
            let keys = batches.iter().flatten().map(|record| u64::from(record.key.0));
            u64::from(partition.0) + keys.sum::<u64>()
        }
        Op::Forward { to, limit, .. } => u64::from(to.0) + u64::from(*limit),
        Op::Forge(forge) => forge.partition().map_or(0, |partition| u64::from(partition.0)),
        Op::Poll { max } => u64::from(*max),
        _ => 0,
    }
}

/// How many clients read, members of their groups counted twice.
fn consumers(plan: &Plan) -> u64 {
    let consumers = plan.clients.iter().filter_map(|client| client.consumer.as_ref());
    consumers.map(|consumer| 1 + u64::from(consumer.member)).sum()
}
