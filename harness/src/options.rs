//! What a run is asked to do, as one explicit value: no defaults hide in the rig.

use std::time::Duration;

use onceness_properties::Claim;

use crate::accept::Accepts;

/// What a certification does, and how long.
#[derive(Clone, Debug)]
pub struct Options {
    /// How users name the target in commands.
    pub target: String,
    /// The same plan always gives the same history, so that a seed is as good as a file.
    pub deterministic: bool,
    /// Draws all cases ([`crate::seeds::case_seed`]).
    pub seed: u64,
    /// How many cases; none: until the time is up.
    pub cases: Option<u64>,
    /// How long cases are run at most. Shrinking and cleaning up come after.
    pub time: Option<Duration>,
    /// The run ends once every cell that the target can be brought to was reached so often.
    pub until_covered: Option<u64>,
    /// How many cases run at once.
    pub jobs: usize,
    /// Which claims are judged.
    pub claims: Claims,
    /// What does not fail the run: known weaknesses ([`onceness_properties::weakness`]), and known breaches of the target.
    pub accept: Accepts,
    /// Breaches that are accepted and no longer occur leave the run not green ([`crate::Exit::Stale`]).
    pub deny_stale: bool,
    /// Stop at the first failing case.
    pub fail_fast: bool,
    /// How failures are made smaller.
    pub shrink: Shrinking,
}

/// Which claims are judged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claims {
    /// Which, weakest first.
    pub chosen: Vec<Claim>,
    /// Whether the user named them: then one that the target cannot be asked about leaves the run inconclusive.
    pub named: bool,
}

impl Claims {
    /// All that the target supports.
    pub fn all() -> Self {
        Claims { chosen: Claim::ALL.to_vec(), named: false }
    }

    /// Whether a claim is judged.
    pub fn has(&self, claim: Claim) -> bool {
        self.chosen.contains(&claim)
    }
}

/// How failures are made smaller.
#[derive(Clone, Copy, Debug)]
pub struct Shrinking {
    /// How many candidates are tried at most, per failure. Zero: not at all.
    pub tries_max: u64,
    /// How long, per failure.
    pub time_max: Duration,
    /// What makes a candidate count.
    pub confirm: Confirm,
    /// How often the result is run again in the end, to see how surely it fails.
    pub final_runs: u32,
}

/// A candidate counts if it fails in `hits` of `runs` runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Confirm {
    /// How often it must fail; 1 at least.
    pub hits: u32,
    /// How often it is run at most.
    pub runs: u32,
}

impl Confirm {
    /// One run decides.
    pub const ONCE: Confirm = Confirm { hits: 1, runs: 1 };
}

impl std::str::FromStr for Confirm {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let fault = || format!("'{text}' is not K/N with 1 <= K <= N, such as 2/5");
        let (hits, runs) = text.split_once('/').ok_or_else(fault)?;
        let number = |text: &str| text.trim().parse::<u32>().map_err(|_| fault());
        let confirm = Confirm { hits: number(hits)?, runs: number(runs)? };
        match confirm.hits >= 1 && confirm.hits <= confirm.runs {
            true => Ok(confirm),
            false => Err(fault()),
        }
    }
}
