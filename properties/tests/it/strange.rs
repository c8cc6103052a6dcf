//! Histories that no rig of ours would write: judged without panic.

use onceness_properties::{Facts, judge};
use onceness_reference::history::{Call, Event, Outcome, Reply};
use onceness_reference::ids::{ClientId, EventId, StepId, Tag};
use onceness_reference::plan::{Delivery, Saving};

use crate::story::{HELD, RC, RU, Story, appended, nothing, opened, producer, reader};

#[test]
fn a_property_alone_says_what_it_says_among_all() {
    let mut story = Story::of([producer(Delivery::Idempotent)]);
    story.sent(0, 0, &[1, 2], 0);
    story.healed();
    story.read(0, 2, &[(0, 2)]);
    let facts = Facts::of(&story.history);
    for judgement in judge(&story.history) {
        let alone = judgement.property.find(&facts).verdict(judgement.claim);
        assert_eq!(alone, judgement.verdict, "{}", judgement.property.name);
    }
}

#[test]
fn nothing_at_all() {
    Story::of([]).accuses_none();
}

#[test]
fn returns_and_answers_of_nothing() {
    let mut story = Story::of([producer(Delivery::Idempotent)]);
    for of in [0, 1, 2, 99, u32::MAX] {
        story.returns(EventId(of), appended(0));
        story.answer(EventId(of), HELD, opened(0, None));
    }
    story.event(Event::Crashed { step: StepId(0), client: ClientId(77) });
    story.accuses_none();
}

#[test]
fn returns_that_do_not_fit_their_call() {
    let mut story = Story::of([producer(Delivery::Idempotent), reader(Saving::AfterProcessing)]);
    let send = story.send(0, 0, &[]);
    story.returns(send, nothing());
    story.returns(send, opened(0, None));
    let open = story.call(0, Call::Open);
    story.returns(open, appended(3));
    let poll = story.call(1, Call::Poll);
    story.returns(poll, Outcome::Done(Reply::Positions(Vec::new())));
    story.done(1, Call::Commit);
    story.done(1, Call::Close);
    story.accuses_none();
}

#[test]
fn clients_that_the_header_does_not_know() {
    let mut story = Story::of([]);
    story.sent(9, 0, &[1], 0);
    story.begin(9);
    story.saved(9, 4);
    story.process(9, &[1, 2]);
    story.commit(9);
    story.polled(9, 0, 1, &[(0, 1)]);
    story.healed();
    story.read(0, 1, &[(0, 1)]);
    story.accuses_none();
}

#[test]
fn partitions_that_the_header_does_not_know() {
    let mut story = Story::of([producer(Delivery::AtLeastOnce)]);
    story.sent(0, 5, &[1], 0);
    story.sent(0, 3, &[2], 0);
    story.healed();
    story.read(5, 1, &[(0, 1)]);
    story.read(3, 1, &[(0, 2)]);
    story.accuses_none();
}

#[test]
fn sparse_and_huge_numbers() {
    let mut story = Story::of([producer(Delivery::Idempotent)]);
    let tags = [0, 4_000_000_000, 5000, 70_000, 3];
    let offsets = [-7, 0, 9_000, 1 << 40, i64::MAX - 1];
    for (tag, offset) in tags.iter().zip(offsets) {
        let send = story.send(0, 0, &[*tag]);
        story.returns(send, Outcome::Unknown);
        story.polled(0, offset, offset + 1, &[(offset, *tag)]);
    }
    story.polled(0, i64::MIN, i64::MAX, &[]);
    let all: Vec<(i64, u32)> = offsets.into_iter().zip(tags).collect();
    story.healed();
    story.read_at(RU, 0, i64::MAX, &all);
    story.read_at(RC, 0, i64::MAX, &all);
    story.accuses_none();
}

#[test]
fn offsets_at_the_edge_of_what_they_can_be() {
    let mut story = Story::of([producer(Delivery::Idempotent)]);
    story.sent(0, 0, &[1, 2], i64::MAX);
    story.polled(0, i64::MAX, i64::MAX, &[(i64::MAX, 1), (i64::MIN, 2)]);
    story.healed();
    story.read(0, i64::MIN, &[]);
    let _ = judge(&story.history);
}

#[test]
fn one_tag_sent_twice_identifies_nothing() {
    let mut story = Story::of([producer(Delivery::Idempotent)]);
    story.sent(0, 0, &[1], 0);
    story.sent(0, 0, &[1], 1);
    story.healed();
    story.read(0, 2, &[(0, 1), (1, 1)]);
    story.accuses_none();
}

#[test]
fn processing_of_what_nobody_sent() {
    let mut story = Story::of([reader(Saving::BeforeProcessing)]);
    story.done(0, Call::Process { records: vec![Tag(5), Tag(u32::MAX)] });
    story.accuses_none();
}
