//! Classic membership: who joins, leads, waits, is told to come again, is fenced, and is missed. Time is in milliseconds.

use onceness_reference::broker::{Joined, Joining, Leaving, Membership, Waits};
use onceness_reference::code::Code;
use onceness_reference::protocol::Member;

/// The shortest session that there is.
const SESSION: i64 = 6_000;
const REBALANCE: i64 = 1_000;

fn dynamic(member: &str) -> Joining {
    Joining {
        member: member.to_owned(),
        client: "app".to_owned(),
        session_ms: SESSION,
        rebalance_ms: REBALANCE,
        kind: "consumer".to_owned(),
        protocols: vec![("range".to_owned(), b"topics".to_vec())],
        ..Joining::default()
    }
}

fn named(instance: &str) -> Joining {
    Joining { instance: Some(instance.to_owned()), ..dynamic("") }
}

fn joined(waits: Result<Waits<Joined>, Code>) -> Joined {
    match waits {
        Ok(Waits::No(joined)) => joined,
        other => panic!("nobody is waited for, but {other:?}"),
    }
}

fn waiting<T: std::fmt::Debug>(waits: Result<Waits<T>, Code>) -> String {
    match waits {
        Ok(Waits::For(member)) => member,
        other => panic!("others are waited for, but {other:?}"),
    }
}

fn member(joined: &Joined) -> Member {
    Member { generation: joined.generation, id: joined.member.clone(), instance: None }
}

/// Two members, the first of them the leader, in generation 2 with assignments.
fn pair() -> (Membership, Joined, Joined) {
    let mut group = Membership::default();
    let first = joined(group.join(0, &dynamic("")));
    group.sync(0, &member(&first), None, &[]).unwrap();
    let second = waiting(group.join(0, &dynamic("")));
    let first = joined(group.join(0, &dynamic(&first.member)));
    let second = joined(group.join(0, &dynamic(&second)));
    assert_eq!((first.generation, second.generation), (2, 2));
    assert_eq!(first.leader, first.member);
    let each = [&first, &second].map(|one| (one.member.clone(), one.member.clone().into_bytes()));
    assert_eq!(waiting(group.sync(0, &member(&second), None, &[])), second.member);
    let got = |one: &Joined| Ok(Waits::No(one.member.clone().into_bytes()));
    assert_eq!(group.sync(0, &member(&first), None, &each), got(&first));
    assert_eq!(group.sync(0, &member(&second), None, &[]), got(&second));
    assert_eq!(group.state(), "Stable");
    (group, first, second)
}

#[test]
fn the_first_member_leads_at_once_and_a_second_waits_for_it() {
    let (_, first, second) = pair();
    let metadata = |one: &Joined| (one.member.clone(), None, b"topics".to_vec());
    assert_eq!(first.members, [metadata(&first), metadata(&second)]);
    assert_eq!(second.members, []);
    assert_eq!(
        (second.leader, &*second.protocol, &*second.kind),
        (first.member, "range", "consumer")
    );
}

#[test]
fn an_id_is_asked_for_first() {
    let mut group = Membership::default();
    let asks = Joining { asks_twice: true, ..dynamic("") };
    assert_eq!(group.join(0, &asks), Err(Code::MEMBER_ID_REQUIRED));
    let id = group.promise(0, &asks);
    assert_eq!(joined(group.join(0, &Joining { member: id.clone(), ..asks.clone() })).member, id);
    assert_eq!(
        group.join(0, &Joining { member: "somebody".to_owned(), ..asks }),
        Err(Code::UNKNOWN_MEMBER_ID)
    );
}

#[test]
fn heartbeats_tell_of_a_rebalance() {
    let (mut group, first, second) = pair();
    assert_eq!(group.heartbeat(1, &member(&second)), Ok(()));
    waiting(group.join(1, &dynamic("")));
    assert_eq!(group.heartbeat(1, &member(&first)), Err(Code::REBALANCE_IN_PROGRESS));
    assert_eq!(group.sync(1, &member(&first), None, &[]), Err(Code::REBALANCE_IN_PROGRESS));
    let old = Member { generation: 1, ..member(&first) };
    assert_eq!(group.heartbeat(1, &old), Err(Code::ILLEGAL_GENERATION));
}

#[test]
fn a_rebalance_waits_no_longer_than_its_members_allow() {
    let (mut group, first, second) = pair();
    let third = waiting(group.join(0, &dynamic("")));
    waiting(group.join(0, &dynamic(&first.member)));
    assert!(!group.pass(REBALANCE - 1));
    assert!(group.pass(REBALANCE));
    let first = joined(group.join(REBALANCE, &dynamic(&first.member)));
    let third = joined(group.join(REBALANCE, &dynamic(&third)));
    assert_eq!((first.generation, third.generation), (3, 3));
    assert_eq!(group.heartbeat(REBALANCE, &member(&second)), Err(Code::UNKNOWN_MEMBER_ID));
}

#[test]
fn a_leader_that_does_not_assign_is_not_waited_for_for_ever() {
    let (mut group, first, second) = pair();
    group.leave(0, &Leaving { member: first.member, instance: None }).unwrap();
    let second = joined(group.join(0, &dynamic(&second.member)));
    assert_eq!(second.leader, second.member);
    assert_eq!(group.state(), "CompletingRebalance");
    assert!(group.pass(REBALANCE));
    assert_eq!(group.state(), "PreparingRebalance");
}

#[test]
fn who_is_silent_or_leaves_is_gone_and_the_others_are_told() {
    let (mut group, first, second) = pair();
    group.heartbeat(SESSION - 1, &member(&first)).unwrap();
    assert!(group.pass(SESSION));
    let first_member = member(&first);
    assert_eq!(group.heartbeat(SESSION, &first_member), Err(Code::REBALANCE_IN_PROGRESS));
    assert_eq!(group.heartbeat(SESSION, &member(&second)), Err(Code::UNKNOWN_MEMBER_ID));
    let leaving = Leaving { member: first.member, instance: None };
    assert_eq!(group.leave(SESSION, &leaving), Ok(()));
    assert_eq!(group.leave(SESSION, &leaving), Err(Code::UNKNOWN_MEMBER_ID));
    assert_eq!((group.is_empty(), group.state()), (true, "Empty"));
}

#[test]
fn a_static_member_that_starts_again_fences_its_predecessor_without_a_rebalance() {
    let mut group = Membership::default();
    let old = joined(group.join(0, &named("x")));
    let as_x = |joined: &Joined| Member { instance: Some("x".to_owned()), ..member(joined) };
    let assignment = [(old.member.clone(), b"p0".to_vec())];
    group.sync(0, &as_x(&old), None, &assignment).unwrap();
    let new = joined(group.join(0, &named("x")));
    assert_eq!((new.generation, new.members.len()), (old.generation, 0));
    // Led by nobody that is there, so it does not assign anew.
    assert_eq!(new.leader, old.member);
    assert_eq!(group.sync(0, &as_x(&new), None, &[]), Ok(Waits::No(b"p0".to_vec())));
    for fenced in [
        group.heartbeat(0, &as_x(&old)),
        group.join(0, &Joining { member: old.member.clone(), ..named("x") }).map(drop),
        group.leave(0, &Leaving { member: old.member, instance: Some("x".to_owned()) }),
    ] {
        assert_eq!(fenced, Err(Code::FENCED_INSTANCE_ID));
    }
    let newer = joined(group.join(0, &Joining { skips: true, ..named("x") }));
    assert!(newer.skip_assignment && newer.leader == newer.member);
}

#[test]
fn who_speaks_no_common_protocol_is_refused() {
    let (mut group, ..) = pair();
    let other = Joining { protocols: vec![("sticky".to_owned(), Vec::new())], ..dynamic("") };
    assert_eq!(group.join(0, &other), Err(Code::INCONSISTENT_GROUP_PROTOCOL));
    let other = Joining { kind: "connect".to_owned(), ..dynamic("") };
    assert_eq!(group.join(0, &other), Err(Code::INCONSISTENT_GROUP_PROTOCOL));
    let other = Joining { session_ms: SESSION - 1, ..dynamic("") };
    assert_eq!(group.join(0, &other), Err(Code::INVALID_SESSION_TIMEOUT));
}
