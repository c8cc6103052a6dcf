//! Exit codes: what the process says to whoever started it.

use std::process::ExitCode;

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// All selected claims hold.
    Holds,
    /// A claim is violated.
    Violated,
    /// The command was not understood, or its files cannot be read or written.
    Usage,
    /// Nothing can be concluded: unreachable, interrupted, budget spent, something left untested.
    Inconclusive,
    /// Nothing was selected.
    NothingSelected,
    /// All claims hold, but something is accepted that no longer occurs, and that was denied.
    Stale,
    /// A bug of ours.
    Internal,
}

impl Exit {
    /// The number. 2 is what clap exits with; 70 is `EX_SOFTWARE` of sysexits.
    pub fn code(self) -> u8 {
        match self {
            Exit::Holds => 0,
            Exit::Violated => 1,
            Exit::Usage => 2,
            Exit::Inconclusive => 3,
            Exit::NothingSelected => 4,
            Exit::Stale => 5,
            Exit::Internal => 70,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        ExitCode::from(exit.code())
    }
}
