//! Who forges requests is judged by nobody, and is nobody's excuse.

use expect_test::expect;
use onceness_properties::{Verdict, judge};
use onceness_reference::code::Code;
use onceness_reference::history::{Call, Forged, Outcome, Record};
use onceness_reference::ids::{GroupId, Key, Partition, Tag};
use onceness_reference::plan::forge::{Forge, Number, Pose};
use onceness_reference::plan::{Consumer, Delivery, Fate, Protocol, Saving};

use crate::story::{Story, consumer, nothing, producer, reader, transactional};

fn forge(tags: &[u32]) -> Call {
    let record = |tag: &u32| Record { tag: Tag(*tag), key: Key(0), from: None };
    Call::Forge(Forged {
        forge: Forge::Produce {
            to: Partition(0),
            records: Vec::new(),
            pose: Pose::Own,
            number: Number::Gap { by: 1 },
            plain: false,
            flaw: None,
        },
        session: Some((7, 0)),
        first: Some(1),
        records: tags.iter().map(record).collect(),
        offset: None,
        generation: None,
    })
}

const REFUSED: Outcome = Outcome::Refused(Code::OUT_OF_ORDER_SEQUENCE_NUMBER);

/// c1 is told that its record was refused, and its own r2 is lost; what a reader finds of it all is not judged.
#[test]
fn nothing_of_a_forger_is_judged() {
    let mut story = Story::of([producer(Delivery::Idempotent), producer(Delivery::Idempotent)]);
    story.open(0, 0, None);
    story.open(1, 0, None);
    story.sent(0, 0, &[1], 0);
    story.sent(1, 0, &[2], 1);
    story.does(1, forge(&[3]), REFUSED);
    story.healed();
    story.read(0, 3, &[(0, 1), (1, 3), (2, 3)]);
    story.accuses_none();
}

/// c0's r1 is gone, whoever forged what beside it.
#[test]
fn bystanders_are_judged_as_ever() {
    let mut story = Story::of([producer(Delivery::Idempotent), producer(Delivery::Idempotent)]);
    story.open(0, 0, None);
    story.open(1, 0, None);
    let lost = story.sent(0, 0, &[1], 0);
    story.does(1, forge(&[3]), REFUSED);
    story.healed();
    story.read(0, 3, &[(1, 3)]);
    let accused = judge(&story.history).into_iter().any(|judgement| match judgement.verdict {
        Verdict::Violated(violations) => {
            violations.iter().any(|violation| violation.evidence.contains(&lost))
        }
        _ => false,
    });
    assert!(accused, "r1 is lost, and the evidence is where it was");
}

/// c1 never forged, but its transactional id is a forger's: it may be fenced by it, without an opening.
#[test]
fn who_shares_a_name_with_a_forger_is_not_judged_either() {
    let id = || producer(transactional(Protocol::Tv2));
    let mut story = Story::of([id(), id()]);
    story.open(0, 0, None);
    story.open(1, 1, None);
    story.does(0, forge(&[3]), REFUSED);
    story.begin(1);
    story.sent(1, 0, &[4], 0);
    story.commit(1);
    story.healed();
    story.read(0, 1, &[]);
    story.accuses_none();
}

#[test]
fn readers_may_be_handed_what_a_forger_sent_and_forged() {
    let mut story = Story::of([reader(Saving::AfterProcessing), producer(Delivery::Idempotent)]);
    story.open(1, 0, None);
    story.sent(1, 0, &[2], 0);
    story.does(1, forge(&[3]), REFUSED);
    let log = [(0, 2), (1, 3)];
    story.polled(0, 0, 2, &log);
    story.healed();
    story.read(0, 2, &log);
    story.accuses_none();
}

/// Of anybody else it is claimed that a commit that was done is done again when it is resent.
#[test]
fn what_a_forger_is_answered_is_not_judged() {
    let mut story = Story::of([producer(transactional(Protocol::Tv2))]);
    story.open(0, 0, None);
    story.does(0, forge(&[3]), REFUSED);
    story.begin(0);
    story.sent(0, 0, &[1], 0);
    let commit = story.call(0, Call::Commit);
    story.answer(commit, Fate::ReplyLost, nothing());
    story.answer(commit, Fate::Delivered, Outcome::Refused(Code::INVALID_TXN_STATE));
    story.returns(commit, Outcome::Unknown);
    story.accuses_none();
}

/// Readers of these groups. c0 forges; c1 saves a position, and then its group is told another one.
fn told_wrongly(groups: [u32; 2]) -> Story {
    let reader = |group| {
        let consumer = consumer(Saving::AfterProcessing, false);
        (None, Some(Consumer { group: GroupId(group), ..consumer }))
    };
    let mut story = Story::of(groups.map(reader));
    story.does(0, forge(&[3]), REFUSED);
    let positions = vec![(Partition(0), 3)];
    story.done(1, Call::Save { group: GroupId(groups[1]), positions, in_transaction: false });
    story.open(1, 0, Some(5));
    story
}

#[test]
fn who_shares_a_group_with_a_forger_is_not_judged_either() {
    told_wrongly([0, 0]).accuses_none();
}

#[test]
fn who_is_in_another_group_than_a_forger_is_judged() {
    told_wrongly([0, 1]).check_all(expect![[r#"
        position/at-least-once: e2 e3 e5: g1 was told that its position in p0 is 5, where it had to be 3
    "#]]);
}

/// The same, of the position that the group has in the end.
#[test]
fn the_final_position_of_a_bystander_is_judged() {
    let mut story = Story::of([reader(Saving::AfterProcessing), producer(Delivery::Idempotent)]);
    story.saved(0, 3);
    story.does(1, forge(&[3]), REFUSED);
    story.committed(Some(5));
    story.check_all(expect![[r#"
        position/at-least-once: e0 e1 e4: g0 was told that its position in p0 is 5, where it had to be 3
    "#]]);
}
