//! The second judge on tiny talks written by hand: what some correct broker answers is explained, all else is accused.

use onceness_reference::code::Code;
use onceness_reference::exchanges::{Exchange, Lane};
use onceness_reference::explain::{Explained, Odd, Oddity, explain};
use onceness_reference::history::{HISTORY_VERSION, Header, History, Record};
use onceness_reference::ids::{ClientId, Key, Offset, Partition, Tag, TxnId};
use onceness_reference::plan::{Isolation, Protocol};
use onceness_reference::protocol::{
    Answer, Batch, Body, Ending, FetchReply, LogBatch, Request, Response, Session,
};
use onceness_reference::rules::Rules;

const PRODUCER: Session = Session { producer: 7, epoch: 0 };

/// What went over the wire.
#[derive(Default)]
struct Wire(Vec<Exchange>);

impl Wire {
    /// With an idempotent producer who got its id already.
    fn with_producer() -> Wire {
        let mut wire = Wire::default();
        let init = wire.ask(0, Request::InitProducer { txn: None, expected: None });
        wire.answer(init, Ok(Response::Producer(PRODUCER)));
        wire
    }

    fn ask(&mut self, client: u8, request: Request) -> u32 {
        let lane = Lane::Client(ClientId(client));
        self.0.push(Exchange::Asked { after: None, lane, request });
        (self.0.len() - 1) as u32
    }

    fn answer(&mut self, of: u32, answer: Answer) {
        self.0.push(Exchange::Answered { of, answer });
    }

    fn says(&mut self, request: Request, answer: Answer) -> u32 {
        let of = self.ask(0, request);
        self.answer(of, answer);
        of
    }

    fn explained(self) -> Explained {
        self.explained_by(Rules::default())
    }

    fn explained_by(self, likely: Rules) -> Explained {
        let header = Header {
            version: HISTORY_VERSION,
            target: "hand".to_owned(),
            partitions: 1,
            clients: Vec::new(),
        };
        explain(&History { header, events: Vec::new(), exchanges: self.0 }, likely)
    }
}

fn record(tag: u32) -> Record {
    Record { tag: Tag(tag), key: Key(0), from: None }
}

/// A batch of one record, plain or with its sequence number.
fn send(tag: u32, sequence: Option<i32>) -> Request {
    let batch = Batch {
        session: sequence.map(|_| PRODUCER),
        first_sequence: sequence.unwrap_or(-1),
        records: vec![record(tag)],
    };
    Request::Produce { partition: Partition(0), batch, acks: true, txn: None }
}

/// A batch of one record in a transaction of TV2, the first of its session.
fn write(txn: u32, session: Session, tag: u32) -> Request {
    Request::Produce {
        partition: Partition(0),
        batch: Batch { session: Some(session), first_sequence: 0, records: vec![record(tag)] },
        acks: true,
        txn: Some((TxnId(txn), Protocol::Tv2)),
    }
}

fn at(offset: Offset) -> Answer {
    Ok(Response::Appended(Some(offset)))
}

fn fetch() -> Request {
    Request::Fetch { partition: Partition(0), offset: 0, isolation: Isolation::ReadUncommitted }
}

/// A log of plain batches of one record.
fn log(tags: &[u32]) -> Answer {
    let batches = (0..).zip(tags).map(|(base, tag)| LogBatch {
        base,
        last: base,
        session: None,
        first_sequence: -1,
        transactional: false,
        body: Body::Records(vec![(base, Some(record(*tag)))]),
    });
    let end = tags.len() as Offset;
    Ok(Response::Fetched(FetchReply {
        high_watermark: end,
        last_stable: end,
        aborted: Vec::new(),
        batches: batches.collect(),
    }))
}

#[test]
fn what_a_correct_broker_answers_is_judged() {
    let mut wire = Wire::default();
    let first = wire.says(send(1, None), at(0));
    let second = wire.says(fetch(), log(&[1]));
    let explained = wire.explained();
    assert_eq!(explained.accusation, None);
    assert_eq!((explained.judged, explained.unjudged), (vec![first, second], 0));
    assert_eq!((explained.rules, explained.odd), (Rules::default(), Vec::new()));
}

#[test]
fn a_wrong_offset_is_accused_and_the_right_one_told() {
    let mut wire = Wire::default();
    wire.says(send(1, None), at(0));
    let wrong = wire.says(send(2, None), at(0));
    let accusation = wire.explained().accusation.unwrap();
    assert_eq!((accusation.request, accusation.instead), (wrong, vec![at(1)]));
}

#[test]
fn what_overlaps_comes_in_either_order() {
    for (one, other, told) in [(0, 1, false), (1, 0, false), (0, 0, true), (1, 1, true)] {
        let mut wire = Wire::default();
        let (first, second) = (wire.ask(0, send(1, None)), wire.ask(1, send(2, None)));
        wire.answer(first, at(one));
        wire.answer(second, at(other));
        assert_eq!(wire.explained().accusation.is_some(), told, "{one} and {other}");
    }
}

#[test]
fn requests_of_one_connection_come_in_their_order() {
    let mut wire = Wire::default();
    let (first, second) = (wire.ask(0, send(1, None)), wire.ask(0, send(2, None)));
    wire.answer(second, at(0));
    wire.answer(first, at(1));
    assert_eq!(wire.explained().accusation.map(|accused| accused.request), Some(second));
}

#[test]
fn what_was_never_answered_may_come_late_but_not_after_a_restart() {
    for restarted in [false, true] {
        let mut wire = Wire::default();
        let lost = wire.ask(0, send(1, None));
        wire.0.push(Exchange::Unanswered { of: lost });
        if restarted {
            wire.0.push(Exchange::Restarted);
        }
        wire.says(fetch(), log(&[]));
        let seen = wire.says(fetch(), log(&[1]));
        let accused = wire.explained().accusation.map(|accused| accused.request);
        assert_eq!(accused, restarted.then_some(seen));
    }
}

/// Of two that look at one partition while a transaction is ended, one can have come before the marker and one after it.
#[test]
fn a_marker_comes_between_two_that_only_look() {
    let mut wire = Wire::default();
    let (txn, partition) = (TxnId(0), Partition(0));
    let init = Request::InitProducer { txn: Some(txn), expected: None };
    wire.says(init.clone(), Ok(Response::Producer(PRODUCER)));
    let add = Request::AddPartition { txn, session: PRODUCER, partition };
    wire.says(add, Ok(Response::Done));
    let list =
        Request::ListOffsets { partition, earliest: false, isolation: Isolation::ReadUncommitted };
    let late = wire.ask(1, list.clone());
    let early = wire.ask(2, list);
    let fence = wire.ask(0, init);
    wire.answer(late, Ok(Response::Listed(1)));
    wire.answer(early, Ok(Response::Listed(0)));
    wire.answer(fence, Err(Code::CONCURRENT_TRANSACTIONS));
    let explained = wire.explained();
    assert_eq!((explained.accusation, explained.judged.len()), (None, 5));
}

/// The same where the transaction was decided before: the broker writes the marker when it likes.
#[test]
fn a_marker_that_is_owed_comes_between_two_that_only_look() {
    let mut wire = Wire::default();
    let (txn, partition) = (TxnId(0), Partition(0));
    let init = Request::InitProducer { txn: Some(txn), expected: None };
    wire.says(init, Ok(Response::Producer(PRODUCER)));
    let add = Request::AddPartition { txn, session: PRODUCER, partition };
    wire.says(add, Ok(Response::Done));
    let (session, ending, protocol) = (PRODUCER, Ending::Commit, Protocol::Tv1);
    let end = Request::EndTxn { txn, session, ending, protocol };
    wire.says(end, Ok(Response::Ended(PRODUCER)));
    let list =
        Request::ListOffsets { partition, earliest: false, isolation: Isolation::ReadUncommitted };
    let late = wire.ask(1, list.clone());
    let early = wire.ask(2, list.clone());
    wire.answer(late, Ok(Response::Listed(1)));
    wire.answer(early, Ok(Response::Listed(0)));
    // Once it has been seen there is no way back.
    let wrong = wire.says(list, Ok(Response::Listed(0)));
    assert_eq!(wire.explained().accusation.map(|accused| accused.request), Some(wrong));
}

#[test]
fn what_was_read_once_stays() {
    let mut wire = Wire::default();
    let lost = wire.ask(0, send(1, None));
    wire.0.push(Exchange::Unanswered { of: lost });
    wire.says(fetch(), log(&[1]));
    let wrong = wire.says(send(2, None), at(0));
    assert_eq!(wire.explained().accusation.map(|accused| accused.request), Some(wrong));
}

#[test]
fn a_gap_in_the_sequence_must_be_refused() {
    let mut wire = Wire::with_producer();
    wire.says(send(1, Some(0)), at(0));
    let gap = wire.says(send(2, Some(2)), at(1));
    let accusation = wire.explained().accusation.unwrap();
    assert_eq!(accusation.request, gap);
    assert_eq!(accusation.instead, [Err(Code::OUT_OF_ORDER_SEQUENCE_NUMBER)]);
}

#[test]
fn another_error_than_kafkas_is_odd_and_no_more() {
    let mut wire = Wire::with_producer();
    wire.says(send(1, Some(0)), at(0));
    let gap = wire.says(send(2, Some(2)), Err(Code::INVALID_RECORD));
    let explained = wire.explained();
    assert_eq!(explained.accusation, None);
    let how = Oddity::Refused(Code::OUT_OF_ORDER_SEQUENCE_NUMBER);
    assert_eq!(explained.odd, [Odd { request: gap, how }]);
}

#[test]
fn to_be_told_to_wait_is_no_breach() {
    let mut wire = Wire::default();
    wire.says(send(1, None), Err(Code::NOT_LEADER_OR_FOLLOWER));
    wire.says(fetch(), log(&[]));
    assert_eq!(wire.explained().accusation, None);
}

#[test]
fn to_be_refused_for_good_without_a_reason_is_one() {
    let mut wire = Wire::default();
    let refused = wire.says(send(1, None), Err(Code::INVALID_TXN_STATE));
    let accusation = wire.explained().accusation.unwrap();
    assert_eq!((accusation.request, accusation.instead), (refused, vec![at(0)]));
}

#[test]
fn the_rules_that_explain_it_are_told() {
    let mut wire = Wire::with_producer();
    for sequence in 0..6 {
        wire.says(send(sequence as u32, Some(sequence)), at(Offset::from(sequence)));
    }
    wire.says(send(0, Some(0)), Err(Code::DUPLICATE_SEQUENCE_NUMBER));
    let explained = wire.explained();
    assert_eq!(explained.accusation, None);
    assert_eq!(explained.rules.old_duplicate, Code::DUPLICATE_SEQUENCE_NUMBER);
}

#[test]
fn a_producer_id_is_given_once() {
    let mut wire = Wire::with_producer();
    let again = wire.says(
        Request::InitProducer { txn: None, expected: None },
        Ok(Response::Producer(PRODUCER)),
    );
    assert_eq!(wire.explained().accusation.map(|accused| accused.request), Some(again));
}

#[test]
fn after_a_pause_nothing_is_judged() {
    let mut wire = Wire::default();
    wire.says(send(1, None), at(0));
    wire.0.push(Exchange::Paused);
    wire.says(fetch(), log(&[]));
    let explained = wire.explained();
    assert_eq!((explained.accusation, explained.judged.len(), explained.unjudged), (None, 1, 1));
}

fn found(explained: &Explained) -> Vec<(u32, String)> {
    explained.cells.iter().map(|(request, cell)| (*request, cell.name())).collect()
}

#[test]
fn each_answer_tells_in_which_state_it_found_the_broker() {
    let mut wire = Wire::with_producer();
    let first = wire.says(send(1, Some(0)), at(0));
    let again = wire.says(send(1, Some(0)), at(0));
    let explained = wire.explained();
    let known = "Produce outside of transactions: its epoch known, a duplicate of the last five";
    let nothing =
        "Produce outside of transactions: nothing known of the producer, the next sequence number";
    let wanted = [
        (0, "InitProducerId: no transactional id, no session named".to_owned()),
        (first, nothing.to_owned()),
        (again, known.to_owned()),
    ];
    assert_eq!(found(&explained), wanted);
}

/// Of two that overlap nobody knows which was the duplicate.
#[test]
fn what_state_is_not_certain_is_not_told() {
    let mut wire = Wire::with_producer();
    let one = wire.ask(0, send(1, Some(0)));
    let other = wire.ask(1, send(1, Some(0)));
    wire.answer(one, at(0));
    wire.answer(other, at(0));
    let explained = wire.explained();
    assert_eq!(explained.judged, [0, one, other]);
    assert_eq!(found(&explained).len(), 1);
}

/// Only the answer to the one that came later says which of two was first.
#[test]
fn what_becomes_certain_later_is_told() {
    let mut wire = Wire::with_producer();
    let gap = wire.ask(0, send(2, Some(1)));
    let first = wire.ask(1, send(1, Some(0)));
    wire.answer(first, at(0));
    wire.answer(gap, at(1));
    let explained = wire.explained();
    let idle = "Produce outside of transactions: its epoch known, the next sequence number";
    assert!(found(&explained).contains(&(gap, idle.to_owned())), "{explained:?}");
}

#[test]
fn a_request_that_is_put_off_says_nothing_of_the_state() {
    let mut wire = Wire::with_producer();
    let put_off = wire.says(send(1, Some(0)), Err(Code::NOT_LEADER_OR_FOLLOWER));
    let explained = wire.explained();
    assert!(explained.judged.contains(&put_off));
    assert!(found(&explained).iter().all(|(request, _)| *request != put_off));
}

#[test]
fn an_accusation_says_in_which_state_the_broker_was_wrong() {
    let mut wire = Wire::with_producer();
    wire.says(send(1, Some(0)), at(0));
    wire.says(send(1, Some(0)), at(1));
    let accusation = wire.explained().accusation.unwrap();
    let names: Vec<String> = accusation.cells.iter().map(|cell| cell.name()).collect();
    let known = "Produce outside of transactions: its epoch known, a duplicate of the last five";
    assert_eq!(names, [known]);
}

/// A write that the network kept is added to a transaction after the one before it is complete, which nobody was told; then a
/// new instance fences it, before the leader looks at it.
#[test]
fn what_is_complete_in_secret_can_be_added_to() {
    let txn = TxnId(0);
    let epoch = |epoch| Session { epoch, ..PRODUCER };
    let init = || Request::InitProducer { txn: Some(txn), expected: None };
    let mut wire = Wire::default();
    wire.says(init(), Ok(Response::Producer(epoch(0))));
    wire.says(write(0, epoch(0), 1), at(0));
    let ending = Ending::Abort;
    let end = Request::EndTxn { txn, session: epoch(0), ending, protocol: Protocol::Tv2 };
    wire.says(end, Ok(Response::Ended(epoch(1))));
    let late = wire.ask(1, write(0, epoch(1), 2));
    wire.says(init(), Err(Code::CONCURRENT_TRANSACTIONS));
    wire.answer(late, Err(Code::INVALID_PRODUCER_EPOCH));
    wire.says(init(), Ok(Response::Producer(epoch(3))));
    let explained = wire.explained();
    assert_eq!((explained.accusation, explained.odd), (None, Vec::new()));
}

/// The commit that gave the new producer id was lost; who asks again is told of the beginning of that id once more.
#[test]
fn a_new_producer_id_that_was_told_too_late_is_still_the_one() {
    let (txn, partition) = (TxnId(0), Partition(0));
    let next = Session { producer: 12, epoch: 0 };
    let mut wire = Wire::default();
    let init = Request::InitProducer { txn: Some(txn), expected: None };
    wire.says(init, Ok(Response::Producer(PRODUCER)));
    wire.says(write(0, PRODUCER, 1), at(0));
    let ending = Ending::Commit;
    let end = Request::EndTxn { txn, session: PRODUCER, ending, protocol: Protocol::Tv2 };
    let lost = wire.ask(0, end.clone());
    wire.0.push(Exchange::Unanswered { of: lost });
    let last = Isolation::ReadCommitted;
    let stable = Request::ListOffsets { partition, earliest: false, isolation: last };
    wire.says(stable, Ok(Response::Listed(2)));
    wire.says(end, Ok(Response::Ended(next)));
    let explained = wire.explained_by(Rules { epoch_max: 0, ..Rules::default() });
    assert_eq!((explained.accusation, explained.odd), (None, Vec::new()));
}

/// The same, asked for by name.
#[test]
fn a_new_producer_id_that_a_lost_opening_gave_is_still_the_one() {
    let (txn, partition) = (TxnId(0), Partition(0));
    let next = Session { producer: 12, epoch: 0 };
    let mut wire = Wire::default();
    let init = |expected| Request::InitProducer { txn: Some(txn), expected };
    wire.says(init(None), Ok(Response::Producer(PRODUCER)));
    let lost = wire.ask(0, init(Some(PRODUCER)));
    wire.0.push(Exchange::Unanswered { of: lost });
    let add = Request::AddPartition { txn, session: PRODUCER, partition };
    wire.says(add, Err(Code::INVALID_PRODUCER_ID_MAPPING));
    wire.says(init(Some(PRODUCER)), Ok(Response::Producer(next)));
    let explained = wire.explained_by(Rules { epoch_max: 0, ..Rules::default() });
    assert_eq!((explained.accusation, explained.odd), (None, Vec::new()));
}

/// A leader asks about both together, and the one of the older epoch is refused, though nobody was given the newer one.
#[test]
fn a_write_is_overtaken_by_one_of_its_transactional_id_and_of_a_newer_epoch() {
    let newer = Session { epoch: 1, ..PRODUCER };
    let stranger = Session { producer: 8, epoch: 1 };
    for (txn, other, early, overtaken) in [
        (0, newer, false, true),
        (0, stranger, false, true),
        (0, newer, true, false),
        (0, PRODUCER, false, false),
        (1, newer, false, false),
    ] {
        let mut wire = Wire::default();
        let init = Request::InitProducer { txn: Some(TxnId(0)), expected: None };
        wire.says(init, Ok(Response::Producer(PRODUCER)));
        if early {
            wire.says(write(txn, other, 1), Err(Code::NOT_LEADER_OR_FOLLOWER));
        }
        let asked = wire.ask(0, write(0, PRODUCER, 1));
        if !early {
            wire.ask(1, write(txn, other, 1));
        }
        wire.answer(asked, Err(Code::INVALID_PRODUCER_EPOCH));
        let accused = wire.explained().accusation.map(|accused| accused.request);
        assert_eq!(accused, (!overtaken).then_some(asked), "t{txn}, {other:?}, early: {early}");
    }
}

#[test]
fn two_transactional_ids_never_get_one_producer_id() {
    let mut wire = Wire::default();
    let txn = TxnId(0);
    let init = |txn| Request::InitProducer { txn: Some(txn), expected: None };
    wire.says(init(txn), Ok(Response::Producer(PRODUCER)));
    let again = wire.says(init(TxnId(1)), Ok(Response::Producer(PRODUCER)));
    assert_eq!(wire.explained().accusation.map(|accused| accused.request), Some(again));
}
