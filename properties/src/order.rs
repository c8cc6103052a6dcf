//! The records of one producer session are in a partition in the order in which they were sent, and readers are handed them in that order.
//!
//! Source: LOG-03, LOG-05 (also across retries, with up to five batches in flight); E2E-03; KIP-98; KAFKA-5494.
//!
//! Witness: sends and all reads, by producer session and partition. Of a record that is in the log more than once the
//! first copy counts.
//!
//! Not claimed: order between producers, sessions or partitions. Producers without sequence numbers promise less: a send
//! that was acknowledged before another began comes first, and so do batches in flight together as long as nothing
//! befell either and nothing was resent.

use onceness_reference::features::Features;
use onceness_reference::ids::Tag;

use crate::facts::calls::Sent;
use crate::facts::log::{FOREIGN, Log};
use crate::facts::tags::NONE;
use crate::facts::{At, Fact, Facts, NEVER, Odd};
use crate::{Claim, Findings, Property};

pub(crate) const PROPERTY: Property = Property {
    name: "order",
    claims: &[
        Claim::AtMostOnce,
        Claim::AtLeastOnce,
        Claim::Idempotent,
        Claim::Transactional,
    ],
    promise: "The records of one producer session are in a partition in the order in which they were sent, and readers are handed them in that order.",
    source: "LOG-03, LOG-05, E2E-03; KIP-98; KAFKA-5494",
    witness: "sends and all reads, by producer session and partition",
    not_claimed: "order between producers, sessions or partitions; of producers without sequence numbers, order among sends that overlap and were resent",
    needs: |_, _: Features| true,
    find,
};

/// How far the log of a partition has come with one producer session.
#[derive(Clone, Copy)]
struct Cursor {
    partition: u16,
    /// The record that was sent last, of those so far.
    latest: (At, u32),
    record: u32,
    /// The same, of those that nothing befell.
    undisturbed: (At, u32),
    undisturbed_record: u32,
}

const START: Cursor = Cursor {
    partition: u16::MAX,
    latest: (0, 0),
    record: NONE,
    undisturbed: (0, 0),
    undisturbed_record: NONE,
};

fn find(facts: &Facts<'_>) -> Findings {
    let mut findings = Findings::default();
    let mut cursors = vec![START; facts.lives.len()];
    for (partition, log) in facts.logs.iter().enumerate() {
        find_in(facts, partition as u16, log, &mut cursors, &mut findings);
    }
    for odd in &facts.disorders {
        accuse_reader(facts, odd, &mut findings);
    }
    findings
}

fn find_in(facts: &Facts<'_>, partition: u16, log: &Log, cursors: &mut [Cursor], findings: &mut Findings) {
    for (offset, slot) in log.slots() {
        let Some(place) = facts.place_of(Tag(slot.tag)).filter(|_| slot.tag != FOREIGN) else { continue };
        let record = &facts.records[place as usize];
        let Some(send) = facts.send_of(record) else { continue };
        let first = record.at == offset && u16::from(send.partition.0) == partition && !record.ambiguous;
        let (true, Some(claim)) = (first, facts.claim_of(send)) else { continue };
        let cursor = &mut cursors[send.life as usize];
        if cursor.partition != partition {
            *cursor = Cursor { partition, ..START };
        }
        let sent = (send.asked.at, record.place);
        if cursor.record != NONE {
            findings.tested(claim);
            if let Some(later) = later_and_yet_before(claim, cursor, sent, send) {
                accuse(facts, claim, record, &facts.records[later as usize], findings);
            }
        }
        if cursor.record == NONE || sent > cursor.latest {
            (cursor.latest, cursor.record) = (sent, place);
        }
        let undisturbed = is_undisturbed(claim, send);
        if undisturbed && (cursor.undisturbed_record == NONE || sent > cursor.undisturbed) {
            (cursor.undisturbed, cursor.undisturbed_record) = (sent, place);
        }
    }
}

/// A record before it in the log that had to come after it.
fn later_and_yet_before(claim: Claim, cursor: &Cursor, sent: (At, u32), send: &Sent) -> Option<u32> {
    let sequenced = matches!(claim, Claim::Idempotent | Claim::Transactional);
    let same_batch = cursor.latest.0 == sent.0;
    // Of a send without acknowledgement an answer says no more than that it left.
    let acked_before = claim != Claim::AtMostOnce && send.asked.done_by < cursor.latest.0;
    if cursor.latest > sent && (sequenced || same_batch || acked_before) {
        return Some(cursor.record);
    }
    let both = is_undisturbed(claim, send) && cursor.undisturbed_record != NONE;
    (both && cursor.undisturbed > sent).then_some(cursor.undisturbed_record)
}

/// Nothing befell it, as far as can be told: without acknowledgement nothing ever tells more.
fn is_undisturbed(claim: Claim, send: &Sent) -> bool {
    send.asked.is_undisturbed() && (claim == Claim::AtMostOnce || send.asked.is_done())
}

fn accuse(facts: &Facts<'_>, claim: Claim, record: &Fact, before: &Fact, findings: &mut Findings) {
    let (Some(send), Some(other)) = (facts.send_of(record), facts.send_of(before)) else { return };
    let weakness = (facts.weaknesses.of_transaction(send.txn)).or(facts.weaknesses.of_transaction(other.txn));
    findings.accuse(claim, weakness, || {
        let client = facts.client(send.party);
        let story = format!(
            "{client} sent {} before {}, but in {} they are at offsets {} and {}",
            record.tag, before.tag, send.partition, record.at, before.at
        );
        (vec![send.asked.at, other.asked.at, record.first_seen(), before.first_seen()], story)
    });
}

fn accuse_reader(facts: &Facts<'_>, odd: &Odd, findings: &mut Findings) {
    let record = facts.find(Tag(odd.tag)).filter(|_| odd.tag != FOREIGN);
    let send = record.and_then(|record| facts.send_of(record));
    let claim = send.and_then(|send| facts.claim_of(send)).unwrap_or(Claim::AtLeastOnce);
    findings.accuse(claim, None, || {
        let reader = facts.who(odd.at);
        let (partition, offset) = (odd.partition, odd.offset);
        let sent = send.map_or(NEVER, |send| send.asked.at);
        let story = format!("{reader} was handed offset {offset} of {partition} behind an offset that is not lower");
        (vec![sent, odd.at], story)
    });
}
