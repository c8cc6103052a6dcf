//! The second judge on tiny talks written by hand: what some correct broker answers is explained, all else is accused.

use onceness_reference::code::Code;
use onceness_reference::exchanges::{Exchange, Lane};
use onceness_reference::explain::{Explained, Odd, Oddity, explain};
use onceness_reference::history::{HISTORY_VERSION, Header, History, Record};
use onceness_reference::ids::{ClientId, GroupId, Key, Offset, Partition, Tag, TxnId};
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

    /// With a transaction of TV2 that wrote one record and was aborted; its marker may be written or not.
    fn with_aborted() -> Wire {
        let mut wire = Wire::default();
        wire.says(open(0), Ok(Response::Producer(PRODUCER)));
        wire.says(write(0, PRODUCER, 1), at(0));
        wire.says(abort(0, PRODUCER, Protocol::Tv2), Ok(Response::Ended(in_epoch(1))));
        wire
    }

    /// With an open transaction of TV1 that a partition was added to, and no more.
    fn with_open() -> Wire {
        let mut wire = Wire::default();
        wire.says(open(0), Ok(Response::Producer(PRODUCER)));
        wire.says(add(0, PRODUCER), Ok(Response::Done));
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

/// Opens a transactional id, naming no session.
fn open(txn: u32) -> Request {
    Request::InitProducer { txn: Some(TxnId(txn)), expected: None }
}

fn add(txn: u32, session: Session) -> Request {
    Request::AddPartition { txn: TxnId(txn), session, partition: Partition(0) }
}

fn abort(txn: u32, session: Session, protocol: Protocol) -> Request {
    Request::EndTxn { txn: TxnId(txn), session, ending: Ending::Abort, protocol }
}

fn list(earliest: bool) -> Request {
    let isolation = Isolation::ReadUncommitted;
    Request::ListOffsets { partition: Partition(0), earliest, isolation }
}

fn listed(offset: Offset) -> Answer {
    Ok(Response::Listed(offset))
}

fn save(group: u32) -> Request {
    let positions = vec![(Partition(0), 1)];
    Request::Save { group: GroupId(group), member: None, positions }
}

/// The usual producer in that epoch.
fn in_epoch(epoch: i16) -> Session {
    Session { epoch, ..PRODUCER }
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

/// The requests of which it is told in which state they found the broker.
fn finders(explained: &Explained) -> Vec<u32> {
    explained.cells.iter().map(|(request, _)| *request).collect()
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

#[test]
fn what_comes_after_an_accusation_is_not_judged() {
    let mut wire = Wire::default();
    wire.says(send(1, None), at(0));
    let wrong = wire.says(send(2, None), at(0));
    wire.says(send(3, None), at(2));
    wire.says(list(false), listed(3));
    let explained = wire.explained();
    assert_eq!(explained.accusation.map(|accused| accused.request), Some(wrong));
    assert_eq!((explained.judged.len(), explained.unjudged), (1, 2));
}

/// Some differences show only behind others.
#[test]
fn several_choices_are_found_one_after_the_other() {
    let mut wire = Wire::with_producer();
    for sequence in 0..6 {
        wire.says(send(sequence as u32, Some(sequence)), at(Offset::from(sequence)));
    }
    wire.says(send(0, Some(0)), Err(Code::DUPLICATE_SEQUENCE_NUMBER));
    let other = Session { producer: 8, epoch: 0 };
    wire.says(open(0), Ok(Response::Producer(other)));
    wire.says(add(0, other), Ok(Response::Done));
    let (txn, ending, protocol) = (TxnId(0), Ending::Commit, Protocol::Tv1);
    let commit = Request::EndTxn { txn, session: other, ending, protocol };
    wire.says(commit, Ok(Response::Ended(other)));
    wire.says(list(false), listed(8));
    let explained = wire.explained();
    assert_eq!(explained.accusation, None);
    let wanted = (Code::DUPLICATE_SEQUENCE_NUMBER, true);
    assert_eq!((explained.rules.old_duplicate, explained.rules.burns_offsets), wanted);
}

#[test]
fn only_a_connection_that_was_cut_keeps_no_order() {
    for (cut, told) in [(0, false), (1, true)] {
        let mut wire = Wire::default();
        wire.ask(0, send(1, None));
        wire.0.push(Exchange::Cut { lane: Lane::Client(ClientId(cut)) });
        wire.says(send(2, None), at(0));
        assert_eq!(wire.explained().accusation.is_some(), told, "{cut}");
    }
}

#[test]
fn a_connection_that_was_cut_keeps_no_order_after_a_restart_either() {
    let mut wire = Wire::default();
    let late = wire.ask(0, send(1, None));
    wire.0.push(Exchange::Cut { lane: Lane::Client(ClientId(0)) });
    wire.0.push(Exchange::Restarted);
    wire.says(send(2, None), at(0));
    wire.answer(late, at(1));
    assert_eq!(wire.explained().accusation, None);
}

#[test]
fn what_the_broker_gave_up_was_carried_out_or_not() {
    for code in [Code::REQUEST_TIMED_OUT, Code::UNKNOWN_SERVER_ERROR] {
        for there in [&[][..], &[1]] {
            for connection in [0, 1] {
                let mut wire = Wire::default();
                let given_up = wire.ask(connection, send(1, None));
                wire.answer(given_up, Err(code));
                let seen = wire.says(fetch(), log(there));
                let explained = wire.explained();
                assert_eq!((explained.accusation, explained.judged), (None, vec![seen]));
                assert_eq!(explained.odd, []);
            }
        }
    }
}

#[test]
fn who_was_refused_to_join_may_save_without() {
    let mut wire = Wire::default();
    wire.says(Request::Join { group: GroupId(0) }, Err(Code::REQUEST_TIMED_OUT));
    let (group, member, positions) = (GroupId(0), None, vec![(Partition(0), 1)]);
    wire.says(Request::Save { group, member, positions }, Ok(Response::Done));
    assert_eq!(wire.explained().accusation, None);
}

#[test]
fn what_asks_for_no_answer_may_be_lost() {
    for there in [&[][..], &[1]] {
        let mut wire = Wire::default();
        let batch = Batch { session: None, first_sequence: -1, records: vec![record(1)] };
        let (partition, acks, txn) = (Partition(0), false, None);
        wire.says(Request::Produce { partition, batch, acks, txn }, Ok(Response::Done));
        let seen = wire.says(fetch(), log(there));
        let explained = wire.explained();
        assert_eq!((explained.accusation, explained.judged), (None, vec![seen]));
    }
}

/// It is two requests, and a successor may come between them.
#[test]
fn who_joins_may_be_replaced_at_once() {
    let mut wire = Wire::default();
    wire.says(Request::Join { group: GroupId(0) }, Err(Code::FENCED_INSTANCE_ID));
    let explained = wire.explained();
    assert_eq!((explained.accusation, explained.odd), (None, Vec::new()));
}

#[test]
fn a_save_is_overtaken_as_a_write_is() {
    let save = |session| Request::SaveInTxn {
        txn: TxnId(0),
        session,
        protocol: Protocol::Tv2,
        group: GroupId(0),
        member: None,
        positions: vec![(Partition(0), 1)],
    };
    for (other, overtaken) in [(in_epoch(1), true), (PRODUCER, false)] {
        let mut wire = Wire::default();
        wire.says(open(0), Ok(Response::Producer(PRODUCER)));
        let asked = wire.ask(0, save(PRODUCER));
        wire.ask(1, save(other));
        wire.answer(asked, Err(Code::INVALID_PRODUCER_EPOCH));
        let accused = wire.explained().accusation.map(|accused| accused.request);
        assert_eq!(accused, (!overtaken).then_some(asked), "{other:?}");
    }
}

/// Whichever it was, it is none that somebody else names.
#[test]
fn a_producer_id_that_nobody_was_told_is_not_guessed() {
    for place in 0..4 {
        for producer in 0..4 {
            let mut wire = Wire::default();
            for _ in 0..place {
                wire.ask(1, fetch());
            }
            let lost = wire.ask(0, open(0));
            wire.0.push(Exchange::Unanswered { of: lost });
            let expected = Some(Session { producer, epoch: 0 });
            let by_name = Request::InitProducer { txn: Some(TxnId(0)), expected };
            wire.says(by_name, Err(Code::PRODUCER_FENCED));
            let explained = wire.explained();
            let story = format!("{producer} after {place}");
            assert_eq!((explained.accusation, explained.odd), (None, Vec::new()), "{story}");
        }
    }
}

#[test]
fn a_lost_opening_gave_what_is_told_next_of_its_transactional_id() {
    let mut wire = Wire::default();
    for txn in 0..2 {
        let lost = wire.ask(txn, open(txn.into()));
        wire.0.push(Exchange::Unanswered { of: lost });
    }
    wire.says(open(1), Ok(Response::Producer(Session { producer: 8, epoch: 1 })));
    wire.says(open(0), Ok(Response::Producer(Session { producer: 7, epoch: 1 })));
    let explained = wire.explained();
    assert_eq!((explained.accusation, explained.odd), (None, Vec::new()));
}

#[test]
fn a_lost_opening_gave_none_that_begins_later() {
    let mut wire = Wire::default();
    let lost = wire.ask(0, open(0));
    wire.0.push(Exchange::Unanswered { of: lost });
    let by_name = Request::InitProducer { txn: Some(TxnId(0)), expected: Some(PRODUCER) };
    wire.says(by_name, Err(Code::PRODUCER_FENCED));
    wire.says(open(0), Ok(Response::Producer(PRODUCER)));
    let explained = wire.explained_by(Rules { epoch_max: 0, ..Rules::default() });
    assert_eq!((explained.accusation, explained.odd), (None, Vec::new()));
}

#[test]
fn the_first_producer_id_of_all_may_be_zero() {
    let mut wire = Wire::default();
    wire.says(send(1, None), at(0));
    let first = Session { producer: 0, epoch: 0 };
    wire.says(open(0), Ok(Response::Producer(first)));
    assert_eq!(wire.explained().accusation, None);
}

#[test]
fn a_restart_may_write_a_marker_again() {
    for (end, told) in [(1, false), (2, false), (3, false), (4, true)] {
        let mut wire = Wire::with_aborted();
        wire.0.push(Exchange::Restarted);
        wire.says(list(false), listed(end));
        assert_eq!(wire.explained().accusation.is_some(), told, "{end}");
    }
}

/// That all markers stand is noted by the coordinator some time later, and nobody sees it.
#[test]
fn what_was_complete_before_a_restart_is_not_completed_again() {
    for (end, told) in [(1, true), (2, false), (3, false), (4, true)] {
        let mut wire = Wire::with_aborted();
        wire.says(list(false), listed(2));
        wire.0.push(Exchange::Restarted);
        wire.says(open(0), Ok(Response::Producer(in_epoch(2))));
        wire.says(list(false), listed(end));
        let explained = wire.explained();
        assert_eq!(explained.accusation.is_some(), told, "{end}");
        assert!(told || explained.rules == Rules::default(), "{end}");
    }
}

/// Who goes on with a transactional id comes after the marker of its last transaction.
#[test]
fn what_a_marker_came_after_was_carried_out_before() {
    for (offset, told) in [(0, false), (1, false), (2, true)] {
        let mut wire = Wire::with_open();
        wire.says(abort(0, PRODUCER, Protocol::Tv1), Ok(Response::Ended(PRODUCER)));
        let other = wire.ask(1, send(1, None));
        wire.says(add(0, PRODUCER), Ok(Response::Done));
        wire.answer(other, at(offset));
        assert_eq!(wire.explained().accusation.is_some(), told, "{offset}");
    }
}

/// The same where the end of the last transaction was on its way, too.
#[test]
fn what_a_marker_came_after_that_was_decided_meanwhile_was_carried_out_before() {
    for (offset, told) in [(0, false), (1, false), (2, true)] {
        let mut wire = Wire::with_open();
        let other = wire.ask(1, send(1, None));
        let end = wire.ask(0, abort(0, PRODUCER, Protocol::Tv1));
        let next = wire.ask(2, open(0));
        wire.answer(next, Ok(Response::Producer(in_epoch(1))));
        wire.answer(other, at(offset));
        wire.answer(end, Ok(Response::Ended(PRODUCER)));
        let explained = wire.explained();
        assert_eq!(explained.accusation.is_some(), told, "{offset}");
        assert!(told || explained.rules == Rules::default(), "{offset}");
    }
}

/// The same where the next opening itself aborts it.
#[test]
fn what_the_marker_of_a_waiting_opening_came_after_was_carried_out_before() {
    for (offset, told) in [(0, false), (1, false), (2, true)] {
        let mut wire = Wire::with_open();
        let other = wire.ask(1, send(1, None));
        wire.says(open(0), Ok(Response::Producer(in_epoch(1))));
        wire.answer(other, at(offset));
        let explained = wire.explained_by(Rules { init_waits: true, ..Rules::default() });
        assert_eq!(explained.accusation.is_some(), told, "{offset}");
    }
}

/// Both refuse it for the moment: who aborts the open transaction first, and who does nothing.
#[test]
fn who_refuses_an_opening_for_the_moment_has_fenced_or_not() {
    for answer in [Ok(Response::Done), Err(Code::PRODUCER_FENCED)] {
        let mut wire = Wire::with_open();
        wire.says(open(0), Err(Code::CONCURRENT_TRANSACTIONS));
        wire.says(add(0, PRODUCER), answer.clone());
        let explained = wire.explained();
        let told = (explained.accusation, explained.rules);
        assert_eq!(told, (None, Rules::default()), "{answer:?}");
    }
}

#[test]
fn who_was_not_asked_for_it_has_not_fenced() {
    let mut wire = Wire::with_open();
    let put_off = wire.ask(1, open(0));
    let fenced = wire.says(add(0, PRODUCER), Err(Code::PRODUCER_FENCED));
    wire.answer(put_off, Err(Code::NOT_COORDINATOR));
    assert_eq!(wire.explained().accusation.map(|accused| accused.request), Some(fenced));
}

#[test]
fn who_looks_past_a_marker_does_not_say_whether_it_is_there() {
    for end in [1, 2] {
        let mut wire = Wire::with_aborted();
        wire.says(list(true), listed(0));
        wire.says(list(false), listed(end));
        assert_eq!(wire.explained().accusation, None, "{end}");
    }
}

/// As [`what_is_complete_in_secret_can_be_added_to`], and the write is answered first.
#[test]
fn what_is_added_to_can_be_fenced_before_the_leader_looks() {
    let mut wire = Wire::with_aborted();
    let late = wire.ask(1, write(0, in_epoch(1), 2));
    let fence = wire.ask(0, open(0));
    wire.answer(late, Err(Code::INVALID_PRODUCER_EPOCH));
    wire.answer(fence, Err(Code::CONCURRENT_TRANSACTIONS));
    wire.says(open(0), Ok(Response::Producer(in_epoch(3))));
    let explained = wire.explained();
    assert_eq!((explained.accusation, explained.odd), (None, Vec::new()));
}

#[test]
fn what_had_to_come_first_tells_its_state_too_if_it_is_answered() {
    for answered in [true, false] {
        let mut wire = Wire::with_producer();
        let first = wire.ask(0, send(1, Some(0)));
        let second = wire.ask(1, send(2, Some(1)));
        wire.answer(second, at(1));
        if answered {
            wire.answer(first, at(0));
        }
        let finders = finders(&wire.explained());
        assert_eq!(finders.contains(&first), answered);
        assert!(finders.contains(&second));
    }
}

#[test]
fn an_accusation_does_not_unsay_what_was_certain_before() {
    let mut wire = Wire::with_producer();
    let first = wire.says(send(1, Some(0)), at(0));
    wire.says(send(1, Some(0)), at(1));
    assert_eq!(finders(&wire.explained()), [0, first]);
}

/// Whether the transaction was still open is told by who looks at the end, not by who looks at the start.
#[test]
fn what_another_answer_makes_certain_is_told() {
    for (end, state) in [(1, Some("an open transaction")), (2, None)] {
        let mut wire = Wire::with_aborted();
        let uncertain = wire.says(list(true), listed(0));
        wire.says(list(false), listed(end));
        let explained = wire.explained();
        let cells = found(&explained).into_iter().filter(|(request, _)| *request == uncertain);
        let names: Vec<String> = cells.map(|(_, name)| name).collect();
        let wanted = state.map(|state| format!("ListOffsets: {state}, the start"));
        assert_eq!(names, Vec::from_iter(wanted));
    }
}

#[test]
fn what_has_nothing_to_do_with_each_other_is_no_question_of_order() {
    let saves = (0..8).map(|group| (save(group), Ok(Response::Done)));
    let nameless = Request::InitProducer { txn: None, expected: None };
    let producer = |producer| Ok(Response::Producer(Session { producer, epoch: 0 }));
    let openings = (0..8).map(|number| (nameless.clone(), producer(number)));
    let adding = (0..8).map(|txn| (add(txn, PRODUCER), Err(Code::INVALID_PRODUCER_ID_MAPPING)));
    let reading = (0..8).map(|_| (fetch(), log(&[])));
    let of_one_kind: [Vec<(Request, Answer)>; 4] =
        [saves.collect(), openings.collect(), adding.collect(), reading.collect()];
    for all in of_one_kind {
        let mut wire = Wire::default();
        let asked: Vec<(u32, Answer)> = (0..)
            .zip(all)
            .map(|(client, (request, answer))| (wire.ask(client, request), answer))
            .collect();
        asked.into_iter().for_each(|(request, answer)| wire.answer(request, answer));
        let explained = wire.explained();
        let judged = (explained.judged.len(), explained.unjudged);
        assert_eq!((explained.accusation, judged), (None, (8, 0)));
    }
}

#[test]
fn who_only_looks_and_is_never_answered_is_no_question_of_order() {
    let mut wire = Wire::default();
    for client in 1..9 {
        wire.ask(client, fetch());
    }
    wire.says(send(1, None), at(0));
    let explained = wire.explained();
    assert_eq!((explained.accusation, explained.unjudged), (None, 0));
}

#[test]
fn a_marker_elsewhere_is_no_question() {
    let mut wire = Wire::default();
    for txn in 0..5 {
        let session = Session { producer: 10 + i64::from(txn), epoch: 0 };
        wire.says(open(txn), Ok(Response::Producer(session)));
        let (id, group) = (TxnId(txn), GroupId(1));
        let add = Request::AddGroup { txn: id, session, group };
        wire.says(add, Ok(Response::Done));
        wire.says(abort(txn, session, Protocol::Tv1), Ok(Response::Ended(session)));
    }
    wire.says(fetch(), log(&[]));
    let explained = wire.explained();
    assert_eq!((explained.accusation, explained.unjudged), (None, 0));
}

/// Either too much can be there now, or there are too many ways to what is.
#[test]
fn where_too_much_is_possible_nothing_is_judged() {
    for (lost, alike, judged) in [(4, false, 1), (5, false, 0), (5, true, 1), (6, true, 0)] {
        let mut wire = Wire::default();
        for number in 0..lost {
            let tag = if alike { 0 } else { number.into() };
            let of = wire.ask(number, send(tag, None));
            wire.0.push(Exchange::Unanswered { of });
        }
        wire.says(send(9, None), at(lost.into()));
        let explained = wire.explained();
        let wanted = (None, judged, 1 - judged as u64);
        let told = (explained.accusation, explained.judged.len(), explained.unjudged);
        assert_eq!(told, wanted, "{lost}, alike: {alike}");
    }
}
