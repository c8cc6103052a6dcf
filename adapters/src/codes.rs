//! What an error code means to a client: one table. In doubt a request may have been applied.
//!
//! Sources: Kafka's `Errors.java` and `Sender.java`/`TransactionManager.java` of the Java client for what is retried and what
//! is fatal; `DelayedProduce.scala` and `Partition.scala` for the codes that come after an append.

use onceness_reference::code::Code;
use onceness_reference::protocol::Request;

/// What a refusal says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// Not applied; the same request may succeed later.
    Transient,
    /// Not applied, and asking again does not help.
    Refused,
    /// Not applied, and this session will never be accepted again: there is a successor, or the broker forgot it.
    Fenced,
    /// May have been applied.
    Indeterminate,
}

/// What that code says in answer to that request.
pub fn class(request: &Request, code: Code) -> Class {
    class_of(matches!(request, Request::Produce { .. } | Request::Malformed { .. }), code)
}

/// What that code says in answer to a request that produces, or to another one.
pub(crate) fn class_of(produces: bool, code: Code) -> Class {
    match code {
        // Refused before anything was done: the coordinator is moving or loading, the previous transaction is completing,
        // or a transaction may still change the answer.
        Code::COORDINATOR_LOAD_IN_PROGRESS
        | Code::COORDINATOR_NOT_AVAILABLE
        | Code::NOT_COORDINATOR
        | Code::LEADER_NOT_AVAILABLE
        | Code::CONCURRENT_TRANSACTIONS
        | Code::UNSTABLE_OFFSET_COMMIT
        | Code::REBALANCE_IN_PROGRESS
        | Code::UNKNOWN_TOPIC_OR_PARTITION
        | Code::FENCED_LEADER_EPOCH
        | Code::UNKNOWN_LEADER_EPOCH
        | Code::OFFSET_NOT_AVAILABLE
        | Code::NOT_ENOUGH_REPLICAS => Class::Transient,
        // A produce may meet these after the append (a leader change while replicas catch up, a full disk in mid-write).
        Code::NOT_LEADER_OR_FOLLOWER | Code::KAFKA_STORAGE_ERROR => match produces {
            true => Class::Indeterminate,
            false => Class::Transient,
        },
        // The broker gave up waiting, or does not know itself.
        Code::REQUEST_TIMED_OUT
        | Code::NOT_ENOUGH_REPLICAS_AFTER_APPEND
        | Code::NETWORK_EXCEPTION
        | Code::UNKNOWN_SERVER_ERROR => Class::Indeterminate,
        Code::INVALID_PRODUCER_EPOCH
        | Code::PRODUCER_FENCED
        | Code::INVALID_PRODUCER_ID_MAPPING
        | Code::FENCED_INSTANCE_ID
        | Code::UNKNOWN_MEMBER_ID
        | Code::ILLEGAL_GENERATION
        | Code::FENCED_MEMBER_EPOCH
        | Code::STALE_MEMBER_EPOCH => Class::Fenced,
        _ => Class::Refused,
    }
}
