//! The group coordinator's table: saved positions, plain and in transactions, and who may save them.

use onceness_reference::code::Code;
use onceness_reference::ids::{Offset, TxnId};
use onceness_reference::protocol::{Ending, Member, Request, Response};

use crate::talk::{Abort, Commit, G, P0, P1, STATES, STRANGER, State, Talk, Tv1, Tv2, epochs_on};

const UNSTABLE: Code = Code::UNSTABLE_OFFSET_COMMIT;
const STATE: Code = Code::INVALID_TXN_STATE;

/// In an open transaction that the group belongs to.
fn open() -> (Talk, onceness_reference::protocol::Session) {
    let (mut talk, session) = Talk::at(State::Ongoing, Tv1);
    talk.add_group(session).unwrap();
    (talk, session)
}

#[test]
fn without_a_save_there_is_no_position() {
    assert_eq!(Talk::new().position(), Ok(None));
}

#[test]
fn the_last_plain_save_wins_even_if_it_goes_back() {
    let mut talk = Talk::new();
    for offset in [10, 5, 0, 7] {
        talk.save(None, offset).unwrap();
        assert_eq!(talk.position(), Ok(Some(offset)));
    }
    talk.broker.restart();
    assert_eq!(talk.position(), Ok(Some(7)));
}

#[test]
fn a_save_in_a_transaction_is_pending_until_the_end() {
    for (ending, expected) in [(Commit, Some(9)), (Abort, Some(4))] {
        let (mut talk, session) = open();
        talk.save(None, 4).unwrap();
        talk.save_in(Tv1, session, None, 8).unwrap();
        talk.save_in(Tv1, session, None, 9).unwrap();
        assert_eq!(talk.position(), Err(UNSTABLE));
        talk.broker.restart();
        assert_eq!(talk.position(), Err(UNSTABLE));
        talk.end(Tv1, session, ending).unwrap();
        assert_eq!(talk.position(), Err(UNSTABLE), "until the marker");
        talk.broker.restart();
        talk.finish();
        assert_eq!(talk.position(), Ok(expected));
        talk.broker.restart();
        assert_eq!(talk.position(), Ok(expected));
    }
}

#[test]
fn an_abort_of_the_first_save_leaves_none() {
    let (mut talk, session) = open();
    talk.save_in(Tv1, session, None, 8).unwrap();
    talk.end(Tv1, session, Abort).unwrap();
    talk.finish();
    assert_eq!(talk.position(), Ok(None));
}

#[test]
fn fencing_forgets_what_is_pending() {
    let (mut talk, zombie) = open();
    talk.save_in(Tv1, zombie, None, 8).unwrap();
    talk.init().unwrap_err();
    talk.finish();
    assert_eq!(talk.position(), Ok(None));
    assert_eq!(talk.save_in(Tv1, zombie, None, 8), Err(Code::INVALID_PRODUCER_EPOCH));
}

#[test]
fn a_transaction_without_saves_changes_no_position() {
    let (mut talk, session) = open();
    talk.save(None, 4).unwrap();
    talk.end(Tv1, session, Commit).unwrap();
    talk.finish();
    assert_eq!(talk.position(), Ok(Some(4)));
}

/// Of a plain save and one in a transaction the one that was written later wins, not the one that took effect later.
#[test]
fn the_later_written_save_wins() {
    enum Save {
        Plain(Offset),
        InTxn(Offset),
    }
    use Save::{InTxn, Plain};
    let table = [
        ([InTxn(1), Plain(2)], Commit, 2),
        ([Plain(2), InTxn(1)], Commit, 1),
        ([InTxn(1), Plain(2)], Abort, 2),
        ([Plain(2), InTxn(1)], Abort, 2),
    ];
    for (saves, ending, expected) in table {
        for restart in [false, true] {
            let (mut talk, session) = open();
            for save in &saves {
                match save {
                    Plain(offset) => talk.save(None, *offset).unwrap(),
                    InTxn(offset) => talk.save_in(Tv1, session, None, *offset).unwrap(),
                }
            }
            talk.end(Tv1, session, ending).unwrap();
            talk.finish();
            if restart {
                talk.broker.restart();
            }
            assert_eq!(talk.position(), Ok(Some(expected)));
        }
    }
}

/// Each transaction ends its own saves only; the position is unstable while any is open.
#[test]
fn overlapping_transactions_end_apart() {
    let mut talk = Talk::new();
    let (one, other) = (talk.init().unwrap(), talk.init_as(TxnId(1)).unwrap());
    talk.save_in(Tv2, one, None, 1).unwrap();
    let save = Request::SaveInTxn {
        txn: TxnId(1),
        session: other,
        protocol: Tv2,
        group: G,
        member: None,
        positions: vec![(P0, 2)],
    };
    assert_eq!(talk.ask(save), Ok(Response::Done));
    talk.end_as(TxnId(1), Tv2, other, Commit).unwrap();
    talk.finish();
    assert_eq!(talk.position(), Err(UNSTABLE));
    talk.end(Tv2, one, Commit).unwrap();
    talk.finish();
    assert_eq!(talk.position(), Ok(Some(2)), "written later, though committed first");
}

#[test]
fn partitions_and_groups_are_apart() {
    let (mut talk, session) = open();
    talk.save_in(Tv1, session, None, 5).unwrap();
    let mut positions = |group, partitions: Vec<_>| {
        talk.ask(Request::Positions {
            group: onceness_reference::ids::GroupId(group),
            partitions,
            stable: true,
        })
    };
    assert_eq!(positions(0, vec![P1]), Ok(Response::Positions(vec![(P1, None)])));
    assert_eq!(positions(0, vec![P1, P0]), Err(UNSTABLE));
    assert_eq!(positions(1, vec![P0]), Ok(Response::Positions(vec![(P0, None)])));
}

#[test]
fn save_in_transaction_by_state() {
    for state in STATES {
        let answer = match state {
            State::Prepare(_) => Err(Code::CONCURRENT_TRANSACTIONS),
            // Ongoing, but without the group.
            _ => Err(STATE),
        };
        let (mut talk, session) = Talk::at(state, Tv1);
        assert_eq!(talk.save_in(Tv1, session, None, 1), answer, "{state:?}");
        assert_eq!(talk.position(), Ok(None));
    }
    let (mut talk, session) = open();
    assert_eq!(talk.save_in(Tv1, session, None, 1), Ok(()));
}

#[test]
fn tv2_adds_the_group_with_the_first_save() {
    let (mut talk, session) = Talk::at(State::Empty, Tv2);
    talk.save_in(Tv2, session, None, 3).unwrap();
    talk.end(Tv2, session, Commit).unwrap();
    assert_eq!(talk.broker.work(), 2);
    talk.finish();
    assert_eq!(talk.position(), Ok(Some(3)));
}

#[test]
fn zombies_save_nothing_in_transactions() {
    for protocol in [Tv1, Tv2] {
        let (mut talk, session) = open();
        let mut save = |session| talk.save_in(protocol, session, None, 1);
        assert_eq!(save(epochs_on(session, -1)), Err(Code::INVALID_PRODUCER_EPOCH));
        assert_eq!(save(epochs_on(session, 1)), Err(Code::INVALID_PRODUCER_EPOCH));
        assert_eq!(save(STRANGER), Err(Code::INVALID_PRODUCER_ID_MAPPING));
        assert_eq!(talk.position(), Ok(None));
    }
}

/// Who asks, and what plain saves and those in transactions are answered.
#[test]
fn members() {
    let wrong = Err(Code::ILLEGAL_GENERATION);
    let gone = Err(Code::FENCED_INSTANCE_ID);
    let nobody = Err(Code::UNKNOWN_MEMBER_ID);
    type Row = (&'static str, fn(&mut Talk) -> Option<Member>, Saved, Saved);
    let table: [Row; 6] = [
        ("nobody, of a group that nobody joined", |_| None, Ok(()), Ok(())),
        ("a member, of a group that nobody joined", |_| Some(Talk::new().join()), wrong, wrong),
        ("the member", |talk| Some(talk.join()), Ok(()), Ok(())),
        ("its predecessor", |talk| (Some(talk.join()), talk.join()).0, gone, gone),
        ("the member, of another generation", |talk| Some(older(talk.join())), wrong, wrong),
        ("nobody, of a group with a member", |talk| (None, talk.join()).0, nobody, Ok(())),
    ];
    for (name, who, plain, in_txn) in table {
        for restart in [false, true] {
            let (mut talk, session) = open();
            let member = who(&mut talk);
            if restart {
                talk.broker.restart();
            }
            assert_eq!(talk.save(member.as_ref(), 1), plain, "{name}");
            assert_eq!(talk.save_in(Tv1, session, member.as_ref(), 1), in_txn, "{name}");
            let saved = plain.is_ok() || in_txn.is_ok();
            talk.end(Tv1, session, Ending::Commit).unwrap();
            talk.finish();
            assert_eq!(talk.position(), Ok(saved.then_some(1)), "{name}");
        }
    }
}

type Saved = Result<(), Code>;

fn older(member: Member) -> Member {
    Member { generation: member.generation - 1, ..member }
}

/// The transaction is looked at before the member is.
#[test]
fn a_replaced_member_without_transaction_hears_of_the_transaction() {
    let mut talk = Talk::new();
    let session = talk.init().unwrap();
    let old = talk.join();
    talk.join();
    assert_eq!(talk.save_in(Tv1, session, Some(&old), 1), Err(STATE));
    assert_eq!(talk.save_in(Tv2, session, Some(&old), 1), Err(Code::FENCED_INSTANCE_ID));
    assert_eq!(talk.state(session), State::Ongoing);
}
