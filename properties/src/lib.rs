//! The claims: each property a pure function from a history to a verdict. They know the history, never the model.

use onceness_reference::history::History;

pub mod verdict;

pub use verdict::{Claim, Verdict, Violation};

/// One promise, and how to see whether it was kept.
#[derive(Debug)]
pub struct Property {
    /// The name that users type, reports show and the file bears.
    pub name: &'static str,
    /// The claims that it speaks for.
    pub claims: &'static [Claim],
    /// The promise, in one sentence, as a broker's manual would word it.
    pub promise: &'static str,
    /// Where the promise comes from.
    pub source: &'static str,
    /// Which events witness it.
    pub witness: &'static str,
    /// What it does not claim.
    pub not_claimed: &'static str,
}

/// What one property says of a history, for one of its claims.
#[derive(Clone, Debug)]
pub struct Judgement {
    /// Which property.
    pub property: &'static Property,
    /// For which claim.
    pub claim: Claim,
    /// What it says.
    pub verdict: Verdict,
}

/// All properties, in the order of the reports.
pub const PROPERTIES: &[Property] = &[];

/// Judges a history by every property, for every claim that the property speaks for.
pub fn judge(history: &History) -> Vec<Judgement> {
    let _ = history;
    Vec::new()
}
