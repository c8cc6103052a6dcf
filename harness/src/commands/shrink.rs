//! `shrink`: a failing plan, smaller.

use std::sync::Arc;

use onceness::certify::{clean, keep};
use onceness::config::Config;
use onceness::folder::Folder;
use onceness::options::Options;
use onceness::report::{Failure, failure, json};
use onceness::shrink::{Failing, shrink as library};
use onceness::trial::{Kind, violations};
use onceness::{Exit, Rig, case};
use onceness_adapters::Adapter;
use onceness_reference::plan::Plan;

use super::replay::{TIMES_ON_BROKERS, target_of};
use super::run::once;
use super::{Refusal, accepting_nothing, complete, open_for, options, usage};
use crate::cli::ShrinkArgs;
use crate::progress::{Extent, watch};
use crate::terminal::{print, tell};

pub(crate) fn shrink(args: ShrinkArgs, config: Config) -> Result<Exit, Refusal> {
    let loaded = case::load(&args.case).map_err(usage)?;
    let target = target_of(args.target, loaded.target.as_deref())?;
    let options = options(&target, accepting_nothing(args.judging), Some(&args.shrinking));
    let folder = Folder::create(&args.output.out).map_err(usage)?;
    let rig = Rig { folder: Some(folder), config, ..Rig::default() };
    let times = args.times.unwrap_or(if target.is_deterministic() { 1 } else { TIMES_ON_BROKERS });
    let property = args.property.or(loaded.property);
    let shrunk = complete(async {
        let adapter = open_for(&loaded.plan, &target, &rig).await?;
        let found = fail(&adapter, &loaded.plan, property.as_deref(), times, &options, &rig).await;
        let shrunk = match found {
            Ok(Some((kind, failing))) => {
                let extent = Extent { cases: None, time: None };
                let run = library(&adapter, failing, kind, &options, &rig);
                Ok(Some((kind, watch(&rig.gauge, extent, run).await)))
            }
            Ok(None) => Ok(None),
            Err(refusal) => Err(refusal),
        };
        if let Some(trouble) = clean(adapter.as_ref(), &rig).await {
            tell(&trouble);
        }
        shrunk
    })?;
    let Some((kind, shrunk)) = shrunk else {
        let what = property.unwrap_or_else(|| "anything".to_owned());
        tell(&format!("nothing to shrink: the plan did not break {what} on {target}"));
        return Ok(Exit::Holds);
    };
    let mut failure = Failure {
        kind,
        claims: Vec::new(),
        cases: 1,
        index: None,
        drawn: None,
        original: loaded.plan,
        shrunk,
        replay: format!("onceness replay {} {target}", args.case.display()),
        folder: None,
    };
    let mut troubles = Vec::new();
    failure.folder = keep(&mut failure, &options, &rig, &mut troubles);
    match args.output.json {
        true => print(&json::render_failure(&failure)),
        false => print(&failure::render(&failure)),
    }
    for trouble in troubles {
        tell(&trouble);
    }
    Ok(Exit::Violated)
}

/// Runs a plan until it breaks the property (or any) beyond what is accepted.
async fn fail(
    adapter: &Arc<dyn Adapter>,
    plan: &Plan,
    property: Option<&str>,
    times: u64,
    options: &Options,
    rig: &Rig,
) -> Result<Option<(Kind, Failing)>, Refusal> {
    for _ in 0..times {
        let judged = once(adapter, plan, rig).await?;
        let found =
            violations(&judged.judgements, &options.claims).find(|(kind, claim, violation)| {
                let accepted = options.accept.find(kind.property, *claim, violation).is_some();
                !accepted && property.is_none_or(|property| property == kind.property)
            });
        if let Some((kind, _, violation)) = found {
            let violation = violation.clone();
            let failing = Failing { plan: plan.clone(), history: judged.history, violation };
            return Ok(Some((kind, failing)));
        }
    }
    Ok(None)
}
