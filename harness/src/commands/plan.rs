//! `plan`: what a seed draws.

use onceness::{Exit, Rig};
use onceness_reference::generate;
use onceness_reference::text::plan_to_json;

use super::{Refusal, open, runtime};
use crate::cli::PlanArgs;
use crate::terminal::print;

pub(crate) fn plan(args: &PlanArgs) -> Result<Exit, Refusal> {
    let features = runtime()?.block_on(async {
        let adapter = open(&args.target, &Rig::default()).await?;
        Ok::<_, Refusal>(adapter.features())
    })?;
    let (profile, plan) = generate::plan(args.seed, features);
    match args.profile {
        // Plain data always serializes.
        true => print(&(serde_json::to_string_pretty(&profile).unwrap_or_default() + "\n")),
        false => print(&plan_to_json(&plan)),
    }
    Ok(Exit::Holds)
}
