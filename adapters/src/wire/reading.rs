//! Fetching: full fetches without a session, answered at once; and where a partition begins and ends.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use kafka_protocol::messages::{BrokerId, FetchRequest, ListOffsetsRequest};
use onceness_reference::code::Code;
use onceness_reference::ids::{Offset, Partition};
use onceness_reference::plan::Isolation;
use onceness_reference::protocol::{Body, FetchReply, LogBatch, Response};
use tokio::time::Instant;

use super::batch::{self, FoundBatch, FoundBody, FoundRecord};
use super::cluster::Cluster;
use super::rooms::{self, Room};
use super::way::{Failed, Told, Way, check, said_of};
use crate::payload;
use crate::transport::{Lane, TargetError};

/// How much one fetch may bring.
pub(super) const FETCH_BYTES_MAX: i32 = 1 << 20;
/// The pause between two looks at partitions that are not ready.
const PAUSE: Duration = Duration::from_millis(10);

impl Way {
    pub(super) async fn fetch(
        &self,
        lane: Lane,
        partition: Partition,
        offset: Offset,
        isolation: Isolation,
        bytes_max: i32,
    ) -> Told {
        let topic = wanted(&self.room, [(partition, offset)], bytes_max);
        let request = request(vec![topic], bytes_max, isolation);
        let leader = self.leader(partition).await?;
        let answer = self.exchange(lane, &leader, fetch_versions(&self.room), &request).await?;
        check(answer.code)?;
        let found = said_of::<_, FetchRequest>(&leader, partition, &answer.partitions)?;
        check(found.code)?;
        let batches = batch::decode(found.records.clone()).map_err(|reason| {
            Failed::Target(TargetError {
                address: leader.to_string(),
                request: "Fetch".to_owned(),
                reason,
            })
        })?;
        Ok(Response::Fetched(FetchReply {
            high_watermark: found.high_watermark,
            last_stable: found.last_stable,
            aborted: found.aborted.clone(),
            batches: batches.into_iter().map(|batch| self.recognise(partition, batch)).collect(),
        }))
    }

    pub(super) async fn list_offsets(
        &self,
        lane: Lane,
        partition: Partition,
        earliest: bool,
        isolation: Isolation,
    ) -> Told {
        let asked = ListOffsetsPartition::default()
            .with_partition_index(partition.index())
            .with_current_leader_epoch(-1)
            .with_timestamp(if earliest { EARLIEST } else { LATEST });
        let topic =
            ListOffsetsTopic::default().with_name(self.room.topic()).with_partitions(vec![asked]);
        let request = ListOffsetsRequest::default()
            .with_replica_id(BrokerId(-1))
            .with_isolation_level(level(isolation))
            .with_topics(vec![topic]);
        let leader = self.leader(partition).await?;
        let answer = self.exchange(lane, &leader, (2, i16::MAX), &request).await?;
        let (code, offset) = *said_of::<_, ListOffsetsRequest>(&leader, partition, &answer)?;
        check(code)?;
        Ok(Response::Listed(offset))
    }

    fn recognise(&self, partition: Partition, found: FoundBatch) -> LogBatch {
        let record = |(offset, key, value): FoundRecord| {
            (offset, payload::decode(&self.room.name, partition, key.as_deref(), value.as_deref()))
        };
        let body = match found.body {
            FoundBody::Records(records) => Body::Records(records.into_iter().map(record).collect()),
            FoundBody::Marker(ending) => Body::Marker(ending),
            FoundBody::OtherControl => Body::Records(Vec::new()),
            // A consumer would be handed an error at this place: one strange record stands for it.
            FoundBody::Damaged => Body::Records(vec![(found.base, None)]),
        };
        LogBatch {
            base: found.base,
            last: found.last,
            session: found.session,
            first_sequence: found.first_sequence,
            transactional: found.transactional,
            body,
        }
    }
}

/// Waits until the leaders of a new topic lead: they are named before they know it themselves, and a batch that is sent too
/// early is refused with a code that leaves open whether it was appended.
pub(super) async fn wait_until_readable(cluster: &Cluster, room: &Room) -> Result<(), TargetError> {
    let mut by_leader: BTreeMap<i32, Vec<(Partition, Offset)>> = BTreeMap::new();
    for (partition, leader) in (0..).map(Partition).zip(room.leaders().clone()) {
        by_leader.entry(leader).or_default().push((partition, 0));
    }
    let end = cluster.patience(rooms::DEADLINES_TO_BE_READY);
    for (leader, partitions) in by_leader {
        let leader: Arc<str> = cluster.broker(leader).unwrap_or_else(|| cluster.any_broker());
        let request =
            request(vec![wanted(room, partitions, FETCH_BYTES_MAX)], 1, Isolation::ReadUncommitted);
        loop {
            let answer = cluster.ask_within(&leader, fetch_versions(room), &request).await?;
            let unready =
                answer.partitions.iter().map(|(_, found)| found.code).find(|code| *code != 0);
            match unready.or((answer.code != 0).then_some(answer.code)) {
                None => break,
                Some(code) if Instant::now() > end => {
                    let reason = format!("new topic {} cannot be read: {}", room.name, Code(code));
                    return Err(cluster.error("Fetch", reason));
                }
                Some(_) => tokio::time::sleep(PAUSE).await,
            }
        }
    }
    Ok(())
}

/// What stands for a place rather than for a time.
const LATEST: i64 = -1;
const EARLIEST: i64 = -2;

fn level(isolation: Isolation) -> i8 {
    match isolation {
        Isolation::ReadUncommitted => 0,
        Isolation::ReadCommitted => 1,
    }
}

/// The versions that name topics by their names; the later ones take ids.
const BY_NAME: (i16, i16) = (0, 12);

fn fetch_versions(room: &Room) -> (i16, i16) {
    if room.topic_id.is_nil() { BY_NAME } else { (0, i16::MAX) }
}

fn wanted(
    room: &Room,
    partitions: impl IntoIterator<Item = (Partition, Offset)>,
    bytes_max: i32,
) -> FetchTopic {
    let partitions = partitions.into_iter().map(|(partition, offset)| {
        FetchPartition::default()
            .with_partition(partition.index())
            .with_current_leader_epoch(-1)
            .with_fetch_offset(offset)
            .with_partition_max_bytes(bytes_max)
    });
    // The crate writes the name or the id, whichever the version has.
    FetchTopic::default()
        .with_topic(room.topic())
        .with_topic_id(room.topic_id)
        .with_partitions(partitions.collect())
}

fn request(topics: Vec<FetchTopic>, bytes_max: i32, isolation: Isolation) -> FetchRequest {
    FetchRequest::default()
        .with_max_wait_ms(0)
        .with_min_bytes(0)
        .with_max_bytes(bytes_max)
        .with_isolation_level(level(isolation))
        .with_session_id(0)
        .with_session_epoch(-1)
        .with_topics(topics)
}
