//! `certify --sweep`: one plan, struck at every boundary.

use std::path::Path;
use std::sync::Arc;

use onceness::case;
use onceness::config::Config;
use onceness::folder::Folder;
use onceness::report::sweep::{SweepReport, json, junit, table};
use onceness::sweep::history::read_process_write;
use onceness::sweep::{Base, size, sweep as library};
use onceness::{Exit, Rig, Target};
use onceness_adapters::Adapter;
use onceness_reference::features::Features;
use onceness_reference::plan::{Plan, Protocol};

use super::{Refusal, complete, inconclusive, open, options, usage};
use crate::cli::{CertifyArgs, Sweep};
use crate::progress::{Extent, watch};
use crate::terminal::{print, tell};

pub(crate) fn sweep(args: CertifyArgs, what: &Sweep, config: Config) -> Result<Exit, Refusal> {
    // `--sweep TARGET` is easily typed for `TARGET --sweep`.
    let (target, file) = match what {
        Sweep::Loop => (args.target, None),
        Sweep::Named(name) => match name.to_string_lossy().parse::<Target>() {
            Ok(target) if !name.exists() => (target, None),
            _ => (args.target, Some(name.as_path())),
        },
    };
    let mut options = options(&target, args.judging, Some(&args.shrinking));
    if options.claims.chosen.is_empty() {
        return Err(Refusal {
            exit: Exit::NothingSelected,
            reason: "nothing to sweep: no claims were selected".to_owned(),
        });
    }
    options.fail_fast = args.fail_fast;
    options.seed = args.seed.unwrap_or(0);
    let named = file.map(load).transpose()?;
    let folder = Folder::create(&args.output.out).map_err(usage)?;
    // A run that comes to nothing must not leave the last one's results standing for its own.
    for name in ["junit.xml", "summary.json", "sweep.json", "target.log"] {
        if let Err(error) = folder.remove(name) {
            tell(&error.to_string());
        }
    }
    if let Err(error) = folder.remove_folder("sweep") {
        tell(&error.to_string());
    }
    let rig = Rig { folder: Some(folder.clone()), config, ..Rig::default() };
    tell(&format!("sweeping {target}"));
    let mut report = complete(async {
        let adapter: Arc<dyn Adapter> = open(&target, &rig).await?;
        let features = adapter.features();
        let (bases, left_out) = match named {
            Some(base) => (vec![base], Vec::new()),
            None => loops(features, options.seed),
        };
        for base in &bases {
            check(&base.plan, features, &target)?;
        }
        let extent = Extent { cases: Some(size(&bases, features)), time: None };
        let run = library(adapter, bases, &options, &rig);
        let mut report = watch(&rig.gauge, extent, run).await;
        report.left_out = left_out;
        Ok::<SweepReport, Refusal>(report)
    })?;
    for (name, text) in
        [("junit.xml", junit::render(&report)), ("sweep.json", json::render(&report))]
    {
        if let Err(error) = folder.write(name, &text) {
            report.troubles.push(error.to_string());
        }
    }
    match args.output.json {
        true => print(&json::render(&report)),
        false => print(&table::render(&report)),
    }
    tell(&format!("report: {}", folder.path().display()));
    Ok(report.exit())
}

/// The built-in loop over every protocol that the target speaks, and what is left out.
fn loops(features: Features, seed: u64) -> (Vec<Base>, Vec<String>) {
    let mut bases = Vec::new();
    let mut left_out = Vec::new();
    for (protocol, name, spoken) in
        [(Protocol::Tv1, "TV1", features.tv1), (Protocol::Tv2, "TV2", features.tv2)]
    {
        match spoken {
            true => bases.push(Base {
                name: format!("read-process-write over {name}, three transactions"),
                plan: read_process_write(protocol, features, seed),
            }),
            false => left_out.push(format!(
                "left out: {name}, which the target, driven this way, does not speak"
            )),
        }
    }
    (bases, left_out)
}

fn load(path: &Path) -> Result<Base, Refusal> {
    let plan = case::load(path).map_err(usage)?.plan;
    Ok(Base { name: path.display().to_string(), plan })
}

/// What the target cannot do at all would leave every cell untested.
fn check(plan: &Plan, features: Features, target: &Target) -> Result<(), Refusal> {
    let speaks =
        |protocol: Protocol| plan.clients.iter().any(|client| client.protocol() == Some(protocol));
    for (protocol, name, spoken) in
        [(Protocol::Tv1, "TV1", features.tv1), (Protocol::Tv2, "TV2", features.tv2)]
    {
        if speaks(protocol) && !spoken {
            return Err(inconclusive(format!(
                "failed to sweep the plan on {target}: it needs transactions over {name}, which the target does not speak; change the protocol of its clients"
            )));
        }
    }
    let members =
        plan.clients.iter().filter_map(|client| client.consumer.as_ref()).any(|one| one.member);
    if members && !features.members {
        return Err(inconclusive(format!(
            "failed to sweep the plan on {target}: it needs members of groups, which the target does not have; set member to false"
        )));
    }
    Ok(())
}
