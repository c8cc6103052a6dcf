//! What is said of groups, their positions and what they make of what they read.

use expect_test::expect;
use onceness_properties::Claim;
use onceness_reference::code::Code;
use onceness_reference::history::{Call, Outcome, Reply};
use onceness_reference::ids::{GroupId, Partition};
use onceness_reference::plan::{Delivery, Fate, Protocol, Saving};

use crate::story::{RC, RU, Story, looping, member, producer, reader, refused};

mod position {
    use super::*;

    const C: Claim = Claim::AtLeastOnce;

    fn story() -> Story {
        Story::of([reader(Saving::AfterProcessing), reader(Saving::AfterProcessing)])
    }

    #[test]
    fn holds() {
        let mut story = story();
        story.open(0, 0, None);
        story.saved(0, 3);
        story.open(1, 0, Some(3));
        story.committed(Some(3));
        story.check("position", C, expect!["holds, 3 times"]);
    }

    #[test]
    fn zero_instead_of_none() {
        let mut story = story();
        story.open(0, 0, Some(0));
        story.check(
            "position",
            C,
            expect!["e1: g0 was told that its position in p0 is 0, where it had to be none"],
        );
    }

    #[test]
    fn an_earlier_one() {
        let mut story = story();
        story.saved(0, 3);
        story.saved(0, 5);
        story.open(1, 0, Some(3));
        story.check("position", C, expect!["e0 e1 e2 e3 e5: g0 was told that its position in p0 is 3 (an earlier save), where it had to be 5"]);
    }

    #[test]
    fn none_after_a_save() {
        let mut story = story();
        story.saved(0, 3);
        story.committed(None);
        story.check(
            "position",
            C,
            expect!["e0 e1 e2: g0 was told that its position in p0 is none, where it had to be 3"],
        );
    }

    #[test]
    fn a_refused_one() {
        let mut story = story();
        let save = story.save(0, 3);
        story.returns(save, refused(Code::ILLEGAL_GENERATION));
        story.committed(Some(3));
        story.check("position", C, expect!["e0 e2: g0 was told that its position in p0 is 3 (whose save was refused), where it had to be none"]);
    }

    #[test]
    fn in_doubt_either_way() {
        for position in [None, Some(3)] {
            let mut story = story();
            let save = story.save(0, 3);
            story.returns(save, Outcome::Unknown);
            story.committed(position);
            story.accuses_none();
        }
    }

    #[test]
    fn in_doubt_but_the_rig_knows_that_it_was_done() {
        let mut story = story();
        let save = story.save(0, 3);
        story.answer(save, Fate::ReplyLost, crate::story::nothing());
        story.returns(save, Outcome::Unknown);
        story.committed(None);
        story.check(
            "position",
            C,
            expect!["e0 e1 e3: g0 was told that its position in p0 is none, where it had to be 3"],
        );
    }

    #[test]
    fn overlapping_saves_either_way() {
        for position in [3, 5] {
            let mut story = story();
            let first = story.save(0, 3);
            let second = story.save(1, 5);
            story.returns(first, crate::story::nothing());
            story.returns(second, crate::story::nothing());
            story.committed(Some(position));
            story.accuses_none();
        }
    }

    #[test]
    fn what_was_read_does_not_change_by_itself() {
        let mut story = story();
        let first = story.save(0, 3);
        let second = story.save(1, 5);
        story.returns(first, crate::story::nothing());
        story.returns(second, crate::story::nothing());
        story.open(0, 0, Some(3));
        story.committed(Some(5));
        story.check("position", C, expect!["e1 e3 e6: g0 was told that its position in p0 is 5 (an earlier save), where it had to be 3"]);
    }

    #[test]
    fn a_save_that_overlaps_the_read_either_way() {
        for position in [None, Some(3)] {
            let mut story = story();
            let save = story.save(0, 3);
            story.open(1, 0, position);
            story.returns(save, crate::story::nothing());
            story.accuses_none();
        }
    }

    #[test]
    fn a_rewind_reads_too() {
        let mut story = story();
        story.saved(0, 3);
        let positions = vec![(Partition(0), Some(1))];
        story.does(0, Call::Rewind, Outcome::Done(Reply::Positions(positions)));
        story.check(
            "position",
            C,
            expect!["e0 e1 e3: g0 was told that its position in p0 is 1, where it had to be 3"],
        );
    }

    fn in_transaction(end: Option<Call>, position: Option<i64>) -> Story {
        let mut story = Story::of([looping(Protocol::Tv2), looping(Protocol::Tv2)]);
        story.open(0, 0, None);
        story.begin(0);
        story.saved_in_transaction(0, 3);
        if let Some(end) = end {
            story.done(0, end);
        }
        story.open(1, 1, position);
        story
    }

    const E: Claim = Claim::ExactlyOnce;

    #[test]
    fn committed() {
        in_transaction(Some(Call::Commit), Some(3)).check("position", E, expect!["holds, 2 times"]);
        in_transaction(Some(Call::Commit), None).check(
            "position",
            E,
            expect![
                "e4 e5 e6 e7 e9: g0 was told that its position in p0 is none, where it had to be 3"
            ],
        );
    }

    #[test]
    fn aborted() {
        in_transaction(Some(Call::Abort), None).check("position", E, expect!["holds, 2 times"]);
        in_transaction(Some(Call::Abort), Some(3)).check("position", E, expect!["e4 e5 e6 e7 e9: g0 was told that its position in p0 is 3 (saved in a transaction that was not committed), where it had to be none"]);
    }

    #[test]
    fn pending() {
        in_transaction(None, None).check("position", E, expect!["holds, 2 times"]);
        in_transaction(None, Some(3)).check("position", E, expect!["e4 e5 e7: g0 was told that its position in p0 is 3 (saved in a transaction that was not committed), where it had to be none"]);
    }

    #[test]
    fn told_before_the_commit() {
        let mut story = Story::of([looping(Protocol::Tv2), looping(Protocol::Tv2)]);
        story.begin(0);
        story.saved_in_transaction(0, 3);
        let positions = vec![(Partition(0), Some(3))];
        story.does(1, Call::Rewind, Outcome::Done(Reply::Positions(positions)));
        story.commit(0);
        story.check("position", E, expect!["e2 e3 e5 e6 e7: g0 was told that its position in p0 is 3 (saved in a transaction that was still open), where it had to be none"]);
    }

    #[test]
    fn the_second_save_of_a_transaction_stands() {
        for (position, expected) in [
            (5, expect!["holds, 1 times"]),
            (
                3,
                expect![
                    "e2 e3 e4 e5 e6 e7 e8: g0 was told that its position in p0 is 3 (an earlier save), where it had to be 5"
                ],
            ),
        ] {
            let mut story = Story::of([looping(Protocol::Tv2)]);
            story.begin(0);
            story.saved_in_transaction(0, 3);
            story.saved_in_transaction(0, 5);
            story.commit(0);
            story.committed(Some(position));
            story.check("position", E, expected);
        }
    }

    #[test]
    fn a_late_copy_of_the_first_save_may_stand() {
        for position in [3, 5] {
            let mut story = Story::of([looping(Protocol::Tv2)]);
            story.begin(0);
            let first = story.saved_in_transaction(0, 3);
            story.saved_in_transaction(0, 5);
            story.answer(first, crate::story::HELD, crate::story::nothing());
            story.commit(0);
            story.committed(Some(position));
            story.accuses_none();
        }
    }

    #[test]
    fn untested_if_nobody_asks() {
        let mut story = story();
        story.saved(0, 3);
        story.check("position", C, expect!["untested"]);
    }
}

mod consume_at_most_once {
    use super::*;

    const C: Claim = Claim::AtMostOnce;

    fn story(client: (Option<Delivery>, Option<onceness_reference::plan::Consumer>)) -> Story {
        let mut story = Story::of([client.clone(), client, producer(Delivery::AtLeastOnce)]);
        story.sent(2, 0, &[1], 0);
        story.open(0, 0, None);
        story.saved(0, 1);
        story.process(0, &[1]);
        story
    }

    #[test]
    fn holds() {
        story(reader(Saving::BeforeProcessing)).check(
            "consume-at-most-once",
            C,
            expect!["holds, 1 times"],
        );
    }

    #[test]
    fn what_was_not_processed_is_not_put_to_the_test() {
        let mut story =
            Story::of([reader(Saving::BeforeProcessing), producer(Delivery::AtLeastOnce)]);
        story.sent(1, 0, &[1, 2], 0);
        story.process(0, &[1]);
        story.check("consume-at-most-once", C, expect!["holds, 1 times"]);
    }

    #[test]
    fn twice() {
        let mut story = story(reader(Saving::BeforeProcessing));
        story.crash(0);
        story.open(1, 0, None);
        story.process(1, &[1]);
        story.check("consume-at-most-once", C, expect!["e6 e10 e11: g0 processed r1 of p0 twice, though it saves its position before it processes"]);
    }

    #[test]
    fn twice_though_saves_came_one_after_another() {
        let mut story = story(reader(Saving::BeforeProcessing));
        story.saved(0, 2);
        story.crash(0);
        story.open(1, 0, None);
        story.process(1, &[1]);
        story.check("consume-at-most-once", C, expect!["e6 e12 e13: g0 processed r1 of p0 twice, though it saves its position before it processes"]);
    }

    #[test]
    fn twice_though_it_is_in_the_log_once() {
        let mut story = story(reader(Saving::BeforeProcessing));
        story.process(0, &[1]);
        story.healed();
        story.read(0, 1, &[(0, 1)]);
        story.check("consume-at-most-once", C, expect!["e6 e8: g0 processed r1 of p0 twice, though it saves its position before it processes"]);
    }

    /// Not when another group processed it, nor when the group processed another record.
    #[test]
    fn it_is_told_when_the_group_processed_the_record_first() {
        let mut other = crate::story::consumer(Saving::BeforeProcessing, false);
        other.group = GroupId(1);
        let ours = reader(Saving::BeforeProcessing);
        let mut story = Story::of([ours, (None, Some(other)), producer(Delivery::AtLeastOnce)]);
        story.sent(2, 0, &[1, 2], 0);
        story.process(1, &[1]);
        story.process(0, &[2]);
        story.process(0, &[1]);
        story.process(0, &[1]);
        story.check("consume-at-most-once", C, expect!["e6 e8: g0 processed r1 of p0 twice, though it saves its position before it processes"]);
    }

    /// Client 1 starts while client 0 is still at work.
    fn overlapping(member: bool) -> Story {
        let client = (None, Some(crate::story::consumer(Saving::BeforeProcessing, member)));
        let mut story = Story::of([client.clone(), client, producer(Delivery::AtLeastOnce)]);
        story.sent(2, 0, &[1], 0);
        story.open(0, 0, None);
        story.open(1, 0, None);
        story.process(0, &[1]);
        story.process(1, &[1]);
        story
    }

    #[test]
    fn instances_that_overlap_are_kept_apart_by_membership_only() {
        overlapping(false).check("consume-at-most-once", C, expect!["untested"]);
        overlapping(true).check("consume-at-most-once", C, expect!["e6 e8: g0 processed r1 of p0 twice, though it saves its position before it processes"]);
    }

    #[test]
    fn a_save_still_under_way_may_set_the_group_back() {
        let mut story =
            Story::of([member(Saving::BeforeProcessing), producer(Delivery::AtLeastOnce)]);
        story.sent(1, 0, &[1], 0);
        story.open(0, 0, None);
        let save = story.save(0, 1);
        story.returns(save, Outcome::Unknown);
        story.open(0, 0, None);
        story.saved(0, 2);
        story.process(0, &[1]);
        story.open(0, 0, Some(1));
        story.process(0, &[1]);
        story.healed();
        story.read(0, 1, &[(0, 1)]);
        story.check("consume-at-most-once", C, expect!["untested"]);
    }

    #[test]
    fn a_record_that_is_in_the_log_twice() {
        let mut story = story(reader(Saving::BeforeProcessing));
        story.process(0, &[1]);
        story.healed();
        story.read(0, 2, &[(0, 1), (1, 1)]);
        story.check("consume-at-most-once", C, expect!["holds, 1 times"]);
    }

    #[test]
    fn untested_if_nothing_is_processed() {
        let story = Story::of([reader(Saving::BeforeProcessing)]);
        story.check("consume-at-most-once", C, expect!["untested"]);
    }
}

mod consume_at_least_once {
    use super::*;

    fn story(processed: &[u32], position: Option<i64>) -> Story {
        let mut story =
            Story::of([reader(Saving::AfterProcessing), producer(Delivery::AtLeastOnce)]);
        story.sent(1, 0, &[1, 2], 0);
        story.process(0, processed);
        if let Some(position) = position {
            story.saved(0, position);
        }
        story.healed();
        story.read(0, 2, &[(0, 1), (1, 2)]);
        story.committed(position);
        story
    }

    #[test]
    fn holds() {
        story(&[1], Some(1)).check(
            "consume-at-least-once",
            Claim::AtLeastOnce,
            expect!["holds, 1 times"],
        );
    }

    #[test]
    fn one_was_never_processed() {
        story(&[1], Some(2)).check(
            "consume-at-least-once",
            Claim::AtLeastOnce,
            expect!["e0 e8 e9: g0 saved the position 2 in p0, but never processed r2 at offset 1"],
        );
    }

    #[test]
    fn what_the_group_is_not_shown_need_not_be_processed() {
        let mut story =
            Story::of([reader(Saving::AfterProcessing), producer(Delivery::AtLeastOnce)]);
        story.sent(1, 0, &[1, 2], 0);
        story.process(0, &[2]);
        story.saved(0, 2);
        story.healed();
        story.read_at(RU, 0, 2, &[(0, 1), (1, 2)]);
        story.read_at(RC, 0, 2, &[(1, 2)]);
        story.committed(Some(2));
        story.check("consume-at-least-once", Claim::AtLeastOnce, expect!["holds, 1 times"]);
    }

    #[test]
    fn untested_without_a_position() {
        story(&[1], None).check("consume-at-least-once", Claim::AtLeastOnce, expect!["untested"]);
    }
}

mod exactly_once {
    use super::*;

    const C: Claim = Claim::ExactlyOnce;

    /// Inputs 1 and 2; what was forwarded of them, how it ended, and what is in the log then.
    fn story(forwards: &[(u32, u32)], outputs: &[(i64, u32)], position: Option<i64>) -> Story {
        let mut story = Story::of([looping(Protocol::Tv2), producer(Delivery::AtLeastOnce)]);
        story.sent(1, 0, &[1, 2], 0);
        for (place, forward) in forwards.iter().enumerate() {
            story.begin(0);
            story.forwarded(0, &[*forward], place as i64);
            story.saved_in_transaction(0, 1);
            story.commit(0);
        }
        finish(&mut story, outputs, position);
        story
    }

    fn finish(story: &mut Story, outputs: &[(i64, u32)], position: Option<i64>) {
        story.healed();
        story.read(0, 2, &[(0, 1), (1, 2)]);
        story.read(1, 4, outputs);
        story.committed(position);
    }

    #[test]
    fn holds() {
        story(&[(11, 1)], &[(0, 11)], Some(1)).check("exactly-once", C, expect!["holds, 1 times"]);
    }

    #[test]
    fn no_output() {
        story(&[(11, 1)], &[], Some(1)).check("exactly-once", C, expect!["e0 e4 e8 e9 e15: the position of g0 in p0 is 1, so its input r1 at offset 0 has to have 1 committed outputs, but has 0"]);
    }

    #[test]
    fn two_outputs() {
        story(&[(11, 1), (12, 1)], &[(0, 11), (1, 12)], Some(1)).check("exactly-once", C, expect!["e0 e4 e8 e9 e12 e16 e17 e22 e23: the position of g0 in p0 is 1, so its input r1 at offset 0 has to have 1 committed outputs, but has 2"]);
    }

    #[test]
    fn an_output_above_the_position() {
        story(&[(11, 1)], &[(0, 11)], None).check("exactly-once", C, expect!["e0 e4 e8 e9 e14 e15: the position of g0 in p0 is 0, so its input r1 at offset 0 has to have 0 committed outputs, but has 1"]);
    }

    #[test]
    fn a_loop_that_does_not_save_is_not_judged() {
        let mut story = Story::of([looping(Protocol::Tv2), producer(Delivery::AtLeastOnce)]);
        story.sent(1, 0, &[1, 2], 0);
        story.begin(0);
        story.forwarded(0, &[(11, 1)], 0);
        story.commit(0);
        finish(&mut story, &[(0, 11)], None);
        story.check("exactly-once", C, expect!["untested"]);
    }

    #[test]
    fn a_position_that_was_saved_outside_the_transaction_is_judged_all_the_same() {
        let mut story = Story::of([looping(Protocol::Tv2), producer(Delivery::AtLeastOnce)]);
        story.sent(1, 0, &[1, 2], 0);
        story.begin(0);
        story.forwarded(0, &[(11, 1)], 0);
        story.saved(0, 1);
        story.abort(0);
        finish(&mut story, &[], Some(1));
        story.check("exactly-once", C, expect!["e0 e4 e8 e9 e15: the position of g0 in p0 is 1, so its input r1 at offset 0 has to have 1 committed outputs, but has 0"]);
    }

    #[test]
    fn two_loops_that_nothing_keeps_apart_are_not_judged() {
        let mut other = looping(Protocol::Tv2);
        other.0 = Some(Delivery::Transactional {
            txn: onceness_reference::ids::TxnId(1),
            protocol: Protocol::Tv2,
        });
        let mut story = Story::of([looping(Protocol::Tv2), other, producer(Delivery::AtLeastOnce)]);
        story.sent(2, 0, &[1, 2], 0);
        finish(&mut story, &[], Some(1));
        story.check("exactly-once", C, expect!["untested"]);
    }

    #[test]
    fn what_others_make_of_an_input_does_not_count() {
        let mut story = Story::of([looping(Protocol::Tv2), producer(Delivery::AtLeastOnce)]);
        story.sent(1, 0, &[1, 2], 0);
        story.begin(0);
        story.forwarded(0, &[(11, 1)], 0);
        story.saved_in_transaction(0, 1);
        story.commit(0);
        story.forwarded(1, &[(12, 1)], 1);
        finish(&mut story, &[(0, 11), (1, 12)], Some(1));
        story.check("exactly-once", C, expect!["holds, 1 times"]);
    }

    #[test]
    fn an_input_below_the_position_is_put_to_the_test_without_a_transaction_too() {
        let mut story = Story::of([looping(Protocol::Tv2), producer(Delivery::AtLeastOnce)]);
        story.sent(1, 0, &[1, 2], 0);
        story.forwarded(0, &[(11, 1)], 0);
        story.saved(0, 1);
        finish(&mut story, &[(0, 11)], Some(1));
        story.check("exactly-once", C, expect!["holds, 1 times"]);
    }

    #[test]
    fn an_output_that_was_aborted_is_put_to_the_test() {
        let mut story = Story::of([looping(Protocol::Tv2), producer(Delivery::AtLeastOnce)]);
        story.sent(1, 0, &[1, 2], 0);
        story.begin(0);
        story.forwarded(0, &[(11, 1)], 0);
        story.saved_in_transaction(0, 1);
        story.abort(0);
        finish(&mut story, &[], None);
        story.check("exactly-once", C, expect!["holds, 1 times"]);
    }

    #[test]
    fn an_aborted_input_is_none() {
        let mut story = Story::of([looping(Protocol::Tv2), producer(Delivery::AtLeastOnce)]);
        story.sent(1, 0, &[1, 2], 0);
        story.healed();
        story.read_at(RU, 0, 2, &[(0, 1), (1, 2)]);
        story.read_at(RC, 0, 2, &[(1, 2)]);
        story.read(1, 0, &[]);
        story.committed(Some(1));
        story.check("exactly-once", C, expect!["untested"]);
    }

    #[test]
    fn untested_without_an_epilogue() {
        Story::of([looping(Protocol::Tv2)]).check("exactly-once", C, expect!["untested"]);
    }
}
