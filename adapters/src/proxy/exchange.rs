//! What is told of a request that met a fate: what it was, what befell it, and what the broker said.

use std::sync::Arc;

use bytes::Bytes;
use onceness_reference::plan::Fate;

use super::start::Start;
use super::{ConnectionId, Fault, HeldId, Owner};

/// A request that met a fate, and what came of it.
#[derive(Clone, Debug)]
pub struct Exchange {
    /// The tag of what the owner decided.
    pub tag: u64,
    /// On which connection of the client.
    pub connection: ConnectionId,
    /// Which request.
    pub start: Start,
    /// Its body: what follows the header, 1 MiB of it at most.
    pub request: Bytes,
    /// Whether that is all of it.
    pub whole: bool,
    /// What really befell it. Not what was decided where that could not be: a request too large to keep is delivered, and
    /// so is one that the proxy cannot answer; one that nobody waits for an answer of is lost instead of refused.
    pub fate: Fate,
    /// Which copy of the request.
    pub copy: CopyNumber,
    /// The body of the answer, 1 MiB of it at most: the broker's, or the one in its name. None where none came, or was to come.
    pub answer: Option<Bytes>,
    /// What went wrong between the proxy and the broker.
    pub trouble: Option<String>,
    /// Where it is kept, if it is.
    pub held: Option<HeldId>,
}

/// Which copy of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CopyNumber {
    /// The one that the client sent.
    First,
    /// The second of a repeated one.
    Second,
    /// The one that was held, as it is released.
    Late,
}

/// Tells of an exchange when it is over, however it ends.
pub(super) struct Witness {
    owner: Arc<dyn Owner>,
    /// Boxed, for few requests have one, and each that waits has room for it.
    pub(super) exchange: Box<Exchange>,
}

impl Witness {
    pub(super) fn new(owner: Arc<dyn Owner>, exchange: Exchange) -> Self {
        Witness { owner, exchange: Box::new(exchange) }
    }

    /// A witness of the second copy.
    pub(super) fn second(&self) -> Witness {
        let exchange = Exchange { copy: CopyNumber::Second, ..(*self.exchange).clone() };
        Witness::new(self.owner.clone(), exchange)
    }

    /// The last word.
    pub(super) fn told(mut self, answer: Result<Option<Bytes>, Fault>) -> Exchange {
        match answer {
            Ok(answer) => self.exchange.answer = answer,
            Err(Fault(words)) => self.exchange.trouble = Some(words),
        }
        (*self.exchange).clone()
    }
}

impl Drop for Witness {
    fn drop(&mut self) {
        self.owner.saw((*self.exchange).clone());
    }
}
