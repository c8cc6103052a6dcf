//! What a run of the gate leaves behind: nothing, and that is a step of it.
//!
//! Every command of the gate inherits a mark in its environment and a temporary folder of the gate's own. At the end no
//! process may bear the mark and the folder must be empty: so whatever was started is found, also what has detached itself
//! from its parents.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use tempfile::TempDir;

use crate::process::POLL;
use crate::undertaker::Undertaker;

/// The environment variable that marks a process as the gate's.
const MARK: &str = "ONCENESS_GATE";

/// How long the last processes may take to end.
const PATIENCE: Duration = Duration::from_secs(10);

/// Where the commands of one run of the gate leave their traces.
pub(crate) struct Leftovers {
    mark: String,
    temporary: TempDir,
}

impl Leftovers {
    /// A mark that nobody else has, and an empty folder.
    pub(crate) fn new(undertaker: &Undertaker) -> anyhow::Result<Leftovers> {
        let temporary = undertaker.folder_in(&std::env::temp_dir())?;
        // The folder's name is unique already.
        let mark = temporary.path().display().to_string();
        Ok(Leftovers { mark, temporary })
    }

    /// Lets whatever the command starts bear the mark.
    pub(crate) fn mark(&self, command: &mut Command) {
        command.env(MARK, &self.mark).env("TMPDIR", self.temporary.path());
    }

    /// An error that names what is left.
    pub(crate) fn check(&self) -> anyhow::Result<()> {
        let started = Instant::now();
        loop {
            let left = self.left()?;
            if left.is_empty() {
                return Ok(());
            }
            if started.elapsed() > PATIENCE {
                bail!("left behind: {}", left.join(", "));
            }
            thread::sleep(POLL);
        }
    }

    fn left(&self) -> anyhow::Result<Vec<String>> {
        let mut left: Vec<String> = marked(Path::new("/proc"), &self.mark)
            .into_iter()
            .map(|(id, command)| format!("process {id} ({command})"))
            .collect();
        let folder = self.temporary.path();
        let entries =
            fs::read_dir(folder).with_context(|| format!("failed to read {}", folder.display()))?;
        left.extend(entries.flatten().map(|entry| entry.path().display().to_string()));
        Ok(left)
    }
}

/// The processes that bear the mark, with their commands. Where there is no `/proc`, none are found.
fn marked(proc: &Path, mark: &str) -> BTreeMap<u32, String> {
    let wanted = format!("{MARK}={mark}");
    let entries = fs::read_dir(proc).into_iter().flatten().flatten();
    let bears = |id: &u32| {
        let environment = fs::read(proc.join(id.to_string()).join("environ")).unwrap_or_default();
        environment.split(|byte| *byte == 0).any(|variable| variable == wanted.as_bytes())
    };
    let ids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    ids.filter(bears).map(|id| (id, command_of(proc, id))).collect()
}

fn command_of(proc: &Path, id: u32) -> String {
    let words = fs::read(proc.join(id.to_string()).join("cmdline")).unwrap_or_default();
    let text = String::from_utf8_lossy(&words).replace('\0', " ");
    text.chars().take(80).collect::<String>().trim().to_owned()
}

#[cfg(test)]
mod tests {
    use std::process::Stdio;

    use super::*;

    #[test]
    fn a_marked_process_is_found_until_it_ends() {
        let mut child = Command::new("sh")
            .args(["-c", "echo ready; exec sleep 60"])
            .env(MARK, "a mark of this test")
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut ready = [0; 6];
        std::io::Read::read_exact(&mut child.stdout.take().unwrap(), &mut ready).unwrap();
        let found = marked(Path::new("/proc"), "a mark of this test");
        assert!(found.contains_key(&child.id()), "{found:?}");
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(marked(Path::new("/proc"), "a mark of this test").is_empty());
    }
}
