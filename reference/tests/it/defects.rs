//! The zoo: that the catalogue is in order, and for each defect the fewest requests that show it.

use std::collections::BTreeSet;
use std::fmt::Debug;

use onceness_reference::code::Code;
use onceness_reference::defects::{DEFECTS, find};
use onceness_reference::protocol::Session;
use onceness_reference::rules::{Permitted, Rules};

use crate::talk::{Abort, Commit, P0, P1, ReadCommitted, ReadUncommitted, Talk, Tv2, tags};

const ORDER: Result<i64, Code> = Err(Code::OUT_OF_ORDER_SEQUENCE_NUMBER);

#[test]
fn names_are_unique_and_easily_typed() {
    let names: BTreeSet<&str> = DEFECTS.iter().map(|defect| defect.name).collect();
    assert_eq!(names.len(), DEFECTS.len());
    for defect in DEFECTS {
        assert!(is_kebab_case(defect.name), "{}", defect.name);
        assert_eq!(find(defect.name).unwrap().summary, defect.summary);
    }
    assert!(find("no-such-defect").is_none());
}

#[test]
fn every_entry_says_what_it_is() {
    for defect in DEFECTS {
        let name = defect.name;
        assert!(!defect.breaks.is_empty(), "{name} breaks nothing");
        assert!(defect.breaks.iter().all(|broken| is_kebab_case(broken)), "{name}");
        assert!(!defect.copies.is_empty(), "{name} copies nothing");
        assert!(defect.summary.len() > 20 && !defect.summary.ends_with('.'), "{name}");
    }
}

#[test]
fn every_defect_is_one_and_no_two_are_the_same() {
    let correct: Vec<Rules> = Rules::permitted().iter().map(|broker| broker.rules).collect();
    assert!(correct.contains(&Rules::default()));
    for (i, defect) in DEFECTS.iter().enumerate() {
        let rules = (defect.rules)();
        assert!(!correct.contains(&rules), "{}", defect.name);
        let twin = DEFECTS[..i].iter().find(|other| (other.rules)() == rules);
        assert!(twin.is_none(), "{} is {}", defect.name, twin.unwrap().name);
    }
}

fn is_kebab_case(name: &str) -> bool {
    !name.is_empty()
        && name
            .split('-')
            .all(|word| !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_lowercase()))
}

/// The same requests, to every correct broker and to the defective one.
fn shows<T: PartialEq + Debug>(name: &str, ask: fn(&mut Talk) -> T, correct: T, defective: T) {
    for Permitted { rules, .. } in Rules::permitted() {
        assert_eq!(ask(&mut Talk::by(rules)), correct, "{name} in {rules:?}");
    }
    let rules = (find(name).unwrap().rules)();
    assert_eq!(ask(&mut Talk::by(rules)), defective, "{name}");
}

/// Three batches of one record each, and who sent them.
fn three(talk: &mut Talk) -> Session {
    let session = talk.fresh();
    for first in 0..3 {
        talk.send(session, first, 1).unwrap();
    }
    session
}

#[test]
fn duplicates() {
    let resend = |talk: &mut Talk| {
        let session = three(talk);
        talk.send(session, 2, 1)
    };
    shows("no-dedup", resend, Ok(2), Ok(3));
    shows("duplicate-acked-at-end", resend, Ok(2), Ok(3));
    let resend_older = |talk: &mut Talk| {
        let session = three(talk);
        talk.send(session, 1, 1).ok()
    };
    shows("dedup-window-of-one", resend_older, Some(1), None);
    let resend_after_restart = |talk: &mut Talk| {
        let session = three(talk);
        talk.broker.restart();
        talk.send(session, 2, 1)
    };
    shows("dedup-lost-on-restart", resend_after_restart, Ok(2), Ok(3));
    let gap = |talk: &mut Talk| {
        let session = three(talk);
        talk.send(session, 4, 1)
    };
    shows("gap-accepted", gap, ORDER, Ok(3));
}

#[test]
fn the_log() {
    let acked = |talk: &mut Talk| {
        three(talk);
        talk.broker.restart();
        talk.tags(ReadUncommitted).len()
    };
    shows("ack-before-durable", acked, 3, 2);
    shows("compaction-keeps-oldest", acked, 3, 1);
    let next = |talk: &mut Talk| {
        let session = three(talk);
        talk.broker.restart();
        talk.send(session, 3, 1)
    };
    shows("offsets-reused", next, Ok(3), Ok(2));
    let long = |talk: &mut Talk| {
        talk.produce(None, P0, None, -1, 3).unwrap();
        talk.tags(ReadUncommitted)
    };
    let [first, second, third] = [Some(0), Some(1), Some(2)];
    shows("damaged-long-batch", long, vec![first, second, third], vec![first, second, None]);
}

#[test]
fn zombies() {
    let late_write = |talk: &mut Talk| {
        let zombie = talk.init().unwrap();
        talk.init().unwrap();
        talk.send_in(Tv2, P0, zombie, 0, 1)
    };
    shows("stale-epoch-accepted", late_write, Err(Code::INVALID_PRODUCER_EPOCH), Ok(0));
    let late_save = |talk: &mut Talk| {
        let old = talk.join();
        talk.join();
        talk.save(Some(&old), 1)
    };
    shows("replaced-member-accepted", late_save, Err(Code::FENCED_INSTANCE_ID), Ok(()));
}

/// One record written in a transaction, and the session that goes on once it ended, if it did.
fn written(talk: &mut Talk, ending: Option<onceness_reference::protocol::Ending>) -> Session {
    let session = talk.init().unwrap();
    talk.send_in(Tv2, P0, session, 0, 1).unwrap();
    let Some(ending) = ending else { return session };
    let next = talk.end(Tv2, session, ending).unwrap();
    talk.finish();
    next
}

#[test]
fn isolation() {
    let listed = |talk: &mut Talk| {
        written(talk, Some(Abort));
        talk.fetch(ReadCommitted, 0).aborted.len()
    };
    shows("aborted-list-empty", listed, 1, 0);
    let listed_after_restart = |talk: &mut Talk| {
        written(talk, Some(Abort));
        talk.broker.restart();
        talk.fetch(ReadCommitted, 0).aborted.len()
    };
    shows("aborted-list-lost-on-restart", listed_after_restart, 1, 0);
    let open = |talk: &mut Talk| {
        written(talk, None);
        tags(&talk.fetch(ReadCommitted, 0)).len()
    };
    shows("lso-is-high-watermark", open, 0, 1);
    let uncommitted = |talk: &mut Talk| {
        written(talk, Some(Abort));
        talk.tags(ReadUncommitted).len()
    };
    shows("aborted-hidden", uncommitted, 1, 0);
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
    let successor = |talk: &mut Talk| {
        written(talk, None);
        talk.init().map(|session| session.epoch)
    };
    let wait = Err(Code::CONCURRENT_TRANSACTIONS);
    shows("init-adopts-transaction", successor, wait, Ok(1));
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
        talk.init().unwrap_err();
        talk.finish();
        talk.init().is_ok()
    };
    shows("fenced-transaction-stuck", fenced, true, false);
}

#[test]
fn positions() {
    let pending = |talk: &mut Talk| {
        let session = talk.init().unwrap();
        talk.save_in(Tv2, session, None, 1).unwrap();
        talk.position()
    };
    shows("txn-offsets-at-once", pending, Err(Code::UNSTABLE_OFFSET_COMMIT), Ok(Some(1)));
    let committed = |talk: &mut Talk| {
        let session = talk.init().unwrap();
        talk.save_in(Tv2, session, None, 1).unwrap();
        talk.end(Tv2, session, Commit).unwrap();
        talk.finish();
        talk.position()
    };
    shows("txn-offsets-never", committed, Ok(Some(1)), Ok(None));
    let restarted = |talk: &mut Talk| {
        talk.save(None, 1).unwrap();
        talk.save(None, 2).unwrap();
        talk.broker.restart();
        talk.position()
    };
    shows("positions-lost-on-restart", restarted, Ok(Some(2)), Ok(Some(1)));
    shows("position-one-ahead", restarted, Ok(Some(2)), Ok(Some(3)));
    shows("zero-for-no-position", Talk::position, Ok(None), Ok(Some(0)));
}
