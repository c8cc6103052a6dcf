//! A loop that saves its position in the transaction of its output makes exactly one committed output of each input below that position, and none of the others.
//!
//! Source: E2E-07, E2E-08, E2E-10; KIP-98, KIP-447; Kafka's `docs/design.html`, "Using Transactions".
//!
//! Witness: the final committed offsets of the loop's group, and the final reads: inputs at the loop's isolation level
//! against outputs at read_committed, in all partitions.
//!
//! Not claimed: loops that commit an output without having saved the position after it, in which one save overlaps another
//! of the same transaction, or whose instances neither share a transactional id nor are members. An input that is in the
//! log more than once is that many inputs.

use std::collections::BTreeMap;

use onceness_reference::features::Features;
use onceness_reference::ids::{Offset, Partition, Tag};
use onceness_reference::plan::{Isolation, Saving};

use crate::facts::calls::{Group, TxnFate};
use crate::facts::log::{FOREIGN, level};
use crate::facts::tags::NONE;
use crate::facts::{At, Fact, Facts, NEVER};
use crate::watch::{Sight, Watch};
use crate::{Claim, Findings, Property};

pub(crate) const PROPERTY: Property = Property {
    name: "exactly-once",
    claims: &[Claim::ExactlyOnce],
    promise: "A loop that saves its position in the transaction of its output makes exactly one committed output of each input below that position, and none of the others.",
    source: "E2E-07, E2E-08, E2E-10; KIP-98, KIP-447; Kafka docs/design.html, Using Transactions",
    witness: "final committed offsets, and final reads of inputs and outputs",
    not_claimed: "loops that commit an output without saving the position after it, or whose instances nothing keeps apart",
    needs: |_, _: Features| true,
    watch: || Box::new(ExactlyOnce),
};

/// The inputs of one loop below or above its position, and the outputs made of them.
#[derive(Clone, Copy, Default)]
struct Account {
    /// How often the input is below the position.
    below: u32,
    /// Committed outputs, and outputs that were tried.
    outputs: u32,
    tried: u32,
    input: Option<Partition>,
}

struct ExactlyOnce;

impl Watch for ExactlyOnce {
    fn rest(&mut self, facts: &Facts<'_>, findings: &mut Findings) {
        find(facts, findings);
    }
}

fn find(facts: &Facts<'_>, findings: &mut Findings) {
    let everywhere = (0..facts.history.header.partitions).all(|partition| {
        facts.log(Partition(partition.into())).last(Isolation::ReadCommitted).is_some()
    });
    for group in &facts.groups {
        let Some(consumer) =
            group.consumer.filter(|consumer| consumer.saving == Saving::InTransaction)
        else {
            continue;
        };
        if everywhere && is_careful(facts, group) {
            let inputs = &consumer.inputs;
            find_in(facts, group, inputs, consumer.isolation, findings);
        }
    }
}

/// The loop did its own part.
fn is_careful(facts: &Facts<'_>, group: &Group<'_>) -> bool {
    let mut members = facts.parties.iter().filter(|party| in_group(party.consumer, group));
    let first = members.next().and_then(|party| party.txn_id());
    let kept_apart = members.all(|party| party.txn_id() == first) && first.is_some();
    let member = group.consumer.is_some_and(|consumer| consumer.member);
    let careless = facts.transactions.iter().any(|txn| {
        let of_loop = in_group(facts.parties[usize::from(txn.party)].consumer, group);
        let may_commit = txn.fate() != TxnFate::NotCommitted && txn.last_forward != NEVER;
        of_loop && may_commit && (txn.muddled || !facts.saved_after_forwarding(txn))
    });
    (kept_apart || member) && !careless
}

fn in_group(consumer: Option<&onceness_reference::plan::Consumer>, group: &Group<'_>) -> bool {
    consumer.is_some_and(|consumer| consumer.group == group.id)
}

fn find_in(
    facts: &Facts<'_>,
    group: &Group<'_>,
    inputs: &[Partition],
    isolation: Isolation,
    findings: &mut Findings,
) {
    let mut accounts: BTreeMap<u32, Account> = BTreeMap::new();
    let mut positions: BTreeMap<Partition, (At, Offset)> = BTreeMap::new();
    for input in inputs {
        let told = facts.committed.get(&(group.id, *input));
        let (Some((at, position)), Some(_)) = (told, facts.log(*input).last(isolation)) else {
            continue;
        };
        let position = position.unwrap_or(0);
        positions.insert(*input, (*at, position));
        let level = level(isolation);
        for (offset, slot) in
            facts.log(*input).slots().filter(|(_, slot)| slot.last[level] && slot.tag != FOREIGN)
        {
            let Some(place) = facts.place_of(Tag(slot.tag)) else { continue };
            let account = accounts.entry(place).or_default();
            account.below += u32::from(offset < position);
            account.input = Some(*input);
        }
    }
    for output in outputs(facts, group) {
        let Some(input) = facts.from(output.record).and_then(|from| facts.place_of(from)) else {
            continue;
        };
        let Some(account) = accounts.get_mut(&input) else { continue };
        account.outputs += u32::from(output.record.copies_committed);
        account.tried += u32::from(output.send.txn != NONE);
    }
    for (place, account) in &accounts {
        let Some((told, position)) = account.input.and_then(|input| positions.get(&input)) else {
            continue;
        };
        if account.below > 0 || account.tried > 0 {
            findings.tested(Claim::ExactlyOnce);
        }
        if account.outputs != account.below {
            accuse(
                facts,
                group,
                &facts.records[*place as usize],
                account,
                *told,
                *position,
                findings,
            );
        }
    }
}

/// What the instances of the loop made.
fn outputs<'f>(facts: &'f Facts<'_>, group: &'f Group<'_>) -> impl Iterator<Item = Sight<'f>> {
    facts.sights().filter(|sight| {
        sight.record.forwarded
            && in_group(facts.parties[usize::from(sight.send.party)].consumer, group)
    })
}

fn accuse(
    facts: &Facts<'_>,
    group: &Group<'_>,
    input: &Fact,
    account: &Account,
    told: At,
    position: Offset,
    findings: &mut Findings,
) {
    let made = outputs(facts, group).filter(|output| facts.from(output.record) == Some(input.tag));
    let made: Vec<Sight<'_>> = made.collect();
    let torn = made.iter().find_map(|output| facts.weaknesses.of_loss(facts, output.send));
    let source = facts.send_of(input);
    let torn_input = source.and_then(|send| facts.weaknesses.of_transaction(send.txn));
    let late =
        account.input.and_then(|partition| facts.weaknesses.of_position(group.id, partition));
    findings.accuse(Claim::ExactlyOnce, torn.or(torn_input).or(late), || {
        let mut evidence = vec![told, source.map_or(NEVER, |send| send.asked.at)];
        for output in &made {
            evidence.extend([output.send.asked.at, output.record.first[1]]);
            evidence.extend(output.txn.iter().flat_map(|(txn, _)| [txn.end.at, txn.end.done_by]));
            evidence.extend(facts.weaknesses.evidence(output.send.txn));
        }
        let (id, tag, at, count) = (group.id, input.tag, input.at, account.outputs);
        let partition = account.input.unwrap_or(input.partition);
        let due = account.below;
        let story = format!(
            "the position of {id} in {partition} is {position}, so its input {tag} at offset {at} has to have {due} committed outputs, but has {count}"
        );
        (evidence, story)
    });
}
