//! The rooms of a run: a topic for each case, made in bulk, with prefixes for its groups and transactional ids. And their end.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use onceness_reference::ids::{GroupId, TxnId};
use onceness_reference::wellformed::PARTITIONS_MAX;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};

use super::{PATIENCE, Place};
use crate::TargetError;

/// One case's part of the cluster.
#[derive(Clone, Debug)]
pub(super) struct Room {
    pub(super) bootstrap: String,
    /// Of its topic.
    pub(super) name: String,
}

impl Room {
    pub(super) fn group(&self, group: GroupId) -> String {
        format!("{}-{group}", self.name)
    }

    pub(super) fn txn(&self, txn: TxnId) -> String {
        format!("{}-{txn}", self.name)
    }

    /// The addresses that the cluster can be reached at.
    pub(super) fn brokers(&self) -> Vec<String> {
        self.bootstrap.split(',').map(str::to_owned).collect()
    }
}

/// All rooms of a run.
pub(super) struct Rooms {
    place: Place,
    /// None where topics need not be made.
    admin: Option<AdminClient<DefaultClientContext>>,
    made: AtomicU32,
    topics: Mutex<Topics>,
}

/// The topics of a run.
#[derive(Debug, Default)]
struct Topics {
    free: Vec<String>,
    all: Vec<String>,
}

impl Rooms {
    pub(super) fn at(place: &Place) -> Result<Rooms, TargetError> {
        let admin = place.config().create();
        let admin = admin.map_err(|error| place.error("create a client", &error))?;
        Ok(Rooms { admin: Some(admin), ..Rooms::unmade(place) })
    }

    /// Where topics come to be when they are used, and go with the cluster.
    pub(super) fn unmade(place: &Place) -> Rooms {
        let (made, topics) = (AtomicU32::new(0), Mutex::default());
        Rooms { place: place.clone(), admin: None, made, topics }
    }

    /// Makes so many topics.
    pub(super) async fn make(&self, count: usize) -> Result<(), TargetError> {
        let names: Vec<String> = (0..count).map(|_| self.new_name()).collect();
        let Some(admin) = &self.admin else {
            self.topics().free.extend(names);
            return Ok(());
        };
        // Noted before they are made: what is interrupted in between is deleted all the same.
        self.topics().all.extend(names.iter().cloned());
        let topics: Vec<NewTopic<'_>> = names
            .iter()
            .map(|name| {
                let topic =
                    NewTopic::new(name, i32::from(PARTITIONS_MAX), TopicReplication::Fixed(-1));
                topic.set("segment.index.bytes", "16384")
            })
            .collect();
        let options = AdminOptions::new().operation_timeout(Some(PATIENCE));
        let made = admin.create_topics(&topics, &options).await;
        for made in made.map_err(|error| self.place.error("CreateTopics", &error))? {
            made.map_err(|(_, code)| self.place.error("CreateTopics", &KafkaError::AdminOp(code)))?;
        }
        self.topics().free.extend(names);
        Ok(())
    }

    /// Takes one, made now if none is free.
    pub(super) async fn take(&self) -> Result<Room, TargetError> {
        loop {
            let free = self.topics().free.pop();
            match free {
                Some(name) => {
                    return Ok(Room { bootstrap: self.place.bootstrap.clone(), name });
                }
                None => self.make(1).await?,
            }
        }
    }

    /// Deletes the topics and groups of all of them.
    pub(super) async fn clean(&self) -> Result<(), TargetError> {
        let all = std::mem::take(&mut *self.topics()).all;
        let Some(admin) = self.admin.as_ref().filter(|_| !all.is_empty()) else { return Ok(()) };
        let names: Vec<&str> = all.iter().map(String::as_str).collect();
        let options = AdminOptions::new().operation_timeout(Some(PATIENCE));
        let groups = self.groups();
        let groups: Vec<&str> = groups.iter().map(String::as_str).collect();
        let mut groups_gone = Ok(());
        if !groups.is_empty() {
            let gone = admin.delete_groups(&groups, &options).await;
            groups_gone = gone.map(drop).map_err(|error| self.place.error("DeleteGroups", &error));
        }
        let gone = admin.delete_topics(&names, &options).await;
        for gone in gone.map_err(|error| self.place.error("DeleteTopics", &error))? {
            match gone {
                Ok(_) | Err((_, RDKafkaErrorCode::UnknownTopicOrPartition)) => {}
                Err((_, code)) => {
                    return Err(self.place.error("DeleteTopics", &KafkaError::AdminOp(code)));
                }
            }
        }
        groups_gone
    }

    /// The groups of the run that the cluster knows.
    fn groups(&self) -> Vec<String> {
        let client: KafkaResult<BaseConsumer> = self.place.config().create();
        let list = client.and_then(|client| client.fetch_group_list(None, PATIENCE));
        let Ok(list) = list else { return Vec::new() };
        let names = list.groups().iter().map(|group| group.name().to_owned());
        names.filter(|name| name.starts_with(&self.place.run)).collect()
    }

    fn new_name(&self) -> String {
        format!("{}-{}", self.place.run, self.made.fetch_add(1, Ordering::Relaxed))
    }

    fn topics(&self) -> MutexGuard<'_, Topics> {
        self.topics.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
