//! One correct broker: so many cases, and nothing that it may be accused of.

use std::sync::Arc;

use onceness_adapters::memory::Memory;
use onceness_reference::rules::Permitted;

use crate::certify::certify;
use crate::options::Options;
use crate::report::{Accepted, Failure};
use crate::rig::Rig;
use crate::search::Ended;

use super::own_rig;

/// What a correct broker was accused of.
#[derive(Debug)]
pub struct Correct {
    /// What it chose, of what it may choose.
    pub name: &'static str,
    /// How many cases were run and judged.
    pub cases: u64,
    /// False accusations, each made as small as it gets.
    pub accusations: Vec<Failure>,
    /// Weaknesses of the protocol that it was seen to have, by name.
    pub accepted: Vec<Accepted>,
    /// Whether all of its cases were run.
    pub finished: bool,
    /// What broke of the rig itself.
    pub troubles: Vec<String>,
    /// How long it took.
    pub seconds: f64,
}

pub(super) async fn suspect(broker: Permitted, searching: &Options, rig: &Rig) -> Correct {
    let adapter = Arc::new(Memory::new(broker.rules, format!("memory, {}", broker.name)));
    let report = certify(adapter, searching, &own_rig(rig)).await;
    let broke = report.broke.iter().map(|one| format!("seed {}: {}", one.seed, one.words));
    let troubles = broke.chain(report.last_error).chain(report.troubles);
    Correct {
        name: broker.name,
        cases: report.cases,
        accusations: report.failures,
        accepted: report.accepted,
        finished: report.ended == Ended::Complete,
        troubles: troubles.map(|trouble| format!("{}: {trouble}", broker.name)).collect(),
        seconds: report.seconds,
    }
}
