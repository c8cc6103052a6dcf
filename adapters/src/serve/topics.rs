//! Topics: made, deleted and told of. One that is asked for by a client that wants it made is made, as brokers do by default.

use kafka_protocol::messages::create_topics_response::CreatableTopicResult;
use kafka_protocol::messages::delete_topics_response::DeletableTopicResult;
use kafka_protocol::messages::metadata_response::{
    MetadataResponsePartition, MetadataResponseTopic,
};
use kafka_protocol::messages::{
    CreateTopicsResponse, DeleteTopicsResponse, MetadataResponse, TopicName,
};
use onceness_reference::code::Code;
use onceness_reference::ids::Partition;

use super::call::{Call, Handled, code, text};
use super::cluster::{self, CLUSTER, NODE};
use super::state::State;
use crate::wire::fields::Fields;

/// Permissions are not spoken of.
const NOT_ASKED: i32 = i32::MIN;

impl State {
    pub(super) fn create_topic(&mut self, name: &str, partitions: i32) -> Result<(), Code> {
        for partition in self.topics.create(name, partitions)? {
            self.broker.add_partition(partition);
        }
        Ok(())
    }

    fn delete_topic(&mut self, name: &str) -> Result<(), Code> {
        let gone = self.topics.delete(name).ok_or(Code::UNKNOWN_TOPIC_OR_PARTITION)?;
        for partition in gone {
            self.broker.remove_partition(partition);
            self.store.forget(partition);
        }
        Ok(())
    }
}

pub(super) fn metadata(state: &mut State, call: &mut Call<'_>) -> Handled {
    let version = call.version;
    let asked = call.fields.structs_or_null(Fields::text)?;
    let creates = if version >= 4 { call.fields.bool()? } else { true };
    // The first version had no null, and meant all by none.
    let asked = asked.filter(|topics| version >= 1 || !topics.is_empty());
    let topics: Vec<MetadataResponseTopic> = match asked {
        None => state.topics.all().map(|(name, partitions)| told(name, Ok(partitions))).collect(),
        Some(names) => names.into_iter().map(|name| find(state, &name, creates)).collect(),
    };
    let brokers = vec![cluster::broker(call)];
    let answer = MetadataResponse::default().with_brokers(brokers).with_topics(topics);
    let answer = if version >= 1 { answer.with_controller_id(NODE) } else { answer };
    match version {
        2.. => call.answer(&answer.with_cluster_id(Some(text(CLUSTER)))),
        _ => call.answer(&answer),
    }
}

fn find(state: &mut State, name: &str, creates: bool) -> MetadataResponseTopic {
    let known = state.topics.find(name).is_some();
    let made = match (known, creates) {
        (true, _) => Ok(()),
        (false, true) => state.create_topic(name, 1),
        (false, false) => match state.topics.check(name, 1) {
            Err(Code::INVALID_TOPIC_EXCEPTION) => Err(Code::INVALID_TOPIC_EXCEPTION),
            _ => Err(Code::UNKNOWN_TOPIC_OR_PARTITION),
        },
    };
    told(name, made.map(|()| state.topics.find(name).unwrap_or_default()))
}

fn told(name: &str, found: Result<&[Partition], Code>) -> MetadataResponseTopic {
    let partition = |index| {
        MetadataResponsePartition::default()
            .with_partition_index(index)
            .with_leader_id(NODE)
            .with_replica_nodes(vec![NODE])
            .with_isr_nodes(vec![NODE])
    };
    let topic = MetadataResponseTopic::default()
        .with_name(Some(TopicName(text(name))))
        .with_topic_authorized_operations(NOT_ASKED)
        .with_error_code(code(&found));
    let partitions = found.unwrap_or_default();
    topic.with_partitions((0..).take(partitions.len()).map(partition).collect())
}

/// What CreateTopics asks for, of one topic.
struct Wanted {
    name: String,
    partitions: i32,
    replicas: i16,
    /// How many partitions are placed by hand.
    placed: usize,
}

pub(super) fn create(state: &mut State, call: &mut Call<'_>) -> Handled {
    let fields = &mut call.fields;
    let wanted = fields.structs(|topic| {
        let (name, partitions, replicas) = (topic.text()?, topic.i32()?, topic.i16()?);
        let placed = topic.structs(|placed| {
            placed.i32()?;
            placed.array(Fields::i32)
        })?;
        topic.structs(|setting| {
            setting.text()?;
            setting.text()
        })?;
        Ok(Wanted { name, partitions, replicas, placed: placed.len() })
    })?;
    fields.i32()?;
    let only_asks = fields.bool()?;
    let version = call.version;
    let topics = wanted.into_iter().map(|wanted| {
        let partitions = match wanted.partitions {
            -1 if wanted.placed > 0 => wanted.placed as i32,
            -1 => 1,
            some => some,
        };
        let made = match wanted.replicas {
            -1 | 1 if only_asks => state.topics.check(&wanted.name, partitions),
            -1 | 1 => state.create_topic(&wanted.name, partitions),
            _ => Err(Code::INVALID_REPLICATION_FACTOR),
        };
        let result = CreatableTopicResult::default()
            .with_name(TopicName(text(wanted.name)))
            .with_error_code(code(&made));
        match version {
            5.. if made.is_ok() => {
                result.with_num_partitions(partitions).with_replication_factor(1)
            }
            _ => result,
        }
    });
    let topics = topics.collect();
    call.answer(&CreateTopicsResponse::default().with_topics(topics))
}

pub(super) fn delete(state: &mut State, call: &mut Call<'_>) -> Handled {
    let names = call.fields.array(Fields::text)?;
    let results = names.into_iter().map(|name| {
        let deleted = state.delete_topic(&name);
        DeletableTopicResult::default()
            .with_name(Some(TopicName(text(name))))
            .with_error_code(code(&deleted))
    });
    let results = results.collect();
    call.answer(&DeleteTopicsResponse::default().with_responses(results))
}
