//! What a broker that lives long is asked besides: InitProducerId by producers that name their session (KIP-360), transactions
//! whose time is up, partitions that come and go, reading bit by bit.

use onceness_reference::broker::State;
use onceness_reference::code::Code;
use onceness_reference::ids::Partition;
use onceness_reference::protocol::{Request, Response, Session};

use crate::talk::{
    self, Abort, Commit, P0, ReadCommitted, ReadUncommitted, STATES, T, Talk, Tv1, Tv2, epochs_on,
};

fn init(talk: &mut Talk, expected: Session) -> Result<Session, Code> {
    match talk.broker.handle(&Request::InitProducer { txn: Some(T), expected: Some(expected) })? {
        Response::Producer(session) => Ok(session),
        other => panic!("{other:?}"),
    }
}

fn next(session: Session) -> Session {
    epochs_on(session, 1)
}

#[test]
fn the_current_session_is_renewed_and_may_ask_once_more() {
    let mut talk = Talk::new();
    let session = talk.init().unwrap();
    let renewed = init(&mut talk, session);
    assert_eq!(renewed, Ok(next(session)));
    assert_eq!(init(&mut talk, session), renewed, "the answer was lost");
    assert_eq!(init(&mut talk, next(session)), Ok(next(next(session))));
    assert_eq!(init(&mut talk, session), Err(Code::PRODUCER_FENCED), "too late");
}

#[test]
fn a_session_that_was_replaced_is_fenced() {
    let mut talk = Talk::new();
    let session = talk.init().unwrap();
    talk.init().unwrap();
    assert_eq!(init(&mut talk, session), Err(Code::PRODUCER_FENCED));
    let stranger = Session { producer: session.producer + 100, epoch: 0 };
    assert_eq!(init(&mut talk, stranger), Err(Code::PRODUCER_FENCED));
}

#[test]
fn the_end_of_a_transaction_of_tv2_can_have_been_missed() {
    let (mut talk, session) = Talk::at(talk::State::Ongoing, Tv2);
    talk.end(Tv2, session, Commit).unwrap();
    talk.finish();
    assert_eq!(init(&mut talk, session), Ok(next(session)));
}

#[test]
fn only_an_open_transaction_times_out() {
    for state in STATES {
        let (mut talk, session) = Talk::at(state, Tv1);
        talk.broker.time_out(T);
        let found = talk.broker.transaction(T).unwrap();
        match state {
            talk::State::Ongoing => {
                assert_eq!((found.session, found.state.name()), (next(session), "PrepareAbort"));
                talk.finish();
                assert_eq!(talk.end(Tv1, session, Commit), Err(Code::PRODUCER_FENCED));
            }
            _ => assert_eq!(found.session, session, "{state:?}"),
        }
    }
}

#[test]
fn an_idle_transactional_id_can_be_forgotten() {
    let (mut talk, session) = Talk::at(talk::State::Ongoing, Tv1);
    assert_eq!(talk.broker.transaction(T).unwrap().partitions, [P0]);
    assert!(!talk.broker.forget_txn(T));
    talk.end(Tv1, session, Commit).unwrap();
    talk.finish();
    assert_eq!(talk.broker.transaction(T).unwrap().state, State::Complete(Commit));
    assert!(talk.broker.forget_txn(T));
    assert_eq!(talk.end(Tv1, session, Commit), Err(Code::INVALID_PRODUCER_ID_MAPPING));
}

#[test]
fn a_partition_that_is_removed_is_unknown_and_holds_nothing_up() {
    let (mut talk, session) = Talk::at(talk::State::Ongoing, Tv1);
    talk.broker.remove_partition(P0);
    let gone = Err(Code::UNKNOWN_TOPIC_OR_PARTITION);
    assert_eq!(talk.broker.fetch(P0, 0, ReadCommitted, 1), gone);
    assert_eq!(talk.broker.extent(P0), None);
    talk.end(Tv1, session, Commit).unwrap();
    talk.finish();
    assert_eq!(talk.broker.transaction(T).unwrap().state, State::Complete(Commit));
    let new = Partition(7);
    talk.broker.add_partition(new);
    assert_eq!(talk.broker.extent(new).unwrap().end, 0);
}

#[test]
fn a_bounded_fetch_tells_the_aborted_transactions_of_what_it_returns() {
    let mut talk = Talk::new();
    for _ in 0..2 {
        let session = talk.init().unwrap();
        talk.add(session, P0).unwrap();
        talk.send_in(Tv1, P0, session, 0, 1).unwrap();
        talk.end(Tv1, session, Abort).unwrap();
        talk.finish();
    }
    let fetch = |from, most| talk.broker.fetch(P0, from, ReadCommitted, most).unwrap();
    let bases =
        |from, most| Vec::from_iter(fetch(from, most).batches.iter().map(|batch| batch.base));
    assert_eq!(bases(0, 1), [0]);
    assert_eq!(bases(1, 2), [1, 2]);
    assert_eq!(bases(0, 9), [0, 1, 2, 3]);
    let aborted =
        |from, most| Vec::from_iter(fetch(from, most).aborted.iter().map(|(_, first)| *first));
    assert_eq!(aborted(0, 1), [0]);
    assert_eq!(aborted(0, 9), [0, 2]);
    assert_eq!(aborted(2, 1), [2]);
    let all = talk.broker.fetch(P0, 0, ReadUncommitted, 9).unwrap();
    assert_eq!((all.batches.len(), all.aborted.len()), (4, 0));
}
