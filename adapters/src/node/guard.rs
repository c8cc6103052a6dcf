//! The guard: a second process that ends what would outlive us, even after `kill -9`.
//!
//! It is a shell that reads our orders from a pipe of which we hold the only other end. An order is what to run when we are
//! gone, and takes the place of the one before. When the pipe ends, for whichever reason, the last order is carried out.
//! So whoever starts something says first how it ends.

use std::io::{self, Write as _};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Mutex, PoisonError};

/// In a process group of its own and deaf to signals from a terminal, so that Ctrl-C does not reach it.
const SCRIPT: &str = "trap '' INT TERM HUP; order=:; \
                      while IFS= read -r line; do order=$line; done; eval \"$order\"";

/// Our end of the pipe. Dropping it has the last order carried out, and waits for that.
#[derive(Debug)]
pub struct Guard {
    pipe: Mutex<Option<ChildStdin>>,
    shell: Child,
}

impl Guard {
    /// Starts the second process. Until it hears an order it does nothing in the end.
    ///
    /// # Errors
    /// When there is no shell.
    pub fn hire() -> io::Result<Guard> {
        let mut shell = Command::new("sh")
            .args(["-c", SCRIPT])
            .stdin(Stdio::piped())
            // Whoever waits for the end of our output must not wait for the guard.
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()?;
        let pipe = Mutex::new(shell.stdin.take());
        Ok(Guard { pipe, shell })
    }

    /// What is to be run by a shell when we are gone, in place of what was ordered before. Words that are not ours to choose
    /// are [`quoted`].
    ///
    /// # Errors
    /// When the guard is gone, or the order is longer than a line.
    pub fn order(&self, script: &str) -> io::Result<()> {
        if script.contains('\n') {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "an order is one line"));
        }
        let mut pipe = self.pipe.lock().unwrap_or_else(PoisonError::into_inner);
        match pipe.as_mut() {
            Some(pipe) => pipe.write_all(format!("{script}\n").as_bytes()),
            None => Ok(()),
        }
    }

    /// Nothing is left to be ended.
    ///
    /// # Errors
    /// As [`Guard::order`].
    pub fn dismiss(&self) -> io::Result<()> {
        self.order(":")
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.pipe.get_mut().unwrap_or_else(PoisonError::into_inner).take();
        let _ = self.shell.wait();
    }
}

/// A word as a shell takes it, whatever is in it.
pub fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''"))
}
