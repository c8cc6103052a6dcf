//! What is not as it should be: each kind with its first case, which is kept to be looked at.
//!
//! Nothing is shrunk here, for mostly nothing fails; and a broker may not do it again, so what was seen is written down.

use std::collections::BTreeMap;
use std::path::PathBuf;

use onceness_properties::{Deviation, Judgement};
use onceness_reference::history::History;
use onceness_reference::plan::Plan;
use onceness_reference::text::{history_to_lines, plan_to_json};

use crate::firsts::{self, First};
use crate::folder::{Folder, WriteError};
use crate::options::{Claims, Options};
use crate::replay::{once_more, quoted};
use crate::report::Deviated;
use crate::rig::Rig;
use crate::trial::deviations;

/// More kinds than this say nothing new of a broker: the first by their words are kept.
const KINDS_MAX: usize = 32;

/// The deviations of many cases, by what they are.
#[derive(Debug, Default)]
pub struct Deviations {
    kinds: BTreeMap<String, First<Deviant>>,
}

/// A case with a deviation.
#[derive(Clone, Debug)]
pub struct Deviant {
    /// Its own seed.
    pub seed: u64,
    /// Its plan.
    pub plan: Plan,
    /// What was seen.
    pub history: History,
    /// What is not as it should be.
    pub deviation: Deviation,
}

impl Deviations {
    /// Takes in what was said of one case.
    pub(crate) fn add(
        &mut self,
        judgements: &[Judgement],
        claims: &Claims,
        index: u64,
        example: impl Fn(Deviation) -> Deviant,
    ) {
        for (what, deviation) in deviations(judgements, claims) {
            let what = what.to_owned();
            firsts::add(&mut self.kinds, what, index, || example(deviation.clone()));
        }
        self.forget();
    }

    /// Takes in what another worker saw.
    pub(crate) fn merge(&mut self, other: Deviations) {
        firsts::merge(&mut self.kinds, other.kinds);
        self.forget();
    }

    /// Those that are among the first of all workers are among the first of each.
    fn forget(&mut self) {
        while self.kinds.len() > KINDS_MAX {
            self.kinds.pop_last();
        }
    }

    /// What is told of them, in the order of the first cases that showed them. Each is written into the output folder, if
    /// there is one; what cannot be written is added to the troubles.
    pub(crate) fn tell(
        self,
        options: &Options,
        rig: &Rig,
        troubles: &mut Vec<String>,
    ) -> Vec<Deviated> {
        let mut kinds: Vec<(String, First<Deviant>)> = self.kinds.into_iter().collect();
        kinds.sort_by_key(|(_, first)| first.index);
        let told = (1..).zip(kinds).map(|(number, (what, First { cases, index, example }))| {
            let kept = rig.folder.as_ref().map(|folder| keep(number, &example, folder));
            let history =
                kept.and_then(|kept| kept.map_err(|error| troubles.push(error.to_string())).ok());
            let look = match history {
                Some(path) => format!("onceness check {}", quoted(&path.to_string_lossy())),
                None => once_more(example.seed, options),
            };
            let seed = example.seed;
            let Deviation { breaks, evidence, story, .. } = example.deviation;
            Deviated { what, breaks, cases, first_case: index + 1, seed, evidence, story, look }
        });
        told.collect()
    }
}

/// Where its history is then.
fn keep(number: u64, deviant: &Deviant, folder: &Folder) -> Result<PathBuf, WriteError> {
    let own = format!("deviations/{number}");
    let history = format!("{own}/history.jsonl");
    folder.create_folder(&own)?;
    folder.write(&format!("{own}/plan.json"), &plan_to_json(&deviant.plan))?;
    folder.write(&history, &history_to_lines(&deviant.history))?;
    Ok(folder.path().join(history))
}
