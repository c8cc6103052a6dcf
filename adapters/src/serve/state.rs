//! The model, with what it has no words for: names, bytes and a clock.

use std::collections::{BTreeMap, BTreeSet};

use onceness_reference::broker::{Broker, State as TxnState};
use onceness_reference::code::Code;
use onceness_reference::ids::{GroupId, TxnId};
use onceness_reference::rules::Rules;

use super::names::{Names, Topics};
use super::positions::Notes;
use super::store::Store;

/// More transactional ids than this are not kept, unless something is open of them, or was lately.
const TXNS_KEPT: usize = 100_000;
/// For so long one is kept in any case, in milliseconds.
const TXN_KEPT_MS: i64 = 60_000;

/// All that the broker knows.
pub(super) struct State {
    pub(super) broker: Broker,
    pub(super) topics: Topics,
    pub(super) groups: Names,
    pub(super) txns: Names,
    pub(super) store: Store,
    /// Since when the transactions are open, and for how long they may be.
    pub(super) timing: BTreeMap<TxnId, Timing>,
    /// Groups that have, or may have, members.
    pub(super) joined: BTreeSet<GroupId>,
    /// What was written beside saved positions.
    pub(super) notes: Notes,
    /// Draws the order of markers.
    dice: fastrand::Rng,
    /// How many transactional ids there were when last some were forgotten.
    swept: usize,
}

/// The times of a transactional id, in milliseconds (since 1970, but for the timeout).
#[derive(Clone, Copy, Debug)]
pub(super) struct Timing {
    pub(super) timeout: i64,
    /// When it was first seen open.
    pub(super) open_since: Option<i64>,
    used: i64,
}

impl State {
    pub(super) fn new(rules: Rules, seed: u64) -> Self {
        State {
            broker: Broker::new(rules, 0),
            topics: Topics::default(),
            groups: Names::default(),
            txns: Names::default(),
            store: Store::default(),
            timing: BTreeMap::new(),
            joined: BTreeSet::new(),
            notes: Notes::default(),
            dice: fastrand::Rng::with_seed(seed),
            swept: 0,
        }
    }

    /// The number of a group; of a new one, if there is none of that name.
    pub(super) fn group(&mut self, name: &str) -> Result<GroupId, Code> {
        self.groups.number(name).map(GroupId).ok_or(Code::COORDINATOR_NOT_AVAILABLE)
    }

    /// The number of a transactional id that was given a producer.
    pub(super) fn txn(&self, name: &str) -> Result<TxnId, Code> {
        self.txns.find(name).map(TxnId).ok_or(Code::INVALID_PRODUCER_ID_MAPPING)
    }

    /// The same, of a new one if need be.
    pub(super) fn txn_or_new(&mut self, name: &str, timeout: i64, now: i64) -> Result<TxnId, Code> {
        if self.txns.len() >= (2 * self.swept).max(TXNS_KEPT) {
            self.forget_txns(now);
        }
        let txn = self.txns.number(name).map(TxnId).ok_or(Code::COORDINATOR_NOT_AVAILABLE)?;
        let open_since = self.timing.get(&txn).and_then(|timing| timing.open_since);
        self.timing.insert(txn, Timing { timeout, open_since, used: now });
        Ok(txn)
    }

    /// Notes whether a transaction is open, after something happened to it.
    pub(super) fn clock(&mut self, txn: TxnId, now: i64) {
        let open = self.broker.transaction(txn).is_some_and(|txn| txn.state == TxnState::Ongoing);
        if let Some(timing) = self.timing.get_mut(&txn) {
            timing.used = now;
            timing.open_since = open.then(|| timing.open_since.unwrap_or(now));
        }
    }

    /// Lets time do its work. Whether anything changed.
    pub(super) fn pass(&mut self, now: i64) -> bool {
        let mut changed = false;
        for group in Vec::from_iter(self.joined.iter().copied()) {
            let membership = self.broker.membership(group);
            changed |= membership.pass(now);
            if membership.is_idle() {
                self.joined.remove(&group);
            }
        }
        let overdue =
            |timing: &Timing| timing.open_since.is_some_and(|since| since + timing.timeout <= now);
        let overdue: Vec<TxnId> =
            self.timing.iter().filter(|(_, timing)| overdue(timing)).map(|(txn, _)| *txn).collect();
        for txn in overdue {
            self.broker.time_out(txn);
            self.clock(txn, now);
            changed = true;
        }
        changed
    }

    /// Whether markers are to be written.
    pub(super) fn works(&self) -> bool {
        self.broker.work() > 0
    }

    /// Writes all markers that are due, in any order.
    pub(super) fn write_markers(&mut self) {
        for _ in 0..self.broker.work() {
            self.broker.go_on(self.dice.usize(0..self.broker.work()));
        }
    }

    /// The broker is killed, and starts again. Members have a session's time to come back.
    pub(super) fn restart(&mut self, now: i64) {
        self.broker.restart();
        for group in &self.joined {
            self.broker.membership(*group).hear_all(now);
        }
    }

    fn forget_txns(&mut self, now: i64) {
        let idle =
            |timing: &Timing| timing.open_since.is_none() && timing.used + TXN_KEPT_MS <= now;
        let idle: Vec<TxnId> =
            self.timing.iter().filter(|(_, timing)| idle(timing)).map(|(txn, _)| *txn).collect();
        for txn in idle {
            if self.broker.forget_txn(txn) {
                self.timing.remove(&txn);
                self.txns.forget(txn.0);
            }
        }
        self.swept = self.txns.len();
    }
}
