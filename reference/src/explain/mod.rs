//! The second judge: whether *some* broker that keeps to the rules would have answered as this one did.
//!
//! The model answers every request in lockstep with what was seen. Where the rig cannot know the order in which requests
//! that overlapped were carried out, when a marker was written, or whether a request that was never answered was carried out
//! at all, there are several possible brokers (`world`); each answer rules some of them out. A broker is accused only when
//! none is left, under any rules that a correct broker may have. This is the just-in-time linearization of Lowe (2017), with
//! the broker's own work as further operations.
//!
//! The contestable decision: what is possible is tried, not computed. Cases are small; where too much becomes possible the
//! judge says so and stops, which it never counts as an answer that holds.
//!
//! Source: KIP-98, KIP-360, KIP-447, KIP-890, by way of [`crate::broker`].

mod compare;
mod seen;
mod touches;
mod trail;
mod trial;
pub mod words;
mod world;

use std::cmp::Reverse;

use crate::cells::Cell;
use crate::choices::{CHOICES, Choice};
use crate::code::Code;
use crate::history::History;
use crate::protocol::Answer;
use crate::rules::Rules;

use seen::Seen;
use trial::Trial;

/// How well the answers of a case can be explained.
#[derive(Clone, Debug, PartialEq)]
pub struct Explained {
    /// The requests whose answers were compared with the model's and found permitted: their places among the exchanges.
    pub judged: Vec<u32>,
    /// The cells that requests found, each with the place of its request: those that are certain.
    pub cells: Vec<(u32, Cell)>,
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
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Odd {
    /// The place of the request among the exchanges.
    pub request: u32,
    /// What is odd about it.
    pub how: Oddity,
}

/// What is odd about an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Oddity {
    /// It is a refusal with another code than Kafka's, which is this one.
    Refused(Code),
    /// It returns nothing where there is something.
    Nothing,
    /// The end of the log, or of what is stable in it, is lower than it is.
    Behind,
    /// A marker bears another epoch than Kafka's, which tells the leader which epoch comes next.
    Marker,
}

/// An answer that no correct broker gives.
#[derive(Clone, Debug, PartialEq)]
pub struct Accusation {
    /// The place of the request among the exchanges.
    pub request: u32,
    /// The cells that it found, in one way or another.
    pub cells: Vec<Cell>,
    /// What a correct broker answers, for each way in which it may have come here.
    pub instead: Vec<Answer>,
}

/// Explains what was seen by the rules of a correct broker, trying these first.
///
/// What a broker may choose shows in different answers, so one choice after another is made the better way, or two at once.
pub fn explain(history: &History, likely: Rules) -> Explained {
    let seen = Seen::of(history);
    let attempt = |rules| Trial::new(&seen, rules, history.header.partitions).run(rules);
    let mut best = attempt(likely);
    if best.is_plain() {
        return best;
    }
    let shows =
        |choice: &&Choice| choice.shows.is_some_and(|shows| history.exchanges.iter().any(shows));
    let choices: Vec<&Choice> = CHOICES.iter().filter(shows).collect();
    loop {
        let next = neighbours(best.rules, &choices);
        match next.map(attempt).find(|other| other.is_better_than(&best)) {
            Some(better) if better.is_plain() => return better,
            Some(better) => best = better,
            None => return best,
        }
    }
}

/// What differs by one of these choices, then by two: some show only together.
fn neighbours(rules: Rules, choices: &[&'static Choice]) -> impl Iterator<Item = Rules> {
    let others = |choice: &'static Choice, rules: Rules| {
        let made = choice.values.iter().filter(move |value| !value.is_chosen_by(&rules));
        made.map(move |value| value.chosen(rules))
    };
    let one = choices.iter().flat_map(move |choice| others(choice, rules));
    let two = (1..).zip(choices).flat_map(move |(next, first)| {
        others(first, rules).flat_map(move |rules| {
            choices[next..].iter().flat_map(move |second| others(second, rules))
        })
    });
    one.chain(two)
}

impl Explained {
    /// Whether nothing is left to explain.
    fn is_plain(&self) -> bool {
        self.accusation.is_none() && self.odd.is_empty()
    }

    fn is_better_than(&self, other: &Explained) -> bool {
        // Answers do not come in the order of their requests: how far it came is how many it has judged.
        let rank = |one: &Explained| {
            let accused = one.accusation.as_ref().map(|_| one.judged.len());
            (accused.unwrap_or(usize::MAX), Reverse(one.odd.len()))
        };
        rank(self) > rank(other)
    }
}
