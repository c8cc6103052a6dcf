//! A read_committed reader sees records of committed transactions only and everything else that is in the log, and a read_uncommitted reader sees all of it.
//!
//! Source: ISO-01, ISO-02, ISO-04, ISO-05, ISO-06, ISO-07; TXN-02, TXN-09, TXN-14, TXN-19, TXN-24 (a record has the outcome
//! of its own transaction, for good); E2E-11 (also if an abort follows a commit whose answer never came); KIP-98; Kafka's
//! `isolation.level`.
//!
//! Witness: reads at both levels against how each transaction ended: aborted, refused, or left open and aborted by a
//! successor; and against when its commit was called. Plain records and acknowledged aborted ones in the final reads.
//!
//! Not claimed: when a committed transaction becomes visible, nor that it does so everywhere at once (ISO-11); whether a
//! transaction whose commit is in doubt is visible (all or nothing is `atomicity`).

use onceness_reference::features::Features;
use onceness_reference::plan::Isolation;

use crate::facts::calls::{Sent, Transaction, TxnFate};
use crate::facts::{At, Fact, Facts, NEVER, Odd};
use crate::stable_offsets::name;
use crate::watch::{Sight, Watch};
use crate::{Claim, Findings, Property};

pub(crate) const PROPERTY: Property = Property {
    name: "isolation",
    claims: &[Claim::Transactional],
    promise: "A read_committed reader sees records of committed transactions only and everything else that is in the log, and a read_uncommitted reader sees all of it.",
    source: "TXN-02, TXN-09, TXN-14, TXN-19, TXN-24, ISO-01, ISO-02, ISO-04, ISO-05, ISO-06, ISO-07, E2E-11; KIP-98",
    witness: "reads at both levels against how and when each transaction ended",
    not_claimed: "when a committed transaction becomes visible, or that it does so everywhere at once",
    needs: |_, _: Features| true,
    watch: || Box::new(Isolated),
};

const CLAIM: Claim = Claim::Transactional;

struct Isolated;

impl Watch for Isolated {
    fn records(&mut self, facts: &Facts<'_>, sights: &[Sight<'_>], findings: &mut Findings) {
        sights.iter().for_each(|sight| self.record(facts, sight, findings));
    }

    fn rest(&mut self, facts: &Facts<'_>, findings: &mut Findings) {
        // What was appended after the read_uncommitted reader was there (a batch that nobody waited for) it could not see.
        let could_see = |odd: &&Odd| {
            let read = facts.log(odd.partition).last(Isolation::ReadUncommitted);
            read.is_some_and(|read| odd.offset < read.end)
        };
        for odd in facts.hidden.iter().filter(could_see) {
            findings.accuse(CLAIM, None, || {
                let (what, partition, offset) = (name(odd.tag), odd.partition, odd.offset);
                let story = format!(
                    "read_committed shows {what} in {partition} at offset {offset}, which read_uncommitted does not show"
                );
                (vec![final_read(facts, partition, 0), final_read(facts, partition, 1)], story)
            });
        }
    }
}

impl Isolated {
    fn record(&mut self, facts: &Facts<'_>, sight: &Sight<'_>, findings: &mut Findings) {
        let (record, send) = (sight.record, sight.send);
        match sight.txn {
            Some((txn, fate)) => {
                check_dirty(facts, sight, txn, fate, findings);
                match fate {
                    TxnFate::NotCommitted => check_aborted(facts, record, send, findings),
                    _ => check_unseen(facts, record, send, findings),
                }
            }
            None if sight.claim != Claim::Transactional => {
                check_plain(facts, record, send, findings)
            }
            None => {}
        }
    }
}

fn final_read(
    facts: &Facts<'_>,
    partition: onceness_reference::ids::Partition,
    level: usize,
) -> At {
    let isolation = [Isolation::ReadUncommitted, Isolation::ReadCommitted][level];
    facts.log(partition).last(isolation).map_or(NEVER, |last| last.at)
}

/// read_committed shows nothing that is not committed, or whose commit was not even called.
fn check_dirty(
    facts: &Facts<'_>,
    sight: &Sight<'_>,
    txn: &Transaction,
    fate: TxnFate,
    findings: &mut Findings,
) {
    let (record, send) = (sight.record, sight.send);
    let seen = record.first[1];
    if seen == NEVER {
        let read = facts.log(send.partition).last(Isolation::ReadCommitted).is_some();
        if fate == TxnFate::NotCommitted && read && record.copies > 0 {
            findings.tested(CLAIM);
        }
        return;
    }
    findings.tested(CLAIM);
    let why = match fate {
        TxnFate::NotCommitted if txn.end.at == NEVER => "left its transaction open",
        TxnFate::NotCommitted if txn.commits => "was refused the commit of its transaction",
        TxnFate::NotCommitted => "aborted its transaction",
        _ if seen < txn.end.at => "had not yet called the commit of its transaction",
        _ => return,
    };
    findings.accuse(CLAIM, facts.weaknesses.of_transaction(send.txn), || {
        let mut evidence = vec![txn.begin, send.asked.at, txn.end.at, txn.end.returned, seen];
        evidence.extend(facts.weaknesses.evidence(send.txn));
        let (client, tag, to, at) = (facts.client(send.party), record.tag, send.partition, record.at);
        let who = facts.who(seen);
        (evidence, format!("{client} {why}, but its {tag} in {to} at offset {at} was shown to {who} at read_committed"))
    });
}

/// read_uncommitted shows what was acknowledged, aborted or not.
fn check_aborted(facts: &Facts<'_>, record: &Fact, send: &Sent, findings: &mut Findings) {
    if !send.asked.is_done() {
        return;
    }
    let read = facts.log(send.partition).last(Isolation::ReadUncommitted);
    let Some(last) = read.filter(|last| last.at > send.asked.done_by) else { return };
    findings.tested(CLAIM);
    if record.copies == 0 {
        findings.accuse(CLAIM, facts.weaknesses.of_loss(facts, send), || {
            let (client, tag, to) = (facts.client(send.party), record.tag, send.partition);
            let story = format!(
                "{tag} of {client} was acknowledged in {to} in a transaction that was then aborted, but read_uncommitted does not show it"
            );
            (vec![send.asked.at, send.asked.done_by, last.at], story)
        });
    }
}

/// read_committed shows what belongs to no transaction.
fn check_plain(facts: &Facts<'_>, record: &Fact, send: &Sent, findings: &mut Findings) {
    if record.last != [true, false] {
        return;
    }
    let Some(last) = facts.log(send.partition).last(Isolation::ReadCommitted) else { return };
    if record.at < last.end {
        findings.accuse(CLAIM, None, || {
            let (client, tag, to, at) = (facts.client(send.party), record.tag, send.partition, record.at);
            let story = format!("{tag} of {client} belongs to no transaction, but read_committed does not show it in {to} at offset {at}");
            (vec![send.asked.at, final_read(facts, to, 0), last.at], story)
        });
    }
}

/// read_committed goes on showing what it showed once.
fn check_unseen(facts: &Facts<'_>, record: &Fact, send: &Sent, findings: &mut Findings) {
    if record.last != [true, false] {
        return;
    }
    let Some(last) = facts.log(send.partition).last(Isolation::ReadCommitted) else { return };
    // What nobody sees in the end is told by `stable-offsets`, what was never to be seen by `check_dirty`.
    if record.first[1] < last.at && record.at < last.end {
        findings.accuse(CLAIM, facts.weaknesses.of_transaction(send.txn), || {
            let (tag, to, at) = (record.tag, send.partition, record.at);
            let who = facts.who(record.first[1]);
            let story = format!("{tag} in {to} at offset {at} was shown to {who} at read_committed, and in the end it is not");
            (vec![send.asked.at, record.first[1], last.at], story)
        });
    }
}
