//! What a weakness of the protocol explains, and what it does not.

use expect_test::expect;
use onceness_properties::Claim;
use onceness_properties::weakness::WEAKNESSES;
use onceness_reference::code::Code;
use onceness_reference::exchanges::{Exchange, Lane};
use onceness_reference::history::{Call, Event, Outcome, Reply};
use onceness_reference::ids::{ClientId, EventId, GroupId, Partition, TxnId};
use onceness_reference::plan::{Delivery, Fate, Protocol};
use onceness_reference::protocol::{Batch, Request, Response, Session};

use crate::story::{
    HELD, RC, RU, Story, appended, looping, nothing, producer, refused, transactional,
};

/// The abort of a first transaction is held and arrives in the second, which is then committed.
fn torn(protocol: Protocol) -> Story {
    torn_by(protocol, HELD, nothing())
}

fn torn_by(protocol: Protocol, fate: Fate, late: Outcome) -> Story {
    let mut story = Story::of([producer(transactional(protocol)), producer(Delivery::Idempotent)]);
    story.open(0, 0, None);
    story.begin(0);
    story.sent(0, 0, &[1], 0);
    let abort = story.abort(0);
    story.begin(0);
    story.sent(0, 0, &[2], 2);
    story.answer(abort, fate, late);
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
    let mut story =
        Story::of([producer(transactional(Protocol::Tv1)), producer(Delivery::Idempotent)]);
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

/// A loop whose first transaction saved a position, of which a copy may come late.
fn saved_once() -> (Story, EventId) {
    let mut story = Story::of([looping(Protocol::Tv1)]);
    story.open(0, 0, None);
    story.begin(0);
    let save = story.saved_in_transaction(0, 3);
    story.commit(0);
    (story, save)
}

#[test]
fn a_late_save_moves_the_position_of_the_next_transaction() {
    let (mut story, save) = saved_once();
    story.begin(0);
    story.saved_in_transaction(0, 5);
    story.answer(save, HELD, nothing());
    story.commit(0);
    story.committed(Some(3));
    story.check_all(expect![[r#"
        position/exactly-once: e4 e5 e6 e7 e10 e11 e12 e13 e14 e15: g0 was told that its position in p0 is 3 (an earlier save), where it had to be 5 (KAFKA-17754)
    "#]]);
}

/// What the group is told was never saved, and another transaction came after the one that the late save got into.
#[test]
fn a_late_save_explains_no_other_position_than_its_own() {
    let (mut story, save) = saved_once();
    for position in [5, 7] {
        story.begin(0);
        story.saved_in_transaction(0, position);
        if position == 5 {
            story.answer(save, HELD, nothing());
        }
        story.commit(0);
    }
    story.committed(Some(1));
    story.check_all(expect![[r#"
        position/exactly-once: e17 e18 e19 e20 e21: g0 was told that its position in p0 is 1, where it had to be 7
    "#]]);
}

#[test]
fn a_late_save_explains_nothing_that_was_told_before_it() {
    let (mut story, save) = saved_once();
    story.begin(0);
    story.saved_in_transaction(0, 5);
    story.commit(0);
    let positions = vec![(Partition(0), Some(3))];
    story.does(0, Call::Rewind, Outcome::Done(Reply::Positions(positions)));
    story.begin(0);
    story.answer(save, HELD, nothing());
    story.commit(0);
    story.check_all(expect![[r#"
        position/exactly-once: e4 e5 e6 e7 e10 e11 e12 e13 e15: g0 was told that its position in p0 is 3 (an earlier save), where it had to be 5
    "#]]);
}

#[test]
fn a_late_end_finds_its_client_dead() {
    let mut story = Story::of([producer(transactional(Protocol::Tv1))]);
    story.open(0, 0, None);
    story.begin(0);
    story.sent(0, 0, &[1], 0);
    let commit = story.commit(0);
    story.begin(0);
    story.sent(0, 0, &[2], 2);
    story.crash(0);
    story.answer(commit, HELD, nothing());
    story.healed();
    story.read(0, 4, &[(0, 1), (2, 2)]);
    story.check_all(expect![[r#"
        isolation/transactional: e8 e10 e13 e16: c0 left its transaction open, but its r2 in p0 at offset 2 was shown to the final reader at read_committed (KAFKA-17754)
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
        isolation/transactional: e11 e13 e16 e17 e20: c0 aborted its transaction, but its r2 in p0 at offset 2 was shown to the final reader at read_committed
    "#]]);
}

#[test]
fn a_late_send_of_an_aborted_transaction_is_appended_to_the_next() {
    let mut story = Story::of([producer(transactional(Protocol::Tv1))]);
    story.open(0, 0, None);
    story.begin(0);
    let send = story.send(0, 0, &[1]);
    story.returns(send, Outcome::Unknown);
    story.abort(0);
    story.begin(0);
    let second = story.sent(0, 0, &[2], 0);
    story.answer(send, HELD, appended(1));
    story.does(0, Call::Commit, refused(Code::INVALID_TXN_STATE));
    story.healed();
    story.read(0, 3, &[(0, 2), (1, 1)]);
    let _ = second;
    story.check_all(expect![[r#"
        order/transactional: e4 e10 e16: c0 sent r1 before r2, but in p0 they are at offsets 1 and 0 (KAFKA-17754)
        isolation/transactional: e8 e10 e12 e13 e14 e17: c0 was refused the commit of its transaction, but its r2 in p0 at offset 0 was shown to the final reader at read_committed (KAFKA-17754)
        e2 e4 e6 e7 e12 e17: c0 aborted its transaction, but its r1 in p0 at offset 1 was shown to the final reader at read_committed (KAFKA-17754)
    "#]]);
}

/// Of two inputs a loop has done the first. The save of its position is told too, of which a copy may come late.
fn looped_once() -> (Story, EventId) {
    let mut story = Story::of([looping(Protocol::Tv1), producer(Delivery::AtLeastOnce)]);
    story.sent(1, 0, &[1, 2], 0);
    story.open(0, 0, None);
    story.begin(0);
    story.forwarded(0, &[(11, 1)], 0);
    let save = story.saved_in_transaction(0, 1);
    story.commit(0);
    (story, save)
}

/// The position of the first transaction comes late and sets back the second, so the third makes the same output again.
#[test]
fn a_late_save_makes_a_loop_repeat_itself() {
    let (mut story, save) = looped_once();
    for (tag, base) in [(12, 2), (13, 4)] {
        story.begin(0);
        story.forwarded(0, &[(tag, 2)], base);
        story.saved_in_transaction(0, 2);
        if tag == 12 {
            story.answer(save, HELD, nothing());
        }
        story.commit(0);
    }
    story.healed();
    story.read(0, 2, &[(0, 1), (1, 2)]);
    story.read(1, 6, &[(0, 11), (2, 12), (4, 13)]);
    story.committed(Some(2));
    story.check_all(expect![[r#"
        exactly-once/exactly-once: e0 e14 e18 e19 e20 e23 e27 e28 e33 e34: the position of g0 in p0 is 2, so its input r2 at offset 1 has to have 1 committed outputs, but has 2 (KAFKA-17754)
    "#]]);
}

/// The same, but the transaction into which it comes makes nothing: only the position is wrong.
#[test]
fn a_late_save_moves_a_position_back_below_what_is_done() {
    let (mut story, save) = looped_once();
    story.begin(0);
    story.forwarded(0, &[(12, 2)], 2);
    story.saved_in_transaction(0, 2);
    story.commit(0);
    story.begin(0);
    story.answer(save, HELD, nothing());
    story.commit(0);
    story.healed();
    story.read(0, 2, &[(0, 1), (1, 2)]);
    story.read(1, 4, &[(0, 11), (2, 12)]);
    story.committed(Some(1));
    story.check_all(expect![[r#"
        atomicity/exactly-once: e12 e16 e18 e19 e30: the records of a transaction of c0 are visible, but g0 was not told the position 2 in p0 that was saved in it (KAFKA-17754)
        position/exactly-once: e8 e9 e10 e11 e16 e17 e18 e19 e30: g0 was told that its position in p0 is 1 (an earlier save), where it had to be 2 (KAFKA-17754)
        exactly-once/exactly-once: e0 e14 e18 e19 e29 e30: the position of g0 in p0 is 1, so its input r2 at offset 1 has to have 0 committed outputs, but has 1 (KAFKA-17754)
    "#]]);
}

#[test]
fn a_torn_transaction_may_leave_its_partition_open() {
    let mut story = Story::of([producer(transactional(Protocol::Tv1))]);
    story.open(0, 0, None);
    story.begin(0);
    story.sent(0, 0, &[1], 0);
    let abort = story.abort(0);
    story.begin(0);
    story.answer(abort, HELD, nothing());
    story.sent(0, 0, &[2], 2);
    story.does(0, Call::Commit, refused(Code::INVALID_TXN_STATE));
    story.healed();
    for partition in [0, 1] {
        story.event(Event::Read {
            partition: Partition(partition),
            isolation: RC,
            high_watermark: 3,
            last_stable: Some(2),
            records: Vec::new(),
        });
    }
    story.check_all(expect![[r#"
        progress/transactional: e16: after healing, the last stable offset of p0 is 2, not the high watermark 3 (KAFKA-17754)
        e17: after healing, the last stable offset of p1 is 2, not the high watermark 3
    "#]]);
}

/// Of a session that nobody was given a write was taken in, or of one that somebody was.
#[test]
fn a_write_of_the_next_epoch_may_leave_all_open() {
    let write = |session| {
        let batch = Batch { session: Some(session), first_sequence: 0, records: Vec::new() };
        let (partition, txn) = (Partition(0), Some((TxnId(0), Protocol::Tv1)));
        let request = Request::Produce { partition, batch, acks: true, txn };
        (request, Response::Appended(Some(1)))
    };
    let save = |session| {
        let (txn, group, protocol) = (TxnId(0), GroupId(0), Protocol::Tv1);
        let positions = vec![(Partition(0), 1)];
        let request = Request::SaveInTxn { txn, session, protocol, group, member: None, positions };
        (request, Response::Done)
    };
    let stuck = |epoch, taken: &dyn Fn(Session) -> (Request, Response)| {
        let mut story = Story::of([producer(transactional(Protocol::Tv1))]);
        story.healed();
        story.event(Event::Stuck { what: "t0 gets no new instance".to_owned() });
        story.event(Event::Read {
            partition: Partition(0),
            isolation: RC,
            high_watermark: 2,
            last_stable: Some(0),
            records: Vec::new(),
        });
        let session = Session { producer: 7, epoch: 0 };
        let init = Request::InitProducer { txn: Some(TxnId(0)), expected: None };
        let requests = [(init, Response::Producer(session)), taken(Session { epoch, ..session })];
        for (request, response) in requests {
            let of = story.history.exchanges.len() as u32;
            let lane = Lane::Client(ClientId(0));
            story.history.exchanges.push(Exchange::Asked { after: None, lane, request });
            story.history.exchanges.push(Exchange::Answered { of, answer: Ok(response) });
        }
        story
    };
    for taken in [&write as &dyn Fn(Session) -> (Request, Response), &save] {
        stuck(1, taken).check("progress", Claim::Transactional, expect![[r#"
        e1: after healing, this did not go on: t0 gets no new instance (KAFKA-14563)
        e2: after healing, the last stable offset of p0 is 0, not the high watermark 2 (KAFKA-14563)"#]]);
    }
    stuck(0, &write).check(
        "progress",
        Claim::Transactional,
        expect![[r#"
        e1: after healing, this did not go on: t0 gets no new instance
        e2: after healing, the last stable offset of p0 is 0, not the high watermark 2"#]],
    );
}

#[test]
fn the_catalogue_names_what_violations_name() {
    assert_eq!(
        WEAKNESSES.iter().map(|weakness| weakness.id).collect::<Vec<_>>(),
        ["KAFKA-17754", "KAFKA-15591", "KAFKA-14563"]
    );
}

/// The first batch is refused for now, the second is appended, and the client takes that for both.
fn passed_over(before: Option<u32>, refused_first: bool) -> Story {
    let mut story = Story::of([producer(Delivery::Idempotent)]);
    if let Some(tag) = before {
        story.sent(0, 0, &[tag], 0);
    }
    let first = story.send(0, 0, &[1]);
    let second = story.send(0, 0, &[2]);
    if refused_first {
        story.answer(first, Fate::Busy, refused(Code::NOT_ENOUGH_REPLICAS));
    }
    let base = i64::from(before.is_some());
    story.returns(second, appended(base));
    story.returns(first, Outcome::Done(Reply::Appended { base: None }));
    story.healed();
    let mut records: Vec<(i64, u32)> = before.map(|tag| (0, tag)).into_iter().collect();
    records.push((base, 2));
    story.read(0, base + 1, &records);
    story
}

#[test]
fn the_first_batch_of_a_producer_is_passed_over() {
    passed_over(None, true).check_all(expect![[r#"
        no-loss/idempotent: e0 e4 e6: r1 of c0 was acknowledged in p0, but no read of p0 shows it (KAFKA-15591)
    "#]]);
}

/// The same in a transaction that is then aborted: read_uncommitted should show it all the same.
#[test]
fn a_first_batch_of_an_aborted_transaction_is_passed_over() {
    let mut story = Story::of([producer(transactional(Protocol::Tv1))]);
    story.open(0, 0, None);
    story.begin(0);
    let first = story.send(0, 0, &[1]);
    let second = story.send(0, 0, &[2]);
    story.answer(first, Fate::Busy, refused(Code::NOT_ENOUGH_REPLICAS));
    story.returns(second, appended(0));
    story.returns(first, Outcome::Done(Reply::Appended { base: None }));
    let abort = story.abort(0);
    story.returns(abort, nothing());
    story.healed();
    story.read_at(RU, 0, 2, &[(0, 2)]);
    story.read_at(RC, 0, 2, &[]);
    story.check_all(expect![[r#"
        isolation/transactional: e4 e8 e13: r1 of c0 was acknowledged in p0 in a transaction that was then aborted, but read_uncommitted does not show it (KAFKA-15591)
    "#]]);
}

/// The same with another refusal, another producer, or the second batch sent only when the first was settled.
fn not_passed_over(delivery: Delivery, code: Code, apart: bool) -> Story {
    let mut story = Story::of([producer(delivery)]);
    let first = story.send(0, 0, &[1]);
    story.answer(first, Fate::Busy, refused(code));
    let implied = Outcome::Done(Reply::Appended { base: None });
    if apart {
        story.returns(first, implied.clone());
    }
    let second = story.send(0, 0, &[2]);
    story.returns(second, appended(0));
    if !apart {
        story.returns(first, implied);
    }
    story.healed();
    story.read(0, 1, &[(0, 2)]);
    story
}

/// librdkafka's records are calls of their own, and travel together.
#[test]
fn all_records_of_a_first_batch_are_passed_over() {
    let mut story = Story::of([producer(Delivery::Idempotent)]);
    let sends = [story.send(0, 0, &[1]), story.send(0, 0, &[2])];
    let next = story.send(0, 0, &[3]);
    for send in sends {
        story.answer(send, Fate::Busy, refused(Code::NOT_ENOUGH_REPLICAS));
    }
    for send in sends {
        story.returns(send, Outcome::Done(Reply::Appended { base: None }));
    }
    story.returns(next, appended(0));
    story.healed();
    story.read(0, 1, &[(0, 3)]);
    story.check_all(expect![[r#"
        no-loss/idempotent: e0 e5 e9: r1 of c0 was acknowledged in p0, but no read of p0 shows it (KAFKA-15591)
        e1 e6 e9: r2 of c0 was acknowledged in p0, but no read of p0 shows it (KAFKA-15591)
    "#]]);
}

#[test]
fn a_first_batch_is_passed_over_only_by_one_in_flight_with_it_and_only_of_a_producer_with_sequences()
 {
    let later = Code::NOT_ENOUGH_REPLICAS;
    not_passed_over(Delivery::Idempotent, later, true).check_all(expect![[r#"
        no-loss/idempotent: e0 e2 e6: r1 of c0 was acknowledged in p0, but no read of p0 shows it
    "#]]);
    not_passed_over(Delivery::AtLeastOnce, later, false).check_all(expect![[r#"
        no-loss/at-least-once: e0 e4 e6: r1 of c0 was acknowledged in p0, but no read of p0 shows it
    "#]]);
    let for_good = Code::OUT_OF_ORDER_SEQUENCE_NUMBER;
    not_passed_over(Delivery::Idempotent, for_good, false).check_all(expect![[r#"
        no-loss/idempotent: e0 e4 e6: r1 of c0 was acknowledged in p0, but no read of p0 shows it
    "#]]);
}

#[test]
fn no_other_loss_is_explained_by_a_first_batch_that_was_passed_over() {
    passed_over(Some(7), true).check_all(expect![[r#"
        no-loss/idempotent: e2 e6 e8: r1 of c0 was acknowledged in p0, but no read of p0 shows it
    "#]]);
    passed_over(None, false).check_all(expect![[r#"
        no-loss/idempotent: e0 e3 e5: r1 of c0 was acknowledged in p0, but no read of p0 shows it
    "#]]);
}

/// Its first batch was put off, too, but appended in the end: the broker knew the producer.
#[test]
fn the_batch_behind_one_that_was_put_off_and_appended_is_not_the_first() {
    let mut story = Story::of([producer(Delivery::Idempotent)]);
    let first = story.send(0, 0, &[7]);
    story.answer(first, Fate::Busy, refused(Code::NOT_ENOUGH_REPLICAS));
    story.returns(first, appended(0));
    let lost = story.send(0, 0, &[1]);
    let next = story.send(0, 0, &[2]);
    story.answer(lost, Fate::Busy, refused(Code::NOT_ENOUGH_REPLICAS));
    story.returns(next, appended(1));
    story.returns(lost, Outcome::Done(Reply::Appended { base: None }));
    story.healed();
    story.read(0, 2, &[(0, 7), (1, 2)]);
    story.check_all(expect![[r#"
        no-loss/idempotent: e3 e7 e9: r1 of c0 was acknowledged in p0, but no read of p0 shows it
    "#]]);
}

/// Then it was appended, whatever the client made of other answers.
#[test]
fn a_first_batch_that_was_acknowledged_with_an_offset_was_not_passed_over() {
    let mut story = Story::of([producer(Delivery::Idempotent)]);
    let first = story.send(0, 0, &[1]);
    let second = story.send(0, 0, &[2]);
    story.answer(first, Fate::Busy, refused(Code::NOT_ENOUGH_REPLICAS));
    story.returns(second, appended(1));
    story.returns(first, appended(0));
    story.healed();
    story.read(0, 2, &[(1, 2)]);
    story.check_all(expect![[r#"
        no-loss/idempotent: e0 e4 e6: r1 of c0 was acknowledged in p0 at offset 0, but no read of p0 shows it
    "#]]);
}

#[test]
fn a_late_end_whose_answer_went_with_the_broker_may_have_torn_the_next_transaction() {
    torn_by(Protocol::Tv1, HELD, Outcome::Unknown).check_all(expect![[r#"
        atomicity/transactional: e8 e10 e11 e12 e13 e15 e16 e19 e21: a transaction of c0 was committed, but its r2 in p0 is not shown to read_committed (KAFKA-17754)
    "#]]);
    torn_by(Protocol::Tv1, Fate::RequestLost, Outcome::Unknown).check_all(expect![[r#"
        atomicity/transactional: e8 e10 e11 e13 e15 e16 e19 e21: a transaction of c0 was committed, but its r2 in p0 is not shown to read_committed
    "#]]);
    torn_by(Protocol::Tv2, HELD, Outcome::Unknown).check_all(expect![[r#"
        atomicity/transactional: e8 e10 e11 e13 e15 e16 e19 e21: a transaction of c0 was committed, but its r2 in p0 is not shown to read_committed
    "#]]);
}
