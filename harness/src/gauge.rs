//! What a run shows of itself while it works. The rig writes it, reporters look at it when they like.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// Counters that may be read at any time.
#[derive(Debug, Default)]
pub struct Gauge {
    cases: AtomicU64,
    failing: AtomicU64,
    silent: AtomicU64,
    phase: Mutex<Phase>,
    whole: Option<Arc<Gauge>>,
}

/// What a run is doing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Phase {
    /// Running random cases.
    #[default]
    Searching,
    /// Making a failure smaller.
    Shrinking {
        /// Which.
        what: String,
        /// How many steps the smallest plan has that still fails.
        steps: usize,
        /// How many candidates were tried.
        tries: u64,
    },
    /// Timing what guarantees cost.
    Pricing {
        /// The round that is under way, warm-up included; zero while clients are opened.
        round: u64,
        /// Until the time is up.
        left: std::time::Duration,
    },
    /// Testing the suite itself.
    SelfTesting {
        /// How many searches are done.
        done: u64,
        /// Of how many.
        of: u64,
    },
    /// Removing what the cases left on the target.
    Cleaning,
}

impl Gauge {
    /// For one of several runs at once: its cases count for the whole as well, its phase is its own.
    pub(crate) fn part_of(whole: &Arc<Gauge>) -> Gauge {
        Gauge { whole: Some(Arc::clone(whole)), ..Gauge::default() }
    }

    /// How many cases were run and judged.
    pub fn cases(&self) -> u64 {
        self.cases.load(Ordering::Relaxed)
    }

    /// How many of them fail.
    pub fn failing(&self) -> u64 {
        self.failing.load(Ordering::Relaxed)
    }

    /// How many cases the target did not answer in.
    pub fn silent(&self) -> u64 {
        self.silent.load(Ordering::Relaxed)
    }

    /// What the run is doing.
    pub fn phase(&self) -> Phase {
        let phase = self.phase.lock().unwrap_or_else(PoisonError::into_inner);
        phase.clone()
    }

    pub(crate) fn judged(&self, failed: bool) {
        self.cases.fetch_add(1, Ordering::Relaxed);
        self.failing.fetch_add(u64::from(failed), Ordering::Relaxed);
        if let Some(whole) = &self.whole {
            whole.judged(failed);
        }
    }

    pub(crate) fn went_silent(&self) {
        self.silent.fetch_add(1, Ordering::Relaxed);
        if let Some(whole) = &self.whole {
            whole.went_silent();
        }
    }

    pub(crate) fn enter(&self, phase: Phase) {
        *self.phase.lock().unwrap_or_else(PoisonError::into_inner) = phase;
    }
}
