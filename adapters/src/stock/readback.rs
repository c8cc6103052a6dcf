//! The epilogue by librdkafka: fresh producers end what is open, fresh consumers read everything back.

use futures::future::{join_all, try_join_all};
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
    let healed = plan.txns().into_iter().map(|txn| async move {
        if let Err(error) = succeed(room, txn).await {
            let what = format!("transactional id {txn} gets no new instance: {error}");
            recorder.record(Event::Stuck { what });
        }
    });
    join_all(healed).await;
}

async fn succeed(room: &Room, txn: TxnId) -> KafkaResult<()> {
    let delivery = Delivery::Transactional { txn, protocol: Protocol::Tv1 };
    Writer::open(room, delivery, &room.bootstrap, PATIENCE).await.map(drop)
}

/// Reads every partition at both levels, and every group's positions. All at once, for librdkafka takes its time.
pub(super) async fn read(room: &Room, plan: &Plan, recorder: &Recorder) -> KafkaResult<()> {
    let levels = [Isolation::ReadUncommitted, Isolation::ReadCommitted];
    let partitions = (0..u32::from(plan.partitions)).map(Partition);
    let all = levels.into_iter().flat_map(|level| partitions.clone().map(move |one| (one, level)));
    let reads = all.map(|(partition, isolation)| {
        let room = room.clone();
        blocking(move || read_partition(&room, partition, isolation))
    });
    let groups = plan.groups().into_iter().map(|group| {
        let (room, inputs) = (room.clone(), inputs(plan, group));
        blocking(move || {
            let level = Isolation::ReadUncommitted;
            let config = settings::reader(&room.group(group), level, &room.bootstrap);
            Ok((group, Reader::plain(&room, &config)?.saved(&inputs)?))
        })
    });
    let (reads, groups) = tokio::try_join!(try_join_all(reads), try_join_all(groups))?;
    for read in reads {
        recorder.record(read);
    }
    for (group, saved) in groups {
        for (partition, offset) in saved {
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
