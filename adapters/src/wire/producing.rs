//! Requests of producers: sessions, batches and the ends of transactions.

use std::time::{SystemTime, UNIX_EPOCH};

use kafka_protocol::messages::add_partitions_to_txn_request::AddPartitionsToTxnTopic;
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::{
    AddOffsetsToTxnRequest, AddPartitionsToTxnRequest, EndTxnRequest, GroupId as GroupName, InitProducerIdRequest,
    ProduceRequest, ProducerId, TransactionalId,
};
use kafka_protocol::protocol::StrBytes;
use onceness_reference::code::Code;
use onceness_reference::ids::{GroupId, Partition, TxnId};
use onceness_reference::plan::Protocol;
use onceness_reference::protocol::{Answer, Batch, Ending, Response, Session};

use super::Way;
use super::batch::{self, NewBatch};
use super::cluster::Kind;
use crate::payload;
use crate::transport::{Lane, TargetError};

/// How long a transaction may stay open: longer than any case, for nothing here waits for it.
const TRANSACTION_TIMEOUT_MS: i32 = 60_000;
const PRODUCE_TIMEOUT_MS: i32 = 8_000;

impl Way {
    pub(super) async fn init_producer(&self, lane: Lane, txn: Option<TxnId>) -> Result<Answer, TargetError> {
        let broker = match txn {
            Some(txn) => self.transaction_coordinator(txn).await?,
            None => self.cluster.any_broker().0,
        };
        let request = InitProducerIdRequest::default()
            .with_transactional_id(txn.map(|txn| self.transactional_id(txn)))
            .with_transaction_timeout_ms(TRANSACTION_TIMEOUT_MS)
            .with_producer_id(ProducerId(-1))
            .with_producer_epoch(-1);
        let answer = self.exchange(lane, broker, (0, 5), &request).await?;
        Ok(done(answer.error_code, || {
            Response::Producer(Session { producer: answer.producer_id.0, epoch: answer.producer_epoch })
        }))
    }

    pub(super) async fn add_partition(
        &self,
        lane: Lane,
        txn: TxnId,
        session: Session,
        partition: Partition,
    ) -> Result<Answer, TargetError> {
        let topic = AddPartitionsToTxnTopic::default()
            .with_name(self.room.topic())
            .with_partitions(vec![partition.0.into()]);
        let request = AddPartitionsToTxnRequest::default()
            .with_v3_and_below_transactional_id(self.transactional_id(txn))
            .with_v3_and_below_producer_id(ProducerId(session.producer))
            .with_v3_and_below_producer_epoch(session.epoch)
            .with_v3_and_below_topics(vec![topic]);
        let broker = self.transaction_coordinator(txn).await?;
        // Version 4 is for brokers among themselves.
        let answer = self.exchange(lane, broker, (0, 3), &request).await?;
        let results = answer.results_by_topic_v3_and_below.iter().flat_map(|topic| &topic.results_by_partition);
        Ok(first_error(results.map(|result| result.partition_error_code)))
    }

    pub(super) async fn add_group(
        &self,
        lane: Lane,
        txn: TxnId,
        session: Session,
        group: GroupId,
    ) -> Result<Answer, TargetError> {
        let request = AddOffsetsToTxnRequest::default()
            .with_transactional_id(self.transactional_id(txn))
            .with_producer_id(ProducerId(session.producer))
            .with_producer_epoch(session.epoch)
            .with_group_id(GroupName(StrBytes::from_string(self.room.group(group))));
        let broker = self.transaction_coordinator(txn).await?;
        let answer = self.exchange(lane, broker, (0, 3), &request).await?;
        Ok(done(answer.error_code, || Response::Done))
    }

    pub(super) async fn produce(
        &self,
        lane: Lane,
        partition: Partition,
        batch: &Batch,
        acks: bool,
        txn: Option<(TxnId, Protocol)>,
    ) -> Result<Answer, TargetError> {
        let records = batch.records.iter().map(|record| payload::encode(&self.room.name, partition, record));
        let bytes = batch::encode(&NewBatch {
            session: batch.session,
            first_sequence: batch.first_sequence,
            transactional: txn.is_some(),
            timestamp: now_ms(),
            records: records.collect(),
        });
        let data = PartitionProduceData::default().with_index(partition.0.into()).with_records(Some(bytes));
        let topic = TopicProduceData::default().with_name(self.room.topic()).with_partition_data(vec![data]);
        let request = ProduceRequest::default()
            .with_transactional_id(txn.map(|(txn, _)| self.transactional_id(txn)))
            .with_acks(if acks { -1 } else { 0 })
            .with_timeout_ms(PRODUCE_TIMEOUT_MS)
            .with_topic_data(vec![topic]);
        let versions = match txn {
            Some((_, Protocol::Tv2)) => (12, 12),
            _ => (3, 11),
        };
        let leader = self.leader(partition);
        if !acks {
            let (mut connection, version) = self.connection::<ProduceRequest>(lane, leader, versions).await?;
            connection.post(version, &request).await?;
            self.lanes().insert((lane, leader), connection);
            return Ok(Ok(Response::Done));
        }
        let answer = self.exchange(lane, leader, versions, &request).await?;
        let mut results = answer.responses.iter().flat_map(|topic| &topic.partition_responses);
        Ok(match results.next() {
            Some(result) => done(result.error_code, || {
                Response::Appended((result.base_offset >= 0).then_some(result.base_offset))
            }),
            None => Err(Code::UNKNOWN_SERVER_ERROR),
        })
    }

    pub(super) async fn end_txn(
        &self,
        lane: Lane,
        txn: TxnId,
        session: Session,
        ending: Ending,
        protocol: Protocol,
    ) -> Result<Answer, TargetError> {
        let request = EndTxnRequest::default()
            .with_transactional_id(self.transactional_id(txn))
            .with_producer_id(ProducerId(session.producer))
            .with_producer_epoch(session.epoch)
            .with_committed(ending == Ending::Commit);
        let broker = self.transaction_coordinator(txn).await?;
        let versions = match protocol {
            Protocol::Tv1 => (0, 4),
            Protocol::Tv2 => (5, 5),
        };
        let answer = self.exchange(lane, broker, versions, &request).await?;
        Ok(done(answer.error_code, || match protocol {
            Protocol::Tv1 => Response::Ended(session),
            Protocol::Tv2 => {
                Response::Ended(Session { producer: answer.producer_id.0, epoch: answer.producer_epoch })
            }
        }))
    }

    pub(super) fn transactional_id(&self, txn: TxnId) -> TransactionalId {
        TransactionalId(StrBytes::from_string(self.room.txn(txn)))
    }

    async fn transaction_coordinator(&self, txn: TxnId) -> Result<i32, TargetError> {
        self.coordinator(Kind::Transaction, self.room.txn(txn)).await
    }
}

pub(super) fn done(code: i16, response: impl FnOnce() -> Response) -> Answer {
    match code {
        0 => Ok(response()),
        code => Err(Code(code)),
    }
}

/// The answer to a request that has a result for each part: done if all are, and if there is any.
pub(super) fn first_error(codes: impl Iterator<Item = i16>) -> Answer {
    let mut codes = codes.peekable();
    if codes.peek().is_none() {
        return Err(Code::UNKNOWN_SERVER_ERROR);
    }
    match codes.find(|code| *code != 0) {
        None => Ok(Response::Done),
        Some(code) => Err(Code(code)),
    }
}

fn now_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as i64)
}
