//! The rig and the binary from outside: what a user types, reads and gets back.

mod accepting;
mod bad_input;
mod certification;
mod container;
mod embedded;
mod help;
mod interrupt;
mod kafka;
mod launch;
mod liar;
mod library;
mod misdeeds;
mod mock;
mod onceness;
mod proxy;
mod selftest;
mod serve;
mod sweep;
mod track_record;
