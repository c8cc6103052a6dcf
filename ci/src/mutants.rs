//! The page of mutants: what happens when a judge is wrong in one place, and which tests notice.
//!
//! cargo-mutants changes the judges, one place at a time (a `<` that is a `<=`, an accusation that is never made), and runs
//! their tests; this writes down what came of it, from the folders that it leaves.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use serde::Deserialize;

/// What cargo-mutants leaves in its folder, as far as it is read here.
#[derive(Deserialize)]
struct Outcomes {
    outcomes: Vec<Outcome>,
}

#[derive(Deserialize)]
struct Outcome {
    scenario: Scenario,
    summary: Summary,
    log_path: Option<PathBuf>,
}

#[derive(Deserialize)]
enum Scenario {
    Baseline,
    Mutant { name: String, file: String },
}

#[derive(Clone, Copy, Deserialize, PartialEq, Eq)]
enum Summary {
    Success,
    CaughtMutant,
    MissedMutant,
    Timeout,
    Unviable,
    Failure,
}

/// A mutant that could be built.
struct Mutant {
    /// Where and what, without the file: `46:48: replace < with == in check_dirty`.
    what: String,
    /// The tests that failed. None: it ran longer than the tests may.
    caught_by: Option<Vec<String>>,
}

impl Mutant {
    fn is_missed(&self) -> bool {
        self.caught_by.as_ref().is_some_and(Vec::is_empty)
    }
}

/// Writes the page from these folders of cargo-mutants. What a later one says of a mutant counts.
pub(crate) fn run(folders: &[PathBuf], part: &str, to: &Path) -> anyhow::Result<ExitCode> {
    let mut files: BTreeMap<String, Vec<Mutant>> = BTreeMap::new();
    for folder in folders {
        read(folder, &mut files)?;
    }
    fs::write(to, page(&files, part))
        .with_context(|| format!("failed to write {}", to.display()))?;
    Ok(ExitCode::SUCCESS)
}

fn read(folder: &Path, into: &mut BTreeMap<String, Vec<Mutant>>) -> anyhow::Result<()> {
    let path = folder.join("outcomes.json");
    let text = fs::read_to_string(&path).with_context(|| {
        format!("failed to read {}; cargo mutants makes a folder mutants.out", path.display())
    })?;
    let outcomes: Outcomes = serde_json::from_str(&text)
        .with_context(|| format!("{} is not what cargo mutants 27 writes", path.display()))?;
    for outcome in outcomes.outcomes {
        let Scenario::Mutant { name, file } = outcome.scenario else { continue };
        let caught_by = match outcome.summary {
            Summary::Success | Summary::Failure | Summary::Unviable => continue,
            Summary::Timeout => None,
            Summary::MissedMutant => Some(Vec::new()),
            Summary::CaughtMutant => {
                let log = folder.join(outcome.log_path.unwrap_or_default());
                let log = fs::read_to_string(&log)
                    .with_context(|| format!("failed to read {}", log.display()))?;
                Some(failed(&log))
            }
        };
        let what = name.strip_prefix(&format!("{file}:")).unwrap_or(&name).to_owned();
        let mutants = into.entry(file).or_default();
        mutants.retain(|other| other.what != what);
        mutants.push(Mutant { what, caught_by });
    }
    Ok(())
}

/// The names of the tests that failed.
fn failed(log: &str) -> Vec<String> {
    let name = |line: &str| {
        let test = line.strip_prefix("test ")?.strip_suffix(" ... FAILED")?;
        Some(test.trim_end_matches(" - should panic").to_owned())
    };
    let failed: Vec<String> = log.lines().filter_map(name).collect();
    match failed.is_empty() {
        // It did not come that far, such as by a doc test or an abort.
        true => vec!["the run as a whole".to_owned()],
        false => failed,
    }
}

const HEAD: &str = "\
# Mutants of the judges

Who judges the judges? Here each of them is made wrong in one place: an accusation is never made or always, a bound is off
by one, a condition is turned round. A mutant is caught if a test fails: of histories written by hand, which a judge has to
accuse or to leave alone; or, where those do not notice it, of brokers that are right in every way that is permitted, which
a judge that became too strict accuses. Written by commands, from [cargo-mutants](https://mutants.rs) 27.1:

```
cargo mutants -p onceness-properties -e 'properties/src/facts/**' -o target/properties
cargo mutants -p onceness-reference --file 'reference/src/explain/*.rs' -o target/explain
cargo mutants -p onceness-reference --file 'reference/src/explain/*.rs' -o target/explain \\
    --iterate --test-package onceness -- --test it embedded::correct
cargo ci mutants target/properties/mutants.out target/explain/mutants.out.old target/explain/mutants.out
```

(About two hours; `--shard 0/4 --sharding round-robin` tries every fourth.) Left out are mutants that do not compile. Of those
that are missed most are the same in all that can happen (two events never have the same number, so that `<` is `<=`
between a call and an answer), or cost time and no verdict (equal possible brokers are kept apart, a limit is one off).

";

fn page(files: &BTreeMap<String, Vec<Mutant>>, part: &str) -> String {
    let mut page = format!("{HEAD}Tried were {part}.\n\n");
    page += "| file | mutants | caught | by time | missed |\n|---|---:|---:|---:|---:|\n";
    let mut row = |name: &str, mutants: &[&Mutant]| {
        let slow = mutants.iter().filter(|one| one.caught_by.is_none()).count();
        let missed = mutants.iter().filter(|one| one.is_missed()).count();
        let caught = mutants.len() - slow - missed;
        let _ = writeln!(page, "| {name} | {} | {caught} | {slow} | {missed} |", mutants.len());
    };
    for (file, mutants) in files {
        row(&format!("`{file}`"), &mutants.iter().collect::<Vec<_>>());
    }
    row("all", &files.values().flatten().collect::<Vec<_>>());
    page += "\n## Missed\n\n";
    for (file, mutants) in files {
        for mutant in mutants.iter().filter(|one| one.is_missed()) {
            let _ = writeln!(page, "- `{file}:{}`", mutant.what);
        }
    }
    page += "\n## Caught, and by what\n\nOf several tests the first.\n";
    for (file, mutants) in files {
        let _ = writeln!(page, "\n### `{file}`\n");
        for mutant in mutants.iter().filter(|one| !one.is_missed()) {
            let _ = writeln!(page, "- `{}`: {}", mutant.what, caught_by(mutant));
        }
    }
    page
}

fn caught_by(mutant: &Mutant) -> String {
    match mutant.caught_by.as_deref() {
        None | Some([]) => "runs on and on".to_owned(),
        Some([one]) => one.clone(),
        Some([first, others @ ..]) => format!("{first} and {} more", others.len()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mutant(name: &str, summary: &str, log: &str) -> String {
        format!(
            r#"{{"scenario": {{"Mutant": {{"name": "a.rs:{name}", "file": "a.rs"}}}}, "summary": "{summary}", "log_path": "{log}"}}"#
        )
    }

    #[test]
    fn what_was_caught_and_what_was_missed() {
        let folder = tempfile::tempdir().unwrap();
        let outcomes = [
            r#"{"scenario": "Baseline", "summary": "Success", "log_path": "b.log"}"#.to_owned(),
            mutant("1:2: replace < with <=", "CaughtMutant", "caught.log"),
            mutant("3:4: delete !", "MissedMutant", "missed.log"),
            mutant("5:6: replace + with -", "Timeout", "slow.log"),
            mutant("7:8: replace f with ()", "Unviable", "unviable.log"),
        ];
        let outcomes = format!(r#"{{"outcomes": [{}]}}"#, outcomes.join(", "));
        fs::write(folder.path().join("outcomes.json"), outcomes).unwrap();
        let log =
            "test isolation::shown ... FAILED\ntest order::kept ... ok\ntest order::b ... FAILED\n";
        fs::write(folder.path().join("caught.log"), log).unwrap();
        let page = folder.path().join("page.md");
        let twice = [folder.path().to_owned(), folder.path().to_owned()];
        run(&twice, "all", &page).unwrap();
        let page = fs::read_to_string(page).unwrap();
        for line in [
            "Tried were all.",
            "| `a.rs` | 3 | 1 | 1 | 1 |",
            "- `a.rs:3:4: delete !`",
            "- `1:2: replace < with <=`: isolation::shown and 1 more",
            "- `5:6: replace + with -`: runs on and on",
        ] {
            assert!(page.lines().any(|found| found == line), "{line} is not in\n{page}");
        }
    }

    #[test]
    fn a_folder_of_something_else_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let error = run(&[folder.path().to_owned()], "all", Path::new("page.md")).unwrap_err();
        assert!(error.to_string().contains("cargo mutants makes a folder mutants.out"));
    }
}
