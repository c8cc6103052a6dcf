//! What a client of librdkafka does as a producer: opening, sending, and the bounds of transactions.
//!
//! Not `FutureProducer`: its thread spins through the last millisecond of every tenth of a second, which costs more than all
//! else here as soon as there are some hundred of them.

use std::sync::{Arc, Weak};
use std::time::Duration;

use onceness_reference::history::Record;
use onceness_reference::ids::{Offset, Partition};
use onceness_reference::plan::Delivery;
use rdkafka::consumer::ConsumerGroupMetadata;
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::message::Message as _;
use rdkafka::producer::{BaseProducer, BaseRecord, DeliveryResult, Producer as _, ProducerContext};
use rdkafka::{ClientContext, TopicPartitionList};
use tokio::sync::oneshot;

use super::consuming::blocking;
use super::{Room, settings};
use crate::payload;

/// A producer of librdkafka, and how long it may wait for an answer.
#[derive(Clone)]
pub(super) struct Writer {
    producer: Arc<BaseProducer<Reports>>,
    patience: Duration,
}

/// How often librdkafka is asked what became of what was sent.
const ASK_EVERY: Duration = Duration::from_millis(2);

/// How the delivery of a record ended: its offset, if it was told.
type Delivered = Result<Option<Offset>, KafkaError>;

/// A record on its way; or it could not even be queued.
pub(super) type Sending = Result<oneshot::Receiver<Delivered>, KafkaError>;

/// Hands what became of a record to who waits for it.
struct Reports;

impl ClientContext for Reports {}

impl ProducerContext for Reports {
    type DeliveryOpaque = Box<oneshot::Sender<Delivered>>;

    fn delivery(&self, result: &DeliveryResult<'_>, waits: Self::DeliveryOpaque) {
        let delivered = match result {
            Ok(message) => Ok(Some(message.offset()).filter(|offset| *offset >= 0)),
            Err((error, _)) => Err(error.clone()),
        };
        // Nobody waits any more after a crash.
        let _ = waits.send(delivered);
    }
}

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
        let opening = blocking(move || {
            let producer: BaseProducer<Reports> = config.create_with_context(Reports)?;
            let producer = Arc::new(producer);
            if is_transactional {
                producer.init_transactions(patience)?;
            }
            Ok(producer)
        });
        let producer = opening.await?;
        tokio::spawn(look_after(Arc::downgrade(&producer)));
        Ok(Writer { producer, patience })
    }

    /// The same with another patience.
    pub(super) fn waiting(&self, patience: Duration) -> Writer {
        Writer { patience, ..self.clone() }
    }

    /// Queues a record.
    pub(super) fn send(&self, room: &Room, partition: Partition, record: &Record) -> Sending {
        let (key, value) = payload::encode(&room.name, partition, record);
        let (waits, delivered) = oneshot::channel();
        let message = BaseRecord::with_opaque_to(&room.name, Box::new(waits))
            .partition(partition.index())
            .key(&key[..])
            .payload(&value[..]);
        self.producer.send(message).map_err(|(error, _)| error)?;
        Ok(delivered)
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
pub(super) async fn delivered(sending: Sending) -> Delivered {
    sending?.await.unwrap_or(Err(KafkaError::Canceled))
}

/// Asks a producer what became of what it sent, as long as there is one.
async fn look_after(producer: Weak<BaseProducer<Reports>>) {
    while let Some(producer) = producer.upgrade() {
        producer.poll(Duration::ZERO);
        if let Some(last) = Arc::into_inner(producer) {
            // Its end takes its time.
            tokio::task::spawn_blocking(move || drop(last));
            return;
        }
        tokio::time::sleep(ASK_EVERY).await;
    }
}
