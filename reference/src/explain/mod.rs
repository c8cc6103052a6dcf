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
mod trial;
pub mod words;
mod world;

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
    let seen = Seen::of(history);
    let attempt = |rules| Trial::new(&seen, rules, history.header.partitions).run(rules);
    let mut best = attempt(likely);
    if best.accusation.is_none() {
        return best;
    }
    for rules in variations() {
        if rules == likely {
            continue;
        }
        let explained = attempt(rules);
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
