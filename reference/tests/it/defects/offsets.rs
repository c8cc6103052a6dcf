//! Defects of groups and their positions.

use onceness_reference::code::Code;
use onceness_reference::protocol::Request;

use super::shows;
use crate::talk::{Commit, G, P1, Talk, Tv2};

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
    shows("unstable-positions-told", pending, Err(Code::UNSTABLE_OFFSET_COMMIT), Ok(None));
    shows("unstable-for-ever", committed, Ok(Some(1)), Err(Code::UNSTABLE_OFFSET_COMMIT));
    let next_meanwhile = |talk: &mut Talk| {
        let session = talk.init().unwrap();
        talk.save_in(Tv2, session, None, 1).unwrap();
        let next = talk.end(Tv2, session, Commit).unwrap();
        talk.add_group(next).is_ok() && talk.position().is_err()
    };
    shows("txn-offsets-after-completion", next_meanwhile, false, true);
    let committed_after_restart = |talk: &mut Talk| {
        let session = talk.init().unwrap();
        talk.save_in(Tv2, session, None, 1).unwrap();
        talk.broker.restart();
        talk.end(Tv2, session, Commit).unwrap();
        talk.finish();
        talk.position()
    };
    let lost = "pending-positions-lost-on-restart";
    shows(lost, committed_after_restart, Ok(Some(1)), Ok(None));
    let overtaken = |talk: &mut Talk| {
        let session = talk.init().unwrap();
        talk.save_in(Tv2, session, None, 1).unwrap();
        talk.save(None, 2).unwrap();
        talk.end(Tv2, session, Commit).unwrap();
        talk.finish();
        talk.broker.restart();
        talk.position()
    };
    shows("positions-reordered-on-restart", overtaken, Ok(Some(2)), Ok(Some(1)));
    let in_use = |talk: &mut Talk| {
        talk.save(None, 1).unwrap();
        for offset in 1..4 {
            let positions = vec![(P1, offset)];
            talk.ask(Request::Save { group: G, member: None, positions }).unwrap();
        }
        talk.position()
    };
    shows("positions-expire-in-use", in_use, Ok(Some(1)), Ok(None));
    let late_save = |talk: &mut Talk| {
        let old = talk.join();
        talk.join();
        talk.save(Some(&old), 1)
    };
    shows("replaced-member-accepted", late_save, Err(Code::FENCED_INSTANCE_ID), Ok(()));
}
