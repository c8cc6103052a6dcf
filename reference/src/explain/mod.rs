//! The second judge: whether *some* broker that keeps to the rules would have answered as this one did.
//!
//! The model answers every request in lockstep with what was seen. Where the rig cannot know the order in which requests
//! that overlapped were carried out, when a marker was written, or whether a request that was never answered was carried out
//! at all, there are several possible brokers ([`world`]); each answer rules some of them out. A broker is accused only when
//! none is left, under any rules that a correct broker may have. This is the just-in-time linearization of Lowe (2017), with
//! the broker's own work as further operations.
//!
//! The contestable decision: what is possible is tried, not computed. Cases are small; where too much becomes possible the
//! judge says so and stops, which it never counts as an answer that holds.
//!
//! Source: KIP-98, KIP-360, KIP-447, KIP-890, by way of [`crate::broker`].

mod compare;
mod touches;
pub mod words;
mod world;

use crate::code::Code;
use crate::exchanges::{Exchange, Lane};
use crate::history::History;
use crate::protocol::{Answer, Request, Session};
use crate::rules::Rules;

use touches::Touches;
use world::{Known, TooMuch, World, tells_session_of};

/// More possible brokers than this are not followed.
const WORLDS_MAX: usize = 128;
/// More ways than this to get from one answer to the next are not tried.
const WAYS_MAX: usize = 4096;

/// Given up by the broker, or before it knew itself: the request may have been carried out.
const INDETERMINATE: [Code; 5] = [
    Code::REQUEST_TIMED_OUT,
    Code::NOT_ENOUGH_REPLICAS_AFTER_APPEND,
    Code::NETWORK_EXCEPTION,
    Code::UNKNOWN_SERVER_ERROR,
    Code::KAFKA_STORAGE_ERROR,
];

/// How well the answers of a case can be explained.
#[derive(Clone, Debug, PartialEq)]
pub struct Explained {
    /// The requests whose answers were compared with the model's and found permitted: their places among the exchanges.
    pub judged: Vec<u32>,
    /// How many were not compared, for too much was possible by then.
    pub unjudged: u64,
    /// The rules that explain all that was judged; of those that explain nothing more, the first.
    pub rules: Rules,
    /// Answers that break no promise and are not Kafka's.
    pub odd: Vec<Odd>,
    /// The first answer that no correct broker gives.
    pub accusation: Option<Accusation>,
}

/// An answer that breaks no promise and is not Kafka's.
#[derive(Clone, Debug, PartialEq)]
pub struct Odd {
    /// The place of the request among the exchanges.
    pub request: u32,
    /// What Kafka answers; none if it does what was asked.
    pub kafka: Option<Code>,
}

/// An answer that no correct broker gives.
#[derive(Clone, Debug, PartialEq)]
pub struct Accusation {
    /// The place of the request among the exchanges.
    pub request: u32,
    /// What a correct broker answers, for each way in which it may have come here.
    pub instead: Vec<Answer>,
}

/// Explains what was seen by the rules of a correct broker, trying these first.
pub fn explain(history: &History, likely: Rules) -> Explained {
    let best = Trial::of(history).run(likely);
    if best.accusation.is_none() {
        return best;
    }
    let mut best = best;
    for rules in variations() {
        if rules == likely {
            continue;
        }
        let explained = Trial::of(history).run(rules);
        if explained.accusation.is_none() {
            return explained;
        }
        if explained.judged.len() > best.judged.len() {
            best = explained;
        }
    }
    best
}

/// Every combination of what brokers may choose.
fn variations() -> impl Iterator<Item = Rules> {
    let kafka = Rules::default();
    let windows = [1, 5, 2, 3, 4];
    let codes = [Code::OUT_OF_ORDER_SEQUENCE_NUMBER, Code::DUPLICATE_SEQUENCE_NUMBER];
    let bools = [false, true];
    let epochs = [kafka.epoch_max, 2];
    windows.into_iter().flat_map(move |window_after_restart| {
        codes.into_iter().flat_map(move |old_duplicate| {
            bools.into_iter().flat_map(move |burns_offsets| {
                bools.into_iter().flat_map(move |bumps_twice| {
                    epochs.into_iter().map(move |epoch_max| Rules {
                        window_after_restart,
                        old_duplicate,
                        burns_offsets,
                        epoch_max,
                        fencing_bump: if bumps_twice { 2 } else { 1 },
                        ..kafka
                    })
                })
            })
        })
    })
}

/// One attempt, by one set of rules.
struct Trial<'h> {
    history: &'h History,
    /// Of each exchange that is a request: the place of what came of it.
    ends: Vec<Option<usize>>,
    /// Requests that are on their way, or may be.
    pending: Vec<u32>,
    /// Of these, those whose connection is gone, so that later requests need not wait for them.
    adrift: Vec<u32>,
    worlds: Vec<World>,
    /// How many ways were tried since the last answer.
    ways: usize,
    instead: Vec<Answer>,
}

/// Nothing more can be said.
enum Stop {
    Accused(Accusation),
    TooMuch,
}

impl From<TooMuch> for Stop {
    fn from(_: TooMuch) -> Self {
        Stop::TooMuch
    }
}

impl<'h> Trial<'h> {
    fn of(history: &'h History) -> Trial<'h> {
        let mut ends = vec![None; history.exchanges.len()];
        for (place, exchange) in history.exchanges.iter().enumerate() {
            if let Exchange::Answered { of, .. } | Exchange::Unanswered { of } = exchange
                && let Some(end) = ends.get_mut(*of as usize)
            {
                *end = Some(place);
            }
        }
        Trial {
            history,
            ends,
            pending: Vec::new(),
            adrift: Vec::new(),
            worlds: Vec::new(),
            ways: 0,
            instead: Vec::new(),
        }
    }

    fn run(mut self, rules: Rules) -> Explained {
        self.worlds = vec![World::new(rules, self.history.header.partitions)];
        let answers = self.history.exchanges.iter();
        let all = answers.filter(|one| matches!(one, Exchange::Answered { .. })).count() as u64;
        let mut explained =
            Explained { judged: Vec::new(), unjudged: 0, rules, odd: Vec::new(), accusation: None };
        for (place, exchange) in (0..).zip(&self.history.exchanges) {
            match self.take(place, exchange) {
                Ok(judged) => explained.judged.extend(judged),
                Err(Stop::Accused(accusation)) => {
                    explained.accusation = Some(accusation);
                    break;
                }
                Err(Stop::TooMuch) => {
                    explained.unjudged = all - explained.judged.len() as u64;
                    break;
                }
            }
        }
        let first = self.worlds.first();
        explained.odd = first
            .iter()
            .flat_map(|world| &world.odd)
            .map(|(request, code)| Odd {
                request: *request,
                kafka: (*code != Code(0)).then_some(*code),
            })
            .collect();
        explained
    }

    /// Takes in one exchange. The request, if it was an answer that could be compared.
    fn take(&mut self, place: u32, exchange: &'h Exchange) -> Result<Option<u32>, Stop> {
        match exchange {
            Exchange::Asked { .. } => self.pending.push(place),
            Exchange::Answered { of, .. } => return self.answered(*of),
            Exchange::Unanswered { of } => self.adrift.push(*of),
            Exchange::Cut { lane } => {
                let on_it = |one: &u32| self.lane(*one) == Some(*lane);
                let on_it: Vec<u32> = self.pending.iter().copied().filter(on_it).collect();
                self.adrift.extend(on_it);
            }
            Exchange::Restarted => self.restarted()?,
            Exchange::Paused => return Err(Stop::TooMuch),
        }
        Ok(None)
    }

    fn answered(&mut self, of: u32) -> Result<Option<u32>, Stop> {
        if let Known::Nothing(_) = self.known(of) {
            return Ok(None);
        }
        (self.ways, self.instead) = (0, Vec::new());
        let others: Vec<u32> = self.rivals(of);
        let mut next = Vec::new();
        for world in std::mem::take(&mut self.worlds) {
            self.advance(world, of, &others, &mut next)?;
        }
        self.pending.retain(|other| *other != of);
        for world in &mut next {
            world.forget(of);
        }
        self.worlds = fewest_odd(next);
        match self.worlds.is_empty() {
            true => {
                let mut instead = std::mem::take(&mut self.instead);
                instead.dedup();
                Err(Stop::Accused(Accusation { request: of, instead }))
            }
            false => Ok(Some(of)),
        }
    }

    /// Every world in which that request was carried out by now, after any of the others or none.
    fn advance(
        &mut self,
        world: World,
        of: u32,
        others: &[u32],
        into: &mut Vec<World>,
    ) -> Result<(), Stop> {
        if world.has_done(of) {
            add(into, world);
            return Ok(());
        }
        let Some(request) = self.request(of) else { return Ok(()) };
        if !others.is_empty() {
            for one in others.iter().chain([&of]) {
                let admitted = self.request(*one).and_then(|request| world.admit(*one, request));
                if let Some(admitted) = admitted.filter(|_| !self.waits(*one, &world)) {
                    self.ways += 1;
                    self.advance(admitted, of, others, into)?;
                }
            }
        }
        for other in others {
            if world.has_done(*other) || self.waits(*other, &world) {
                continue;
            }
            let mut before = Vec::new();
            self.carry_out(world.clone(), *other, &mut before)?;
            for mut world in before {
                world.note_done(*other);
                self.advance(world, of, others, into)?;
            }
        }
        self.ways += 1;
        let known = self.known(of);
        let mut after = Vec::new();
        world.carry_out(of, request, known, &mut self.instead, &mut after)?;
        after.into_iter().for_each(|world| add(into, world));
        self.within_bounds(into.len())
    }

    fn carry_out(&mut self, world: World, of: u32, into: &mut Vec<World>) -> Result<(), Stop> {
        self.ways += 1;
        if let Some(request) = self.request(of) {
            // What another request would have been answered instead accuses nobody here.
            world.carry_out(of, request, self.known(of), &mut Vec::new(), into)?;
        }
        self.within_bounds(into.len())
    }

    fn within_bounds(&self, worlds: usize) -> Result<(), Stop> {
        match self.ways > WAYS_MAX || worlds > WORLDS_MAX {
            true => Err(Stop::TooMuch),
            false => Ok(()),
        }
    }

    /// What was under way was carried out before, or never will be.
    fn restarted(&mut self) -> Result<(), Stop> {
        self.ways = 0;
        let pending: Vec<u32> =
            (self.pending.iter().copied()).filter(|one| self.touches(*one).changes()).collect();
        let mut next = Vec::new();
        for world in std::mem::take(&mut self.worlds) {
            self.any_of(world, &pending, &mut next)?;
        }
        let lost: Vec<u32> = (self.pending.iter().copied())
            .filter(|one| matches!(self.known(*one), Known::Nothing(_)))
            .collect();
        self.pending.retain(|one| !lost.contains(one));
        self.adrift.retain(|one| !lost.contains(one));
        for mut world in next {
            lost.iter().for_each(|one| world.forget(*one));
            world.restart();
            add(&mut self.worlds, world);
        }
        Ok(())
    }

    fn any_of(&mut self, world: World, of: &[u32], into: &mut Vec<World>) -> Result<(), Stop> {
        for one in of {
            if world.has_done(*one) || self.waits(*one, &world) {
                continue;
            }
            let mut after = Vec::new();
            self.carry_out(world.clone(), *one, &mut after)?;
            for mut world in after {
                world.note_done(*one);
                self.any_of(world, of, into)?;
            }
        }
        add(into, world);
        self.within_bounds(into.len())
    }

    /// The other requests whose order with this one may matter, directly or by way of others, or that go before those.
    fn rivals(&self, of: u32) -> Vec<u32> {
        let mut found = vec![of];
        let mut next = 0;
        while let Some(one) = found.get(next).copied() {
            next += 1;
            let mut touches = self.touches(one);
            if self.worlds.iter().any(|world| world.owes_before(touches)) {
                touches.reach_all();
            }
            for other in &self.pending {
                let theirs = self.touches(*other);
                // What only reads matters if it was answered: by what was there before.
                let told = theirs.changes() || !matches!(self.known(*other), Known::Nothing(_));
                let matters = told && touches.meets(theirs);
                if !found.contains(other) && (matters || self.comes_before(*other, one)) {
                    found.push(*other);
                }
            }
        }
        found.remove(0);
        found
    }

    /// Whether an earlier request of the same connection comes first.
    fn waits(&self, of: u32, world: &World) -> bool {
        (self.pending.iter()).any(|other| self.comes_before(*other, of) && !world.has_done(*other))
    }

    fn comes_before(&self, one: u32, other: u32) -> bool {
        one < other && self.lane(one) == self.lane(other) && !self.adrift.contains(&one)
    }

    fn known(&self, of: u32) -> Known<'h> {
        let end = self.ends.get(of as usize).copied().flatten();
        let end = end.and_then(|end| self.history.exchanges.get(end));
        let unanswered = matches!(self.request(of), Some(Request::Produce { acks: false, .. }));
        match end {
            Some(Exchange::Answered { answer: Err(Code::INVALID_PRODUCER_EPOCH), .. })
                if self.is_overtaken(of) =>
            {
                return Known::Overtaken;
            }
            Some(Exchange::Answered { answer: Err(code), .. }) if INDETERMINATE.contains(code) => {}
            // Joining is two requests: a successor that comes between them fences whom it has let replace its predecessor.
            Some(Exchange::Answered { answer: Err(_), .. })
                if matches!(self.request(of), Some(Request::Join { .. })) => {}
            Some(Exchange::Answered { answer, .. }) if !unanswered => return Known::Answer(answer),
            _ => {}
        }
        Known::Nothing(self.producer_after(of))
    }

    /// Whether a transactional write of the same producer and a later epoch was under way at the same time: Kafka asks for both
    /// transactions together and refuses the earlier one (`AddPartitionsToTxnManager.addTxnData`), true or forged.
    fn is_overtaken(&self, of: u32) -> bool {
        let Some(session) = self.request(of).and_then(writes) else { return false };
        let until = self.ends.get(of as usize).copied().flatten().unwrap_or(usize::MAX);
        let overlaps = |other: u32| {
            let end = self.ends.get(other as usize).copied().flatten();
            (other as usize) < until && end.is_none_or(|end| end > of as usize)
        };
        let later =
            |other: Session| other.producer == session.producer && other.epoch > session.epoch;
        (0..self.history.exchanges.len() as u32)
            .any(|other| self.request(other).and_then(writes).is_some_and(later) && overlaps(other))
    }

    /// The producer id that a transactional id has next, as far as later answers tell; else one that nobody has.
    fn producer_after(&self, of: u32) -> i64 {
        let nobody = -i64::from(of) - 2;
        let Some(Request::InitProducer { txn: Some(txn), .. } | Request::EndTxn { txn, .. }) =
            self.request(of)
        else {
            return nobody;
        };
        let later = self.history.exchanges.iter().skip(of as usize + 1);
        let told = later.filter_map(|exchange| match exchange {
            Exchange::Answered { of, answer } => tells_session_of(self.request(*of)?, answer),
            _ => None,
        });
        let mut told = told.filter(|(other, _)| other == txn);
        told.next().map_or(nobody, |(_, producer)| producer)
    }

    fn request(&self, of: u32) -> Option<&'h Request> {
        match self.history.exchanges.get(of as usize) {
            Some(Exchange::Asked { request, .. }) => Some(request),
            _ => None,
        }
    }

    fn lane(&self, of: u32) -> Option<Lane> {
        match self.history.exchanges.get(of as usize) {
            Some(Exchange::Asked { lane, .. }) => Some(*lane),
            _ => None,
        }
    }

    fn touches(&self, of: u32) -> Touches {
        self.request(of).map(Touches::of).unwrap_or_default()
    }
}

/// The session of a transactional write.
fn writes(request: &Request) -> Option<Session> {
    match request {
        Request::Produce { batch, txn: Some(_), .. }
        | Request::Malformed { batch, txn: Some(_), .. } => batch.session,
        Request::SaveInTxn { session, .. } => Some(*session),
        _ => None,
    }
}

fn add(worlds: &mut Vec<World>, world: World) {
    if !worlds.contains(&world) {
        worlds.push(world);
    }
}

/// Where some answer can be explained in a better way, that is what happened.
fn fewest_odd(mut worlds: Vec<World>) -> Vec<World> {
    let fewest = worlds.iter().map(|world| world.odd.len()).min().unwrap_or(0);
    worlds.retain(|world| world.odd.len() == fewest);
    worlds
}
