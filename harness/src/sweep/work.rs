//! Many cells at once, until all were run or somebody says stop. Cells that hurt a real broker run alone, after the others.
//!
//! A cell is tried some times, each with another schedule, until its mishap strikes where it is meant to: half-written
//! markers are a matter of luck.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use onceness_adapters::Adapter;
use onceness_properties::{Claim, Judgement, Verdict, Violation};
use onceness_reference::history::History;
use onceness_reference::plan::Plan;
use tokio::task::JoinSet;

use super::observe::{Visit, aftermath, is_drained, visit};
use super::points::is_loop;
use super::{Address, Cell, Job, Mark};
use crate::firsts::{self, First};
use crate::folder::Slot;
use crate::options::Options;
use crate::rig::Rig;
use crate::search::{Ended, findings};
use crate::trial::{Kind, Trial, try_plan, violations};

/// How often a cell is tried until its mishap strikes.
const ATTEMPTS: u64 = 64;

/// Runs that are under way when a stop is asked for may go on for so long.
const GRACE: Duration = Duration::from_secs(10);

/// What became of the cells.
#[derive(Default)]
pub(crate) struct Done {
    /// What came of each cell that was run.
    pub(crate) cells: Vec<(Address, Cell)>,
    /// The plans of the violated ones, in order.
    pub(crate) violated: Vec<(Address, Plan)>,
    /// The failures, by kind, each as the first cell showed it.
    pub(crate) found: BTreeMap<Kind, First<Found>>,
    /// What of all that is accepted was met, and in how many cells.
    pub(crate) accepted: BTreeMap<usize, u64>,
    /// Why it ended.
    pub(crate) ended: Ended,
}

/// A cell that fails.
pub(crate) struct Found {
    pub(crate) plan: Plan,
    pub(crate) history: History,
    pub(crate) violation: Violation,
    pub(crate) claims: Vec<Claim>,
}

/// Runs all cells.
pub(super) async fn work(
    adapter: &Arc<dyn Adapter>,
    jobs: Vec<Job>,
    options: &Options,
    rig: &Rig,
) -> Done {
    let hurts = |job: &Job| {
        !options.deterministic
            && job.struck.plan.rounds.iter().any(|round| !round.faults.is_empty())
    };
    let (alone, together): (Vec<_>, Vec<_>) =
        jobs.into_iter().enumerate().partition(|(_, job)| hurts(job));
    let shared = Arc::new(Shared {
        adapter: Arc::clone(adapter),
        options: options.clone(),
        rig: rig.clone(),
        done: Mutex::default(),
        errors_in_row: AtomicUsize::new(0),
        halt: AtomicBool::new(false),
        gone: AtomicBool::new(false),
    });
    for (jobs, workers) in [(together, options.jobs.max(1)), (alone, 1)] {
        if !shared.halted() && !rig.stop.asked() {
            run(&shared, jobs, workers).await;
        }
    }
    let mut done = shared.done.lock().unwrap_or_else(PoisonError::into_inner);
    let mut done = std::mem::take(&mut *done);
    done.cells.sort_by_key(|(address, _)| *address);
    done.violated.sort_by_key(|(address, _)| *address);
    done.ended = if shared.gone.load(Ordering::SeqCst) {
        Ended::TargetGone
    } else if rig.stop.asked() {
        Ended::Interrupted
    } else if shared.halted() {
        Ended::FailFast
    } else {
        Ended::Complete
    };
    done
}

async fn run(shared: &Arc<Shared>, jobs: Vec<(usize, Job)>, workers: usize) {
    let workers = workers.min(jobs.len());
    let jobs = Arc::new(jobs);
    let next = Arc::new(AtomicUsize::new(0));
    let mut running = JoinSet::new();
    let folder = shared.rig.folder.as_ref().filter(|_| !shared.options.deterministic);
    for worker in 0..workers {
        let slot = folder.map(|folder| folder.slot(worker));
        running.spawn(one_after_another(
            Arc::clone(shared),
            Arc::clone(&jobs),
            Arc::clone(&next),
            slot,
        ));
    }
    tokio::select! {
        () = async { while running.join_next().await.is_some() {} } => return,
        () = shared.rig.stop.wait() => shared.halt.store(true, Ordering::SeqCst),
    }
    let finish = async { while running.join_next().await.is_some() {} };
    if tokio::time::timeout(GRACE, finish).await.is_err() {
        running.shutdown().await;
    }
}

async fn one_after_another(
    shared: Arc<Shared>,
    jobs: Arc<Vec<(usize, Job)>>,
    next: Arc<AtomicUsize>,
    mut slot: Option<Slot>,
) {
    while !shared.halted() {
        let Some((index, job)) = jobs.get(next.fetch_add(1, Ordering::SeqCst)) else { break };
        let tried = shared.cell(job, slot.as_mut()).await;
        shared.note(*index, job, tried);
        // On the in-memory target nothing else ever waits, and signals and timers want to be served.
        tokio::task::yield_now().await;
    }
    if let Some(slot) = slot {
        slot.clear();
    }
}

/// What the workers share.
struct Shared {
    adapter: Arc<dyn Adapter>,
    options: Options,
    rig: Rig,
    done: Mutex<Done>,
    errors_in_row: AtomicUsize,
    halt: AtomicBool,
    gone: AtomicBool,
}

/// A cell, and the run that decided it.
struct Tried {
    cell: Cell,
    run: Option<(Plan, History, Vec<Judgement>)>,
}

impl Shared {
    fn halted(&self) -> bool {
        self.halt.load(Ordering::SeqCst)
    }

    /// Runs a cell until its mishap strikes or something is violated.
    async fn cell(&self, job: &Job, mut slot: Option<&mut Slot>) -> Tried {
        let mut tried = Tried { cell: Cell::of(Mark::NotRun), run: None };
        for attempt in 0..ATTEMPTS {
            if attempt > 0 && self.halted() {
                break;
            }
            let mut plan = job.struck.plan.clone();
            plan.schedule = plan.schedule.wrapping_add(attempt);
            if let Some(slot) = &mut slot {
                slot.keep(&plan);
            }
            tried = self.once(job, plan).await;
            let decided = !matches!(tried.cell.mark, Mark::Untested(_));
            if decided || tried.cell.visit != Visit::No {
                break;
            }
        }
        tried
    }

    async fn once(&self, job: &Job, plan: Plan) -> Tried {
        match try_plan(self.adapter.as_ref(), &plan).await {
            Trial::Judged(history, judgements) => {
                let cell = self.judge(job, &history, &judgements);
                Tried { cell, run: Some((plan, history, judgements)) }
            }
            Trial::NoAnswer(error) => {
                Tried { cell: Cell::of(Mark::NoAnswer(error.to_string())), run: None }
            }
            Trial::Broke(words) => Tried { cell: Cell::of(Mark::Broke(words)), run: None },
        }
    }

    fn judge(&self, job: &Job, history: &History, judgements: &[Judgement]) -> Cell {
        let Job { boundary, mishap, struck, .. } = job;
        let visit = visit(history, boundary, *mishap, struck, self.options.deterministic);
        let mut broken: Vec<Kind> = Vec::new();
        let mut accepted = false;
        for (kind, claim, violation) in violations(judgements, &self.options.claims) {
            match self.options.accept.find(kind.property, claim, violation) {
                Some(_) => accepted = true,
                None if !broken.contains(&kind) => broken.push(kind),
                None => {}
            }
        }
        let mark = if !broken.is_empty() {
            Mark::Violated(broken)
        } else if visit == Visit::No {
            Mark::Untested("the mishap did not happen there")
        } else if accepted {
            Mark::Accepted
        } else {
            self.tested(&struck.plan, history, judgements)
        };
        Cell { mark, visit, aftermath: aftermath(history, boundary, struck), replay: None }
    }

    /// Whether a run in which nothing is wrong proves anything.
    fn tested(&self, plan: &Plan, history: &History, judgements: &[Judgement]) -> Mark {
        let held = |claim: Option<Claim>, property: Option<&str>| {
            judgements.iter().any(|one| {
                self.options.claims.has(one.claim)
                    && claim.is_none_or(|claim| one.claim == claim)
                    && property.is_none_or(|property| one.property.name == property)
                    && matches!(one.verdict, Verdict::Holds { times: 1.. })
            })
        };
        let loops = plan.clients.iter().any(is_loop) && self.options.claims.has(Claim::ExactlyOnce);
        if loops && !held(Some(Claim::ExactlyOnce), Some("exactly-once")) {
            Mark::Untested("no input was accounted for")
        } else if loops && !is_drained(history) {
            Mark::Untested("some inputs were left")
        } else if !held(None, None) {
            Mark::Untested("no promise was put to the test")
        } else {
            Mark::Holds
        }
    }

    fn note(&self, index: usize, job: &Job, tried: Tried) {
        let index = index as u64;
        let violated = matches!(tried.cell.mark, Mark::Violated(_));
        match &tried.cell.mark {
            Mark::NoAnswer(_) => self.note_error(),
            _ => self.errors_in_row.store(0, Ordering::SeqCst),
        }
        self.rig.gauge.judged(violated);
        let mut done = self.done.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((plan, history, judgements)) = tried.run {
            if violated {
                done.violated.push((job.address, plan.clone()));
            }
            done.take(index, &plan, &history, &judgements, &self.options);
        }
        done.cells.push((job.address, tried.cell));
        if violated && self.options.fail_fast {
            self.halt.store(true, Ordering::SeqCst);
        }
    }

    /// A target is gone when every job failed once without a success between.
    fn note_error(&self) {
        self.rig.gauge.went_silent();
        let errors = self.errors_in_row.fetch_add(1, Ordering::SeqCst) + 1;
        if errors >= self.options.jobs.max(3) {
            self.gone.store(true, Ordering::SeqCst);
            self.halt.store(true, Ordering::SeqCst);
        }
    }
}

impl Done {
    fn take(
        &mut self,
        index: u64,
        plan: &Plan,
        history: &History,
        judgements: &[Judgement],
        options: &Options,
    ) {
        let kinds = findings(judgements, options, &mut self.accepted);
        for (kind, (violation, claims)) in kinds {
            firsts::add(&mut self.found, kind, index, || Found {
                plan: plan.clone(),
                history: history.clone(),
                violation,
                claims,
            });
        }
    }
}
