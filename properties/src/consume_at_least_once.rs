//! A group that processes before it saves its position has processed every record below the position that it saved.
//!
//! Source: E2E-05, E2E-09; Kafka's `docs/design.html`, "Message Delivery Semantics", the consumer's side.
//!
//! Witness: the final committed offsets of the group and the final reads at its isolation level, against the records that
//! its instances processed in all their lives.
//!
//! Not claimed: that a record is processed only once, or that records above the position are processed at all.

use onceness_reference::features::Features;
use onceness_reference::ids::{GroupId, Offset, Partition, Tag};
use onceness_reference::plan::Saving;

use crate::facts::calls::Group;
use crate::facts::log::{FOREIGN, level};
use crate::facts::{At, Facts, NEVER};
use crate::watch::Watch;
use crate::{Claim, Findings, Property};

pub(crate) const PROPERTY: Property = Property {
    name: "consume-at-least-once",
    claims: &[Claim::AtLeastOnce],
    promise: "A group that processes before it saves its position has processed every record below the position that it saved.",
    source: "E2E-05, E2E-09; Kafka docs/design.html, Message Delivery Semantics",
    witness: "final committed offsets and final reads against the records that the group processed",
    not_claimed: "that a record is processed only once, or that records above the position are processed",
    needs: |_, _: Features| true,
    watch: || Box::new(ConsumeAtLeastOnce),
};

struct ConsumeAtLeastOnce;

impl Watch for ConsumeAtLeastOnce {
    fn rest(&mut self, facts: &Facts<'_>, findings: &mut Findings) {
        find(facts, findings);
    }
}

fn find(facts: &Facts<'_>, findings: &mut Findings) {
    for group in &facts.groups {
        let Some(consumer) =
            group.consumer.filter(|consumer| consumer.saving == Saving::AfterProcessing)
        else {
            continue;
        };
        for input in &consumer.inputs {
            if let Some((at, Some(position))) = facts.committed.get(&(group.id, *input)) {
                find_in(facts, group, *input, *at, *position, findings);
            }
        }
    }
}

fn find_in(
    facts: &Facts<'_>,
    group: &Group<'_>,
    input: Partition,
    told: At,
    position: Offset,
    findings: &mut Findings,
) {
    let Some(isolation) = group.consumer.map(|consumer| consumer.isolation) else { return };
    let log = facts.log(input);
    let last = log.last(isolation).map_or(NEVER, |last| last.at);
    let level = level(isolation);
    let below = log.slots().take_while(|(offset, _)| *offset < position);
    for (offset, slot) in below.filter(|(_, slot)| slot.last[level] && slot.tag != FOREIGN) {
        let Some(place) = facts.place_of(Tag(slot.tag)) else { continue };
        findings.tested(Claim::AtLeastOnce);
        let processed = group.processed.get(place as usize).is_some_and(|times| *times > 0);
        if processed {
            continue;
        }
        let record = &facts.records[place as usize];
        let sent = facts.send_of(record);
        let weakness = sent.and_then(|send| facts.weaknesses.of_transaction(send.txn));
        findings.accuse(Claim::AtLeastOnce, weakness, || {
            let (id, tag): (GroupId, Tag) = (group.id, record.tag);
            let sent = sent.map_or(NEVER, |send| send.asked.at);
            let story = format!("{id} saved the position {position} in {input}, but never processed {tag} at offset {offset}");
            (vec![sent, last, told], story)
        });
    }
}
