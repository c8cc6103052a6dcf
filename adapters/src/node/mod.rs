//! A node: a broker that the rig itself started, and so may hurt.
//!
//! The contestable decision: a node is one process (or container) with one address that stays the same. Clusters of several
//! nodes can be made of several of them; what a plan's fault strikes is *the* broker.

mod container;
mod guard;
mod host;
mod process;

use std::fmt;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::time::Duration;

use futures::future::BoxFuture;

use crate::TargetError;

pub use container::{Container, Image, LABEL, kafka_environment};
pub use guard::{Guard, quoted};
pub(crate) use host::Host;
pub use process::{Launch, Process};

/// A broker that can be killed, started again, stopped for a while, and let go on.
///
/// Whatever becomes of the rig (Ctrl-C, a panic, `kill -9`), it and what it stored temporarily are gone soon after: see
/// [`Guard`].
pub trait Node: Send + Sync + fmt::Debug {
    /// What it is, for people: `launch:NAME`.
    fn name(&self) -> &str;

    /// Where clients reach it, `HOST:PORT` each. The same before and after a restart.
    fn addresses(&self) -> Vec<String>;

    /// How long a pause lasts. Longer than the deadlines of clients.
    fn pause_time(&self) -> Duration;

    /// Whether all that it stores is gone after [`Node::stop`], so that nobody need clean up before.
    fn is_temporary(&self) -> bool;

    /// Starts it on the data that it has, and waits until it answers an API request: an open port is not enough. One that
    /// runs is only let go on, if it was paused.
    fn start(&self) -> BoxFuture<'_, Result<(), NodeError>>;

    /// Kills it as `kill -9` does, with all that belongs to it, and waits until it is gone. It may be paused.
    fn kill(&self) -> BoxFuture<'_, Result<(), NodeError>>;

    /// Stops it in the middle of whatever it does: it keeps its connections and answers nothing.
    fn pause(&self) -> BoxFuture<'_, Result<(), NodeError>>;

    /// Lets it go on after a pause.
    fn resume(&self) -> BoxFuture<'_, Result<(), NodeError>>;

    /// Whether it runs as it should; else how it ended.
    fn check(&self) -> BoxFuture<'_, Result<(), NodeError>>;

    /// Ends it in good order, killed only if it does not obey, and removes what was temporary. It may be paused or dead.
    fn stop(&self) -> BoxFuture<'_, Result<(), NodeError>>;

    /// The last lines of its own log, for whoever has to find out what is wrong with it.
    fn last_words(&self) -> String;
}

/// A node did not do what it was told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeError {
    /// Which.
    pub node: String,
    /// What it was to do: "start".
    pub verb: &'static str,
    /// Why it did not.
    pub reason: String,
    /// The last lines of its log; empty if they say nothing of this.
    pub last_words: String,
}

impl fmt::Display for NodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let NodeError { node, verb, reason, last_words } = self;
        write!(f, "failed to {verb} {node}: {reason}")?;
        match last_words.is_empty() {
            true => Ok(()),
            false => write!(f, "; the end of its log:\n{last_words}"),
        }
    }
}

impl std::error::Error for NodeError {}

impl From<NodeError> for TargetError {
    fn from(error: NodeError) -> Self {
        TargetError {
            address: error.node.clone(),
            request: String::new(),
            reason: error.to_string(),
        }
    }
}

/// How much of a log is shown when something fails.
const LOG_LINES: usize = 20;
/// How much of a log is looked at for its last lines.
const LOG_TAIL: u64 = 64 << 10;

/// The last lines of a text, as errors show them.
pub fn last_lines(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(LOG_LINES)..].join("\n")
}

/// The last lines of a log; none if it cannot be read.
fn end_of(log: &File) -> String {
    let read = || {
        let start = log.metadata()?.len().saturating_sub(LOG_TAIL);
        let mut bytes = vec![0; LOG_TAIL as usize];
        // Where the broker writes must not move.
        let read = log.read_at(&mut bytes, start)?;
        bytes.truncate(read);
        Ok::<_, io::Error>(bytes)
    };
    last_lines(&String::from_utf8_lossy(&read().unwrap_or_default()))
}

#[cfg(test)]
mod host_tests;
#[cfg(test)]
mod tests;
