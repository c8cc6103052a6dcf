//! Every property on histories of a few events: kept, broken, never put to the test; and what Kafka permits, accused by none.

mod answers;
mod catalogue;
mod clauses;
mod consumers;
mod forging;
mod log;
mod permitted;
mod story;
mod strange;
mod transactions;
mod weakness;
