//! The one builder of these tests: a broker, and a word for each request.

use onceness_reference::broker::Broker;
use onceness_reference::code::Code;
use onceness_reference::history::Record;
use onceness_reference::ids::{GroupId, Key, Offset, Partition, Tag, TxnId};
use onceness_reference::plan::{Isolation, Protocol};
use onceness_reference::protocol::{
    Answer, Batch, Body, Ending, FetchReply, Member, Request, Response, Session,
};
use onceness_reference::rules::Rules;

pub(crate) use Ending::{Abort, Commit};
pub(crate) use Isolation::{ReadCommitted, ReadUncommitted};
pub(crate) use Protocol::{Tv1, Tv2};

pub(crate) const P0: Partition = Partition(0);
pub(crate) const P1: Partition = Partition(1);
pub(crate) const G: GroupId = GroupId(0);
pub(crate) const T: TxnId = TxnId(0);

/// What a broker says that cannot now.
const FOR_NOW: [Code; 6] = [
    Code::NOT_LEADER_OR_FOLLOWER,
    Code::COORDINATOR_LOAD_IN_PROGRESS,
    Code::COORDINATOR_NOT_AVAILABLE,
    Code::NOT_COORDINATOR,
    Code::NOT_ENOUGH_REPLICAS,
    Code::CONCURRENT_TRANSACTIONS,
];

/// A broker with two partitions. Requests are those of transactional id [`T`] and group [`G`] unless they say otherwise.
pub(crate) struct Talk {
    pub(crate) broker: Broker,
    tags: u32,
    /// It refuses some requests for the moment.
    moody: bool,
}

/// A coordinator's state, as its answers tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    Empty,
    Ongoing,
    Prepare(Ending),
    Complete(Ending),
}

pub(crate) const STATES: [State; 6] = [
    State::Empty,
    State::Ongoing,
    State::Prepare(Commit),
    State::Prepare(Abort),
    State::Complete(Commit),
    State::Complete(Abort),
];

impl Talk {
    pub(crate) fn new() -> Talk {
        Talk::by(Rules::default())
    }

    pub(crate) fn by(rules: Rules) -> Talk {
        Talk { broker: Broker::new(rules, 2), tags: 0, moody: rules.refuses_every.is_some() }
    }

    /// In that state by that protocol, with `P0` in the transaction if there is one, and the session that may go on. There
    /// are older epochs than its.
    pub(crate) fn at(state: State, protocol: Protocol) -> (Talk, Session) {
        let mut talk = Talk::new();
        talk.init().unwrap();
        talk.init().unwrap();
        let mut session = talk.init().unwrap();
        if state != State::Empty {
            talk.add(session, P0).unwrap();
        }
        if let State::Prepare(ending) | State::Complete(ending) = state {
            session = talk.end(protocol, session, ending).unwrap();
        }
        if let State::Complete(_) = state {
            talk.finish();
        }
        (talk, session)
    }

    /// Three EndTxn of TV1 tell all states apart. They change the state, so ask last.
    pub(crate) fn state(&mut self, current: Session) -> State {
        let answers = [Commit, Abort, Commit].map(|ending| self.end(Tv1, current, ending).err());
        match answers.map(|answer| answer.map_or(0, |code| code.0)) {
            [48, 48, 48] => State::Empty,
            [0, 48, 51] => State::Ongoing,
            [51, 48, 51] => State::Prepare(Commit),
            [48, 51, 48] => State::Prepare(Abort),
            [0, 48, 0] => State::Complete(Commit),
            [48, 0, 48] => State::Complete(Abort),
            other => panic!("no state answers {other:?}"),
        }
    }

    /// Asks, and once more if the answer may be one for the moment only: no broker gives it twice in a row.
    pub(crate) fn ask(&mut self, request: Request) -> Answer {
        match self.broker.handle(&request) {
            Err(code) if self.moody && FOR_NOW.contains(&code) => self.broker.handle(&request),
            answer => answer,
        }
    }

    pub(crate) fn fresh(&mut self) -> Session {
        self.session_of(None).unwrap()
    }

    pub(crate) fn init(&mut self) -> Result<Session, Code> {
        self.init_as(T)
    }

    pub(crate) fn init_as(&mut self, txn: TxnId) -> Result<Session, Code> {
        self.session_of(Some(txn))
    }

    fn session_of(&mut self, txn: Option<TxnId>) -> Result<Session, Code> {
        match self.ask(Request::InitProducer { txn, expected: None })? {
            Response::Producer(session) => Ok(session),
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn add(&mut self, session: Session, partition: Partition) -> Result<(), Code> {
        self.add_as(T, session, partition)
    }

    pub(crate) fn add_as(
        &mut self,
        txn: TxnId,
        session: Session,
        partition: Partition,
    ) -> Result<(), Code> {
        self.ask(Request::AddPartition { txn, session, partition }).map(done)
    }

    pub(crate) fn add_group(&mut self, session: Session) -> Result<(), Code> {
        self.ask(Request::AddGroup { txn: T, session, group: G }).map(done)
    }

    pub(crate) fn end(
        &mut self,
        protocol: Protocol,
        session: Session,
        ending: Ending,
    ) -> Result<Session, Code> {
        self.end_as(T, protocol, session, ending)
    }

    pub(crate) fn end_as(
        &mut self,
        txn: TxnId,
        protocol: Protocol,
        session: Session,
        ending: Ending,
    ) -> Result<Session, Code> {
        match self.ask(Request::EndTxn { txn, session, ending, protocol })? {
            Response::Ended(session) => Ok(session),
            other => panic!("{other:?}"),
        }
    }

    /// A batch of so many new records outside transactions.
    pub(crate) fn send(
        &mut self,
        session: Session,
        first: i32,
        records: u32,
    ) -> Result<Offset, Code> {
        self.produce(None, P0, Some(session), first, records)
    }

    /// A batch of so many new records in the transaction of [`T`].
    pub(crate) fn send_in(
        &mut self,
        protocol: Protocol,
        partition: Partition,
        session: Session,
        first: i32,
        records: u32,
    ) -> Result<Offset, Code> {
        self.produce(Some((T, protocol)), partition, Some(session), first, records)
    }

    pub(crate) fn produce(
        &mut self,
        txn: Option<(TxnId, Protocol)>,
        partition: Partition,
        session: Option<Session>,
        first_sequence: i32,
        records: u32,
    ) -> Result<Offset, Code> {
        let batch = Batch { session, first_sequence, records: self.records(records) };
        match self.ask(Request::Produce { partition, batch, acks: true, txn })? {
            Response::Appended(base) => Ok(base.unwrap()),
            other => panic!("{other:?}"),
        }
    }

    fn records(&mut self, count: u32) -> Vec<Record> {
        let first = self.tags;
        self.tags += count;
        (first..self.tags).map(|tag| Record { tag: Tag(tag), key: Key(0), from: None }).collect()
    }

    pub(crate) fn join(&mut self) -> Member {
        match self.ask(Request::Join { group: G }) {
            Ok(Response::Joined(member)) => member,
            other => panic!("{other:?}"),
        }
    }

    /// Saves a position in `P0`.
    pub(crate) fn save(&mut self, member: Option<&Member>, offset: Offset) -> Result<(), Code> {
        let positions = vec![(P0, offset)];
        self.ask(Request::Save { group: G, member: member.cloned(), positions }).map(done)
    }

    /// Saves a position in `P0`, in the transaction.
    pub(crate) fn save_in(
        &mut self,
        protocol: Protocol,
        session: Session,
        member: Option<&Member>,
        offset: Offset,
    ) -> Result<(), Code> {
        let (txn, group, member) = (T, G, member.cloned());
        let positions = vec![(P0, offset)];
        self.ask(Request::SaveInTxn { txn, session, protocol, group, member, positions }).map(done)
    }

    /// The saved position in `P0`.
    pub(crate) fn position(&mut self) -> Result<Option<Offset>, Code> {
        match self.ask(Request::Positions { group: G, partitions: vec![P0], stable: true })? {
            Response::Positions(found) => Ok(found[0].1),
            other => panic!("{other:?}"),
        }
    }

    /// Fetches from `P0`.
    pub(crate) fn fetch(&mut self, isolation: Isolation, offset: Offset) -> FetchReply {
        self.fetch_at(P0, isolation, offset).unwrap()
    }

    pub(crate) fn fetch_at(
        &mut self,
        partition: Partition,
        isolation: Isolation,
        offset: Offset,
    ) -> Result<FetchReply, Code> {
        match self.ask(Request::Fetch { partition, offset, isolation })? {
            Response::Fetched(reply) => Ok(reply),
            other => panic!("{other:?}"),
        }
    }

    /// The tags of `P0` from the start, in log order, aborted ones too. None where a record is damaged.
    pub(crate) fn tags(&mut self, isolation: Isolation) -> Vec<Option<u32>> {
        tags(&self.fetch(isolation, 0))
    }

    /// The ends of transactions in that partition, in log order.
    pub(crate) fn markers(&mut self, partition: Partition) -> Vec<(Session, Ending)> {
        let reply = self.fetch_at(partition, ReadUncommitted, 0).unwrap();
        let markers = reply.batches.iter().filter_map(|batch| match batch.body {
            Body::Marker(ending) => Some((batch.session.unwrap(), ending)),
            Body::Records(_) => None,
        });
        markers.collect()
    }

    /// The broker does all its own work.
    pub(crate) fn finish(&mut self) {
        while self.broker.work() > 0 {
            self.broker.go_on(0);
        }
    }
}

pub(crate) fn tags(reply: &FetchReply) -> Vec<Option<u32>> {
    let records = reply.batches.iter().filter_map(|batch| match &batch.body {
        Body::Records(records) => Some(records),
        Body::Marker(_) => None,
    });
    records.flatten().map(|(_, record)| record.map(|record| record.tag.0)).collect()
}

/// The same producer so many epochs later (or, below zero, earlier).
pub(crate) fn epochs_on(session: Session, by: i16) -> Session {
    Session { epoch: session.epoch + by, ..session }
}

/// A session that no broker of these tests ever gave out.
pub(crate) const STRANGER: Session = Session { producer: 999, epoch: 0 };

fn done(response: Response) {
    assert_eq!(response, Response::Done);
}
