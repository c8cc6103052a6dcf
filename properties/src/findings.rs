//! What one property found in one history, claim by claim.

use onceness_reference::cells::Cell;
use onceness_reference::ids::EventId;

use crate::facts::{At, NEVER};
use crate::verdict::{Claim, Deviation, Verdict, Violation};

/// More violations of one property and claim than this prove nothing new.
pub const VIOLATIONS_MAX: usize = 8;

/// Something that is allowed and yet worth a count: losses at most once, duplicates at least once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Note {
    /// What was counted.
    pub what: &'static str,
    /// How often.
    pub times: u64,
}

/// What one property found in one history, claim by claim.
#[derive(Clone, Debug, Default)]
pub struct Findings {
    claims: [Found; Claim::ALL.len()],
}

#[derive(Clone, Debug, Default)]
struct Found {
    times: u64,
    violations: Vec<Violation>,
    /// How many of the violations a weakness explains. They have a limit of their own: they must not crowd out the rest.
    explained: usize,
    notes: Vec<Note>,
    deviations: Vec<Deviation>,
    kept: Vec<Cell>,
    broken: Vec<Cell>,
}

impl Findings {
    /// The verdict for one claim.
    pub fn verdict(&self, claim: Claim) -> Verdict {
        let found = &self.claims[claim as usize];
        match (found.violations.is_empty(), found.times) {
            (false, _) => Verdict::Violated(found.violations.clone()),
            (true, 0) => Verdict::Untested,
            (true, times) => Verdict::Holds { times },
        }
    }

    /// The notes for one claim.
    pub fn notes(&self, claim: Claim) -> &[Note] {
        &self.claims[claim as usize].notes
    }

    /// The deviations for one claim, each kind once.
    pub fn deviations(&self, claim: Claim) -> &[Deviation] {
        &self.claims[claim as usize].deviations
    }

    /// In which cells the claim was put to the test and kept: those where it was broken come apart.
    pub fn cells(&self, claim: Claim) -> (&[Cell], &[Cell]) {
        let found = &self.claims[claim as usize];
        (&found.kept, &found.broken)
    }

    /// The claim was put to the test in that cell, and kept.
    pub(crate) fn kept_in(&mut self, claim: Claim, cell: Cell) {
        self.claims[claim as usize].kept.push(cell);
    }

    /// The claim was broken in one of these cells.
    pub(crate) fn broken_in(&mut self, claim: Claim, cells: &[Cell]) {
        self.claims[claim as usize].broken.extend(cells);
    }

    /// The claim was put to the test once more.
    pub(crate) fn tested(&mut self, claim: Claim) {
        self.claims[claim as usize].times += 1;
    }

    /// The claim was broken. The proof is only gathered if there is room for it.
    pub(crate) fn accuse(
        &mut self,
        claim: Claim,
        weakness: Option<&'static str>,
        proof: impl FnOnce() -> (Vec<At>, String),
    ) {
        let found = &mut self.claims[claim as usize];
        let alike = match weakness {
            Some(_) => found.explained,
            None => found.violations.len() - found.explained,
        };
        if alike >= VIOLATIONS_MAX {
            return;
        }
        found.explained += usize::from(weakness.is_some());
        let (evidence, story) = proof();
        let evidence = in_order(evidence);
        found.violations.push(Violation { evidence, story, weakness });
    }

    /// Something is not as it should be. Only the first of a kind is kept.
    pub(crate) fn deviate(
        &mut self,
        claim: Claim,
        what: String,
        breaks: bool,
        proof: impl FnOnce() -> (Vec<At>, String),
    ) {
        let deviations = &mut self.claims[claim as usize].deviations;
        if deviations.iter().all(|other| other.what != what) {
            let (evidence, story) = proof();
            deviations.push(Deviation { what, breaks, evidence: in_order(evidence), story });
        }
    }

    /// Something allowed happened so often.
    pub(crate) fn note(&mut self, claim: Claim, what: &'static str, times: u64) {
        if times > 0 {
            self.claims[claim as usize].notes.push(Note { what, times });
        }
    }
}

fn in_order(mut evidence: Vec<At>) -> Vec<EventId> {
    evidence.retain(|at| *at != NEVER);
    evidence.sort_unstable();
    evidence.dedup();
    evidence.into_iter().map(EventId).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_explained_crowds_nothing_out_and_neither_is_told_without_end() {
        let mut findings = Findings::default();
        for _ in 0..2 * VIOLATIONS_MAX {
            for weakness in [Some("KAFKA-17754"), None] {
                findings.accuse(Claim::Idempotent, weakness, || (Vec::new(), String::new()));
            }
        }
        let Verdict::Violated(violations) = findings.verdict(Claim::Idempotent) else {
            panic!("it was accused")
        };
        let explained = violations.iter().filter(|one| one.weakness.is_some()).count();
        assert_eq!((explained, violations.len()), (VIOLATIONS_MAX, 2 * VIOLATIONS_MAX));
    }
}
