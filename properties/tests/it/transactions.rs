//! What is said of transactions and producer sessions.

use expect_test::expect;
use onceness_properties::Claim;
use onceness_reference::code::Code;
use onceness_reference::history::{Call, Outcome, Reply, Sequence};
use onceness_reference::ids::Partition;
use onceness_reference::plan::{Delivery, Fate, Protocol, Saving};

use crate::story::{
    HELD, RC, RU, Story, appended, looping, member, nothing, opened, producer, record, refused,
    transactional,
};

const T: Claim = Claim::Transactional;

fn one(protocol: Protocol) -> Story {
    Story::of([producer(transactional(protocol)), producer(Delivery::AtLeastOnce)])
}

mod isolation {
    use super::*;

    fn ended(end: Option<(Call, Outcome)>, committed: &[(i64, u32)]) -> Story {
        let mut story = one(Protocol::Tv2);
        story.begin(0);
        story.sent(0, 0, &[1], 0);
        if let Some((call, outcome)) = end {
            story.does(0, call, outcome);
        }
        story.healed();
        story.read_at(RU, 0, 2, &[(0, 1)]);
        story.read_at(RC, 0, 2, committed);
        story
    }

    #[test]
    fn holds() {
        ended(Some((Call::Abort, nothing())), &[]).check("isolation", T, expect!["holds, 2 times"]);
        ended(Some((Call::Commit, nothing())), &[(0, 1)]).check(
            "isolation",
            T,
            expect!["holds, 1 times"],
        );
    }

    #[test]
    fn aborted_and_shown() {
        ended(Some((Call::Abort, nothing())), &[(0, 1)]).check("isolation", T, expect!["e0 e2 e4 e5 e8: c0 aborted its transaction, but its r1 in p0 at offset 0 was shown to the final reader at read_committed"]);
    }

    /// A commit whose answer never came, and then an abort.
    fn given_up(abort: Outcome, committed: &[(i64, u32)]) -> Story {
        let mut story = one(Protocol::Tv1);
        story.begin(0);
        story.sent(0, 0, &[1], 0);
        let commit = story.does(0, Call::Commit, Outcome::Unknown);
        story.does(0, Call::Abort, abort);
        story.answer(commit, HELD, refused(Code::INVALID_TXN_STATE));
        story.healed();
        story.read_at(RU, 0, 2, &[(0, 1)]);
        story.read_at(RC, 0, 2, committed);
        story
    }

    #[test]
    fn aborted_after_a_commit_in_doubt() {
        given_up(nothing(), &[]).accuses_none();
        given_up(refused(Code::INVALID_TXN_STATE), &[(0, 1)]).accuses_none();
        given_up(Outcome::Unknown, &[(0, 1)]).accuses_none();
        given_up(nothing(), &[(0, 1)]).check("isolation", T, expect!["e0 e2 e6 e7 e11: c0 aborted its transaction, but its r1 in p0 at offset 0 was shown to the final reader at read_committed"]);
    }

    #[test]
    fn refused_and_shown() {
        let end = (Call::Commit, refused(Code::PRODUCER_FENCED));
        ended(Some(end), &[(0, 1)]).check("isolation", T, expect!["e0 e2 e4 e5 e8: c0 was refused the commit of its transaction, but its r1 in p0 at offset 0 was shown to the final reader at read_committed"]);
    }

    #[test]
    fn left_open_and_shown() {
        ended(None, &[(0, 1)]).check("isolation", T, expect!["e0 e2 e6: c0 left its transaction open, but its r1 in p0 at offset 0 was shown to the final reader at read_committed"]);
    }

    #[test]
    fn shown_before_the_commit() {
        let mut story = Story::of([
            producer(transactional(Protocol::Tv2)),
            crate::story::reader(Saving::AfterProcessing),
        ]);
        story.begin(0);
        story.sent(0, 0, &[1], 0);
        story.polled(1, 0, 1, &[(0, 1)]);
        story.commit(0);
        story.check("isolation", T, expect!["e0 e2 e5 e6 e7: c0 had not yet called the commit of its transaction, but its r1 in p0 at offset 0 was shown to c1 at read_committed"]);
    }

    #[test]
    fn aborted_and_hidden_from_read_uncommitted() {
        let mut story = one(Protocol::Tv2);
        story.begin(0);
        story.sent(0, 0, &[1], 0);
        story.abort(0);
        story.healed();
        story.read(0, 2, &[]);
        story.check_all(expect![[r#"
            isolation/transactional: e2 e3 e7: r1 of c0 was acknowledged in p0 in a transaction that was then aborted, but read_uncommitted does not show it
        "#]]);
    }

    #[test]
    fn read_committed_alone_shows_it() {
        let mut story = one(Protocol::Tv2);
        story.begin(0);
        story.sent(0, 0, &[1], 0);
        story.commit(0);
        story.healed();
        story.read_at(RU, 0, 2, &[]);
        story.read_at(RC, 0, 2, &[(0, 1)]);
        story.check("isolation", T, expect!["e7 e8: read_committed shows r1 in p0 at offset 0, which read_uncommitted does not show"]);
    }

    #[test]
    fn plain_and_hidden_from_read_committed() {
        let mut story = one(Protocol::Tv2);
        story.sent(1, 0, &[1], 0);
        story.healed();
        story.read_at(RU, 0, 1, &[(0, 1)]);
        story.read_at(RC, 0, 1, &[]);
        story.check_all(expect![[r#"
            isolation/transactional: e0 e3 e4: r1 of c1 belongs to no transaction, but read_committed does not show it in p0 at offset 0
        "#]]);
    }

    /// It belongs to no transaction, but it is no plain record either: nothing is claimed of it.
    #[test]
    fn what_a_transactional_producer_sends_outside_of_its_transactions_may_be_hidden() {
        let mut story = one(Protocol::Tv2);
        story.sent(0, 0, &[1], 0);
        story.healed();
        story.read_at(RU, 0, 1, &[(0, 1)]);
        story.read_at(RC, 0, 1, &[]);
        story.accuses_none();
    }

    #[test]
    fn shown_once_and_then_no_more() {
        let mut story = Story::of([
            producer(transactional(Protocol::Tv2)),
            crate::story::reader(Saving::AfterProcessing),
        ]);
        story.begin(0);
        let send = story.sent(0, 0, &[1], 0);
        let commit = story.call(0, Call::Commit);
        story.returns(commit, Outcome::Unknown);
        story.polled(1, 0, 1, &[(0, 1)]);
        story.healed();
        story.read_at(RU, 0, 2, &[(0, 1)]);
        story.read_at(RC, 0, 2, &[]);
        let _ = send;
        story.check("isolation", T, expect!["e2 e7 e10: r1 in p0 at offset 0 was shown to c1 at read_committed, and in the end it is not"]);
    }

    /// That something holds it back is for `progress` to tell.
    #[test]
    fn what_is_at_the_last_stable_offset_need_not_be_shown() {
        let mut story = one(Protocol::Tv2);
        story.sent(1, 0, &[1], 0);
        story.healed();
        story.read_at(RU, 0, 1, &[(0, 1)]);
        story.read_held_back(0, 1, &[]);
        story.check("isolation", T, expect!["untested"]);
    }

    #[test]
    fn what_was_shown_once_may_be_held_back() {
        let mut story = Story::of([
            producer(transactional(Protocol::Tv2)),
            crate::story::reader(Saving::AfterProcessing),
        ]);
        story.begin(0);
        story.sent(0, 0, &[1], 0);
        story.commit(0);
        story.polled(1, 0, 1, &[(0, 1)]);
        story.healed();
        story.read_at(RU, 0, 2, &[(0, 1)]);
        story.read_held_back(0, 2, &[]);
        story.check("isolation", T, expect!["holds, 1 times"]);
    }

    #[test]
    fn untested_where_nobody_saw_anything() {
        let mut story = Story::of([producer(transactional(Protocol::Tv2))]);
        story.begin(0);
        let send = story.send(0, 0, &[1]);
        story.returns(send, Outcome::Unknown);
        story.abort(0);
        story.healed();
        story.read(0, 0, &[]);
        story.check("isolation", T, expect!["untested"]);
    }

    #[test]
    fn untested_without_reads() {
        let mut story = one(Protocol::Tv2);
        story.begin(0);
        story.sent(0, 0, &[1], 0);
        story.commit(0);
        story.check("isolation", T, expect!["untested"]);
    }
}

mod atomicity {
    use super::*;

    fn spread(outcome: Outcome, first: &[(i64, u32)], second: &[(i64, u32)]) -> Story {
        let mut story = one(Protocol::Tv2);
        story.begin(0);
        story.sent(0, 0, &[1], 0);
        story.sent(0, 1, &[2], 0);
        story.does(0, Call::Commit, outcome);
        story.healed();
        story.read_at(RU, 0, 2, &[(0, 1)]);
        story.read_at(RU, 1, 2, &[(0, 2)]);
        story.read_at(RC, 0, 2, first);
        story.read_at(RC, 1, 2, second);
        story
    }

    #[test]
    fn holds() {
        spread(nothing(), &[(0, 1)], &[(0, 2)]).check("atomicity", T, expect!["holds, 1 times"]);
    }

    #[test]
    fn in_doubt_either_way() {
        spread(Outcome::Unknown, &[(0, 1)], &[(0, 2)]).accuses_none();
        spread(Outcome::Unknown, &[], &[]).accuses_none();
    }

    #[test]
    fn committed_in_part() {
        spread(nothing(), &[(0, 1)], &[]).check("atomicity", T, expect!["e0 e2 e4 e5 e6 e7 e11 e12: a transaction of c0 was committed, but its r2 in p1 is not shown to read_committed"]);
    }

    /// Record 2 was not accepted, and the transaction committed all the same.
    fn given_up(outcome: Outcome, second: &[(i64, u32)]) -> Story {
        let mut story = one(Protocol::Tv2);
        story.begin(0);
        story.sent(0, 0, &[1], 0);
        let send = story.send(0, 1, &[2]);
        story.returns(send, outcome);
        story.commit(0);
        story.healed();
        story.read(0, 2, &[(0, 1)]);
        story.read(1, 1, second);
        story
    }

    #[test]
    fn committed_without_what_was_not_accepted() {
        let refusal = refused(Code::OUT_OF_ORDER_SEQUENCE_NUMBER);
        given_up(refusal, &[]).check("atomicity", T, expect!["e0 e4 e5 e6 e7 e12: a transaction of c0 was committed, though its r2 in p1 was not accepted before, and is not shown to read_committed"]);
        given_up(Outcome::Unknown, &[]).check("atomicity", T, expect!["e0 e4 e5 e6 e7 e12: a transaction of c0 was committed, though its r2 in p1 was not accepted before, and is not shown to read_committed"]);
        given_up(Outcome::Unknown, &[(0, 2)]).accuses_none();
    }

    #[test]
    fn what_is_still_under_way_when_the_commit_is_called_was_not_given_up() {
        let mut story = one(Protocol::Tv2);
        story.begin(0);
        let send = story.send(0, 0, &[1]);
        let commit = story.call(0, Call::Commit);
        story.returns(send, Outcome::Unknown);
        story.returns(commit, nothing());
        story.healed();
        story.read(0, 1, &[]);
        story.accuses_none();
    }

    #[test]
    fn in_doubt_and_committed_in_part() {
        spread(Outcome::Unknown, &[(0, 1)], &[]).check("atomicity", T, expect!["e0 e2 e4 e5 e6 e11 e12: a transaction of c0 is visible with r1 in p0, but its r2 in p1 is not shown to read_committed"]);
    }

    #[test]
    fn a_commit_whose_answer_was_lost_is_a_commit() {
        let mut story = one(Protocol::Tv2);
        story.begin(0);
        story.sent(0, 0, &[1], 0);
        let commit = story.call(0, Call::Commit);
        story.answer(commit, Fate::ReplyLost, nothing());
        story.returns(commit, Outcome::Unknown);
        story.healed();
        story.read_at(RC, 0, 2, &[]);
        story.check("atomicity", T, expect!["e0 e2 e3 e4 e5 e8: a transaction of c0 was committed, but its r1 in p0 is not shown to read_committed"]);
    }

    /// That something holds it back is for `progress` to tell.
    #[test]
    fn what_is_at_the_last_stable_offset_need_not_be_shown() {
        for second in [appended(1), Outcome::Unknown] {
            let mut story = one(Protocol::Tv2);
            story.begin(0);
            story.sent(0, 0, &[1], 0);
            let send = story.send(0, 0, &[2]);
            story.returns(send, second);
            story.commit(0);
            story.healed();
            story.read_at(RU, 0, 3, &[(0, 1), (1, 2)]);
            story.read_held_back(1, 3, &[(0, 1)]);
            story.check("atomicity", T, expect!["holds, 1 times"]);
        }
    }

    /// Input 1 is forwarded as 2 and the position 1 saved; the commit stays in doubt.
    fn looped(output: &[(i64, u32)], position: Option<i64>) -> Story {
        let mut story = Story::of([looping(Protocol::Tv2), producer(Delivery::AtLeastOnce)]);
        story.open(0, 0, None);
        story.begin(0);
        story.forwarded(0, &[(2, 1)], 0);
        story.saved_in_transaction(0, 1);
        story.does(0, Call::Commit, Outcome::Unknown);
        story.open(0, 1, position);
        story.healed();
        story.read_at(RC, 1, 2, output);
        story
    }

    #[test]
    fn records_and_positions_together() {
        looped(&[(0, 2)], Some(1)).check(
            "atomicity",
            Claim::ExactlyOnce,
            expect!["holds, 1 times"],
        );
        looped(&[], None).accuses_none();
    }

    #[test]
    fn records_without_positions() {
        looped(&[(0, 2)], None).check("atomicity", Claim::ExactlyOnce, expect!["e2 e6 e8 e11: the records of a transaction of c0 are visible, but g0 was not told the position 1 in p0 that was saved in it"]);
    }

    #[test]
    fn positions_without_records() {
        looped(&[], Some(1)).check("atomicity", Claim::ExactlyOnce, expect!["e2 e6 e8 e11: the records of a transaction of c0 are not visible, but g0 was told the position 1 in p0 that was saved in it"]);
    }

    #[test]
    fn untested_if_nobody_reads_what_was_committed() {
        let mut story = one(Protocol::Tv2);
        story.begin(0);
        story.sent(0, 0, &[1], 0);
        story.commit(0);
        story.check("atomicity", T, expect!["untested"]);
    }

    #[test]
    fn untested_without_commits() {
        let mut story = one(Protocol::Tv2);
        story.begin(0);
        story.sent(0, 0, &[1], 0);
        story.abort(0);
        story.healed();
        story.read_at(RC, 0, 2, &[]);
        story.check("atomicity", T, expect!["untested"]);
    }
}

mod fencing {
    use super::*;

    /// Client 0 is superseded by client 1.
    fn fenced() -> Story {
        let delivery = transactional(Protocol::Tv2);
        let mut story = Story::of([producer(delivery), producer(delivery)]);
        story.open(0, 0, None);
        story.begin(0);
        story.open(1, 1, None);
        story
    }

    #[test]
    fn holds() {
        let mut story = fenced();
        let send = story.send(0, 0, &[1]);
        story.returns(send, refused(Code::INVALID_PRODUCER_EPOCH));
        story.check("fencing", T, expect!["holds, 1 times"]);
    }

    #[test]
    fn a_send_is_acknowledged() {
        let mut story = fenced();
        story.sent(0, 0, &[1], 0);
        story.check(
            "fencing",
            T,
            expect!["e4 e5 e6 e7: c0 was superseded by c1, but its send to p0 was acknowledged"],
        );
    }

    /// Of two producer ids none is the newer one, whatever their epochs.
    #[test]
    fn instances_with_two_producer_ids_may_come_in_either_order() {
        let delivery = transactional(Protocol::Tv2);
        let mut story = Story::of([producer(delivery), producer(delivery)]);
        let opens = [0, 1].map(|client| story.call(client, Call::Open));
        for (open, session) in opens.into_iter().zip([(7, 3), (9, 0)]) {
            let session = Some(session);
            story.returns(open, Outcome::Done(Reply::Opened { session, positions: Vec::new() }));
        }
        story.begin(1);
        story.sent(1, 0, &[1], 0);
        story.begin(0);
        story.sent(0, 0, &[2], 1);
        story.check("fencing", T, expect!["untested"]);
    }

    /// Then only the time tells which of them is the newer one.
    #[test]
    fn an_instance_with_another_producer_id_supersedes_what_was_open_before_it_was_asked_for() {
        let delivery = transactional(Protocol::Tv2);
        let mut story = Story::of([producer(delivery), producer(delivery)]);
        for (client, session) in [(0, (7, 3)), (1, (9, 0))] {
            let (session, positions) = (Some(session), Vec::new());
            story.does(client, Call::Open, Outcome::Done(Reply::Opened { session, positions }));
        }
        story.begin(0);
        story.sent(0, 0, &[1], 0);
        story.check(
            "fencing",
            T,
            expect!["e2 e3 e6 e7: c0 was superseded by c1, but its send to p0 was acknowledged"],
        );
    }

    #[test]
    fn a_send_is_shown() {
        let mut story = fenced();
        let send = story.send(0, 0, &[1]);
        story.returns(send, Outcome::Unknown);
        story.healed();
        story.read_at(RC, 0, 1, &[(0, 1)]);
        story.check("fencing", T, expect!["e4 e5 e6 e9: c0 was superseded by c1, but its r1 is shown to read_committed in p0 at offset 0"]);
    }

    fn fenced_with_a_record() -> Story {
        let delivery = transactional(Protocol::Tv2);
        let mut story = Story::of([producer(delivery), producer(delivery)]);
        story.open(0, 0, None);
        story.begin(0);
        story.sent(0, 0, &[1], 0);
        story.open(1, 1, None);
        story
    }

    #[test]
    fn a_commit_is_done() {
        let mut story = fenced_with_a_record();
        story.commit(0);
        story.check(
            "fencing",
            T,
            expect!["e2 e6 e7 e8 e9: c0 was superseded by c1, but its commit was done"],
        );
    }

    #[test]
    fn an_abort_is_done() {
        let mut story = fenced_with_a_record();
        story.abort(0);
        story.check(
            "fencing",
            T,
            expect!["e2 e6 e7 e8 e9: c0 was superseded by c1, but its abort was done"],
        );
    }

    /// It need not ask anyone, but it did, and was not refused.
    #[test]
    fn an_abort_is_done_when_a_client_closes() {
        let delivery = transactional(Protocol::Tv2);
        let mut story = Story::of([producer(delivery), producer(delivery)]);
        story.open(0, 0, None);
        story.open(1, 1, None);
        story.begin(0);
        let send = story.send(0, 0, &[1]);
        story.returns(send, refused(Code::INVALID_PRODUCER_EPOCH));
        let close = story.call(0, Call::Close);
        story.answer(close, Fate::Delivered, nothing());
        story.returns(close, nothing());
        story.check(
            "fencing",
            T,
            expect!["e2 e3 e4 e8 e9: c0 was superseded by c1, but its abort was done"],
        );
    }

    #[test]
    fn a_client_that_closes_asks_nobody() {
        let mut story = fenced_with_a_record();
        story.done(0, onceness_reference::history::Call::Close);
        story.accuses_none();
    }

    #[test]
    fn a_commit_in_doubt_is_shown() {
        let mut story = fenced_with_a_record();
        story.does(0, Call::Commit, Outcome::Unknown);
        story.healed();
        story.read_at(RC, 0, 1, &[(0, 1)]);
        story.check("fencing", T, expect!["e4 e6 e7 e8 e11: c0 was superseded by c1, but its r1 is shown to read_committed in p0 at offset 0"]);
    }

    #[test]
    fn a_late_copy_of_its_own_opening_fences_a_client() {
        let mut story = Story::of([producer(transactional(Protocol::Tv2))]);
        let open = story.open(0, 0, None);
        story.answer(open, HELD, opened(1, None));
        story.begin(0);
        story.sent(0, 0, &[1], 0);
        story.check("fencing", T, expect!["e0 e2 e5 e6: c0 was superseded by a late copy of its own opening, but its send to p0 was acknowledged"]);
    }

    #[test]
    fn a_transaction_with_nothing_in_it_needs_no_broker() {
        let mut story = fenced();
        story.commit(0);
        story.accuses_none();
    }

    #[test]
    fn a_call_that_overlaps_the_opening_may_be_done() {
        let delivery = transactional(Protocol::Tv2);
        let mut story = Story::of([producer(delivery), producer(delivery)]);
        story.open(0, 0, None);
        story.begin(0);
        let open = story.call(1, Call::Open);
        story.sent(0, 0, &[1], 0);
        story.returns(open, opened(1, None));
        story.accuses_none();
    }

    #[test]
    fn a_save_in_a_transaction_is_done() {
        let mut story = Story::of([looping(Protocol::Tv2), looping(Protocol::Tv2)]);
        story.open(0, 0, None);
        story.begin(0);
        story.open(1, 1, None);
        story.saved_in_transaction(0, 1);
        story.check(
            "fencing",
            Claim::ExactlyOnce,
            expect!["e4 e5 e6 e7: c0 was superseded by c1, but it saved positions of g0"],
        );
    }

    #[test]
    fn a_loop_commits_behind_its_successor() {
        let mut story = Story::of([looping(Protocol::Tv2), looping(Protocol::Tv2)]);
        story.open(0, 0, None);
        story.begin(0);
        story.saved_in_transaction(0, 1);
        story.open(1, 1, None);
        story.commit(0);
        story.check(
            "fencing",
            Claim::ExactlyOnce,
            expect!["e2 e6 e7 e8 e9: c0 was superseded by c1, but its commit was done"],
        );
    }

    #[test]
    fn a_member_saves_behind_its_successor() {
        let saving = Saving::AfterProcessing;
        let mut story = Story::of([member(saving), member(saving)]);
        story.open(0, 0, None);
        story.open(1, 0, None);
        story.saved(0, 1);
        story.check(
            "fencing",
            Claim::AtLeastOnce,
            expect!["e2 e3 e4 e5: c0 was superseded by c1, but it saved positions of g0"],
        );
    }

    #[test]
    fn a_member_is_refused_behind_its_successor() {
        let saving = Saving::BeforeProcessing;
        let mut story = Story::of([member(saving), member(saving)]);
        story.open(0, 0, None);
        story.open(1, 0, None);
        let save = story.save(0, 1);
        story.returns(save, refused(Code::FENCED_INSTANCE_ID));
        story.check("fencing", Claim::AtMostOnce, expect!["holds, 1 times"]);
    }

    #[test]
    fn untested_without_a_successor() {
        let mut story = one(Protocol::Tv2);
        story.open(0, 0, None);
        story.begin(0);
        story.sent(0, 0, &[1], 0);
        story.check("fencing", T, expect!["untested"]);
    }
}

mod resend {
    use super::*;

    /// A batch is accepted, but the answer lost; later batches follow; then the first is answered again.
    fn resent(later: u32, restart: bool, again: Outcome) -> Story {
        let mut story = Story::of([producer(Delivery::Idempotent)]);
        let send = story.send(0, 0, &[100]);
        story.answer(send, Fate::ReplyLost, appended(0));
        if restart {
            story.restart();
        }
        let rest: Vec<_> = (1..=later).map(|tag| (tag, story.send(0, 0, &[tag]))).collect();
        story.answer(send, Fate::Delivered, again);
        for (tag, send) in rest {
            story.returns(send, appended(i64::from(tag)));
        }
        story
    }

    const OUT_OF_ORDER: Outcome = Outcome::Refused(Code::OUT_OF_ORDER_SEQUENCE_NUMBER);

    #[test]
    fn holds() {
        resent(4, false, appended(0)).check("resend", Claim::Idempotent, expect!["holds, 1 times"]);
    }

    #[test]
    fn refused_for_good() {
        resent(4, false, OUT_OF_ORDER).check("resend", Claim::Idempotent, expect!["e0 e1 e6: the batch of c0 with r100 was accepted in p0 at offset 0, but was refused with OUT_OF_ORDER_SEQUENCE_NUMBER (45) when it was resent"]);
    }

    #[test]
    fn a_client_that_does_not_tell_its_session_may_have_raised_its_epoch() {
        let resent_with = |sequence| {
            let mut story = Story::of([producer(Delivery::Idempotent)]);
            let records = vec![record(100, None)];
            let send = story.call(0, Call::Send { partition: Partition(0), records, sequence });
            story.answer(send, Fate::ReplyLost, appended(0));
            story.answer(send, Fate::Delivered, refused(Code::INVALID_PRODUCER_EPOCH));
            story
        };
        resent_with(None).check("resend", Claim::Idempotent, expect!["untested"]);
        let told = Some(Sequence { producer: 1, epoch: 0, first: 0 });
        resent_with(told).check("resend", Claim::Idempotent, expect!["e0 e1 e2: the batch of c0 with r100 was accepted in p0 at offset 0, but was refused with INVALID_PRODUCER_EPOCH (47) when it was resent"]);
    }

    #[test]
    fn acknowledged_elsewhere() {
        resent(0, false, appended(1)).check("resend", Claim::Idempotent, expect!["e0 e1 e2: the batch of c0 with r100 was accepted in p0 at offset 0, but was acknowledged with offset 1 when it was resent"]);
    }

    #[test]
    fn the_last_batch_is_remembered_across_a_restart() {
        resent(0, true, OUT_OF_ORDER).check("resend", Claim::Idempotent, expect!["e0 e1 e3: the batch of c0 with r100 was accepted in p0 at offset 0, but was refused with OUT_OF_ORDER_SEQUENCE_NUMBER (45) when it was resent"]);
    }

    #[test]
    fn not_claimed() {
        resent(5, false, OUT_OF_ORDER).check("resend", Claim::Idempotent, expect!["untested"]);
        resent(1, true, OUT_OF_ORDER).check("resend", Claim::Idempotent, expect!["untested"]);
        let again = refused(Code::NOT_ENOUGH_REPLICAS);
        resent(0, false, again).check("resend", Claim::Idempotent, expect!["untested"]);
    }

    /// The answer was under way when the broker was killed, so it is told after the kill: the batch came before.
    #[test]
    fn only_the_last_batch_is_remembered_across_a_kill() {
        let killed = |later: u32| {
            let mut story = Story::of([producer(Delivery::Idempotent)]);
            let send = story.send(0, 0, &[100]);
            story.kill();
            story.answer(send, Fate::ReplyLost, appended(0));
            for tag in 1..=later {
                story.send(0, 0, &[tag]);
            }
            story.answer(send, Fate::Delivered, OUT_OF_ORDER);
            story
        };
        killed(1).check("resend", Claim::Idempotent, expect!["untested"]);
        killed(0).check("resend", Claim::Idempotent, expect!["e0 e2 e3: the batch of c0 with r100 was accepted in p0 at offset 0, but was refused with OUT_OF_ORDER_SEQUENCE_NUMBER (45) when it was resent"]);
    }

    #[test]
    fn what_the_client_learned_counts_as_an_answer() {
        let mut story = Story::of([producer(Delivery::Idempotent)]);
        let send = story.send(0, 0, &[1]);
        story.answer(send, Fate::ReplyLost, appended(0));
        story.returns(send, OUT_OF_ORDER);
        story.check("resend", Claim::Idempotent, expect!["e0 e1 e2: the batch of c0 with r1 was accepted in p0 at offset 0, but was refused with OUT_OF_ORDER_SEQUENCE_NUMBER (45) when it was resent"]);
    }

    fn in_transaction(between: impl Fn(&mut Story)) -> Story {
        let delivery = transactional(Protocol::Tv1);
        let mut story = Story::of([producer(delivery), producer(delivery)]);
        story.open(0, 0, None);
        story.begin(0);
        let send = story.send(0, 0, &[1]);
        story.answer(send, Fate::Delivered, appended(0));
        story.returns(send, appended(0));
        between(&mut story);
        story.answer(send, HELD, refused(Code::INVALID_TXN_STATE));
        story
    }

    #[test]
    fn in_an_open_transaction() {
        in_transaction(|_| {}).check("resend", T, expect!["e4 e5 e7: the batch of c0 with r1 was accepted in p0 at offset 0, but was refused with INVALID_TXN_STATE (48) when it was resent"]);
    }

    #[test]
    fn not_claimed_after_the_end_or_a_new_epoch() {
        let ended = in_transaction(|story| {
            story.commit(0);
        });
        ended.check("resend", T, expect!["untested"]);
        let superseded = in_transaction(|story| {
            story.open(1, 1, None);
        });
        superseded.check("resend", T, expect!["untested"]);
    }

    #[test]
    fn an_opening_that_is_put_off_may_raise_the_epoch_later() {
        let delivery = transactional(Protocol::Tv2);
        let mut story = Story::of([producer(delivery), producer(delivery)]);
        story.open(0, 0, None);
        story.begin(0);
        let open = story.call(1, Call::Open);
        story.answer(open, Fate::ReplyLost, refused(Code::CONCURRENT_TRANSACTIONS));
        story.returns(open, Outcome::Unknown);
        let send = story.send(0, 0, &[1]);
        story.answer(send, Fate::ReplyLost, appended(0));
        story.answer(send, Fate::Delivered, refused(Code::INVALID_PRODUCER_EPOCH));
        story.check("resend", T, expect!["untested"]);
    }

    #[test]
    fn an_opening_that_was_put_off_in_the_brokers_name_raises_nothing() {
        let delivery = transactional(Protocol::Tv2);
        let mut story = Story::of([producer(delivery), producer(delivery)]);
        story.open(0, 0, None);
        story.begin(0);
        let open = story.call(1, Call::Open);
        story.answer(open, Fate::Busy, refused(Code::CONCURRENT_TRANSACTIONS));
        story.returns(open, refused(Code::COORDINATOR_LOAD_IN_PROGRESS));
        let send = story.send(0, 0, &[1]);
        story.answer(send, Fate::ReplyLost, appended(0));
        story.answer(send, Fate::Delivered, refused(Code::INVALID_PRODUCER_EPOCH));
        story.check("resend", T, expect!["e7 e8 e9: the batch of c0 with r1 was accepted in p0 at offset 0, but was refused with INVALID_PRODUCER_EPOCH (47) when it was resent"]);
    }

    fn commit_twice(between: impl Fn(&mut Story), again: Outcome) -> Story {
        let delivery = transactional(Protocol::Tv2);
        let mut story = Story::of([producer(delivery), producer(delivery)]);
        story.open(0, 0, None);
        story.begin(0);
        story.sent(0, 0, &[1], 0);
        let commit = story.call(0, Call::Commit);
        story.answer(commit, Fate::ReplyLost, nothing());
        between(&mut story);
        story.answer(commit, Fate::Delivered, again);
        story.returns(commit, Outcome::Unknown);
        story
    }

    #[test]
    fn a_resent_commit() {
        commit_twice(|_| {}, nothing()).check("resend", T, expect!["holds, 1 times"]);
        commit_twice(|_| {}, refused(Code::INVALID_TXN_STATE)).check("resend", T, expect!["e2 e6 e7 e8: the commit of c0 was done, but refused with INVALID_TXN_STATE (48) when it was resent"]);
    }

    #[test]
    fn a_resent_commit_may_be_put_off() {
        let again = refused(Code::CONCURRENT_TRANSACTIONS);
        commit_twice(|_| {}, again).check("resend", T, expect!["untested"]);
    }

    #[test]
    fn a_resent_commit_after_a_new_epoch() {
        let open = |story: &mut Story| {
            story.open(1, 1, None);
        };
        commit_twice(open, refused(Code::INVALID_TXN_STATE)).check(
            "resend",
            T,
            expect!["untested"],
        );
        let begin = |story: &mut Story| {
            story.begin(0);
        };
        commit_twice(begin, refused(Code::INVALID_TXN_STATE)).check(
            "resend",
            T,
            expect!["untested"],
        );
    }
}
