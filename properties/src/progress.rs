//! Once faults have healed everything goes on: no transaction stays open, nothing stays unreadable, no call hangs.
//!
//! Source: TXN-15, TXN-16, TXN-18, ISO-14, ISO-15; KIP-890 (hanging transactions).
//!
//! Witness: the epilogue: whatever did not go on within the time given, and final reads whose last stable offset is not the
//! high watermark.
//!
//! Not claimed: how long anything takes while there are faults; nor, without an epilogue, anything at all.

use onceness_reference::features::Features;
use onceness_reference::history::Event;
use onceness_reference::ids::Partition;
use onceness_reference::plan::Isolation;

use crate::facts::Facts;
use crate::watch::Watch;
use crate::{Claim, Findings, Property};

pub(crate) const PROPERTY: Property = Property {
    name: "progress",
    claims: &Claim::ALL,
    promise: "Once faults have healed everything goes on: no transaction stays open, nothing stays unreadable, no call hangs.",
    source: "TXN-15, TXN-16, TXN-18, ISO-14, ISO-15; KIP-890",
    witness: "the epilogue: what did not go on in time, and last stable offsets below the high watermark",
    not_claimed: "how long anything takes while there are faults",
    needs: |_, _: Features| true,
    watch: || Box::new(Progress),
};

struct Progress;

impl Watch for Progress {
    fn rest(&mut self, facts: &Facts<'_>, findings: &mut Findings) {
        find(facts, findings);
    }
}

fn find(facts: &Facts<'_>, findings: &mut Findings) {
    let claims = facts.claims_present();
    for at in &facts.stuck {
        for claim in &claims {
            findings.accuse(*claim, facts.weaknesses.of_stuck(facts), || {
                let what = match &facts.history.events[*at as usize] {
                    Event::Stuck { what } => what.as_str(),
                    _ => "something",
                };
                (vec![*at], format!("after healing, this did not go on: {what}"))
            });
        }
    }
    for partition in (0..facts.logs.len()).map(|place| Partition(place as u32)) {
        for isolation in [Isolation::ReadUncommitted, Isolation::ReadCommitted] {
            let Some(read) = facts.log(partition).last(isolation) else { continue };
            claims.iter().for_each(|claim| findings.tested(*claim));
            let Some(stable) = read.last_stable.filter(|stable| *stable != read.high_watermark)
            else {
                continue;
            };
            // Only transactions hold the last stable offset back.
            findings.accuse(Claim::Transactional, facts.weaknesses.of_partition(facts, partition), || {
                let high = read.high_watermark;
                let story = format!("after healing, the last stable offset of {partition} is {stable}, not the high watermark {high}");
                (vec![read.at], story)
            });
        }
    }
}
