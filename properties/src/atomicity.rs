//! A transaction takes effect as a whole, its records in all partitions and the positions saved in it, or not at all.
//!
//! Source: TXN-09, TXN-12, TXN-14, TXN-16, TXN-19, TXN-24 (whatever fails, comes late or runs beside it); TXN-29 (nor what a
//! client committed although it was not accepted); OFF-04, OFF-05, OFF-07; ISO-05 (what was committed is shown); KIP-98;
//! Kafka's `docs/design.html`, "Using Transactions".
//!
//! Witness: the acknowledged records of a transaction whose commit was called against the final read_committed reads, and
//! the positions that its group is told afterwards. A commit that was acknowledged (even if the answer was lost) means
//! all; one in doubt means all or nothing. What a client gave up must not be missing in what it then committed.
//!
//! Not claimed: that all of it becomes visible at the same time (ISO-11). What is lost for every reader is `no-loss`.

use onceness_reference::features::Features;
use onceness_reference::plan::Isolation;

use crate::facts::calls::{Sent, Transaction, TxnFate};
use crate::facts::positions::Mismatch;
use crate::facts::tags::NONE;
use crate::facts::{Fact, Facts, NEVER};
use crate::watch::{Sight, Watch};
use crate::{Claim, Findings, Property};

pub(crate) const PROPERTY: Property = Property {
    name: "atomicity",
    claims: &[Claim::Transactional, Claim::ExactlyOnce],
    promise: "A transaction takes effect as a whole, its records in all partitions and the positions saved in it, or not at all.",
    source: "TXN-09, TXN-12, TXN-14, TXN-16, TXN-19, TXN-24, TXN-29, ISO-05, OFF-04, OFF-05, OFF-07; KIP-98",
    witness: "the acknowledged records of a transaction against the final read_committed reads, and the positions told afterwards",
    not_claimed: "that all of it becomes visible at the same time",
    needs: |_, _: Features| true,
    watch: || Box::new(Atomicity),
};

struct Atomicity;

impl Watch for Atomicity {
    fn records(&mut self, facts: &Facts<'_>, sights: &[Sight<'_>], findings: &mut Findings) {
        sights.iter().for_each(|sight| self.record(facts, sight, findings));
    }

    fn rest(&mut self, facts: &Facts<'_>, findings: &mut Findings) {
        for txn in &facts.transactions {
            if txn.fate() != TxnFate::NotCommitted && txn.expected > 0 {
                findings.tested(Claim::Transactional);
                if txn.last_save != NONE {
                    findings.tested(Claim::ExactlyOnce);
                }
            }
        }
        for mismatch in &facts.mismatches {
            accuse_position(facts, mismatch, findings);
        }
    }
}

impl Atomicity {
    fn record(&mut self, facts: &Facts<'_>, sight: &Sight<'_>, findings: &mut Findings) {
        let Some((txn, fate)) = sight.txn.filter(|_| !sight.record.last[1]) else { return };
        if is_missing(facts, sight.record, sight.send, txn, fate) {
            accuse_missing(facts, sight.record, sight.send, txn, findings);
        } else if fate == TxnFate::Committed && is_given_up(sight.send, txn) {
            accuse_given_up(facts, sight.record, sight.send, txn, findings);
        }
    }
}

/// Everybody else of the transaction is visible, or has to be.
fn is_missing(
    facts: &Facts<'_>,
    record: &Fact,
    send: &Sent,
    txn: &Transaction,
    fate: TxnFate,
) -> bool {
    let whole = match fate {
        TxnFate::Committed => true,
        TxnFate::InDoubt => txn.visible > 0,
        TxnFate::NotCommitted => false,
    };
    if !whole || !send.asked.is_done() {
        return false;
    }
    let Some(last) = facts.log(send.partition).last(Isolation::ReadCommitted) else { return false };
    let uncommitted = facts.log(send.partition).last(Isolation::ReadUncommitted).is_some();
    match record.at {
        -1 => !uncommitted,
        at => at < last.end,
    }
}

/// The client knew before it called the commit that this was not accepted, or did not know that it was.
fn is_given_up(send: &Sent, txn: &Transaction) -> bool {
    !send.asked.is_done() && send.asked.returned < txn.end.at
}

fn accuse_given_up(
    facts: &Facts<'_>,
    record: &Fact,
    send: &Sent,
    txn: &Transaction,
    findings: &mut Findings,
) {
    let read = facts.log(send.partition).last(Isolation::ReadCommitted);
    let Some(last) = read.filter(|last| record.at < last.end) else { return };
    findings.accuse(Claim::Transactional, facts.weaknesses.of_loss(facts, send), || {
        let (client, tag, to) = (facts.client(send.party), record.tag, send.partition);
        let evidence = vec![txn.begin, send.asked.at, send.asked.returned, txn.end.at, txn.end.done_by, last.at];
        (evidence, format!("a transaction of {client} was committed, though its {tag} in {to} was not accepted before, and is not shown to read_committed"))
    });
}

fn accuse_missing(
    facts: &Facts<'_>,
    record: &Fact,
    send: &Sent,
    txn: &Transaction,
    findings: &mut Findings,
) {
    findings.accuse(Claim::Transactional, facts.weaknesses.of_loss(facts, send), || {
        let last = facts.log(send.partition).last(Isolation::ReadCommitted).map_or(NEVER, |last| last.at);
        let mut evidence = vec![txn.begin, send.asked.at, send.asked.done_by, txn.end.at, txn.end.done_by, last];
        evidence.extend(facts.weaknesses.evidence(send.txn));
        let shown = facts.sights().find(|other| other.send.txn == send.txn && other.record.last[1]);
        if let Some(other) = shown {
            let last = facts.log(other.send.partition).last(Isolation::ReadCommitted);
            evidence.extend([other.send.asked.at, last.map_or(NEVER, |last| last.at)]);
        }
        let (client, tag, to) = (facts.client(send.party), record.tag, send.partition);
        let why = match (txn.fate(), shown) {
            (TxnFate::InDoubt, Some(other)) => format!("is visible with {} in {}", other.record.tag, other.send.partition),
            _ => "was committed".to_owned(),
        };
        (evidence, format!("a transaction of {client} {why}, but its {tag} in {to} is not shown to read_committed"))
    });
}

/// The records of a transaction are visible and its positions are not in force, or the other way round.
fn accuse_position(facts: &Facts<'_>, mismatch: &Mismatch, findings: &mut Findings) {
    let torn = mismatch.saves.iter().find_map(|place| {
        let save = &facts.saves[*place as usize];
        let txn = facts.transactions.get(save.txn as usize)?;
        let position = facts.position_of(save, mismatch.partition);
        let told = position == mismatch.got;
        let apart = txn.expected > 0 && (txn.visible > 0) != told;
        apart.then_some((save, txn, position, told))
    });
    let Some((save, txn, position, told)) = torn else { return };
    findings.accuse(Claim::ExactlyOnce, facts.weaknesses.of_mismatch(facts, mismatch), || {
        let mut evidence = vec![txn.begin, save.asked.at, txn.end.at, txn.end.done_by, mismatch.at];
        evidence.extend(facts.weaknesses.evidence(save.txn));
        let (client, group, partition) = (facts.client(save.party), mismatch.group, mismatch.partition);
        let position = position.unwrap_or_default();
        let story = match told {
            true => format!("the records of a transaction of {client} are not visible, but {group} was told the position {position} in {partition} that was saved in it"),
            false => format!("the records of a transaction of {client} are visible, but {group} was not told the position {position} in {partition} that was saved in it"),
        };
        (evidence, story)
    });
}
