//! The records of one producer session are in a partition in the order in which they were sent, and readers are handed them in that order.
//!
//! Source: LOG-03, LOG-05 (also across retries, with up to five batches in flight); DED-03, DED-19 (what comes behind a batch
//! that was put off is put off too); E2E-03; KIP-98; KAFKA-5494.
//!
//! Witness: sends and all reads, by producer session and partition. Of a record that is in the log more than once the
//! first copy counts.
//!
//! Not claimed: order between producers, sessions or partitions. Producers without sequence numbers promise less: a send
//! that was acknowledged before another began comes first, and so do batches in flight together as long as nothing
//! befell either and nothing was resent. Without acknowledgements none is claimed across a send that something befell.

use onceness_reference::features::Features;
use onceness_reference::ids::{Partition, Tag};

use crate::facts::calls::Sent;
use crate::facts::log::FOREIGN;
use crate::facts::tags::NONE;
use crate::facts::{At, Fact, Facts, NEVER, Odd};
use crate::watch::{Sight, Watch};
use crate::{Claim, Findings, Property};

pub(crate) const PROPERTY: Property = Property {
    name: "order",
    claims: &[Claim::AtMostOnce, Claim::AtLeastOnce, Claim::Idempotent, Claim::Transactional],
    promise: "The records of one producer session are in a partition in the order in which they were sent, and readers are handed them in that order.",
    source: "LOG-03, LOG-05, DED-03, DED-19, E2E-03; KIP-98; KAFKA-5494",
    witness: "sends and all reads, by producer session and partition",
    not_claimed: "order between producers, sessions or partitions; of producers without sequence numbers, order among sends that overlap and were resent, or that nobody acknowledged and that a loss lies between",
    needs: |_, _: Features| true,
    watch: || Box::<Order>::default(),
};

/// How far the log of a partition has come with one producer session. Places are of records, [`NONE`] before the first.
#[derive(Clone, Copy)]
struct Cursor {
    partition: Partition,
    /// Of the records so far the one that was sent last, and when.
    record: u32,
    sent: (At, u32),
    /// The same, of those that nothing befell.
    undisturbed: u32,
    undisturbed_sent: (At, u32),
}

impl Cursor {
    fn at_start(partition: Partition) -> Self {
        Cursor {
            partition,
            record: NONE,
            sent: (0, 0),
            undisturbed: NONE,
            undisturbed_sent: (0, 0),
        }
    }
}

/// By life.
#[derive(Default)]
struct Order {
    cursors: Vec<Cursor>,
}

impl Watch for Order {
    fn records(&mut self, facts: &Facts<'_>, sights: &[Sight<'_>], findings: &mut Findings) {
        sights.iter().for_each(|sight| self.record(facts, sight, findings));
    }

    fn rest(&mut self, facts: &Facts<'_>, findings: &mut Findings) {
        for odd in &facts.disorders {
            accuse_reader(facts, odd, findings);
        }
    }
}

impl Order {
    fn record(&mut self, facts: &Facts<'_>, sight: &Sight<'_>, findings: &mut Findings) {
        let (record, send, claim) = (sight.record, sight.send, sight.claim);
        if record.copies == 0 {
            return;
        }
        let life = send.life as usize;
        if life >= self.cursors.len() {
            self.cursors.resize(facts.lives.len().max(life + 1), Cursor::at_start(send.partition));
        }
        let cursor = &mut self.cursors[life];
        if cursor.partition != send.partition {
            *cursor = Cursor::at_start(send.partition);
        }
        let sent = (send.asked.at, record.place);
        let undisturbed = is_undisturbed(facts, claim, send);
        if cursor.record != NONE {
            findings.tested(claim);
            if sent < cursor.sent
                && let Some(later) =
                    later_and_yet_before(facts, claim, cursor, sent, send, undisturbed)
            {
                accuse(facts, claim, record, &facts.records[later as usize], findings);
            }
        }
        if cursor.record == NONE || sent > cursor.sent {
            (cursor.sent, cursor.record) = (sent, sight.place);
        }
        if undisturbed && (cursor.undisturbed == NONE || sent > cursor.undisturbed_sent) {
            (cursor.undisturbed_sent, cursor.undisturbed) = (sent, sight.place);
        }
    }
}

/// A record before it in the log that had to come after it.
fn later_and_yet_before(
    facts: &Facts<'_>,
    claim: Claim,
    cursor: &Cursor,
    sent: (At, u32),
    send: &Sent,
    undisturbed: bool,
) -> Option<u32> {
    let sequenced = matches!(claim, Claim::Idempotent | Claim::Transactional);
    let same_batch = cursor.sent.0 == sent.0;
    // Of a send without acknowledgement an answer says no more than that it left.
    let acked_before = claim != Claim::AtMostOnce && send.asked.done_by < cursor.sent.0;
    if sequenced || same_batch || acked_before {
        return Some(cursor.record);
    }
    let unsequenced = undisturbed && cursor.undisturbed != NONE && cursor.undisturbed_sent > sent;
    let (from, to) = (sent.0, cursor.undisturbed_sent.0);
    (unsequenced && !(claim == Claim::AtMostOnce && was_cut(facts, send.life, from, to)))
        .then_some(cursor.undisturbed)
}

/// Whether something befell a send of that life between two others. It may have cost the client its connection, and nobody
/// waits for what the old one still carries before the new one is used.
fn was_cut(facts: &Facts<'_>, life: u32, from: At, to: At) -> bool {
    let after = facts.sends.partition_point(|send| send.asked.at <= from);
    let between = facts.sends[after..].iter().take_while(|send| send.asked.at < to);
    between.filter(|send| send.life == life).any(|send| !send.asked.is_undisturbed())
}

/// Nothing befell it, as far as can be told: without acknowledgement nothing ever tells more. A broker that was killed
/// meanwhile has cut the connection, and what was under way is sent anew in any order.
fn is_undisturbed(facts: &Facts<'_>, claim: Claim, send: &Sent) -> bool {
    let killed = facts.kills.iter().any(|at| (send.asked.at..send.asked.returned).contains(at));
    !killed && send.asked.is_undisturbed() && (claim == Claim::AtMostOnce || send.asked.is_done())
}

fn accuse(facts: &Facts<'_>, claim: Claim, record: &Fact, before: &Fact, findings: &mut Findings) {
    let (Some(send), Some(other)) = (facts.send_of(record), facts.send_of(before)) else { return };
    let weakness =
        (facts.weaknesses.of_transaction(send.txn)).or(facts.weaknesses.of_transaction(other.txn));
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
        let story = format!(
            "{reader} was handed offset {offset} of {partition} behind an offset that is not lower"
        );
        (vec![sent, odd.at], story)
    });
}
