//! The leader's table, row by row: what it takes, refuses and recognises, what markers do, and what a restart keeps.

use onceness_reference::code::Code;
use onceness_reference::ids::{Offset, Partition, TxnId};
use onceness_reference::protocol::{Batch, Request, Session};
use onceness_reference::rules::{Permitted, Rules};

use crate::talk::{
    Abort, Commit, P0, P1, ReadCommitted, ReadUncommitted, STRANGER, State, T, Talk, Tv1, Tv2,
    epochs_on, tags,
};

const ORDER: Code = Code::OUT_OF_ORDER_SEQUENCE_NUMBER;
const OLD_EPOCH: Code = Code::INVALID_PRODUCER_EPOCH;
const STATE: Code = Code::INVALID_TXN_STATE;
const MAX: i32 = i32::MAX;

/// What a producer sends next (epochs on, first sequence, records), and how the leader answers.
type Then = (i16, i32, u32, Result<Offset, Code>);

/// After these batches of one producer outside transactions, each next one is answered so, on its own.
fn after(rules: Rules, sent: &[(i32, u32)], table: &[Then]) {
    for &(epochs, first, records, answer) in table {
        let mut talk = Talk::by(rules);
        let session = talk.fresh();
        for &(first, records) in sent {
            talk.send(session, first, records).unwrap();
        }
        let before = talk.fetch(ReadUncommitted, 0);
        let name = format!("epoch {epochs:+}, {records} from {first}");
        assert_eq!(talk.send(epochs_on(session, epochs), first, records), answer, "{name}");
        // What is new stands at the end; what is refused or a duplicate leaves no trace.
        let added = if answer == Ok(before.high_watermark) { i64::from(records) } else { 0 };
        let end = talk.fetch(ReadUncommitted, 0).high_watermark;
        assert_eq!(end, before.high_watermark + added, "{name}");
    }
}

#[test]
fn one_of_the_last_five_batches_is_a_duplicate_at_its_original_offset() {
    let sent = [(0, 2), (2, 1), (3, 3), (6, 1), (7, 2), (9, 1)];
    let table = [
        (0, 9, 1, Ok(9)),
        (0, 7, 2, Ok(7)),
        (0, 6, 1, Ok(6)),
        (0, 3, 3, Ok(3)),
        (0, 2, 1, Ok(2)),
        (0, 0, 2, Err(ORDER)),
        (0, 10, 4, Ok(10)),
    ];
    after(Rules::default(), &sent, &table);
}

/// Brokers before KAFKA-6683 had another word for what is older than the window, and only for what is so as a whole.
#[test]
fn an_old_duplicate_may_be_called_one() {
    let old = Code::DUPLICATE_SEQUENCE_NUMBER;
    let rules = Rules { old_duplicate: old, ..Rules::default() };
    let sent = [(0, 2), (2, 1), (3, 3), (6, 1), (7, 2), (9, 1)];
    let table = [
        (0, 0, 2, Err(old)),
        (0, 0, 1, Err(old)),
        (0, 9, 2, Err(ORDER)),
        (0, 0, 20, Err(ORDER)),
        (0, 11, 1, Err(ORDER)),
    ];
    after(rules, &sent, &table);
    // As a whole also where sequence numbers begin again.
    let sent = [(MAX - 4, 1), (MAX - 3, 1), (MAX - 2, 1), (MAX - 1, 1), (MAX, 1), (0, 1)];
    after(rules, &sent, &[(0, MAX - 4, 1, Err(old)), (0, 2, 1, Err(ORDER)), (0, 0, 2, Err(ORDER))]);
}

/// If an overlap passed for a duplicate, its tail would be lost.
#[test]
fn an_overlap_is_not_a_duplicate() {
    let table = [
        (0, 3, 4, Err(ORDER)),
        (0, 0, 4, Err(ORDER)),
        (0, 0, 6, Err(ORDER)),
        (0, 1, 4, Err(ORDER)),
        (0, 4, 1, Err(ORDER)),
    ];
    after(Rules::default(), &[(0, 5)], &table);
}

#[test]
fn sequences_and_epochs() {
    let table = [
        (0, 3, 1, Ok(3)),
        (0, 4, 1, Err(ORDER)),
        (0, MAX, 1, Err(ORDER)),
        (1, 0, 1, Ok(3)),
        (1, 3, 1, Err(ORDER)),
        (1, 1, 1, Err(ORDER)),
        (7, 0, 2, Ok(3)),
    ];
    after(Rules::default(), &[(0, 2), (2, 1)], &table);
}

#[test]
fn a_leader_that_knows_nothing_of_a_producer_takes_any_sequence() {
    for first in [0, 1, 7, MAX] {
        after(Rules::default(), &[], &[(0, first, 2, Ok(0))]);
        after(Rules::default(), &[(first, 1)], &[(0, first, 1, Ok(0))]);
    }
}

#[test]
fn sequences_wrap() {
    let rules = Rules::default();
    after(rules, &[(MAX, 1)], &[(0, 0, 1, Ok(1)), (0, 1, 1, Err(ORDER)), (0, MAX, 1, Ok(0))]);
    // Inside a batch: the last is number 2 of the next turn.
    let table = [
        (0, 3, 1, Ok(5)),
        (0, MAX - 1, 5, Ok(0)),
        (0, MAX - 1, 2, Err(ORDER)),
        (0, 2, 1, Err(ORDER)),
        (0, 4, 1, Err(ORDER)),
    ];
    after(rules, &[(MAX - 1, 5)], &table);
}

#[test]
fn a_refused_batch_changes_nothing() {
    let mut talk = Talk::new();
    let session = talk.fresh();
    for (first, answer) in [(0, Ok(0)), (2, Err(ORDER)), (1, Ok(1)), (1, Ok(1)), (2, Ok(2))] {
        assert_eq!(talk.send(session, first, 1), answer);
    }
}

#[test]
fn a_higher_epoch_starts_afresh_and_shuts_out_the_lower_ones() {
    let mut talk = Talk::new();
    let old = talk.fresh();
    let new = epochs_on(old, 1);
    assert_eq!(talk.send(old, 0, 1), Ok(0));
    assert_eq!(talk.send(new, 0, 1), Ok(1));
    assert_eq!(talk.send(old, 0, 1), Err(OLD_EPOCH), "no duplicate any more");
    assert_eq!(talk.send(old, 1, 1), Err(OLD_EPOCH));
    assert_eq!(talk.send(new, 0, 1), Ok(1));
    assert_eq!(talk.send(new, 1, 1), Ok(2));
}

#[test]
fn partitions_and_producers_are_apart() {
    let mut talk = Talk::new();
    let [one, other] = [talk.fresh(), talk.fresh()];
    assert_eq!(talk.send(one, 0, 2), Ok(0));
    assert_eq!(talk.produce(None, P1, Some(one), 0, 2), Ok(0));
    assert_eq!(talk.send(other, 0, 2), Ok(2));
    assert_eq!(talk.send(one, 0, 2), Ok(0));
    assert_eq!(talk.produce(None, P1, Some(epochs_on(one, 1)), 0, 1), Ok(2));
    assert_eq!(talk.send(one, 2, 1), Ok(4), "the higher epoch was in the other partition");
}

/// The log is never overwritten: what came first stays.
#[test]
fn a_duplicate_is_told_by_its_sequence_not_its_payload() {
    let mut talk = Talk::new();
    let session = talk.fresh();
    talk.send(session, 0, 1).unwrap();
    talk.send(session, 0, 1).unwrap();
    assert_eq!(talk.tags(ReadUncommitted), [Some(0)]);
}

#[test]
fn batches_without_producer_are_never_duplicates() {
    let mut talk = Talk::new();
    assert_eq!(talk.produce(None, P0, None, -1, 2), Ok(0));
    assert_eq!(talk.produce(None, P0, None, -1, 2), Ok(2));
}

#[test]
fn without_acks_nothing_is_told() {
    use onceness_reference::protocol::Response::Done;
    let mut talk = Talk::new();
    for (partition, end) in [(P0, 1), (Partition(9), 1)] {
        let batch = Batch { session: None, first_sequence: -1, records: record() };
        let request = Request::Produce { partition, batch, acks: false, txn: None };
        assert_eq!(talk.ask(request), Ok(Done));
        assert_eq!(talk.fetch(ReadUncommitted, 0).high_watermark, end);
    }
}

fn record() -> Vec<onceness_reference::history::Record> {
    use onceness_reference::ids::{Key, Tag};
    vec![onceness_reference::history::Record { tag: Tag(0), key: Key(0), from: None }]
}

#[test]
fn there_is_nothing_beyond_the_log() {
    let mut talk = Talk::new();
    let nowhere = Partition(2);
    let missing = Err(Code::UNKNOWN_TOPIC_OR_PARTITION);
    assert_eq!(talk.produce(None, nowhere, None, -1, 1), missing);
    assert_eq!(talk.fetch_at(nowhere, ReadCommitted, 0).map(|_| 0), missing);
    for (offset, ok) in [(-1, false), (0, true), (1, false)] {
        assert_eq!(talk.fetch_at(P0, ReadCommitted, offset).is_ok(), ok, "{offset}");
    }
}

/// In a transaction of two batches, as TV1 adds partitions. `P0` holds tags 0 to 2, `P1` nothing.
fn open() -> (Talk, Session) {
    let (mut talk, session) = Talk::at(State::Ongoing, Tv1);
    assert_eq!(talk.send_in(Tv1, P0, session, 0, 2), Ok(0));
    assert_eq!(talk.send_in(Tv1, P0, session, 2, 1), Ok(2));
    (talk, session)
}

#[test]
fn an_open_transaction_admits_no_batch_outside_it() {
    let (mut talk, session) = open();
    assert_eq!(talk.send(session, 3, 1), Err(STATE));
    assert_eq!(talk.send(session, 4, 1), Err(ORDER), "the sequence is looked at first");
    assert_eq!(talk.send(session, 2, 1), Ok(2), "and duplicates before anything");
    assert_eq!(talk.send(epochs_on(session, 1), 0, 1), Err(STATE), "of a newer epoch neither");
    assert_eq!(talk.send_in(Tv1, P0, session, 3, 1), Ok(3));
    assert_eq!(talk.produce(None, P1, Some(session), 0, 1), Ok(0), "elsewhere none is open");
}

/// What is unverified leaves no trace, so that the same batch may come again once the partition is added.
#[test]
fn tv1_writes_only_where_it_was_added() {
    let (mut talk, session) = open();
    assert_eq!(talk.send_in(Tv1, P1, session, 0, 1), Err(STATE));
    talk.add(session, P1).unwrap();
    assert_eq!(talk.send_in(Tv1, P1, session, 0, 1), Ok(0));
    assert_eq!(talk.send_in(Tv1, P1, STRANGER, 0, 1), Err(Code::INVALID_PRODUCER_ID_MAPPING));
}

/// Kafka before 3.6 did not ask: a late write opened a transaction that nobody ends (KAFKA-14561).
#[test]
fn without_verification_a_late_write_hangs() {
    let mut talk = Talk::by(Rules { verifies_writes: false, ..Rules::default() });
    let session = talk.init().unwrap();
    assert_eq!(talk.send_in(Tv1, P0, session, 0, 1), Ok(0));
    assert_eq!(talk.end(Tv1, session, Commit), Err(STATE));
    assert_eq!(talk.fetch(ReadCommitted, 0).last_stable, 0);
}

#[test]
fn tv2_adds_the_partition_with_the_first_write() {
    let (mut talk, session) = Talk::at(State::Empty, Tv2);
    assert_eq!(talk.send_in(Tv2, P0, session, 0, 1), Ok(0));
    assert_eq!(talk.send_in(Tv2, P1, session, 0, 1), Ok(0));
    let next = talk.end(Tv2, session, Commit).unwrap();
    talk.finish();
    assert_eq!(talk.markers(P0), [(next, Commit)]);
    assert_eq!(talk.markers(P1), [(next, Commit)]);
}

/// Sequences of TV2 begin at 0 in every transaction; those of TV1 go on, and may be anything where nothing is known.
#[test]
fn first_sequence_of_a_transaction() {
    for (first, tv1, tv2) in [(0, Ok(0), Ok(0)), (1, Ok(0), Err(ORDER))] {
        for (protocol, answer) in [(Tv1, tv1), (Tv2, tv2)] {
            let (mut talk, session) = Talk::at(State::Ongoing, protocol);
            assert_eq!(talk.send_in(protocol, P0, session, first, 1), answer, "{protocol:?}");
        }
    }
    for (first, tv1, tv2) in
        [(3, Ok(4), Err(ORDER)), (0, Err(ORDER), Ok(4)), (1, Err(ORDER), Err(ORDER))]
    {
        for (protocol, answer) in [(Tv1, tv1), (Tv2, tv2)] {
            let (mut talk, session) = open();
            let session = talk.end(protocol, session, Commit).unwrap();
            talk.finish();
            talk.add(session, P0).unwrap();
            let sent = talk.send_in(protocol, P0, session, first, 1);
            assert_eq!(sent, answer, "{protocol:?} {first}");
        }
    }
}

/// A producer of which only a marker is known has an epoch but sent nothing: it begins at 0.
#[test]
fn first_sequence_after_a_marker_alone() {
    for protocol in [Tv1, Tv2] {
        for (first, answer) in [(5, Err(ORDER)), (0, Ok(1))] {
            let (mut talk, session) = Talk::at(State::Complete(Commit), protocol);
            talk.add(session, P0).unwrap();
            let sent = talk.send_in(protocol, P0, session, first, 1);
            assert_eq!(sent, answer, "{protocol:?} {first}");
        }
    }
}

/// Late batches of a transaction that is over are in none, be they in the log already; under TV2, or when fenced, their
/// epoch is history.
#[test]
fn late_batches_of_an_ended_transaction() {
    for (protocol, refusal) in [(Tv1, STATE), (Tv2, OLD_EPOCH)] {
        for ending in [Commit, Abort] {
            let (mut talk, session) = open();
            talk.end(protocol, session, ending).unwrap();
            talk.finish();
            for sequence in [2, 3] {
                let sent = talk.send_in(protocol, P0, session, sequence, 1);
                assert_eq!(sent, Err(refusal), "{protocol:?}");
            }
            assert_eq!(talk.fetch(ReadCommitted, 0).last_stable, 4);
        }
    }
    let (mut talk, session) = open();
    talk.init().unwrap_err();
    talk.finish();
    assert_eq!(talk.send_in(Tv1, P0, session, 2, 1), Err(OLD_EPOCH));
}

/// The partition knows the epoch, and need not ask a coordinator that has long given the id another producer.
#[test]
fn a_late_batch_of_a_producer_whose_epochs_ran_out() {
    for protocol in [Tv1, Tv2] {
        let mut talk = Talk::by(Rules { epoch_max: 0, ..Rules::default() });
        let old = talk.init().unwrap();
        talk.send_in(Tv2, P0, old, 0, 1).unwrap();
        talk.end(Tv2, old, Commit).unwrap();
        talk.finish();
        assert_eq!(talk.send_in(protocol, P0, old, 1, 1), Err(OLD_EPOCH), "{protocol:?}");
    }
}

/// Before the marker is written a late batch still gets into the transaction, and below its marker.
#[test]
fn a_batch_between_end_and_marker_belongs_to_the_transaction() {
    let (mut talk, session) = open();
    talk.end(Tv1, session, Abort).unwrap();
    assert_eq!(talk.send_in(Tv1, P0, session, 3, 1), Ok(3));
    talk.finish();
    let reply = talk.fetch(ReadCommitted, 0);
    assert_eq!((reply.aborted, reply.last_stable), (vec![(session.producer, 0)], 5));
}

#[test]
fn an_open_transaction_holds_back_everyone_at_read_committed() {
    for (ending, aborted) in [(Commit, vec![]), (Abort, vec![0])] {
        let (mut talk, session) = open();
        let plain = talk.fresh();
        assert_eq!(talk.send(plain, 0, 1), Ok(3));
        let reply = talk.fetch(ReadCommitted, 0);
        assert_eq!((reply.high_watermark, reply.last_stable), (4, 0));
        assert_eq!((tags(&reply), reply.aborted), (vec![], vec![]));
        assert_eq!(talk.tags(ReadUncommitted).len(), 4);
        talk.end(Tv1, session, ending).unwrap();
        assert_eq!(talk.fetch(ReadCommitted, 0).last_stable, 0, "until the marker");
        talk.finish();
        let reply = talk.fetch(ReadCommitted, 0);
        assert_eq!((reply.high_watermark, reply.last_stable), (5, 5));
        let firsts: Vec<Offset> = reply.aborted.iter().map(|(_, first)| *first).collect();
        assert_eq!((tags(&reply).len(), firsts), (4, aborted));
    }
}

/// Two transactions in one partition: the one that is open longest says how far the stable part goes.
#[test]
fn overlapping_transactions_end_apart() {
    let (mut talk, one) = open();
    let t1 = TxnId(1);
    let other = talk.init_as(t1).unwrap();
    let end = talk.produce(Some((t1, Tv2)), P0, Some(other), 0, 1).unwrap();
    assert_eq!(talk.fetch(ReadCommitted, 0).last_stable, 0);
    let other_next = talk.end_as(t1, Tv2, other, Abort).unwrap();
    talk.finish();
    assert_eq!((end, talk.fetch(ReadCommitted, 0).last_stable), (3, 0));
    talk.end(Tv1, one, Commit).unwrap();
    talk.finish();
    let reply = talk.fetch(ReadCommitted, 0);
    assert_eq!((reply.last_stable, reply.aborted), (6, vec![(other.producer, 3)]));
    assert_eq!(talk.markers(P0), [(other_next, Abort), (one, Commit)]);
}

#[test]
fn read_uncommitted_sees_aborted_records_and_needs_no_list() {
    let (mut talk, session) = open();
    talk.end(Tv1, session, Abort).unwrap();
    talk.finish();
    let reply = talk.fetch(ReadUncommitted, 0);
    assert_eq!((tags(&reply).len(), reply.aborted), (3, vec![]));
}

/// Aborted (0 to 2, marker 3), then of the same producer committed (4, marker 5) and aborted (6, marker 7).
fn aborted_committed_aborted() -> (Talk, i64) {
    let (mut talk, session) = open();
    let mut next = session;
    for (ending, write) in [(Abort, false), (Commit, true), (Abort, true)] {
        if write {
            talk.send_in(Tv2, P0, next, 0, 1).unwrap();
        }
        next = talk.end(Tv2, next, ending).unwrap();
        talk.finish();
    }
    (talk, session.producer)
}

/// From wherever a fetch begins it lists the transactions that reach into what is returned (B33), and none that ended
/// before, which would hide the committed ones that follow (B34).
#[test]
fn the_aborted_list_is_complete_and_minimal() {
    let table: [(Offset, &[Offset]); 9] = [
        (0, &[0, 6]),
        (1, &[0, 6]),
        (2, &[0, 6]),
        (3, &[0, 6]),
        (4, &[6]),
        (5, &[6]),
        (6, &[6]),
        (7, &[6]),
        (8, &[]),
    ];
    for restart in [false, true] {
        let (mut talk, producer) = aborted_committed_aborted();
        if restart {
            talk.broker.restart();
        }
        for (from, firsts) in table {
            let expected: Vec<_> = firsts.iter().map(|first| (producer, *first)).collect();
            assert_eq!(talk.fetch(ReadCommitted, from).aborted, expected, "from {from}");
        }
    }
}

/// Nor any beyond the last stable offset, where nothing is returned.
#[test]
fn the_aborted_list_ends_with_what_is_returned() {
    let mut talk = Talk::new();
    let (t0, t1) = (talk.init().unwrap(), talk.init_as(TxnId(1)).unwrap());
    talk.send_in(Tv2, P0, t0, 0, 1).unwrap();
    talk.produce(Some((TxnId(1), Tv2)), P0, Some(t1), 0, 1).unwrap();
    talk.end_as(TxnId(1), Tv2, t1, Abort).unwrap();
    talk.finish();
    assert_eq!(talk.fetch(ReadCommitted, 0).aborted, []);
    talk.end_as(T, Tv2, t0, Commit).unwrap();
    talk.finish();
    assert_eq!(talk.fetch(ReadCommitted, 0).aborted, [(t1.producer, 1)]);
}

#[test]
fn an_abort_without_data_is_not_listed() {
    let (mut talk, _) = Talk::at(State::Complete(Abort), Tv1);
    assert_eq!(talk.markers(P0).len(), 1);
    assert_eq!(talk.fetch(ReadCommitted, 0).aborted, []);
}

#[test]
fn a_fetch_returns_whole_batches_from_where_it_begins() {
    let (mut talk, _) = aborted_committed_aborted();
    for (from, bases) in [
        (0, vec![0, 2, 3, 4, 5, 6, 7]),
        (1, vec![0, 2, 3, 4, 5, 6, 7]),
        (5, vec![5, 6, 7]),
        (8, vec![]),
    ] {
        let batches = talk.fetch(ReadCommitted, from).batches;
        let found: Vec<Offset> = batches.iter().map(|batch| batch.base).collect();
        assert_eq!(found, bases, "from {from}");
    }
}

/// A restart keeps the last batch of each producer, or more; what it forgot is refused, never appended again.
#[test]
fn duplicates_after_a_restart() {
    for window_after_restart in 1..=5 {
        for back in 1..=6 {
            let mut talk = Talk::by(Rules { window_after_restart, ..Rules::default() });
            let session = talk.fresh();
            for first in 0..7 {
                talk.send(session, first, 1).unwrap();
            }
            talk.broker.restart();
            let first = 7 - back as i32;
            let kept = back <= window_after_restart;
            let answer = if kept { Ok(Offset::from(first)) } else { Err(ORDER) };
            assert_eq!(talk.send(session, first, 1), answer, "{window_after_restart} {back}");
            assert_eq!(talk.send(session, 8, 1), Err(ORDER));
            assert_eq!(talk.send(session, 7, 1), Ok(7));
        }
    }
}

#[test]
fn a_restart_keeps_log_and_epochs() {
    for Permitted { rules, .. } in Rules::permitted() {
        let mut talk = Talk::by(rules);
        let (producer, old) = (talk.fresh(), talk.init().unwrap());
        talk.send(producer, 0, 3).unwrap();
        talk.send(epochs_on(producer, 1), 0, 1).unwrap();
        talk.send_in(Tv2, P0, old, 0, 1).unwrap();
        talk.end(Tv2, old, Commit).unwrap();
        talk.finish();
        let before = [ReadCommitted, ReadUncommitted].map(|level| talk.fetch(level, 0));
        talk.broker.restart();
        let after = [ReadCommitted, ReadUncommitted].map(|level| talk.fetch(level, 0));
        assert_eq!(before, after, "{rules:?}");
        assert_eq!(talk.send(producer, 3, 1), Err(OLD_EPOCH));
        assert_eq!(talk.send_in(Tv2, P0, old, 1, 1), Err(OLD_EPOCH));
    }
}

#[test]
fn an_open_transaction_survives_a_restart() {
    for ending in [Commit, Abort] {
        let (mut talk, session) = open();
        talk.broker.restart();
        assert_eq!(talk.fetch(ReadCommitted, 0).last_stable, 0);
        assert_eq!(talk.send_in(Tv1, P0, session, 2, 1), Ok(2));
        assert_eq!(talk.send_in(Tv1, P0, session, 3, 1), Ok(3));
        assert_eq!(talk.send(session, 4, 1), Err(STATE));
        talk.end(Tv1, session, ending).unwrap();
        talk.broker.restart();
        talk.finish();
        assert_eq!(talk.markers(P0), [(session, ending)], "what was decided stays so");
        let reply = talk.fetch(ReadCommitted, 0);
        assert_eq!((reply.last_stable, reply.aborted.len()), (5, usize::from(ending == Abort)));
    }
}

/// Redpanda's commits take one more offset. It is used up for good.
#[test]
fn burned_offsets_stay_burned() {
    let mut talk = Talk::by(Rules { burns_offsets: true, ..Rules::default() });
    let session = talk.init().unwrap();
    talk.send_in(Tv2, P0, session, 0, 1).unwrap();
    let next = talk.end(Tv2, session, Commit).unwrap();
    talk.finish();
    for restart in [false, true] {
        if restart {
            talk.broker.restart();
        }
        let reply = talk.fetch(ReadCommitted, 3);
        assert_eq!((reply.high_watermark, reply.last_stable), (3, 3));
    }
    assert_eq!(talk.send_in(Tv2, P0, next, 0, 1), Ok(3));
}
