//! Requests of producers: sessions, batches and the ends of transactions.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use kafka_protocol::messages::add_partitions_to_txn_request::AddPartitionsToTxnTopic;
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::{
    AddOffsetsToTxnRequest, AddPartitionsToTxnRequest, EndTxnRequest, GroupId as GroupName,
    InitProducerIdRequest, ProduceRequest, ProducerId, TransactionalId,
};
use kafka_protocol::protocol::StrBytes;
use onceness_reference::ids::{GroupId, Partition, TxnId};
use onceness_reference::plan::Protocol;
use onceness_reference::plan::forge::Flaw;
use onceness_reference::protocol::{Batch, Ending, Response, Session};

use super::batch::{self, NewBatch};
use super::cluster::Kind;
use super::malformed;
use super::way::{Failed, Told, Way, check, said_of};
use crate::payload;
use crate::transport::Lane;

/// How long a transaction may stay open: longer than any case, for nothing here waits for it.
const TRANSACTION_TIMEOUT_MS: i32 = 60_000;
/// The same while the broker is hurt, which takes its time: no transaction may expire on the way, for no property knows of
/// that. Brokers permit 15 minutes unless told otherwise.
const TRANSACTION_TIMEOUT_IN_ORDEALS_MS: i32 = 600_000;
/// How long a broker may wait for replicas; it should say so before we give up on its answer.
const PRODUCE_TIMEOUT_MS: i32 = 8_000;
/// All replicas must have it.
const ALL: i16 = -1;
/// Any version that we speak.
const ANY: (i16, i16) = (0, i16::MAX);

impl Way {
    pub(super) async fn init_producer(
        &self,
        lane: Lane,
        txn: Option<TxnId>,
        expected: Option<Session>,
    ) -> Told {
        let broker = match txn {
            Some(txn) => self.transaction_coordinator(txn).await?,
            None => self.cluster.any_broker(),
        };
        let request = InitProducerIdRequest::default()
            .with_transactional_id(txn.map(|txn| self.transactional_id(txn)))
            .with_transaction_timeout_ms(match self.is_ordeal() {
                true => TRANSACTION_TIMEOUT_IN_ORDEALS_MS,
                false => TRANSACTION_TIMEOUT_MS,
            })
            .with_producer_id(ProducerId(expected.map_or(-1, |session| session.producer)))
            .with_producer_epoch(expected.map_or(-1, |session| session.epoch));
        // A session can be named from version 3 on.
        let versions = if expected.is_some() { (3, i16::MAX) } else { ANY };
        let (code, session) = self.exchange(lane, &broker, versions, &request).await?;
        check(code)?;
        Ok(Response::Producer(session))
    }

    pub(super) async fn add_partition(
        &self,
        lane: Lane,
        txn: TxnId,
        session: Session,
        partition: Partition,
    ) -> Told {
        let topic = AddPartitionsToTxnTopic::default()
            .with_name(self.room.topic())
            .with_partitions(vec![partition.index()]);
        let request = AddPartitionsToTxnRequest::default()
            .with_v3_and_below_transactional_id(self.transactional_id(txn))
            .with_v3_and_below_producer_id(ProducerId(session.producer))
            .with_v3_and_below_producer_epoch(session.epoch)
            .with_v3_and_below_topics(vec![topic]);
        let broker = self.transaction_coordinator(txn).await?;
        let answer = self.exchange(lane, &broker, ANY, &request).await?;
        check(*said_of::<_, AddPartitionsToTxnRequest>(&broker, partition, &answer)?)?;
        Ok(Response::Done)
    }

    pub(super) async fn add_group(
        &self,
        lane: Lane,
        txn: TxnId,
        session: Session,
        group: GroupId,
    ) -> Told {
        let request = AddOffsetsToTxnRequest::default()
            .with_transactional_id(self.transactional_id(txn))
            .with_producer_id(ProducerId(session.producer))
            .with_producer_epoch(session.epoch)
            .with_group_id(GroupName(StrBytes::from_string(self.room.group(group))));
        let broker = self.transaction_coordinator(txn).await?;
        check(self.exchange(lane, &broker, ANY, &request).await?)?;
        Ok(Response::Done)
    }

    pub(super) async fn produce(
        &self,
        lane: Lane,
        partition: Partition,
        batch: &Batch,
        acks: bool,
        txn: Option<(TxnId, Protocol)>,
    ) -> Told {
        let bytes = self.bytes(partition, batch, txn.is_some());
        let request = self.produce_request(partition, bytes, if acks { ALL } else { 0 }, txn);
        if !acks {
            let leader = self.leader(partition).await?;
            self.post(lane, &leader, produce_versions(txn), &request).await?;
            return Ok(Response::Done);
        }
        self.produced(lane, partition, produce_versions(txn), &request).await
    }

    pub(super) async fn malformed(
        &self,
        lane: Lane,
        flaw: Flaw,
        partition: Partition,
        batch: &Batch,
        txn: Option<(TxnId, Protocol)>,
    ) -> Told {
        let bytes = self.bytes(partition, batch, txn.is_some() || flaw == Flaw::Orphan);
        let bytes = malformed::spoil(&bytes, flaw);
        let acks = if flaw == Flaw::Acks { 2 } else { ALL };
        let request = self.produce_request(partition, bytes, acks, txn);
        self.produced(lane, partition, produce_versions(txn), &request).await
    }

    fn bytes(&self, partition: Partition, batch: &Batch, transactional: bool) -> Bytes {
        let records =
            batch.records.iter().map(|record| payload::encode(&self.room.name, partition, record));
        batch::encode(&NewBatch {
            session: batch.session,
            first_sequence: batch.first_sequence,
            transactional,
            timestamp: now_ms(),
            records: records.collect(),
        })
    }

    fn produce_request(
        &self,
        partition: Partition,
        bytes: Bytes,
        acks: i16,
        txn: Option<(TxnId, Protocol)>,
    ) -> ProduceRequest {
        let data =
            PartitionProduceData::default().with_index(partition.index()).with_records(Some(bytes));
        let topic = TopicProduceData::default()
            .with_name(self.room.topic())
            .with_partition_data(vec![data]);
        ProduceRequest::default()
            .with_transactional_id(txn.map(|(txn, _)| self.transactional_id(txn)))
            .with_acks(acks)
            .with_timeout_ms(PRODUCE_TIMEOUT_MS)
            .with_topic_data(vec![topic])
    }

    async fn produced(
        &self,
        lane: Lane,
        partition: Partition,
        versions: (i16, i16),
        request: &ProduceRequest,
    ) -> Told {
        let leader = self.leader(partition).await?;
        let answer = self.exchange(lane, &leader, versions, request).await?;
        let produced = said_of::<_, ProduceRequest>(&leader, partition, &answer)?;
        check(produced.code)?;
        Ok(Response::Appended((produced.base >= 0).then_some(produced.base)))
    }

    pub(super) async fn end_txn(
        &self,
        lane: Lane,
        txn: TxnId,
        session: Session,
        ending: Ending,
        protocol: Protocol,
    ) -> Told {
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
        let (code, next) = self.exchange(lane, &broker, versions, &request).await?;
        check(code)?;
        Ok(Response::Ended(next.unwrap_or(session)))
    }

    pub(super) fn transactional_id(&self, txn: TxnId) -> TransactionalId {
        TransactionalId(StrBytes::from_string(self.room.txn(txn)))
    }

    async fn transaction_coordinator(&self, txn: TxnId) -> Result<Arc<str>, Failed> {
        self.coordinator(Kind::Transaction, self.room.txn(txn)).await
    }
}

/// The protocol of a transactional client is told by the version.
fn produce_versions(txn: Option<(TxnId, Protocol)>) -> (i16, i16) {
    match txn {
        Some((_, Protocol::Tv2)) => (12, 12),
        _ => (0, 11),
    }
}

fn now_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as i64)
}
