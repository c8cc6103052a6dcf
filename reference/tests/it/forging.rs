//! What the model answers to requests that no client library sends, where clients' own tests do not come.
//!
//! Each was compared with Apache Kafka 4.1.1, request by request.

use onceness_reference::code::Code;
use onceness_reference::plan::Protocol;
use onceness_reference::plan::forge::Flaw;
use onceness_reference::protocol::{Batch, Member, Request, Response, Session};
use onceness_reference::rules::Rules;

use crate::talk::{
    Abort, Commit, G, P0, ReadCommitted, ReadUncommitted, STRANGER, T, Talk, Tv1, Tv2,
};

const UNADDED: Code = Code::INVALID_TXN_STATE;

fn malformed(
    talk: &mut Talk,
    flaw: Flaw,
    session: Option<Session>,
    protocol: Option<Protocol>,
) -> Code {
    let batch = Batch { session, first_sequence: 0, records: Vec::new() };
    let txn = protocol.map(|protocol| (T, protocol));
    talk.ask(Request::Malformed { flaw, partition: P0, batch, txn })
        .expect_err("nobody may take it")
}

#[test]
fn a_flaw_is_refused_by_its_code_and_leaves_no_trace() {
    let codes = [
        (Flaw::Checksum, 2),
        (Flaw::Count, 87),
        (Flaw::Base, 87),
        (Flaw::Control, 87),
        (Flaw::Two, 87),
        (Flaw::Big, 10),
        (Flaw::Acks, 21),
        (Flaw::Orphan, 53),
    ];
    let mut talk = Talk::new();
    let session = talk.fresh();
    for (flaw, code) in codes {
        assert_eq!(malformed(&mut talk, flaw, Some(session), None), Code(code), "{flaw:?}");
    }
    assert_eq!(talk.fetch(ReadUncommitted, 0).high_watermark, 0);
    assert_eq!(talk.send(session, 0, 1), Ok(0), "the sequence is as it was");
}

/// The transaction is asked for before the batch is looked into, but not before the request is.
#[test]
fn a_flaw_in_a_transaction() {
    let mut talk = Talk::new();
    let session = talk.init().unwrap();
    assert_eq!(malformed(&mut talk, Flaw::Two, Some(STRANGER), Some(Tv1)), Code::INVALID_RECORD);
    for flaw in [Flaw::Checksum, Flaw::Acks] {
        let stranger = malformed(&mut talk, flaw, Some(STRANGER), Some(Tv1));
        assert_eq!(stranger, Code::INVALID_PRODUCER_ID_MAPPING);
        assert_eq!(malformed(&mut talk, flaw, Some(session), Some(Tv1)), UNADDED);
    }
    assert_eq!(malformed(&mut talk, Flaw::Big, Some(session), Some(Tv2)), Code::MESSAGE_TOO_LARGE);
    let ended = talk.end(Tv2, session, Commit);
    assert!(ended.is_ok(), "over TV2 it has opened the transaction: {ended:?}");
}

/// A duplicate is known only where its transaction is: outside it is asked for like any other batch.
#[test]
fn a_duplicate_outside_of_its_transaction() {
    let mut talk = Talk::new();
    let session = talk.init().unwrap();
    talk.add(session, P0).unwrap();
    assert_eq!(talk.send_in(Tv1, P0, session, 0, 1), Ok(0));
    assert_eq!(talk.send_in(Tv1, P0, session, 0, 1), Ok(0));
    talk.end(Tv1, session, Commit).unwrap();
    talk.finish();
    assert_eq!(talk.send_in(Tv1, P0, session, 0, 1), Err(UNADDED));
}

/// What the coordinator was asked about in vain keeps higher sequence numbers out until the transaction is over (KAFKA-14920).
#[test]
fn a_lower_sequence_that_waits() {
    let mut talk = Talk::new();
    let session = talk.init().unwrap();
    for sequence in [0, 1] {
        talk.add(session, P0).unwrap();
        assert!(talk.send_in(Tv1, P0, session, sequence, 1).is_ok());
    }
    talk.end(Tv1, session, Commit).unwrap();
    talk.finish();
    assert_eq!(talk.send_in(Tv1, P0, session, 0, 1), Err(UNADDED));
    talk.add(session, P0).unwrap();
    assert_eq!(talk.send_in(Tv1, P0, session, 2, 1), Err(Code::OUT_OF_ORDER_SEQUENCE_NUMBER));
    talk.end(Tv1, session, Abort).unwrap();
    talk.finish();
    talk.add(session, P0).unwrap();
    assert_eq!(talk.send_in(Tv1, P0, session, 2, 1), Ok(4), "two markers later");
}

/// Over TV2 the marker has the epoch of the next transaction, and leaves alone what waits for that (KAFKA-18575).
#[test]
fn a_lower_sequence_of_the_next_transaction_that_waits() {
    let mut talk = Talk::new();
    let session = talk.init().unwrap();
    let next = Session { epoch: session.epoch + 1, ..session };
    assert_eq!(talk.send_in(Tv2, P0, session, 0, 1), Ok(0));
    assert_eq!(talk.send_in(Tv2, P0, next, 0, 1), Err(Code::INVALID_PRODUCER_EPOCH));
    assert_eq!(talk.end(Tv2, session, Abort), Ok(next));
    talk.finish();
    assert_eq!(talk.send(next, 0, 1), Ok(2), "a marker later");
    assert_eq!(talk.send_in(Tv2, P0, next, 1, 1), Err(Code::OUT_OF_ORDER_SEQUENCE_NUMBER));
}

/// KIP-360 in the middle of a transaction: it is aborted, and the epoch that fences it is the producer's.
#[test]
fn a_producer_that_starts_again_in_its_transaction() {
    for (bump, answer) in [(1, Ok(1)), (2, Err(Code::PRODUCER_FENCED))] {
        let mut talk = Talk::by(Rules { fencing_bump: bump, ..Rules::default() });
        let session = talk.init().unwrap();
        talk.add(session, P0).unwrap();
        let again = Request::InitProducer { txn: Some(T), expected: Some(session) };
        assert_eq!(talk.ask(again.clone()), Err(Code::CONCURRENT_TRANSACTIONS));
        talk.finish();
        let told = talk.ask(again).map(|response| match response {
            Response::Producer(session) => session.epoch,
            other => panic!("{other:?}"),
        });
        assert_eq!(told, answer, "raised by {bump}");
    }
}

#[test]
fn where_a_partition_begins_and_ends() {
    let mut talk = Talk::new();
    let session = talk.init().unwrap();
    let plain = talk.fresh();
    talk.send(plain, 0, 3).unwrap();
    talk.add(session, P0).unwrap();
    talk.send_in(Tv1, P0, session, 0, 2).unwrap();
    let mut list =
        |earliest, isolation| talk.ask(Request::ListOffsets { partition: P0, earliest, isolation });
    assert_eq!(list(true, ReadUncommitted), Ok(Response::Listed(0)));
    assert_eq!(list(false, ReadUncommitted), Ok(Response::Listed(5)));
    assert_eq!(list(false, ReadCommitted), Ok(Response::Listed(3)));
    let byte = Request::FetchByte { partition: P0, offset: 1, isolation: ReadUncommitted };
    let Ok(Response::Fetched(reply)) = talk.ask(byte) else { panic!("a fetch") };
    let found: Vec<_> = reply.batches.iter().map(|batch| (batch.base, batch.last)).collect();
    assert_eq!(found, [(0, 2)], "all of the first batch, and no more");
}

/// Of a group that is not there a member has no generation; in one that is, nobody knows it.
#[test]
fn a_member_of_a_group_without_members() {
    let mut talk = Talk::new();
    let save = |member| Request::Save { group: G, member, positions: vec![(P0, 1)] };
    let stranger = Member { generation: 1, id: "stranger".to_owned(), instance: None };
    assert_eq!(talk.ask(save(Some(stranger.clone()))), Err(Code::ILLEGAL_GENERATION));
    assert_eq!(talk.ask(save(None)), Ok(Response::Done));
    assert_eq!(talk.ask(save(Some(stranger))), Err(Code::UNKNOWN_MEMBER_ID));
}
