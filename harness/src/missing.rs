//! Running until every state and request was reached: what is still missing, and which plans lead there.
//!
//! On a broker that is slower than the embedded one several plans are drawn for each case, and the embedded broker says to
//! which cells each leads there; the one that leads to the most that are missing is run. A plan stays a function of its seed:
//! only which seeds are run depends on what was seen.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use futures::FutureExt as _;
use onceness_adapters::Adapter as _;
use onceness_adapters::memory::Memory;
use onceness_properties::Judgement;
use onceness_reference::cells::{self, Cell};
use onceness_reference::explain::explain;
use onceness_reference::features::Features;
use onceness_reference::plan::Plan;
use onceness_reference::rules::Rules;

/// How many plans are drawn for a case.
pub(crate) const CANDIDATES: u64 = 8;

/// What is still to be reached.
#[derive(Debug)]
pub(crate) struct Missing {
    /// How often yet.
    cells: Mutex<BTreeMap<Cell, u64>>,
}

impl Missing {
    /// Each cell that a target that can do so much can be brought to, so often.
    pub(crate) fn of(features: Features, times: u64) -> Missing {
        let cells = cells::within_reach(features).map(|cell| (cell, times));
        Missing { cells: Mutex::new(cells.collect()) }
    }

    /// Takes in what was said of a case. Whether nothing is missing any more.
    pub(crate) fn take(&self, judgements: &[Judgement]) -> bool {
        let mut cells = self.cells.lock().unwrap_or_else(PoisonError::into_inner);
        for cell in judgements.iter().flat_map(|judgement| &judgement.kept) {
            if let Some(times) = cells.get_mut(cell) {
                *times -= 1;
                if *times == 0 {
                    cells.remove(cell);
                }
            }
        }
        cells.is_empty()
    }

    /// To how many of the missing cells a plan leads on the embedded broker.
    pub(crate) async fn promised_by(&self, plan: &Plan) -> usize {
        let memory = Memory::new(Rules::default(), "memory".to_owned());
        // A plan for more than the embedded broker can do promises nothing.
        let run = std::panic::AssertUnwindSafe(memory.run(plan)).catch_unwind().await;
        let Ok(Ok(history)) = run else { return 0 };
        let mut found: Vec<Cell> =
            explain(&history, Rules::default()).cells.into_iter().map(|(_, cell)| cell).collect();
        found.sort_unstable();
        found.dedup();
        let cells = self.cells.lock().unwrap_or_else(PoisonError::into_inner);
        found.iter().filter(|cell| cells.contains_key(cell)).count()
    }
}
