//! One possible broker: the model in a state that explains everything seen so far.

use crate::broker::{Broker, Marker, Place};
use crate::cells::Cells;
use crate::code::Code;
use crate::ids::TxnId;
use crate::protocol::{Answer, Request, Response};
use crate::rules::Rules;

use super::Odd;
use super::compare::{Fit, compare};
use super::seen::{Asked, Known};
use super::touches::Touches;

/// Refused before anything was done, and worth asking again: the broker is busy, loading, moving, or not told yet.
/// Always allowed (KIP-98; `Errors.java`); whether it ends is a matter of progress, not of answers.
const PASSING: [Code; 12] = [
    Code::UNKNOWN_TOPIC_OR_PARTITION,
    Code::LEADER_NOT_AVAILABLE,
    Code::NOT_LEADER_OR_FOLLOWER,
    Code::COORDINATOR_LOAD_IN_PROGRESS,
    Code::COORDINATOR_NOT_AVAILABLE,
    Code::NOT_COORDINATOR,
    Code::NOT_ENOUGH_REPLICAS,
    Code::REBALANCE_IN_PROGRESS,
    Code::CONCURRENT_TRANSACTIONS,
    Code::FENCED_LEADER_EPOCH,
    Code::UNKNOWN_LEADER_EPOCH,
    Code::OFFSET_NOT_AVAILABLE,
];

/// More orders of owed markers than this are not tried.
const ORDERS_MAX: usize = 64;

/// More is possible than can be tried.
#[derive(Clone, Copy, Debug)]
pub(super) struct TooMuch;

/// One possible broker after a request, and the cells that the request found.
#[derive(Clone, Debug)]
pub(super) struct Outcome {
    pub(super) world: World,
    pub(super) cells: Cells,
}

/// What the model answers instead of what was seen, and the cells that the request finds.
#[derive(Clone, Debug)]
pub(super) struct Instead {
    pub(super) answer: Answer,
    pub(super) cells: Cells,
}

/// One possible broker.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct World {
    broker: Broker,
    /// Requests that were carried out, and are not answered yet or never.
    done: Vec<u32>,
    /// Requests whose implicit part was carried out, and not the rest.
    admitted: Vec<u32>,
    /// Producer ids that were given out.
    producers: Vec<i64>,
    /// Answers that are not those of this model, and break nothing.
    pub(super) odd: Vec<Odd>,
}

impl World {
    pub(super) fn new(rules: Rules, partitions: u8) -> World {
        World {
            broker: Broker::new(rules, partitions),
            done: Vec::new(),
            admitted: Vec::new(),
            producers: Vec::new(),
            odd: Vec::new(),
        }
    }

    /// Whether the request was carried out here already.
    pub(super) fn has_done(&self, request: u32) -> bool {
        self.done.contains(&request)
    }

    pub(super) fn note_done(&mut self, request: u32) {
        self.admitted.retain(|other| *other != request);
        self.done.push(request);
        self.done.sort_unstable();
    }

    pub(super) fn forget(&mut self, request: u32) {
        self.admitted.retain(|other| *other != request);
        self.done.retain(|other| *other != request);
    }

    /// The worlds in which only the implicit part of the request was carried out so far, if that matters: what it adds to a
    /// transaction is there for others before the leader or the group's coordinator goes on. What it waits for may have been
    /// written before.
    pub(super) fn admit(&self, number: u32, asked: &Asked<'_>) -> Result<Vec<World>, TooMuch> {
        let mut all = Vec::new();
        if self.has_done(number) || self.admitted.contains(&number) || !asked.touches.changes() {
            return Ok(all);
        }
        for order in orders(self.broker.owed(), &asked.touches).ok_or(TooMuch)? {
            let mut before = self.clone();
            before.broker.write_owed(&order);
            let mut admitted = before.clone();
            admitted.broker.admit_alone(asked.request);
            if admitted.broker != before.broker {
                admitted.admitted.push(number);
                admitted.admitted.sort_unstable();
                all.push(admitted);
            }
        }
        Ok(all)
    }

    /// Markers that are yet to be written here.
    pub(super) fn owed(&self) -> &[Marker] {
        self.broker.owed()
    }

    /// Where the transaction of that id is, if one is open or decided and not complete.
    pub(super) fn places(&self, txn: TxnId) -> &[Place] {
        self.broker.places(txn)
    }

    /// Where the request writes markers itself, if it waits for what it aborts.
    pub(super) fn completes(&self, request: &Request) -> &[Place] {
        match request {
            Request::InitProducer { txn: Some(txn), .. } if self.broker.rules().init_waits => {
                self.places(*txn)
            }
            _ => &[],
        }
    }

    /// Every world that this one may be after a restart. What was written by then of what is owed shows only now: what is not
    /// complete is written again.
    pub(super) fn restarted(self) -> Result<Vec<World>, TooMuch> {
        let owed = self.broker.owed();
        let partitions = Touches::of_partitions(owed);
        let orders = orders(owed, &partitions).ok_or(TooMuch)?;
        let mut restarted = Vec::new();
        for order in orders {
            let mut before = self.clone();
            before.broker.write_owed(&order);
            for mut world in before.completed() {
                world.broker.restart();
                if !restarted.contains(&world) {
                    restarted.push(world);
                }
            }
        }
        Ok(restarted)
    }

    /// This world, and those in which some transactions are complete that no partition waits for.
    fn completed(self) -> Vec<World> {
        let mut owed: Vec<TxnId> = self.broker.owed().iter().map(|marker| marker.txn).collect();
        owed.dedup();
        let mut worlds = vec![self];
        for txn in owed {
            for place in 0..worlds.len() {
                worlds.extend(worlds[place].completing(txn));
            }
        }
        worlds
    }

    fn completing(&self, txn: TxnId) -> Option<World> {
        let owed = || self.broker.owed().iter().filter(|marker| marker.txn == txn);
        let waits = owed().any(|marker| matches!(marker.place, Some(Place::Partition(_))));
        (!waits && owed().next().is_some()).then(|| {
            let mut complete = self.clone();
            complete.broker.complete(txn);
            complete
        })
    }

    /// Every world in which this request was carried out now, and answered as it was seen to be. What the model would have
    /// answered instead goes into `instead`.
    pub(super) fn carry_out(
        self,
        number: u32,
        asked: &Asked<'_>,
        instead: &mut Vec<Instead>,
        into: &mut Vec<Outcome>,
    ) -> Result<(), TooMuch> {
        let (request, known) = (asked.request, asked.known);
        let passing = match known {
            Known::Answer(Err(code)) => PASSING.contains(code),
            Known::Overtaken => true,
            // With acks=0 nobody is told that it was refused.
            Known::Nothing(_) => matches!(request, Request::Produce { acks: false, .. }),
            Known::Answer(Ok(_)) => false,
        };
        // It was put off by a broker in whichever state.
        let mut untouched = Vec::new();
        if passing {
            untouched.push(self.clone());
            untouched.extend(self.admit(number, asked)?);
        }
        let touches = asked.touches.reaching(self.completes(asked.request));
        let orders = orders(self.broker.owed(), &touches).ok_or(TooMuch)?;
        for order in &orders[1..] {
            let mut world = self.clone();
            world.broker.write_owed(order);
            world.ask(number, request, known, passing, instead, into);
        }
        self.ask(number, request, known, passing, instead, into);
        for world in untouched {
            // In that state it is always put off so.
            if !into.iter().any(|outcome| outcome.world == world) {
                into.push(Outcome { world, cells: Cells::default() });
            }
        }
        Ok(())
    }

    fn ask(
        mut self,
        number: u32,
        request: &Request,
        known: Known<'_>,
        passing: bool,
        instead: &mut Vec<Instead>,
        into: &mut Vec<Outcome>,
    ) {
        let cells = self.broker.cells(request);
        let given = given(request, known);
        let had = request.txn().is_some_and(|txn| self.broker.has_producer(txn, given));
        self.broker.give_next(given);
        // A broker that may return less may tell of more than that what was aborted (its index is sparse).
        let answer = match request {
            Request::FetchByte { partition, offset, isolation } => {
                let (partition, offset, isolation) = (*partition, *offset, *isolation);
                self.broker.handle(&Request::Fetch { partition, offset, isolation })
            }
            request => self.broker.handle(request),
        };
        // No trace of what was not given out after all, so that equal worlds look equal.
        self.broker.give_next(0);
        let fit = match known {
            Known::Nothing(_) => Fit::Same,
            Known::Overtaken => return,
            Known::Answer(seen) => match compare(request, &answer, seen) {
                Fit::Same if !had && self.is_given_twice(&answer, given) => Fit::Differs,
                fit => fit,
            },
        };
        match (fit, &answer) {
            (Fit::Differs, _) => return instead.push(Instead { answer, cells }),
            (Fit::Odd(_), _) if passing => return,
            (Fit::Odd(how), _) => self.odd.push(Odd { request: number, how }),
            (Fit::Same, _) => {}
        }
        self.learn(request, known, given, &answer);
        match into.iter_mut().find(|other| other.world == self) {
            Some(other) => other.cells = other.cells.common(cells),
            None => into.push(Outcome { world: self, cells }),
        }
    }

    /// A fresh producer id must not have been given before (DED-01).
    fn is_given_twice(&self, answer: &Answer, given: i64) -> bool {
        matches!(answer, Ok(Response::Producer(session)) if session.producer == given && session.epoch == 0)
            && self.producers.contains(&given)
    }

    /// Takes over the names that were the broker's to choose.
    fn learn(&mut self, request: &Request, known: Known<'_>, given: i64, answer: &Answer) {
        let told = match answer {
            Ok(Response::Producer(session) | Response::Ended(session)) => Some(session.producer),
            _ => None,
        };
        if told == Some(given) && !self.producers.contains(&given) {
            self.producers.push(given);
        }
        if let (Request::Join { group }, Known::Answer(Ok(Response::Joined(member)))) =
            (request, known)
        {
            self.broker.membership(*group).adopt(member);
        }
    }
}

/// The producer id that the broker gave out, if it gave out a fresh one.
fn given(request: &Request, known: Known<'_>) -> i64 {
    match (request, known) {
        (_, Known::Answer(Ok(Response::Producer(session) | Response::Ended(session)))) => {
            session.producer
        }
        (_, Known::Nothing(given)) => given,
        _ => 0,
    }
}

/// Which owed markers may have been written before the request was carried out, and in which order; first comes none of them.
/// Those that the request cannot see may have been written as well, or later. None if there are too many ways.
fn orders(owed: &[Marker], touches: &Touches) -> Option<Vec<Vec<usize>>> {
    let mut orders = vec![Vec::new()];
    let mut whole = vec![Vec::new()];
    for (first, marker) in owed.iter().enumerate() {
        // One place after another: what is written at different places is written independently.
        if owed[..first].iter().any(|other| other.place == marker.place) {
            continue;
        }
        let here: Vec<usize> = (0..owed.len()).filter(|i| owed[*i].place == marker.place).collect();
        let completing: Vec<usize> =
            here.iter().copied().filter(|i| touches.completes(&owed[*i])).collect();
        let sees = touches.sees(marker);
        if !sees && completing.is_empty() {
            continue;
        }
        let mut ways = vec![Vec::new()];
        arrange(&here, &mut Vec::new(), &mut ways);
        let completes = |way: &&Vec<usize>| {
            completing.iter().all(|one| way.contains(one))
                && (sees || way.last().is_some_and(|last| completing.contains(last)))
        };
        whole = product(&whole, &ways.iter().filter(completes).collect::<Vec<_>>());
        if sees {
            orders = product(&orders, &ways.iter().collect::<Vec<_>>());
        }
        if orders.len() + whole.len() > ORDERS_MAX {
            return None;
        }
    }
    orders.extend(whole);
    let mut tried = Vec::new();
    for order in orders {
        if !tried.contains(&order) {
            tried.push(order);
        }
    }
    Some(tried)
}

fn product(ways: &[Vec<usize>], further: &[&Vec<usize>]) -> Vec<Vec<usize>> {
    let both = |way: &Vec<usize>, more: &Vec<usize>| way.iter().chain(more).copied().collect();
    ways.iter().flat_map(|way| further.iter().map(move |more| both(way, more))).collect()
}

/// Every selection of these in every order, after those that are chosen already; not the empty one.
fn arrange(of: &[usize], chosen: &mut Vec<usize>, into: &mut Vec<Vec<usize>>) {
    for one in of {
        if into.len() > ORDERS_MAX {
            return;
        }
        if chosen.contains(one) {
            continue;
        }
        chosen.push(*one);
        into.push(chosen.clone());
        arrange(of, chosen, into);
        chosen.pop();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::Partition;
    use crate::plan::Protocol;
    use crate::protocol::Ending;

    /// A broker that owes the markers of transactions in these partitions, of one id after another.
    fn owing(txns: &[&[u32]]) -> Broker {
        let mut broker = Broker::new(Rules::default(), 2);
        for (id, partitions) in (0..).map(TxnId).zip(txns) {
            let opened = broker.handle(&Request::InitProducer { txn: Some(id), expected: None });
            let Ok(Response::Producer(session)) = opened else { panic!("{opened:?}") };
            for partition in partitions.iter().copied().map(Partition) {
                broker.handle(&Request::AddPartition { txn: id, session, partition }).unwrap();
            }
            let (ending, protocol) = (Ending::Abort, Protocol::Tv1);
            broker.handle(&Request::EndTxn { txn: id, session, ending, protocol }).unwrap();
        }
        broker
    }

    /// How many orders there are for one who looks at both partitions.
    fn orders_seen(txns: &[&[u32]]) -> Option<usize> {
        let mut touches = Touches::default();
        touches.reach(&[0, 1].map(|number| Place::Partition(Partition(number))));
        Some(orders(owing(txns).owed(), &touches)?.len())
    }

    #[test]
    fn so_many_orders_are_tried_and_no_more() {
        assert_eq!(orders_seen(&[&[0]]), Some(2));
        assert_eq!(orders_seen(&[&[0], &[0], &[0]]), Some(16));
        assert_eq!(orders_seen(&[&[0, 1], &[0], &[0]]), Some(32));
        assert_eq!(orders_seen(&[&[0], &[0], &[0], &[0]]), None);
    }

    /// What others have to write after its last marker is as good as not written.
    #[test]
    fn who_waits_for_its_markers_comes_after_all_of_them() {
        let broker = owing(&[&[0], &[0]]);
        let again = Request::InitProducer { txn: Some(TxnId(0)), expected: None };
        // Owed are the marker and the note of the one, then those of the other.
        let wanted = [vec![], vec![0, 1], vec![0, 3, 1], vec![2, 0, 1], vec![2, 0, 3, 1]];
        assert_eq!(orders(broker.owed(), &Touches::of(&again)).unwrap(), wanted);
    }

    #[test]
    fn where_there_are_too_many_orders_one_too_many_is_listed() {
        let mut into = Vec::new();
        arrange(&[0, 1, 2, 3, 4], &mut Vec::new(), &mut into);
        assert_eq!(into.len(), ORDERS_MAX + 1);
    }

    #[test]
    fn markers_at_one_place_come_in_any_order() {
        let mut into = Vec::new();
        arrange(&[4, 7], &mut Vec::new(), &mut into);
        assert_eq!(into, [vec![4], vec![4, 7], vec![7], vec![7, 4]]);
    }

    #[test]
    fn a_world_without_work_has_one_order() {
        let request = Request::Fetch {
            partition: Partition(0),
            offset: 0,
            isolation: crate::plan::Isolation::ReadCommitted,
        };
        assert_eq!(orders(&[], &Touches::of(&request)).unwrap(), [Vec::<usize>::new()]);
    }
}
