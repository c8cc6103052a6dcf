//! The requests that we send, the versions of each that we speak, and how its answer is read.

use bytes::Bytes;
use kafka_protocol::messages::{
    AddOffsetsToTxnRequest, AddPartitionsToTxnRequest, ApiVersionsRequest, CreateTopicsRequest,
    DeleteGroupsRequest, DeleteTopicsRequest, EndTxnRequest, FetchRequest, FindCoordinatorRequest,
    InitProducerIdRequest, JoinGroupRequest, LeaveGroupRequest, ListOffsetsRequest,
    MetadataRequest, OffsetCommitRequest, OffsetFetchRequest, ProduceRequest, SyncGroupRequest,
    TxnOffsetCommitRequest,
};
use kafka_protocol::protocol::Request;
use onceness_reference::protocol::Session;

use super::fields::{Fields, Malformed};

/// A request, and how its answer is read.
pub(super) trait Exchange: Request + Sync {
    /// The lowest and the highest version that we speak. The crate writes all of them.
    const SPOKEN: (i16, i16);
    /// What we want to know of the answer.
    type Answer: Send;
    /// Reads the body of an answer.
    fn read(fields: &mut Fields, version: i16) -> Result<Self::Answer, Malformed>;
}

/// A partition's index, and what was said of it.
pub(super) type ByPartition<T> = Vec<(i32, T)>;

/// What a broker can do.
#[derive(Debug, PartialEq)]
pub(super) struct Abilities {
    pub(super) code: i16,
    /// API key, lowest and highest version.
    pub(super) ranges: Vec<(i16, i16, i16)>,
    /// The finalized features and their levels.
    pub(super) finalized: Vec<(String, i16)>,
}

impl Exchange for ApiVersionsRequest {
    const SPOKEN: (i16, i16) = (0, 3);
    type Answer = Abilities;

    fn read(fields: &mut Fields, version: i16) -> Result<Abilities, Malformed> {
        const UNSUPPORTED_VERSION: i16 = 35;
        let code = fields.i16()?;
        if code == UNSUPPORTED_VERSION {
            // Told in the form of version 0, whatever was asked (KIP-511). Nothing but the code matters.
            *fields = Fields::new(Bytes::new(), false);
            return Ok(Abilities { code, ranges: Vec::new(), finalized: Vec::new() });
        }
        let ranges = fields.structs(|api| Ok((api.i16()?, api.i16()?, api.i16()?)))?;
        if version >= 1 {
            fields.i32()?;
        }
        let mut finalized = Vec::new();
        fields.tags(|tag, field| {
            if tag == 2 {
                finalized = field.structs(|feature| {
                    let told = (feature.text()?, feature.i16()?);
                    feature.i16()?;
                    Ok(told)
                })?;
            }
            Ok(())
        })?;
        Ok(Abilities { code, ranges, finalized })
    }
}

/// Who is where.
#[derive(Debug, PartialEq)]
pub(super) struct Geography {
    /// Node and advertised address.
    pub(super) brokers: Vec<(i32, String)>,
    pub(super) cluster: String,
    pub(super) controller: i32,
    pub(super) topics: Vec<Topic>,
}

/// A topic's leaders.
#[derive(Debug, PartialEq)]
pub(super) struct Topic {
    pub(super) code: i16,
    pub(super) name: String,
    /// 0 where the broker has no topic ids.
    pub(super) id: u128,
    /// The leader of each partition; -1 where there is none for now.
    pub(super) leaders: ByPartition<i32>,
}

impl Exchange for MetadataRequest {
    // From version 4 on a topic is not made by asking for it.
    const SPOKEN: (i16, i16) = (4, 12);
    type Answer = Geography;

    fn read(fields: &mut Fields, version: i16) -> Result<Geography, Malformed> {
        fields.i32()?;
        let brokers = fields.structs(|broker| {
            let node = broker.i32()?;
            let host = broker.text()?;
            let port = broker.i32()?;
            broker.text()?;
            Ok((node, address(&host, port)))
        })?;
        let cluster = fields.text()?;
        let controller = fields.i32()?;
        let topics = fields.structs(|topic| {
            let code = topic.i16()?;
            let name = topic.text()?;
            let id = if version >= 10 { topic.uuid()? } else { 0 };
            topic.bool()?;
            let leaders = topic.structs(|partition| {
                partition.i16()?;
                let index = partition.i32()?;
                let leader = partition.i32()?;
                if version >= 7 {
                    partition.i32()?;
                }
                partition.array(Fields::i32)?;
                partition.array(Fields::i32)?;
                if version >= 5 {
                    partition.array(Fields::i32)?;
                }
                Ok((index, leader))
            })?;
            if version >= 8 {
                topic.i32()?;
            }
            Ok(Topic { code, name, id, leaders })
        })?;
        if (8..=10).contains(&version) {
            fields.i32()?;
        }
        fields.pass_tags()?;
        Ok(Geography { brokers, cluster, controller, topics })
    }
}

/// A host and a port as one text, with the brackets that an IPv6 address needs.
fn address(host: &str, port: i32) -> String {
    match host.contains(':') {
        true => format!("[{host}]:{port}"),
        false => format!("{host}:{port}"),
    }
}

/// What was said of a named thing: a topic, a group.
#[derive(Debug, PartialEq)]
pub(super) struct Named {
    pub(super) name: String,
    pub(super) code: i16,
    pub(super) message: String,
}

impl Exchange for CreateTopicsRequest {
    const SPOKEN: (i16, i16) = (2, 7);
    type Answer = Vec<Named>;

    fn read(fields: &mut Fields, version: i16) -> Result<Vec<Named>, Malformed> {
        fields.i32()?;
        let topics = fields.structs(|topic| {
            let name = topic.text()?;
            if version >= 7 {
                topic.uuid()?;
            }
            let code = topic.i16()?;
            let message = topic.text()?;
            if version >= 5 {
                topic.i32()?;
                topic.i16()?;
                topic.structs(|config| {
                    config.text()?;
                    config.text()?;
                    config.bool()?;
                    config.i8()?;
                    config.bool()
                })?;
            }
            Ok(Named { name, code, message })
        })?;
        fields.pass_tags()?;
        Ok(topics)
    }
}

impl Exchange for DeleteTopicsRequest {
    const SPOKEN: (i16, i16) = (1, 6);
    type Answer = Vec<Named>;

    fn read(fields: &mut Fields, version: i16) -> Result<Vec<Named>, Malformed> {
        fields.i32()?;
        let topics = fields.structs(|topic| {
            let name = topic.text()?;
            if version >= 6 {
                topic.uuid()?;
            }
            let code = topic.i16()?;
            let message = if version >= 5 { topic.text()? } else { String::new() };
            Ok(Named { name, code, message })
        })?;
        fields.pass_tags()?;
        Ok(topics)
    }
}

/// Which node coordinates.
#[derive(Debug, PartialEq)]
pub(super) struct Coordinator {
    pub(super) code: i16,
    pub(super) node: i32,
    pub(super) address: String,
}

impl Exchange for FindCoordinatorRequest {
    const SPOKEN: (i16, i16) = (1, 6);
    type Answer = Vec<Coordinator>;

    fn read(fields: &mut Fields, version: i16) -> Result<Vec<Coordinator>, Malformed> {
        fields.i32()?;
        let found = if version >= 4 {
            fields.structs(|one| {
                one.text()?;
                let node = one.i32()?;
                let address = address(&one.text()?, one.i32()?);
                let code = one.i16()?;
                one.text()?;
                Ok(Coordinator { code, node, address })
            })?
        } else {
            let code = fields.i16()?;
            fields.text()?;
            let node = fields.i32()?;
            vec![Coordinator { code, node, address: address(&fields.text()?, fields.i32()?) }]
        };
        fields.pass_tags()?;
        Ok(found)
    }
}

impl Exchange for InitProducerIdRequest {
    const SPOKEN: (i16, i16) = (0, 5);
    type Answer = (i16, Session);

    fn read(fields: &mut Fields, _version: i16) -> Result<(i16, Session), Malformed> {
        fields.i32()?;
        let told = (fields.i16()?, session(fields)?);
        fields.pass_tags()?;
        Ok(told)
    }
}

fn session(fields: &mut Fields) -> Result<Session, Malformed> {
    Ok(Session { producer: fields.i64()?, epoch: fields.i16()? })
}

/// Answers that have one code for each partition of each topic.
fn codes(fields: &mut Fields) -> Result<ByPartition<i16>, Malformed> {
    let topics = fields.structs(|topic| {
        topic.text()?;
        topic.structs(|partition| Ok((partition.i32()?, partition.i16()?)))
    })?;
    Ok(topics.into_iter().flatten().collect())
}

impl Exchange for AddPartitionsToTxnRequest {
    // From version 4 on it is a request between brokers.
    const SPOKEN: (i16, i16) = (0, 3);
    type Answer = ByPartition<i16>;

    fn read(fields: &mut Fields, _version: i16) -> Result<ByPartition<i16>, Malformed> {
        fields.i32()?;
        let told = codes(fields)?;
        fields.pass_tags()?;
        Ok(told)
    }
}

impl Exchange for AddOffsetsToTxnRequest {
    const SPOKEN: (i16, i16) = (0, 4);
    type Answer = i16;

    fn read(fields: &mut Fields, _version: i16) -> Result<i16, Malformed> {
        fields.i32()?;
        let code = fields.i16()?;
        fields.pass_tags()?;
        Ok(code)
    }
}

impl Exchange for EndTxnRequest {
    const SPOKEN: (i16, i16) = (0, 5);
    /// The session to go on with is told from version 5 on.
    type Answer = (i16, Option<Session>);

    fn read(fields: &mut Fields, version: i16) -> Result<Self::Answer, Malformed> {
        fields.i32()?;
        let code = fields.i16()?;
        let next = if version >= 5 { Some(session(fields)?) } else { None };
        fields.pass_tags()?;
        Ok((code, next))
    }
}

impl Exchange for TxnOffsetCommitRequest {
    const SPOKEN: (i16, i16) = (0, 5);
    type Answer = ByPartition<i16>;

    fn read(fields: &mut Fields, _version: i16) -> Result<ByPartition<i16>, Malformed> {
        fields.i32()?;
        let told = codes(fields)?;
        fields.pass_tags()?;
        Ok(told)
    }
}

impl Exchange for OffsetCommitRequest {
    const SPOKEN: (i16, i16) = (2, 9);
    type Answer = ByPartition<i16>;

    fn read(fields: &mut Fields, version: i16) -> Result<ByPartition<i16>, Malformed> {
        if version >= 3 {
            fields.i32()?;
        }
        let told = codes(fields)?;
        fields.pass_tags()?;
        Ok(told)
    }
}

/// The code of the whole answer, and each partition's code and offset.
#[derive(Debug, PartialEq)]
pub(super) struct Saved {
    pub(super) code: i16,
    pub(super) positions: ByPartition<(i16, i64)>,
}

impl Exchange for OffsetFetchRequest {
    const SPOKEN: (i16, i16) = (1, 9);
    type Answer = Saved;

    fn read(fields: &mut Fields, version: i16) -> Result<Saved, Malformed> {
        if version >= 3 {
            fields.i32()?;
        }
        let saved = if version >= 8 {
            let groups = fields.structs(|group| {
                group.text()?;
                let positions = positions(group, version)?;
                Ok(Saved { code: group.i16()?, positions })
            })?;
            groups.into_iter().next().ok_or_else(|| Malformed("tells of no group".into()))?
        } else {
            let positions = positions(fields, version)?;
            Saved { code: if version >= 2 { fields.i16()? } else { 0 }, positions }
        };
        fields.pass_tags()?;
        Ok(saved)
    }
}

fn positions(fields: &mut Fields, version: i16) -> Result<ByPartition<(i16, i64)>, Malformed> {
    let topics = fields.structs(|topic| {
        topic.text()?;
        topic.structs(|partition| {
            let index = partition.i32()?;
            let offset = partition.i64()?;
            if version >= 5 {
                partition.i32()?;
            }
            partition.text()?;
            Ok((index, (partition.i16()?, offset)))
        })
    })?;
    Ok(topics.into_iter().flatten().collect())
}

/// What was said of a produced batch.
#[derive(Debug, PartialEq)]
pub(super) struct Produced {
    pub(super) code: i16,
    pub(super) base: i64,
}

impl Exchange for ProduceRequest {
    // From version 13 on topics are named by id; the highest version by name does all that we need.
    const SPOKEN: (i16, i16) = (3, 12);
    type Answer = ByPartition<Produced>;

    fn read(fields: &mut Fields, version: i16) -> Result<ByPartition<Produced>, Malformed> {
        let topics = fields.structs(|topic| {
            topic.text()?;
            topic.structs(|partition| {
                let index = partition.i32()?;
                let produced = Produced { code: partition.i16()?, base: partition.i64()? };
                rest_of_produced(partition, version)?;
                Ok((index, produced))
            })
        })?;
        fields.i32()?;
        fields.pass_tags()?;
        Ok(topics.into_iter().flatten().collect())
    }
}

/// What follows the base offset of a partition that was produced to.
pub(crate) fn rest_of_produced(partition: &mut Fields, version: i16) -> Result<(), Malformed> {
    partition.i64()?;
    if version >= 5 {
        partition.i64()?;
    }
    if version >= 8 {
        partition.structs(|record| {
            record.i32()?;
            record.text()
        })?;
        partition.text()?;
    }
    Ok(())
}

/// What a fetch returned.
#[derive(Debug, PartialEq)]
pub(super) struct Catch {
    pub(super) code: i16,
    pub(super) partitions: ByPartition<Found>,
}

/// What a fetch returned of one partition.
#[derive(Debug, PartialEq)]
pub(super) struct Found {
    pub(super) code: i16,
    pub(super) high_watermark: i64,
    pub(super) last_stable: i64,
    pub(super) aborted: Vec<(i64, i64)>,
    pub(super) records: Bytes,
}

impl Exchange for FetchRequest {
    const SPOKEN: (i16, i16) = (4, 18);
    type Answer = Catch;

    fn read(fields: &mut Fields, version: i16) -> Result<Catch, Malformed> {
        fields.i32()?;
        let mut code = 0;
        if version >= 7 {
            code = fields.i16()?;
            fields.i32()?;
        }
        let topics = fields.structs(|topic| {
            if version >= 13 {
                topic.uuid()?;
            } else {
                topic.text()?;
            }
            topic.structs(|partition| {
                let index = partition.i32()?;
                let code = partition.i16()?;
                let high_watermark = partition.i64()?;
                let last_stable = partition.i64()?;
                if version >= 5 {
                    partition.i64()?;
                }
                let aborted = partition.structs(|one| Ok((one.i64()?, one.i64()?)))?;
                if version >= 11 {
                    partition.i32()?;
                }
                let records = partition.blob()?.unwrap_or_default();
                Ok((index, Found { code, high_watermark, last_stable, aborted, records }))
            })
        })?;
        fields.pass_tags()?;
        Ok(Catch { code, partitions: topics.into_iter().flatten().collect() })
    }
}

impl Exchange for ListOffsetsRequest {
    // From version 2 on isolation is known. Later ones know of places in tiers.
    const SPOKEN: (i16, i16) = (2, 7);
    /// The code and the offset.
    type Answer = ByPartition<(i16, i64)>;

    fn read(fields: &mut Fields, version: i16) -> Result<Self::Answer, Malformed> {
        fields.i32()?;
        let topics = fields.structs(|topic| {
            topic.text()?;
            topic.structs(|partition| {
                let (index, code) = (partition.i32()?, partition.i16()?);
                partition.i64()?;
                let offset = partition.i64()?;
                if version >= 4 {
                    partition.i32()?;
                }
                Ok((index, (code, offset)))
            })
        })?;
        fields.pass_tags()?;
        Ok(topics.into_iter().flatten().collect())
    }
}

/// What a member that joined is told.
#[derive(Debug, PartialEq)]
pub(super) struct Joined {
    pub(super) code: i16,
    pub(super) generation: i32,
    pub(super) leader: String,
    pub(super) skip_assignment: bool,
    pub(super) member: String,
}

impl Exchange for JoinGroupRequest {
    // From version 5 on members can be static.
    const SPOKEN: (i16, i16) = (5, 9);
    type Answer = Joined;

    fn read(fields: &mut Fields, version: i16) -> Result<Joined, Malformed> {
        fields.i32()?;
        let code = fields.i16()?;
        let generation = fields.i32()?;
        if version >= 7 {
            fields.text()?;
        }
        fields.text()?;
        let leader = fields.text()?;
        let skip_assignment = version >= 9 && fields.bool()?;
        let member = fields.text()?;
        fields.structs(|member| {
            member.text()?;
            member.text()?;
            member.blob()
        })?;
        fields.pass_tags()?;
        Ok(Joined { code, generation, leader, skip_assignment, member })
    }
}

impl Exchange for SyncGroupRequest {
    // From version 3 on members can be static.
    const SPOKEN: (i16, i16) = (3, 5);
    type Answer = i16;

    fn read(fields: &mut Fields, version: i16) -> Result<i16, Malformed> {
        fields.i32()?;
        let code = fields.i16()?;
        if version >= 5 {
            fields.text()?;
            fields.text()?;
        }
        fields.blob()?;
        fields.pass_tags()?;
        Ok(code)
    }
}

impl Exchange for LeaveGroupRequest {
    // From version 3 on static members can be told to leave by anyone.
    const SPOKEN: (i16, i16) = (3, 5);
    type Answer = i16;

    fn read(fields: &mut Fields, _version: i16) -> Result<i16, Malformed> {
        fields.i32()?;
        let code = fields.i16()?;
        fields.structs(|member| {
            member.text()?;
            member.text()?;
            member.i16()
        })?;
        fields.pass_tags()?;
        Ok(code)
    }
}

impl Exchange for DeleteGroupsRequest {
    const SPOKEN: (i16, i16) = (0, 2);
    type Answer = Vec<Named>;

    fn read(fields: &mut Fields, _version: i16) -> Result<Vec<Named>, Malformed> {
        fields.i32()?;
        let groups = fields.structs(|group| {
            Ok(Named { name: group.text()?, code: group.i16()?, message: String::new() })
        })?;
        fields.pass_tags()?;
        Ok(groups)
    }
}
