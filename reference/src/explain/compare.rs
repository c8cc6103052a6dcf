//! What the model answers beside what the broker answered: the same, odd or different.

use crate::code::Code;
use crate::plan::Isolation;
use crate::protocol::{Answer, Body, FetchReply, LogBatch, Request, Response};

/// How an answer fits the model's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fit {
    /// It is what the model says.
    Same,
    /// It keeps what is promised in another way than Kafka does: another error code, or less told than there is.
    Odd,
    /// It breaks what is promised.
    Differs,
}

/// Compares the answers to a request.
pub(super) fn compare(request: &Request, model: &Answer, seen: &Answer) -> Fit {
    match (model, seen) {
        (Err(model), Err(seen)) if alike(*model) == alike(*seen) => Fit::Same,
        // Clients take it for a success: the whole batch is in the log (KAFKA-6683).
        (Err(_), Err(Code::DUPLICATE_SEQUENCE_NUMBER)) => Fit::Differs,
        (Err(_), Err(_)) => Fit::Odd,
        (Ok(_), Err(_)) | (Err(_), Ok(_)) => Fit::Differs,
        // Who the members are called is the broker's choice.
        (Ok(Response::Joined(_)), Ok(Response::Joined(_))) => Fit::Same,
        (Ok(Response::Fetched(model)), Ok(Response::Fetched(seen))) => {
            fetched(request, model, seen)
        }
        (Ok(model), Ok(seen)) if model == seen => Fit::Same,
        (Ok(_), Ok(_)) => Fit::Differs,
    }
}

/// A broker may return less than there is, but nothing else, and must say of all of it what was aborted.
fn fetched(request: &Request, model: &FetchReply, seen: &FetchReply) -> Fit {
    let (Request::Fetch { isolation, .. } | Request::FetchByte { isolation, .. }) = request else {
        return Fit::Differs;
    };
    let too_far = seen.high_watermark > model.high_watermark
        || (seen.last_stable >= 0 && seen.last_stable > model.last_stable);
    let prefix = seen.batches.len() <= model.batches.len()
        && seen.batches.iter().zip(&model.batches).all(|(seen, model)| is_same(seen, model));
    if too_far || !prefix || !tells_aborted(*isolation, model, seen) {
        return Fit::Differs;
    }
    let behind = seen.high_watermark < model.high_watermark
        || (seen.last_stable >= 0 && seen.last_stable < model.last_stable);
    match behind || seen.batches.is_empty() != model.batches.is_empty() {
        true => Fit::Odd,
        false => Fit::Same,
    }
}

/// Of a marker that leaves offsets unused some brokers tell the last one, some do not.
fn is_same(seen: &LogBatch, model: &LogBatch) -> bool {
    match (&seen.body, &model.body) {
        (Body::Marker(one), Body::Marker(other)) => {
            (seen.base, seen.session, one) == (model.base, model.session, other)
        }
        _ => seen == model,
    }
}

/// All aborted transactions that overlap what was returned must be listed (else aborted records are shown), and none that ended
/// before (else committed records of the same producer are hidden). Those that begin behind it do no harm.
fn tells_aborted(isolation: Isolation, model: &FetchReply, seen: &FetchReply) -> bool {
    if isolation == Isolation::ReadUncommitted {
        return true;
    }
    // Of nothing nothing has to be told.
    let last = seen.batches.last().map_or(-1, |batch| batch.last);
    let needed = model.aborted.iter().filter(|(_, first)| *first <= last);
    needed.clone().all(|one| seen.aborted.contains(one))
        && (seen.aborted.iter()).all(|one| one.1 > last || model.aborted.contains(one))
}

/// Newer clients are told in a word of its own that a partition is outside of the transaction (KIP-890).
fn alike(code: Code) -> Code {
    match code {
        Code::TRANSACTION_ABORTABLE => Code::INVALID_TXN_STATE,
        code => code,
    }
}
