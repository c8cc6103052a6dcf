//! One run of one plan, judged.

use std::any::Any;
use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;

use futures::FutureExt as _;
use onceness_adapters::{Adapter, TargetError};
use onceness_properties::{Claim, Deviation, Judgement, Verdict, Violation, judge};
use onceness_reference::history::History;
use onceness_reference::plan::Plan;
use serde::Serialize;

use crate::options::Claims;

/// How a run of a plan ended.
#[derive(Debug)]
pub enum Trial {
    /// It was seen and judged.
    Judged(History, Vec<Judgement>),
    /// The target did not answer as one does. Never an accusation.
    NoAnswer(TargetError),
    /// The rig itself broke: a bug of ours.
    Broke(String),
}

/// What counts as the same failure when plans shrink and cases are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Kind {
    /// The property that is broken.
    pub property: &'static str,
    /// The known weakness that explains it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weakness: Option<&'static str>,
}

/// Runs a plan once and judges what was seen. A panic on the way is caught and told.
pub async fn try_plan(adapter: &dyn Adapter, plan: &Plan) -> Trial {
    let run = async {
        match adapter.run(plan).await {
            Ok(history) => {
                let judgements = judge(&history);
                Trial::Judged(history, judgements)
            }
            Err(error) => Trial::NoAnswer(error),
        }
    };
    // What a broken run leaves behind is never looked at again.
    let caught = AssertUnwindSafe(run).catch_unwind().await;
    caught.unwrap_or_else(|panic| Trial::Broke(words(panic.as_ref())))
}

/// All violations that concern the chosen claims.
pub fn violations<'a, 'b>(
    judgements: &'a [Judgement],
    claims: &'b Claims,
) -> impl Iterator<Item = (Kind, Claim, &'a Violation)> + use<'a, 'b> {
    let chosen = (judgements.iter()).filter(|judgement| claims.has(judgement.claim));
    chosen.flat_map(|judgement| {
        let found: &[Violation] = match &judgement.verdict {
            Verdict::Violated(violations) => violations,
            _ => &[],
        };
        found.iter().map(|violation| {
            let kind = Kind { property: judgement.property.name, weakness: violation.weakness };
            (kind, judgement.claim, violation)
        })
    })
}

/// All deviations that concern the chosen claims, each once by what it is.
pub fn deviations<'a>(
    judgements: &'a [Judgement],
    claims: &Claims,
) -> BTreeMap<&'a str, &'a Deviation> {
    let chosen = judgements.iter().filter(|judgement| claims.has(judgement.claim));
    let all = chosen.flat_map(|judgement| &judgement.deviations);
    all.map(|deviation| (deviation.what.as_str(), deviation)).collect()
}

impl std::fmt::Display for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.weakness {
            Some(weakness) => write!(f, "{} ({weakness})", self.property),
            None => write!(f, "{}", self.property),
        }
    }
}

fn words(panic: &(dyn Any + Send)) -> String {
    let text = (panic.downcast_ref::<&str>().copied())
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or("a panic without words").to_owned()
}
