//! Defects of the transaction coordinator, and of the markers that it has written.

use onceness_reference::code::Code;

use super::{opened, shows, written};
use crate::talk::{Abort, Commit, P0, P1, ReadCommitted, T, Talk, Tv1, Tv2, epochs_on};

/// Asks for the transactional id, which is open. Some brokers answer when that is aborted, others refuse until then.
fn succeed(talk: &mut Talk) {
    let _ = talk.init();
    talk.finish();
}

#[test]
fn transactions() {
    let commit_of_two = |talk: &mut Talk| {
        let session = written(talk, None);
        talk.send_in(Tv2, P1, session, 0, 1).unwrap();
        talk.end(Tv2, session, Commit).unwrap();
        talk.finish();
        [P0, P1].map(|partition| talk.markers(partition)[0].1)
    };
    shows("torn-commit", commit_of_two, [Commit, Commit], [Commit, Abort]);
    let succeeded = |talk: &mut Talk| {
        written(talk, None);
        succeed(talk);
        talk.markers(P0).len()
    };
    shows("init-adopts-transaction", succeeded, 1, 0);
    let late_end = |talk: &mut Talk| {
        let session = talk.init().unwrap();
        talk.send_in(Tv2, P0, session, 0, 1).unwrap();
        let next = talk.end(Tv2, session, Abort).unwrap();
        talk.finish();
        talk.send_in(Tv2, P0, next, 0, 1).unwrap();
        talk.end(Tv2, session, Commit).map(|_| ())
    };
    shows("late-end-txn", late_end, Err(Code::PRODUCER_FENCED), Ok(()));
    let fenced = |talk: &mut Talk| {
        written(talk, None);
        succeed(talk);
        talk.init().is_ok()
    };
    shows("fenced-transaction-stuck", fenced, true, false);
}

#[test]
fn late_writes() {
    let after_fencing = |talk: &mut Talk| {
        let session = opened(talk);
        succeed(talk);
        talk.send_in(Tv1, P0, session, 1, 1).ok()
    };
    shows("abort-without-fencing", after_fencing, None, Some(2));
    let outside = |talk: &mut Talk| {
        let session = talk.init().unwrap();
        talk.send_in(Tv1, P0, session, 0, 1).ok()
    };
    shows("write-unverified", outside, None, Some(0));
    let after_the_end = |talk: &mut Talk| {
        let session = opened(talk);
        talk.end(Tv1, session, Commit).unwrap();
        talk.finish();
        talk.send_in(Tv1, P0, session, 1, 1).ok()
    };
    shows("write-verified-once", after_the_end, None, Some(2));
}

#[test]
fn timeouts() {
    let goes_on = |talk: &mut Talk| {
        let session = opened(talk);
        talk.broker.time_out(T);
        talk.finish();
        talk.add(session, P0)
    };
    shows("timeout-without-fencing", goes_on, Err(Code::PRODUCER_FENCED), Ok(()));
    let all_stable = |talk: &mut Talk| {
        opened(talk);
        talk.broker.time_out(T);
        talk.finish();
        let reply = talk.fetch(ReadCommitted, 0);
        reply.last_stable == reply.high_watermark
    };
    shows("timeout-never", all_stable, true, false);
}

#[test]
fn sessions() {
    let epochs = |talk: &mut Talk| {
        let first = talk.init().unwrap();
        let later = [(); 3].map(|()| talk.init().unwrap());
        later.contains(&first)
    };
    shows("epochs-repeated", epochs, false, true);
    let early_end = |talk: &mut Talk| {
        let session = opened(talk);
        talk.end(Tv1, epochs_on(session, 1), Commit).map(|_| ())
    };
    shows("early-end-txn", early_end, Err(Code::PRODUCER_FENCED), Ok(()));
}

#[test]
fn ends() {
    let begin_at_once = |talk: &mut Talk| {
        let session = opened(talk);
        talk.end(Tv1, session, Commit).unwrap();
        if talk.add(session, P1).is_err() {
            talk.finish();
            talk.add(session, P1).unwrap();
        }
        talk.finish();
        talk.send_in(Tv1, P1, session, 0, 1).is_ok()
    };
    shows("begin-while-completing", begin_at_once, true, false);
    let end_again = |talk: &mut Talk| {
        let session = opened(talk);
        talk.end(Tv1, session, Commit).unwrap();
        talk.end(Tv1, session, Commit) == Err(Code::INVALID_TXN_STATE)
    };
    shows("end-retry-refused", end_again, false, true);
    let end_of_nothing = |talk: &mut Talk| {
        let session = talk.init().unwrap();
        talk.add(session, P0).unwrap();
        talk.end(Tv1, session, Commit).is_ok()
    };
    shows("empty-commit-refused", end_of_nothing, true, false);
}

#[test]
fn markers() {
    let count = |talk: &mut Talk| {
        written(talk, Some(Commit));
        talk.markers(P0).len()
    };
    shows("marker-repeated", count, 1, 2);
    let restarted = |talk: &mut Talk| {
        let session = opened(talk);
        talk.end(Tv1, session, Commit).unwrap();
        talk.broker.restart();
        talk.finish();
        talk.init().is_ok()
    };
    shows("markers-lost-on-restart", restarted, true, false);
    let restarted_half_way = |talk: &mut Talk| {
        let session = opened(talk);
        talk.add(session, P1).unwrap();
        talk.end(Tv1, session, Commit).unwrap();
        talk.broker.go_on(0);
        talk.broker.restart();
        talk.finish();
        talk.init().is_ok()
    };
    shows("marker-retry-refused", restarted_half_way, true, false);
    let outcome = |talk: &mut Talk| {
        let session = opened(talk);
        talk.end(Tv1, session, Commit).unwrap();
        talk.broker.restart();
        talk.finish();
        talk.markers(P0)[0].1
    };
    shows("outcome-flips-on-restart", outcome, Commit, Abort);
    let open = |talk: &mut Talk| {
        let session = opened(talk);
        talk.broker.restart();
        talk.end(Tv1, session, Commit).is_ok()
    };
    shows("open-lost-on-restart", open, true, false);
}
