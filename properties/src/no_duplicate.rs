//! A record that is sent at most once, or by an idempotent or transactional producer, is in the log once at most.
//!
//! Source: DED-04, DED-05, DED-12, E2E-01, E2E-03 (a batch that was accepted is not appended again, however often it is
//! resent, nor after a restart); KIP-98.
//!
//! Witness: all reads, polls and final ones: one record at two offsets of its partition.
//!
//! Not claimed: records sent at least once (their duplicates are counted by `no-loss`), what an application sends again
//! under a new identity, and at-most-once records that the network itself repeated. Losses of at-most-once records are
//! allowed, and counted here.

use onceness_reference::features::Features;
use onceness_reference::plan::Isolation;

use crate::facts::Facts;
use crate::watch::{Sight, Watch};
use crate::{Claim, Findings, Property};

pub(crate) const PROPERTY: Property = Property {
    name: "no-duplicate",
    claims: &[Claim::AtMostOnce, Claim::Idempotent, Claim::Transactional],
    promise: "A record that is sent at most once, or by an idempotent or transactional producer, is in the log once at most.",
    source: "DED-04, DED-05, DED-12, E2E-01, E2E-03; KIP-98",
    witness: "all reads: one record at two offsets of its partition",
    not_claimed: "records sent at least once; at-most-once records that the network itself repeated",
    needs: |_, _: Features| true,
    watch: || Box::<NoDuplicate>::default(),
};

#[derive(Default)]
struct NoDuplicate {
    losses: u64,
}

impl Watch for NoDuplicate {
    fn records(&mut self, facts: &Facts<'_>, sights: &[Sight<'_>], findings: &mut Findings) {
        sights.iter().for_each(|sight| self.record(facts, sight, findings));
    }

    fn rest(&mut self, _: &Facts<'_>, findings: &mut Findings) {
        findings.note(Claim::AtMostOnce, "losses", self.losses);
    }
}

impl NoDuplicate {
    fn record(&mut self, facts: &Facts<'_>, sight: &Sight<'_>, findings: &mut Findings) {
        let (record, send, claim) = (sight.record, sight.send, sight.claim);
        if record.copies == 0 {
            let read = facts.log(send.partition).last(Isolation::ReadUncommitted).is_some();
            self.losses += u64::from(claim == Claim::AtMostOnce && read);
            return;
        }
        let repeated = claim == Claim::AtMostOnce && send.asked.answers > 1;
        if claim == Claim::AtLeastOnce || repeated {
            return;
        }
        findings.tested(claim);
        if record.copies > 1 {
            findings.accuse(claim, facts.weaknesses.of_transaction(send.txn), || {
                let copies = facts.copies(record);
                let offsets: Vec<String> =
                    copies.iter().map(|(offset, _)| offset.to_string()).collect();
                let mut evidence: Vec<_> = copies.iter().map(|(_, at)| *at).collect();
                evidence.push(send.asked.at);
                let (client, tag, to) = (facts.client(send.party), record.tag, send.partition);
                let offsets = offsets.join(" and ");
                (evidence, format!("{tag}, sent once by {client}, is in {to} at offsets {offsets}"))
            });
        }
    }
}
