//! A running broker, whichever it is, and lending it to a command.

use std::ffi::{OsStr, OsString};
use std::process::{Command, ExitCode};

use anyhow::Context;
use tempfile::TempDir;

use crate::kafka::Recipe;
use crate::process::{self, Process};
use crate::undertaker::Undertaker;

/// A broker that accepts requests. Dropping it stops it and deletes its data.
pub(crate) struct Broker<'a> {
    /// Where it listens, `host:port`.
    pub(crate) address: String,
    // The order matters: the process goes before its data.
    pub(crate) _process: Process<'a>,
    pub(crate) _data: TempDir,
}

/// The environment variable by which tests learn of the broker.
pub(crate) const VARIABLE: &str = "ONCENESS_KAFKA";

/// The one by which they, and `onceness` itself, learn of a recipe for one.
pub(crate) const RECIPE_VARIABLE: &str = "ONCENESS_CONFIG";

/// Runs a command with the broker's address in place of every `{}`; its exit code is ours.
pub(crate) fn lend(
    broker: &Broker<'_>,
    command: &[OsString],
    undertaker: &Undertaker,
) -> anyhow::Result<ExitCode> {
    run_with(command, &broker.address, &[(VARIABLE, broker.address.clone())], undertaker)
}

/// The same for a broker that the command starts itself: the file that says how stands for every `{}`.
pub(crate) fn lend_recipe(
    recipe: &Recipe,
    command: &[OsString],
    undertaker: &Undertaker,
) -> anyhow::Result<ExitCode> {
    let file = recipe.file();
    let temporary = recipe.temporary().display().to_string();
    let variables = [(RECIPE_VARIABLE, file.clone()), ("TMPDIR", temporary)];
    run_with(command, &file, &variables, undertaker)
}

/// The same for whatever is lent, and all that the command's environment says of it.
pub(crate) fn run_with(
    command: &[OsString],
    lent: &str,
    variables: &[(&str, String)],
    undertaker: &Undertaker,
) -> anyhow::Result<ExitCode> {
    let words = command.iter().map(|word| fill(word, lent)).collect::<Vec<_>>();
    let (program, arguments) = words.split_first().context("no command to run")?;
    let mut command = Command::new(program);
    command.args(arguments).envs(variables.iter().map(|(name, value)| (name, value)));
    let status = Process::foreground(&mut command, undertaker)?.wait()?;
    Ok(ExitCode::from(process::exit_code(status)))
}

/// Every `{}` becomes the address. A word that is not UTF-8 is left alone.
fn fill(word: &OsStr, address: &str) -> OsString {
    match word.to_str() {
        Some(text) => text.replace("{}", address).into(),
        None => word.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_placeholder_is_filled() {
        let filled = |word: &str| fill(OsStr::new(word), "h:1");
        assert_eq!(filled("kafka://{}"), "kafka://h:1");
        assert_eq!(filled("echo {} {}; {x}"), "echo h:1 h:1; {x}");
        assert_eq!(filled("plain"), "plain");
    }
}
