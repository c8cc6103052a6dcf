//! The brokers: one trait, several systems behind it. An adapter runs a plan and returns the history; it never judges.
//!
//! In reading order: `run` (a plan, round by round), `client`, `ask` and `progress` (the test client), [`codes`] (what it
//! makes of errors), `reading` and `payload` (logs and records), `views` (what applications hold), `record` and `witness` (the
//! history); then how its requests travel:
//! [`transport`], and behind it [`memory`] (the model in process) and [`wire`] (TCP). Brokers that are started here, and so
//! can be hurt, are each a [`node`]. The other client is [`stock`], librdkafka, whose requests meet their fates in a
//! [`proxy`]; that also stands alone, for anybody's client. [`price`] has the words for what guarantees cost.

use futures::future::BoxFuture;
use onceness_reference::features::Features;
use onceness_reference::history::History;
use onceness_reference::plan::Plan;

mod ask;
mod client;
pub mod codes;
pub mod memory;
pub mod node;
mod payload;
pub mod price;
mod progress;
pub mod proxy;
mod reading;
mod record;
mod run;
pub mod serve;
pub mod stock;
pub mod transport;
mod views;
pub mod wire;
mod witness;

pub use transport::TargetError;

/// A system under test, and a way to drive it.
pub trait Adapter: Send + Sync {
    /// What it is, for people: target, client and broker version as far as known.
    fn describe(&self) -> String;

    /// What plans for it may ask.
    fn features(&self) -> Features;

    /// Makes room for that many cases at once (topics in bulk); each [`Adapter::run`] takes one room, and makes its own
    /// if none is left.
    ///
    /// # Errors
    /// As [`Adapter::run`].
    fn prepare(&self, cases: usize) -> BoxFuture<'_, Result<(), TargetError>>;

    /// Runs one plan in a namespace of its own and returns what was seen.
    ///
    /// # Errors
    /// When the target cannot be reached or does not answer; what a broker answers is never an error.
    fn run<'a>(&'a self, plan: &'a Plan) -> BoxFuture<'a, Result<History, TargetError>>;

    /// Removes whatever the cases left on the target. Called at the end, also after an interrupt or an error.
    ///
    /// # Errors
    /// As [`Adapter::run`].
    fn clean(&self) -> BoxFuture<'_, Result<(), TargetError>>;
}
