//! The model against the tables it stands for, and what is drawn, checked, shrunk and kept as text.

#![allow(clippy::unwrap_used)]

mod cells;
mod choices;
mod clauses;
mod coordinator;
mod defects;
mod explain;
mod forging;
mod generate;
mod group;
mod membership;
mod named_sessions;
mod partition;
mod smaller;
mod talk;
mod text;
mod versions;
mod words;
