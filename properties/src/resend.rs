//! A resent batch, one of the last five of its session and partition, is acknowledged again with its first offset, and a resent end of a transaction is done again.
//!
//! Source: DED-04, DED-12, TXN-10; KIP-98; `ProducerStateEntry.NUM_BATCHES_TO_RETAIN` in Kafka.
//!
//! Witness: the answers to the copies of one request, hidden ones too: after one that says it was done, another.
//!
//! Not claimed: across a restart, for any but the session's last batch; after the epoch was or may have been raised; after
//! the end of the transaction was called (a broker that verifies transactions refuses then); refusals that only ask to
//! try again.

use onceness_reference::code::Code;
use onceness_reference::features::Features;
use onceness_reference::history::{Call, Event, Outcome, Reply};

use crate::facts::calls::{Sent, Transaction};
use crate::facts::{At, Facts, NEVER};
use crate::watch::Watch;
use crate::{Claim, Findings, Property};

pub(crate) const PROPERTY: Property = Property {
    name: "resend",
    claims: &[Claim::Idempotent, Claim::Transactional],
    promise: "A resent batch, one of the last five of its session and partition, is acknowledged again with its first offset, and a resent end of a transaction is done again.",
    source: "DED-04, DED-12, TXN-10; KIP-98",
    witness: "the answers to the copies of one request: after one that says it was done, another",
    not_claimed: "any but the last batch across a restart; after the epoch was raised or the end of the transaction called; refusals that only ask to try again; an old epoch of a producer that does not tell its sessions",
    needs: |_, features: Features| features.fates,
    watch: || Box::new(Resend),
};

/// Batches that a broker remembers of a producer and partition.
const REMEMBERED: usize = 5;

/// Refusals that are meant for good. All others ask to try again, or say nothing of the request.
const FOR_GOOD: [Code; 9] = [
    Code::OUT_OF_ORDER_SEQUENCE_NUMBER,
    Code::DUPLICATE_SEQUENCE_NUMBER,
    Code::INVALID_PRODUCER_EPOCH,
    Code::INVALID_TXN_STATE,
    Code::INVALID_PRODUCER_ID_MAPPING,
    Code::UNKNOWN_PRODUCER_ID,
    Code::INVALID_RECORD,
    Code::PRODUCER_FENCED,
    Code::TRANSACTION_ABORTABLE,
];

struct Resend;

impl Watch for Resend {
    fn rest(&mut self, facts: &Facts<'_>, findings: &mut Findings) {
        find(facts, findings);
    }
}

fn find(facts: &Facts<'_>, findings: &mut Findings) {
    let mut answers = facts.answers.clone();
    answers.sort_unstable();
    for copies in answers.chunk_by(|a, b| a.0 == b.0) {
        let call = copies[0].0;
        let mut told: Vec<At> = copies.iter().map(|(_, answer)| *answer).collect();
        if let Some(send) = facts.send_at(call) {
            told.extend(returned(facts, send.asked.returned, copies));
            told.sort_unstable();
            check_send(facts, send, &told, findings);
        } else if let Some(place) = facts.ended_by(call) {
            told.extend(returned(facts, facts.transactions[place].end.returned, copies));
            told.sort_unstable();
            check_end(facts, place, &told, findings);
        }
    }
}

/// What the client learned is an answer of its own if no copy is told to have had it.
fn returned(facts: &Facts<'_>, returned: At, copies: &[(At, At)]) -> Option<At> {
    let learned = outcome(facts, returned)?;
    let told = copies.iter().any(|(_, answer)| outcome(facts, *answer) == Some(learned));
    (!told).then_some(returned)
}

/// How many batches the session sent to the partition after this one and before an event: as many as matter.
fn sent_since(facts: &Facts<'_>, send: &Sent, before: At) -> usize {
    let from = facts.sends.partition_point(|other| other.asked.at <= send.asked.at);
    let between = facts.sends[from..].iter().take_while(|other| other.asked.at < before);
    let same = |other: &&Sent| (other.life, other.partition) == (send.life, send.partition);
    between.filter(same).take(REMEMBERED).count()
}

fn check_send(facts: &Facts<'_>, send: &Sent, told: &[At], findings: &mut Findings) {
    let Some(claim @ (Claim::Idempotent | Claim::Transactional)) = facts.claim_of(send) else {
        return;
    };
    let Some(first) = told.iter().position(|at| is_done(facts, *at)) else { return };
    let accepted = told[first];
    for again in &told[first + 1..] {
        let since = sent_since(facts, send, *again);
        // A kill may be told before an answer that was under way then.
        let restarted = facts.restarts.iter().any(|at| (accepted..*again).contains(at))
            || facts.kills.iter().any(|at| (send.asked.at..*again).contains(at));
        let remembered = since < REMEMBERED && (!restarted || since == 0);
        // A request takes effect at any time between its call and its answer, so an epoch that rose while it was under way
        // may have risen after it.
        let ended = facts.txn_of(send).is_some_and(|txn| txn.end.at < *again);
        if !remembered || ended || facts.epoch_may_rise(send.party, send.asked.at, *again) {
            continue;
        }
        let wrong = match outcome(facts, *again) {
            Some(Outcome::Done(Reply::Appended { base: Some(base) }))
                if send.base >= 0 && *base != send.base =>
            {
                Some(format!("was acknowledged with offset {base}"))
            }
            Some(Outcome::Done(_)) => None,
            // A client that does not tell its sessions may have raised its epoch itself, to get over a gap (KIP-360).
            Some(Outcome::Refused(code))
                if claim == Claim::Idempotent
                    && *code == Code::INVALID_PRODUCER_EPOCH
                    && !tells_its_session(facts, send) =>
            {
                continue;
            }
            Some(Outcome::Refused(code)) if FOR_GOOD.contains(code) => {
                Some(format!("was refused with {code}"))
            }
            _ => continue,
        };
        findings.tested(claim);
        if let Some(wrong) = wrong {
            accuse_send(facts, send, claim, accepted, *again, &wrong, findings);
        }
    }
}

fn tells_its_session(facts: &Facts<'_>, send: &Sent) -> bool {
    let call = facts.history.events.get(send.asked.at as usize);
    matches!(call, Some(Event::Call { call: Call::Send { sequence: Some(_), .. }, .. }))
}

fn accuse_send(
    facts: &Facts<'_>,
    send: &Sent,
    claim: Claim,
    accepted: At,
    again: At,
    wrong: &str,
    findings: &mut Findings,
) {
    findings.accuse(claim, facts.weaknesses.of_transaction(send.txn), || {
        let mut evidence = vec![send.asked.at, accepted, again];
        evidence.extend(facts.weaknesses.evidence(send.txn));
        let (client, to) = (facts.client(send.party), send.partition);
        let tag = facts.records.get(send.first as usize).map_or_else(String::new, |record| format!(" with {}", record.tag));
        let offset = send.acked(0).map_or_else(String::new, |base| format!(" at offset {base}"));
        (evidence, format!("the batch of {client}{tag} was accepted in {to}{offset}, but {wrong} when it was resent"))
    });
}

fn check_end(facts: &Facts<'_>, place: usize, told: &[At], findings: &mut Findings) {
    let txn = &facts.transactions[place];
    let Some(first) = told.iter().position(|at| is_done(facts, *at)) else { return };
    let accepted = told[first];
    for again in &told[first + 1..] {
        if next_transaction(facts, txn) < *again
            || facts.epoch_may_rise(txn.party, txn.end.at, *again)
        {
            continue;
        }
        let refused = match outcome(facts, *again) {
            Some(Outcome::Done(_)) => None,
            Some(Outcome::Refused(code)) if *code == Code::INVALID_TXN_STATE => Some(*code),
            _ => continue,
        };
        findings.tested(Claim::Transactional);
        if let Some(code) = refused {
            let weakness = facts.weaknesses.of_transaction(place as u32);
            findings.accuse(Claim::Transactional, weakness, || {
                let client = facts.client(txn.party);
                let what = if txn.commits { "commit" } else { "abort" };
                let story = format!(
                    "the {what} of {client} was done, but refused with {code} when it was resent"
                );
                (vec![txn.begin, txn.end.at, accepted, *again], story)
            });
        }
    }
}

/// When the client of a transaction began its next one.
fn next_transaction(facts: &Facts<'_>, txn: &Transaction) -> At {
    let later = facts.transactions.partition_point(|other| other.begin <= txn.begin);
    let next = facts.transactions[later..].iter().find(|other| other.party == txn.party);
    next.map_or(NEVER, |next| next.begin)
}

fn outcome<'h>(facts: &Facts<'h>, at: At) -> Option<&'h Outcome> {
    match facts.history.events.get(at as usize)? {
        Event::Answer { outcome, .. } | Event::Return { outcome, .. } => Some(outcome),
        _ => None,
    }
}

fn is_done(facts: &Facts<'_>, at: At) -> bool {
    matches!(outcome(facts, at), Some(Outcome::Done(_)))
}
