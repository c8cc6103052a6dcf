//! Producers' sessions and their transactions.

use kafka_protocol::messages::add_partitions_to_txn_response::{
    AddPartitionsToTxnPartitionResult, AddPartitionsToTxnTopicResult,
};
use kafka_protocol::messages::describe_transactions_response::{
    TopicData, TransactionState as Described,
};
use kafka_protocol::messages::list_transactions_response::TransactionState as Listed;
use kafka_protocol::messages::{
    AddOffsetsToTxnResponse, AddPartitionsToTxnResponse, DescribeTransactionsResponse,
    EndTxnResponse, InitProducerIdResponse, ListTransactionsResponse, ProducerId, TopicName,
    TransactionalId,
};
use onceness_reference::broker::{State as TxnState, Transaction};
use onceness_reference::code::Code;
use onceness_reference::ids::{GroupId, Partition, TxnId};
use onceness_reference::plan::Protocol;
use onceness_reference::protocol::{Ending, Request, Response, Session};
use std::collections::BTreeMap;

use super::call::{Call, Handled, code, text};
use super::state::State;
use crate::wire::fields::{Fields, Malformed};

/// The longest that a transaction may be open (`transaction.max.timeout.ms`).
const TIMEOUT_MAX_MS: i32 = 900_000;
/// From this version on EndTxn is of the protocol of KIP-890 part 2.
const TV2_SINCE: i16 = 5;
/// Clients of older versions do not know that they are fenced but by their epoch (KIP-588).
const INIT_KNOWS_FENCED: i16 = 4;
const TXN_KNOWS_FENCED: i16 = 2;
/// Nobody.
const NOBODY: Session = Session { producer: -1, epoch: -1 };

/// A session as requests name it.
pub(super) fn session(fields: &mut Fields) -> Result<Session, Malformed> {
    Ok(Session { producer: fields.i64()?, epoch: fields.i16()? })
}

/// The error in words that a client of that version knows.
fn known(code: i16, version: i16, since: i16) -> i16 {
    match Code(code) {
        Code::PRODUCER_FENCED if version < since => Code::INVALID_PRODUCER_EPOCH.0,
        _ => code,
    }
}

pub(super) fn init_producer(state: &mut State, call: &mut Call<'_>) -> Handled {
    let fields = &mut call.fields;
    let (txn, timeout) = (fields.text_or_null()?, fields.i32()?);
    let expected = if call.version >= 3 { session(fields)? } else { NOBODY };
    let told = state.init_producer(txn.as_deref(), timeout, expected, call.now);
    let answer = InitProducerIdResponse::default().with_error_code(known(
        code(&told),
        call.version,
        INIT_KNOWS_FENCED,
    ));
    let session = told.unwrap_or(NOBODY);
    call.answer(
        &answer.with_producer_id(ProducerId(session.producer)).with_producer_epoch(session.epoch),
    )
}

pub(super) fn add_partitions(state: &mut State, call: &mut Call<'_>) -> Handled {
    let fields = &mut call.fields;
    let (name, session) = (fields.text()?, session(fields)?);
    let topics = fields.structs(|topic| Ok((topic.text()?, topic.array(Fields::i32)?)))?;
    let (version, now) = (call.version, call.now);
    let unknown = |topic: &str, index: i32| state.topics.partition(topic, index).is_err();
    let any_unknown =
        topics.iter().any(|(topic, all)| all.iter().any(|index| unknown(topic, *index)));
    let results = topics.into_iter().map(|(topic, indexes)| {
        let told = indexes.into_iter().map(|index| {
            // One that does not exist, and none is added.
            let added = match state.topics.partition(&topic, index) {
                Ok(_) if any_unknown => Err(Code::OPERATION_NOT_ATTEMPTED),
                Ok(partition) => state.add_partition(&name, session, partition, now),
                Err(code) => Err(code),
            };
            AddPartitionsToTxnPartitionResult::default()
                .with_partition_index(index)
                .with_partition_error_code(known(code(&added), version, TXN_KNOWS_FENCED))
        });
        let told = told.collect();
        AddPartitionsToTxnTopicResult::default()
            .with_name(TopicName(text(topic)))
            .with_results_by_partition(told)
    });
    let results = results.collect();
    call.answer(&AddPartitionsToTxnResponse::default().with_results_by_topic_v3_and_below(results))
}

pub(super) fn add_offsets(state: &mut State, call: &mut Call<'_>) -> Handled {
    let fields = &mut call.fields;
    let (name, session, group) = (fields.text()?, session(fields)?, fields.text()?);
    let added = state.txn(&name).and_then(|txn| {
        let group = state.group(&group)?;
        state.add_group(txn, session, group, call.now)
    });
    let code = known(code(&added), call.version, TXN_KNOWS_FENCED);
    call.answer(&AddOffsetsToTxnResponse::default().with_error_code(code))
}

pub(super) fn end(state: &mut State, call: &mut Call<'_>) -> Handled {
    let fields = &mut call.fields;
    let (name, session) = (fields.text()?, session(fields)?);
    let ending = if fields.bool()? { Ending::Commit } else { Ending::Abort };
    let protocol = if call.version >= TV2_SINCE { Protocol::Tv2 } else { Protocol::Tv1 };
    let ended = state.txn(&name).and_then(|txn| {
        let ended = state.broker.handle(&Request::EndTxn { txn, session, ending, protocol });
        state.clock(txn, call.now);
        ended
    });
    let code = known(code(&ended), call.version, TXN_KNOWS_FENCED);
    let answer = EndTxnResponse::default().with_error_code(code);
    match (ended, protocol) {
        (Ok(Response::Ended(next)), Protocol::Tv2) => call.answer(
            &answer.with_producer_id(ProducerId(next.producer)).with_producer_epoch(next.epoch),
        ),
        _ => call.answer(&answer),
    }
}

pub(super) fn describe(state: &mut State, call: &mut Call<'_>) -> Handled {
    let names = call.fields.array(Fields::text)?;
    let told = names.into_iter().map(|name| {
        let found = state.txns.find(&name).map(TxnId);
        let described = Described::default().with_transactional_id(TransactionalId(text(name)));
        match found.and_then(|txn| Some((txn, state.broker.transaction(txn)?))) {
            Some((txn, found)) => state.described(described, txn, &found),
            None => described.with_error_code(Code::TRANSACTIONAL_ID_NOT_FOUND.0),
        }
    });
    let told = told.collect();
    call.answer(&DescribeTransactionsResponse::default().with_transaction_states(told))
}

pub(super) fn list(state: &mut State, call: &mut Call<'_>) -> Handled {
    let fields = &mut call.fields;
    let states = fields.array(Fields::text)?;
    let producers = fields.array(Fields::i64)?;
    let lasting = if call.version >= 1 { fields.i64()? } else { -1 };
    let is_state = |name: &&String| STATES.iter().any(|state| state.name() == **name);
    let (known, unknown): (Vec<&String>, Vec<&String>) = states.iter().partition(is_state);
    let wanted = |txn: TxnId, found: &Transaction| {
        let open_since = state.timing.get(&txn).and_then(|timing| timing.open_since);
        let long = open_since.is_some_and(|since| since + lasting < call.now);
        (states.is_empty() || known.iter().any(|name| **name == found.state.name()))
            && (producers.is_empty() || producers.contains(&found.session.producer))
            && (lasting < 0 || long)
    };
    let listed = state.txns.all().filter_map(|(number, name)| {
        let found = state.broker.transaction(TxnId(number))?;
        wanted(TxnId(number), &found).then(|| {
            Listed::default()
                .with_transactional_id(TransactionalId(text(&**name)))
                .with_producer_id(ProducerId(found.session.producer))
                .with_transaction_state(text(found.state.name()))
        })
    });
    let answer = ListTransactionsResponse::default()
        .with_transaction_states(listed.collect())
        .with_unknown_state_filters(unknown.into_iter().map(|name| text(name.as_str())).collect());
    call.answer(&answer)
}

const STATES: [TxnState; 6] = [
    TxnState::Empty,
    TxnState::Ongoing,
    TxnState::Prepare(Ending::Commit),
    TxnState::Prepare(Ending::Abort),
    TxnState::Complete(Ending::Commit),
    TxnState::Complete(Ending::Abort),
];

impl State {
    fn init_producer(
        &mut self,
        name: Option<&str>,
        timeout: i32,
        expected: Session,
        now: i64,
    ) -> Result<Session, Code> {
        let expected = match (expected.producer, expected.epoch) {
            (-1, -1) => None,
            (-1, _) | (_, -1) => return Err(Code::INVALID_REQUEST),
            _ => Some(expected),
        };
        let txn = match name {
            None => None,
            Some("") => return Err(Code::INVALID_REQUEST),
            Some(_) if !(1..=TIMEOUT_MAX_MS).contains(&timeout) => {
                return Err(Code::INVALID_TRANSACTION_TIMEOUT);
            }
            Some(name) => Some(self.txn_or_new(name, timeout.into(), now)?),
        };
        let told = self.broker.handle(&Request::InitProducer { txn, expected });
        if let Some(txn) = txn {
            self.clock(txn, now);
        }
        match told? {
            Response::Producer(session) => Ok(session),
            // The model answers a request for a producer with one.
            _ => Err(Code::UNKNOWN_SERVER_ERROR),
        }
    }

    fn add_partition(
        &mut self,
        name: &str,
        session: Session,
        partition: Partition,
        now: i64,
    ) -> Result<(), Code> {
        let txn = self.txn(name)?;
        let added = self.broker.handle(&Request::AddPartition { txn, session, partition });
        self.clock(txn, now);
        added.map(drop)
    }

    fn add_group(
        &mut self,
        txn: TxnId,
        session: Session,
        group: GroupId,
        now: i64,
    ) -> Result<(), Code> {
        let added = self.broker.handle(&Request::AddGroup { txn, session, group });
        self.clock(txn, now);
        added.map(drop)
    }

    fn described(&self, told: Described, txn: TxnId, found: &Transaction) -> Described {
        let timing = self.timing.get(&txn);
        let mut topics: BTreeMap<&str, Vec<i32>> = BTreeMap::new();
        for (topic, index) in found.partitions.iter().filter_map(|one| self.topics.place(*one)) {
            topics.entry(topic).or_default().push(index);
        }
        let topics = topics.into_iter().map(|(topic, partitions)| {
            TopicData::default().with_topic(TopicName(text(topic))).with_partitions(partitions)
        });
        told.with_transaction_state(text(found.state.name()))
            .with_transaction_timeout_ms(timing.map_or(-1, |timing| timing.timeout as i32))
            .with_transaction_start_time_ms(
                timing.and_then(|timing| timing.open_since).unwrap_or(-1),
            )
            .with_producer_id(ProducerId(found.session.producer))
            .with_producer_epoch(found.session.epoch)
            .with_topics(topics.collect())
    }
}
