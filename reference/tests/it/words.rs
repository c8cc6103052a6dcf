//! Requests and answers as people read them, in stories of the second judge.

use expect_test::expect;
use onceness_reference::code::Code;
use onceness_reference::explain::words;
use onceness_reference::history::Record;
use onceness_reference::ids::{GroupId, Key, Partition, Tag, TxnId};
use onceness_reference::plan::forge::Flaw;
use onceness_reference::plan::{Isolation, Protocol};
use onceness_reference::protocol::{
    Answer, Batch, Body, Ending, FetchReply, LogBatch, Member, Request, Response, Session,
};

const TXN: TxnId = TxnId(0);
const GROUP: GroupId = GroupId(1);
const PARTITION: Partition = Partition(2);
const SESSION: Session = Session { producer: 7, epoch: 3 };

fn record(tag: u32) -> Record {
    Record { tag: Tag(tag), key: Key(0), from: None }
}

fn member() -> Option<Member> {
    Some(Member { generation: 4, id: "m".to_owned(), instance: None })
}

#[test]
fn requests() {
    let (txn, session, group, partition) = (TXN, SESSION, GROUP, PARTITION);
    let batch = |session, records| Batch { session, first_sequence: 5, records };
    let positions = || vec![(PARTITION, 9), (Partition(3), 0)];
    let isolation = Isolation::ReadCommitted;
    let all = [
        Request::InitProducer { txn: None, expected: None },
        Request::InitProducer { txn: Some(txn), expected: None },
        Request::InitProducer { txn: Some(txn), expected: Some(session) },
        Request::AddPartition { txn, session, partition },
        Request::AddGroup { txn, session, group },
        Request::Produce { partition, batch: batch(None, vec![record(1)]), acks: false, txn: None },
        Request::Produce {
            partition,
            batch: batch(Some(session), vec![record(1), record(2)]),
            acks: true,
            txn: Some((txn, Protocol::Tv2)),
        },
        Request::Malformed {
            flaw: Flaw::Control,
            partition,
            batch: batch(Some(session), Vec::new()),
            txn: None,
        },
        Request::EndTxn { txn, session, ending: Ending::Commit, protocol: Protocol::Tv1 },
        Request::EndTxn { txn, session, ending: Ending::Abort, protocol: Protocol::Tv2 },
        Request::SaveInTxn {
            txn,
            session,
            protocol: Protocol::Tv1,
            group,
            member: member(),
            positions: positions(),
        },
        Request::Save { group, member: None, positions: positions() },
        Request::Positions { group, partitions: vec![partition], stable: true },
        Request::Positions { group, partitions: vec![partition], stable: false },
        Request::Join { group },
        Request::Fetch { partition, offset: 6, isolation },
        Request::FetchByte { partition, offset: 6, isolation },
        Request::ListOffsets { partition, earliest: true, isolation },
        Request::ListOffsets { partition, earliest: false, isolation: Isolation::ReadUncommitted },
    ];
    let told: String = all.iter().map(|one| words::request(one) + "\n").collect();
    expect![[r#"
        InitProducerId
        InitProducerId of t0
        InitProducerId of t0, as producer 7 epoch 3
        AddPartitionsToTxn: p2 to t0, by producer 7 epoch 3
        AddOffsetsToTxn: g1 to t0, by producer 7 epoch 3
        Produce to p2: 1 record, acks=0
        Produce to p2: producer 7 epoch 3 sequence 5, 2 records, in t0 (TV2)
        Produce to p2, spoilt (Control): producer 7 epoch 3 sequence 5, 0 records
        EndTxn of t0 (TV1): commit, by producer 7 epoch 3
        EndTxn of t0 (TV2): abort, by producer 7 epoch 3
        TxnOffsetCommit of g1 in t0: p2 at 9, p3 at 0, by producer 7 epoch 3, as a member of generation 4
        OffsetCommit of g1: p2 at 9, p3 at 0
        OffsetFetch of g1, stable
        OffsetFetch of g1
        JoinGroup of g1
        Fetch of p2 from 6 at read_committed
        Fetch of p2 from 6 at read_committed, of one byte
        ListOffsets of p2: the first at read_committed
        ListOffsets of p2: the last at read_uncommitted
    "#]].assert_eq(&told);
}

#[test]
fn answers() {
    let stored = |base, session, body| LogBatch {
        base,
        last: base + 1,
        session,
        first_sequence: 0,
        transactional: true,
        body,
    };
    let records = Body::Records(vec![(0, Some(record(5))), (1, None)]);
    let reply = FetchReply {
        high_watermark: 9,
        last_stable: 8,
        aborted: vec![(7, 2)],
        batches: vec![
            stored(0, None, records.clone()),
            stored(2, Some(SESSION), records),
            stored(4, Some(SESSION), Body::Marker(Ending::Commit)),
            stored(6, Some(SESSION), Body::Marker(Ending::Abort)),
        ],
    };
    let all: [Answer; 11] = [
        Err(Code::OUT_OF_ORDER_SEQUENCE_NUMBER),
        Err(Code(1234)),
        Ok(Response::Producer(SESSION)),
        Ok(Response::Ended(SESSION)),
        Ok(Response::Appended(Some(3))),
        Ok(Response::Appended(None)),
        Ok(Response::Positions(vec![(PARTITION, Some(9)), (Partition(3), None)])),
        Ok(Response::Joined(member().expect("a member"))),
        Ok(Response::Listed(8)),
        Ok(Response::Done),
        Ok(Response::Fetched(reply)),
    ];
    let told: String = all.iter().map(|one| words::answer(one) + "\n").collect();
    expect![[r#"
        refused with OUT_OF_ORDER_SEQUENCE_NUMBER (45)
        refused with error 1234
        producer 7 epoch 3
        ended, producer 7 epoch 3 goes on
        appended at 3
        appended, without an offset
        p2 at 9, p3 nowhere
        joined, generation 4
        offset 8
        done
        [0 r5 ?, 2 r5 ? of 7/3, 4 commit of 7/3, 6 abort of 7/3], high watermark 9, last stable offset 8, aborted [7 from 2]
    "#]].assert_eq(&told);
}
