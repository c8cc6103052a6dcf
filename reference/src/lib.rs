//! The ideal log: the words that the whole suite speaks, and the model of a broker that keeps its promises.
//!
//! Nothing here does I/O, reads a clock or starts a thread. In reading order: [`ids`], [`plan`] (what will be tried),
//! [`history`] (what was seen), [`protocol`] (what clients ask and brokers answer), [`features`].

pub mod code;
pub mod features;
pub mod history;
pub mod ids;
pub mod plan;
pub mod protocol;
