//! The second judge, as a property: what it accuses and how it tells it.

use expect_test::expect;
use onceness_properties::Claim;
use onceness_reference::exchanges::{Exchange, Lane};
use onceness_reference::history::Record;
use onceness_reference::ids::{ClientId, Key, Partition, Tag};
use onceness_reference::plan::Delivery;
use onceness_reference::protocol::{Answer, Batch, Request, Response, Session};

use crate::story::{Story, producer};

const PRODUCER: Session = Session { producer: 7, epoch: 0 };

/// A producer sends a batch and, in want of an answer, sends it again. So it was answered.
fn resent(second: Answer) -> Story {
    let mut story = Story::of([producer(Delivery::Idempotent)]);
    let records = vec![Record { tag: Tag(1), key: Key(0), from: None }];
    let batch = Batch { session: Some(PRODUCER), first_sequence: 0, records };
    let send = Request::Produce { partition: Partition(0), batch, acks: true, txn: None };
    let init = Request::InitProducer { txn: None, expected: None };
    for (request, answer) in [
        (init, Ok(Response::Producer(PRODUCER))),
        (send.clone(), Ok(Response::Appended(Some(0)))),
        (send, second),
    ] {
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
