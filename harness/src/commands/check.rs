//! `check`: judges histories from files. Lines are read one by one, so a history needs no more memory than its events.

use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::Path;

use onceness::options::Options;
use onceness::report::judged::Judged;
use onceness::{Exit, Target};
use onceness_properties::judge;
use onceness_reference::history::History;
use onceness_reference::text::HistoryReader;
use serde_json::json;

use super::{Refusal, accepting_nothing, options, usage};
use crate::cli::CheckArgs;
use crate::terminal::print;

pub(crate) fn check(args: CheckArgs) -> Result<Exit, Refusal> {
    // Nothing is accepted unless it is named: a file does not say whether its broker is ours.
    let options = options(&Target::Memory(None), accepting_nothing(args.judging), None);
    if options.claims.chosen.is_empty() {
        return Err(Refusal {
            exit: Exit::NothingSelected,
            reason: "nothing to check: no claims were selected".to_owned(),
        });
    }
    let mut exits = Vec::new();
    let mut all = Vec::new();
    let mut refusal = None;
    for path in &args.histories {
        let history = match read(path) {
            Ok(history) => history,
            // What was judged before is told all the same.
            Err(error) => {
                refusal = Some(error);
                break;
            }
        };
        let judgements = judge(&history);
        let judged = Judged { history, judgements };
        exits.push(judged.exit(&options));
        match args.json {
            true => all.push(json!({ "history": path, "judged": judged.json(&options) })),
            false => print(&tell_judged(path, &judged, &options)),
        }
    }
    if args.json {
        // Plain data always serializes.
        print(&(serde_json::to_string_pretty(&all).unwrap_or_default() + "\n"));
    }
    if let Some(refusal) = refusal {
        return Err(refusal);
    }
    let worst = [Exit::Violated, Exit::Inconclusive].into_iter().find(|exit| exits.contains(exit));
    Ok(worst.unwrap_or(Exit::Holds))
}

fn tell_judged(path: &Path, judged: &Judged, options: &Options) -> String {
    format!("{}:\n{}", path.display(), judged.render(options, false))
}

fn read(path: &Path) -> Result<History, Refusal> {
    let fault = |reason: String| usage(format!("failed to read {}: {reason}", path.display()));
    let lines: Box<dyn BufRead> = match path.as_os_str() == "-" {
        true => Box::new(BufReader::new(io::stdin())),
        false => {
            let file = File::open(path).map_err(|error| fault(error.to_string()))?;
            Box::new(BufReader::new(file))
        }
    };
    let mut reader = HistoryReader::new();
    for (place, line) in lines.lines().enumerate() {
        let line = line.map_err(|error| fault(format!("line {}: {error}", place + 1)))?;
        reader.line(&line).map_err(|error| fault(error.to_string()))?;
    }
    reader.finish().map_err(|error| fault(error.to_string()))
}
