//! Weaknesses of the protocol itself: what a broker that follows it to the letter still cannot prevent.
//!
//! A violation that one of them explains stays a violation, but names it. Explained is only what a late request was seen
//! to do, or may have done where a broker took the answer with it: the rest of the same history is judged as ever.

use std::collections::{BTreeMap, BTreeSet};

use onceness_reference::code::Code;
use onceness_reference::exchanges::Exchange;
use onceness_reference::history::{Event, Outcome};
use onceness_reference::ids::{GroupId, Offset, Partition};
use onceness_reference::protocol::{Request, Response, Session};
use serde::Serialize;

use crate::facts::calls::Sent;
use crate::facts::positions::Mismatch;
use crate::facts::{At, Facts, NEVER};
use crate::verdict::Claim;

/// A weakness of the protocol itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Weakness {
    /// The name that violations bear.
    pub id: &'static str,
    /// What it is, in a few words.
    pub title: &'static str,
    /// How it comes about.
    pub explanation: &'static str,
    /// Where it is described.
    pub source: &'static str,
}

/// All of them.
pub const WEAKNESSES: &[Weakness] = &[LATE_REQUEST, FIRST_SEQUENCE, NEXT_EPOCH];

const LATE_REQUEST: Weakness = Weakness {
    id: "KAFKA-17754",
    title: "a late request of an earlier transaction is taken into a later one",
    explanation: "Before KIP-890 (transaction.version 1) the producer epoch stays the same from one transaction to the \
                  next, so the broker cannot tell to which of them a request belongs that the network kept: an EndTxn \
                  ends, a TxnOffsetCommit moves, a produce joins the transaction that is open when it arrives. \
                  transaction.version 2 raises the epoch at each end and refuses such requests.",
    source: "KAFKA-17754; KIP-890; jepsen.io/analyses/bufstream-0.1.0 (section 5.4)",
};

const FIRST_SEQUENCE: Weakness = Weakness {
    id: "KAFKA-15591",
    title: "the first batch of a producer in a partition is passed over by the next one",
    explanation: "A broker that knows nothing of a producer in a partition takes any sequence number. If the first of \
                  several batches in flight is refused for now, the next one is appended, and the retry of the first \
                  is out of order for good. A client that takes a later acknowledgement for one of all before it, as \
                  librdkafka does, reports the first as delivered. Since the correction of August 2026 a broker refuses \
                  such a first batch where the partition is empty.",
    source: "KAFKA-15591, KAFKA-14312, KAFKA-19880; apache/kafka pull request 23234",
};

const NEXT_EPOCH: Weakness = Weakness {
    id: "KAFKA-14563",
    title: "a write of an epoch that nobody was given is taken into an open transaction",
    explanation: "Before Kafka 4.0 the leader of a partition in which a producer has a transaction open asks nobody about \
                  further writes over TV1, whatever their epoch. A forged write of the next epoch is appended; then the marker \
                  of the transaction has an older epoch than the partition, and is refused. Nobody sends it again: the \
                  transactional id gets no new instance and readers at read_committed do not pass the transaction. No \
                  client library sends such a write.",
    source: "KAFKA-14563 (UnifiedLog.hasOngoingTransaction; TransactionMarkerRequestCompletionHandler)",
};

/// The late requests that were seen to be accepted.
#[derive(Debug, Default)]
pub(crate) struct Weaknesses {
    /// By the transaction that was open: the answers.
    torn: BTreeMap<u32, Vec<At>>,
    /// By position: the answer and what was saved late.
    saved: BTreeMap<(GroupId, Partition), Vec<(At, Offset)>>,
}

impl Weaknesses {
    /// A request of an earlier transaction was accepted while this one was the latest.
    pub(crate) fn late_request(&mut self, at: At, into: u32) {
        self.torn.entry(into).or_default().push(at);
    }

    /// The request saved these positions.
    pub(crate) fn late_save(&mut self, at: At, group: GroupId, positions: &[(Partition, Offset)]) {
        for (partition, position) in positions {
            self.saved.entry((group, *partition)).or_default().push((at, *position));
        }
    }

    /// What explains that a transaction is torn.
    pub(crate) fn of_transaction(&self, txn: u32) -> Option<&'static str> {
        self.torn.contains_key(&txn).then_some(LATE_REQUEST.id)
    }

    /// What explains that an acknowledged record is lost: its batch was refused for now, one that was in flight with it was
    /// appended as the first of its producer, and the client was never told where its own went.
    pub(crate) fn of_loss(&self, facts: &Facts<'_>, send: &Sent) -> Option<&'static str> {
        let same = |other: &&Sent| (other.life, other.partition) == (send.life, send.partition);
        let mut others = facts.sends.iter().filter(same);
        let sequenced =
            matches!(facts.claim_of(send), Some(Claim::Idempotent | Claim::Transactional));
        // What was put off together with it is as lost.
        let was_appended =
            |other: &Sent| other.base >= 0 || (other.asked.is_done() && !was_put_off(facts, other));
        let in_flight = |other: &Sent| {
            (send.asked.at..send.asked.returned).contains(&other.asked.at) && other.base >= 0
        };
        let passed_over = sequenced
            && send.base < 0
            && was_put_off(facts, send)
            && others.clone().any(in_flight)
            && !others.any(|other| other.asked.at < send.asked.at && was_appended(other));
        passed_over.then_some(FIRST_SEQUENCE.id).or(self.of_transaction(send.txn))
    }

    /// The answers to the late requests that tore a transaction.
    pub(crate) fn evidence(&self, txn: u32) -> Vec<At> {
        self.torn.get(&txn).cloned().unwrap_or_default()
    }

    /// What explains that a group was told a wrong position.
    pub(crate) fn of_mismatch(
        &self,
        facts: &Facts<'_>,
        mismatch: &Mismatch,
    ) -> Option<&'static str> {
        let torn = mismatch.saves.iter().any(|save| {
            let txn = facts.saves[*save as usize].txn;
            self.of_transaction(txn).is_some()
        });
        let saved = self.saved.get(&(mismatch.group, mismatch.partition));
        let late = saved.into_iter().flatten();
        let saved_late =
            late.clone().any(|(at, position)| *at < mismatch.at && Some(*position) == mismatch.got);
        (torn || saved_late).then_some(LATE_REQUEST.id)
    }

    /// What explains that a loop's position passed an input, or did not.
    pub(crate) fn of_position(&self, group: GroupId, partition: Partition) -> Option<&'static str> {
        self.saved.contains_key(&(group, partition)).then_some(LATE_REQUEST.id)
    }

    /// What explains that something does not go on.
    pub(crate) fn of_stuck(&self, facts: &Facts<'_>) -> Option<&'static str> {
        takes_unknown_sessions(&facts.history.exchanges).then_some(NEXT_EPOCH.id)
    }

    /// What explains that something of a partition stays open: a torn transaction wrote there.
    pub(crate) fn of_partition(
        &self,
        facts: &Facts<'_>,
        partition: Partition,
    ) -> Option<&'static str> {
        if self.torn.is_empty() {
            return self.of_stuck(facts);
        }
        let wrote = |send: &Sent| {
            send.partition == partition
                && self.of_transaction(send.txn).is_some()
                && send.asked.at != NEVER
        };
        let torn = facts.sends.iter().any(wrote).then_some(LATE_REQUEST.id);
        torn.or_else(|| self.of_stuck(facts))
    }
}

/// Whether a transactional write was taken in of a session that nobody was given before.
fn takes_unknown_sessions(exchanges: &[Exchange]) -> bool {
    let (mut given, mut unknown) = (BTreeSet::new(), BTreeSet::new());
    for (place, exchange) in (0..).zip(exchanges) {
        match exchange {
            Exchange::Asked { request, .. } => {
                let session = match request {
                    Request::Produce { batch, txn: Some(_), .. } => batch.session,
                    Request::SaveInTxn { session, .. } => Some(*session),
                    _ => None,
                };
                if session.is_some_and(|session| !given.contains(&pair(session))) {
                    unknown.insert(place);
                }
            }
            Exchange::Answered {
                answer: Ok(Response::Producer(session) | Response::Ended(session)),
                ..
            } => _ = given.insert(pair(*session)),
            Exchange::Answered { of, answer: Ok(_) } if unknown.contains(of) => return true,
            _ => {}
        }
    }
    false
}

fn pair(session: Session) -> (i64, i16) {
    (session.producer, session.epoch)
}

/// Refusals that ask to try again.
const FOR_NOW: [Code; 4] = [
    Code::NOT_ENOUGH_REPLICAS,
    Code::NOT_LEADER_OR_FOLLOWER,
    Code::UNKNOWN_TOPIC_OR_PARTITION,
    Code::LEADER_NOT_AVAILABLE,
];

/// Whether a broker is known to have refused one of its copies for now.
fn was_put_off(facts: &Facts<'_>, send: &Sent) -> bool {
    let answers = facts.answers.iter().filter(|(call, _)| *call == send.asked.at);
    let mut outcomes = answers.map(|(_, answer)| facts.history.events.get(*answer as usize));
    outcomes.any(|event| match event {
        Some(Event::Answer { outcome: Outcome::Refused(code), .. }) => FOR_NOW.contains(code),
        _ => false,
    })
}
