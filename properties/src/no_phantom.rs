//! The log holds only records that a producer sent to that partition and that were not refused, unchanged.
//!
//! Source: LOG-02, LOG-06, TXN-07 (a refused batch leaves no trace); ISO-04 (no marker is handed to an application).
//!
//! Witness: every read: bytes that are no record of the case, records nobody sent, sent elsewhere, refused, or sent later.
//!
//! Not claimed: that a refusal was right, nor anything of records whose outcome is unknown.

use onceness_reference::features::Features;
use onceness_reference::ids::Tag;

use crate::facts::log::FOREIGN;
use crate::facts::{At, Facts, Odd};
use crate::stable_offsets::name;
use crate::watch::{Sight, Watch};
use crate::{Claim, Findings, Property};

pub(crate) const PROPERTY: Property = Property {
    name: "no-phantom",
    claims: &[Claim::AtMostOnce, Claim::AtLeastOnce, Claim::Idempotent, Claim::Transactional],
    promise: "The log holds only records that a producer sent to that partition and that were not refused, unchanged.",
    source: "LOG-02, LOG-06, TXN-07, ISO-04",
    witness: "every read: foreign bytes, records never sent, sent elsewhere, refused, or sent later",
    not_claimed: "that a refusal was right; records whose outcome is unknown",
    needs: |_, _: Features| true,
    watch: || Box::new(NoPhantom),
};

struct NoPhantom;

impl Watch for NoPhantom {
    fn records(&mut self, facts: &Facts<'_>, sights: &[Sight<'_>], findings: &mut Findings) {
        sights.iter().for_each(|sight| self.record(facts, sight, findings));
    }

    fn rest(&mut self, facts: &Facts<'_>, findings: &mut Findings) {
        for odd in &facts.strangers {
            accuse(facts, odd, findings);
        }
        for odd in &facts.conflicts {
            if odd.tag == FOREIGN
                || facts.find(Tag(odd.tag)).is_none_or(|record| facts.send_of(record).is_none())
            {
                accuse(facts, odd, findings);
            }
        }
    }
}

impl NoPhantom {
    fn record(&mut self, facts: &Facts<'_>, sight: &Sight<'_>, findings: &mut Findings) {
        let (record, send, claim) = (sight.record, sight.send, sight.claim);
        let refused = send.asked.is_refused();
        if record.copies == 0 && !refused {
            return;
        }
        findings.tested(claim);
        let early = record.first_seen() < send.asked.at;
        if record.copies > 0 && (refused || early) {
            findings.accuse(claim, facts.weaknesses.of_transaction(send.txn), || {
                let (client, tag, to, at) =
                    (facts.client(send.party), record.tag, send.partition, record.at);
                let why = if early { "was not yet sent" } else { "was refused" };
                let story = format!("{tag} of {client} {why}, but is read in {to} at offset {at}");
                (vec![send.asked.at, send.asked.returned, record.first_seen()], story)
            });
        }
    }
}

fn accuse(facts: &Facts<'_>, odd: &Odd, findings: &mut Findings) {
    let record = facts.find(Tag(odd.tag)).filter(|_| odd.tag != FOREIGN);
    let send = record.and_then(|record| facts.send_of(record));
    let sent: Vec<At> = send.iter().map(|send| send.asked.at).collect();
    // Bytes of unknown origin speak against whatever was claimed.
    let claims = match send.and_then(|send| facts.claim_of(send)) {
        Some(claim) => vec![claim],
        None => facts.claims_present(),
    };
    for claim in claims {
        findings.accuse(claim, None, || {
            let (what, partition, offset) = (name(odd.tag), odd.partition, odd.offset);
            let who = facts.who(odd.at);
            let instead = match send {
                Some(send) => format!(", but it was sent to {}", send.partition),
                None if odd.tag == FOREIGN => String::new(),
                None => ", but nobody sent it".to_owned(),
            };
            let evidence = sent.iter().copied().chain([odd.at]).collect();
            (evidence, format!("{who} read {what} in {partition} at offset {offset}{instead}"))
        });
    }
}
