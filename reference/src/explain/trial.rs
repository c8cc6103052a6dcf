//! One attempt to explain a history, by one set of rules: the possible brokers, answer by answer.

use crate::cells::Cell;
use crate::exchanges::Exchange;
use crate::protocol::Answer;
use crate::rules::Rules;

use super::seen::{Asked, Seen};
use super::touches::Touches;
use super::trail::{self, Possible};
use super::world::{Instead, TooMuch, World};
use super::{Accusation, Explained};

/// More possible brokers than this are not followed.
const WORLDS_MAX: usize = 64;
/// More ways than this to get from one answer to the next are not tried.
const WAYS_MAX: usize = 1024;

/// One attempt, by one set of rules.
pub(super) struct Trial<'s, 'h> {
    seen: &'s Seen<'h>,
    /// Requests that are on their way, or may be.
    pending: Vec<u32>,
    /// Of these, those whose connection is gone, so that later requests need not wait for them.
    adrift: Vec<u32>,
    possible: Vec<Possible>,
    /// The cells that requests found before they were answered, each with its request.
    cells: Vec<(u32, Cell)>,
    /// How many ways were tried since the last answer.
    ways: usize,
    instead: Vec<Instead>,
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

impl<'s, 'h> Trial<'s, 'h> {
    pub(super) fn new(seen: &'s Seen<'h>, rules: Rules, partitions: u8) -> Self {
        Trial {
            seen,
            pending: Vec::new(),
            adrift: Vec::new(),
            possible: vec![Possible::to(World::new(rules, partitions))],
            cells: Vec::new(),
            ways: 0,
            instead: Vec::new(),
        }
    }

    pub(super) fn run(mut self, rules: Rules) -> Explained {
        let mut explained = Explained {
            judged: Vec::new(),
            cells: Vec::new(),
            unjudged: 0,
            rules,
            odd: Vec::new(),
            accusation: None,
        };
        for (place, exchange) in (0..).zip(self.seen.exchanges) {
            match self.take(place, exchange) {
                Ok(judged) => explained.judged.extend(judged),
                Err(stop) => {
                    explained.unjudged = self.seen.answers() - explained.judged.len() as u64;
                    if let Stop::Accused(accusation) = stop {
                        explained.unjudged -= 1;
                        explained.accusation = Some(accusation);
                    }
                    break;
                }
            }
        }
        let ambiguous = trail::common(&self.possible);
        let found =
            ambiguous.into_iter().flat_map(|(of, cells)| cells.iter().map(move |cell| (of, cell)));
        explained.cells = self.cells.into_iter().chain(found).collect();
        explained.odd = self.possible.first().map_or_else(Vec::new, |one| one.world.odd.clone());
        explained
    }

    /// Takes in one exchange. The request, if it was an answer that could be compared.
    fn take(&mut self, place: u32, exchange: &Exchange) -> Result<Option<u32>, Stop> {
        match exchange {
            Exchange::Asked { .. } => self.pending.push(place),
            Exchange::Answered { of, answer } => return self.answered(*of, answer),
            Exchange::Unanswered { of } => self.adrift.push(*of),
            Exchange::Cut { lane } => {
                let on_it =
                    |one: &u32| self.seen.asked(*one).is_some_and(|asked| asked.lane == *lane);
                let on_it: Vec<u32> = self.pending.iter().copied().filter(on_it).collect();
                self.adrift.extend(on_it);
            }
            Exchange::Restarted => self.restarted()?,
            // Time passes, and takes members and transactions with it.
            Exchange::Paused => return Err(Stop::TooMuch),
        }
        Ok(None)
    }

    fn answered(&mut self, of: u32, answer: &Answer) -> Result<Option<u32>, Stop> {
        let Some(asked) = self.seen.asked(of) else { return Ok(None) };
        if asked.is_open() {
            // What was given up may never be carried out, so that nothing behind it waits for it.
            self.adrift.extend(answer.is_err().then_some(of));
            return Ok(None);
        }
        (self.ways, self.instead) = (0, Vec::new());
        let others = self.rivals(of);
        let mut next = Vec::new();
        for one in std::mem::take(&mut self.possible) {
            self.advance(one, of, asked, &others, &mut next)?;
        }
        self.pending.retain(|other| *other != of);
        let mut next = fewest_odd(next);
        let agreed = trail::agreed(&mut next, of).unwrap_or_default();
        self.cells.extend(agreed.iter().map(|cell| (of, cell)));
        for mut one in next {
            one.world.forget(of);
            trail::add(&mut self.possible, one);
        }
        match self.possible.is_empty() {
            true => Err(Stop::Accused(self.accuse(of))),
            false => Ok(Some(of)),
        }
    }

    fn accuse(&mut self, request: u32) -> Accusation {
        let mut accusation = Accusation { request, cells: Vec::new(), instead: Vec::new() };
        for Instead { answer, cells } in self.instead.drain(..) {
            if !accusation.instead.contains(&answer) {
                accusation.instead.push(answer);
            }
            for cell in cells.iter() {
                if !accusation.cells.contains(&cell) {
                    accusation.cells.push(cell);
                }
            }
        }
        accusation
    }

    /// Every world in which that request was carried out by now, after any of the others or none.
    fn advance(
        &mut self,
        from: Possible,
        of: u32,
        asked: &Asked<'h>,
        others: &[u32],
        into: &mut Vec<Possible>,
    ) -> Result<(), Stop> {
        if from.world.has_done(of) {
            trail::add(into, from);
            return Ok(());
        }
        for before in self.one_step(&from, others, (!others.is_empty()).then_some(of))? {
            self.advance(before, of, asked, others, into)?;
        }
        if self.waits(of, &from.world) {
            return Ok(());
        }
        self.ways += 1;
        let mut after = Vec::new();
        from.world.clone().carry_out(of, asked, &mut self.instead, &mut after)?;
        for outcome in after {
            trail::add(into, from.on(outcome.world, Some((of, outcome.cells))));
        }
        self.within_bounds(into.len())
    }

    /// Every world that is one request further: one of these is carried out, or is admitted, or that other one is admitted.
    fn one_step(
        &mut self,
        from: &Possible,
        of: &[u32],
        admitted: Option<u32>,
    ) -> Result<Vec<Possible>, Stop> {
        let world = &from.world;
        let mut after = Vec::new();
        for one in of.iter().chain(admitted.as_ref()) {
            let Some(asked) = self.seen.asked(*one) else { continue };
            if world.has_done(*one) || self.waits(*one, world) {
                continue;
            }
            self.ways += 1;
            let admitted = world.admit(*one, asked)?;
            after.extend(admitted.into_iter().map(|world| from.on(world, None)));
            if of.contains(one) {
                let mut done = Vec::new();
                // What another request would have been answered instead accuses nobody here.
                world.clone().carry_out(*one, asked, &mut Vec::new(), &mut done)?;
                after.extend(done.into_iter().map(|mut outcome| {
                    outcome.world.note_done(*one);
                    let found = (!asked.is_open()).then_some((*one, outcome.cells));
                    from.on(outcome.world, found)
                }));
            }
        }
        self.within_bounds(after.len())?;
        Ok(after)
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
        let matters = |one: &u32| self.seen.asked(*one).is_some_and(Asked::matters);
        let pending: Vec<u32> = self.pending.iter().copied().filter(matters).collect();
        let mut next = Vec::new();
        for one in std::mem::take(&mut self.possible) {
            self.any_of(one, &pending, &mut next)?;
        }
        let seen = self.seen;
        let hope = |one: &u32| seen.asked(*one).is_some_and(|asked| !asked.is_open());
        let (left, lost): (Vec<u32>, Vec<u32>) = self.pending.drain(..).partition(hope);
        self.pending = left;
        self.adrift.retain(|one| !lost.contains(one));
        for mut one in next {
            lost.iter().for_each(|lost| one.world.forget(*lost));
            for world in one.world.clone().restarted()? {
                trail::add(&mut self.possible, one.on(world, None));
            }
        }
        self.within_bounds(self.possible.len())
    }

    fn any_of(&mut self, from: Possible, of: &[u32], into: &mut Vec<Possible>) -> Result<(), Stop> {
        for after in self.one_step(&from, of, None)? {
            self.any_of(after, of, into)?;
        }
        trail::add(into, from);
        self.within_bounds(into.len())
    }

    /// The other requests whose order with this one may matter, directly or by way of others, or that go before those.
    fn rivals(&self, of: u32) -> Vec<u32> {
        let mut found = vec![of];
        let mut looks = Touches::default();
        let mut next = 0;
        while let Some(one) = found.get(next).copied() {
            next += 1;
            let Some(asked) = self.seen.asked(one) else { continue };
            let mut touches = asked.touches.clone();
            for Possible { world, .. } in &self.possible {
                touches.reckon_with(world.owed());
                touches.reach(world.completes(asked.request));
            }
            let others = self.pending.iter().filter(|other| **other != one);
            let mut others = others.filter_map(|other| self.seen.asked(*other));
            if let Some(txn) = others.find_map(|other| touches.may_wait_for(&other.touches)) {
                self.possible.iter().for_each(|one| touches.reach(one.world.places(txn)));
            }
            match one == of {
                true => looks = touches.clone(),
                false => touches.mark_for(&looks),
            }
            for other in &self.pending {
                if found.contains(other) {
                    continue;
                }
                let Some(theirs) = self.seen.asked(*other) else { continue };
                let meets = theirs.matters() && touches.meets(&theirs.touches);
                if meets || self.comes_before(*other, one) {
                    found.push(*other);
                }
            }
        }
        found.remove(0);
        found
    }

    /// Whether an earlier request of the same connection comes first.
    fn waits(&self, of: u32, world: &World) -> bool {
        self.pending.iter().any(|other| self.comes_before(*other, of) && !world.has_done(*other))
    }

    fn comes_before(&self, one: u32, other: u32) -> bool {
        let lane = |place| self.seen.asked(place).map(|asked| asked.lane);
        one < other && lane(one) == lane(other) && !self.adrift.contains(&one)
    }
}

/// Where some answer can be explained in a better way, that is what happened.
fn fewest_odd(mut all: Vec<Possible>) -> Vec<Possible> {
    let odd = |one: &Possible| one.world.odd.len();
    let fewest = all.iter().map(odd).min().unwrap_or(0);
    all.retain(|one| odd(one) == fewest);
    all
}
