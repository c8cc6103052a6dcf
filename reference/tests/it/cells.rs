//! The tables of states and requests, and which of their cells a request finds.

use onceness_reference::broker::Broker;
use onceness_reference::cells::{self, Cell};
use onceness_reference::clauses;
use onceness_reference::features::Features;
use onceness_reference::history::Record;
use onceness_reference::ids::{GroupId, Key, Partition, Tag, TxnId};
use onceness_reference::plan::{Isolation, Protocol};
use onceness_reference::protocol::{Batch, Ending, Request, Response, Session};
use onceness_reference::rules::Rules;

const P0: Partition = Partition(0);

#[test]
fn what_is_at_stake_is_a_clause_that_is_judged() {
    for cell in cells::all() {
        for id in cell.clauses() {
            let clause = clauses::find(id);
            let judged = clause.is_some_and(|clause| clause.observed.is_judged());
            assert!(judged, "{}: {id}", cell.name());
        }
    }
}

#[test]
fn a_broker_without_transactions_has_fewer_cells_within_reach() {
    let all = cells::all().count();
    let most = cells::within_reach(Features::ALL).count();
    let plain = cells::within_reach(Features::NONE).count();
    assert!(plain < most && most < all, "{plain}, {most}, {all}");
}

/// A broker, and the cells that it was found in, in words.
struct Talk(Broker);

impl Talk {
    fn new() -> Talk {
        Talk(Broker::new(Rules::default(), 1))
    }

    #[track_caller]
    fn finds(&mut self, request: &Request, cells: &[&str]) -> Response {
        let found: Vec<String> = self.0.cells(request).iter().map(Cell::name).collect();
        assert_eq!(found, cells);
        self.0.handle(request).unwrap_or(Response::Done)
    }

    /// One that opens the id.
    fn opened(protocol: Protocol) -> (Talk, Opened) {
        let mut talk = Talk::new();
        let init = Request::InitProducer { txn: Some(TxnId(0)), expected: None };
        let Response::Producer(session) =
            talk.finds(&init, &["InitProducerId: unknown id, no session named"])
        else {
            panic!("a producer")
        };
        (talk, Opened { session, protocol })
    }
}

#[derive(Clone, Copy)]
struct Opened {
    session: Session,
    protocol: Protocol,
}

impl Opened {
    fn batch(self, first_sequence: i32, tag: u32) -> Request {
        let records = vec![Record { tag: Tag(tag), key: Key(0), from: None }];
        let batch = Batch { session: Some(self.session), first_sequence, records };
        let txn = Some((TxnId(0), self.protocol));
        Request::Produce { partition: P0, batch, acks: true, txn }
    }

    fn end(self, ending: Ending) -> Request {
        let Opened { session, protocol } = self;
        Request::EndTxn { txn: TxnId(0), session, ending, protocol }
    }
}

#[test]
fn the_first_write_of_a_transaction_is_admitted_and_then_looked_into() {
    let (mut talk, producer) = Talk::opened(Protocol::Tv2);
    let admitted = "what a write adds to a transaction over TV2: Empty, the present session";
    let first = "Produce in a transaction over TV2: nothing known of the producer, the next sequence number";
    talk.finds(&producer.batch(0, 0), &[admitted, first]);
    let again = "Produce in a transaction over TV2: its epoch known, and a transaction open, ";
    talk.finds(&producer.batch(0, 0), &[&format!("{again}a duplicate of the last five")]);
    talk.finds(&producer.batch(0, 9), &[&format!("{again}such a one with other records")]);
    talk.finds(&producer.batch(2, 2), &[&format!("{again}a gap")]);
    talk.finds(&producer.batch(1, 1), &[&format!("{again}the next sequence number")]);
}

#[test]
fn what_is_not_admitted_is_not_looked_into() {
    let (mut talk, producer) = Talk::opened(Protocol::Tv1);
    let refused = "what a write needs of a transaction over TV1: Empty, the present session";
    talk.finds(&producer.batch(0, 0), &[refused]);
}

#[test]
fn an_end_is_told_from_its_retry_by_the_epoch_over_tv2() {
    let (mut talk, producer) = Talk::opened(Protocol::Tv2);
    talk.0.handle(&producer.batch(0, 0)).unwrap();
    talk.finds(&producer.end(Ending::Commit), &["EndTxn over TV2: Ongoing, commit"]);
    let again = "EndTxn over TV2: PrepareCommit, commit of the epoch before";
    talk.finds(&producer.end(Ending::Commit), &[again]);
    while talk.0.work() > 0 {
        talk.0.go_on(0);
    }
    let other = "EndTxn over TV2: CompleteCommit, abort of the epoch before";
    talk.finds(&producer.end(Ending::Abort), &[other]);
}

#[test]
fn a_reader_finds_what_is_open_and_what_was_aborted() {
    let (mut talk, producer) = Talk::opened(Protocol::Tv2);
    let fetch = Request::Fetch { partition: P0, offset: 0, isolation: Isolation::ReadCommitted };
    talk.finds(&fetch, &["Fetch, where: at the end, read_committed"]);
    talk.0.handle(&producer.batch(0, 0)).unwrap();
    let unstable = "Fetch, where: between the last stable offset and the end, read_committed";
    talk.finds(&fetch, &[unstable, "Fetch, of what: open transactions, read_committed"]);
    talk.0.handle(&producer.end(Ending::Abort)).unwrap();
    while talk.0.work() > 0 {
        talk.0.go_on(0);
    }
    let start = "Fetch, where: at the start of a batch, read_committed";
    talk.finds(&fetch, &[start, "Fetch, of what: aborted transactions, read_committed"]);
}

#[test]
fn a_position_may_wait_or_be_overtaken() {
    let (mut talk, Opened { session, protocol }) = Talk::opened(Protocol::Tv2);
    let (group, txn) = (GroupId(0), TxnId(0));
    let ask = Request::Positions { group, partitions: vec![P0], stable: true };
    talk.finds(&ask, &["OffsetFetch: no position, of what is stable"]);
    let save = |in_txn| match in_txn {
        true => Request::SaveInTxn {
            txn,
            session,
            protocol,
            group,
            member: None,
            positions: vec![(P0, 1)],
        },
        false => Request::Save { group, member: None, positions: vec![(P0, 2)] },
    };
    talk.finds(
        &save(true),
        &[
            "what a save adds to a transaction over TV2: Empty, the present session",
            "TxnOffsetCommit: no such group, no member named",
        ],
    );
    talk.finds(&ask, &["OffsetFetch: one that waits for its transaction, of what is stable"]);
    talk.finds(&save(false), &["OffsetCommit: a group without members, no member named"]);
    let end = Request::EndTxn { txn, session, ending: Ending::Commit, protocol };
    talk.0.handle(&end).unwrap();
    while talk.0.work() > 0 {
        talk.0.go_on(0);
    }
    let overtaken =
        "OffsetFetch: a saved one, and an earlier save committed since, of what is stable";
    talk.finds(&ask, &[overtaken]);
}
