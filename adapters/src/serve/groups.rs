//! Groups and their members.

use bytes::Bytes;
use kafka_protocol::messages::delete_groups_response::DeletableGroupResult;
use kafka_protocol::messages::describe_groups_response::{DescribedGroup, DescribedGroupMember};
use kafka_protocol::messages::join_group_response::JoinGroupResponseMember;
use kafka_protocol::messages::leave_group_response::MemberResponse;
use kafka_protocol::messages::list_groups_response::ListedGroup;
use kafka_protocol::messages::{
    DeleteGroupsResponse, DescribeGroupsResponse, GroupId as GroupName, HeartbeatResponse,
    JoinGroupResponse, LeaveGroupResponse, ListGroupsResponse, SyncGroupResponse,
};
use onceness_reference::broker::{Joined, Joining, Leaving, Waits};
use onceness_reference::code::Code;
use onceness_reference::ids::GroupId;
use onceness_reference::protocol::Member;

use super::call::{Call, Handled, Reply, code, text};
use super::state::State;
use crate::wire::fields::{Fields, Malformed};

/// A member that waits for others is looked at so often, in milliseconds, whatever rings.
const LOOK_MS: i64 = 100;
/// What a client calls itself becomes part of its id, so much of it.
const CLIENT_CHARS: usize = 100;

pub(super) fn join(state: &mut State, call: &mut Call<'_>) -> Handled {
    let version = call.version;
    let fields = &mut call.fields;
    let group = fields.text()?;
    let session_ms = i64::from(fields.i32()?);
    let rebalance_ms = if version >= 1 { i64::from(fields.i32()?) } else { session_ms };
    let member = fields.text()?;
    let instance = if version >= 5 { fields.text_or_null()? } else { None };
    let kind = fields.text()?;
    let protocols = fields.structs(|protocol| {
        let name = protocol.text()?;
        Ok((name, protocol.blob()?.unwrap_or_default().to_vec()))
    })?;
    let joining = Joining {
        member: call.memo.clone().unwrap_or(member),
        instance,
        client: call.client.chars().take(CLIENT_CHARS).collect(),
        session_ms,
        rebalance_ms: rebalance_ms.clamp(0, i64::from(i32::MAX)),
        kind,
        protocols,
        asks_twice: version >= 4,
        skips: version >= 9,
    };
    let refusal = |code: Code, member: String| {
        let refusal = JoinGroupResponse::default()
            .with_error_code(code.0)
            .with_generation_id(-1)
            .with_protocol_name((version < 7).then(|| text("")));
        refusal.with_member_id(text(member))
    };
    if group.is_empty() {
        return call.answer(&refusal(Code::INVALID_GROUP_ID, joining.member));
    }
    let group = match state.group(&group) {
        Ok(group) => group,
        Err(code) => return call.answer(&refusal(code, joining.member)),
    };
    state.joined.insert(group);
    let membership = state.broker.membership(group);
    match membership.join(call.now, &joining) {
        Ok(Waits::No(joined)) => call.answer(&told(version, joined)),
        Ok(Waits::For(member)) => {
            *call.memo = Some(member);
            Ok(Reply::Wait(call.now + LOOK_MS))
        }
        Err(Code::MEMBER_ID_REQUIRED) => {
            let member = membership.promise(call.now, &joining);
            call.answer(&refusal(Code::MEMBER_ID_REQUIRED, member))
        }
        Err(code) => call.answer(&refusal(code, joining.member)),
    }
}

fn told(version: i16, joined: Joined) -> JoinGroupResponse {
    let members = joined.members.into_iter().map(|(id, instance, metadata)| {
        let member = JoinGroupResponseMember::default()
            .with_member_id(text(id))
            .with_metadata(Bytes::from(metadata));
        if version >= 5 { member.with_group_instance_id(instance.map(text)) } else { member }
    });
    let told = JoinGroupResponse::default()
        .with_generation_id(joined.generation)
        .with_protocol_name(Some(text(joined.protocol)))
        .with_leader(text(joined.leader))
        .with_member_id(text(joined.member))
        .with_members(members.collect());
    let told = if version >= 7 { told.with_protocol_type(Some(text(joined.kind))) } else { told };
    if version >= 9 { told.with_skip_assignment(joined.skip_assignment) } else { told }
}

pub(super) fn sync(state: &mut State, call: &mut Call<'_>) -> Handled {
    let version = call.version;
    let fields = &mut call.fields;
    let group = fields.text()?;
    let member = member(fields, version >= 3)?;
    let (kind, name) = match version {
        5.. => (fields.text_or_null()?, fields.text_or_null()?),
        _ => (None, None),
    };
    let assignments = fields.structs(|assignment| {
        let member = assignment.text()?;
        Ok((member, assignment.blob()?.unwrap_or_default().to_vec()))
    })?;
    let protocol = kind.as_deref().zip(name.as_deref());
    let synced = state.known(&group).and_then(|group| {
        state.broker.membership(group).sync(call.now, &member, protocol, &assignments)
    });
    match synced {
        Ok(Waits::For(_)) => Ok(Reply::Wait(call.now + LOOK_MS)),
        Ok(Waits::No(assignment)) => {
            let answer = SyncGroupResponse::default().with_assignment(Bytes::from(assignment));
            match version {
                5.. => call.answer(
                    &answer.with_protocol_type(kind.map(text)).with_protocol_name(name.map(text)),
                ),
                _ => call.answer(&answer),
            }
        }
        Err(code) => call.answer(&SyncGroupResponse::default().with_error_code(code.0)),
    }
}

pub(super) fn heartbeat(state: &mut State, call: &mut Call<'_>) -> Handled {
    let group = call.fields.text()?;
    let member = member(&mut call.fields, call.version >= 3)?;
    let heard = state
        .known(&group)
        .and_then(|group| state.broker.membership(group).heartbeat(call.now, &member));
    call.answer(&HeartbeatResponse::default().with_error_code(code(&heard)))
}

pub(super) fn leave(state: &mut State, call: &mut Call<'_>) -> Handled {
    let (version, now) = (call.version, call.now);
    let fields = &mut call.fields;
    let group = fields.text()?;
    let members = match version {
        3.. => fields.structs(|leaving| {
            let member = leaving.text()?;
            let instance = leaving.text_or_null()?;
            if version >= 5 {
                leaving.text()?;
            }
            Ok(Leaving { member, instance })
        })?,
        _ => vec![Leaving { member: fields.text()?, instance: None }],
    };
    let known = state.known(&group);
    let mut last = 0;
    let members = members.into_iter().map(|leaving| {
        let left = known.and_then(|group| state.broker.membership(group).leave(now, &leaving));
        last = code(&left);
        MemberResponse::default()
            .with_member_id(text(leaving.member))
            .with_group_instance_id(leaving.instance.map(text))
            .with_error_code(last)
    });
    let members = members.collect();
    let answer = LeaveGroupResponse::default();
    match version {
        3.. => call.answer(&answer.with_members(members)),
        _ => call.answer(&answer.with_error_code(last)),
    }
}

pub(super) fn describe(state: &mut State, call: &mut Call<'_>) -> Handled {
    let names = call.fields.array(Fields::text)?;
    let groups = names.into_iter().map(|name| {
        let found = state.groups.find(&name).map(GroupId);
        let told = DescribedGroup::default().with_group_id(GroupName(text(name)));
        let Some(group) = found else { return told.with_group_state(text("Dead")) };
        let membership = state.broker.membership(group);
        let (kind, protocol) = membership.protocol();
        let members = membership.members().map(|(id, instance, client, metadata, assignment)| {
            let member = DescribedGroupMember::default()
                .with_member_id(text(id))
                .with_client_id(text(client))
                .with_member_metadata(Bytes::from(metadata))
                .with_member_assignment(Bytes::copy_from_slice(assignment));
            match call.version {
                4.. => member.with_group_instance_id(instance.map(text)),
                _ => member,
            }
        });
        told.with_group_state(text(membership.state()))
            .with_protocol_type(text(kind))
            .with_protocol_data(text(protocol))
            .with_members(members.collect())
    });
    let groups = groups.collect();
    call.answer(&DescribeGroupsResponse::default().with_groups(groups))
}

pub(super) fn list(state: &mut State, call: &mut Call<'_>) -> Handled {
    let wanted = if call.version >= 4 { call.fields.array(Fields::text)? } else { Vec::new() };
    let version = call.version;
    let groups = state.groups.all().filter_map(|(number, name)| {
        let membership = state.broker.membership(GroupId(number));
        let standing = membership.state();
        let listed = ListedGroup::default()
            .with_group_id(GroupName(text(&**name)))
            .with_protocol_type(text(membership.protocol().0));
        let listed = if version >= 4 { listed.with_group_state(text(standing)) } else { listed };
        (wanted.is_empty() || wanted.iter().any(|state| state == standing)).then_some(listed)
    });
    let groups = groups.collect();
    call.answer(&ListGroupsResponse::default().with_groups(groups))
}

pub(super) fn delete(state: &mut State, call: &mut Call<'_>) -> Handled {
    let names = call.fields.array(Fields::text)?;
    let results = names.into_iter().map(|name| {
        let deleted = state.delete_group(&name);
        DeletableGroupResult::default()
            .with_group_id(GroupName(text(name)))
            .with_error_code(code(&deleted))
    });
    let results = results.collect();
    call.answer(&DeleteGroupsResponse::default().with_results(results))
}

fn member(fields: &mut Fields, instances: bool) -> Result<Member, Malformed> {
    let (generation, id) = (fields.i32()?, fields.text()?);
    let instance = if instances { fields.text_or_null()? } else { None };
    Ok(Member { generation, id, instance })
}

impl State {
    /// A group that somebody has joined. Of any other there are no members.
    fn known(&self, group: &str) -> Result<GroupId, Code> {
        self.groups.find(group).map(GroupId).ok_or(Code::UNKNOWN_MEMBER_ID)
    }

    fn delete_group(&mut self, name: &str) -> Result<(), Code> {
        let group = self.groups.find(name).map(GroupId).ok_or(Code::GROUP_ID_NOT_FOUND)?;
        self.broker.delete_group(group)?;
        self.groups.forget(group.0);
        self.notes.forget(group);
        self.joined.remove(&group);
        Ok(())
    }
}
