//! What a client of librdkafka does as a producer: opening, sending, and the bounds of transactions.

use std::time::Duration;

use onceness_reference::history::Record;
use onceness_reference::ids::{Offset, Partition};
use onceness_reference::plan::Delivery;
use rdkafka::consumer::ConsumerGroupMetadata;
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::producer::{DeliveryFuture, FutureProducer, FutureRecord, Producer as _};
use rdkafka::{ClientConfig, TopicPartitionList};

use super::consuming::blocking;
use super::{Room, settings};
use crate::payload;

/// A producer of librdkafka, and how long it may wait for an answer.
#[derive(Clone)]
pub(super) struct Writer {
    producer: FutureProducer,
    patience: Duration,
}

/// A record on its way; or it could not even be queued.
pub(super) type Sending = Result<DeliveryFuture, KafkaError>;

impl Writer {
    /// Opens a producer. A transactional one fences its predecessors.
    pub(super) async fn open(
        room: &Room,
        delivery: Delivery,
        bootstrap: &str,
        patience: Duration,
    ) -> KafkaResult<Writer> {
        let config = settings::producer(room, delivery, bootstrap);
        let is_transactional = matches!(delivery, Delivery::Transactional { .. });
        Writer::of(config, is_transactional, patience).await
    }

    async fn of(
        config: ClientConfig,
        is_transactional: bool,
        patience: Duration,
    ) -> KafkaResult<Writer> {
        blocking(move || {
            let producer: FutureProducer = config.create()?;
            if is_transactional {
                producer.init_transactions(patience)?;
            }
            Ok(Writer { producer, patience })
        })
        .await
    }

    /// The same with another patience.
    pub(super) fn waiting(&self, patience: Duration) -> Writer {
        Writer { patience, ..self.clone() }
    }

    /// Queues a record.
    pub(super) fn send(&self, room: &Room, partition: Partition, record: &Record) -> Sending {
        let (key, value) = payload::encode(&room.name, partition, record);
        let message = FutureRecord::to(&room.name)
            .partition(partition.index())
            .key(&key[..])
            .payload(&value[..]);
        self.producer.send_result(message).map_err(|(error, _)| error)
    }

    pub(super) fn begin(&self) -> KafkaResult<()> {
        self.producer.begin_transaction()
    }

    pub(super) async fn commit(&self) -> KafkaResult<()> {
        let Writer { producer, patience } = self.clone();
        blocking(move || producer.commit_transaction(patience)).await
    }

    pub(super) async fn abort(&self) -> KafkaResult<()> {
        let Writer { producer, patience } = self.clone();
        blocking(move || producer.abort_transaction(patience)).await
    }

    pub(super) async fn save(
        &self,
        positions: TopicPartitionList,
        group: ConsumerGroupMetadata,
    ) -> KafkaResult<()> {
        let Writer { producer, patience } = self.clone();
        blocking(move || producer.send_offsets_to_transaction(&positions, &group, patience)).await
    }
}

/// How the delivery of a record ended: its offset, if it was told.
pub(super) async fn delivered(sending: Sending) -> Result<Option<Offset>, KafkaError> {
    match sending?.await {
        Ok(Ok(delivered)) => Ok((delivered.offset >= 0).then_some(delivered.offset)),
        Ok(Err((error, _))) => Err(error),
        Err(_) => Err(KafkaError::Canceled),
    }
}
