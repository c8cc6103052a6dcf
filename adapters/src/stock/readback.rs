//! The epilogue by librdkafka: fresh producers end what is open, fresh consumers read everything back.

use onceness_reference::history::Event;
use onceness_reference::ids::{GroupId, Partition, TxnId};
use onceness_reference::plan::{Delivery, Isolation, Plan, Protocol};
use rdkafka::error::KafkaResult;

use super::consuming::{Reader, blocking};
use super::producing::Writer;
use super::{PATIENCE, Room, settings};
use crate::progress::Taken;
use crate::record::Recorder;

/// A fresh instance of every transactional id aborts what its predecessors left open.
pub(super) async fn heal(room: &Room, plan: &Plan, recorder: &Recorder) {
    for txn in plan.txns() {
        if let Err(error) = succeed(room, txn).await {
            let what = format!("transactional id {txn} gets no new instance: {error}");
            recorder.record(Event::Stuck { what });
        }
    }
}

async fn succeed(room: &Room, txn: TxnId) -> KafkaResult<()> {
    let delivery = Delivery::Transactional { txn, protocol: Protocol::Tv1 };
    Writer::open(room, delivery, &room.bootstrap, PATIENCE).await.map(drop)
}

/// Reads every partition at both levels, and every group's positions.
pub(super) async fn read(room: &Room, plan: &Plan, recorder: &Recorder) -> KafkaResult<()> {
    for isolation in [Isolation::ReadUncommitted, Isolation::ReadCommitted] {
        for partition in (0..plan.partitions).map(Partition) {
            let room = room.clone();
            let read = blocking(move || read_partition(&room, partition, isolation)).await?;
            recorder.record(read);
        }
    }
    for group in plan.groups() {
        let (room, inputs) = (room.clone(), inputs(plan, group));
        let saved = blocking(move || {
            let level = Isolation::ReadUncommitted;
            let config = settings::reader(&room.group(group), level, &room.bootstrap);
            Reader::plain(&room, &config)?.saved(&inputs)
        });
        for (partition, offset) in saved.await? {
            recorder.record(Event::Committed { group, partition, offset });
        }
    }
    Ok(())
}

/// What any consumer of a group reads.
fn inputs(plan: &Plan, group: GroupId) -> Vec<Partition> {
    let consumers = plan.clients.iter().filter_map(|client| client.consumer.as_ref());
    let inputs =
        consumers.filter(|consumer| consumer.group == group).flat_map(|consumer| &consumer.inputs);
    let mut inputs: Vec<Partition> = inputs.copied().collect();
    inputs.sort_unstable();
    inputs.dedup();
    inputs
}

fn read_partition(room: &Room, partition: Partition, isolation: Isolation) -> KafkaResult<Event> {
    let group = format!("{}-readback", room.name);
    let config = settings::reader(&group, isolation, &room.bootstrap);
    let (taken, high_watermark) = Reader::plain(room, &config)?.read_all(partition)?;
    let records = Taken::seen(&taken).collect();
    Ok(Event::Read { partition, isolation, high_watermark, last_stable: None, records })
}
