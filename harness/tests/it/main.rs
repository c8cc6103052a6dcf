//! The rig and the binary from outside: what a user types, reads and gets back.

mod bad_input;
mod certification;
mod embedded;
mod help;
mod interrupt;
mod kafka;
mod liar;
mod library;
mod onceness;
mod sweep;
mod track_record;
