//! `selftest`: the suite against its own zoo.

use std::path::Path;

use onceness::folder::Folder;
use onceness::report::selftest::{json, page, table};
use onceness::selftest::{SelfTest, SelfTestOptions, selftest as library, unsearched};
use onceness::{Exit, Rig};
use onceness_reference::defects;

use super::certify::random_seed;
use super::{Refusal, complete, usage};
use crate::cli::SelftestArgs;
use crate::progress::{Extent, watch};
use crate::signals;
use crate::terminal::{print, tell};

/// Some seconds of work on two cores.
const CORRECT_CASES: u64 = 20_000;

pub(crate) fn selftest(args: SelftestArgs) -> Result<Exit, Refusal> {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    // Whoever asks for one defect waits for one defect.
    let correct_cases = if args.only.is_some() { 0 } else { CORRECT_CASES };
    // What is asked for by name is searched for, whatever its prospects.
    let (left_out, defects) = match args.only {
        Some(only) => (Vec::new(), only.0),
        None => defects::all().partition(|defect| unsearched(defect).is_some()),
    };
    let options = SelfTestOptions {
        seed: args.seed.unwrap_or_else(random_seed),
        defects,
        left_out,
        repeats: args.repeats,
        cases: args.cases,
        correct_cases: args.correct_cases.unwrap_or(correct_cases),
        jobs: args.jobs.map_or(cores, usize::from),
    };
    let page = args.page.as_deref().map(place).transpose()?;
    let rig = Rig::default();
    tell(&format!("testing the suite itself, seed {}", options.seed));
    let test = complete(async {
        signals::listen_for(&rig.stop, "stopping: running cases end, then what was found is shown");
        let run = library(&options, &rig);
        Ok::<SelfTest, Refusal>(watch(&rig.gauge, Extent { cases: None, time: None }, run).await)
    })?;
    match args.json {
        true => print(&json::render(&test)),
        false => print(&table::render(&test)),
    }
    match page {
        Some(_) if test.is_cut_short() => tell("the page was left as it is: this is half of one"),
        Some((folder, name)) => folder.write(&name, &page::render(&test)).map_err(usage)?,
        None => {}
    }
    Ok(test.exit())
}

/// Where the page goes, tried out before anything runs.
fn place(page: &Path) -> Result<(Folder, String), Refusal> {
    let unnamed = || usage(format!("--page {} names no file", page.display()));
    let name = page.file_name().ok_or_else(unnamed)?.to_string_lossy().into_owned();
    let folder = match page.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    Ok((Folder::create(folder).map_err(usage)?, name))
}
