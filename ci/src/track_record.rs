//! The track record: every counterexample in `ci/track-record` once more, on the broker that it was found on.
//!
//! A folder there is named `<broker>-<what>`. One that no longer fails is an error: then the page says something that is no
//! longer so.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context, bail};

use crate::broker::Broker;
use crate::process::Process;
use crate::undertaker::Undertaker;
use crate::{kafka, kfake, nisshi};

const FOLDER: &str = "ci/track-record";

/// What `onceness replay` exits with when nothing is broken, and when a property is.
const HOLDS: i32 = 0;
const VIOLATED: i32 = 1;

/// Brokers by the first word of a folder's name. The mock is part of `onceness`, and started by it.
const BROKERS: [&str; 5] = ["kafka", "kfake", "nisshi", "tansu", "mock"];

/// Replays all of them, or those of one broker.
pub(crate) fn run(only: Option<&str>, undertaker: &Undertaker) -> anyhow::Result<ExitCode> {
    let mut stale = Vec::new();
    let mut replayed = 0;
    let cases = by_broker(cases()?)?;
    for (name, cases) in cases.into_iter().filter(|(name, _)| only.is_none_or(|only| only == *name))
    {
        let broker = start(name, undertaker)?;
        for case in cases {
            replayed += 1;
            let target = match &broker {
                Some(broker) => format!("kafka://{}{}", broker.address, client(&case)),
                None => name.to_owned(),
            };
            if !fails(&case, &target, undertaker)? {
                stale.push(case.display().to_string());
            }
        }
    }
    if !stale.is_empty() {
        bail!("no longer fails: {}; correct {FOLDER}/README.md", stale.join(", "));
    }
    match only {
        Some(name) if replayed == 0 => bail!("no counterexample of {name} in {FOLDER}"),
        _ => eprintln!("{replayed} counterexamples fail still"),
    }
    Ok(ExitCode::SUCCESS)
}

fn start<'a>(name: &str, undertaker: &'a Undertaker) -> anyhow::Result<Option<Broker<'a>>> {
    let broker = match name {
        "kafka" => {
            // The default is the version that is certified, and it is well formed.
            let version = kafka::DEFAULT_VERSION.parse().map_err(anyhow::Error::msg)?;
            kafka::start(&version, kafka::Pace::Short, undertaker)?
        }
        "kfake" => kfake::start(undertaker)?,
        "nisshi" => nisshi::start(nisshi::NISSHI, undertaker)?,
        "tansu" => nisshi::start(nisshi::TANSU, undertaker)?,
        _ => return Ok(None),
    };
    Ok(Some(broker))
}

/// The folders of the track record, in the order of their names.
fn cases() -> anyhow::Result<Vec<PathBuf>> {
    let entries = fs::read_dir(FOLDER)
        .with_context(|| format!("failed to read {FOLDER}; run this in the repository's root"))?;
    let mut cases = Vec::new();
    for entry in entries {
        let path = entry.with_context(|| format!("failed to read {FOLDER}"))?.path();
        if path.is_dir() {
            cases.push(path);
        }
    }
    cases.sort();
    Ok(cases)
}

/// Each broker with its folders. One that names no broker would never be replayed, so it is an error.
fn by_broker(cases: Vec<PathBuf>) -> anyhow::Result<BTreeMap<&'static str, Vec<PathBuf>>> {
    let mut sorted: BTreeMap<&'static str, Vec<PathBuf>> = BTreeMap::new();
    for case in cases {
        let name = case.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let first = name.split('-').next().unwrap_or_default();
        let Some(broker) = BROKERS.into_iter().find(|broker| *broker == first) else {
            bail!("{} names no broker; known: {}", case.display(), BROKERS.join(", "));
        };
        sorted.entry(broker).or_default().push(case);
    }
    Ok(sorted)
}

/// What is behind the address: a folder may name a client after the broker.
fn client(case: &Path) -> &'static str {
    let name = case.file_name().unwrap_or_default().to_string_lossy();
    match name.split('-').nth(1) {
        Some("rdkafka") => "?client=rdkafka",
        _ => "",
    }
}

fn fails(case: &Path, target: &str, undertaker: &Undertaker) -> anyhow::Result<bool> {
    let mut replay = Command::new("cargo");
    replay
        .args(["run", "--quiet", "--release", "--package", "onceness", "--bin", "onceness", "--"])
        .arg("replay")
        .arg(case)
        .arg(target);
    let status = Process::foreground(&mut replay, undertaker)?.wait()?;
    match status.code() {
        Some(VIOLATED) => Ok(true),
        Some(HOLDS) => Ok(false),
        _ => bail!("{} could not be replayed on {target}: {status}", case.display()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sorted(names: &[&str]) -> anyhow::Result<BTreeMap<&'static str, Vec<PathBuf>>> {
        by_broker(names.iter().map(|name| Path::new(FOLDER).join(name)).collect())
    }

    #[test]
    fn folders_go_to_the_brokers_that_they_are_named_after() {
        let sorted = sorted(&["kafka-a", "kfake-a", "kfake-b-c"]).unwrap();
        let counts: Vec<_> = sorted.iter().map(|(name, cases)| (*name, cases.len())).collect();
        assert_eq!(counts, [("kafka", 1), ("kfake", 2)]);
    }

    #[test]
    fn a_folder_may_name_the_client() {
        assert_eq!(client(Path::new("ci/track-record/kafka-rdkafka-a")), "?client=rdkafka");
        assert_eq!(client(Path::new("ci/track-record/kafka-late-commit")), "");
    }

    #[test]
    fn a_folder_that_would_never_be_replayed_is_an_error() {
        let error = sorted(&["kafka-a", "redpanda-b"]).unwrap_err().to_string();
        assert!(error.starts_with("ci/track-record/redpanda-b names no broker; known: kafka"));
    }
}
