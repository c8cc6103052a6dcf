//! The main job: search, shrink what was found, clean up, report.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use onceness_adapters::{Adapter, TargetError};
use onceness_reference::text::{history_to_lines, plan_to_json};

use crate::case;
use crate::firsts::First;
use crate::gauge::Phase;
use crate::options::Options;
use crate::report::{Deviated, Failure, Report};
use crate::rig::Rig;
use crate::search::{Deviant, Ended, Finding, Searched, search};
use crate::shrink::{Failing, ShrinkEnded, Shrunk, shrink};
use crate::trial::Kind;

/// A target that does not let itself be cleaned must not keep the report.
const CLEANING_MAX: Duration = Duration::from_secs(60);

/// Runs random cases against a target, shrinks what fails, and says which claims hold.
///
/// Whatever the cases left on the target is removed in the end, also after a stop or an error.
pub async fn certify(adapter: Arc<dyn Adapter>, options: &Options, rig: &Rig) -> Report {
    let started = Instant::now();
    let mut searched = search(&adapter, options, rig).await;
    let seconds = started.elapsed().as_secs_f64();
    let mut report =
        Report::of(&searched, adapter.describe(), adapter.features(), options, seconds);
    let mut found: Vec<(Kind, First<Finding>)> =
        std::mem::take(&mut searched.found).into_iter().collect();
    found.sort_by_key(|(kind, found)| (found.index, *kind));
    for (kind, found) in found {
        let mut failure = as_found(kind, found, options);
        // Kept before it is shrunk, for shrinking can be cut short in ways that leave no time.
        failure.folder = keep(&mut failure, options, rig, &mut report.troubles);
        if searched.ended != Ended::TargetGone && !rig.stop.asked() {
            let failing = failure.shrunk.smallest.clone();
            failure.shrunk = shrink(&adapter, failing, kind, options, rig).await;
            failure.folder = keep(&mut failure, options, rig, &mut report.troubles);
        }
        report.failures.push(failure);
    }
    let deviations = std::mem::take(&mut searched.deviations);
    report.deviations = deviated(deviations, options, rig, &mut report.troubles);
    if rig.stop.asked() && report.ended == Ended::Complete {
        report.ended = Ended::Interrupted;
    }
    report.troubles.extend(lacking(&searched, &adapter, options));
    report.troubles.extend(clean(adapter.as_ref(), rig).await);
    report
}

/// What a run that was to cover all has not covered, in words.
fn lacking(searched: &Searched, adapter: &Arc<dyn Adapter>, options: &Options) -> Option<String> {
    let wanted = options.until_covered?;
    let cells = searched.coverage.cells(adapter.features());
    let lacking = cells.iter().filter(|(_, times)| *times < wanted).count();
    let all = cells.len();
    (lacking > 0).then(|| {
        format!("not covered: {lacking} of {all} states and requests were reached fewer than {wanted} times")
    })
}

/// Removes what the cases left on the target. What went wrong, in words.
pub async fn clean(adapter: &dyn Adapter, rig: &Rig) -> Option<String> {
    clean_up(adapter.clean(), rig).await
}

/// The same, of anything that cleans.
pub(crate) async fn clean_up(
    cleaning: impl Future<Output = Result<(), TargetError>>,
    rig: &Rig,
) -> Option<String> {
    rig.gauge.enter(Phase::Cleaning);
    match tokio::time::timeout(CLEANING_MAX, cleaning).await {
        Ok(Ok(())) => None,
        Ok(Err(error)) => Some(format!("failed to clean the target up: {error}")),
        Err(_) => {
            Some(format!("failed to clean the target up within {} s", CLEANING_MAX.as_secs()))
        }
    }
}

fn as_found(kind: Kind, found: First<Finding>, options: &Options) -> Failure {
    let First { cases, index, example } = found;
    let Finding { seed, profile, plan, history, violation, claims } = example;
    Failure {
        kind,
        claims,
        cases,
        index: Some(index),
        drawn: Some((seed, profile)),
        original: plan.clone(),
        shrunk: Shrunk {
            smallest: Failing { plan, history, violation },
            tries: 0,
            ended: ShrinkEnded::Interrupted,
            hits: 0,
            runs: 0,
        },
        replay: once_more(seed, options),
        folder: None,
    }
}

fn once_more(seed: u64, options: &Options) -> String {
    format!("onceness certify {} --seed {seed} --cases 1", options.target)
}

/// What is told of the deviations, in the order of the first cases that showed them.
fn deviated(
    deviations: BTreeMap<String, First<Deviant>>,
    options: &Options,
    rig: &Rig,
    troubles: &mut Vec<String>,
) -> Vec<Deviated> {
    let mut deviations: Vec<(String, First<Deviant>)> = deviations.into_iter().collect();
    deviations.sort_by_key(|(_, first)| first.index);
    let told = (1..).zip(deviations).map(|(number, (what, first))| {
        let First { cases, index, example } = first;
        let history = keep_deviant(number, &example, rig, troubles);
        let look = history
            .as_ref()
            .map(|history| format!("onceness check {}", quoted(&history.to_string_lossy())));
        Deviated {
            what,
            cases,
            first_case: index + 1,
            seed: example.seed,
            evidence: example.deviation.evidence,
            story: example.deviation.story,
            look: look.unwrap_or_else(|| once_more(example.seed, options)),
        }
    });
    told.collect()
}

/// A broker may not do it again, so what was seen is kept. Where the history is.
fn keep_deviant(
    number: u64,
    deviant: &Deviant,
    rig: &Rig,
    troubles: &mut Vec<String>,
) -> Option<PathBuf> {
    let folder = rig.folder.as_ref()?;
    let name = |file: &str| format!("deviations/{number}/{file}");
    let history = name("history.jsonl");
    let kept = (folder.create_folder(&format!("deviations/{number}")))
        .and_then(|()| folder.write(&name("plan.json"), &plan_to_json(&deviant.plan)))
        .and_then(|()| folder.write(&history, &history_to_lines(&deviant.history)));
    let kept = kept.map(|()| folder.path().join(history));
    kept.map_err(|error| troubles.push(error.to_string())).ok()
}

/// Writes a failure into the output folder, if there is one: into its own, or a new one. From then on that is what is replayed.
/// What cannot be written is added to the troubles.
pub fn keep(
    failure: &mut Failure,
    options: &Options,
    rig: &Rig,
    troubles: &mut Vec<String>,
) -> Option<PathBuf> {
    let folder = rig.folder.as_ref()?;
    let path = match failure.folder.take() {
        Some(path) => Ok(path),
        None => folder.new_case(&case_name(failure.kind)),
    };
    let saved = path.and_then(|path| {
        let otherwise = failure.replay.clone();
        failure.replay = format!("onceness replay {}", quoted(&path.to_string_lossy()));
        if let (Some(config), true) = (&rig.config.path, rig.config.named) {
            failure.replay += &format!(" --config {}", quoted(&config.to_string_lossy()));
        }
        match case::save(&path, failure, &options.target) {
            Ok(()) => Ok(path),
            Err(error) => {
                failure.replay = otherwise;
                Err(error)
            }
        }
    });
    saved.map_err(|error| troubles.push(error.to_string())).ok()
}

fn case_name(kind: Kind) -> String {
    match kind.weakness {
        Some(weakness) => format!("{}-{weakness}", kind.property),
        None => kind.property.to_owned(),
    }
}

/// As a shell wants to have it.
pub(crate) fn quoted(path: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+:@".contains(c);
    match !path.is_empty() && path.chars().all(plain) {
        true => path.to_owned(),
        false => format!("'{}'", path.replace('\'', r"'\''")),
    }
}
