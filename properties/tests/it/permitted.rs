//! What Kafka permits: no property accuses it.

use onceness_reference::code::Code;
use onceness_reference::history::{Call, Outcome};
use onceness_reference::plan::{Delivery, Fate, Protocol, Saving};

use crate::story::{
    HELD, RC, RU, Story, appended, nothing, opened, producer, reader, refused, transactional,
};

fn transaction() -> Story {
    let mut story =
        Story::of([producer(transactional(Protocol::Tv2)), reader(Saving::AfterProcessing)]);
    story.begin(0);
    story.sent(0, 0, &[1], 0);
    story.sent(0, 1, &[2], 0);
    story
}

#[test]
fn gaps_of_markers() {
    let mut story = transaction();
    story.commit(0);
    story.begin(0);
    story.sent(0, 0, &[3], 2);
    story.commit(0);
    story.healed();
    story.read(0, 4, &[(0, 1), (2, 3)]);
    story.read(1, 2, &[(0, 2)]);
    story.accuses_none();
}

#[test]
fn late_visibility_after_a_commit() {
    let mut story = transaction();
    story.commit(0);
    story.polled(1, 0, 0, &[]);
    story.polled(1, 0, 2, &[(0, 1)]);
    story.healed();
    story.read(0, 2, &[(0, 1)]);
    story.read(1, 2, &[(0, 2)]);
    story.accuses_none();
}

#[test]
fn visibility_in_one_partition_before_the_other() {
    let mut story = transaction();
    let commit = story.call(0, Call::Commit);
    story.polled(1, 0, 2, &[(0, 1)]);
    story.returns(commit, crate::story::nothing());
    story.healed();
    story.read(0, 2, &[(0, 1)]);
    story.read(1, 2, &[(0, 2)]);
    story.accuses_none();
}

#[test]
fn a_batch_that_arrives_between_the_final_reads() {
    let mut story = Story::of([producer(Delivery::AtMostOnce)]);
    let send = story.send(0, 0, &[1]);
    story.returns(send, Outcome::Unknown);
    story.healed();
    story.read_at(RU, 0, 0, &[]);
    story.read_at(RC, 0, 1, &[(0, 1)]);
    story.accuses_none();
}

#[test]
fn a_late_copy_behind_a_successor_that_opened_while_the_first_was_under_way() {
    let instance = || producer(transactional(Protocol::Tv2));
    let mut story = Story::of([instance(), instance()]);
    story.open(0, 0, None);
    story.begin(0);
    let send = story.send(0, 0, &[1]);
    // The successor's epoch rose after the batch was appended; only its answer was heard of first.
    story.open(1, 1, None);
    story.answer(send, Fate::Repeated, appended(0));
    story.answer(send, Fate::Repeated, refused(Code::INVALID_PRODUCER_EPOCH));
    story.returns(send, appended(0));
    story.crash(0);
    story.healed();
    story.read_at(RU, 0, 2, &[(0, 1)]);
    story.read_at(RC, 0, 2, &[]);
    story.accuses_none();
}

#[test]
fn unknown_outcomes_either_way() {
    for delivery in [Delivery::AtMostOnce, Delivery::AtLeastOnce, Delivery::Idempotent] {
        for records in [&[][..], &[(0, 1)]] {
            let mut story = Story::of([producer(delivery)]);
            let send = story.send(0, 0, &[1]);
            story.returns(send, Outcome::Unknown);
            story.crash(0);
            story.healed();
            story.read(0, 1, records);
            story.accuses_none();
        }
    }
}

#[test]
fn duplicates_of_at_least_once() {
    let mut story = Story::of([producer(Delivery::AtLeastOnce)]);
    let send = story.send(0, 0, &[1]);
    story.answer(send, Fate::ReplyLost, appended(0));
    story.answer(send, Fate::Delivered, appended(1));
    story.returns(send, appended(1));
    story.answer(send, HELD, appended(2));
    story.healed();
    story.read(0, 3, &[(0, 1), (1, 1), (2, 1)]);
    story.accuses_none();
}

#[test]
fn losses_of_at_most_once() {
    let mut story = Story::of([producer(Delivery::AtMostOnce)]);
    let send = story.send(0, 0, &[1]);
    story.answer(send, Fate::RequestLost, Outcome::Unknown);
    story.returns(send, Outcome::Unknown);
    story.sent(0, 0, &[2], 0);
    story.healed();
    story.read(0, 1, &[(0, 2)]);
    story.accuses_none();
}

#[test]
fn what_was_put_off_in_the_brokers_name() {
    for protocol in [Protocol::Tv1, Protocol::Tv2] {
        let mut story = Story::of([producer(transactional(protocol))]);
        let open = story.call(0, Call::Open);
        story.answer(open, Fate::Busy, refused(Code::COORDINATOR_LOAD_IN_PROGRESS));
        story.answer(open, Fate::Delivered, opened(0, None));
        story.returns(open, opened(0, None));
        story.begin(0);
        let send = story.send(0, 0, &[1]);
        story.answer(send, Fate::Busy, refused(Code::NOT_ENOUGH_REPLICAS));
        story.answer(send, Fate::Delivered, appended(0));
        story.returns(send, appended(0));
        let commit = story.call(0, Call::Commit);
        story.answer(commit, Fate::Busy, refused(Code::COORDINATOR_LOAD_IN_PROGRESS));
        story.answer(commit, Fate::Delivered, nothing());
        story.returns(commit, nothing());
        // One that gives up has sent nothing.
        story.begin(0);
        let send = story.send(0, 0, &[2]);
        story.answer(send, Fate::Busy, refused(Code::NOT_ENOUGH_REPLICAS));
        story.returns(send, Outcome::Unknown);
        story.crash(0);
        story.healed();
        story.read(0, 2, &[(0, 1)]);
        story.accuses_none();
    }
}

#[test]
fn interleaved_transactions_in_any_order() {
    let mut other = transactional(Protocol::Tv2);
    if let Delivery::Transactional { txn, .. } = &mut other {
        txn.0 = 1;
    }
    let mut story = Story::of([producer(transactional(Protocol::Tv2)), producer(other)]);
    story.begin(0);
    story.begin(1);
    story.sent(0, 0, &[1], 0);
    story.sent(1, 0, &[2], 1);
    story.sent(1, 1, &[3], 0);
    story.sent(0, 1, &[4], 1);
    story.commit(1);
    story.abort(0);
    story.healed();
    story.read_at(RU, 0, 4, &[(0, 1), (1, 2)]);
    story.read_at(RC, 0, 4, &[(1, 2)]);
    story.read_at(RU, 1, 4, &[(0, 3), (1, 4)]);
    story.read_at(RC, 1, 4, &[(0, 3)]);
    story.accuses_none();
}

#[test]
fn a_transaction_left_open_is_aborted() {
    let mut story = transaction();
    story.crash(0);
    story.healed();
    story.read_at(RU, 0, 2, &[(0, 1)]);
    story.read_at(RC, 0, 2, &[]);
    story.accuses_none();
}
