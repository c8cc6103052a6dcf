//! Defects of what readers are told.

use super::{shows, written};
use crate::talk::{Abort, Commit, P0, ReadCommitted, ReadUncommitted, Talk, Tv2, tags};

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
    shows("lso-off-by-one", open, 0, 1);
    let open_after_restart = |talk: &mut Talk| {
        written(talk, None);
        talk.broker.restart();
        tags(&talk.fetch(ReadCommitted, 0)).len()
    };
    shows("open-hidden-on-restart", open_after_restart, 0, 1);
    let open_for_long = |talk: &mut Talk| {
        written(talk, None);
        talk.produce(None, P0, None, -1, 4).unwrap();
        tags(&talk.fetch(ReadCommitted, 0)).len()
    };
    shows("open-transaction-expires", open_for_long, 0, 5);
    let shown_unlisted = |talk: &mut Talk| {
        let session = written(talk, None);
        talk.end(Tv2, session, Abort).unwrap();
        let reply = talk.fetch(ReadCommitted, 0);
        tags(&reply).len() - reply.aborted.len()
    };
    shows("lso-before-marker", shown_unlisted, 0, 1);
    let listed_from_within = |talk: &mut Talk| {
        let session = written(talk, None);
        talk.send_in(Tv2, P0, session, 1, 1).unwrap();
        talk.end(Tv2, session, Abort).unwrap();
        talk.finish();
        talk.fetch(ReadCommitted, 1).aborted.len()
    };
    shows("aborted-list-too-short", listed_from_within, 1, 0);
    let listed_from_behind = |talk: &mut Talk| {
        let session = written(talk, Some(Abort));
        talk.send_in(Tv2, P0, session, 0, 1).unwrap();
        talk.end(Tv2, session, Commit).unwrap();
        talk.finish();
        talk.fetch(ReadCommitted, 2).aborted.len()
    };
    shows("aborted-list-too-long", listed_from_behind, 0, 1);
    let end_of_committed = |talk: &mut Talk| {
        written(talk, None);
        talk.broker.extent(P0).unwrap().last_stable
    };
    shows("list-offsets-ignores-isolation", end_of_committed, 0, 1);
}
