//! The second judge, as a property: what it accuses and how it tells it.

use expect_test::expect;
use onceness_properties::{Claim, Verdict, judge};
use onceness_reference::cells::Cell;
use onceness_reference::code::Code;
use onceness_reference::exchanges::{Exchange, Lane};
use onceness_reference::history::Record;
use onceness_reference::ids::{ClientId, Key, Partition, Tag};
use onceness_reference::plan::forge::Flaw;
use onceness_reference::plan::{Delivery, Isolation};
use onceness_reference::protocol::{
    Answer, Batch, Body, FetchReply, LogBatch, Request, Response, Session,
};

use crate::story::{Story, producer};

const PRODUCER: Session = Session { producer: 7, epoch: 0 };

fn batch(first_sequence: i32) -> Batch {
    let records = vec![Record { tag: Tag(1), key: Key(0), from: None }];
    Batch { session: Some(PRODUCER), first_sequence, records }
}

fn send(batch: Batch) -> Request {
    Request::Produce { partition: Partition(0), batch, acks: true, txn: None }
}

/// A producer sends a batch and, in want of an answer, sends it again. So it was answered.
fn resent(second: Answer) -> Story {
    sent_and([(send(batch(0)), second)])
}

/// A producer sends a batch, and then asks this and is answered so.
fn sent_and<const N: usize>(then: [(Request, Answer); N]) -> Story {
    let mut story = Story::of([producer(Delivery::Idempotent)]);
    let init = Request::InitProducer { txn: None, expected: None };
    let first = [
        (init, Ok(Response::Producer(PRODUCER))),
        (send(batch(0)), Ok(Response::Appended(Some(0)))),
    ];
    for (request, answer) in first.into_iter().chain(then) {
        let of = story.history.exchanges.len() as u32;
        let lane = Lane::Client(ClientId(0));
        story.history.exchanges.push(Exchange::Asked { after: None, lane, request });
        story.history.exchanges.push(Exchange::Answered { of, answer });
    }
    story
}

#[test]
fn holds() {
    let story = resent(Ok(Response::Appended(Some(0))));
    story.check("answers", Claim::Idempotent, expect!["holds, 3 times"]);
}

#[test]
fn a_resend_that_is_appended_again() {
    let story = resent(Ok(Response::Appended(Some(1))));
    story.check("answers", Claim::Idempotent, expect![[r#": c0 asked Produce to p0: producer 7 epoch 0 sequence 0, 1 record: it was answered "appended at 1", but a correct broker answers "appended at 0""#]]);
}

#[test]
fn untested_where_answers_are_not_seen() {
    Story::of([producer(Delivery::Idempotent)]).check(
        "answers",
        Claim::Idempotent,
        expect!["untested"],
    );
}

/// The call that the request was sent for; of a later copy and of the final reader what was written down last before.
#[test]
fn what_was_seen_is_named() {
    let named = |lane, expected| {
        let mut story = resent(Ok(Response::Appended(Some(1))));
        let call = story.send(0, 0, &[1]);
        let last = story.crash(0);
        assert!(call < last);
        if let Some(Exchange::Asked { after, lane: on, .. }) = story.history.exchanges.get_mut(4) {
            (*after, *on) = (Some(last), lane);
        }
        story.check("answers", Claim::Idempotent, expected);
    };
    named(
        Lane::Client(ClientId(0)),
        expect![[
            r#"e0: c0 asked Produce to p0: producer 7 epoch 0 sequence 0, 1 record: it was answered "appended at 1", but a correct broker answers "appended at 0""#
        ]],
    );
    named(
        Lane::Held(0),
        expect![[
            r#"e1: a client, late, asked Produce to p0: producer 7 epoch 0 sequence 0, 1 record: it was answered "appended at 1", but a correct broker answers "appended at 0""#
        ]],
    );
    named(
        Lane::Rig,
        expect![[
            r#"e1: the final reader asked Produce to p0: producer 7 epoch 0 sequence 0, 1 record: it was answered "appended at 1", but a correct broker answers "appended at 0""#
        ]],
    );
}

/// What it deviates in, and whether it holds all the same.
fn deviates(story: &Story, expected: expect_test::Expect) {
    let judgements = judge(&story.history);
    let answers = judgements.iter().filter(|judgement| judgement.property.name == "answers");
    let mut told = String::new();
    for judgement in answers {
        assert!(!matches!(judgement.verdict, Verdict::Violated(_)), "{judgement:?}");
        for one in &judgement.deviations {
            told += &format!("{}: {}\n  {}\n", judgement.claim.name(), one.what, one.story);
        }
        for note in &judgement.notes {
            told += &format!("{}: {}\n", note.what, note.times);
        }
    }
    expected.assert_eq(&told);
}

#[test]
fn another_code_than_kafkas_is_a_deviation_and_told_once() {
    let gap = || (send(batch(5)), Err(Code::INVALID_RECORD));
    deviates(
        &sent_and([gap(), gap()]),
        expect![[r#"
        idempotent: Produce refused with INVALID_RECORD (87) where Kafka refuses with OUT_OF_ORDER_SEQUENCE_NUMBER (45)
          c0 asked Produce to p0: producer 7 epoch 0 sequence 5, 1 record: it was answered "refused with INVALID_RECORD (87)"; Kafka refuses with OUT_OF_ORDER_SEQUENCE_NUMBER (45)
    "#]],
    );
}

/// What comes after it cannot be known: was anything appended?
#[test]
fn what_a_broker_should_and_need_not_is_a_deviation() {
    let acks = Request::Malformed {
        flaw: Flaw::Acks,
        partition: Partition(0),
        batch: batch(1),
        txn: None,
    };
    let next = (send(batch(1)), Ok(Response::Appended(Some(2))));
    deviates(
        &sent_and([(acks, Ok(Response::Appended(Some(1)))), next]),
        expect![[r#"
            idempotent: LOG-13, a SHOULD, is not kept: A number of acks other than -1, 0 and 1 is refused
              c0 asked Produce to p0, spoilt (Acks): producer 7 epoch 0 sequence 1, 1 record: it was answered "appended at 1", but should be "refused with INVALID_REQUIRED_ACKS (21)"
            answers not judged: 1
        "#]],
    );
}

#[test]
fn a_fetch_may_tell_less_than_there_is_and_be_behind_itself() {
    let stored = LogBatch {
        base: 0,
        last: 0,
        session: Some(PRODUCER),
        first_sequence: 0,
        transactional: false,
        body: Body::Records(vec![(0, Some(batch(0).records[0]))]),
    };
    let fetch = || Request::Fetch {
        partition: Partition(0),
        offset: 0,
        isolation: Isolation::ReadUncommitted,
    };
    let reply = |high_watermark, batches: &[LogBatch]| {
        let (aborted, batches) = (Vec::new(), batches.to_vec());
        Ok(Response::Fetched(FetchReply { high_watermark, last_stable: -1, aborted, batches }))
    };
    let story = sent_and([
        (send(batch(1)), Ok(Response::Appended(Some(1)))),
        (fetch(), reply(2, &[])),
        (fetch(), reply(0, std::slice::from_ref(&stored))),
        (fetch(), reply(1, std::slice::from_ref(&stored))),
        (fetch(), reply(2, std::slice::from_ref(&stored))),
    ]);
    deviates(
        &story,
        expect![[r#"
            at-least-once: Fetch that returns nothing where there is something
              c0 asked Fetch of p0 from 0 at read_uncommitted: it was answered "[], high watermark 2, last stable offset -1, aborted []"
            at-least-once: Fetch whose high watermark is behind what it returns
              c0 asked Fetch of p0 from 0 at read_uncommitted: it was answered "[0 r1 of 7/0], high watermark 0, last stable offset -1, aborted []"
            at-least-once: Fetch whose end of all, or of what is stable, is too low
              c0 asked Fetch of p0 from 0 at read_uncommitted: it was answered "[0 r1 of 7/0], high watermark 1, last stable offset -1, aborted []"
        "#]],
    );
}

/// Its failures show the first of them alone.
#[test]
fn each_kind_of_wrong_answer_is_told() {
    let wrong = |request: Request, answer: Answer| {
        let judgements = judge(&sent_and([(request, answer)]).history);
        let answers = judgements.into_iter().filter(|one| one.property.name == "answers");
        let deviations = answers.flat_map(|one| one.deviations).filter(|one| one.breaks);
        deviations.map(|one| one.what).collect::<Vec<_>>()
    };
    let refused = wrong(send(batch(1)), Err(Code::OUT_OF_ORDER_SEQUENCE_NUMBER));
    assert_eq!(refused, ["Produce refused with OUT_OF_ORDER_SEQUENCE_NUMBER (45)"]);
    let done = wrong(send(batch(3)), Ok(Response::Appended(Some(1))));
    let instead = "OUT_OF_ORDER_SEQUENCE_NUMBER (45)";
    assert_eq!(done, [format!("Produce done where a correct broker refuses with {instead}")]);
    let elsewhere = wrong(send(batch(1)), Ok(Response::Appended(Some(7))));
    assert_eq!(elsewhere, ["Produce answered with what is not so"]);
}

#[test]
fn in_which_cells_it_holds_and_breaks_is_told() {
    let cells = |story: Story| {
        let judgements = judge(&story.history);
        let one = judgements
            .into_iter()
            .find(|one| one.property.name == "answers" && one.claim == Claim::Idempotent);
        let one = one.expect("it judges that claim");
        let clauses = |cells: &[Cell]| {
            let all = cells.iter().flat_map(|cell| cell.clauses());
            all.copied().filter(|id| id.starts_with("DED")).collect::<Vec<_>>()
        };
        (clauses(&one.kept), clauses(&one.broken))
    };
    let (first, duplicate) = ("DED-01", ["DED-04", "DED-12"]);
    let kept = [&[first], &duplicate[..]].concat();
    assert_eq!(cells(resent(Ok(Response::Appended(Some(0))))), (kept, vec![]));
    let wrong = resent(Ok(Response::Appended(Some(1))));
    assert_eq!(cells(wrong), (vec![first], duplicate.to_vec()));
}
