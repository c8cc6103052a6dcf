//! `certify`: the main job.

use onceness::accept::Accept;
use onceness::config::Config;
use onceness::folder::Folder;
use onceness::report::{Report, json, junit, table};
use onceness::target::Client;
use onceness::{Exit, Rig, certify as library};

use super::{Refusal, complete, inconclusive, open, options, usage};
use crate::cli::CertifyArgs;
use crate::progress::{Extent, watch};
use crate::terminal::{print, tell};

/// Some ten seconds of work on two cores.
const CASES_ON_MEMORY: u64 = 60_000;
/// Some ten seconds of work on Apache Kafka.
const CASES_ON_BROKERS: u64 = 2_000;
/// Every second one takes seconds, and those one after the other.
const CASES_ON_THE_HURT: u64 = 100;
/// librdkafka waits more than it works.
const CASES_BY_LIBRDKAFKA: u64 = 100;

pub(crate) fn certify(args: CertifyArgs, config: Config) -> Result<Exit, Refusal> {
    let target = args.target;
    let nothing = |what: &str| Refusal {
        exit: Exit::NothingSelected,
        reason: format!("nothing to certify: {what}"),
    };
    if args.cases == Some(0) {
        return Err(nothing("no cases were asked for"));
    }
    let mut options = options(&target, args.judging, Some(&args.shrinking));
    if options.claims.chosen.is_empty() {
        return Err(nothing("no claims were selected"));
    }
    options.seed = args.seed.unwrap_or_else(random_seed);
    options.time = args.time.map(Into::into);
    options.until_covered = args.until_covered;
    options.fail_fast = args.fail_fast;
    options.deny_stale = args.deny_stale;
    // First what speaks of this very target: a weakness of the protocol would take the hits away from it.
    let breaches = config.accepts(&target).map(Accept::Breach);
    options.accept = breaches.chain(options.accept.iter().cloned()).collect();
    let ends = options.time.is_some() || options.until_covered.is_some();
    options.cases = args.cases.or(match (ends, options.deterministic) {
        (true, _) => None,
        (false, true) => Some(CASES_ON_MEMORY),
        (false, false) => Some(match target.client() {
            _ if target.is_hurt() => CASES_ON_THE_HURT,
            Some(Client::Rdkafka | Client::Both) => CASES_BY_LIBRDKAFKA,
            _ => CASES_ON_BROKERS,
        }),
    });
    let folder = Folder::create(&args.output.out).map_err(usage)?;
    // A run that comes to nothing must not leave the last one's results standing for its own.
    for name in ["junit.xml", "summary.json", "sweep.json", "target.log"] {
        if let Err(error) = folder.remove(name) {
            tell(&error.to_string());
        }
    }
    if let Err(error) = folder.remove_folder("deviations") {
        tell(&error.to_string());
    }
    let rig = Rig { folder: Some(folder.clone()), config, ..Rig::default() };
    tell(&format!("certifying {target}, seed {}", options.seed));
    let mut report = complete(async {
        let adapter = open(&target, &rig).await?;
        if options.until_covered.is_some() && !adapter.features().forging {
            return Err(usage(
                "--until-covered needs a client whose requests and answers are seen: leave ?client=rdkafka out",
            ));
        }
        let extent = Extent { cases: options.cases, time: options.time };
        let run = library(adapter, &options, &rig);
        Ok::<Report, Refusal>(watch(&rig.gauge, extent, run).await)
    })?;
    for (name, text) in
        [("junit.xml", junit::render(&report)), ("summary.json", json::render(&report))]
    {
        if let Err(error) = folder.write(name, &text) {
            report.troubles.push(error.to_string());
        }
    }
    match args.output.json {
        true => print(&json::render(&report)),
        false => print(&table::render(&report)),
    }
    if report.failures.is_empty() && report.exit() == Exit::Inconclusive && report.cases == 0 {
        let error = report.last_error.unwrap_or_else(|| "no case was run".to_owned());
        return Err(inconclusive(error));
    }
    tell(&format!("report: {}", folder.path().display()));
    Ok(report.exit())
}

/// Of the same source as the keys of hash maps: good enough to differ from run to run, and short enough to be typed.
pub(super) fn random_seed() -> u64 {
    use std::hash::{BuildHasher as _, RandomState};
    RandomState::new().hash_one(0) >> 16
}
