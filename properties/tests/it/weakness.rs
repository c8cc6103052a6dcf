//! What a weakness of the protocol explains, and what it does not.

use expect_test::expect;
use onceness_properties::weakness::WEAKNESSES;
use onceness_reference::history::{Call, Outcome};
use onceness_reference::plan::{Delivery, Protocol};

use crate::story::{HELD, RC, RU, Story, looping, nothing, producer, transactional};

/// The abort of a first transaction is held and arrives in the second, which is then committed.
fn torn(protocol: Protocol) -> Story {
    let mut story = Story::of([producer(transactional(protocol)), producer(Delivery::Idempotent)]);
    story.open(0, 0, None);
    story.begin(0);
    story.sent(0, 0, &[1], 0);
    let abort = story.abort(0);
    story.begin(0);
    story.sent(0, 0, &[2], 2);
    story.answer(abort, HELD, nothing());
    story.sent(0, 1, &[3], 0);
    story.commit(0);
    story.healed();
    story.read_at(RU, 0, 4, &[(0, 1), (2, 2)]);
    story.read_at(RC, 0, 4, &[]);
    story.read(1, 2, &[(0, 3)]);
    story
}

#[test]
fn a_late_end_tears_the_next_transaction() {
    torn(Protocol::Tv1).check_all(expect![[r#"
        atomicity/transactional: e8 e10 e11 e12 e13 e15 e16 e19 e21: a transaction of c0 was committed, but its r2 in p0 is not shown to read_committed (KAFKA-17754)
    "#]]);
}

#[test]
fn not_with_the_newer_protocol() {
    torn(Protocol::Tv2).check_all(expect![[r#"
        atomicity/transactional: e8 e10 e11 e13 e15 e16 e19 e21: a transaction of c0 was committed, but its r2 in p0 is not shown to read_committed
    "#]]);
}

#[test]
fn not_what_happens_beside_it() {
    let mut story = Story::of([producer(transactional(Protocol::Tv1)), producer(Delivery::Idempotent)]);
    story.open(0, 0, None);
    story.begin(0);
    story.sent(0, 0, &[1], 0);
    let commit = story.commit(0);
    story.sent(1, 1, &[3], 0);
    story.begin(0);
    story.answer(commit, HELD, nothing());
    story.abort(0);
    story.healed();
    story.read_at(RU, 0, 4, &[(0, 1)]);
    story.read_at(RC, 0, 4, &[]);
    story.read(1, 2, &[]);
    story.check_all(expect![[r#"
        no-loss/idempotent: e8 e9 e18: r3 of c1 was acknowledged in p1 at offset 0, but no read of p1 shows it
        atomicity/transactional: e2 e4 e5 e6 e7 e17: a transaction of c0 was committed, but its r1 in p0 is not shown to read_committed
    "#]]);
}

#[test]
fn a_late_save_moves_the_position_of_the_next_transaction() {
    let mut story = Story::of([looping(Protocol::Tv1)]);
    story.open(0, 0, None);
    story.begin(0);
    let save = story.saved_in_transaction(0, 3);
    story.commit(0);
    story.begin(0);
    story.saved_in_transaction(0, 5);
    story.answer(save, HELD, nothing());
    story.commit(0);
    story.committed(Some(3));
    story.check_all(expect![[r#"
        position/exactly-once: e4 e5 e6 e7 e10 e11 e12 e13 e14 e15: g0 was told that its position in p0 is 3 (an earlier save), where it had to be 5 (KAFKA-17754)
    "#]]);
}

#[test]
fn a_late_request_of_an_earlier_life_is_no_excuse() {
    let mut story = Story::of([producer(transactional(Protocol::Tv1))]);
    story.open(0, 0, None);
    story.begin(0);
    story.sent(0, 0, &[1], 0);
    let commit = story.call(0, Call::Commit);
    story.returns(commit, Outcome::Unknown);
    story.crash(0);
    story.open(0, 1, None);
    story.begin(0);
    story.sent(0, 0, &[2], 2);
    story.answer(commit, HELD, nothing());
    story.abort(0);
    story.healed();
    story.read(0, 4, &[(0, 1), (2, 2)]);
    story.check_all(expect![[r#"
        isolation/transactional: e11 e13 e16 e17 e20: c0 aborted its transaction, but the final read_committed read, reading committed, saw its r2 in p0 at offset 2
    "#]]);
}

#[test]
fn the_catalogue_names_what_violations_name() {
    assert_eq!(WEAKNESSES.iter().map(|weakness| weakness.id).collect::<Vec<_>>(), ["KAFKA-17754"]);
}
