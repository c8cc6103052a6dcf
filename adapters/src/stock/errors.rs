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
    let fenced = Failure { outcome: Outcome::Refused(Code::PRODUCER_FENCED), broken: Skip::Fenced };
    match code {
        Some(RDKafkaErrorCode::Fenced | RDKafkaErrorCode::ProducerFenced) => fenced,
        Some(RDKafkaErrorCode::InvalidProducerEpoch | RDKafkaErrorCode::UnknownProducerId) => {
            fenced
        }
        // Retried by librdkafka until it gave up, or decided by it alone: nobody knows what the broker did.
        _ => Failure { outcome: Outcome::Unknown, broken: Skip::InDoubt },
    }
}
