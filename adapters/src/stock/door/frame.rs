//! What a request of librdkafka carries out, and what its answer says.

use kafka_protocol::messages::ApiKey;
use onceness_reference::code::Code;
use onceness_reference::history::{Outcome, Reply};
use onceness_reference::ids::{EventId, Partition, Tag};

use super::Calls;
use crate::codes::{Class, class_of};
use crate::payload;
use crate::proxy::Exchange;
use crate::wire::batch::{self, FoundBody};
use crate::wire::fields::{Fields, Malformed};

/// The calls that a request carries out, each with the place of its record in the batch.
pub(super) fn calls(exchange: &Exchange, calls: &Calls, topic: &str) -> Vec<(EventId, usize)> {
    match calls {
        Calls::One(of) => vec![(*of, 0)],
        // A preparation is for whatever is sent first.
        Calls::Records(records) if !is_produce(exchange) => {
            records.first().map(|(_, of)| (*of, 0)).into_iter().collect()
        }
        Calls::Records(records) => {
            let sent = sent(exchange, topic).unwrap_or_default().into_iter().enumerate();
            let call = |(place, tag)| {
                let (_, of) = records.iter().find(|(known, _)| *known == tag)?;
                Some((*of, place))
            };
            sent.filter_map(call).collect()
        }
    }
}

/// What the answer says of the record at that place of the batch.
pub(super) fn outcome(exchange: &Exchange, place: usize) -> Outcome {
    let Some(codes) = exchange.codes() else { return Outcome::Unknown };
    match codes.into_iter().find(|code| *code != Code(0)) {
        Some(code) if class_of(is_produce(exchange), code) == Class::Indeterminate => {
            Outcome::Unknown
        }
        Some(code) => Outcome::Refused(code),
        None if is_produce(exchange) => {
            let base = exchange.base_offset().filter(|base| *base >= 0);
            Outcome::Done(Reply::Appended { base: base.map(|base| base + place as i64) })
        }
        None => match exchange.session() {
            session @ Some(_) => Outcome::Done(Reply::Opened { session, positions: Vec::new() }),
            None => Outcome::Done(Reply::Nothing),
        },
    }
}

fn is_produce(exchange: &Exchange) -> bool {
    exchange.start.api == ApiKey::Produce as i16
}

/// The records of a produce request, in order.
fn sent(exchange: &Exchange, topic: &str) -> Result<Vec<Tag>, Malformed> {
    let flexible = ApiKey::Produce.request_header_version(exchange.start.version) >= 2;
    let mut fields = Fields::new(exchange.request.clone(), flexible);
    // The transactional id, the acknowledgements, the timeout.
    fields.text()?;
    fields.i16()?;
    fields.i32()?;
    let topics = fields.structs(|topic| {
        topic.text()?;
        topic.structs(|partition| Ok((partition.i32()?, partition.blob()?)))
    })?;
    let mut tags = Vec::new();
    for (partition, blob) in topics.into_iter().flatten() {
        let batches = batch::decode(blob.unwrap_or_default()).map_err(Malformed)?;
        // No room has more partitions than fit.
        let partition = Partition(partition as u32);
        for batch in batches {
            let FoundBody::Records(records) = batch.body else { continue };
            for (_, key, value) in records {
                let record = payload::decode(topic, partition, key.as_deref(), value.as_deref());
                tags.extend(record.map(|record| record.tag));
            }
        }
    }
    Ok(tags)
}
