//! Defects of the log itself.

use super::{shows, three, written};
use crate::talk::{Commit, P0, ReadCommitted, ReadUncommitted, Talk};

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
    let at_once = |talk: &mut Talk| {
        three(talk);
        talk.tags(ReadUncommitted).len()
    };
    shows("offset-before-record", at_once, 3, 0);
    let all_stable = |talk: &mut Talk| {
        written(talk, Some(Commit));
        talk.broker.restart();
        let reply = talk.fetch(ReadCommitted, 0);
        reply.last_stable == reply.high_watermark
    };
    shows("compaction-drops-markers", all_stable, true, false);
}
