//! An offset, once acknowledged or read, is bound to its record for good: all acknowledgements and all reads agree.
//!
//! Source: LOG-01, LOG-02, LOG-03, LOG-15, LOG-23, LOG-25, and DED-04 for what a resend is told; Kafka's
//! `docs/design.html`; KAFKA-7866.
//!
//! Witness: every read of an offset against every other one; the offsets that returns and answers (hidden and late ones
//! too) tell of a batch against each other and against the reads; and that what was read once is still there in the end.
//!
//! Not claimed: anything of offsets that nobody was told, nor that offsets have no gaps (LOG-04).

use onceness_reference::features::Features;
use onceness_reference::history::{Event, Outcome, Reply};
use onceness_reference::ids::{Offset, Tag};
use onceness_reference::plan::Isolation;

use crate::facts::log::FOREIGN;
use crate::facts::{At, Facts, NEVER, Odd};
use crate::watch::{Sight, Watch};
use crate::{Claim, Findings, Property};

pub(crate) const PROPERTY: Property = Property {
    name: "stable-offsets",
    claims: &[Claim::AtMostOnce, Claim::AtLeastOnce, Claim::Idempotent, Claim::Transactional],
    promise: "An offset, once acknowledged or read, is bound to its record for good: all acknowledgements and all reads agree.",
    source: "LOG-01, LOG-02, LOG-03, LOG-15, LOG-23, LOG-25, DED-04; Kafka docs/design.html; KAFKA-7866",
    witness: "reads against each other, acknowledged offsets against each other and against reads",
    not_claimed: "offsets that nobody was told; that offsets have no gaps",
    needs: |_, _: Features| true,
    watch: || Box::new(StableOffsets),
};

struct StableOffsets;

impl Watch for StableOffsets {
    fn records(&mut self, facts: &Facts<'_>, sights: &[Sight<'_>], findings: &mut Findings) {
        sights.iter().for_each(|sight| self.record(facts, sight, findings));
    }

    fn rest(&mut self, facts: &Facts<'_>, findings: &mut Findings) {
        for (call, answer) in &facts.answers {
            compare_answer(facts, *call, *answer, findings);
        }
        for odd in &facts.conflicts {
            accuse_conflict(facts, odd, findings);
        }
        for odd in &facts.gone {
            accuse_gone(facts, odd, findings);
        }
    }
}

impl StableOffsets {
    fn record(&mut self, facts: &Facts<'_>, sight: &Sight<'_>, findings: &mut Findings) {
        let (record, send, claim) = (sight.record, sight.send, sight.claim);
        // Twice told: acknowledged and read, or read by a poll and in the end.
        let acked = send.acked(record.place).filter(|_| record.copies > 0);
        let last = || facts.log(send.partition).last(Isolation::ReadUncommitted);
        if acked.is_some() || last().is_some_and(|last| record.first_seen() < last.at) {
            findings.tested(claim);
        }
        if let Some(offset) = acked.filter(|offset| *offset != record.at) {
            compare_with_ack(facts, sight, offset, findings);
        }
    }
}

fn compare_with_ack(facts: &Facts<'_>, sight: &Sight<'_>, offset: Offset, findings: &mut Findings) {
    let (record, send, claim) = (sight.record, sight.send, sight.claim);
    let there = facts.log(send.partition).get(offset);
    if there.is_some_and(|slot| slot.tag == record.tag.0) {
        return;
    }
    findings.accuse(claim, facts.weaknesses.of_transaction(send.txn), || {
        let (client, tag, to, at) = (facts.client(send.party), record.tag, send.partition, record.at);
        let there = there.map_or(NEVER, |slot| slot.first_seen());
        let story = format!("{tag} of {client} was acknowledged in {to} at offset {offset}, but is read at offset {at}");
        (vec![send.asked.at, facts.base_told(send), record.first_seen(), there], story)
    });
}

/// All acknowledgements of a batch with sequence numbers tell one offset. Each copy of another batch has its own, and the
/// reads say whether it is there.
fn compare_answer(facts: &Facts<'_>, call: At, answer: At, findings: &mut Findings) {
    let (Some(send), Some(base)) = (facts.send_at(call), appended(facts, answer)) else { return };
    let Some(claim) = facts.claim_of(send) else { return };
    if base == send.base {
        return;
    }
    let weakness = facts.weaknesses.of_transaction(send.txn);
    let client = facts.client(send.party);
    let (to, told) = (send.partition, send.base);
    if matches!(claim, Claim::Idempotent | Claim::Transactional) {
        findings.accuse(claim, weakness, || {
            let story = format!("one batch of {client} was acknowledged in {to} at offset {told} and at offset {base}");
            (vec![call, facts.base_told(send), answer], story)
        });
        return;
    }
    let there = facts.log(to).get(base);
    let Some(first) = facts.records.get(send.first as usize) else { return };
    if let Some(slot) = there.filter(|slot| slot.tag != first.tag.0) {
        findings.accuse(claim, weakness, || {
            let tag = first.tag;
            let story = format!("a copy of {tag} of {client} was acknowledged in {to} at offset {base}, which holds another record");
            (vec![call, answer, slot.first_seen()], story)
        });
    }
}

fn appended(facts: &Facts<'_>, answer: At) -> Option<Offset> {
    match facts.history.events.get(answer as usize)? {
        Event::Answer { outcome: Outcome::Done(Reply::Appended { base }), .. } => *base,
        _ => None,
    }
}

fn accuse_conflict(facts: &Facts<'_>, odd: &Odd, findings: &mut Findings) {
    let slot = facts.log(odd.partition).get(odd.offset);
    let other = slot.map_or(FOREIGN, |slot| slot.tag);
    let claim = claim_of(facts, other).or(claim_of(facts, odd.tag)).unwrap_or(Claim::AtLeastOnce);
    findings.accuse(claim, None, || {
        let (partition, offset) = (odd.partition, odd.offset);
        let (one, other) = (name(odd.tag), name(other));
        let (who, others) = (facts.who(odd.at), slot.map_or(NEVER, |slot| slot.first_seen()));
        let story = format!(
            "{who} read {one} at offset {offset} of {partition}, where another read has {other}"
        );
        (vec![odd.at, others], story)
    });
}

fn accuse_gone(facts: &Facts<'_>, odd: &Odd, findings: &mut Findings) {
    let claim = claim_of(facts, odd.tag).unwrap_or(Claim::AtLeastOnce);
    findings.accuse(claim, None, || {
        let (what, partition, offset) = (name(odd.tag), odd.partition, odd.offset);
        let last =
            facts.log(partition).last(Isolation::ReadUncommitted).map_or(NEVER, |last| last.at);
        let who = facts.who(odd.at);
        let story = format!(
            "{who} read {what} at offset {offset} of {partition}, and in the end nothing is there"
        );
        (vec![odd.at, last], story)
    });
}

fn claim_of(facts: &Facts<'_>, tag: u32) -> Option<Claim> {
    let record = facts.find(Tag(tag)).filter(|_| tag != FOREIGN)?;
    facts.claim_of(facts.send_of(record)?)
}

/// How a story names what was read at an offset.
pub(crate) fn name(tag: u32) -> String {
    match tag {
        FOREIGN => "bytes that are no record of this case".to_owned(),
        tag => Tag(tag).to_string(),
    }
}
