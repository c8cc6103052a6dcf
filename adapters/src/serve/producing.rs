//! Produce: each partition is a request of its own to the model.

use bytes::Bytes;
use kafka_protocol::messages::produce_response::{PartitionProduceResponse, TopicProduceResponse};
use kafka_protocol::messages::{ProduceResponse, TopicName};
use onceness_reference::code::Code;
use onceness_reference::ids::{Offset, Partition, TxnId};
use onceness_reference::plan::Protocol;
use onceness_reference::plan::forge::Flaw;
use onceness_reference::protocol::{Batch, Request, Response};

use super::batches::{self, Claim};
use super::call::{Call, Handled, Reply, code, text};
use super::state::State;

/// From this version on a client speaks the protocol of KIP-890 part 2.
const TV2_SINCE: i16 = 12;
/// From this version on a client knows of transactions that can only be aborted (KIP-890).
const ABORTABLE_SINCE: i16 = 11;
/// What stands for no timestamp, and for no offset.
const NONE: i64 = -1;

/// What all batches of a request have in common.
struct Way {
    txn: Option<String>,
    acks: i16,
    version: i16,
    now: i64,
}

impl Way {
    fn protocol(&self) -> Protocol {
        if self.version >= TV2_SINCE { Protocol::Tv2 } else { Protocol::Tv1 }
    }

    /// The error in words that the client knows: a partition outside its transaction is one thing more to it.
    fn known(&self, code: Code, transactional: bool) -> Code {
        match code {
            Code::INVALID_TXN_STATE if transactional && self.version >= ABORTABLE_SINCE => {
                Code::TRANSACTION_ABORTABLE
            }
            code => code,
        }
    }
}

pub(super) fn produce(state: &mut State, call: &mut Call<'_>) -> Handled {
    let fields = &mut call.fields;
    let txn = fields.text_or_null()?;
    let acks = fields.i16()?;
    fields.i32()?;
    let topics = fields.structs(|topic| {
        let name = topic.text()?;
        let batches = topic.structs(|partition| {
            let index = partition.i32()?;
            Ok((index, partition.blob()?.unwrap_or_default()))
        })?;
        Ok((name, batches))
    })?;
    let way = Way { txn, acks, version: call.version, now: call.now };
    let mut refused = false;
    let responses = topics.into_iter().map(|(topic, batches)| {
        let told = batches.into_iter().map(|(index, bytes)| {
            let appended = state.append(&way, &topic, index, &bytes);
            refused |= appended.is_err();
            PartitionProduceResponse::default()
                .with_index(index)
                .with_error_code(code(&appended))
                .with_base_offset(appended.unwrap_or(NONE))
                .with_log_append_time_ms(NONE)
                .with_log_start_offset(if appended.is_ok() { 0 } else { NONE })
        });
        let told = told.collect();
        TopicProduceResponse::default()
            .with_name(TopicName(text(topic)))
            .with_partition_responses(told)
    });
    let responses = responses.collect();
    match acks {
        0 if refused => Ok(Reply::Close),
        0 => Ok(Reply::Nothing),
        _ => call.answer(&ProduceResponse::default().with_responses(responses)),
    }
}

impl State {
    fn append(
        &mut self,
        way: &Way,
        topic: &str,
        index: i32,
        bytes: &Bytes,
    ) -> Result<Offset, Code> {
        let partition = self.topics.partition(topic, index)?;
        let claim = batches::claim(bytes)?;
        let txn = match (&way.txn, claim.transactional) {
            (Some(name), true) => Some(self.txn(name)?),
            (None, true) => return Err(Code::TRANSACTIONAL_ID_AUTHORIZATION_FAILED),
            (_, false) => None,
        };
        let sound = match way.acks {
            -1..=1 => batches::check(bytes),
            _ => Err(Code::INVALID_REQUIRED_ACKS),
        };
        let arrived = match sound {
            Ok(arrived) => arrived,
            Err(code) => return Err(self.refusal(way, partition, &claim, txn, code)),
        };
        let records = self.store.tagged(partition, &arrived).ok_or(Code::KAFKA_STORAGE_ERROR)?;
        let count = records.len() as u32;
        let batches =
            |state: &State| state.broker.extent(partition).map_or(0, |extent| extent.batches);
        let before = batches(self);
        let appended = self.broker.handle(&Request::Produce {
            partition,
            batch: Batch {
                session: arrived.session,
                first_sequence: arrived.first_sequence,
                records,
            },
            acks: way.acks != 0,
            txn: txn.map(|txn| (txn, way.protocol())),
        });
        if let Some(txn) = txn {
            self.clock(txn, way.now);
        }
        let added = batches(self) > before;
        if added {
            let base = match appended {
                Ok(Response::Appended(Some(base))) => base,
                // Without acknowledgement the model does not say where: at the end.
                _ => self
                    .broker
                    .extent(partition)
                    .map_or(0, |extent| extent.end - Offset::from(count)),
            };
            self.store.keep(partition, base, bytes, count);
        }
        match appended {
            Ok(Response::Appended(base)) => Ok(base.unwrap_or(NONE)),
            Ok(_) => Ok(NONE),
            Err(code) => Err(way.known(code, txn.is_some())),
        }
    }

    /// Why a batch is refused that is refused in any case: its transaction is asked for, and opened, before it is looked into.
    fn refusal(
        &mut self,
        way: &Way,
        partition: Partition,
        claim: &Claim,
        txn: Option<TxnId>,
        code: Code,
    ) -> Code {
        let (session, first_sequence) = (claim.session, claim.first_sequence);
        let answer = self.broker.handle(&Request::Malformed {
            flaw: Flaw::Checksum,
            partition,
            batch: Batch { session, first_sequence, records: Vec::new() },
            txn: txn.map(|txn| (txn, way.protocol())),
        });
        if let Some(txn) = txn {
            self.clock(txn, way.now);
        }
        match answer {
            Err(refused) if refused != Code::CORRUPT_MESSAGE => way.known(refused, txn.is_some()),
            _ => code,
        }
    }
}
