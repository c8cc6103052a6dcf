//! Rooms: each case's own part of the cluster. A room is a topic, made in bulk with others, and a prefix for the names of
//! groups and transactional ids. All of it is removed at the end.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::future::join_all;
use futures::stream::{self, StreamExt};
use kafka_protocol::messages::create_topics_request::{CreatableTopic, CreatableTopicConfig};
use kafka_protocol::messages::delete_topics_request::DeleteTopicState;
use kafka_protocol::messages::leave_group_request::MemberIdentity;
use kafka_protocol::messages::{
    CreateTopicsRequest, DeleteGroupsRequest, DeleteTopicsRequest, GroupId as GroupName,
    LeaveGroupRequest, TopicName,
};
use kafka_protocol::protocol::StrBytes;
use onceness_reference::code::Code;
use onceness_reference::ids::{GroupId, TxnId};
use onceness_reference::wellformed::PARTITIONS_MAX;
use tokio::time::Instant;
use uuid::Uuid;

use super::answers::{Named, Topic};
use super::cluster::{Cluster, Kind};
use super::groups::INSTANCE;
use super::reading;
use crate::TargetError;

/// No single request makes or deletes more topics than this.
const BULK: usize = 500;
/// How many requests of the cleaning are under way at once.
const AT_ONCE: usize = 16;
/// How long a broker may take to make or delete topics before it answers.
const ADMIN_TIMEOUT_MS: i32 = 8_000;
/// A new topic may take so many deadlines to be ready: there may be hundreds before it, and disks are slow.
pub(super) const DEADLINES_TO_BE_READY: u32 = 12;
/// The pause between two looks at something that is not ready.
const PAUSE: Duration = Duration::from_millis(10);

/// `INVALID_REPLICATION_FACTOR`, which no other request can meet.
const INVALID_REPLICATION_FACTOR: Code = Code(38);
/// `INVALID_CONFIG`, which no other request can meet.
const INVALID_CONFIG: Code = Code(40);

/// One case's part of the cluster.
#[derive(Debug)]
pub(super) struct Room {
    /// What its topic is called, and what the names of its groups and transactional ids start with.
    pub(super) name: StrBytes,
    /// Nil where the brokers have no topic ids.
    pub(super) topic_id: Uuid,
    /// The leader of each partition; empty if it is to be looked up.
    leaders: Mutex<Vec<i32>>,
}

impl Room {
    /// The room of a topic, if all its partitions have leaders.
    fn of(topic: Topic) -> Option<Room> {
        let leaders = leaders(&topic)?;
        let name = StrBytes::from_string(topic.name);
        Some(Room { name, topic_id: Uuid::from_u128(topic.id), leaders: Mutex::new(leaders) })
    }

    pub(super) fn topic(&self) -> TopicName {
        TopicName(self.name.clone())
    }

    pub(super) fn group(&self, group: GroupId) -> String {
        format!("{}-{group}", self.name)
    }

    pub(super) fn txn(&self, txn: TxnId) -> String {
        format!("{}-{txn}", self.name)
    }

    pub(super) fn leaders(&self) -> MutexGuard<'_, Vec<i32>> {
        self.leaders.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks who leads the partitions now. That nobody does is no error: it is seen when one is needed.
    pub(super) async fn look_up(&self, cluster: &Cluster) -> Result<(), TargetError> {
        let topics = cluster.topics(std::iter::once(self.name.clone())).await?;
        if let Some(leaders) = topics.first().and_then(leaders) {
            *self.leaders() = leaders;
        }
        Ok(())
    }
}

/// The leader of each partition in order, if all have one.
fn leaders(topic: &Topic) -> Option<Vec<i32>> {
    let by_index: BTreeMap<i32, i32> =
        topic.leaders.iter().copied().filter(|(_, leader)| *leader >= 0).collect();
    let all = topic.code == 0 && by_index.keys().copied().eq(0..i32::from(PARTITIONS_MAX));
    all.then(|| by_index.into_values().collect())
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
    /// In the order in which they were made, which is the order in which they become ready.
    free: VecDeque<Room>,
    /// Names of topics that may exist.
    topics: BTreeSet<String>,
    /// Names of those that no case uses any more.
    used: Vec<String>,
    /// Names of groups that may exist, each with whether it may have a member.
    groups: BTreeMap<String, bool>,
    /// How this cluster wants its topics, once known.
    manner: usize,
}

impl Rooms {
    pub(super) fn new() -> Self {
        Rooms { run: format!("onceness-{:08x}", fastrand::u32(..)), state: Mutex::default() }
    }

    /// A free room; made now if none is left.
    pub(super) async fn take(&self, cluster: &Cluster) -> Result<Room, TargetError> {
        loop {
            let free = self.state().free.pop_front();
            match free {
                Some(room) => {
                    // Only now: a broker makes the logs of new topics one after the other, and the first cases need
                    // not wait for the last topic.
                    reading::wait_until_readable(cluster, &room).await?;
                    return Ok(room);
                }
                None => self.make(cluster, 1).await?,
            }
        }
    }

    /// Notes that no case uses the room any more.
    pub(super) fn leave(&self, room: &Room) {
        self.state().used.push(room.name.to_string());
    }

    /// Deletes used rooms, many at once: a broker keeps files open for every partition that it has. What cannot be deleted
    /// now is tried again at the end.
    async fn delete_used(&self, cluster: &Cluster) {
        let (topics, groups) = {
            let mut state = self.state();
            if state.used.len() < BULK {
                return;
            }
            let topics = std::mem::take(&mut state.used);
            let of_used = |group: &str| {
                group
                    .rsplit_once('-')
                    .is_some_and(|(room, _)| topics.iter().any(|used| used == room))
            };
            let (used, others) = std::mem::take(&mut state.groups)
                .into_iter()
                .partition(|(group, _)| of_used(group));
            state.groups = others;
            (topics, used)
        };
        let again: BTreeMap<String, bool> = groups;
        if delete_groups(cluster, again.clone()).await.is_err() {
            self.state().groups.extend(again);
        }
        for some in topics.chunks(BULK) {
            if delete_topics(cluster, some).await.is_ok() {
                let mut state = self.state();
                for name in some {
                    state.topics.remove(name);
                }
            }
        }
    }

    /// Notes that a group may exist from now on, and whether it may have a member.
    pub(super) fn note_group(&self, name: &str, joined: bool) {
        let mut state = self.state();
        match state.groups.get_mut(name) {
            Some(known) => *known |= joined,
            None => {
                state.groups.insert(name.to_owned(), joined);
            }
        }
    }

    pub(super) async fn make(&self, cluster: &Cluster, count: usize) -> Result<(), TargetError> {
        self.delete_used(cluster).await;
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
            let names: Vec<String> =
                (first..state.made).map(|n| format!("{}-{n}", self.run)).collect();
            // Noted before they are made: what is interrupted in between is deleted all the same.
            state.topics.extend(names.iter().cloned());
            names
        };
        let mut manner = self.state().manner;
        let mut left = names.clone();
        while let Some((failed, why)) = create(cluster, MANNERS[manner], &mut left).await? {
            let adaptable = [INVALID_REPLICATION_FACTOR, INVALID_CONFIG, Code::INVALID_REQUEST]
                .contains(&Code(failed));
            if !adaptable || manner + 1 == MANNERS.len() {
                return Err(cluster.error("CreateTopics", why));
            }
            manner += 1;
        }
        self.state().manner = manner;
        let rooms = find(cluster, &names).await?;
        self.state().free.extend(rooms);
        Ok(())
    }

    /// Deletes the topics and groups of the run, as far as that goes; reports the first thing that went wrong.
    pub(super) async fn clean(&self, cluster: &Cluster) -> Result<(), TargetError> {
        let (topics, groups) = {
            let mut state = self.state();
            state.free.clear();
            state.used.clear();
            (std::mem::take(&mut state.topics), std::mem::take(&mut state.groups))
        };
        let groups_gone = delete_groups(cluster, groups).await;
        let topics: Vec<String> = topics.into_iter().collect();
        let mut topics_gone = Ok(());
        for some in topics.chunks(BULK) {
            topics_gone = topics_gone.and(delete_topics(cluster, some).await);
        }
        groups_gone.and(topics_gone)
    }

    /// What all names of the run start with.
    #[cfg(test)]
    pub(super) fn prefix(&self) -> &str {
        &self.run
    }

    #[cfg(test)]
    pub(super) fn groups_noted(&self) -> Vec<String> {
        self.state().groups.keys().cloned().collect()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How a topic is asked for.
#[derive(Clone, Copy)]
struct Manner {
    /// -1: as the cluster does by default.
    replicas: i16,
    /// Each partition would map 20 MB of index otherwise. Some brokers do not know the setting.
    small_index: bool,
}

/// The best first.
const MANNERS: [Manner; 4] = [
    Manner { replicas: -1, small_index: true },
    Manner { replicas: -1, small_index: false },
    Manner { replicas: 1, small_index: true },
    Manner { replicas: 1, small_index: false },
];

/// Makes topics. Those that could not be made are left in the list, and one of them is told.
async fn create(
    cluster: &Cluster,
    manner: Manner,
    names: &mut Vec<String>,
) -> Result<Option<(i16, String)>, TargetError> {
    let setting = |name, value| {
        CreatableTopicConfig::default()
            .with_name(StrBytes::from_static_str(name))
            .with_value(Some(StrBytes::from_static_str(value)))
    };
    let topics = names.iter().map(|name| {
        CreatableTopic::default()
            .with_name(topic_name(name))
            .with_num_partitions(i32::from(PARTITIONS_MAX))
            .with_replication_factor(manner.replicas)
            .with_configs(match manner.small_index {
                true => vec![setting("segment.index.bytes", "16384")],
                false => Vec::new(),
            })
    });
    let request = CreateTopicsRequest::default()
        .with_topics(topics.collect())
        .with_timeout_ms(ADMIN_TIMEOUT_MS);
    let answer = cluster.ask(&cluster.controller(), &request).await?;
    let made = |topic: &Named| topic.code == 0 || Code(topic.code) == Code::TOPIC_ALREADY_EXISTS;
    let done: BTreeSet<&str> =
        answer.iter().filter(|topic| made(topic)).map(|topic| &*topic.name).collect();
    names.retain(|name| !done.contains(name.as_str()));
    let failed = answer.iter().find(|topic| !made(topic));
    Ok(match (failed, names.first()) {
        (Some(topic), _) => {
            let message = if topic.message.is_empty() {
                String::new()
            } else {
                format!(" ({})", topic.message)
            };
            Some((
                topic.code,
                format!("topic {} was refused: {}{message}", topic.name, Code(topic.code)),
            ))
        }
        (None, Some(name)) => Some((0, format!("the answer says nothing of topic {name}"))),
        (None, None) => None,
    })
}

/// Where the partitions of new topics are, once they all have leaders.
async fn find(cluster: &Cluster, names: &[String]) -> Result<Vec<Room>, TargetError> {
    let end = cluster.patience(DEADLINES_TO_BE_READY);
    loop {
        let topics =
            cluster.topics(names.iter().map(|name| StrBytes::from_string(name.clone()))).await?;
        let rooms: Vec<Room> = topics.into_iter().filter_map(Room::of).collect();
        if rooms.len() == names.len() {
            return Ok(rooms);
        }
        if Instant::now() > end {
            let reason = format!("only {} of {} new topics got leaders", rooms.len(), names.len());
            return Err(cluster.error("Metadata", reason));
        }
        tokio::time::sleep(PAUSE).await;
    }
}

async fn delete_topics(cluster: &Cluster, names: &[String]) -> Result<(), TargetError> {
    let topics = names.iter().map(|name| topic_name(name));
    let mut request = DeleteTopicsRequest::default().with_timeout_ms(ADMIN_TIMEOUT_MS);
    match cluster.version::<DeleteTopicsRequest>((0, i16::MAX))? {
        6.. => {
            request.topics =
                topics.map(|name| DeleteTopicState::default().with_name(Some(name))).collect()
        }
        _ => request.topic_names = topics.collect(),
    }
    let answer = cluster.ask(&cluster.controller(), &request).await?;
    let gone =
        |topic: &Named| topic.code == 0 || Code(topic.code) == Code::UNKNOWN_TOPIC_OR_PARTITION;
    match answer.iter().find(|topic| !gone(topic)) {
        None => Ok(()),
        Some(left) => Err(cluster.error(
            "DeleteTopics",
            format!(
                "topic {} was not deleted: {}; topics named onceness-* can be deleted by hand",
                left.name,
                Code(left.code)
            ),
        )),
    }
}

/// Members that never said goodbye keep a group from being deleted, so they are sent away first.
async fn delete_groups(
    cluster: &Cluster,
    groups: BTreeMap<String, bool>,
) -> Result<(), TargetError> {
    let homes: Vec<_> = stream::iter(groups)
        .map(|(name, joined)| async move {
            let home = match cluster.only_broker() {
                Some(home) => home,
                None => home(cluster, &name).await?,
            };
            if joined {
                let member = MemberIdentity::default()
                    .with_group_instance_id(Some(StrBytes::from_static_str(INSTANCE)));
                let request = LeaveGroupRequest::default()
                    .with_group_id(group_name(&name))
                    .with_members(vec![member]);
                cluster.ask(&home, &request).await?;
            }
            Ok((home, name))
        })
        .buffer_unordered(AT_ONCE)
        .collect()
        .await;
    let mut first_error = Ok(());
    let mut by_home: BTreeMap<Arc<str>, Vec<String>> = BTreeMap::new();
    for home in homes {
        match home {
            Ok((home, name)) => by_home.entry(home).or_default().push(name),
            Err(error) => first_error = first_error.and(Err(error)),
        }
    }
    let deletions = by_home.iter().flat_map(|(home, names)| {
        names.chunks(BULK).map(move |some| async move {
            let names = some.iter().map(|name| group_name(name)).collect();
            let answer =
                cluster.ask(home, &DeleteGroupsRequest::default().with_groups_names(names)).await?;
            let gone =
                |group: &Named| group.code == 0 || Code(group.code) == Code::GROUP_ID_NOT_FOUND;
            match answer.iter().find(|group| !gone(group)) {
                None => Ok(()),
                Some(left) => {
                    let reason =
                        format!("group {} was not deleted: {}", left.name, Code(left.code));
                    Err(cluster.error("DeleteGroups", reason))
                }
            }
        })
    });
    join_all(deletions).await.into_iter().fold(first_error, Result::and)
}

/// The broker that coordinates a group.
async fn home(cluster: &Cluster, group: &str) -> Result<Arc<str>, TargetError> {
    let found = cluster.coordinator(Kind::Group, group).await?;
    let address = found.map(|id| cluster.broker(id));
    match address {
        Ok(Some(address)) => Ok(address),
        Ok(None) => Ok(cluster.any_broker()),
        Err(code) => {
            Err(cluster
                .error("FindCoordinator", format!("no coordinator of group {group}: {code}")))
        }
    }
}

fn topic_name(name: &str) -> TopicName {
    TopicName(StrBytes::from_string(name.to_owned()))
}

fn group_name(name: &str) -> GroupName {
    GroupName(StrBytes::from_string(name.to_owned()))
}
