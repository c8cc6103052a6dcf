//! The main job: search, shrink what was found, clean up, report.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use onceness_adapters::{Adapter, TargetError};

use crate::case;
use crate::firsts::First;
use crate::gauge::Phase;
use crate::options::Options;
use crate::replay::{once_more, quoted};
use crate::report::{Failure, Report};
use crate::rig::Rig;
use crate::search::{Ended, Finding, Searched, search};
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
    report.deviations = deviations.tell(options, rig, &mut report.troubles);
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
