//! The epilogue by librdkafka: fresh producers end what is open, fresh consumers read everything back.

use futures::future::{join_all, try_join_all};
use onceness_reference::history::Event;
use onceness_reference::ids::{GroupId, Partition, TxnId};
use onceness_reference::plan::{Delivery, Isolation, Plan, Protocol};
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::{KafkaResult, RDKafkaErrorCode};

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
    let writer = Writer::open(room, delivery, &room.bootstrap, PATIENCE).await?;
    // Its end takes its time, and nobody needs to wait for it.
    tokio::task::spawn_blocking(move || drop(writer));
    Ok(())
}

/// Reads every partition at both levels, and every group's positions. All at once, for librdkafka takes its time.
pub(super) async fn read(room: &Room, plan: &Plan, recorder: &Recorder) -> KafkaResult<()> {
    let levels = [Isolation::ReadUncommitted, Isolation::ReadCommitted];
    let partitions = (0..u32::from(plan.partitions)).map(Partition);
    let all = levels.into_iter().flat_map(|level| partitions.clone().map(move |one| (one, level)));
    let reads = all.map(|(partition, isolation)| {
        let room = room.clone();
        blocking(move || {
            let what = format!("partition {partition} cannot be read to its end");
            stuck(&room, read_partition(&room, partition, isolation), what)
        })
    });
    let groups = plan.groups().into_iter().map(|group| {
        let (room, inputs) = (room.clone(), inputs(plan, group));
        blocking(move || {
            let level = Isolation::ReadUncommitted;
            let config = settings::reader(&room.group(group), level, &room.bootstrap);
            let reader = Reader::plain(&room, &config)?;
            let what = format!("the positions of group {group} cannot be read");
            let saved = reader.saved(&inputs).map(|saved| {
                let committed = |(partition, offset)| Event::Committed { group, partition, offset };
                saved.into_iter().map(committed).collect()
            });
            stuck(&room, saved, what)
        })
    });
    let (reads, groups) = tokio::try_join!(try_join_all(reads), try_join_all(groups))?;
    for event in reads.into_iter().chain(groups).flatten() {
        recorder.record(event);
    }
    Ok(())
}

/// What a broker answers is no failure of ours to reach it, nor is it that nothing more came, if it answers otherwise.
fn stuck(room: &Room, read: KafkaResult<Vec<Event>>, what: String) -> KafkaResult<Vec<Event>> {
    read.or_else(|error| {
        let is_stuck = match error.rdkafka_error_code() {
            Some(RDKafkaErrorCode::OperationTimedOut) => answers(room),
            Some(code) => code as i32 > 0,
            None => false,
        };
        match is_stuck {
            true => Ok(vec![Event::Stuck { what: format!("{what}: {error}") }]),
            false => Err(error),
        }
    })
}

/// Whether the cluster answers at all.
fn answers(room: &Room) -> bool {
    let asking: KafkaResult<BaseConsumer> = settings::client(&room.bootstrap).create();
    asking.and_then(|asking| asking.fetch_metadata(None, PATIENCE)).is_ok()
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

fn read_partition(
    room: &Room,
    partition: Partition,
    isolation: Isolation,
) -> KafkaResult<Vec<Event>> {
    let group = format!("{}-readback", room.name);
    let config = settings::reader(&group, isolation, &room.bootstrap);
    let (taken, high_watermark) = Reader::plain(room, &config)?.read_all(partition)?;
    let records = Taken::seen(&taken).collect();
    Ok(vec![Event::Read { partition, isolation, high_watermark, last_stable: None, records }])
}
