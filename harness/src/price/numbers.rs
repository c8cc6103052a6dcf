//! What the turns of one kind amount to. Pure: durations in, figures out.

use std::collections::BTreeMap;
use std::time::Duration;

use hdrhistogram::Histogram;
use onceness_adapters::price::Turn;

/// The longest wait that is told apart, in nanoseconds; longer ones count as this.
const WAIT_MAX_NS: u64 = 60_000_000_000;
/// What is read before its producer learns of it has waited for nothing, and nothing can be measured by that.
const WAIT_MIN_NS: f64 = 1_000.0;

/// How long records of one kind take, in milliseconds, and what that is to the cheapest kind.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Latency {
    /// Percentiles of all records.
    pub p50: f64,
    /// The same.
    pub p90: f64,
    /// The same.
    pub p99: f64,
    /// The longest.
    pub max: f64,
    /// The median of a turn over the cheapest's of the same round.
    pub price: Quartiles,
    /// The percentile over the cheapest's.
    pub price_p90: f64,
    /// The same.
    pub price_p99: f64,
    /// The same.
    pub price_max: f64,
    /// How many records were timed.
    pub records: u64,
    /// How many more never came.
    pub lost: u64,
    /// In how many rounds.
    pub rounds: u64,
}

/// How many records of one kind go through, and what that is to the cheapest kind.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Throughput {
    /// Records a second, over the turns.
    pub per_second: Quartiles,
    /// The time for a record over the cheapest's of the same round.
    pub price: Quartiles,
    /// How many records arrived.
    pub records: u64,
    /// How many more did not.
    pub lost: u64,
    /// In how many rounds.
    pub rounds: u64,
}

/// The middle of some values, and where its half lies.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Quartiles {
    /// A quarter of the values is below.
    pub lower: f64,
    /// Half of them.
    pub median: f64,
    /// Three quarters.
    pub upper: f64,
}

/// The measured turns of one kind.
#[derive(Debug)]
pub(super) struct Series {
    /// What a record cost in each round, in nanoseconds.
    costs: BTreeMap<u64, f64>,
    waits: Histogram<u64>,
    records: u64,
    lost: u64,
}

impl Default for Series {
    fn default() -> Self {
        let waits = Histogram::new_with_bounds(1, WAIT_MAX_NS, 3);
        // Fails only for bounds or digits out of range, which these are not.
        let waits = waits.unwrap_or_else(|_| unreachable!("constant bounds"));
        Series { costs: BTreeMap::new(), waits, records: 0, lost: 0 }
    }
}

impl Series {
    /// Takes in a turn. Its cost is the median of its waits, or else the time for each record. One that nothing arrived in has none.
    pub(super) fn add(&mut self, round: u64, turn: &Turn, waits: Option<&[Duration]>) {
        self.records += turn.records;
        self.lost += turn.lost;
        let cost = match waits {
            Some(waits) => {
                let mut waits: Vec<f64> = waits.iter().map(|wait| wait.as_nanos() as f64).collect();
                waits.iter().for_each(|wait| self.waits.saturating_record(*wait as u64));
                Quartiles::of(&mut waits).map(|of| of.median)
            }
            None => {
                (turn.records > 0).then(|| turn.elapsed.as_nanos() as f64 / turn.records as f64)
            }
        };
        if let Some(cost) = cost {
            self.costs.insert(round, cost);
        }
    }

    /// In how many rounds something arrived.
    pub(super) fn rounds(&self) -> u64 {
        self.costs.len() as u64
    }

    /// What a record costs in a usual round.
    pub(super) fn cost(&self) -> f64 {
        let mut costs: Vec<f64> = self.costs.values().copied().collect();
        Quartiles::of(&mut costs).map_or(f64::INFINITY, |of| of.median)
    }

    pub(super) fn latency(&self, cheapest: &Series) -> Latency {
        let at = |series: &Series, quantile| series.waits.value_at_quantile(quantile) as f64;
        let ratio = |quantile| over(at(self, quantile), at(cheapest, quantile));
        let ms = |nanoseconds: f64| nanoseconds / 1e6;
        Latency {
            p50: ms(at(self, 0.5)),
            p90: ms(at(self, 0.9)),
            p99: ms(at(self, 0.99)),
            max: ms(at(self, 1.0)),
            price: self.price(cheapest),
            price_p90: ratio(0.9),
            price_p99: ratio(0.99),
            price_max: ratio(1.0),
            records: self.records,
            lost: self.lost,
            rounds: self.rounds(),
        }
    }

    pub(super) fn throughput(&self, cheapest: &Series) -> Throughput {
        let mut rates: Vec<f64> = self.costs.values().map(|cost| 1e9 / cost).collect();
        Throughput {
            per_second: Quartiles::of(&mut rates).unwrap_or(Quartiles::NONE),
            price: self.price(cheapest),
            records: self.records,
            lost: self.lost,
            rounds: self.rounds(),
        }
    }

    /// Only what was measured in the same round is compared.
    fn price(&self, cheapest: &Series) -> Quartiles {
        if cheapest.cost() < WAIT_MIN_NS && !cheapest.waits.is_empty() {
            return Quartiles::NONE;
        }
        let pairs = self.costs.iter().filter_map(|(round, cost)| {
            let ratio = over(*cost, *cheapest.costs.get(round)?);
            ratio.is_finite().then_some(ratio)
        });
        let mut ratios: Vec<f64> = pairs.collect();
        Quartiles::of(&mut ratios).unwrap_or(Quartiles::NONE)
    }
}

/// A price. None, if the cheapest is no wait at all.
fn over(cost: f64, cheapest: f64) -> f64 {
    if cheapest < 1.0 { f64::NAN } else { cost / cheapest }
}

impl Quartiles {
    const NONE: Quartiles = Quartiles { lower: f64::NAN, median: f64::NAN, upper: f64::NAN };

    /// Of some values, between neighbours in proportion. None of none.
    fn of(values: &mut [f64]) -> Option<Quartiles> {
        values.sort_by(f64::total_cmp);
        let last = values.len().checked_sub(1)?;
        let at = |part: f64| {
            let place = part * last as f64;
            let (below, above) = (place.floor() as usize, place.ceil() as usize);
            values[below] + (values[above] - values[below]) * place.fract()
        };
        Some(Quartiles { lower: at(0.25), median: at(0.5), upper: at(0.75) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn quartiles_lie_between_neighbours() {
        assert_eq!(Quartiles::of(&mut []), None);
        let one = Quartiles { lower: 7.0, median: 7.0, upper: 7.0 };
        assert_eq!(Quartiles::of(&mut [7.0]), Some(one));
        let four = Quartiles { lower: 1.75, median: 2.5, upper: 3.25 };
        assert_eq!(Quartiles::of(&mut [4.0, 1.0, 3.0, 2.0]), Some(four));
    }

    #[test]
    fn prices_are_ratios_within_a_round() {
        let (mut cheap, mut dear) = (Series::default(), Series::default());
        // The second round is a slow minute for both, the third one was not measured of the dear one.
        for (round, cheap_ms, dear_ms) in
            [(0, 1, Some(2)), (1, 10, Some(30)), (2, 1, None), (3, 1, Some(4))]
        {
            cheap.add(round, &Turn::default(), Some(&[cheap_ms * MS; 3]));
            if let Some(dear_ms) = dear_ms {
                dear.add(round, &Turn::default(), Some(&[dear_ms * MS; 3]));
            }
        }
        let price = dear.latency(&cheap).price;
        assert_eq!(price, Quartiles { lower: 2.5, median: 3.0, upper: 3.5 });
        let own = cheap.latency(&cheap);
        assert_eq!((own.price.lower, own.price.upper, own.rounds), (1.0, 1.0, 4));
        assert_eq!((dear.cost(), cheap.cost()), (4e6, 1e6));
    }

    #[test]
    fn percentiles_are_of_all_records_together() {
        let mut series = Series::default();
        let waits: Vec<Duration> = (1..=100).map(|n| n * MS).collect();
        series.add(0, &Turn { records: 40, ..Turn::default() }, Some(&waits[..40]));
        series.add(1, &Turn { records: 60, lost: 2, ..Turn::default() }, Some(&waits[40..]));
        let latency = series.latency(&series);
        for (expected, got) in
            [(50.0, latency.p50), (90.0, latency.p90), (99.0, latency.p99), (100.0, latency.max)]
        {
            assert!((got - expected).abs() <= expected * 0.001, "{latency:?}");
        }
        assert_eq!((latency.records, latency.lost), (100, 2));
    }

    #[test]
    fn throughput_counts_what_arrived() {
        let mut all = Series::default();
        let mut half = Series::default();
        for round in 0..3 {
            let turn = Turn { records: 1_000, elapsed: 100 * MS, ..Turn::default() };
            all.add(round, &turn, None);
            half.add(round, &Turn { records: 500, lost: 500, ..turn }, None);
        }
        half.add(3, &Turn { lost: 9, elapsed: 100 * MS, ..Turn::default() }, None);
        let figures = half.throughput(&all);
        assert_eq!((figures.per_second.median, figures.price.median), (5_000.0, 2.0));
        assert_eq!((figures.records, figures.lost, figures.rounds), (1_500, 1_509, 3));
    }

    #[test]
    fn nothing_is_measured_by_no_wait() {
        let (mut none, mut some) = (Series::default(), Series::default());
        none.add(0, &Turn::default(), Some(&[Duration::ZERO]));
        some.add(0, &Turn::default(), Some(&[2 * MS]));
        let latency = some.latency(&none);
        assert!(latency.price.median.is_nan() && latency.price_max.is_nan(), "{latency:?}");
        assert_eq!(some.latency(&some).price.median, 1.0);
    }
}
