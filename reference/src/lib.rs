//! The ideal log: the words that the whole suite speaks, and the model of a broker that keeps its promises.
//!
//! Nothing here does I/O, reads a clock or starts a thread. In reading order: [`ids`], [`plan`] (what will be tried),
//! [`wellformed`] (which plans mean something), [`features`] (what a target can do), [`history`] (what was seen), [`text`]
//! (both as files), [`clauses`] (what is asked of a log), [`protocol`] and [`code`] (what clients ask and brokers answer),
//! [`broker`] (the model), [`cells`] (its states, and what is asked in them), [`rules`] (how brokers differ: [`choices`]
//! rightly, [`wrongs`] wrongly, as clients do), [`explain`] (whether a correct broker answers so), [`defects`] (the zoo),
//! [`profile`], `forging` and [`generate`] (from a seed to a plan), [`smaller`] (how plans shrink).

pub mod broker;
pub mod cells;
pub mod choices;
pub mod clauses;
pub mod code;
pub mod defects;
pub mod exchanges;
pub mod explain;
pub mod features;
mod forging;
pub mod generate;
pub mod history;
pub mod ids;
pub mod plan;
pub mod profile;
pub mod protocol;
pub mod rules;
pub mod smaller;
pub mod text;
pub mod wellformed;
pub mod wrongs;
