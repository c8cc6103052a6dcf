//! A failure on disk: a folder with all that it takes to run it again, and to read what happened.

use std::fs;
use std::path::{Path, PathBuf};

use onceness_reference::plan::Plan;
use onceness_reference::profile::Profile;
use onceness_reference::text::{history_to_lines, plan_from_json, plan_to_json};
use serde::{Deserialize, Serialize};

use crate::folder::{WriteError, write_whole};
use crate::report::{Failure, failure};

/// The version of `case.json`.
const CASE_VERSION: u32 = 1;

/// A plan from disk, with what is known of the failure that it stands for.
#[derive(Debug)]
pub struct Loaded {
    /// The plan.
    pub plan: Plan,
    /// What it failed on.
    pub target: Option<String>,
    /// The property that it breaks.
    pub property: Option<String>,
}

/// Why a plan could not be had from disk.
#[derive(Debug, thiserror::Error)]
#[error("failed to read {}: {reason}", path.display())]
pub struct ReadError {
    /// What.
    pub path: PathBuf,
    /// Why: for text, with line and field.
    pub reason: String,
}

/// What `case.json` holds.
#[derive(Serialize)]
struct Card<'a> {
    version: u32,
    target: &'a str,
    property: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    weakness: Option<&'a str>,
    claims: Vec<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    seed: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    profile: Option<&'a Profile>,
    steps_original: usize,
    steps: usize,
    tries: u64,
    hits: u32,
    runs: u32,
}

/// What is read of it.
#[derive(Deserialize)]
struct Read {
    version: u32,
    target: String,
    property: String,
}

/// Writes a failure into its folder, over what was known of it before.
///
/// # Errors
/// When something cannot be written.
pub fn save(folder: &Path, failure: &Failure, target: &str) -> Result<(), WriteError> {
    let smallest = &failure.shrunk.smallest;
    let card = Card {
        version: CASE_VERSION,
        target,
        property: failure.kind.property,
        weakness: failure.kind.weakness,
        claims: failure.claims.iter().map(|claim| claim.name()).collect(),
        seed: failure.drawn.as_ref().map(|(seed, _)| *seed),
        profile: failure.drawn.as_ref().map(|(_, profile)| profile),
        steps_original: failure.original.size(),
        steps: smallest.plan.size(),
        tries: failure.shrunk.tries,
        hits: failure.shrunk.hits,
        runs: failure.shrunk.runs,
    };
    // Plain data always serializes.
    let card = serde_json::to_string_pretty(&card).unwrap_or_default() + "\n";
    let report = anstream::adapter::strip_str(&failure::render(failure)).to_string();
    let write = |name: &str, text: &str| write_whole(&folder.join(name), text);
    write("plan.json", &plan_to_json(&smallest.plan))?;
    write("original.json", &plan_to_json(&failure.original))?;
    write("history.jsonl", &history_to_lines(&smallest.history))?;
    write("case.json", &card)?;
    write("report.txt", &report)
}

/// Reads the plan of a case folder, or a plan file.
///
/// # Errors
/// When there is none, or it is damaged.
pub fn load(path: &Path) -> Result<Loaded, ReadError> {
    if !path.is_dir() {
        return Ok(Loaded { plan: load_plan(path)?, target: None, property: None });
    }
    let plan = load_plan(&path.join("plan.json"))?;
    let card = path.join("case.json");
    let fault = |reason: String| ReadError { path: card.clone(), reason };
    if !card.exists() {
        return Ok(Loaded { plan, target: None, property: None });
    }
    let text = fs::read_to_string(&card).map_err(|error| fault(error.to_string()))?;
    let read: Read = serde_json::from_str(&text).map_err(|error| fault(error.to_string()))?;
    if read.version != CASE_VERSION {
        let version = read.version;
        return Err(fault(format!("version is {version}, but this build reads {CASE_VERSION}")));
    }
    Ok(Loaded { plan, target: Some(read.target), property: Some(read.property) })
}

/// Reads a plan file; `-` is the standard input.
fn load_plan(path: &Path) -> Result<Plan, ReadError> {
    let fault = |reason: String| ReadError { path: path.to_owned(), reason };
    let text = match path.as_os_str() == "-" {
        true => std::io::read_to_string(std::io::stdin()),
        false => fs::read_to_string(path),
    };
    let text = text.map_err(|error| fault(error.to_string()))?;
    plan_from_json(&text).map_err(|error| fault(error.to_string()))
}
