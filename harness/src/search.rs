//! The search: many random cases at once, until enough were run or somebody says stop.
//!
//! A case is a function of its seed and the target, so on the in-memory target a seed is as good as a file: nothing is
//! written while cases run there, or writing would be most of the work. For real brokers each worker keeps the plan that
//! it is about to run in a slot of the output folder, so that not even a killed rig loses it.
//! Only failing cases are kept, and of each kind only the one with the lowest number: the result does not depend on which
//! worker was faster, and memory stays bounded.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use onceness_adapters::{Adapter, TargetError};
use onceness_properties::{Claim, Judgement, Violation};
use onceness_reference::features::Features;
use onceness_reference::generate;
use onceness_reference::history::{Event, History};
use onceness_reference::plan::{Fault, Plan};
use onceness_reference::profile::Profile;
use serde::Serialize;
use tokio::task::JoinSet;

use crate::coverage::Coverage;
use crate::deviations::{Deviant, Deviations};
use crate::firsts::{self, First};
use crate::folder::Slot;
use crate::gauge::Gauge;
use crate::missing::{CANDIDATES, Missing};
use crate::options::Options;
use crate::rig::Rig;
use crate::seeds::case_seed;
use crate::tally::Tally;
use crate::trial::{Kind, Trial, try_plan, violations};

/// Cases that run when a stop is asked for may go on for so long.
const GRACE: Duration = Duration::from_secs(10);

/// What a search found.
#[derive(Debug, Default)]
pub struct Searched {
    /// How often each property was put to the test.
    pub tally: Tally,
    /// What the cases came to, clause by clause and cell by cell.
    pub coverage: Coverage,
    /// How many cases were run and judged.
    pub cases: u64,
    /// How many cases failed.
    pub failing: u64,
    /// How often the broker was really struck, by fault.
    pub faults: BTreeMap<Fault, u64>,
    /// The failures, by kind.
    pub found: BTreeMap<Kind, First<Finding>>,
    /// What is not as it should be, whether or not it breaks a promise.
    pub deviations: Deviations,
    /// Which of what is accepted was met ([`crate::accept::Accepts::find`]), and in how many cases.
    pub accepted: BTreeMap<usize, u64>,
    /// How many cases the target did not answer in.
    pub silent: u64,
    /// What it was in the last of them.
    pub last_error: Option<TargetError>,
    /// Cases in which the rig itself broke.
    pub broke: BTreeMap<u64, Broken>,
    /// Why the search ended.
    pub ended: Ended,
}

/// A case that fails.
#[derive(Clone, Debug)]
pub struct Finding {
    /// Its own seed.
    pub seed: u64,
    /// The knobs that its plan was drawn by.
    pub profile: Profile,
    /// The plan as it was drawn.
    pub plan: Plan,
    /// What was seen.
    pub history: History,
    /// What is wrong with it.
    pub violation: Violation,
    /// The claims that it breaks.
    pub claims: Vec<Claim>,
}

/// A case in which the rig itself broke.
#[derive(Clone, Debug, Serialize)]
pub struct Broken {
    /// The case's seed.
    pub seed: u64,
    /// The panic's words.
    pub words: String,
}

/// Why a search ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Ended {
    /// All cases were run, or the time was up and no number of cases asked for.
    #[default]
    Complete,
    /// The time was up before all cases were run.
    TimeUp,
    /// A case failed, and that was to be the end.
    FailFast,
    /// Somebody asked to stop.
    Interrupted,
    /// The target stopped answering.
    TargetGone,
}

/// Runs random cases.
pub async fn search(adapter: &Arc<dyn Adapter>, options: &Options, rig: &Rig) -> Searched {
    let shared = Arc::new(Shared {
        adapter: Arc::clone(adapter),
        features: adapter.features(),
        options: options.clone(),
        gauge: Arc::clone(&rig.gauge),
        limit: options.cases.unwrap_or(u64::MAX),
        missing: options.until_covered.map(|times| Missing::of(adapter.features(), times)),
        next: AtomicU64::new(0),
        errors_in_row: AtomicUsize::new(0),
        halt: AtomicBool::new(false),
        gone: AtomicBool::new(false),
    });
    let chunk = chunk(&shared);
    let deadline = options.time.map(|time| Instant::now() + time);
    let room = tokio::select! {
        room = adapter.prepare(chunk as usize) => room,
        () = rig.stop.wait() => Ok(()),
    };
    if let Err(error) = room {
        return Searched {
            silent: 1,
            last_error: Some(error),
            ended: Ended::TargetGone,
            ..Searched::default()
        };
    }
    let mut workers = JoinSet::new();
    let mut parts = Vec::new();
    for worker in 0..options.jobs.max(1) {
        let part = Arc::new(Mutex::new(Searched::default()));
        parts.push(Arc::clone(&part));
        let folder = rig.folder.as_ref().filter(|_| !options.deterministic);
        let slot = folder.map(|folder| folder.slot(worker));
        workers.spawn(work(Arc::clone(&shared), part, slot));
    }
    let keeper = tokio::spawn(keep_stocked(Arc::clone(&shared)));
    let all_done = async { while workers.join_next().await.is_some() {} };
    let mut ended = None;
    tokio::select! {
        () = all_done => {}
        () = sleep_until(deadline) => ended = Some(match options.cases {
            Some(_) => Ended::TimeUp,
            None => Ended::Complete,
        }),
        () = rig.stop.wait() => ended = Some(Ended::Interrupted),
    }
    shared.halt.store(true, Ordering::SeqCst);
    keeper.abort();
    let finish = async { while workers.join_next().await.is_some() {} };
    if tokio::time::timeout(GRACE, finish).await.is_err() {
        workers.shutdown().await;
        // Given up because we were told to stop, not because of what they ran.
        if let (Some(folder), Some(_)) = (&rig.folder, ended) {
            folder.clear_slots();
        }
    }
    let mut searched = Searched::default();
    for part in parts {
        let mut part = part.lock().unwrap_or_else(PoisonError::into_inner);
        searched.merge(std::mem::take(&mut part));
    }
    searched.ended = match ended {
        // Whatever else ended it, a target that is gone is what people must know.
        _ if shared.gone.load(Ordering::SeqCst) => Ended::TargetGone,
        Some(Ended::TimeUp) if searched.cases + searched.silent >= shared.limit => Ended::Complete,
        Some(ended) => ended,
        None if rig.stop.asked() => Ended::Interrupted,
        None if options.fail_fast && searched.failing > 0 => Ended::FailFast,
        None => Ended::Complete,
    };
    searched
}

/// What the workers share.
struct Shared {
    adapter: Arc<dyn Adapter>,
    features: Features,
    options: Options,
    gauge: Arc<Gauge>,
    limit: u64,
    /// What is still to be reached, if that is when the run ends.
    missing: Option<Missing>,
    next: AtomicU64,
    errors_in_row: AtomicUsize,
    halt: AtomicBool,
    gone: AtomicBool,
}

impl Shared {
    fn halted(&self) -> bool {
        self.halt.load(Ordering::SeqCst)
    }

    /// A target is gone when every job failed once without a success between.
    fn note_error(&self) {
        self.gauge.went_silent();
        let errors = self.errors_in_row.fetch_add(1, Ordering::SeqCst) + 1;
        if errors >= self.options.jobs.max(3) {
            self.gone.store(true, Ordering::SeqCst);
            self.halt.store(true, Ordering::SeqCst);
        }
    }
}

async fn work(shared: Arc<Shared>, part: Arc<Mutex<Searched>>, mut slot: Option<Slot>) {
    // Numbers are handed out in order, so every case before the first failing one has been begun and will be finished.
    while !shared.halted() {
        let index = shared.next.fetch_add(1, Ordering::SeqCst);
        if index >= shared.limit {
            break;
        }
        let (seed, drawn) = draw(&shared, case_seed(shared.options.seed, index)).await;
        let Some((profile, plan)) = drawn else {
            let words = "its plan could not be drawn".to_owned();
            let mut part = part.lock().unwrap_or_else(PoisonError::into_inner);
            part.broke.insert(index, Broken { seed, words });
            continue;
        };
        if let Some(slot) = &mut slot {
            slot.keep(&plan);
        }
        let trial = try_plan(shared.adapter.as_ref(), &plan).await;
        {
            let mut part = part.lock().unwrap_or_else(PoisonError::into_inner);
            part.take(&shared, index, seed, profile, plan, trial);
        }
        // On the in-memory target nothing else ever waits, and signals and timers want to be served.
        tokio::task::yield_now().await;
    }
    if let Some(slot) = slot {
        slot.clear();
    }
}

/// A plan for a case, and its seed. Where cells are missing and cases are dear, the most promising of several.
async fn draw(shared: &Shared, seed: u64) -> (u64, Option<(Profile, Plan)>) {
    let features = shared.features;
    let plan = |seed| std::panic::catch_unwind(move || generate::plan(seed, features)).ok();
    let Some(missing) = shared.missing.as_ref().filter(|_| !shared.options.deterministic) else {
        return (seed, plan(seed));
    };
    let mut best = (seed, None);
    let mut promised = None;
    for candidate in 0..CANDIDATES {
        let seed = case_seed(seed, candidate);
        let Some(drawn) = plan(seed) else { return (seed, None) };
        let promises = missing.promised_by(&drawn.1).await;
        if promised.is_none_or(|promised| promises > promised) {
            (best, promised) = ((seed, Some(drawn)), Some(promises));
        }
    }
    best
}

impl Searched {
    fn take(
        &mut self,
        shared: &Shared,
        index: u64,
        seed: u64,
        profile: Profile,
        plan: Plan,
        trial: Trial,
    ) {
        match trial {
            Trial::Judged(history, judgements) => {
                shared.errors_in_row.store(0, Ordering::SeqCst);
                self.cases += 1;
                self.count_faults(&plan, &history);
                let failed = self.tally.add(&judgements, &shared.options);
                self.coverage.add(&history, &judgements, &shared.options);
                shared.gauge.judged(failed);
                self.failing += u64::from(failed);
                let findings = findings(&judgements, &shared.options, &mut self.accepted);
                for (kind, (violation, claims)) in findings {
                    firsts::add(&mut self.found, kind, index, || Finding {
                        seed,
                        profile: profile.clone(),
                        plan: plan.clone(),
                        history: history.clone(),
                        violation,
                        claims,
                    });
                }
                let claims = &shared.options.claims;
                self.deviations.add(&judgements, claims, index, |deviation| Deviant {
                    seed,
                    plan: plan.clone(),
                    history: history.clone(),
                    deviation,
                });
                let covered =
                    shared.missing.as_ref().is_some_and(|missing| missing.take(&judgements));
                if covered || failed && shared.options.fail_fast {
                    shared.halt.store(true, Ordering::SeqCst);
                }
            }
            Trial::NoAnswer(error) => {
                self.silent += 1;
                self.last_error = Some(error);
                shared.note_error();
            }
            Trial::Broke(words) => {
                self.broke.insert(index, Broken { seed, words });
            }
        }
    }

    fn count_faults(&mut self, plan: &Plan, history: &History) {
        if plan.faults().next().is_none() {
            return;
        }
        for event in &history.events {
            if let Event::Fault { fault, happened: true } = event {
                *self.faults.entry(*fault).or_default() += 1;
            }
        }
    }

    fn merge(&mut self, other: Searched) {
        self.tally.merge(&other.tally);
        self.coverage.merge(&other.coverage);
        self.cases += other.cases;
        self.failing += other.failing;
        self.silent += other.silent;
        self.last_error = self.last_error.take().or(other.last_error);
        self.broke.extend(other.broke);
        for (fault, times) in other.faults {
            *self.faults.entry(fault).or_default() += times;
        }
        for (accept, cases) in other.accepted {
            *self.accepted.entry(accept).or_default() += cases;
        }
        firsts::merge(&mut self.found, other.found);
        self.deviations.merge(other.deviations);
    }
}

/// The violations of one case by kind, each with the claims that it breaks. Accepted ones are only counted.
pub(crate) fn findings(
    judgements: &[Judgement],
    options: &Options,
    accepted: &mut BTreeMap<usize, u64>,
) -> BTreeMap<Kind, (Violation, Vec<Claim>)> {
    let mut findings: BTreeMap<Kind, (Violation, Vec<Claim>)> = BTreeMap::new();
    let mut met = BTreeSet::new();
    for (kind, claim, violation) in violations(judgements, &options.claims) {
        if let Some(accept) = options.accept.find(kind.property, claim, violation) {
            met.insert(accept);
            continue;
        }
        let (_, claims) = (findings.entry(kind)).or_insert_with(|| (violation.clone(), Vec::new()));
        if !claims.contains(&claim) {
            claims.push(claim);
        }
    }
    for accept in met {
        *accepted.entry(accept).or_default() += 1;
    }
    findings
}

async fn sleep_until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline.into()).await,
        None => std::future::pending().await,
    }
}

/// For how many cases room is made on the target at once.
fn chunk(shared: &Shared) -> u64 {
    (2 * shared.options.jobs as u64).clamp(16, 512).min(shared.limit)
}

/// Keeps room made ahead of the workers, so that they need not make their own one by one.
async fn keep_stocked(shared: Arc<Shared>) {
    let chunk = chunk(&shared);
    let mut stocked = chunk;
    while !shared.halted() && stocked < shared.limit {
        let taken = shared.next.load(Ordering::SeqCst);
        if stocked >= taken.saturating_add(shared.options.jobs as u64) {
            tokio::time::sleep(Duration::from_millis(5)).await;
            continue;
        }
        let more = chunk.min(shared.limit - stocked);
        if shared.adapter.prepare(more as usize).await.is_err() {
            // The workers meet the same trouble and tell it.
            return;
        }
        stocked += more;
    }
}
