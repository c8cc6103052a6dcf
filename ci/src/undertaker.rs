//! The undertaker: a second process that ends whatever outlives the first one, even after `kill -9`.
//!
//! It reads a pipe of which the gate holds the only other end. Each line registers or forgets a process, a process group,
//! a folder or a network interface. When the pipe ends, for whichever reason, what is still registered is killed and deleted.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::io::{BufRead, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Context;
use nix::sys::signal::{self, Signal};
use nix::unistd::Pid;

use crate::process::Interrupt;

/// The hidden subcommand under which this binary is its own undertaker.
pub(crate) const SUBCOMMAND: &str = "undertake";

/// How long deleting a folder is tried while killed processes are still letting go of it.
const PATIENCE: Duration = Duration::from_secs(5);

/// What has to be gone in the end.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Mortal {
    /// One process.
    Process(i32),
    /// A process group, named by its leader.
    Group(i32),
    /// A folder with everything in it.
    Folder(PathBuf),
    /// A network interface, by name.
    Link(String),
}

impl Mortal {
    fn line(&self) -> String {
        match self {
            Mortal::Process(id) => format!("process {id}"),
            Mortal::Group(id) => format!("group {id}"),
            Mortal::Folder(path) => format!("folder {}", path.display()),
            Mortal::Link(name) => format!("link {name}"),
        }
    }

    fn parse(line: &str) -> Option<Mortal> {
        match line.split_once(' ')? {
            ("process", id) => id.parse().ok().map(Mortal::Process),
            ("group", id) => id.parse().ok().map(Mortal::Group),
            ("folder", path) => Some(Mortal::Folder(path.into())),
            ("link", name) => Some(Mortal::Link(name.to_owned())),
            _ => None,
        }
    }

    /// Sends a signal; a process that is gone already is no error.
    pub(crate) fn signal(&self, signal: Signal) {
        let _ = match self {
            Mortal::Process(id) => signal::kill(Pid::from_raw(*id), signal),
            Mortal::Group(id) => signal::killpg(Pid::from_raw(*id), signal),
            Mortal::Folder(_) | Mortal::Link(_) => Ok(()),
        };
    }

    /// Deletes a folder or a network interface; one that is gone already is no error.
    pub(crate) fn delete(&self) {
        match self {
            Mortal::Process(_) | Mortal::Group(_) => {}
            Mortal::Folder(path) => delete(path),
            Mortal::Link(name) => {
                let mut ip = Command::new("ip");
                ip.args(["link", "delete", name]).stdout(Stdio::null()).stderr(Stdio::null());
                let _ = ip.status();
            }
        }
    }
}

/// The gate's end of the pipe. Dropping it ends and deletes everything still registered, and waits for that.
pub(crate) struct Undertaker {
    pipe: RefCell<Option<ChildStdin>>,
    child: RefCell<Child>,
    /// Raised when this process is asked to stop.
    pub(crate) interrupt: Interrupt,
}

impl Undertaker {
    /// Starts the second process.
    pub(crate) fn hire(interrupt: Interrupt) -> anyhow::Result<Undertaker> {
        let program = std::env::current_exe().context("failed to find the running program")?;
        let mut child = Command::new(&program)
            .arg(SUBCOMMAND)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            // A group of its own: the terminal's Ctrl-C must not reach it.
            .process_group(0)
            .spawn()
            .with_context(|| format!("failed to start {}", program.display()))?;
        let pipe = child.stdin.take();
        Ok(Undertaker { pipe: RefCell::new(pipe), child: RefCell::new(child), interrupt })
    }

    /// Registers what must not outlive this process.
    pub(crate) fn register(&self, mortal: &Mortal) -> anyhow::Result<()> {
        self.tell(&mortal.line())
    }

    /// Strikes out what is gone, as its number may soon be somebody else's.
    pub(crate) fn forget(&self, mortal: &Mortal) {
        // A dead undertaker kills nobody, so failing to tell it is harmless.
        let _ = self.tell(&format!("forget {}", mortal.line()));
    }

    /// Makes a temporary folder that is deleted when dropped, and by the undertaker otherwise.
    pub(crate) fn folder_in(&self, parent: &Path) -> anyhow::Result<tempfile::TempDir> {
        let folder = tempfile::Builder::new()
            .prefix("onceness-")
            .tempdir_in(parent)
            .with_context(|| format!("failed to create a folder in {}", parent.display()))?;
        self.register(&Mortal::Folder(folder.path().to_owned()))?;
        Ok(folder)
    }

    fn tell(&self, line: &str) -> anyhow::Result<()> {
        match self.pipe.borrow_mut().as_mut() {
            Some(pipe) => writeln!(pipe, "{line}").context("failed to write to the undertaker"),
            None => Ok(()),
        }
    }
}

impl Drop for Undertaker {
    fn drop(&mut self) {
        self.pipe.take();
        let _ = self.child.borrow_mut().wait();
    }
}

/// The second process: listens until `orders` end, then does its work.
pub(crate) fn undertake(orders: impl BufRead) {
    let remaining = registered(orders);
    for mortal in &remaining {
        mortal.signal(Signal::SIGKILL);
    }
    for mortal in &remaining {
        mortal.delete();
    }
}

fn registered(orders: impl BufRead) -> BTreeSet<Mortal> {
    let mut remaining = BTreeSet::new();
    for line in orders.lines().map_while(Result::ok) {
        if let Some(gone) = line.strip_prefix("forget ") {
            Mortal::parse(gone).map(|mortal| remaining.remove(&mortal));
        } else {
            remaining.extend(Mortal::parse(&line));
        }
    }
    remaining
}

fn delete(path: &Path) {
    let started = Instant::now();
    while let Err(error) = std::fs::remove_dir_all(path)
        && path.exists()
    {
        if started.elapsed() > PATIENCE {
            eprintln!("cargo ci: failed to delete {}: {error}", path.display());
            return;
        }
        thread::sleep(Duration::from_millis(20));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_forgotten_is_spared() {
        let orders = "process 10\ngroup 11\nfolder /a b/c\nforget group 11\nnonsense\ngroup x\n";
        let remaining: Vec<_> = registered(orders.as_bytes()).into_iter().collect();
        assert_eq!(remaining, [Mortal::Process(10), Mortal::Folder("/a b/c".into())]);
    }

    #[test]
    fn the_end_of_orders_deletes_folders() {
        let folder = tempfile::tempdir().unwrap().keep();
        std::fs::write(folder.join("file"), "x").unwrap();
        undertake(format!("folder {}\n", folder.display()).as_bytes());
        assert!(!folder.exists());
    }

    #[test]
    fn orders_survive_the_pipe() {
        let folder = Mortal::Folder("/x y".into());
        for mortal in [Mortal::Process(1), Mortal::Group(2), folder, Mortal::Link("b1".into())] {
            assert_eq!(Mortal::parse(&mortal.line()), Some(mortal));
        }
    }
}
