//! `replay`: a failure once more.

use onceness::case;
use onceness::certify::clean;
use onceness::config::Config;
use onceness::report::judged::Judged;
use onceness::report::style::count;
use onceness::{Exit, Rig, Target};

use super::run::once;
use super::{Refusal, accepting_nothing, complete, open_for, options, usage};
use crate::cli::ReplayArgs;
use crate::terminal::{print, tell};

/// How often a broker that is not deterministic is tried.
pub(super) const TIMES_ON_BROKERS: u64 = 100;

pub(crate) fn replay(args: ReplayArgs, config: Config) -> Result<Exit, Refusal> {
    let loaded = case::load(&args.case).map_err(usage)?;
    let target = target_of(args.target, loaded.target.as_deref())?;
    let options = options(&target, accepting_nothing(args.judging), None);
    let times = args.times.unwrap_or(if target.is_deterministic() { 1 } else { TIMES_ON_BROKERS });
    let rig = Rig { config, ..Rig::default() };
    let (last, ran) = complete(async {
        let adapter = open_for(&loaded.plan, &target, &rig).await?;
        let mut last: Option<Judged> = None;
        let mut ran = 0;
        let mut refusal = None;
        while ran < times && last.as_ref().is_none_or(|last| last.exit(&options) != Exit::Violated)
        {
            match once(&adapter, &loaded.plan, &rig).await {
                Ok(judged) => last = Some(judged),
                Err(error) => {
                    refusal = Some(error);
                    break;
                }
            }
            ran += 1;
        }
        if let Some(trouble) = clean(adapter.as_ref(), &rig).await {
            tell(&trouble);
        }
        match refusal {
            Some(refusal) => Err(refusal),
            None => Ok((last, ran)),
        }
    })?;
    let Some(last) = last else {
        return Err(Refusal {
            exit: Exit::NothingSelected,
            reason: "nothing to replay: no runs were asked for".to_owned(),
        });
    };
    print(&last.render(&options, true));
    match last.exit(&options) {
        Exit::Violated => tell(&format!("failed in run {ran} on {target}")),
        _ => tell(&format!("did not fail in {} on {target}", count(ran, "run"))),
    }
    Ok(last.exit(&options))
}

/// The target that was named, or that the case failed on, or the embedded broker.
pub(super) fn target_of(named: Option<Target>, saved: Option<&str>) -> Result<Target, Refusal> {
    match (named, saved) {
        (Some(target), _) => Ok(target),
        (None, Some(saved)) => saved.parse().map_err(usage),
        (None, None) => Ok(Target::Memory(None)),
    }
}
