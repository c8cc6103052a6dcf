//! `run`: one plan, once, with everything that happened.

use std::path::Path;
use std::sync::Arc;

use onceness::case;
use onceness::certify::clean;
use onceness::config::Config;
use onceness::report::judged::Judged;
use onceness::trial::{Trial, try_plan};
use onceness::{Exit, Rig};
use onceness_adapters::Adapter;
use onceness_reference::plan::Plan;
use onceness_reference::text::history_to_lines;

use super::{Refusal, complete, inconclusive, open_for, options, usage};
use crate::cli::RunArgs;
use crate::terminal::{print, tell};

pub(crate) fn run(args: RunArgs, config: Config) -> Result<Exit, Refusal> {
    let plan = case::load(&args.plan).map_err(usage)?.plan;
    if let Some(file) = &args.history {
        // Said before the plan runs, not after; what is there stays until there is something better.
        let opened = std::fs::OpenOptions::new().create(true).append(true).open(file);
        opened.map_err(|error| usage(format!("failed to write {}: {error}", file.display())))?;
    }
    let options = options(&args.target, args.judging, None);
    let rig = Rig { config, ..Rig::default() };
    let judged = complete(async {
        let adapter = open_for(&plan, &args.target, &rig).await?;
        let judged = once(&adapter, &plan, &rig).await;
        if let Some(trouble) = clean(adapter.as_ref(), &rig).await {
            tell(&trouble);
        }
        judged
    })?;
    if let Some(file) = &args.history {
        write(file, &history_to_lines(&judged.history))?;
    }
    match args.json {
        // Plain data always serializes.
        true => print(
            &(serde_json::to_string_pretty(&judged.json(&options)).unwrap_or_default() + "\n"),
        ),
        false => print(&judged.render(&options, true)),
    }
    Ok(judged.exit(&options))
}

/// Runs a plan once, and stops for Ctrl-C.
pub(super) async fn once(
    adapter: &Arc<dyn Adapter>,
    plan: &Plan,
    rig: &Rig,
) -> Result<Judged, Refusal> {
    let trial = tokio::select! {
        trial = try_plan(adapter.as_ref(), plan) => trial,
        () = rig.stop.wait() => return Err(inconclusive("interrupted")),
    };
    match trial {
        Trial::Judged(history, judgements) => Ok(Judged { history, judgements }),
        Trial::NoAnswer(error) => Err(inconclusive(format!("the target did not answer: {error}"))),
        Trial::Broke(words) => {
            Err(Refusal { exit: Exit::Internal, reason: format!("the rig broke: {words}") })
        }
    }
}

fn write(file: &Path, text: &str) -> Result<(), Refusal> {
    std::fs::write(file, text)
        .map_err(|error| usage(format!("failed to write {}: {error}", file.display())))
}
