//! Rules that strike once: "the next request of this kind meets that fate".

use std::sync::{Mutex, MutexGuard, PoisonError};

use onceness_reference::code::Code;
use onceness_reference::plan::Fate;
use tokio::sync::Notify;

use super::exchange::{CopyNumber, Exchange};
use super::start::Start;
use super::{ConnectionId, Owner, Sentence};

/// What the next request of a kind meets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Which API (`ApiKey` of the `kafka-protocol` crate).
    pub api: i16,
    /// Only if it names this transactional id.
    pub txn: Option<String>,
    /// Its fate.
    pub fate: Fate,
    /// Of [`Fate::Busy`]: another error than the usual one.
    pub code: Option<Code>,
    /// Names it, and the exchange that it brings about.
    pub tag: u64,
}

/// An owner with rules. Where several fit, the one armed first strikes.
#[derive(Debug, Default)]
pub struct Rules {
    state: Mutex<State>,
    bell: Notify,
}

#[derive(Debug, Default)]
struct State {
    armed: Vec<Rule>,
    /// Tags of rules that met a request which is still on its way.
    under_way: Vec<u64>,
    exchanges: Vec<Exchange>,
    troubles: Vec<String>,
}

/// The last troubles are kept, so many.
const TROUBLES_MAX: usize = 32;

impl Rules {
    /// Arms a rule, for one request.
    pub fn arm(&self, rule: Rule) {
        self.state().armed.push(rule);
    }

    /// Takes back the rules of a tag. False if there is none: what was armed has met its request.
    pub fn disarm(&self, tag: u64) -> bool {
        let armed = &mut self.state().armed;
        let before = armed.len();
        armed.retain(|rule| rule.tag != tag);
        armed.len() < before
    }

    /// Waits until no request that met a rule of that tag is on its way any more. At once where none did.
    pub async fn settled(&self, tag: u64) {
        loop {
            // Registered before the state is read, or an end between the two would be missed.
            let bell = self.bell.notified();
            tokio::pin!(bell);
            bell.as_mut().enable();
            if !self.state().under_way.contains(&tag) {
                return;
            }
            bell.await;
        }
    }

    /// What came of the rules since this was last asked, in the order in which it was over.
    pub fn take(&self) -> Vec<Exchange> {
        std::mem::take(&mut self.state().exchanges)
    }

    /// What went wrong on connections since this was last asked; the last few only.
    pub fn take_troubles(&self) -> Vec<String> {
        std::mem::take(&mut self.state().troubles)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Owner for Rules {
    fn decide(&self, _: ConnectionId, request: &Start) -> Option<Sentence> {
        let mut state = self.state();
        let fits = state.armed.iter().position(|rule| rule.fits(request))?;
        let Rule { fate, code, tag, .. } = state.armed.remove(fits);
        state.under_way.push(tag);
        Some(Sentence { fate, code, tag })
    }

    fn saw(&self, exchange: Exchange) {
        let mut state = self.state();
        if exchange.copy == CopyNumber::First
            && let Some(at) = state.under_way.iter().position(|tag| *tag == exchange.tag)
        {
            state.under_way.remove(at);
        }
        state.exchanges.push(exchange);
        self.bell.notify_waiters();
    }

    fn trouble(&self, connection: ConnectionId, words: &str) {
        let troubles = &mut self.state().troubles;
        if troubles.len() == TROUBLES_MAX {
            troubles.remove(0);
        }
        troubles.push(format!("connection {}: {words}", connection.0));
    }
}

impl Rule {
    fn fits(&self, request: &Start) -> bool {
        self.api == request.api && (self.txn.is_none() || self.txn == request.txn)
    }
}
