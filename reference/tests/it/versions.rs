//! What earlier versions of Kafka do in another way: one choice each.

use onceness_reference::code::Code;
use onceness_reference::protocol::{Request, Response, Session};
use onceness_reference::rules::{Rules, Starts};

use crate::talk::{Abort, Commit, P0, ReadCommitted, T, Talk, Tv1, Tv2, epochs_on};

/// An open transaction of TV1 with one batch and one saved position.
fn open(rules: Rules) -> (Talk, Session) {
    let mut talk = Talk::by(rules);
    let session = talk.init().unwrap();
    talk.add(session, P0).unwrap();
    talk.add_group(session).unwrap();
    talk.send_in(Tv1, P0, session, 0, 1).unwrap();
    talk.save_in(Tv1, session, None, 1).unwrap();
    (talk, session)
}

#[test]
fn who_names_its_session_in_its_own_transaction_may_be_fenced() {
    for renews_fenced in [true, false] {
        let (mut talk, session) = open(Rules { renews_fenced, ..Rules::default() });
        let again = Request::InitProducer { txn: Some(T), expected: Some(session) };
        assert_eq!(talk.ask(again.clone()), Err(Code::CONCURRENT_TRANSACTIONS));
        talk.finish();
        let answer = match renews_fenced {
            true => Ok(Response::Producer(epochs_on(session, 1))),
            false => Err(Code::PRODUCER_FENCED),
        };
        assert_eq!(talk.ask(again), answer);
        assert_eq!(talk.init(), Ok(epochs_on(session, 2)), "whoever names none is renewed");
    }
}

/// One request where Kafka wants two: also while the markers of a commit are owed.
#[test]
fn who_opens_what_is_open_may_have_to_wait() {
    let rules = Rules { init_waits: true, ..Rules::default() };
    for decided in [false, true] {
        let (mut talk, session) = open(rules);
        if decided {
            talk.end(Tv1, session, Commit).unwrap();
        }
        assert_eq!(talk.init(), Ok(epochs_on(session, 1)), "decided: {decided}");
        assert_eq!(talk.broker.work(), 0, "all markers are written");
        let endings = talk.markers(P0).into_iter().map(|(_, ending)| ending);
        let ending = if decided { Commit } else { Abort };
        assert_eq!(endings.collect::<Vec<_>>(), [ending], "decided: {decided}");
    }
}

/// A newer epoch that nobody gave out: its writes join the transaction, and the marker of that is an older one.
#[test]
fn a_newer_epoch_may_write_into_what_is_open() {
    let (mut talk, session) = open(Rules { open_by_epoch: false, ..Rules::default() });
    let newer = epochs_on(session, 1);
    assert_eq!(talk.send_in(Tv1, P0, newer, 0, 1), Ok(1));
    assert_eq!(talk.save_in(Tv1, newer, None, 2), Ok(()));
    talk.end(Tv1, session, Commit).unwrap();
    talk.finish();
    assert_eq!(talk.fetch(ReadCommitted, 0).last_stable, 0, "for good");
    assert_eq!(talk.position(), Err(Code::UNSTABLE_OFFSET_COMMIT), "for good");
}

/// Over TV2 the next epoch begins the next transaction, though the marker of the last one may not stand yet.
#[test]
fn over_tv2_the_epoch_tells_transactions_apart() {
    let mut talk = Talk::by(Rules { open_by_epoch: false, ..Rules::default() });
    let session = talk.init().unwrap();
    talk.send_in(Tv2, P0, session, 0, 1).unwrap();
    let next = talk.end(Tv2, session, Commit).unwrap();
    assert_eq!(talk.send_in(Tv2, P0, next, 0, 1), Err(Code::CONCURRENT_TRANSACTIONS));
    talk.finish();
    assert_eq!(talk.send_in(Tv2, P0, next, 0, 1), Ok(2));
}

#[test]
fn a_newer_epoch_has_to_be_asked_for() {
    let (mut talk, session) = open(Rules::default());
    let newer = epochs_on(session, 1);
    assert_eq!(talk.send_in(Tv1, P0, newer, 0, 1), Err(Code::INVALID_PRODUCER_EPOCH));
    assert_eq!(talk.save_in(Tv1, newer, None, 2), Err(Code::INVALID_PRODUCER_EPOCH));
    talk.end(Tv1, session, Abort).unwrap();
    talk.finish();
    assert_eq!(talk.fetch(ReadCommitted, 0).last_stable, 2);
    assert_eq!(talk.position(), Ok(None));
}

/// A zombie is refused in any case; whether its successor can go on afterwards is another matter.
#[test]
fn a_zombie_may_be_waited_for() {
    for epoch_first in [true, false] {
        let mut talk = Talk::by(Rules { epoch_first, ..Rules::default() });
        let zombie = talk.init().unwrap();
        let session = talk.init().unwrap();
        talk.send_in(Tv2, P0, session, 0, 1).unwrap();
        let refused = talk.send_in(Tv2, P0, zombie, 0, 1);
        assert_eq!(refused, Err(Code::INVALID_PRODUCER_EPOCH));
        let next = talk.send_in(Tv2, P0, session, 1, 1);
        assert_eq!(next.is_ok(), epoch_first, "{next:?}");
        let session = talk.end(Tv2, session, Commit).unwrap();
        talk.finish();
        assert!(talk.send_in(Tv2, P0, session, 0, 1).is_ok(), "after the marker");
    }
}

#[test]
fn the_first_sequence_number_may_be_any() {
    let refused = Err(Code::OUT_OF_ORDER_SEQUENCE_NUMBER);
    for (starts_at_zero, tv2, plain) in [
        (Starts::Never, Ok(0), Ok(0)),
        (Starts::OverTv2, refused, Ok(0)),
        (Starts::Always, refused, refused),
    ] {
        let rules = Rules { starts_at_zero, ..Rules::default() };
        let mut talk = Talk::by(rules);
        let session = talk.init().unwrap();
        assert_eq!(talk.send_in(Tv2, P0, session, 7, 1), tv2, "{starts_at_zero:?}");
        let mut talk = Talk::by(rules);
        let session = talk.fresh();
        assert_eq!(talk.send(session, 7, 1), plain, "{starts_at_zero:?}");
        let zero = talk.fresh();
        assert!(talk.send(zero, 0, 1).is_ok(), "{starts_at_zero:?}");
    }
}

/// Whichever epoch its marker bears, a transaction is over for those who write late, and the next one begins.
#[test]
fn the_epoch_of_a_marker_is_told_to_no_client() {
    for (marks_next_epoch, marked) in [(true, 1), (false, 0)] {
        let mut talk = Talk::by(Rules { marks_next_epoch, ..Rules::default() });
        let session = talk.init().unwrap();
        talk.send_in(Tv2, P0, session, 0, 1).unwrap();
        let next = talk.end(Tv2, session, Commit).unwrap();
        talk.finish();
        assert_eq!(next, epochs_on(session, 1));
        assert_eq!(talk.markers(P0), [(epochs_on(session, marked), Commit)]);
        assert_eq!(
            talk.send_in(Tv2, P0, session, 1, 1),
            Err(Code::INVALID_PRODUCER_EPOCH),
            "late, with the marker of epoch {marked}"
        );
        assert_eq!(talk.send_in(Tv2, P0, next, 0, 1), Ok(2));
    }
}

/// Of a producer that a marker tells of the next number is asked for in any case.
#[test]
fn the_first_sequence_number_after_a_marker_is_zero() {
    let mut talk = Talk::by(Rules { starts_at_zero: Starts::Never, ..Rules::default() });
    let session = talk.init().unwrap();
    talk.add(session, P0).unwrap();
    let session = talk.end(Tv2, session, Commit).unwrap();
    talk.finish();
    assert_eq!(talk.send_in(Tv2, P0, session, 7, 1), Err(Code::OUT_OF_ORDER_SEQUENCE_NUMBER));
    assert_eq!(talk.send_in(Tv2, P0, session, 0, 1), Ok(1));
}
