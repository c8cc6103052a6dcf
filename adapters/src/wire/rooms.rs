//! Rooms: each case's own part of the cluster. A room is a topic, made in bulk with others, and a prefix for the names of
//! groups and transactional ids. All of it is removed at the end.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use kafka_protocol::messages::create_topics_request::{CreatableTopic, CreatableTopicConfig};
use kafka_protocol::messages::delete_topics_request::DeleteTopicState;
use kafka_protocol::messages::leave_group_request::MemberIdentity;
use kafka_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::{
    BrokerId, CreateTopicsRequest, DeleteGroupsRequest, DeleteTopicsRequest, GroupId as GroupName, LeaveGroupRequest,
    ListOffsetsRequest, MetadataRequest, TopicName,
};
use kafka_protocol::protocol::StrBytes;
use onceness_reference::code::Code;
use onceness_reference::ids::{GroupId, TxnId};
use onceness_reference::wellformed::PARTITIONS_MAX;
use uuid::Uuid;

use super::cluster::{Cluster, Kind};
use super::groups::INSTANCE;
use crate::TargetError;

/// No single request makes or deletes more topics than this.
const BULK: usize = 250;
/// How long a cluster may take to elect leaders for new topics.
const PATIENCE: Duration = Duration::from_secs(30);

/// One case's part of the cluster.
#[derive(Debug)]
pub(super) struct Room {
    pub(super) name: String,
    pub(super) topic_id: Uuid,
    /// The leader of each partition.
    pub(super) leaders: Mutex<Vec<i32>>,
    /// The groups that were used, to be removed.
    pub(super) groups: Mutex<BTreeSet<GroupId>>,
}

impl Room {
    pub(super) fn topic(&self) -> TopicName {
        TopicName(StrBytes::from_string(self.name.clone()))
    }

    pub(super) fn group(&self, group: GroupId) -> String {
        format!("{}-{group}", self.name)
    }

    pub(super) fn txn(&self, txn: TxnId) -> String {
        format!("{}-{txn}", self.name)
    }
}

/// The rooms of a run.
#[derive(Debug)]
pub(super) struct Rooms {
    run: String,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    made: usize,
    free: Vec<Room>,
    /// Names of topics that exist and are not yet deleted.
    topics: BTreeSet<String>,
    /// Names of groups that may exist.
    groups: BTreeSet<String>,
}

impl Rooms {
    pub(super) fn new() -> Self {
        Rooms { run: format!("onceness-{:08x}", fastrand::u32(..)), state: Mutex::default() }
    }

    /// A free room; made now if none is left.
    pub(super) async fn take(&self, cluster: &Cluster) -> Result<Room, TargetError> {
        loop {
            let free = self.state().free.pop();
            match free {
                Some(room) => return Ok(room),
                None => self.make(cluster, 1).await?,
            }
        }
    }

    /// Takes back a used room, to be removed later.
    pub(super) fn leave(&self, room: Room) {
        let groups = room.groups.lock().unwrap_or_else(PoisonError::into_inner);
        let names: Vec<String> = groups.iter().map(|group| room.group(*group)).collect();
        self.state().groups.extend(names);
    }

    pub(super) async fn make(&self, cluster: &Cluster, count: usize) -> Result<(), TargetError> {
        let mut left = count;
        while left > 0 {
            let some = left.min(BULK);
            self.make_some(cluster, some).await?;
            left -= some;
        }
        Ok(())
    }

    async fn make_some(&self, cluster: &Cluster, count: usize) -> Result<(), TargetError> {
        let names: Vec<String> = {
            let mut state = self.state();
            let first = state.made;
            state.made += count;
            let names: Vec<String> = (first..state.made).map(|n| format!("{}-{n}", self.run)).collect();
            // Noted before they are made: what is interrupted in between is deleted all the same.
            state.topics.extend(names.iter().cloned());
            names
        };
        // Any broker passes the request on to the controller (KIP-590).
        let (_, address) = cluster.any_broker();
        let version = cluster.version::<CreateTopicsRequest>(&address, 4, 7)?;
        let topics = names.iter().map(|name| new_topic(name)).collect();
        let request = CreateTopicsRequest::default().with_topics(topics).with_timeout_ms(30_000);
        let answer = cluster.ask(&address, version, &request).await?;
        if let Some(failed) = answer.topics.iter().find(|topic| topic.error_code != 0) {
            let why = failed.error_message.as_ref().map_or_else(String::new, |text| format!(" ({text})"));
            return Err(TargetError {
                address,
                request: "CreateTopics".to_owned(),
                reason: format!("topic {} was refused: {}{why}", *failed.name, Code(failed.error_code)),
            });
        }
        let rooms = find(cluster, &names).await?;
        await_leaders(cluster, &rooms).await?;
        self.state().free.extend(rooms);
        Ok(())
    }

    /// Deletes the topics and groups of the run.
    pub(super) async fn clean(&self, cluster: &Cluster) -> Result<(), TargetError> {
        let (topics, groups) = {
            let mut state = self.state();
            state.free.clear();
            (std::mem::take(&mut state.topics), std::mem::take(&mut state.groups))
        };
        let topics: Vec<String> = topics.into_iter().collect();
        let groups: Vec<String> = groups.into_iter().collect();
        let groups_gone = delete_groups(cluster, &groups).await;
        for some in topics.chunks(BULK) {
            delete_topics(cluster, some).await?;
        }
        groups_gone
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn new_topic(name: &str) -> CreatableTopic {
    // Each partition would map 20 MB of index otherwise.
    let index = CreatableTopicConfig::default()
        .with_name(StrBytes::from_static_str("segment.index.bytes"))
        .with_value(Some(StrBytes::from_static_str("16384")));
    CreatableTopic::default()
        .with_name(TopicName(StrBytes::from_string(name.to_owned())))
        .with_num_partitions(i32::from(PARTITIONS_MAX))
        .with_replication_factor(-1)
        .with_configs(vec![index])
}

/// Where the partitions of new topics are, once they all have leaders.
async fn find(cluster: &Cluster, names: &[String]) -> Result<Vec<Room>, TargetError> {
    let (_, address) = cluster.any_broker();
    let version = cluster.version::<MetadataRequest>(&address, 4, 13)?;
    let topics = names.iter().map(|name| {
        let name = TopicName(StrBytes::from_string(name.clone()));
        MetadataRequestTopic::default().with_name(Some(name))
    });
    let request = MetadataRequest::default().with_topics(Some(topics.collect()));
    let start = tokio::time::Instant::now();
    loop {
        let answer = cluster.ask(&address, version, &request).await?;
        cluster.learn(&answer);
        let ready = answer.topics.iter().filter(|topic| {
            topic.error_code == 0
                && topic.partitions.len() == usize::from(PARTITIONS_MAX)
                && topic.partitions.iter().all(|partition| partition.leader_id.0 >= 0)
        });
        let rooms: Vec<Room> = ready
            .map(|topic| Room {
                name: topic.name.as_ref().map_or_else(String::new, |name| name.to_string()),
                topic_id: topic.topic_id,
                leaders: Mutex::new(leaders(&topic.partitions)),
                groups: Mutex::default(),
            })
            .collect();
        if rooms.len() == names.len() {
            return Ok(rooms);
        }
        if start.elapsed() > PATIENCE {
            return Err(TargetError {
                address,
                request: "Metadata".to_owned(),
                reason: format!("only {} of {} new topics have leaders after {PATIENCE:?}", rooms.len(), names.len()),
            });
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Leaders are named before they know of it: a broker that has just been made leader of many partitions refuses them for
/// seconds. Asks every leader for the ends of its new partitions until it knows them all.
async fn await_leaders(cluster: &Cluster, rooms: &[Room]) -> Result<(), TargetError> {
    let mut by_leader: BTreeMap<i32, Vec<ListOffsetsTopic>> = BTreeMap::new();
    for room in rooms {
        let leaders = room.leaders.lock().unwrap_or_else(PoisonError::into_inner);
        for (partition, leader) in leaders.iter().enumerate() {
            let end = ListOffsetsPartition::default().with_partition_index(partition as i32).with_timestamp(-1);
            let topic = ListOffsetsTopic::default().with_name(room.topic()).with_partitions(vec![end]);
            by_leader.entry(*leader).or_default().push(topic);
        }
    }
    for (leader, topics) in by_leader {
        let Some(address) = cluster.broker(leader) else { continue };
        let version = cluster.version::<ListOffsetsRequest>(&address, 1, 7)?;
        let request = ListOffsetsRequest::default().with_replica_id(BrokerId(-1)).with_topics(topics);
        let start = tokio::time::Instant::now();
        loop {
            let answer = cluster.ask(&address, version, &request).await?;
            let ends = answer.topics.iter().flat_map(|topic| &topic.partitions);
            let refused = ends.map(|end| end.error_code).find(|code| *code != 0);
            match refused {
                None => break,
                Some(code) if start.elapsed() > PATIENCE => {
                    return Err(TargetError {
                        address,
                        request: "ListOffsets".to_owned(),
                        reason: format!("new topics are not ready after {PATIENCE:?}: {}", Code(code)),
                    });
                }
                Some(_) => tokio::time::sleep(Duration::from_millis(10)).await,
            }
        }
    }
    Ok(())
}

/// Who leads the partitions of a topic now.
pub(super) async fn find_leaders(cluster: &Cluster, name: &str) -> Result<Vec<i32>, TargetError> {
    let rooms = find(cluster, std::slice::from_ref(&name.to_owned())).await?;
    let room = rooms.into_iter().next();
    Ok(room.map_or_else(Vec::new, |room| room.leaders.into_inner().unwrap_or_else(PoisonError::into_inner)))
}

fn leaders(partitions: &[kafka_protocol::messages::metadata_response::MetadataResponsePartition]) -> Vec<i32> {
    let by_index: BTreeMap<i32, i32> =
        partitions.iter().map(|partition| (partition.partition_index, partition.leader_id.0)).collect();
    by_index.into_values().collect()
}

async fn delete_topics(cluster: &Cluster, names: &[String]) -> Result<(), TargetError> {
    let (_, address) = cluster.any_broker();
    let version = cluster.version::<DeleteTopicsRequest>(&address, 1, 6)?;
    let names = names.iter().map(|name| TopicName(StrBytes::from_string(name.clone())));
    let mut request = DeleteTopicsRequest::default().with_timeout_ms(30_000);
    match version {
        6.. => request.topics = names.map(|name| DeleteTopicState::default().with_name(Some(name))).collect(),
        _ => request.topic_names = names.collect(),
    }
    let answer = cluster.ask(&address, version, &request).await?;
    let gone = [0, Code::UNKNOWN_TOPIC_OR_PARTITION.0];
    match answer.responses.iter().find(|topic| !gone.contains(&topic.error_code)) {
        None => Ok(()),
        Some(left) => Err(TargetError {
            address,
            request: "DeleteTopics".to_owned(),
            reason: format!(
                "topic {} was not deleted: {}; delete the topics named onceness-* yourself",
                left.name.as_ref().map_or_else(String::new, |name| name.to_string()),
                Code(left.error_code)
            ),
        }),
    }
}

/// Members that never said goodbye keep a group from being deleted, so they are sent away first.
async fn delete_groups(cluster: &Cluster, names: &[String]) -> Result<(), TargetError> {
    let mut homes: BTreeMap<i32, Vec<String>> = BTreeMap::new();
    for name in names {
        let home = match cluster.has_one_broker() {
            true => cluster.any_broker().0,
            false => cluster.coordinator(Kind::Group, name).await?,
        };
        homes.entry(home).or_default().push(name.clone());
    }
    for (home, names) in homes {
        let Some(address) = cluster.broker(home) else { continue };
        let version = cluster.version::<LeaveGroupRequest>(&address, 3, 5)?;
        for name in &names {
            let member = MemberIdentity::default().with_group_instance_id(Some(StrBytes::from_static_str(INSTANCE)));
            let request = LeaveGroupRequest::default().with_group_id(group_name(name)).with_members(vec![member]);
            // That there is no such member is what most groups answer.
            cluster.ask(&address, version, &request).await?;
        }
        let version = cluster.version::<DeleteGroupsRequest>(&address, 0, 2)?;
        for some in names.chunks(BULK) {
            let names = some.iter().map(|name| group_name(name)).collect();
            let request = DeleteGroupsRequest::default().with_groups_names(names);
            cluster.ask(&address, version, &request).await?;
        }
    }
    Ok(())
}

fn group_name(name: &str) -> GroupName {
    GroupName(StrBytes::from_string(name.to_owned()))
}
