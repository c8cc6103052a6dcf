//! Upserts converge: whatever was resent or replayed, a key ends with the value of the last upsert that was accepted.
//!
//! Source: E2E-06; Kafka's `docs/design.html`, "Message Delivery Semantics" (at least once and primary keys).
//!
//! Witness: in the log, the last record of each key and partition in the final reads against the acknowledged upserts of that
//! key; in the application, the record of each key that a group which processes before it saves processed last.
//!
//! What resends leave of this: the last record in the log may be any upsert of which a copy may have arrived after the last
//! accepted one was sent (so, of an at-least-once producer, one whose request the network kept). It cannot be one that was
//! done with before. A view is compared once the group has come as far again as it ever was; before, it may go back in time.
//!
//! Not claimed: which of several overlapping upserts is last; groups whose instances overlap; upserts sent at most once.

use onceness_reference::features::Features;
use onceness_reference::ids::{Partition, Tag};
use onceness_reference::plan::{Isolation, Saving};

use crate::facts::calls::{Group, Sent, TxnFate};
use crate::facts::log::{FOREIGN, level};
use crate::facts::tags::NONE;
use crate::facts::{Facts, NEVER};
use crate::{Claim, Findings, Property};

pub(crate) const PROPERTY: Property = Property {
    name: "upserts",
    claims: &[Claim::AtLeastOnce, Claim::Idempotent, Claim::Transactional],
    promise: "Upserts converge: whatever was resent or replayed, a key ends with the value of the last upsert that was accepted.",
    source: "E2E-06; Kafka docs/design.html, Message Delivery Semantics",
    witness: "the last record of each key in the final reads against acknowledged upserts; the record of each key that a group processed last",
    not_claimed: "which of several overlapping upserts is last; groups whose instances overlap; upserts sent at most once",
    needs: |_, _: Features| true,
    find,
};

fn find(facts: &Facts<'_>) -> Findings {
    let mut findings = Findings::default();
    let accepted = Accepted::of(facts);
    for partition in 0..=u8::MAX {
        for isolation in [Isolation::ReadUncommitted, Isolation::ReadCommitted] {
            find_in(facts, &accepted, Partition(partition), isolation, &mut findings);
        }
    }
    for group in &facts.groups {
        let after = group.consumer.is_some_and(|consumer| consumer.saving == Saving::AfterProcessing);
        if after && facts.lives_apart(group) {
            find_in_view(facts, group, &mut findings);
        }
    }
    findings
}

/// The upsert of each partition and key that was called last, of those that were accepted: not transactional, and committed.
struct Accepted([Vec<u32>; 2]);

impl Accepted {
    fn of(facts: &Facts<'_>) -> Self {
        let mut accepted = Accepted([Vec::new(), Vec::new()]);
        for (place, record) in facts.records.iter().enumerate() {
            let Some(send) = facts.send_of(record).filter(|_| !record.ambiguous) else { continue };
            let level = match (facts.claim_of(send), facts.txn_of(send)) {
                (Some(Claim::AtLeastOnce | Claim::Idempotent), _) => 0,
                (Some(Claim::Transactional), Some(txn)) if txn.fate() == TxnFate::Committed => 1,
                _ => continue,
            };
            if !send.asked.is_done() {
                continue;
            }
            let key = usize::from(send.partition.0) << 8 | usize::from(record.key);
            let table = &mut accepted.0[level];
            if key >= table.len() {
                table.resize((usize::from(send.partition.0) + 1) << 8, NONE);
            }
            let before = facts.records.get(table[key] as usize);
            let before = before.and_then(|before| Some((facts.send_of(before)?.asked.at, before.place)));
            if before.is_none_or(|before| before < (send.asked.at, record.place)) {
                table[key] = place as u32;
            }
        }
        accepted
    }
}

fn find_in(
    facts: &Facts<'_>,
    accepted: &Accepted,
    partition: Partition,
    isolation: Isolation,
    findings: &mut Findings,
) {
    let level = level(isolation);
    let first = usize::from(partition.0) << 8;
    let (Some(read), Some(table)) = (facts.log(partition).last(isolation), accepted.0[level].get(first..first + 256))
    else {
        return;
    };
    let mut last = [NONE; 256];
    for (_, slot) in facts.log(partition).slots().filter(|(_, slot)| slot.last[level] && slot.tag != FOREIGN) {
        if let Some(place) = facts.place_of(Tag(slot.tag)) {
            last[usize::from(facts.records[place as usize].key)] = place;
        }
    }
    for (upsert, last) in table.iter().zip(last) {
        let (Some(upsert), Some(last)) = (facts.records.get(*upsert as usize), facts.records.get(last as usize)) else {
            continue;
        };
        let (Some(send), Some(stale)) = (facts.send_of(upsert), facts.send_of(last)) else { continue };
        let Some(claim) = facts.claim_of(send) else { continue };
        findings.tested(claim);
        if is_stale(facts, stale, send) {
            let weakness = (facts.weaknesses.of_transaction(send.txn)).or(facts.weaknesses.of_transaction(stale.txn));
            findings.accuse(claim, weakness, || {
                let key = onceness_reference::ids::Key(upsert.key);
                let client = facts.client(send.party);
                let story = format!(
                    "{key} in {partition} ends with {} at offset {}, though {} of {client} was sent later and accepted",
                    last.tag, last.at, upsert.tag
                );
                (vec![stale.asked.at, stale.asked.end(), send.asked.at, send.asked.done_by, read.at], story)
            });
        }
    }
}

/// The one at the end of the log was done with before the accepted one was sent.
fn is_stale(facts: &Facts<'_>, last: &Sent, accepted: &Sent) -> bool {
    // Nothing tells when a send without acknowledgement is done with.
    let told = facts.claim_of(last) != Some(Claim::AtMostOnce);
    told && last.asked.at != accepted.asked.at && last.asked.end() < accepted.asked.at
}

/// By partition and key, the record that was processed last is the furthest one.
fn find_in_view(facts: &Facts<'_>, group: &Group<'_>, findings: &mut Findings) {
    for (view, (last, furthest)) in group.view.iter().enumerate() {
        let (reached, reached_once) = group.reached[view >> 8];
        let (Some(last), Some(furthest)) = (facts.records.get(*last as usize), facts.records.get(*furthest as usize))
        else {
            continue;
        };
        if reached != reached_once || last.copies > 1 || furthest.copies > 1 {
            continue;
        }
        findings.tested(Claim::AtLeastOnce);
        if last.at < furthest.at {
            findings.accuse(Claim::AtLeastOnce, None, || {
                let key = onceness_reference::ids::Key(last.key);
                let sent = |record| facts.send_of(record).map_or(NEVER, |send| send.asked.at);
                let story = format!(
                    "{} processed {} of {key} at offset {} after {} at offset {}, and came to the end",
                    group.id, last.tag, last.at, furthest.tag, furthest.at
                );
                (vec![sent(last), sent(furthest), group.last_processing], story)
            });
        }
    }
}
