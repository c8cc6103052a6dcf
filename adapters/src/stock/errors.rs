//! What librdkafka's errors tell: one table. In doubt the outcome is unknown.

use onceness_reference::code::Code;
use onceness_reference::history::{Outcome, Skip};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};

/// What went wrong, and whether the client can go on.
pub(super) struct Failure {
    pub(super) outcome: Outcome,
    pub(super) broken: Skip,
}

/// librdkafka's own codes are negative; those of a broker are Kafka's.
pub(super) fn failure(error: &KafkaError) -> Failure {
    let code = match error {
        KafkaError::Transaction(error) => Some(error.code()),
        other => other.rdkafka_error_code(),
    };
    let fenced = |code| Failure { outcome: Outcome::Refused(code), broken: Skip::Fenced };
    let refused = |code| Failure { outcome: Outcome::Refused(code), broken: Skip::InDoubt };
    match code {
        Some(
            RDKafkaErrorCode::Fenced
            | RDKafkaErrorCode::ProducerFenced
            | RDKafkaErrorCode::InvalidProducerEpoch
            | RDKafkaErrorCode::UnknownProducerId,
        ) => fenced(Code::PRODUCER_FENCED),
        Some(RDKafkaErrorCode::FencedInstanceId) => fenced(Code::FENCED_INSTANCE_ID),
        // A member that is none any more joins again by itself, but what it asked for was not done.
        Some(RDKafkaErrorCode::UnknownMemberId) => refused(Code::UNKNOWN_MEMBER_ID),
        Some(RDKafkaErrorCode::IllegalGeneration) => refused(Code::ILLEGAL_GENERATION),
        Some(RDKafkaErrorCode::RebalanceInProgress) => refused(Code::REBALANCE_IN_PROGRESS),
        // Retried by librdkafka until it gave up, or decided by it alone: nobody knows what the broker did.
        _ => Failure { outcome: Outcome::Unknown, broken: Skip::InDoubt },
    }
}
