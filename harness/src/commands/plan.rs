//! `plan`: what a seed draws.

use onceness::certify::clean;
use onceness::config::Config;
use onceness::{Exit, Rig};
use onceness_reference::generate;
use onceness_reference::text::plan_to_json;

use super::{Refusal, complete, open};
use crate::cli::PlanArgs;
use crate::terminal::{print, tell};

pub(crate) fn plan(args: &PlanArgs, config: Config) -> Result<Exit, Refusal> {
    let features = complete(async {
        let rig = Rig { config, ..Rig::default() };
        let adapter = open(&args.target, &rig).await?;
        let features = adapter.features();
        if let Some(trouble) = clean(adapter.as_ref(), &rig).await {
            tell(&trouble);
        }
        Ok::<_, Refusal>(features)
    })?;
    let (profile, plan) = generate::plan(args.seed, features);
    match args.profile {
        // Plain data always serializes.
        true => print(&(serde_json::to_string_pretty(&profile).unwrap_or_default() + "\n")),
        false => print(&plan_to_json(&plan)),
    }
    Ok(Exit::Holds)
}
