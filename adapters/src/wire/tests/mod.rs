//! Tests of what needs the inside of the transport.

mod kafka;
mod old_broker;
mod reading_answers;
mod twin;
