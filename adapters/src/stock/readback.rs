//! The epilogue by librdkafka: fresh producers end what is open, fresh consumers read everything back.

use onceness_reference::history::Event;
use onceness_reference::ids::Partition;
use onceness_reference::plan::{Isolation, Plan};
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::KafkaResult;
use rdkafka::producer::{FutureProducer, Producer as _};
use rdkafka::{Offset as At, TopicPartitionList};

use super::client::{blocking, known, reader, take};
use super::{PATIENCE, Room, config};
use crate::progress::Taken;
use crate::record::Recorder;

/// A fresh instance of every transactional id aborts what its predecessors left open.
pub(super) async fn heal(room: &Room, plan: &Plan, recorder: &Recorder) {
    for txn in plan.txns() {
        let mut config = room.config();
        config.set("transactional.id", room.txn(txn));
        let healed = blocking(move || {
            let producer: FutureProducer = config.create()?;
            producer.init_transactions(PATIENCE)
        });
        if let Err(error) = healed.await {
            let what = format!("transactional id {txn} gets no new instance: {error}");
            recorder.record(Event::Stuck { what });
        }
    }
}

/// Reads every partition at both levels, and every group's positions.
pub(super) async fn read(room: &Room, plan: &Plan, recorder: &Recorder) -> KafkaResult<()> {
    for isolation in [Isolation::ReadUncommitted, Isolation::ReadCommitted] {
        for partition in (0..u32::from(plan.partitions)).map(Partition) {
            let read = {
                let room = room.clone();
                blocking(move || read_partition(&room, partition, isolation)).await?
            };
            recorder.record(read);
        }
    }
    for group in plan.groups() {
        let mut consumers = plan.clients.iter().filter_map(|client| client.consumer.clone());
        let Some(consumer) = consumers.find(|consumer| consumer.group == group) else { continue };
        let room = room.clone();
        let events = blocking(move || {
            let reader = super::client::open_consumer(&room, &consumer)?;
            let mut list = TopicPartitionList::new();
            for input in &consumer.inputs {
                list.add_partition(&room.name, input.index());
            }
            let committed = reader.committed_offsets(list, PATIENCE)?;
            let mut events = Vec::new();
            for element in committed.elements() {
                let partition = room.partition(element.partition());
                events.push(Event::Committed { group, partition, offset: known(element.offset()) });
            }
            Ok(events)
        });
        for event in events.await? {
            recorder.record(event);
        }
    }
    Ok(())
}

fn read_partition(room: &Room, partition: Partition, isolation: Isolation) -> KafkaResult<Event> {
    let consumer = reader(room, &format!("{}-readback", room.name), isolation)?;
    let mut start = TopicPartitionList::new();
    start.add_partition_offset(&room.name, partition.index(), At::Offset(0))?;
    let (_, high_watermark) = consumer.fetch_watermarks(&room.name, partition.index(), PATIENCE)?;
    consumer.assign(&start)?;
    let taken = take(&consumer, room, &[(partition, 0)], usize::MAX)?;
    let records = taken.iter().flat_map(Taken::seen).collect();
    Ok(Event::Read { partition, isolation, high_watermark, last_stable: None, records })
}

/// The groups of a run that the cluster knows.
pub(super) fn groups(bootstrap: &str, run: &str) -> Vec<String> {
    let client: KafkaResult<BaseConsumer> = config(bootstrap).create();
    let list = client.and_then(|client| client.fetch_group_list(None, PATIENCE));
    let Ok(list) = list else { return Vec::new() };
    let names = list.groups().iter().map(|group| group.name().to_owned());
    names.filter(|name| name.starts_with(run)).collect()
}
