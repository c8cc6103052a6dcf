//! What is said of the log itself.

use expect_test::expect;
use onceness_properties::Claim;
use onceness_reference::code::Code;
use onceness_reference::history::Outcome;
use onceness_reference::plan::{Delivery, Fate, Protocol};

use crate::story::{CORRUPT, HELD, RC, RU, Story, appended, producer, transactional};

mod no_loss {
    use super::*;

    fn story(end: &[(i64, u32)]) -> Story {
        let mut story = Story::of([producer(Delivery::AtLeastOnce)]);
        story.sent(0, 0, &[1, 2], 0);
        story.healed();
        story.read(0, 2, end);
        story
    }

    #[test]
    fn holds() {
        story(&[(0, 1), (1, 2)]).check("no-loss", Claim::AtLeastOnce, expect!["holds, 2 times"]);
    }

    #[test]
    fn a_lost_record() {
        story(&[(0, 1)]).check(
            "no-loss",
            Claim::AtLeastOnce,
            expect![
                "e0 e1 e3: r2 of c0 was acknowledged in p0 at offset 1, but no read of p0 shows it"
            ],
        );
    }

    #[test]
    fn an_acknowledgement_that_was_itself_lost_counts() {
        let mut story = Story::of([producer(Delivery::Idempotent)]);
        let send = story.send(0, 0, &[1]);
        story.answer(send, Fate::ReplyLost, appended(0));
        story.returns(send, Outcome::Unknown);
        story.healed();
        story.read(0, 0, &[]);
        story.check(
            "no-loss",
            Claim::Idempotent,
            expect![
                "e0 e1 e4: r1 of c0 was acknowledged in p0 at offset 0, but no read of p0 shows it"
            ],
        );
    }

    #[test]
    fn a_poll_that_skips() {
        let mut story = Story::of([
            producer(Delivery::AtLeastOnce),
            crate::story::reader(onceness_reference::plan::Saving::AfterProcessing),
        ]);
        story.sent(0, 0, &[1, 2], 0);
        story.polled(1, 0, 2, &[(1, 2)]);
        story.healed();
        story.read(0, 2, &[(0, 1), (1, 2)]);
        story.check("no-loss", Claim::AtLeastOnce, expect!["e3 e6: c1 read p0 from offset 0 up to 2 and was not handed r1 at offset 0, which the final read shows"]);
    }

    #[test]
    fn a_poll_that_skips_is_owed_what_it_read_past_only() {
        let mut story = Story::of([
            producer(Delivery::AtLeastOnce),
            crate::story::reader(onceness_reference::plan::Saving::AfterProcessing),
        ]);
        story.sent(0, 0, &[1, 2, 3], 0);
        story.polled(1, 1, 3, &[(2, 3)]);
        story.healed();
        story.read(0, 3, &[(0, 1), (1, 2), (2, 3)]);
        story.check("no-loss", Claim::AtLeastOnce, expect!["e3 e6: c1 read p0 from offset 1 up to 3 and was not handed r2 at offset 1, which the final read shows"]);
    }

    /// Farther than a look at one offset after another goes.
    #[test]
    fn a_poll_that_skips_far() {
        let mut story = Story::of([
            producer(Delivery::AtLeastOnce),
            crate::story::reader(onceness_reference::plan::Saving::AfterProcessing),
        ]);
        let tags: Vec<u32> = (1..=40).collect();
        let log: Vec<(i64, u32)> = (0..).zip(tags.iter().copied()).collect();
        story.sent(0, 0, &tags, 0);
        story.polled(1, 0, 40, &log[39..]);
        story.healed();
        story.read(0, 40, &log);
        story.check("no-loss", Claim::AtLeastOnce, expect!["e3 e6: c1 read p0 from offset 0 up to 40 and was not handed r1 at offset 0, which the final read shows"]);
    }

    #[test]
    fn untested_without_final_reads() {
        let mut story = Story::of([producer(Delivery::AtLeastOnce)]);
        story.sent(0, 0, &[1], 0);
        story.check("no-loss", Claim::AtLeastOnce, expect!["untested"]);
    }
}

mod no_duplicate {
    use super::*;

    fn story(delivery: Delivery, end: &[(i64, u32)]) -> Story {
        let mut story = Story::of([producer(delivery)]);
        let send = story.send(0, 0, &[1]);
        story.returns(send, Outcome::Unknown);
        story.healed();
        story.read(0, 2, end);
        story
    }

    #[test]
    fn holds() {
        story(Delivery::Idempotent, &[(0, 1)]).check(
            "no-duplicate",
            Claim::Idempotent,
            expect!["holds, 1 times"],
        );
    }

    #[test]
    fn idempotent_twice() {
        story(Delivery::Idempotent, &[(0, 1), (1, 1)]).check(
            "no-duplicate",
            Claim::Idempotent,
            expect!["e0 e3: r1, sent once by c0, is in p0 at offsets 0 and 1"],
        );
    }

    #[test]
    fn transactional_twice() {
        let delivery = transactional(Protocol::Tv2);
        story(delivery, &[(0, 1), (1, 1)]).check(
            "no-duplicate",
            Claim::Transactional,
            expect!["e0 e3: r1, sent once by c0, is in p0 at offsets 0 and 1"],
        );
    }

    #[test]
    fn at_most_once_twice() {
        story(Delivery::AtMostOnce, &[(0, 1), (1, 1)]).check(
            "no-duplicate",
            Claim::AtMostOnce,
            expect!["e0 e3: r1, sent once by c0, is in p0 at offsets 0 and 1"],
        );
    }

    #[test]
    fn at_most_once_that_the_network_repeated() {
        let mut story = Story::of([producer(Delivery::AtMostOnce)]);
        let send = story.send(0, 0, &[1]);
        story.answer(send, Fate::Repeated, crate::story::nothing());
        story.answer(send, Fate::Repeated, crate::story::nothing());
        story.healed();
        story.read(0, 2, &[(0, 1), (1, 1)]);
        story.check("no-duplicate", Claim::AtMostOnce, expect!["untested"]);
    }

    #[test]
    fn at_most_once_twice_though_one_request_carried_it() {
        let mut story = Story::of([producer(Delivery::AtMostOnce)]);
        let send = story.send(0, 0, &[1]);
        story.answer(send, Fate::Delivered, crate::story::nothing());
        story.healed();
        story.read(0, 2, &[(0, 1), (1, 1)]);
        story.check(
            "no-duplicate",
            Claim::AtMostOnce,
            expect!["e0 e3: r1, sent once by c0, is in p0 at offsets 0 and 1"],
        );
    }

    #[test]
    fn nothing_is_counted_where_all_is_there_once() {
        let once = |delivery| story(delivery, &[(0, 1)]);
        assert_eq!(once(Delivery::AtMostOnce).notes("no-duplicate", Claim::AtMostOnce), []);
        assert_eq!(once(Delivery::AtLeastOnce).notes("no-loss", Claim::AtLeastOnce), []);
        // What others lose is told as a loss.
        let lost = story(Delivery::Idempotent, &[]);
        assert_eq!(lost.notes("no-duplicate", Claim::AtMostOnce), []);
    }

    #[test]
    fn losses_and_duplicates_that_are_allowed_are_counted() {
        assert_eq!(
            story(Delivery::AtMostOnce, &[]).notes("no-duplicate", Claim::AtMostOnce),
            [("losses", 1)]
        );
        let twice = story(Delivery::AtLeastOnce, &[(0, 1), (1, 1)]);
        assert_eq!(twice.notes("no-loss", Claim::AtLeastOnce), [("duplicates", 1)]);
        twice.accuses_none();
    }

    #[test]
    fn untested_if_nothing_is_read() {
        story(Delivery::Idempotent, &[]).check(
            "no-duplicate",
            Claim::Idempotent,
            expect!["untested"],
        );
    }
}

mod order {
    use super::*;

    fn story(delivery: Delivery, end: &[(i64, u32)]) -> Story {
        let mut story = Story::of([producer(delivery)]);
        let first = story.send(0, 0, &[1]);
        let second = story.send(0, 0, &[2]);
        story.returns(first, Outcome::Unknown);
        story.returns(second, Outcome::Unknown);
        story.healed();
        story.read(0, 2, end);
        story
    }

    #[test]
    fn holds() {
        story(Delivery::Idempotent, &[(0, 1), (1, 2)]).check(
            "order",
            Claim::Idempotent,
            expect!["holds, 1 times"],
        );
    }

    #[test]
    fn swapped() {
        story(Delivery::Idempotent, &[(0, 2), (1, 1)]).check(
            "order",
            Claim::Idempotent,
            expect!["e0 e1 e5: c0 sent r1 before r2, but in p0 they are at offsets 1 and 0"],
        );
    }

    #[test]
    fn the_last_two_of_three_are_swapped() {
        let mut story = Story::of([producer(Delivery::Idempotent)]);
        let sends = [1, 2, 3].map(|tag| story.send(0, 0, &[tag]));
        for send in sends {
            story.returns(send, Outcome::Unknown);
        }
        story.healed();
        story.read(0, 3, &[(0, 1), (1, 3), (2, 2)]);
        story.check(
            "order",
            Claim::Idempotent,
            expect!["e1 e2 e7: c0 sent r2 before r3, but in p0 they are at offsets 2 and 1"],
        );
    }

    #[test]
    fn swapped_without_acknowledgements() {
        story(Delivery::AtMostOnce, &[(0, 2), (1, 1)]).check(
            "order",
            Claim::AtMostOnce,
            expect!["e0 e1 e5: c0 sent r1 before r2, but in p0 they are at offsets 1 and 0"],
        );
    }

    /// What was lost took the connection with it, and nobody knows what that still carried.
    #[test]
    fn swapped_without_acknowledgements_around_a_loss_is_allowed() {
        let mut story = Story::of([producer(Delivery::AtMostOnce)]);
        for (tag, fate) in [(1, None), (2, Some(Fate::RequestLost)), (3, None)] {
            let send = story.send(0, 0, &[tag]);
            if let Some(fate) = fate {
                story.answer(send, fate, Outcome::Unknown);
            }
            story.returns(send, Outcome::Unknown);
        }
        story.healed();
        story.read(0, 2, &[(0, 3), (1, 1)]);
        story.accuses_none();
    }

    #[test]
    fn swapped_though_acknowledged_before() {
        let mut story = Story::of([producer(Delivery::AtLeastOnce)]);
        let first = story.send(0, 0, &[1]);
        story.answer(first, Fate::RequestLost, Outcome::Unknown);
        story.returns(first, appended(1));
        story.sent(0, 0, &[2], 0);
        story.healed();
        story.read(0, 2, &[(0, 2), (1, 1)]);
        story.check(
            "order",
            Claim::AtLeastOnce,
            expect!["e0 e3 e6: c0 sent r1 before r2, but in p0 they are at offsets 1 and 0"],
        );
    }

    #[test]
    fn swapped_in_flight_though_nothing_befell_them() {
        let mut story = Story::of([producer(Delivery::AtLeastOnce)]);
        let first = story.send(0, 0, &[1]);
        let second = story.send(0, 0, &[2]);
        story.returns(first, appended(1));
        story.returns(second, appended(0));
        story.healed();
        story.read(0, 2, &[(0, 2), (1, 1)]);
        story.check(
            "order",
            Claim::AtLeastOnce,
            expect!["e0 e1 e5: c0 sent r1 before r2, but in p0 they are at offsets 1 and 0"],
        );
    }

    /// Three records in flight, which nothing befell and which are in the log like this.
    fn three_in_flight(log: [u32; 3]) -> Story {
        let mut story = Story::of([producer(Delivery::AtLeastOnce)]);
        story.open(0, 0, None);
        let sends = [1, 2, 3].map(|tag| (tag, story.send(0, 0, &[tag])));
        let log: Vec<(i64, u32)> = (0..).zip(log).collect();
        for (tag, send) in sends {
            let base = log.iter().find(|(_, other)| *other == tag).map_or(-1, |(base, _)| *base);
            story.returns(send, appended(base));
        }
        story.healed();
        story.read(0, 3, &log);
        story
    }

    #[test]
    fn the_last_two_of_three_in_flight_are_swapped() {
        three_in_flight([1, 3, 2]).check(
            "order",
            Claim::AtLeastOnce,
            expect!["e3 e4 e9: c0 sent r2 before r3, but in p0 they are at offsets 2 and 1"],
        );
    }

    /// What came too late itself does not lower the bar for what comes behind it.
    #[test]
    fn the_last_of_three_in_flight_comes_first() {
        three_in_flight([3, 1, 2]).check(
            "order",
            Claim::AtLeastOnce,
            expect![[r#"
                e2 e4 e9: c0 sent r1 before r3, but in p0 they are at offsets 1 and 0
                e3 e4 e9: c0 sent r2 before r3, but in p0 they are at offsets 2 and 0"#]],
        );
    }

    #[test]
    fn swapped_within_a_batch() {
        let mut story = Story::of([producer(Delivery::AtLeastOnce)]);
        let send = story.send(0, 0, &[1, 2]);
        story.returns(send, Outcome::Unknown);
        story.healed();
        story.read(0, 2, &[(0, 2), (1, 1)]);
        story.check(
            "order",
            Claim::AtLeastOnce,
            expect!["e0 e3: c0 sent r1 before r2, but in p0 they are at offsets 1 and 0"],
        );
    }

    #[test]
    fn swapped_in_flight_where_one_was_resent_is_allowed() {
        let mut story = Story::of([producer(Delivery::AtLeastOnce)]);
        let first = story.send(0, 0, &[1]);
        let second = story.send(0, 0, &[2]);
        story.answer(first, Fate::RequestLost, Outcome::Unknown);
        story.returns(second, appended(0));
        story.returns(first, appended(1));
        story.healed();
        story.read(0, 2, &[(0, 2), (1, 1)]);
        story.accuses_none();
    }

    /// One request left before the broker was killed and was lost; the other waited for the new connection.
    #[test]
    fn swapped_in_flight_while_the_broker_was_killed_is_allowed() {
        let mut story = Story::of([producer(Delivery::AtLeastOnce)]);
        let first = story.send(0, 0, &[1]);
        let second = story.send(0, 0, &[2]);
        story.kill();
        story.returns(second, appended(0));
        story.answer(first, Fate::Delivered, appended(1));
        story.returns(first, appended(1));
        story.healed();
        story.read(0, 2, &[(0, 2), (1, 1)]);
        story.accuses_none();
    }

    #[test]
    fn a_new_session_may_overtake_what_the_old_one_left_behind() {
        let mut story = Story::of([producer(Delivery::Idempotent)]);
        let send = story.send(0, 0, &[1]);
        story.returns(send, Outcome::Unknown);
        story.crash(0);
        story.open(0, 0, None);
        story.sent(0, 0, &[2], 0);
        story.answer(send, HELD, appended(1));
        story.healed();
        story.read(0, 2, &[(0, 2), (1, 1)]);
        story.accuses_none();
    }

    #[test]
    fn a_reader_is_handed_records_backwards() {
        let mut story = Story::of([producer(Delivery::AtLeastOnce)]);
        story.sent(0, 0, &[1, 2], 0);
        story.polled(0, 0, 2, &[(1, 2), (0, 1)]);
        story.check(
            "order",
            Claim::AtLeastOnce,
            expect!["e0 e3: c0 was handed offset 0 of p0 behind an offset that is not lower"],
        );
    }

    #[test]
    fn untested_with_one_record() {
        story(Delivery::Idempotent, &[(0, 1)]).check(
            "order",
            Claim::Idempotent,
            expect!["untested"],
        );
    }
}

mod stable_offsets {
    use super::*;

    fn story() -> Story {
        let mut story = Story::of([producer(Delivery::Idempotent)]);
        story.sent(0, 0, &[1], 0);
        story
    }

    #[test]
    fn holds() {
        let mut story = story();
        story.healed();
        story.read(0, 1, &[(0, 1)]);
        story.check("stable-offsets", Claim::Idempotent, expect!["holds, 1 times"]);
    }

    #[test]
    fn read_elsewhere_than_acknowledged() {
        let mut story = story();
        story.healed();
        story.read(0, 4, &[(3, 1)]);
        story.check(
            "stable-offsets",
            Claim::Idempotent,
            expect![
                "e0 e1 e3: r1 of c0 was acknowledged in p0 at offset 0, but is read at offset 3"
            ],
        );
    }

    #[test]
    fn read_twice_and_never_acknowledged() {
        let mut story = Story::of([producer(Delivery::Idempotent)]);
        let send = story.send(0, 0, &[1]);
        story.returns(send, Outcome::Unknown);
        story.polled(0, 0, 1, &[(0, 1)]);
        story.healed();
        story.read(0, 1, &[(0, 1)]);
        story.check("stable-offsets", Claim::Idempotent, expect!["holds, 1 times"]);
    }

    #[test]
    fn untested_if_it_is_told_once() {
        let mut story = Story::of([producer(Delivery::Idempotent)]);
        let send = story.send(0, 0, &[1]);
        story.returns(send, Outcome::Unknown);
        story.healed();
        story.read(0, 1, &[(0, 1)]);
        story.check("stable-offsets", Claim::Idempotent, expect!["untested"]);
    }

    #[test]
    fn two_readers_see_two_records() {
        let mut story = story();
        story.sent(0, 0, &[2], 1);
        story.polled(0, 0, 1, &[(0, 2)]);
        story.healed();
        story.read(0, 2, &[(0, 1), (1, 2)]);
        story.check(
            "stable-offsets",
            Claim::Idempotent,
            expect!["e5 e7: c0 read r2 at offset 0 of p0, where another read has r1"],
        );
    }

    #[test]
    fn the_two_final_reads_differ() {
        let mut story = story();
        story.sent(0, 0, &[2], 1);
        story.healed();
        story.read_at(RU, 0, 2, &[(0, 1), (1, 2)]);
        story.read_at(RC, 0, 2, &[(0, 2), (1, 2)]);
        story.check(
            "stable-offsets",
            Claim::Idempotent,
            expect!["e5 e6: the final reader read r2 at offset 0 of p0, where another read has r1"],
        );
    }

    #[test]
    fn read_once_and_gone() {
        let mut story = story();
        story.polled(0, 0, 1, &[(0, 1)]);
        story.healed();
        story.read(0, 0, &[]);
        story.check(
            "stable-offsets",
            Claim::Idempotent,
            expect!["e3 e5: c0 read r1 at offset 0 of p0, and in the end nothing is there"],
        );
    }

    #[test]
    fn acknowledged_at_two_offsets() {
        let mut story = Story::of([producer(Delivery::Idempotent)]);
        let send = story.send(0, 0, &[1]);
        story.answer(send, Fate::ReplyLost, appended(0));
        story.returns(send, appended(5));
        story.answer(send, HELD, appended(5));
        story.check(
            "stable-offsets",
            Claim::Idempotent,
            expect!["e0 e1 e2: one batch of c0 was acknowledged in p0 at offset 5 and at offset 0"],
        );
    }

    #[test]
    fn late_acknowledgement_of_another_offset() {
        let mut story = story();
        story.answer(onceness_reference::ids::EventId(0), HELD, appended(7));
        story.check(
            "stable-offsets",
            Claim::Idempotent,
            expect!["e0 e1 e2: one batch of c0 was acknowledged in p0 at offset 0 and at offset 7"],
        );
    }

    #[test]
    fn a_copy_is_not_where_it_was_acknowledged() {
        let mut story = Story::of([producer(Delivery::AtLeastOnce)]);
        let send = story.send(0, 0, &[1]);
        story.answer(send, Fate::ReplyLost, appended(1));
        story.answer(send, Fate::Delivered, appended(0));
        story.returns(send, appended(0));
        story.sent(0, 0, &[2], 1);
        story.healed();
        story.read(0, 2, &[(0, 1), (1, 2)]);
        story.check("stable-offsets", Claim::AtLeastOnce, expect!["e0 e1 e7: a copy of r1 of c0 was acknowledged in p0 at offset 1, which holds another record"]);
    }

    #[test]
    fn untested_if_nobody_reads() {
        story().check("stable-offsets", Claim::Idempotent, expect!["untested"]);
    }
}

mod no_phantom {
    use super::*;

    fn story(records: &[(i64, u32)]) -> Story {
        let mut story = Story::of([producer(Delivery::AtLeastOnce)]);
        story.sent(0, 0, &[1], 0);
        story.sent(0, 1, &[2], 0);
        story.healed();
        story.read(0, 9, records);
        story
    }

    #[test]
    fn holds() {
        story(&[(0, 1)]).check("no-phantom", Claim::AtLeastOnce, expect!["holds, 1 times"]);
    }

    #[test]
    fn never_sent() {
        story(&[(0, 1), (1, 7)]).check(
            "no-phantom",
            Claim::AtLeastOnce,
            expect!["e5: the final reader read r7 in p0 at offset 1, but nobody sent it"],
        );
    }

    #[test]
    fn never_sent_where_others_read_a_record() {
        let mut story = Story::of([producer(Delivery::AtLeastOnce)]);
        story.sent(0, 0, &[1], 0);
        story.healed();
        story.read_at(RU, 0, 1, &[(0, 1)]);
        story.read_at(RC, 0, 1, &[(0, 7)]);
        story.check(
            "no-phantom",
            Claim::AtLeastOnce,
            expect!["e4: the final reader read r7 in p0 at offset 0, but nobody sent it"],
        );
    }

    #[test]
    fn corrupt() {
        story(&[(0, 1), (1, CORRUPT)]).check(
            "no-phantom",
            Claim::AtLeastOnce,
            expect![
                "e5: the final reader read bytes that are no record of this case in p0 at offset 1"
            ],
        );
    }

    #[test]
    fn sent_to_another_partition() {
        story(&[(0, 1), (1, 2)]).check(
            "no-phantom",
            Claim::AtLeastOnce,
            expect!["e2 e5: the final reader read r2 in p0 at offset 1, but it was sent to p1"],
        );
    }

    /// That only one of them can be there is for `stable-offsets` to tell.
    #[test]
    fn sent_where_others_read_another_record() {
        let mut story = Story::of([producer(Delivery::AtLeastOnce)]);
        story.sent(0, 0, &[1, 2], 0);
        story.polled(0, 0, 1, &[(0, 2)]);
        story.healed();
        story.read(0, 2, &[(0, 1), (1, 2)]);
        story.check("no-phantom", Claim::AtLeastOnce, expect!["holds, 2 times"]);
    }

    #[test]
    fn corrupt_where_others_read_a_record() {
        let mut story = Story::of([producer(Delivery::AtLeastOnce)]);
        story.sent(0, 0, &[1], 0);
        story.polled(0, 0, 1, &[(0, CORRUPT)]);
        story.healed();
        story.read(0, 1, &[(0, 1)]);
        story.check(
            "no-phantom",
            Claim::AtLeastOnce,
            expect!["e3: c0 read bytes that are no record of this case in p0 at offset 0"],
        );
    }

    #[test]
    fn refused() {
        let mut story = Story::of([producer(Delivery::AtLeastOnce)]);
        let send = story.send(0, 0, &[1]);
        story.returns(send, Outcome::Refused(Code::CORRUPT_MESSAGE));
        story.healed();
        story.read(0, 1, &[(0, 1)]);
        story.check(
            "no-phantom",
            Claim::AtLeastOnce,
            expect!["e0 e1 e3: r1 of c0 was refused, but is read in p0 at offset 0"],
        );
    }

    #[test]
    fn refused_and_not_there() {
        let mut story = Story::of([producer(Delivery::AtLeastOnce)]);
        let send = story.send(0, 0, &[1]);
        story.returns(send, Outcome::Refused(Code::CORRUPT_MESSAGE));
        story.healed();
        story.read(0, 0, &[]);
        story.check("no-phantom", Claim::AtLeastOnce, expect!["holds, 1 times"]);
    }

    #[test]
    fn read_before_it_was_sent() {
        let mut story = Story::of([producer(Delivery::AtLeastOnce)]);
        story.polled(0, 0, 1, &[(0, 1)]);
        story.sent(0, 0, &[1], 0);
        story.check(
            "no-phantom",
            Claim::AtLeastOnce,
            expect!["e1 e2 e3: r1 of c0 was not yet sent, but is read in p0 at offset 0"],
        );
    }

    #[test]
    fn untested_if_nothing_is_read() {
        story(&[]).check("no-phantom", Claim::AtLeastOnce, expect!["untested"]);
    }
}

mod upserts {
    use super::*;
    use crate::story::reader;
    use onceness_reference::plan::Saving;

    /// Records 1 and 2 have the same key, and 2 is sent when 1 is done.
    fn story(delivery: Delivery, end: &[(i64, u32)]) -> Story {
        let mut story = Story::of([producer(delivery)]);
        story.sent(0, 0, &[1], 0);
        story.sent(0, 0, &[2], 1);
        story.healed();
        story.read(0, 3, end);
        story
    }

    #[test]
    fn holds() {
        story(Delivery::AtLeastOnce, &[(0, 1), (1, 2)]).check(
            "upserts",
            Claim::AtLeastOnce,
            expect!["holds, 1 times"],
        );
    }

    /// First a value that nobody was told of, then one that was accepted.
    #[test]
    fn a_key_is_put_to_the_test_once() {
        let mut story = Story::of([producer(Delivery::AtLeastOnce)]);
        let send = story.send(0, 0, &[1]);
        story.returns(send, Outcome::Unknown);
        story.sent(0, 0, &[2], 1);
        story.healed();
        story.read(0, 2, &[(0, 1), (1, 2)]);
        story.check("upserts", Claim::AtLeastOnce, expect!["holds, 1 times"]);
    }

    #[test]
    fn a_stale_value_last() {
        story(Delivery::AtLeastOnce, &[(0, 1), (1, 2), (2, 1)]).check("upserts", Claim::AtLeastOnce, expect!["e0 e1 e2 e3 e5: k0 in p0 ends with r1 at offset 2, though r2 of c0 was sent later and accepted"]);
    }

    #[test]
    fn a_value_that_was_refused_last() {
        let mut story = Story::of([producer(Delivery::AtLeastOnce)]);
        let send = story.send(0, 0, &[1]);
        story.returns(send, Outcome::Refused(Code::CORRUPT_MESSAGE));
        story.sent(0, 0, &[2], 0);
        story.healed();
        story.read(0, 2, &[(0, 2), (1, 1)]);
        story.check("upserts", Claim::AtLeastOnce, expect!["e0 e1 e2 e3 e5: k0 in p0 ends with r1 at offset 1, though r2 of c0 was sent later and accepted"]);
    }

    /// A group processed 1 and 2, then 1 again after a crash, and went on or not; its application has these in the end.
    fn replayed(processed: &[u32], has: &[u32]) -> Story {
        let mut story =
            Story::of([producer(Delivery::AtLeastOnce), reader(Saving::AfterProcessing)]);
        story.sent(0, 0, &[1], 0);
        story.sent(0, 0, &[2], 1);
        story.open(1, 0, None);
        story.process(1, &[1, 2]);
        story.crash(1);
        story.open(1, 0, None);
        story.process(1, processed);
        story.healed();
        story.read(0, 2, &[(0, 1), (1, 2)]);
        story.view(has);
        story
    }

    #[test]
    fn an_application_has_what_it_processed_last() {
        replayed(&[1, 2], &[2]).accuses_none();
        replayed(&[1], &[1]).accuses_none();
        let told = |story: Story, told| story.check("upserts", Claim::AtLeastOnce, told);
        told(
            replayed(&[1, 2], &[1, 2, 1, 2]),
            expect![
                "e11 e16: g0 processed r2 of k0 in p0 last, but its application has r1, r2, r1, r2 of that key"
            ],
        );
        told(
            replayed(&[1, 2], &[1]),
            expect![
                "e11 e16: g0 processed r2 of k0 in p0 last, but its application has r1 of that key"
            ],
        );
    }

    /// Which of them wrote to it last nobody can tell.
    #[test]
    fn an_application_of_instances_that_overlap_may_have_any_value() {
        let instance = || reader(Saving::AfterProcessing);
        let mut story = Story::of([instance(), instance(), producer(Delivery::AtLeastOnce)]);
        story.sent(2, 0, &[1, 2], 0);
        story.open(0, 0, None);
        story.open(1, 0, None);
        story.process(0, &[1, 2]);
        story.process(1, &[1]);
        story.healed();
        story.read(0, 2, &[(0, 1), (1, 2)]);
        story.view(&[2]);
        story.accuses_none();
    }

    #[test]
    fn an_application_has_a_value_of_each_partition() {
        let partition = onceness_reference::ids::Partition(1);
        let has = |tag| {
            let mut story =
                Story::of([producer(Delivery::AtLeastOnce), reader(Saving::AfterProcessing)]);
            story.sent(0, 0, &[1], 0);
            story.sent(0, 1, &[2, 3], 0);
            story.open(1, 0, None);
            story.process(1, &[1, 2, 3]);
            story.healed();
            story.read(0, 1, &[(0, 1)]);
            story.read(1, 2, &[(0, 2), (1, 3)]);
            let (group, key) =
                (onceness_reference::ids::GroupId(0), onceness_reference::ids::Key(0));
            let records = vec![onceness_reference::ids::Tag(tag)];
            story.event(onceness_reference::history::Event::View {
                group,
                partition,
                key,
                records,
            });
            story
        };
        has(3).check("upserts", Claim::AtLeastOnce, expect!["holds, 5 times"]);
        has(2).check(
            "upserts",
            Claim::AtLeastOnce,
            expect![
                "e6 e13: g0 processed r3 of k0 in p1 last, but its application has r2 of that key"
            ],
        );
    }

    #[test]
    fn a_stale_value_last_in_transactions() {
        let mut story = Story::of([producer(transactional(Protocol::Tv2))]);
        for (tag, base) in [(1, 0), (2, 1)] {
            story.begin(0);
            story.sent(0, 0, &[tag], base);
            story.commit(0);
        }
        story.healed();
        story.read(0, 3, &[(1, 2), (2, 1)]);
        story.check("upserts", Claim::Transactional, expect!["e2 e3 e8 e9 e14: k0 in p0 ends with r1 at offset 2, though r2 of c0 was sent later and accepted"]);
    }

    #[test]
    fn a_late_copy_may_be_last() {
        let mut story = Story::of([producer(Delivery::AtLeastOnce)]);
        let first = story.send(0, 0, &[1]);
        story.returns(first, appended(0));
        story.sent(0, 0, &[2], 1);
        story.answer(first, HELD, appended(2));
        story.healed();
        story.read(0, 3, &[(0, 1), (1, 2), (2, 1)]);
        story.accuses_none();
    }

    #[test]
    fn untested_without_an_accepted_upsert() {
        let mut story = Story::of([producer(Delivery::AtLeastOnce)]);
        let send = story.send(0, 0, &[1]);
        story.returns(send, Outcome::Unknown);
        story.healed();
        story.read(0, 1, &[(0, 1)]);
        story.check("upserts", Claim::AtLeastOnce, expect!["untested"]);
    }

    fn view(processed: &[&[u32]]) -> Story {
        let mut story =
            Story::of([producer(Delivery::AtMostOnce), reader(Saving::AfterProcessing)]);
        let send = story.send(0, 0, &[1, 2, 11]);
        story.returns(send, Outcome::Unknown);
        for tags in processed {
            story.process(1, tags);
        }
        story.healed();
        story.read(0, 3, &[(0, 1), (1, 2), (2, 11)]);
        story
    }

    #[test]
    fn a_view_converges_after_a_replay() {
        view(&[&[1, 2, 11], &[1, 2, 11]]).check(
            "upserts",
            Claim::AtLeastOnce,
            expect!["holds, 2 times"],
        );
    }

    #[test]
    fn a_view_that_is_left_stale() {
        view(&[&[1, 2, 11], &[1, 11]]).check(
            "upserts",
            Claim::AtLeastOnce,
            expect![
                "e0 e4: g0 processed r1 of k0 at offset 0 after r2 at offset 1, and came to the end"
            ],
        );
    }

    /// Which of its two places was processed nobody can tell.
    #[test]
    fn a_view_of_what_is_in_the_log_twice_is_not_judged() {
        for twice in [1, 2] {
            let mut story = view(&[&[1, 2, 11], &[1, 11]]);
            story.read(0, 4, &[(0, 1), (1, 2), (2, 11), (3, twice)]);
            // Of the other key it is.
            story.check("upserts", Claim::AtLeastOnce, expect!["holds, 1 times"]);
        }
    }

    #[test]
    fn a_view_may_go_back_during_a_replay() {
        view(&[&[1, 2, 11], &[1]]).accuses_none();
    }
}

mod progress {
    use super::*;
    use onceness_reference::history::Event;

    #[test]
    fn holds() {
        let mut story = Story::of([producer(transactional(Protocol::Tv2))]);
        story.healed();
        story.read(0, 0, &[]);
        story.check("progress", Claim::Transactional, expect!["holds, 2 times"]);
    }

    #[test]
    fn stuck() {
        let mut story = Story::of([producer(Delivery::AtLeastOnce)]);
        let what = "opening t0 again".to_owned();
        story.event(Event::Stuck { what });
        story.check(
            "progress",
            Claim::AtLeastOnce,
            expect!["e0: after healing, this did not go on: opening t0 again"],
        );
    }

    #[test]
    fn a_transaction_that_stays_open() {
        let mut story = Story::of([producer(transactional(Protocol::Tv2))]);
        story.healed();
        story.event(Event::Read {
            partition: onceness_reference::ids::Partition(0),
            isolation: RC,
            high_watermark: 3,
            last_stable: Some(1),
            records: Vec::new(),
        });
        story.check(
            "progress",
            Claim::Transactional,
            expect![
                "e1: after healing, the last stable offset of p0 is 1, not the high watermark 3"
            ],
        );
    }

    #[test]
    fn untested_without_epilogue() {
        Story::of([producer(Delivery::AtLeastOnce)]).check(
            "progress",
            Claim::AtLeastOnce,
            expect!["untested"],
        );
    }
}
