//! The track record: every counterexample in `ci/track-record` once more, on the broker that it was found on.
//!
//! A folder there is named `<broker>-<what>`. One that no longer fails is an error: then the page says something that is no
//! longer so.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context, bail};

use crate::broker::Broker;
use crate::process::Process;
use crate::undertaker::Undertaker;
use crate::{kafka, kfake, nisshi};

const FOLDER: &str = "ci/track-record";

/// What `onceness replay` exits with when a property is broken.
const VIOLATED: i32 = 1;

/// Brokers by the first word of a folder's name.
const BROKERS: [&str; 4] = ["kafka", "kfake", "nisshi", "tansu"];

/// Replays all of them, or those of one broker.
pub(crate) fn run(only: Option<&str>, undertaker: &Undertaker) -> anyhow::Result<ExitCode> {
    let mut stale = Vec::new();
    for name in BROKERS.into_iter().filter(|name| only.is_none_or(|only| only == *name)) {
        let cases = cases_of(name)?;
        if cases.is_empty() {
            continue;
        }
        let broker = start(name, undertaker)?;
        for case in cases {
            if !fails(&case, &broker, undertaker)? {
                stale.push(case.display().to_string());
            }
        }
    }
    if !stale.is_empty() {
        bail!("no longer fails: {}; correct {FOLDER}/README.md", stale.join(", "));
    }
    Ok(ExitCode::SUCCESS)
}

fn start<'a>(name: &str, undertaker: &'a Undertaker) -> anyhow::Result<Broker<'a>> {
    match name {
        "kafka" => {
            // The default is the version that is certified, and it is well formed.
            let version = kafka::DEFAULT_VERSION.parse().map_err(anyhow::Error::msg)?;
            kafka::start(&version, kafka::Pace::Short, undertaker)
        }
        "kfake" => kfake::start(undertaker),
        "nisshi" => nisshi::start(nisshi::NISSHI, undertaker),
        "tansu" => nisshi::start(nisshi::TANSU, undertaker),
        _ => bail!("unknown broker '{name}'; known: {}", BROKERS.join(", ")),
    }
}

fn cases_of(broker: &str) -> anyhow::Result<Vec<PathBuf>> {
    let entries = fs::read_dir(FOLDER)
        .with_context(|| format!("failed to read {FOLDER}; run this in the repository's root"))?;
    let mut cases = Vec::new();
    for entry in entries {
        let path = entry.with_context(|| format!("failed to read {FOLDER}"))?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if path.is_dir() && name.split('-').next() == Some(broker) {
            cases.push(path);
        }
    }
    cases.sort();
    Ok(cases)
}

fn fails(case: &Path, broker: &Broker<'_>, undertaker: &Undertaker) -> anyhow::Result<bool> {
    let mut replay = Command::new("cargo");
    replay
        .args(["run", "--quiet", "--release", "--package", "onceness", "--bin", "onceness", "--"])
        .arg("replay")
        .arg(case)
        .arg(format!("kafka://{}", broker.address));
    let status = Process::foreground(&mut replay, undertaker)?.wait()?;
    Ok(status.code() == Some(VIOLATED))
}
