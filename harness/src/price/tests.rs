//! The rounds, on a meter that answers by heart.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use futures::FutureExt as _;
use futures::future::BoxFuture;

use super::*;

/// Answers at once that every record took so long.
#[derive(Default)]
struct ByHeart {
    turns: Mutex<Vec<(Kind, Measure)>>,
    cleaned: Mutex<bool>,
    no_transactions: bool,
    dies_after: Option<usize>,
    stops_at: Option<(Instant, crate::stop::Stop)>,
}

impl ByHeart {
    fn turns(&self) -> Vec<(Kind, Measure)> {
        self.turns.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Meter for ByHeart {
    fn describe(&self) -> String {
        "by heart".to_owned()
    }

    fn open(&self, kind: Kind) -> BoxFuture<'_, Result<Support, TargetError>> {
        let transactional = matches!(kind, Kind::Transactional(_)) || kind.consumes();
        let support = match transactional && self.no_transactions {
            true => Support::Unsupported("no transactions".to_owned()),
            false => Support::Supported,
        };
        async { Ok(support) }.boxed()
    }

    fn turn(
        &self,
        kind: Kind,
        measure: Measure,
        length: Duration,
    ) -> BoxFuture<'_, Result<Turn, TargetError>> {
        async move {
            let so_many = {
                let mut turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
                turns.push((kind, measure));
                turns.len()
            };
            tokio::time::sleep(length / 40).await;
            if let Some((at, stop)) = &self.stops_at
                && Instant::now() >= *at
            {
                stop.ask();
            }
            if self.dies_after.is_some_and(|after| so_many > after) {
                let (address, request) = ("here".to_owned(), "Produce".to_owned());
                return Err(TargetError { address, request, reason: "it is dead".to_owned() });
            }
            let cost = if kind == Kind::AtMostOnce { 1 } else { 2 };
            let waits = vec![Duration::from_millis(cost); 10];
            Ok(Turn {
                waits_since_sent: waits.clone(),
                waits,
                records: 10,
                lost: 0,
                elapsed: Duration::from_millis(10 * cost),
            })
        }
        .boxed()
    }

    fn clean(&self) -> BoxFuture<'_, Result<(), TargetError>> {
        *self.cleaned.lock().unwrap_or_else(PoisonError::into_inner) = true;
        async { Ok(()) }.boxed()
    }
}

async fn run(meter: &ByHeart, rig: &Rig) -> Prices {
    let load = Load { record_bytes: 100, linger: Duration::ZERO, seed: 1 };
    let time = Duration::from_millis(600);
    let prices = price(meter, &PriceOptions { target: "x".to_owned(), time, load }, rig).await;
    assert!(*meter.cleaned.lock().unwrap_or_else(PoisonError::into_inner));
    prices
}

#[tokio::test]
async fn every_round_has_a_turn_of_each_in_another_order() {
    let meter = ByHeart::default();
    let prices = run(&meter, &Rig::default()).await;
    assert_eq!((prices.exit(), prices.ended), (Exit::Holds, PriceEnded::Complete), "{prices:?}");
    assert!(prices.warm_up >= 1 && prices.rounds >= ROUNDS_MIN, "{prices:?}");
    let turns = meter.turns();
    let rounds: Vec<&[(Kind, Measure)]> = turns.chunks(18).collect();
    assert_eq!(rounds.len() as u64, prices.warm_up + prices.rounds);
    for round in &rounds {
        assert_eq!(round.iter().collect::<BTreeSet<_>>().len(), 18);
    }
    assert_ne!(rounds[0], rounds[1]);
    // Warm-up is not counted, and the cheapest is the measure of the others.
    for row in &prices.latencies[0].rows {
        let Outcome::Measured(latency) = &row.outcome else { panic!("{row:?}") };
        assert_eq!((latency.records, latency.rounds), (10 * prices.rounds, prices.rounds));
        let price = if row.kind == Kind::AtMostOnce { 1.0 } else { 2.0 };
        assert_eq!(latency.price.median, price, "{row:?}");
    }
}

#[tokio::test]
async fn what_a_target_cannot_do_is_said_and_not_tried() {
    let meter = ByHeart { no_transactions: true, ..ByHeart::default() };
    let prices = run(&meter, &Rig::default()).await;
    assert_eq!(prices.exit(), Exit::Holds, "{prices:?}");
    assert!(meter.turns().iter().all(|(kind, _)| *kind <= Kind::Idempotent));
    let rows = &prices.throughputs[0].rows;
    assert!(matches!(rows[2].outcome, Outcome::Measured(_)), "{rows:?}");
    assert!(matches!(&rows[3].outcome, Outcome::Unsupported(why) if why == "no transactions"));
}

#[tokio::test]
async fn a_target_that_dies_is_soon_given_up() {
    let meter = ByHeart { dies_after: Some(7), ..ByHeart::default() };
    let prices = run(&meter, &Rig::default()).await;
    assert_eq!((prices.exit(), prices.ended), (Exit::Inconclusive, PriceEnded::TargetGone));
    assert_eq!((meter.turns().len(), prices.failed), (10, 3));
    assert!(prices.last_error.is_some_and(|error| error.contains("it is dead")));
}

#[tokio::test]
async fn a_stop_keeps_what_was_measured_or_says_that_it_is_too_little() {
    for (after_ms, exit) in [(0, Exit::Inconclusive), (400, Exit::Holds)] {
        let rig = Rig::default();
        let at = Instant::now() + Duration::from_millis(after_ms);
        let meter = ByHeart { stops_at: Some((at, rig.stop.clone())), ..ByHeart::default() };
        let prices = run(&meter, &rig).await;
        assert_eq!((prices.exit(), prices.ended), (exit, PriceEnded::Interrupted), "{prices:?}");
    }
}
