//! The rig of Onceness: runs random histories against a broker, judges them, shrinks what fails, and reports.
//!
//! From a test of one's own broker, with an [`Adapter`](onceness_adapters::Adapter) for it, [`certify()`] is the one call:
//!
//! ```no_run
//! use std::sync::Arc;
//! use onceness::options::{Claims, Confirm, Options, Shrinking};
//! use onceness::{Exit, Rig, Target, certify};
//!
//! # async fn test() {
//! let rig = Rig::default();
//! let adapter = Target::Memory(None).open(&rig).await.expect("the embedded broker is always there");
//! let options = Options {
//!     target: "memory".to_owned(),
//!     deterministic: true,
//!     seed: 1,
//!     cases: Some(10_000),
//!     time: None,
//!     until_covered: None,
//!     jobs: 2,
//!     claims: Claims::all(),
//!     accept: ["KAFKA-17754"].into(),
//!     deny_stale: false,
//!     fail_fast: false,
//!     shrink: Shrinking {
//!         tries_max: 10_000,
//!         time_max: std::time::Duration::from_secs(30),
//!         confirm: Confirm::ONCE,
//!         final_runs: 1,
//!     },
//! };
//! let report = certify(adapter, &options, &rig).await;
//! assert_eq!(report.exit(), Exit::Holds, "{}", onceness::report::table::render(&report));
//! # }
//! ```
//!
//! In reading order: [`target`] (what is tested), [`config`] (`onceness.toml`), [`options`] (how), [`accept`] (what is
//! excused), [`rig`] (what surrounds a run), [`mod@search`] (random cases), [`firsts`] (what the first of them show),
//! `missing` (where they have not been), [`trial`] (one of them), [`mod@shrink`] (smaller ones), [`tally`] (counts),
//! [`coverage`] (of what), [`deviations`] (what is odd), [`mod@certify`] (all of it), [`case`] and [`folder`] (what is
//! kept), `replay` (how to see it again), [`report`] (what is shown), [`exit`] (what it comes to). Beside it:
//! [`mod@sweep`] (one plan, struck everywhere), [`faults`] (what `onceness proxy` does to requests), [`price`] (what the
//! guarantees cost), [`mod@selftest`] (what the suite finds of its own zoo).

pub mod accept;
mod brokers;
pub mod case;
pub mod certify;
pub mod config;
pub mod coverage;
pub mod deviations;
pub mod exit;
pub mod faults;
pub mod firsts;
pub mod folder;
pub mod gauge;
mod missing;
pub mod nearest;
pub mod options;
pub mod price;
mod replay;
pub mod report;
pub mod rig;
pub mod search;
pub mod seeds;
pub mod selftest;
pub mod shrink;
pub mod stop;
pub mod sweep;
pub mod tally;
pub mod target;
pub mod trial;
pub mod weakness;

pub use certify::certify;
pub use exit::Exit;
pub use rig::Rig;
pub use target::Target;
