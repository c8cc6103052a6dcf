//! The proxy between a client and a broker that are both ours.

mod broken;
mod broker;
mod fates;
mod plain;
mod rewriting;
