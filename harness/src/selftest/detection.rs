//! One defect: how many cases its searches needed, what it was found by, and how small the first find becomes.

use std::sync::Arc;
use std::time::Instant;

use onceness_adapters::Adapter;
use onceness_adapters::memory::Memory;
use onceness_properties::Claim;
use onceness_reference::defects::Defect;

use crate::options::Options;
use crate::rig::Rig;
use crate::search::{Ended, Finding, Searched, search};
use crate::shrink::{Failing, ShrinkEnded, shrink};
use crate::target::Target;
use crate::trial::Kind;

use super::{Done, SelfTestOptions, own_rig, search_seed, searching};

/// What became of a defect.
#[derive(Debug)]
pub struct Detection {
    /// Which.
    pub defect: &'static Defect,
    /// The searches that found it.
    pub hits: Vec<Hit>,
    /// How many searches spent all their cases and did not.
    pub missed: u64,
    /// How many were begun and not ended, or not begun.
    pub unfinished: u64,
    /// What the first find shrinks to.
    pub smallest: Option<Smallest>,
    /// What broke of the rig itself.
    pub troubles: Vec<String>,
    /// How long it took, shrinking included.
    pub seconds: f64,
}

/// A search that found its defect.
#[derive(Clone, Debug)]
pub struct Hit {
    /// The seed of the search: `onceness certify memory:DEFECT --seed SEED` has the same cases.
    pub seed: u64,
    /// How many cases it took, the failing one included.
    pub cases: u64,
    /// What the failing case breaks: of several properties, the one that the catalogue names first.
    pub kind: Kind,
    /// For which claims.
    pub claims: Vec<Claim>,
}

/// What the first find shrinks to.
#[derive(Clone, Copy, Debug)]
pub struct Smallest {
    /// How many steps its plan had.
    pub steps_original: usize,
    /// How many are left.
    pub steps: usize,
    /// How many candidates it took.
    pub tries: u64,
}

/// What is to be said of a defect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Every search found it.
    Found,
    /// A search did not.
    Missed,
    /// Not all searches were run; those that were found it.
    Unfinished,
}

/// How many cases it takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Needed {
    /// So many.
    Cases(u64),
    /// More than a search had.
    More,
}

/// A property by which a defect was found.
#[derive(Debug, PartialEq, Eq)]
pub struct FoundBy {
    /// Which.
    pub property: &'static str,
    /// For which claims, in whichever search.
    pub claims: Vec<Claim>,
    /// By how many searches.
    pub searches: u64,
}

pub(super) async fn detect(
    defect: &'static Defect,
    options: &SelfTestOptions,
    rig: &Rig,
    done: &Done<'_>,
) -> Detection {
    let started = Instant::now();
    let target = Target::Memory(Some(defect)).to_string();
    let memory = Memory::new(defect.rules(), target.clone()).driven_by(defect.client());
    let adapter: Arc<dyn Adapter> = Arc::new(memory);
    let mut detection = Detection {
        defect,
        hits: Vec::new(),
        missed: 0,
        unfinished: options.repeats,
        smallest: None,
        troubles: Vec::new(),
        seconds: 0.0,
    };
    let rig = own_rig(rig);
    for repeat in 0..options.repeats {
        if rig.stop.asked() {
            break;
        }
        let searching = Options {
            target: target.clone(),
            fail_fast: true,
            ..searching(search_seed(options.seed, repeat), options.cases)
        };
        let searched = search(&adapter, &searching, &rig).await;
        let found = detection.take(searching.seed, searched);
        if let (Some((kind, found)), None) = (found, detection.smallest) {
            detection.smallest = smallest(&adapter, kind, found, &searching, &rig).await;
        }
        done.one_more();
    }
    detection.seconds = started.elapsed().as_secs_f64();
    detection
}

impl Detection {
    /// Counts a search. What it found, if it did.
    fn take(&mut self, seed: u64, searched: Searched) -> Option<(Kind, Finding)> {
        let broke = searched.broke.values().map(|one| format!("seed {}: {}", one.seed, one.words));
        let troubles = broke.chain(searched.last_error.map(|error| error.to_string()));
        self.troubles
            .extend(troubles.map(|trouble| format!("memory:{}: {trouble}", self.defect.name)));
        let breaks = self.defect.breaks;
        let rank = |kind: &Kind| {
            let place = breaks.iter().position(|property| *property == kind.property);
            (place.unwrap_or(breaks.len()), *kind)
        };
        let first = searched.found.into_iter().min_by_key(|(kind, _)| rank(kind));
        match &first {
            Some((kind, found)) => self.hits.push(Hit {
                seed,
                cases: found.index + 1,
                kind: *kind,
                claims: found.example.claims.clone(),
            }),
            None if searched.ended == Ended::Complete => self.missed += 1,
            None => return None,
        }
        self.unfinished -= 1;
        first.map(|(kind, found)| (kind, found.example))
    }

    /// What is to be said of it.
    pub fn standing(&self) -> Standing {
        match (self.missed, self.unfinished) {
            (1.., _) => Standing::Missed,
            (0, 1..) => Standing::Unfinished,
            (0, 0) => Standing::Found,
        }
    }

    /// Whether there is a find that nobody had the time to make smaller.
    pub(super) fn is_unshrunk(&self) -> bool {
        !self.hits.is_empty() && self.smallest.is_none()
    }

    /// How many cases half of the searches that ended needed at most.
    pub fn median(&self) -> Option<Needed> {
        let all = self.needed();
        all.get(all.len().div_ceil(2).checked_sub(1)?).copied()
    }

    /// How many cases the slowest of them needed.
    pub fn worst(&self) -> Option<Needed> {
        self.needed().last().copied()
    }

    fn needed(&self) -> Vec<Needed> {
        let mut all: Vec<Needed> = self.hits.iter().map(|hit| Needed::Cases(hit.cases)).collect();
        all.sort_unstable();
        all.extend((0..self.missed).map(|_| Needed::More));
        all
    }

    /// The properties by which it was found, the one of most searches first.
    pub fn found_by(&self) -> Vec<FoundBy> {
        let mut all: Vec<FoundBy> = Vec::new();
        for hit in &self.hits {
            let property = hit.kind.property;
            match all.iter_mut().find(|one| one.property == property) {
                Some(one) => {
                    one.searches += 1;
                    one.claims.extend(&hit.claims);
                }
                None => all.push(FoundBy { property, claims: hit.claims.clone(), searches: 1 }),
            }
        }
        for one in &mut all {
            one.claims.sort_unstable();
            one.claims.dedup();
        }
        all.sort_by_key(|one| (std::cmp::Reverse(one.searches), one.property));
        all
    }
}

/// None if somebody asked to stop meanwhile: what is small by then is not the smallest.
async fn smallest(
    adapter: &Arc<dyn Adapter>,
    kind: Kind,
    found: Finding,
    searching: &Options,
    rig: &Rig,
) -> Option<Smallest> {
    let steps_original = found.plan.size();
    let Finding { plan, history, violation, .. } = found;
    let shrunk = shrink(adapter, Failing { plan, history, violation }, kind, searching, rig).await;
    (shrunk.ended != ShrinkEnded::Interrupted).then(|| Smallest {
        steps_original,
        steps: shrunk.smallest.plan.size(),
        tries: shrunk.tries,
    })
}
