//! How requests reach a broker: the seam between the test client and the systems under test.

use std::collections::BTreeSet;
use std::fmt;

use futures::future::BoxFuture;
pub use onceness_reference::exchanges::Lane;
use onceness_reference::ids::{GroupId, Partition};
use onceness_reference::plan::Fault;
use onceness_reference::protocol::{Answer, Request};

/// The way to a broker, for one case: its partitions, groups and transactional ids are the case's own.
pub trait Transport: Sync {
    /// Sends a request and waits for its answer. Requests on one lane are sent and answered in order.
    fn call(
        &self,
        lane: Lane,
        request: &Request,
    ) -> impl Future<Output = Result<Answer, TargetError>> + Send;

    /// Gives up a lane without a word, as the connections of a crashed client end.
    fn cut(&self, lane: Lane);

    /// Waits before the given retry (1, 2, …) of a request that was refused for the moment. False when the patience for
    /// one request is spent.
    fn back_off(&self, retry: u32) -> impl Future<Output = bool> + Send;

    /// Lets a fault befall the broker, tells `struck` at that moment, and returns when it is over: the broker answers again.
    /// False if this target cannot do that; then nothing happened.
    ///
    /// # Errors
    /// When the broker does not come back.
    fn strike(
        &self,
        fault: Fault,
        struck: &(dyn Fn() + Sync),
    ) -> impl Future<Output = Result<bool, TargetError>> + Send;

    /// Where the broker had yet to write markers of ended transactions when it was struck last. None if it cannot be looked
    /// into.
    fn unmarked(&self) -> Option<(BTreeSet<Partition>, BTreeSet<GroupId>)> {
        None
    }

    /// Runs the steps of a round, and what befalls the broker meanwhile, so that they overlap. A round of nothing gives the
    /// broker time for its own work.
    fn overlap<'a>(&'a self, steps: Vec<BoxFuture<'a, ()>>) -> impl Future<Output = ()> + Send;
}

/// A target did not answer as one does: unreachable, closed, silent, garbled. Never an accusation; the call's outcome is unknown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TargetError {
    /// Where.
    pub address: String,
    /// What was asked; empty where the trouble is no request's.
    pub request: String,
    /// What went wrong.
    pub reason: String,
}

impl fmt::Display for TargetError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.request.is_empty() {
            true => f.write_str(&self.reason),
            false => write!(f, "{} to {}: {}", self.request, self.address, self.reason),
        }
    }
}

impl std::error::Error for TargetError {}
