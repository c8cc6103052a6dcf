//! The transaction coordinator's tables: every state and every request, what is answered and what comes next.

use onceness_reference::code::Code;
use onceness_reference::ids::{Partition, TxnId};
use onceness_reference::protocol::{Ending, Session};
use onceness_reference::rules::Rules;

use crate::talk::State::{Complete, Empty, Ongoing, Prepare};
use crate::talk::{
    Abort, Commit, P0, P1, ReadCommitted, STATES, STRANGER, State, Talk, Tv1, Tv2, epochs_on,
};

const FENCED: Code = Code::PRODUCER_FENCED;
const STATE: Code = Code::INVALID_TXN_STATE;
const WAIT: Code = Code::CONCURRENT_TRANSACTIONS;
const UNKNOWN: Code = Code::INVALID_PRODUCER_ID_MAPPING;

#[test]
fn states_are_what_they_are_called() {
    for protocol in [Tv1, Tv2] {
        for state in STATES {
            let (mut talk, session) = Talk::at(state, protocol);
            assert_eq!(talk.state(session), state, "{protocol:?}");
        }
    }
}

#[test]
fn init_without_transactional_id_never_repeats_a_producer_id() {
    let mut talk = Talk::new();
    let mut seen = vec![talk.fresh(), talk.init().unwrap()];
    talk.broker.restart();
    seen.extend([talk.fresh(), talk.fresh(), talk.init_as(TxnId(1)).unwrap()]);
    assert!(seen.iter().all(|session| session.epoch == 0));
    let mut ids: Vec<i64> = seen.iter().map(|session| session.producer).collect();
    ids.dedup();
    assert_eq!(ids.len(), seen.len(), "{seen:?}");
    assert!(ids.is_sorted());
}

/// The rows of InitProducerId: what is answered (how many epochs on, or a code), and the state then.
#[test]
fn init_by_state() {
    let table = [
        (Empty, Ok(1), Empty),
        (Ongoing, Err(WAIT), Prepare(Abort)),
        (Prepare(Commit), Err(WAIT), Prepare(Commit)),
        (Prepare(Abort), Err(WAIT), Prepare(Abort)),
        (Complete(Commit), Ok(1), Empty),
        (Complete(Abort), Ok(1), Empty),
    ];
    for protocol in [Tv1, Tv2] {
        for (state, answer, next) in table {
            let (mut talk, session) = Talk::at(state, protocol);
            let expected = answer.map(|by| epochs_on(session, by));
            assert_eq!(talk.init(), expected, "{protocol:?} {state:?}");
            let fenced = i16::from(state == Ongoing);
            let current = expected.unwrap_or(epochs_on(session, fenced));
            assert_eq!(talk.state(current), next, "{protocol:?} {state:?}");
        }
    }
}

/// An instance that dies at epoch e in an open transaction: its successor gets e+2, or e+3 from Kafka 4.0.0.
#[test]
fn init_fences_the_predecessor() {
    for fencing_bump in [1, 2] {
        let mut talk = Talk::by(Rules { fencing_bump, ..Rules::default() });
        let zombie = talk.init().unwrap();
        talk.add(zombie, P0).unwrap();
        talk.send_in(Tv1, P0, zombie, 0, 1).unwrap();
        assert_eq!(talk.init(), Err(WAIT));
        assert_eq!(talk.init(), Err(WAIT), "the markers are not written yet");
        assert_eq!(talk.add(zombie, P1), Err(FENCED));
        assert_eq!(talk.add_group(zombie), Err(FENCED));
        assert_eq!(talk.end(Tv1, zombie, Commit), Err(FENCED));
        assert_eq!(talk.fetch(ReadCommitted, 0).last_stable, 0);
        talk.finish();
        let marker = epochs_on(zombie, fencing_bump);
        assert_eq!(talk.markers(P0), [(marker, Abort)]);
        assert_eq!(talk.fetch(ReadCommitted, 0).last_stable, 2);
        assert_eq!(talk.init(), Ok(epochs_on(zombie, fencing_bump + 1)));
        assert_eq!(talk.send_in(Tv1, P0, zombie, 1, 1), Err(Code::INVALID_PRODUCER_EPOCH));
        assert_eq!(talk.send_in(Tv1, P1, zombie, 0, 1), Err(Code::INVALID_PRODUCER_EPOCH));
    }
}

#[test]
fn init_without_open_transaction_fences_at_once() {
    let mut talk = Talk::new();
    let zombie = talk.init().unwrap();
    assert_eq!(talk.init(), Ok(epochs_on(zombie, 1)));
    assert_eq!(talk.add(zombie, P0), Err(FENCED));
    assert_eq!(talk.send_in(Tv2, P0, zombie, 0, 1), Err(Code::INVALID_PRODUCER_EPOCH));
    for protocol in [Tv1, Tv2] {
        assert_eq!(talk.end(protocol, zombie, Abort), Err(FENCED));
    }
}

/// Who asks counts before the state does.
#[test]
fn strangers_and_other_epochs_are_refused_in_every_state() {
    let add = |talk: &mut Talk, session| talk.add(session, P0).err();
    let add_group = |talk: &mut Talk, session| talk.add_group(session).err();
    let end_tv1 = |talk: &mut Talk, session| talk.end(Tv1, session, Commit).err();
    let asks: [fn(&mut Talk, Session) -> Option<Code>; 3] = [add, add_group, end_tv1];
    for state in STATES {
        for ask in asks {
            let (mut talk, session) = Talk::at(state, Tv1);
            assert_eq!(ask(&mut talk, STRANGER), Some(UNKNOWN), "{state:?}");
            assert_eq!(ask(&mut talk, epochs_on(session, -1)), Some(FENCED), "{state:?}");
            assert_eq!(ask(&mut talk, epochs_on(session, 1)), Some(FENCED), "{state:?}");
            assert_eq!(talk.state(session), state);
        }
    }
}

#[test]
fn nobody_knows_a_transactional_id_that_was_not_initialised() {
    let mut talk = Talk::new();
    assert_eq!(talk.add(STRANGER, P0), Err(UNKNOWN));
    assert_eq!(talk.add_group(STRANGER), Err(UNKNOWN));
    assert_eq!(talk.save_in(Tv2, STRANGER, None, 1), Err(UNKNOWN));
    for protocol in [Tv1, Tv2] {
        assert_eq!(talk.end(protocol, STRANGER, Commit), Err(UNKNOWN));
        assert_eq!(talk.send_in(protocol, P0, STRANGER, 0, 1), Err(UNKNOWN));
    }
}

#[test]
fn a_partition_that_does_not_exist_joins_no_transaction() {
    let (mut talk, session) = Talk::at(Empty, Tv1);
    assert_eq!(talk.add(session, Partition(2)), Err(Code::UNKNOWN_TOPIC_OR_PARTITION));
    assert_eq!(talk.state(session), Empty);
}

/// The rows of AddPartitionsToTxn and AddOffsetsToTxn, and of what TV2 does in their place.
#[test]
fn add_by_state() {
    type Add = fn(&mut Talk, Session) -> Option<Code>;
    let adds: [(&str, Add); 5] = [
        ("the same partition", |talk, session| talk.add(session, P0).err()),
        ("another partition", |talk, session| talk.add(session, P1).err()),
        ("a group", |talk, session| talk.add_group(session).err()),
        ("a first write", |talk, session| talk.send_in(Tv2, P1, session, 0, 1).err()),
        ("a first save", |talk, session| talk.save_in(Tv2, session, None, 1).err()),
    ];
    for (name, add) in adds {
        for state in STATES {
            let (mut talk, session) = Talk::at(state, Tv2);
            let (answer, next) = match state {
                Prepare(_) => (Some(WAIT), state),
                Empty | Ongoing | Complete(_) => (None, Ongoing),
            };
            assert_eq!(add(&mut talk, session), answer, "{name}, {state:?}");
            assert_eq!(talk.state(session), next, "{name}, {state:?}");
        }
    }
}

#[test]
fn a_place_added_twice_gets_one_marker() {
    let (mut talk, session) = Talk::at(Ongoing, Tv1);
    for _ in 0..2 {
        talk.add(session, P0).unwrap();
        talk.add_group(session).unwrap();
    }
    talk.end(Tv1, session, Commit).unwrap();
    // Two places, and the note that it is complete.
    assert_eq!(talk.broker.work(), 3);
    talk.finish();
    assert_eq!(talk.markers(P0), [(session, Commit)]);
}

/// The verification that the leader asks for on behalf of a TV1 producer, translated for producers.
#[test]
fn first_write_of_tv1_by_state() {
    let table = [
        (Empty, P0, Some(STATE)),
        (Ongoing, P0, None),
        (Ongoing, P1, Some(STATE)),
        (Prepare(Commit), P0, Some(Code::NOT_ENOUGH_REPLICAS)),
        (Prepare(Abort), P0, Some(Code::NOT_ENOUGH_REPLICAS)),
        (Complete(Commit), P0, Some(STATE)),
        (Complete(Abort), P0, Some(STATE)),
    ];
    for (state, partition, answer) in table {
        let (mut talk, session) = Talk::at(state, Tv1);
        let sent = talk.send_in(Tv1, partition, session, 0, 1);
        assert_eq!(sent.err(), answer, "{state:?} {partition}");
        assert_eq!(talk.state(session), state, "{state:?} {partition}");
    }
}

#[test]
fn end_txn_tv1() {
    let table = [
        (Empty, Err(STATE), Err(STATE)),
        (Ongoing, Ok(()), Ok(())),
        (Prepare(Commit), Err(WAIT), Err(STATE)),
        (Prepare(Abort), Err(STATE), Err(WAIT)),
        (Complete(Commit), Ok(()), Err(STATE)),
        (Complete(Abort), Err(STATE), Ok(())),
    ];
    for (state, commit, abort) in table {
        for (ending, answer) in [(Commit, commit), (Abort, abort)] {
            let (mut talk, session) = Talk::at(state, Tv1);
            let ended = talk.end(Tv1, session, ending);
            // TV1 never changes the epoch.
            assert_eq!(ended, answer.map(|()| session), "{state:?} {ending:?}");
            let next = if state == Ongoing { Prepare(ending) } else { state };
            assert_eq!(talk.state(session), next, "{state:?} {ending:?}");
        }
    }
}

/// What a cell of the table of TV2 says.
#[derive(Clone, Copy)]
enum Cell {
    /// Refused; nothing changes.
    No(Code),
    /// Done before; the session that goes on is told again.
    Again,
    /// The transaction ends so, with the next epoch.
    Ends(Ending),
}

#[test]
fn end_txn_tv2() {
    use Cell::{Again, Ends, No};
    // By state: abort as a retry and as the current session, then commit likewise.
    let table = [
        (Empty, [No(FENCED), Ends(Abort)], [No(FENCED), No(STATE)]),
        (Ongoing, [No(FENCED), Ends(Abort)], [No(FENCED), Ends(Commit)]),
        (Prepare(Commit), [No(STATE), No(FENCED)], [No(WAIT), No(FENCED)]),
        (Prepare(Abort), [No(WAIT), No(FENCED)], [No(STATE), No(FENCED)]),
        (Complete(Abort), [Again, Ends(Abort)], [No(STATE), No(STATE)]),
        (Complete(Commit), [No(STATE), Ends(Abort)], [Again, No(STATE)]),
    ];
    for (state, aborts, commits) in table {
        let retries = [(Abort, aborts[0]), (Commit, commits[0])];
        let currents = [(Abort, aborts[1]), (Commit, commits[1])];
        for (ending, cell) in retries {
            check_cell(state, -1, ending, cell);
        }
        for (ending, cell) in currents {
            check_cell(state, 0, ending, cell);
        }
        // Older and newer ones than these two.
        for (by, ending) in [(-2, Abort), (-2, Commit), (1, Abort), (1, Commit)] {
            check_cell(state, by, ending, No(FENCED));
        }
    }
}

fn check_cell(state: State, by: i16, ending: Ending, cell: Cell) {
    let (mut talk, session) = Talk::at(state, Tv2);
    let (answer, next) = match cell {
        Cell::No(code) => (Err(code), state),
        Cell::Again => (Ok(session), state),
        Cell::Ends(ending) => (Ok(epochs_on(session, 1)), Prepare(ending)),
    };
    let ended = talk.end(Tv2, epochs_on(session, by), ending);
    assert_eq!(ended, answer, "{state:?} {by:+} {ending:?}");
    assert_eq!(talk.state(answer.unwrap_or(session)), next, "{state:?} {by:+} {ending:?}");
}

#[test]
fn end_txn_tv2_of_a_stranger() {
    for state in STATES {
        let (mut talk, session) = Talk::at(state, Tv2);
        assert_eq!(talk.end(Tv2, STRANGER, Abort), Err(UNKNOWN), "{state:?}");
        assert_eq!(talk.state(session), state);
    }
}

/// The hole that TV2 closes: a late EndTxn of one transaction meets the next (KAFKA-17754).
#[test]
fn a_late_end_txn_ends_the_next_transaction_in_tv1_only() {
    for (protocol, expected) in [(Tv1, Ok(())), (Tv2, Err(FENCED))] {
        let (mut talk, first) = Talk::at(Ongoing, protocol);
        let next = talk.end(protocol, first, Abort).unwrap();
        talk.finish();
        talk.add(next, P0).unwrap();
        assert_eq!(talk.end(protocol, first, Commit).map(|_| ()), expected);
    }
}

/// A broker whose epochs end at 2 (Kafka: 32766), and a producer that has got there.
fn at_the_last_epoch(state: State) -> (Talk, Session) {
    at_the_last_epoch_of(Rules { epoch_max: 2, ..Rules::default() }, state)
}

fn at_the_last_epoch_of(rules: Rules, state: State) -> (Talk, Session) {
    let mut talk = Talk::by(rules);
    let session = (0..=rules.epoch_max).map(|_| talk.init().unwrap()).last().unwrap();
    assert_eq!(session.epoch, rules.epoch_max);
    if state == Ongoing {
        talk.add(session, P0).unwrap();
    }
    (talk, session)
}

#[test]
fn init_at_the_last_epoch_gives_a_new_producer() {
    let (mut talk, old) = at_the_last_epoch(Empty);
    let new = talk.init().unwrap();
    assert!(new.producer != old.producer && new.epoch == 0, "{new:?}");
    assert_eq!(talk.add(old, P0), Err(UNKNOWN));
    assert_eq!(talk.end(Tv1, old, Abort), Err(UNKNOWN));
    assert_eq!(talk.end(Tv2, old, Abort), Err(FENCED));
    assert_eq!(talk.state(new), Empty);
}

#[test]
fn fencing_at_the_last_epoch_gives_a_new_producer() {
    for fencing_bump in [1, 2] {
        let rules = Rules { epoch_max: 2, fencing_bump, ..Rules::default() };
        let (mut talk, old) = at_the_last_epoch_of(rules, Ongoing);
        assert_eq!(talk.init(), Err(WAIT));
        talk.finish();
        assert_eq!(talk.markers(P0), [(epochs_on(old, fencing_bump), Abort)]);
        let new = talk.init().unwrap();
        assert!(new.producer != old.producer && new.epoch == 0, "{new:?}");
    }
}

#[test]
fn fencing_at_the_highest_epoch_of_kafka_does_not_overflow() {
    let rules = Rules { fencing_bump: 2, ..Rules::default() };
    let (mut talk, old) = at_the_last_epoch_of(rules, Ongoing);
    assert_eq!((old.epoch, talk.init()), (32766, Err(WAIT)));
    talk.finish();
    assert_eq!(talk.markers(P0), [(epochs_on(old, 1), Abort)]);
    assert_eq!(talk.init().unwrap().epoch, 0);
}

/// TV2 at the last epoch: the markers go one beyond it, and the client is told the new producer at once (KAFKA-18660).
#[test]
fn end_txn_tv2_at_the_last_epoch() {
    for (ending, opposite) in [(Commit, Abort), (Abort, Commit)] {
        let (mut talk, old) = at_the_last_epoch(Ongoing);
        let new = talk.end(Tv2, old, ending).unwrap();
        assert!(new.producer != old.producer && new.epoch == 0, "{new:?}");
        assert_eq!(talk.end(Tv2, old, ending), Err(WAIT));
        assert_eq!(talk.end(Tv2, old, opposite), Err(STATE));
        assert_eq!(talk.add(new, P0), Err(UNKNOWN), "it takes over when the markers are written");
        talk.broker.restart();
        talk.finish();
        assert_eq!(talk.markers(P0), [(epochs_on(old, 1), ending)]);
        assert_eq!(talk.end(Tv2, old, ending), Ok(new), "a lost answer can be had again");
        assert_eq!(talk.end(Tv2, old, opposite), Err(STATE));
        assert_eq!(talk.end(Tv2, epochs_on(old, -1), ending), Err(UNKNOWN));
        talk.add(new, P0).unwrap();
        assert_eq!(talk.end(Tv2, old, ending), Err(FENCED));
        assert_eq!(talk.end(Tv2, new, ending), Ok(epochs_on(new, 1)));
        assert_eq!(talk.end(Tv2, old, ending), Err(UNKNOWN));
    }
}

#[test]
fn tv1_stays_at_the_last_epoch() {
    let (mut talk, session) = at_the_last_epoch(Ongoing);
    for _ in 0..3 {
        assert_eq!(talk.end(Tv1, session, Commit), Ok(session));
        talk.finish();
        talk.add(session, P0).unwrap();
    }
}

/// The answer comes before the markers, and the next transaction waits for the last of them.
#[test]
fn markers_are_written_later_and_in_any_order() {
    for first in 0..4 {
        let (mut talk, session) = Talk::at(Ongoing, Tv1);
        talk.add(session, P1).unwrap();
        talk.add_group(session).unwrap();
        talk.send_in(Tv1, P0, session, 0, 1).unwrap();
        talk.save_in(Tv1, session, None, 7).unwrap();
        talk.end(Tv1, session, Commit).unwrap();
        for left in (1..=4).rev() {
            assert_eq!(talk.broker.work(), left);
            assert_eq!(talk.add(session, P0), Err(WAIT));
            assert_eq!(talk.init(), Err(WAIT));
            talk.broker.go_on(99);
            assert_eq!(talk.broker.work(), left, "there is no such marker");
            talk.broker.go_on(first.min(left - 1));
        }
        assert_eq!(talk.markers(P0), [(session, Commit)]);
        assert_eq!(talk.markers(P1), [(session, Commit)]);
        assert_eq!(talk.position(), Ok(Some(7)));
        assert_eq!(talk.state(session), Complete(Commit));
    }
}

#[test]
fn markers_that_do_not_lag_are_there_with_the_answer() {
    let mut talk = Talk::by(Rules { markers_lag: false, ..Rules::default() });
    let session = talk.init().unwrap();
    talk.add(session, P0).unwrap();
    let session = talk.end(Tv2, session, Commit).unwrap();
    assert_eq!((talk.broker.work(), talk.markers(P0)), (0, vec![(session, Commit)]));
    talk.add(session, P0).unwrap();
    assert_eq!(talk.init(), Err(WAIT), "fencing says so all the same");
    assert_eq!(talk.init(), Ok(epochs_on(session, 2)));
}

/// An abort of nothing, which only TV2 allows, has no marker and yet has to complete.
#[test]
fn an_empty_abort_of_tv2_completes() {
    let (mut talk, session) = Talk::at(Empty, Tv2);
    let next = talk.end(Tv2, session, Abort).unwrap();
    assert_eq!(talk.add(next, P0), Err(WAIT));
    talk.finish();
    assert_eq!(talk.markers(P0), []);
    assert_eq!(talk.state(next), Complete(Abort));
}

#[test]
fn transactional_ids_do_not_wait_for_each_other() {
    let (mut talk, one) = Talk::at(Prepare(Commit), Tv1);
    let other = talk.init_as(TxnId(1)).unwrap();
    talk.add_as(TxnId(1), other, P0).unwrap();
    assert_eq!(talk.end_as(TxnId(1), Tv1, other, Abort), Ok(other));
    talk.finish();
    assert_eq!(talk.markers(P0), [(one, Commit), (other, Abort)]);
    assert_eq!(talk.state(one), Complete(Commit));
}

/// Ongoing stays ongoing, what is decided is completed as decided, and complete stays complete.
#[test]
fn every_state_survives_a_restart() {
    for protocol in [Tv1, Tv2] {
        for state in STATES {
            let (mut talk, session) = Talk::at(state, protocol);
            talk.broker.restart();
            assert_eq!(talk.state(session), state, "{protocol:?}");
            let (mut talk, session) = Talk::at(state, protocol);
            talk.broker.restart();
            talk.finish();
            let next = if let Prepare(ending) = state { Complete(ending) } else { state };
            assert_eq!(talk.state(session), next, "{protocol:?}");
        }
    }
}

/// To TV2 the fencing epoch reads like the next one, so a fenced predecessor's EndTxn passes for a retry, by Kafka's own
/// table. It can learn the abort, never a commit.
#[test]
fn a_fenced_end_txn_of_tv2_passes_for_a_retry() {
    let (mut talk, zombie) = Talk::at(Ongoing, Tv2);
    assert_eq!(talk.init(), Err(WAIT));
    assert_eq!(talk.end(Tv2, zombie, Abort), Err(WAIT));
    assert_eq!(talk.end(Tv2, zombie, Commit), Err(STATE));
    talk.finish();
    assert_eq!(talk.end(Tv2, zombie, Commit), Err(STATE));
    assert_eq!(talk.end(Tv2, zombie, Abort), Ok(epochs_on(zombie, 1)));
    assert_eq!(talk.init(), Ok(epochs_on(zombie, 2)));
    assert_eq!(talk.end(Tv2, zombie, Abort), Err(FENCED));
    assert_eq!(talk.add(epochs_on(zombie, 1), P0), Err(FENCED));
}

/// Of what is decided and not complete a restart writes all markers again, or those that are missing.
#[test]
fn a_restart_writes_the_markers_of_what_is_not_complete() {
    for (repeats_markers, times) in [(true, 2), (false, 1)] {
        let mut talk = Talk::by(Rules { repeats_markers, ..Rules::default() });
        let session = talk.init().unwrap();
        talk.add(session, P0).unwrap();
        talk.add(session, P1).unwrap();
        talk.end(Tv1, session, Commit).unwrap();
        talk.broker.go_on(0);
        talk.broker.restart();
        talk.finish();
        assert_eq!(talk.markers(P0), vec![(session, Commit); times]);
        assert_eq!(talk.markers(P1), [(session, Commit)]);
        talk.broker.restart();
        assert_eq!(talk.broker.work(), 0, "it is complete");
    }
}
