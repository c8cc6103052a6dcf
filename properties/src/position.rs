//! The position that a group reads back is the one that was saved last, and none if none was.
//!
//! Source: OFF-01, OFF-02, OFF-03, OFF-04, OFF-05, OFF-07, OFF-14, E2E-09; KIP-98, KIP-447 (`require_stable`).
//!
//! Witness: the positions that openings, rewinds and the epilogue tell, against all saves of the group. A save counts from
//! its call on, one in a transaction from the call of its commit on; an aborted one never.
//!
//! Not claimed: which of several saves wins that overlap, or whose outcome is unknown; positions of transactions that are
//! neither committed nor aborted, which a stable reader waits for.

use onceness_reference::features::Features;
use onceness_reference::ids::{GroupId, Offset};

use crate::facts::calls::TxnFate;
use crate::facts::positions::Mismatch;
use crate::facts::{Facts, claim_of_saving};
use crate::watch::Watch;
use crate::{Claim, Findings, Property};

pub(crate) const PROPERTY: Property = Property {
    name: "position",
    claims: &[Claim::AtMostOnce, Claim::AtLeastOnce, Claim::ExactlyOnce],
    promise: "The position that a group reads back is the one that was saved last, and none if none was.",
    source: "OFF-01, OFF-02, OFF-03, OFF-04, OFF-05, OFF-07, OFF-14, E2E-09; KIP-98, KIP-447",
    witness: "positions told by openings, rewinds and the epilogue against all saves of the group",
    not_claimed: "which of several saves wins that overlap or whose outcome is unknown",
    needs: |_, _: Features| true,
    watch: || Box::new(Position),
};

struct Position;

impl Watch for Position {
    fn rest(&mut self, facts: &Facts<'_>, findings: &mut Findings) {
        find(facts, findings);
    }
}

fn find(facts: &Facts<'_>, findings: &mut Findings) {
    for ((group, _), register) in &facts.registers {
        if let Some(claim) = claim_of(facts, *group) {
            register.told.iter().for_each(|_| findings.tested(claim));
        }
    }
    for mismatch in &facts.mismatches {
        if let Some(claim) = claim_of(facts, mismatch.group) {
            accuse(facts, mismatch, claim, findings);
        }
    }
}

fn claim_of(facts: &Facts<'_>, group: GroupId) -> Option<Claim> {
    let group = facts.groups.iter().find(|known| known.id == group)?;
    Some(claim_of_saving(group.consumer?.saving))
}

fn accuse(facts: &Facts<'_>, mismatch: &Mismatch, claim: Claim, findings: &mut Findings) {
    findings.accuse(claim, facts.weaknesses.of_mismatch(facts, mismatch), || {
        let mut evidence = vec![mismatch.at];
        for save in &mismatch.saves {
            let save = &facts.saves[*save as usize];
            evidence.extend([save.asked.at, save.asked.done_by]);
            if let Some(txn) = facts.transactions.get(save.txn as usize) {
                evidence.extend([txn.end.at, txn.end.done_by]);
                evidence.extend(facts.weaknesses.evidence(save.txn));
            }
        }
        let (group, partition) = (mismatch.group, mismatch.partition);
        let got = position(&mismatch.got);
        let expected: Vec<String> = mismatch.expected.iter().map(position).collect();
        let expected = expected.join(" or ");
        let origin = origin(facts, mismatch);
        (evidence, format!("{group} was told that its position in {partition} is {got}{origin}, where it had to be {expected}"))
    });
}

fn position(position: &Option<Offset>) -> String {
    position.map_or_else(|| "none".to_owned(), |offset| offset.to_string())
}

/// Where the wrong position may have come from.
fn origin(facts: &Facts<'_>, mismatch: &Mismatch) -> &'static str {
    let saves = mismatch.saves.iter().map(|save| &facts.saves[*save as usize]);
    let mut same = saves.filter(|save| facts.position_of(save, mismatch.partition) == mismatch.got);
    let Some(save) = same.next() else { return "" };
    match facts.transactions.get(save.txn as usize) {
        _ if save.asked.is_refused() => " (whose save was refused)",
        Some(txn) if txn.fate() == TxnFate::NotCommitted => {
            " (saved in a transaction that was not committed)"
        }
        Some(txn) if txn.end.at > mismatch.at => " (saved in a transaction that was still open)",
        _ => " (an earlier save)",
    }
}
