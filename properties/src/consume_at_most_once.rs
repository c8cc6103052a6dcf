//! A group that saves its position before it processes never processes a record twice.
//!
//! Source: E2E-04; Kafka's `docs/design.html`, "Message Delivery Semantics", the consumer's side.
//!
//! Witness: the records that the instances of the group processed, in all their lives.
//!
//! Not claimed: groups whose instances overlap without being members (nothing keeps them apart); positions of which a save
//! may still be under way when the next one comes; records that are themselves in the log more than once.

use onceness_reference::features::Features;
use onceness_reference::history::{Call, Event};
use onceness_reference::ids::Partition;
use onceness_reference::plan::Saving;

use crate::facts::calls::{Asked, Group};
use crate::facts::{At, Facts, NEVER};
use crate::watch::Watch;
use crate::{Claim, Findings, Property};

pub(crate) const PROPERTY: Property = Property {
    name: "consume-at-most-once",
    claims: &[Claim::AtMostOnce],
    promise: "A group that saves its position before it processes never processes a record twice.",
    source: "E2E-04; Kafka docs/design.html, Message Delivery Semantics",
    witness: "the records that the instances of the group processed, in all their lives",
    not_claimed: "groups whose instances overlap without being members; saves that may still be under way; records that are in the log more than once",
    needs: |_, _: Features| true,
    watch: || Box::new(ConsumeAtMostOnce),
};

struct ConsumeAtMostOnce;

impl Watch for ConsumeAtMostOnce {
    fn rest(&mut self, facts: &Facts<'_>, findings: &mut Findings) {
        find(facts, findings);
    }
}

fn find(facts: &Facts<'_>, findings: &mut Findings) {
    for group in &facts.groups {
        let Some(consumer) = group.consumer else { continue };
        if consumer.saving != Saving::BeforeProcessing
            || !(consumer.member || facts.lives_apart(group))
        {
            continue;
        }
        let doubtful = doubtful_partitions(facts, group);
        for (record, times) in facts.records.iter().zip(&group.processed) {
            if *times > 0 && !doubtful.contains(&record.partition) {
                findings.tested(Claim::AtMostOnce);
            }
        }
        for (place, again) in &group.again {
            let record = &facts.records[*place as usize];
            if record.copies > 1 || record.ambiguous || doubtful.contains(&record.partition) {
                continue;
            }
            findings.accuse(Claim::AtMostOnce, None, || {
                let first = first_processing(facts, group, record.tag);
                let (id, tag, partition) = (group.id, record.tag, record.partition);
                let mut evidence = vec![first, *again];
                evidence.extend(told_between(facts, group, partition, first, *again));
                (evidence, format!("{id} processed {tag} of {partition} twice, though it saves its position before it processes"))
            });
        }
    }
}

/// Partitions where a save may have come into force after a later one.
fn doubtful_partitions(facts: &Facts<'_>, group: &Group<'_>) -> Vec<Partition> {
    let registers = facts.registers.iter().filter(|((id, _), _)| *id == group.id);
    let overlaps = |saved: &[(i64, u32)]| {
        let asked = |place: u32| -> &Asked { &facts.saves[place as usize].asked };
        saved.windows(2).any(|pair| {
            !asked(pair[0].1).is_refused() && asked(pair[0].1).end() > asked(pair[1].1).at
        })
    };
    registers
        .filter(|(_, register)| overlaps(&register.saved))
        .map(|((_, partition), _)| *partition)
        .collect()
}

fn first_processing(facts: &Facts<'_>, group: &Group<'_>, tag: onceness_reference::ids::Tag) -> At {
    let in_group = |client: &onceness_reference::ids::ClientId| {
        let party = facts.parties.iter().find(|party| party.id == *client);
        party.and_then(|party| party.consumer).is_some_and(|consumer| consumer.group == group.id)
    };
    let processes = |event: &Event| match event {
        Event::Call { client, call: Call::Process { records }, .. } => {
            in_group(client) && records.contains(&tag)
        }
        _ => false,
    };
    facts.history.events.iter().position(processes).map_or(NEVER, |at| at as At)
}

/// The last position that the group was told in between.
fn told_between(
    facts: &Facts<'_>,
    group: &Group<'_>,
    partition: Partition,
    after: At,
    before: At,
) -> Option<At> {
    let register = facts.registers.get(&(group.id, partition))?;
    let told = register.told.iter().filter(|told| told.at > after && told.at < before);
    told.map(|told| told.at).next_back()
}
