//! Upserts converge: whatever was resent or replayed, a key ends with the value of the last upsert that was accepted.
//!
//! Source: E2E-06; Kafka's `docs/design.html`, "Message Delivery Semantics" (at least once and primary keys).
//!
//! Witness: in the log, the last record of each key and partition in the final reads against the acknowledged upserts of that
//! key; in the application, the record of each key that a group which processes before it saves processed last, and what
//! the application has of the key in the end, where it tells.
//!
//! What resends leave of this: the last record in the log may be any upsert of which a copy may have arrived after the last
//! accepted one was sent (so, of an at-least-once producer, one whose request the network kept). It cannot be one that was
//! done with before. A view is compared once the group has come as far again as it ever was; before, it may go back in time.
//!
//! Not claimed: which of several overlapping upserts is last; groups whose instances overlap; upserts sent at most once.

use onceness_reference::features::Features;
use onceness_reference::ids::Key;
use onceness_reference::plan::{Isolation, Saving};

use crate::facts::calls::{Group, Sent, TxnFate, View};
use crate::facts::tags::NONE;
use crate::facts::{Fact, Facts, NEVER};
use crate::watch::{Sight, Watch};
use crate::{Claim, Findings, Property};

pub(crate) const PROPERTY: Property = Property {
    name: "upserts",
    claims: &[Claim::AtLeastOnce, Claim::Idempotent, Claim::Transactional],
    promise: "Upserts converge: whatever was resent or replayed, a key ends with the value of the last upsert that was accepted.",
    source: "E2E-06; Kafka docs/design.html, Message Delivery Semantics",
    witness: "the last record of each key in the final reads against acknowledged upserts; the record of each key that a group processed last, against what its application has in the end",
    not_claimed: "which of several overlapping upserts is last; groups whose instances overlap; upserts sent at most once",
    needs: |_, _: Features| true,
    watch: || Box::<Upserts>::default(),
};

/// By isolation level.
#[derive(Default)]
struct Upserts {
    keys: [Keys; 2],
}

/// By partition and key, and which of them there are.
#[derive(Default)]
struct Keys {
    upserts: Vec<Upsert>,
    present: Vec<usize>,
}

/// What became of one key: places of records, [`NONE`] if there is none.
#[derive(Clone, Copy)]
struct Upsert {
    /// The one that was called last, of those that were accepted.
    accepted: u32,
    /// The one that stands last in the log.
    last: u32,
}

impl Watch for Upserts {
    fn records(&mut self, facts: &Facts<'_>, sights: &[Sight<'_>], findings: &mut Findings) {
        sights.iter().for_each(|sight| self.record(facts, sight, findings));
    }

    fn rest(&mut self, facts: &Facts<'_>, findings: &mut Findings) {
        for (keys, isolation) in
            self.keys.iter().zip([Isolation::ReadUncommitted, Isolation::ReadCommitted])
        {
            let upserts = keys.present.iter().map(|place| &keys.upserts[*place]);
            upserts.for_each(|upsert| check_log(facts, upsert, isolation, findings));
        }
        for group in &facts.groups {
            let after =
                group.consumer.is_some_and(|consumer| consumer.saving == Saving::AfterProcessing);
            if after && facts.lives_apart(group) {
                check_view(facts, group, findings);
                let told = facts.views.iter().filter(|view| view.group == group.id);
                told.for_each(|view| check_told(facts, group, view, findings));
            }
        }
    }
}

impl Upserts {
    fn record(&mut self, facts: &Facts<'_>, sight: &Sight<'_>, _: &mut Findings) {
        let record = sight.record;
        if record.copies == 0 {
            return;
        }
        let accepting = match (sight.claim, sight.txn) {
            (Claim::AtLeastOnce | Claim::Idempotent, _) => Some(0),
            (Claim::Transactional, Some((_, TxnFate::Committed))) => Some(1),
            _ => None,
        };
        for level in 0..2 {
            let accepted = accepting == Some(level) && sight.send.asked.is_done();
            if record.last[level] || accepted {
                let upsert = self.keys[level].upsert(record);
                if record.last[level] && is_above(facts, upsert.last, record) {
                    upsert.last = sight.place;
                }
                if accepted && is_after(facts, upsert.accepted, sight) {
                    upsert.accepted = sight.place;
                }
            }
        }
    }
}

impl Keys {
    fn upsert(&mut self, record: &Fact) -> &mut Upsert {
        let partition = record.partition.0 as usize;
        let place = partition << 8 | usize::from(record.key);
        if place >= self.upserts.len() {
            self.upserts.resize((partition + 1) << 8, Upsert { accepted: NONE, last: NONE });
        }
        let upsert = &mut self.upserts[place];
        if upsert.accepted == NONE && upsert.last == NONE {
            self.present.push(place);
        }
        upsert
    }
}

fn is_above(facts: &Facts<'_>, other: u32, record: &Fact) -> bool {
    let top = |record: &Fact| record.at.saturating_add(i64::from(record.span));
    facts.records.get(other as usize).is_none_or(|other| top(other) < top(record))
}

fn is_after(facts: &Facts<'_>, other: u32, sight: &Sight<'_>) -> bool {
    let sent = |record: &Fact| facts.send_of(record).map(|send| (send.asked.at, record.place));
    let before = facts.records.get(other as usize).and_then(sent);
    before.is_none_or(|before| before < (sight.send.asked.at, sight.record.place))
}

fn check_log(facts: &Facts<'_>, upsert: &Upsert, isolation: Isolation, findings: &mut Findings) {
    let (Some(accepted), Some(last)) = (facts.sight(upsert.accepted), facts.sight(upsert.last))
    else {
        return;
    };
    findings.tested(accepted.claim);
    if !is_stale(&last, accepted.send) {
        return;
    }
    let weaknesses = &facts.weaknesses;
    let weakness =
        weaknesses.of_loss(facts, accepted.send).or(weaknesses.of_transaction(last.send.txn));
    findings.accuse(accepted.claim, weakness, || {
        let (stale, send) = (last.send.asked, accepted.send.asked);
        let key = Key(last.record.key.into());
        let (client, to) = (facts.client(accepted.send.party), last.send.partition);
        let at = last.record.at.saturating_add(i64::from(last.record.span));
        let story = format!(
            "{key} in {to} ends with {} at offset {at}, though {} of {client} was sent later and accepted",
            last.record.tag, accepted.record.tag
        );
        let read = facts.log(to).last(isolation).map_or(NEVER, |last| last.at);
        (vec![stale.at, stale.end(), send.at, send.done_by, read], story)
    });
}

/// The one at the end of the log was done with before the accepted one was sent.
fn is_stale(last: &Sight<'_>, accepted: &Sent) -> bool {
    // Nothing tells when a send without acknowledgement is done with.
    last.claim != Claim::AtMostOnce && last.send.asked.end() < accepted.asked.at
}

/// By partition and key, the record that was processed last is the furthest one.
fn check_view(facts: &Facts<'_>, group: &Group<'_>, findings: &mut Findings) {
    for (view, (last, furthest)) in group.view.iter().enumerate() {
        let (reached, reached_once) = group.reached[view >> 8];
        let (Some(last), Some(furthest)) =
            (facts.records.get(*last as usize), facts.records.get(*furthest as usize))
        else {
            continue;
        };
        if reached != reached_once || last.copies > 1 || furthest.copies > 1 {
            continue;
        }
        findings.tested(Claim::AtLeastOnce);
        if last.at < furthest.at {
            findings.accuse(Claim::AtLeastOnce, None, || {
                let key = Key(last.key.into());
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

/// An application that upserts has of a key what it processed last, and nothing of what it processed before.
fn check_told(facts: &Facts<'_>, group: &Group<'_>, told: &View<'_>, findings: &mut Findings) {
    let view = (told.partition.0 as usize) << 8 | usize::from(told.key.0 as u8);
    let last = group.view.get(view).and_then(|(last, _)| facts.records.get(*last as usize));
    // A record that no final read shows could be processed last and be no part of the view.
    let all_known = told.records.iter().all(|tag| facts.find(*tag).is_some_and(|one| one.at >= 0));
    let Some(last) = last.filter(|_| all_known) else { return };
    findings.tested(Claim::AtLeastOnce);
    if told.records != [last.tag] {
        findings.accuse(Claim::AtLeastOnce, None, || {
            let tags: Vec<String> = told.records.iter().map(ToString::to_string).collect();
            let (id, key, partition) = (told.group, told.key, told.partition);
            let story = format!(
                "{id} processed {} of {key} in {partition} last, but its application has {} of that key",
                last.tag,
                tags.join(", ")
            );
            (vec![group.last_processing, told.at], story)
        });
    }
}
