//! A record that was acknowledged with acks=all, be it in an answer lost on its way, is in the log for whoever reads it.
//!
//! Source: LOG-06, LOG-10, LOG-23, E2E-02, E2E-03 (an acknowledgement with acks=all is for the whole batch and survives
//! restarts); DED-11, DED-14 (no batch is taken for a duplicate that is not in the log); LOG-17, ISO-06, ISO-07 (no reader
//! goes past what is for it); Kafka's `docs/design.html`, "Message Delivery Semantics"; KIP-98.
//!
//! Witness: the returns and hidden answers of sends that say it was appended, against the final reads; and polls that
//! moved their position, against the same reads: no reader goes past a record that is for it.
//!
//! Not claimed: records sent at most once, records nobody acknowledged, and (that is `isolation` and `atomicity`) the
//! visibility of records in transactions that were not committed. Without a final read there is nothing to compare with.
//! Duplicates of at-least-once records are allowed, and counted here.

use onceness_reference::features::Features;
use onceness_reference::plan::Isolation;

use crate::facts::calls::{Sent, TxnFate};
use crate::facts::{Fact, Facts, NEVER, Skipped};
use crate::watch::{Sight, Watch};
use crate::{Claim, Findings, Property};

pub(crate) const PROPERTY: Property = Property {
    name: "no-loss",
    claims: &[Claim::AtLeastOnce, Claim::Idempotent, Claim::Transactional],
    promise: "A record that was acknowledged with acks=all, be it in an answer lost on its way, is in the log for whoever reads it.",
    source: "LOG-06, LOG-10, LOG-17, LOG-23, DED-11, DED-14, ISO-06, ISO-07, E2E-02, E2E-03; Kafka docs/design.html, Message Delivery Semantics; KIP-98",
    witness: "acknowledgements of sends against the final reads; polls that moved on against the final reads",
    not_claimed: "records sent at most once or never acknowledged; records of transactions that were not committed",
    needs: |_, _: Features| true,
    watch: || Box::<NoLoss>::default(),
};

#[derive(Default)]
struct NoLoss {
    duplicates: u64,
}

impl Watch for NoLoss {
    fn records(&mut self, facts: &Facts<'_>, sights: &[Sight<'_>], findings: &mut Findings) {
        sights.iter().for_each(|sight| self.record(facts, sight, findings));
    }

    fn rest(&mut self, facts: &Facts<'_>, findings: &mut Findings) {
        for skip in &facts.skips {
            accuse_skip(facts, skip, findings);
        }
        findings.note(Claim::AtLeastOnce, "duplicates", self.duplicates);
    }
}

impl NoLoss {
    fn record(&mut self, facts: &Facts<'_>, sight: &Sight<'_>, findings: &mut Findings) {
        let (record, send, claim) = (sight.record, sight.send, sight.claim);
        if claim == Claim::AtLeastOnce {
            self.duplicates += u64::from(record.copies.saturating_sub(1));
        }
        let aborted = sight.txn.is_some_and(|(_, fate)| fate == TxnFate::NotCommitted);
        if claim == Claim::AtMostOnce || !send.asked.is_done() || aborted {
            return;
        }
        let read = facts.log(send.partition).last(Isolation::ReadUncommitted);
        let Some(last) = read.filter(|last| last.at > send.asked.done_by) else { return };
        findings.tested(claim);
        // What was seen and is gone is told by `stable-offsets`; what only read_committed shows, by `isolation`.
        if record.copies == 0 {
            findings.accuse(claim, facts.weaknesses.of_loss(facts, send), || {
                let evidence = vec![send.asked.at, send.asked.done_by, last.at];
                (evidence, story(facts, record, send))
            });
        }
    }
}

fn story(facts: &Facts<'_>, record: &Fact, send: &Sent) -> String {
    let client = facts.client(send.party);
    let to = send.partition;
    let place =
        send.acked(record.place).map_or_else(String::new, |offset| format!(" at offset {offset}"));
    format!(
        "{} of {client} was acknowledged in {to}{place}, but no read of {to} shows it",
        record.tag
    )
}

fn accuse_skip(facts: &Facts<'_>, skip: &Skipped, findings: &mut Findings) {
    let level = crate::facts::log::level(skip.isolation);
    let log = facts.log(skip.partition);
    let within = log
        .slots()
        .filter(|(offset, slot)| (skip.from..skip.to).contains(offset) && slot.last[level]);
    let handed = facts.handed(skip.at, skip.partition);
    let Some((offset, slot)) = within.into_iter().find(|(offset, _)| !handed.contains(offset))
    else {
        return;
    };
    let record = facts.find(onceness_reference::ids::Tag(slot.tag));
    let send = record.and_then(|record| facts.send_of(record));
    // A reader is owed even what was sent at most once, once it is in the log.
    let claim = match send.and_then(|send| facts.claim_of(send)) {
        None | Some(Claim::AtMostOnce) => Claim::AtLeastOnce,
        Some(claim) => claim,
    };
    let weakness = send.and_then(|send| facts.weaknesses.of_transaction(send.txn));
    findings.accuse(claim, weakness, || {
        let last = log.last(skip.isolation).map_or(NEVER, |last| last.at);
        let (from, to, partition) = (skip.from, skip.to, skip.partition);
        let what = record.map_or_else(|| "a record".to_owned(), |record| record.tag.to_string());
        let reader = facts.who(skip.at);
        let story = format!(
            "{reader} read {partition} from offset {from} up to {to} and was not handed {what} at offset {offset}, \
             which the final read shows"
        );
        (vec![skip.at, last], story)
    });
}
