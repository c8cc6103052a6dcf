//! Saved positions: OffsetCommit, TxnOffsetCommit and OffsetFetch.

use std::collections::{BTreeMap, VecDeque};

use kafka_protocol::messages::offset_commit_response::{
    OffsetCommitResponsePartition, OffsetCommitResponseTopic,
};
use kafka_protocol::messages::offset_fetch_response::{
    OffsetFetchResponseGroup, OffsetFetchResponsePartition, OffsetFetchResponsePartitions,
    OffsetFetchResponseTopic, OffsetFetchResponseTopics,
};
use kafka_protocol::messages::txn_offset_commit_response::{
    TxnOffsetCommitResponsePartition, TxnOffsetCommitResponseTopic,
};
use kafka_protocol::messages::{
    GroupId as GroupName, OffsetCommitResponse, OffsetFetchResponse, TopicName,
    TxnOffsetCommitResponse,
};
use kafka_protocol::protocol::StrBytes;
use onceness_reference::code::Code;
use onceness_reference::ids::{GroupId, Offset, Partition};
use onceness_reference::plan::Protocol;
use onceness_reference::protocol::{Member, Request, Response};

use super::call::{Call, Handled, code, text};
use super::state::State;
use super::transactions::session;
use crate::wire::fields::{Fields, Malformed};

/// From this version on TxnOffsetCommit is of the protocol of KIP-890 part 2.
const TV2_SINCE: i16 = 5;
/// From this version on a client knows of transactions that can only be aborted (KIP-890).
const ABORTABLE_SINCE: i16 = 4;
/// What may be written beside a position, in bytes (`offset.metadata.max.bytes`).
const NOTE_MAX: usize = 4096;
/// So many notes of a partition are kept: positions move on.
const NOTES_KEPT: usize = 16;
/// There is no position.
const NONE: Offset = -1;

/// What clients wrote beside their positions. The model knows positions only, so a note belongs to the offset that it was
/// written beside.
#[derive(Default)]
pub(super) struct Notes(BTreeMap<(GroupId, Partition), VecDeque<(Offset, String)>>);

impl Notes {
    fn write(&mut self, group: GroupId, partition: Partition, offset: Offset, note: String) {
        let notes = self.0.entry((group, partition)).or_default();
        notes.retain(|(other, _)| *other != offset);
        if notes.len() >= NOTES_KEPT {
            notes.pop_front();
        }
        notes.push_back((offset, note));
    }

    fn read(&self, group: GroupId, partition: Partition, offset: Offset) -> &str {
        let found = (self.0.get(&(group, partition)).into_iter().flatten())
            .find(|(other, _)| *other == offset);
        found.map_or("", |(_, note)| note)
    }

    pub(super) fn forget(&mut self, group: GroupId) {
        let of_group = (group, Partition(0))..=(group, Partition(u32::MAX));
        let gone: Vec<_> = self.0.range(of_group).map(|(key, _)| *key).collect();
        for key in gone {
            self.0.remove(&key);
        }
    }
}

/// A position that is to be saved.
struct New {
    index: i32,
    offset: Offset,
    note: String,
}

type Topics = Vec<(String, Vec<New>)>;

/// What became of each, by topic and index.
type Saved = Vec<(String, Vec<(i32, i16)>)>;

fn topics(fields: &mut Fields, leader_epochs: bool) -> Result<Topics, Malformed> {
    fields.structs(|topic| {
        let name = topic.text()?;
        let positions = topic.structs(|position| {
            let (index, offset) = (position.i32()?, position.i64()?);
            if leader_epochs {
                position.i32()?;
            }
            Ok(New { index, offset, note: position.text()? })
        })?;
        Ok((name, positions))
    })
}

pub(super) fn commit(state: &mut State, call: &mut Call<'_>) -> Handled {
    let version = call.version;
    let fields = &mut call.fields;
    let group = fields.text()?;
    let (generation, id) = (fields.i32()?, fields.text()?);
    let instance = if version >= 7 { fields.text_or_null()? } else { None };
    if version <= 4 {
        fields.i64()?;
    }
    let topics = topics(fields, version >= 6)?;
    let member = member(generation, id, instance);
    let saved = state
        .save(&group, topics, |group, positions| Ok(Request::Save { group, member, positions }));
    let topics = saved.into_iter().map(|(topic, positions)| {
        let told = |(index, code)| {
            OffsetCommitResponsePartition::default()
                .with_partition_index(index)
                .with_error_code(code)
        };
        OffsetCommitResponseTopic::default()
            .with_name(TopicName(text(topic)))
            .with_partitions(positions.into_iter().map(told).collect())
    });
    call.answer(&OffsetCommitResponse::default().with_topics(topics.collect()))
}

pub(super) fn commit_in_txn(state: &mut State, call: &mut Call<'_>) -> Handled {
    let version = call.version;
    let fields = &mut call.fields;
    let (name, group, session) = (fields.text()?, fields.text()?, session(fields)?);
    let member = match version {
        3.. => member(fields.i32()?, fields.text()?, fields.text_or_null()?),
        _ => None,
    };
    let topics = topics(fields, version >= 2)?;
    let protocol = if version >= TV2_SINCE { Protocol::Tv2 } else { Protocol::Tv1 };
    let txn = state.txn(&name);
    let saved = state.save(&group, topics, |group, positions| {
        Ok(Request::SaveInTxn { txn: txn?, session, protocol, group, member, positions })
    });
    if let Ok(txn) = txn {
        state.clock(txn, call.now);
    }
    let topics = saved.into_iter().map(|(topic, positions)| {
        let told = |(index, code)| {
            let code = match Code(code) {
                Code::INVALID_TXN_STATE if version >= ABORTABLE_SINCE => {
                    Code::TRANSACTION_ABORTABLE.0
                }
                Code(code) => code,
            };
            TxnOffsetCommitResponsePartition::default()
                .with_partition_index(index)
                .with_error_code(code)
        };
        TxnOffsetCommitResponseTopic::default()
            .with_name(TopicName(text(topic)))
            .with_partitions(positions.into_iter().map(told).collect())
    });
    call.answer(&TxnOffsetCommitResponse::default().with_topics(topics.collect()))
}

/// Nobody in particular is a member without id and generation.
fn member(generation: i32, id: String, instance: Option<String>) -> Option<Member> {
    let nobody = generation < 0 && id.is_empty() && instance.is_none();
    (!nobody).then_some(Member { generation, id, instance })
}

pub(super) fn fetch(state: &mut State, call: &mut Call<'_>) -> Handled {
    match call.version {
        8.. => fetch_of_groups(state, call),
        _ => fetch_of_group(state, call),
    }
}

/// Which partitions of which topics; none means all that have a position.
type Asked = Option<Vec<(String, Vec<i32>)>>;

fn asked(fields: &mut Fields) -> Result<Asked, Malformed> {
    fields.structs_or_null(|topic| Ok((topic.text()?, topic.array(Fields::i32)?)))
}

fn fetch_of_group(state: &mut State, call: &mut Call<'_>) -> Handled {
    let fields = &mut call.fields;
    let (group, asked) = (fields.text()?, asked(fields)?);
    let stable = call.version >= 7 && fields.bool()?;
    let found = state.positions(&group, asked, stable);
    let topics = found.into_iter().map(|(topic, positions)| {
        let told = |found: Position| {
            OffsetFetchResponsePartition::default()
                .with_partition_index(found.index)
                .with_committed_offset(found.offset)
                .with_committed_leader_epoch(-1)
                .with_metadata(Some(found.note))
                .with_error_code(found.code)
        };
        OffsetFetchResponseTopic::default()
            .with_name(TopicName(text(topic)))
            .with_partitions(positions.into_iter().map(told).collect())
    });
    call.answer(&OffsetFetchResponse::default().with_topics(topics.collect()))
}

fn fetch_of_groups(state: &mut State, call: &mut Call<'_>) -> Handled {
    let fields = &mut call.fields;
    let groups = fields.structs(|group| Ok((group.text()?, asked(group)?)))?;
    let stable = fields.bool()?;
    let groups = groups.into_iter().map(|(group, asked)| {
        let found = state.positions(&group, asked, stable);
        let topics = found.into_iter().map(|(topic, positions)| {
            let told = |found: Position| {
                OffsetFetchResponsePartitions::default()
                    .with_partition_index(found.index)
                    .with_committed_offset(found.offset)
                    .with_committed_leader_epoch(-1)
                    .with_metadata(Some(found.note))
                    .with_error_code(found.code)
            };
            OffsetFetchResponseTopics::default()
                .with_name(TopicName(text(topic)))
                .with_partitions(positions.into_iter().map(told).collect())
        });
        OffsetFetchResponseGroup::default()
            .with_group_id(GroupName(text(group)))
            .with_topics(topics.collect())
    });
    let groups = groups.collect();
    call.answer(&OffsetFetchResponse::default().with_groups(groups))
}

/// What is known of one position.
struct Position {
    index: i32,
    offset: Offset,
    note: StrBytes,
    code: i16,
}

impl State {
    /// Saves what can be saved: one request to the model. Unknown partitions and overlong notes are refused before.
    fn save(
        &mut self,
        group: &str,
        topics: Topics,
        request: impl FnOnce(GroupId, Vec<(Partition, Offset)>) -> Result<Request, Code>,
    ) -> Saved {
        let mut positions = Vec::new();
        let mut notes = Vec::new();
        let mut refused = BTreeMap::new();
        for (topic, all) in &topics {
            for new in all {
                let found = match new.note.len() {
                    ..=NOTE_MAX => self.topics.partition(topic, new.index),
                    _ => Err(Code::OFFSET_METADATA_TOO_LARGE),
                };
                match found {
                    Ok(partition) => {
                        positions.push((partition, new.offset));
                        notes.push((partition, new.offset, new.note.clone()));
                    }
                    Err(code) => _ = refused.insert((topic.clone(), new.index), code.0),
                }
            }
        }
        let saved = self.group(group).and_then(|group| {
            if positions.is_empty() {
                return Ok(());
            }
            self.broker.handle(&request(group, positions)?)?;
            for (partition, offset, note) in notes.into_iter().filter(|(.., note)| !note.is_empty())
            {
                self.notes.write(group, partition, offset, note);
            }
            Ok(())
        });
        let all = code(&saved);
        let told = topics.into_iter().map(|(topic, news)| {
            let code = |new: New| {
                let own = refused.get(&(topic.clone(), new.index)).copied();
                (new.index, own.unwrap_or(all))
            };
            let codes = news.into_iter().map(code).collect();
            (topic, codes)
        });
        told.collect()
    }

    fn positions(
        &mut self,
        group: &str,
        asked: Asked,
        stable: bool,
    ) -> Vec<(String, Vec<Position>)> {
        let group = match self.group(group) {
            Ok(group) => group,
            Err(code) => {
                let refused =
                    |index| Position { index, offset: NONE, note: text(""), code: code.0 };
                let topics = asked.unwrap_or_default().into_iter();
                return topics
                    .map(|(topic, indexes)| (topic, indexes.into_iter().map(refused).collect()))
                    .collect();
            }
        };
        let topics = asked.unwrap_or_else(|| self.saved(group));
        let found = topics.into_iter().map(|(topic, indexes)| {
            let found =
                indexes.into_iter().map(|index| self.position(group, &topic, index, stable));
            let found = found.collect();
            (topic, found)
        });
        found.collect()
    }

    fn position(&mut self, group: GroupId, topic: &str, index: i32, stable: bool) -> Position {
        let none = Position { index, offset: NONE, note: text(""), code: 0 };
        // Where there is no partition there is no position either, which is no error.
        let Ok(partition) = self.topics.partition(topic, index) else { return none };
        let request = Request::Positions { group, partitions: vec![partition], stable };
        match self.broker.handle(&request) {
            Ok(Response::Positions(found)) => match found.first() {
                Some((_, Some(offset))) => Position {
                    offset: *offset,
                    note: text(self.notes.read(group, partition, *offset)),
                    ..none
                },
                _ => none,
            },
            Ok(_) => Position { code: Code::UNKNOWN_SERVER_ERROR.0, ..none },
            Err(code) => Position { code: code.0, ..none },
        }
    }

    fn saved(&self, group: GroupId) -> Vec<(String, Vec<i32>)> {
        let mut topics: BTreeMap<String, Vec<i32>> = BTreeMap::new();
        for partition in self.broker.saved_partitions(group) {
            if let Some((topic, index)) = self.topics.place(partition) {
                topics.entry(topic.to_string()).or_default().push(index);
            }
        }
        topics.into_iter().collect()
    }
}
