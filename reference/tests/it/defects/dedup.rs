//! Defects of what a partition's leader knows of producers.

use onceness_reference::code::Code;

use super::{ORDER, shows, three};
use crate::talk::{P0, P1, ReadUncommitted, Talk, Tv2, epochs_on};

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
    let resend_old = |talk: &mut Talk| {
        let session = talk.fresh();
        for first in 0..7 {
            talk.send(session, first, 1).unwrap();
        }
        talk.send(session, 0, 1).ok()
    };
    shows("old-duplicate-appended", resend_old, None, Some(7));
    let overlap = |talk: &mut Talk| {
        let session = talk.fresh();
        talk.send(session, 0, 5).unwrap();
        talk.send(session, 3, 5)
    };
    let duplicate = Err(Code::DUPLICATE_SEQUENCE_NUMBER);
    shows("overlap-called-duplicate", overlap, ORDER, duplicate);
    let go_on = |talk: &mut Talk| {
        let session = three(talk);
        talk.send(session, 1, 1).unwrap();
        talk.send(session, 3, 1)
    };
    shows("duplicate-rewinds-sequence", go_on, Ok(3), ORDER);
    let other_records = |talk: &mut Talk| {
        let session = talk.fresh();
        talk.send(session, 0, 1).unwrap();
        talk.send(session, 0, 1).unwrap();
        talk.tags(ReadUncommitted)
    };
    shows("duplicate-overwrites", other_records, vec![Some(0)], vec![Some(1)]);
    let refused_once = |talk: &mut Talk| {
        let session = talk.fresh();
        for first in 0..6 {
            talk.send(session, first, 1).unwrap();
        }
        talk.tags(ReadUncommitted).len()
    };
    shows("refused-batch-remembered", refused_once, 6, 5);
}

#[test]
fn what_is_no_duplicate() {
    let next_epoch = |talk: &mut Talk| {
        let session = talk.fresh();
        talk.send(session, 0, 1).unwrap();
        talk.send(epochs_on(session, 1), 0, 1)
    };
    shows("dedup-across-epochs", next_epoch, Ok(1), Ok(0));
    shows("own-epoch-refused", next_epoch, Ok(1), ORDER);
    let other_partition = |talk: &mut Talk| {
        let session = talk.fresh();
        talk.send(session, 0, 1).unwrap();
        talk.produce(None, P1, None, -1, 1).unwrap();
        talk.produce(None, P1, Some(session), 0, 1)
    };
    shows("dedup-across-partitions", other_partition, Ok(1), Ok(0));
    let middle_of_epoch = |talk: &mut Talk| {
        let session = talk.fresh();
        talk.send(session, 0, 1).unwrap();
        talk.send(epochs_on(session, 1), 3, 1)
    };
    shows("epoch-starts-anywhere", middle_of_epoch, ORDER, Ok(1));
    let wrap = |talk: &mut Talk| {
        let session = talk.fresh();
        // Nobody comes that far in a test with a broker that wants zero first.
        let begun = talk.send(session, i32::MAX, 1);
        begun.map_or(Ok(1), |_| talk.send(session, 0, 1))
    };
    shows("sequence-goes-negative", wrap, Ok(1), ORDER);
    let late_write = |talk: &mut Talk| {
        let zombie = talk.init().unwrap();
        talk.init().unwrap();
        talk.send_in(Tv2, P0, zombie, 0, 1)
    };
    shows("stale-epoch-accepted", late_write, Err(Code::INVALID_PRODUCER_EPOCH), Ok(0));
}

#[test]
fn after_a_restart() {
    let resend = |talk: &mut Talk| {
        let session = three(talk);
        talk.broker.restart();
        talk.send(session, 2, 1)
    };
    shows("last-batch-lost-on-restart", resend, Ok(2), Ok(3));
    let same_id = |talk: &mut Talk| {
        let before = talk.fresh();
        talk.broker.restart();
        talk.fresh() == before
    };
    shows("producer-ids-repeated", same_id, false, true);
}
