//! Shrinking: the smallest plan near a failing one that still breaks the same property.
//!
//! Many candidates run at once, on the bet that most fail to fail; the earliest one that does wins, whatever finished
//! first, so on a deterministic target the result does not depend on how many run at once. After a success the search goes
//! on at the same place of the new plan's candidates and comes around to the first: cuts that were tried before and did
//! not help seldom help now. Candidates that were tried before are not tried again.

use std::collections::{HashSet, VecDeque};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::Arc;
use std::time::Instant;

use futures::StreamExt as _;
use onceness_adapters::Adapter;
use onceness_properties::Violation;
use onceness_reference::history::History;
use onceness_reference::plan::Plan;
use onceness_reference::smaller::smaller;
use onceness_reference::text::plan_to_json;
use serde::Serialize;
use tokio::task::JoinHandle;

use crate::gauge::Phase;
use crate::options::{Claims, Confirm, Options};
use crate::rig::Rig;
use crate::trial::{Kind, Trial, try_plan, violations};

/// A plan that fails, and how.
#[derive(Clone, Debug)]
pub struct Failing {
    /// The plan.
    pub plan: Plan,
    /// What was seen when it failed.
    pub history: History,
    /// What is wrong with that.
    pub violation: Violation,
}

/// What shrinking came to.
#[derive(Clone, Debug)]
pub struct Shrunk {
    /// The smallest plan found that fails, or the original.
    pub smallest: Failing,
    /// How many candidates were tried.
    pub tries: u64,
    /// Why it ended.
    pub ended: ShrinkEnded,
    /// In how many of `runs` runs the smallest plan failed, tried again in the end.
    pub hits: u32,
    /// See `hits`.
    pub runs: u32,
}

/// Why shrinking ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ShrinkEnded {
    /// It did not fail again, so there is nothing to hold smaller plans against.
    Unrepeatable,
    /// No single cut makes it smaller and keeps it failing.
    Minimal,
    /// Tries or time were used up.
    BudgetSpent,
    /// Somebody asked to stop.
    Interrupted,
    /// The target stopped answering.
    TargetGone,
}

/// Makes a failing plan smaller.
pub async fn shrink(
    adapter: &Arc<dyn Adapter>,
    failing: Failing,
    kind: Kind,
    options: &Options,
    rig: &Rig,
) -> Shrunk {
    let goal = Goal {
        adapter: Arc::clone(adapter),
        kind,
        claims: options.claims.clone(),
        confirm: options.shrink.confirm,
    };
    let mut shrinking = Shrinking {
        goal,
        options,
        rig,
        deadline: Instant::now() + options.shrink.time_max,
        best: failing,
        tries: 0,
        tried: HashSet::new(),
        room: 0,
        silent: 0,
    };
    let ended = shrinking.run().await;
    let (hits, runs) = shrinking.measure(u32::MAX).await;
    Shrunk { smallest: shrinking.best, tries: shrinking.tries, ended, hits, runs }
}

/// What a candidate must do to count.
#[derive(Clone)]
struct Goal {
    adapter: Arc<dyn Adapter>,
    kind: Kind,
    claims: Claims,
    confirm: Confirm,
}

/// What became of a candidate.
enum Candidate {
    Fails(Box<(History, Violation)>),
    Passes,
    NoAnswer,
}

struct Shrinking<'a> {
    goal: Goal,
    options: &'a Options,
    rig: &'a Rig,
    deadline: Instant,
    best: Failing,
    tries: u64,
    /// Hashes of the plans that did not fail.
    tried: HashSet<u64>,
    /// For how many runs the target has room.
    room: usize,
    /// Candidates in a row without an answer.
    silent: usize,
}

impl Shrinking<'_> {
    async fn run(&mut self) -> ShrinkEnded {
        if self.options.shrink.tries_max == 0 {
            return ShrinkEnded::BudgetSpent;
        }
        self.show();
        // One failure is enough to go on.
        if !self.options.deterministic
            && self.measure(1).await == (0, self.options.shrink.final_runs)
        {
            return ShrinkEnded::Unrepeatable;
        }
        let mut from = 0;
        loop {
            self.show();
            match self.pass(from).await {
                Pass::Smaller(place) => from = place,
                Pass::End(ended) => return ended,
            }
        }
    }

    /// One way around the candidates of the best plan, until one fails.
    async fn pass(&mut self, from: usize) -> Pass {
        let plan = self.best.plan.clone();
        let around =
            (smaller(&plan).enumerate().skip(from)).chain(smaller(&plan).enumerate().take(from));
        let mut candidates = around.filter(|(_, plan)| !self.tried.contains(&hash(plan)));
        let mut candidates_left = true;
        let mut running: VecDeque<(usize, Plan, JoinHandle<Candidate>)> = VecDeque::new();
        // Borrowed out of `self`, which the loop changes; the filter above keeps its own view, and a plan tried in this
        // very pass does not come again in it.
        let mut fresh: Vec<u64> = Vec::new();
        let mut tries = self.tries;
        let mut silent = self.silent;
        let mut room = self.room;
        let at_once = self.at_once(&plan);
        let end = loop {
            while candidates_left && running.len() < at_once {
                let Some((place, plan)) = candidates.next() else {
                    candidates_left = false;
                    break;
                };
                let runs = self.goal.confirm.runs as usize;
                if room < runs {
                    room = at_once * runs;
                    // If it cannot be made ahead, each run makes its own, or tells why not.
                    let _ = self.goal.adapter.prepare(room).await;
                }
                room -= runs;
                let (goal, candidate) = (self.goal.clone(), plan.clone());
                let run = tokio::spawn(async move { goal.try_candidate(&candidate).await });
                running.push_back((place, plan, run));
            }
            let Some((place, plan, mut run)) = running.pop_front() else {
                break Pass::End(ShrinkEnded::Minimal);
            };
            if tries >= self.options.shrink.tries_max {
                running.push_front((place, plan, run));
                break Pass::End(ShrinkEnded::BudgetSpent);
            }
            let result = tokio::select! {
                result = &mut run => result.unwrap_or(Candidate::NoAnswer),
                () = tokio::time::sleep_until(self.deadline.into()) => {
                    running.push_front((place, plan, run));
                    break Pass::End(ShrinkEnded::BudgetSpent);
                }
                () = self.rig.stop.wait() => {
                    running.push_front((place, plan, run));
                    break Pass::End(ShrinkEnded::Interrupted);
                }
            };
            tries += 1;
            match result {
                Candidate::Fails(seen) => {
                    let (history, violation) = *seen;
                    self.best = Failing { plan, history, violation };
                    silent = 0;
                    break Pass::Smaller(place);
                }
                Candidate::Passes => {
                    silent = 0;
                    fresh.push(hash(&plan));
                }
                Candidate::NoAnswer => {
                    silent += 1;
                    if silent >= self.options.jobs.max(3) {
                        break Pass::End(ShrinkEnded::TargetGone);
                    }
                }
            }
        };
        drop(candidates);
        for (_, _, run) in running {
            run.abort();
        }
        self.tried.extend(fresh);
        (self.tries, self.silent, self.room) = (tries, silent, room);
        end
    }

    /// How many candidates are tried at once. Where faults take seconds they come one after the other anyway, and one that is
    /// given up leaves the next to wait for the broker.
    fn at_once(&self, plan: &Plan) -> usize {
        let dear = self.goal.adapter.features().dear && plan.faults().next().is_some();
        if dear { 1 } else { self.options.jobs.max(1) }
    }

    /// How surely the best plan fails: in so many of so many runs, many at once, until it failed often enough.
    async fn measure(&mut self, enough: u32) -> (u32, u32) {
        let once = Goal { confirm: Confirm::ONCE, ..self.goal.clone() };
        let plan = Arc::new(self.best.plan.clone());
        let mut results = futures::stream::iter(0..self.options.shrink.final_runs)
            .map(|_| {
                let (once, plan) = (once.clone(), Arc::clone(&plan));
                tokio::spawn(async move { once.try_candidate(&plan).await })
            })
            .buffer_unordered(self.options.jobs.max(1));
        let (mut hits, mut runs) = (0, 0);
        loop {
            let result = tokio::select! {
                result = results.next() => result,
                () = self.rig.stop.wait() => None,
            };
            match result {
                Some(Ok(Candidate::Fails(_))) => {
                    (hits, runs) = (hits + 1, runs + 1);
                    if hits >= enough {
                        return (hits, runs);
                    }
                }
                Some(Ok(Candidate::Passes)) => runs += 1,
                Some(_) => {}
                None => return (hits, runs),
            }
        }
    }

    fn show(&self) {
        self.rig.gauge.enter(Phase::Shrinking {
            what: self.goal.kind.to_string(),
            steps: self.best.plan.size(),
            tries: self.tries,
        });
    }
}

/// How a way around the candidates ended.
enum Pass {
    /// A candidate at this place fails.
    Smaller(usize),
    End(ShrinkEnded),
}

impl Goal {
    async fn try_candidate(&self, plan: &Plan) -> Candidate {
        let mut seen = None;
        let mut hits = 0;
        for run in 0..self.confirm.runs {
            match try_plan(self.adapter.as_ref(), plan).await {
                Trial::Judged(history, judgements) => {
                    let same = violations(&judgements, &self.claims)
                        .find(|(kind, _, _)| *kind == self.kind)
                        .map(|(_, _, violation)| violation.clone());
                    if let Some(violation) = same {
                        hits += 1;
                        seen = Some((history, violation));
                    }
                }
                Trial::NoAnswer(_) => return Candidate::NoAnswer,
                // A plan that breaks the rig is no smaller form of one that breaks the target.
                Trial::Broke(_) => return Candidate::Passes,
            }
            let left = self.confirm.runs - run - 1;
            if hits >= self.confirm.hits || hits + left < self.confirm.hits {
                break;
            }
        }
        match seen {
            Some(seen) if hits >= self.confirm.hits => Candidate::Fails(Box::new(seen)),
            _ => Candidate::Passes,
        }
    }
}

fn hash(plan: &Plan) -> u64 {
    let mut hasher = DefaultHasher::new();
    plan_to_json(plan).hash(&mut hasher);
    hasher.finish()
}
