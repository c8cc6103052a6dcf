//! The suite against its own zoo: how soon each seeded defect is found, by what, and how small it becomes; and that no
//! correct broker is accused.
//!
//! As many brokers are tested at once as there are cores, each by one search after another and one case at a time. So
//! what a defect needed is a number of cases that the same seed gives again, whatever else runs, and `--only` says of a
//! defect what a whole run says of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use futures::future::{join, join_all};
use onceness_properties::PROPERTIES;
use onceness_reference::defects::Defect;
use onceness_reference::rules::Rules;
use tokio::sync::Semaphore;

use crate::exit::Exit;
use crate::gauge::{Gauge, Phase};
use crate::options::{Claims, Confirm, Options, Shrinking};
use crate::rig::Rig;
use crate::seeds::case_seed;
use crate::weakness::WEAKNESSES;

mod correct;
mod detection;

pub use correct::Correct;
pub use detection::{Detection, FoundBy, Hit, Needed, Smallest, Standing};

/// A plan on the embedded broker takes well under a millisecond: this is never reached, and the same seed gives the same
/// smallest plan.
const SHRINK_TIME: Duration = Duration::from_secs(120);
const SHRINK_TRIES: u64 = 20_000;

/// What is asked for.
#[derive(Clone, Debug)]
pub struct SelfTestOptions {
    /// Draws all cases of all searches.
    pub seed: u64,
    /// Which defects are to be found.
    pub defects: Vec<&'static Defect>,
    /// Which are named and not searched for, because nothing would find them ([`unsearched`]).
    pub left_out: Vec<&'static Defect>,
    /// How many searches each of them gets, every one with cases of its own.
    pub repeats: u64,
    /// A search that found nothing in so many cases has missed the defect.
    pub cases: u64,
    /// How many cases the correct brokers get, all of them together. Zero: they are left out.
    pub correct_cases: u64,
    /// How many brokers are tested at once.
    pub jobs: usize,
}

/// What it came to.
#[derive(Debug)]
pub struct SelfTest {
    /// What was asked for.
    pub options: SelfTestOptions,
    /// The defects, in the order of the catalogue.
    pub detections: Vec<Detection>,
    /// The correct brokers, each kind that is permitted.
    pub correct: Vec<Correct>,
    /// How long all of it took.
    pub seconds: f64,
}

/// What is missing before a search could find that defect, if something is.
pub fn unsearched(defect: &Defect) -> Option<&'static str> {
    let owner = defect.breaks.first();
    match defect.needs {
        None if !PROPERTIES.iter().any(|property| owner == Some(&property.name)) => {
            Some("a property that judges what requests are answered")
        }
        needs => needs,
    }
}

/// Runs the suite against brokers that are wrong in exactly one way, and against all that are right.
pub async fn selftest(options: &SelfTestOptions, rig: &Rig) -> SelfTest {
    let started = Instant::now();
    let permitted = match options.correct_cases {
        0 => Vec::new(),
        _ => Rules::permitted(),
    };
    let searches = options.defects.len() as u64 * options.repeats + permitted.len() as u64;
    let done = Done { gauge: &rig.gauge, done: AtomicU64::new(0), of: searches };
    done.show(0);
    let places = Semaphore::new(options.jobs.max(1));
    let (places, done) = (&places, &done);
    let detections = options.defects.iter().map(|defect| async move {
        let _place = places.acquire().await;
        detection::detect(defect, options, rig, done).await
    });
    let brokers = permitted.len() as u64;
    let correct = permitted.into_iter().zip(0..).map(|(broker, number)| async move {
        let _place = places.acquire().await;
        // The first ones take what cannot be divided.
        let remainder = u64::from(number < options.correct_cases % brokers);
        let cases = options.correct_cases / brokers + remainder;
        let searching = searching(search_seed(options.seed, number), cases);
        let correct = correct::suspect(broker, &searching, rig).await;
        done.one_more();
        correct
    });
    let (detections, correct) = join(join_all(detections), join_all(correct)).await;
    let seconds = started.elapsed().as_secs_f64();
    SelfTest { options: options.clone(), detections, correct, seconds }
}

impl SelfTest {
    /// What the process says. A defect that was missed or a correct broker that was accused outweighs all else.
    pub fn exit(&self) -> Exit {
        let missed = self.detections.iter().any(|one| one.standing() == Standing::Missed);
        let accused = self.correct.iter().any(|one| !one.accusations.is_empty());
        if missed || accused {
            Exit::Violated
        } else if self.troubles().next().is_some() {
            Exit::Internal
        } else if self.is_cut_short() {
            Exit::Inconclusive
        } else {
            Exit::Holds
        }
    }

    /// Whether something was left undone, because somebody asked to stop.
    pub fn is_cut_short(&self) -> bool {
        self.detections.iter().any(|one| one.unfinished > 0 || one.is_unshrunk())
            || self.correct.iter().any(|one| !one.finished)
    }

    /// What broke of the rig itself. The embedded broker always answers, so one that did not is a bug of ours as well.
    pub fn troubles(&self) -> impl Iterator<Item = &str> {
        let of_defects = self.detections.iter().flat_map(|one| &one.troubles);
        let of_correct = self.correct.iter().flat_map(|one| &one.troubles);
        of_defects.chain(of_correct).map(String::as_str)
    }
}

/// How many searches are done, for whoever watches.
struct Done<'a> {
    gauge: &'a Gauge,
    done: AtomicU64,
    of: u64,
}

impl Done<'_> {
    fn one_more(&self) {
        self.show(self.done.fetch_add(1, Ordering::Relaxed) + 1);
    }

    fn show(&self, done: u64) {
        self.gauge.enter(Phase::SelfTesting { done, of: self.of });
    }
}

/// The surroundings of one search: it stops with all others, and is watched as a part of them.
fn own_rig(rig: &Rig) -> Rig {
    let gauge = Arc::new(Gauge::part_of(&rig.gauge));
    Rig { stop: rig.stop.clone(), gauge, ..Rig::default() }
}

/// The seed of the search of that number; the first is the run's own. Far apart: the seeds of neighbours are those of one
/// search's cases, and searches are to share none.
fn search_seed(run: u64, number: u64) -> u64 {
    case_seed(run, number << 32)
}

/// One search on an embedded broker. The protocol's own weaknesses are accepted, for every broker that follows it has them.
fn searching(seed: u64, cases: u64) -> Options {
    Options {
        target: "memory".to_owned(),
        deterministic: true,
        seed,
        cases: Some(cases),
        time: None,
        until_covered: None,
        jobs: 1,
        claims: Claims::all(),
        accept: WEAKNESSES.iter().map(|weakness| weakness.id).collect(),
        deny_stale: false,
        fail_fast: false,
        shrink: Shrinking {
            tries_max: SHRINK_TRIES,
            time_max: SHRINK_TIME,
            confirm: Confirm::ONCE,
            final_runs: 1,
        },
    }
}

#[cfg(test)]
pub(crate) mod tests;
