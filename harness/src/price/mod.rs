//! What a guarantee costs, measured: short turns of every kind in shuffled order, round after round.
//!
//! Interleaved rather than one kind after the other: whatever else the machines do then hits all kinds alike, and prices
//! are ratios *within* a round, so that even a slow minute does not change them. Medians and quartiles, for means follow
//! the worst moment.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use onceness_adapters::TargetError;
use onceness_adapters::price::{Kind, Load, Measure, Meter, Support, Turn};
use serde::Serialize;

use crate::certify::clean_up;
use crate::exit::Exit;
use crate::gauge::Phase;
use crate::rig::Rig;

mod numbers;

use numbers::Series;
pub use numbers::{Latency, Quartiles, Throughput};

/// Turns are so long that about so many rounds fit in.
const ROUNDS: u32 = 12;
/// Shorter turns would be all start and end, longer ones would follow the noise.
const TURN_MIN: Duration = Duration::from_millis(40);
const TURN_MAX: Duration = Duration::from_millis(250);
/// The first of so many parts of the time is warm-up; one round at least.
const WARM_UP_OF: u32 = 5;
/// Of fewer rounds nothing can be said.
pub const ROUNDS_MIN: u64 = 3;
/// A target that failed so many turns in a row is gone.
const FAILURES_IN_A_ROW: u32 = 3;

/// What is asked for.
#[derive(Clone, Debug)]
pub struct PriceOptions {
    /// How users name the target in commands.
    pub target: String,
    /// How long to measure, warm-up included. Opening clients and cleaning up come on top.
    pub time: Duration,
    /// What is sent; its seed also shuffles the turns.
    pub load: Load,
}

/// What the guarantees of a target cost.
#[derive(Debug)]
pub struct Prices {
    /// What was asked for.
    pub options: PriceOptions,
    /// What was driven, for people.
    pub driven: String,
    /// How long a turn is.
    pub turn: Duration,
    /// How many rounds were run and not counted.
    pub warm_up: u64,
    /// How many rounds were measured.
    pub rounds: u64,
    /// How long all rounds took.
    pub seconds: f64,
    /// Why it ended.
    pub ended: PriceEnded,
    /// How long records take.
    pub latencies: Vec<Table<Latency>>,
    /// How many go through.
    pub throughputs: Vec<Table<Throughput>>,
    /// How many turns the target failed.
    pub failed: u64,
    /// What it said in the last of them.
    pub last_error: Option<String>,
    /// What else went wrong.
    pub troubles: Vec<String>,
}

/// Why measuring ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum PriceEnded {
    /// The time was up.
    Complete,
    /// Somebody asked to stop.
    Interrupted,
    /// The target stopped answering.
    TargetGone,
}

/// One thing that was measured of some kinds, which are compared with each other.
#[derive(Debug)]
pub struct Table<F> {
    /// What.
    pub what: What,
    /// The kinds.
    pub rows: Vec<Row<F>>,
}

/// One kind.
#[derive(Debug)]
pub struct Row<F> {
    /// Which.
    pub kind: Kind,
    /// What came of it.
    pub outcome: Outcome<F>,
}

/// What came of a kind.
#[derive(Debug)]
pub enum Outcome<F> {
    /// Figures.
    Measured(F),
    /// Too few rounds.
    TooLittle(u64),
    /// The target cannot do it, for this reason.
    Unsupported(String),
}

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum What {
    /// From handing a record over until it is final.
    ProduceLatency,
    /// How many records are produced.
    ProduceThroughput,
    /// From a record being final until it is read.
    ReadLatency,
    /// From handing a record over to its producer until it is read.
    ReadLatencySinceSent,
    /// How many records are read from a log that is there.
    DrainThroughput,
}

impl What {
    /// Whether it is measured of consumers.
    pub fn consumes(self) -> bool {
        !matches!(self, What::ProduceLatency | What::ProduceThroughput)
    }
}

impl Prices {
    /// What the process says.
    pub fn exit(&self) -> Exit {
        match self.is_measured() && self.ended != PriceEnded::TargetGone && self.troubles.is_empty()
        {
            true => Exit::Holds,
            false => Exit::Inconclusive,
        }
    }

    /// Whether there are figures of every kind that the target can do.
    pub fn is_measured(&self) -> bool {
        fn enough<F>(tables: &[Table<F>]) -> bool {
            let mut rows = tables.iter().flat_map(|table| &table.rows);
            !rows.any(|row| matches!(row.outcome, Outcome::TooLittle(_)))
        }
        enough(&self.latencies) && enough(&self.throughputs)
    }
}

/// Measures what the guarantees of a target cost, and cleans up.
pub async fn price(meter: &dyn Meter, options: &PriceOptions, rig: &Rig) -> Prices {
    let mut run = Run::new(meter, options, rig);
    match run.open().await {
        Ok(()) => run.measure().await,
        Err(error) => {
            run.last_error = Some(error);
            run.ended = PriceEnded::TargetGone;
        }
    }
    let mut prices = run.into_prices();
    prices.troubles.extend(clean_up(meter.clean(), rig).await);
    prices
}

/// What is known while it runs.
struct Run<'a> {
    meter: &'a dyn Meter,
    options: &'a PriceOptions,
    rig: &'a Rig,
    unsupported: BTreeMap<Kind, String>,
    series: BTreeMap<(What, Kind), Series>,
    turn: Duration,
    warm_up: u64,
    rounds: u64,
    seconds: f64,
    failed: u64,
    failed_in_a_row: u32,
    last_error: Option<TargetError>,
    ended: PriceEnded,
}

impl<'a> Run<'a> {
    fn new(meter: &'a dyn Meter, options: &'a PriceOptions, rig: &'a Rig) -> Self {
        let turns = 2 * Kind::ALL.len() as u32;
        Run {
            meter,
            options,
            rig,
            unsupported: BTreeMap::new(),
            series: BTreeMap::new(),
            turn: (options.time / (turns * ROUNDS)).clamp(TURN_MIN, TURN_MAX),
            warm_up: 0,
            rounds: 0,
            seconds: 0.0,
            failed: 0,
            failed_in_a_row: 0,
            last_error: None,
            ended: PriceEnded::Complete,
        }
    }

    async fn open(&mut self) -> Result<(), TargetError> {
        self.rig.gauge.enter(Phase::Pricing { round: 0, left: self.options.time });
        for kind in Kind::ALL {
            if self.rig.stop.asked() {
                return Ok(());
            }
            if let Support::Unsupported(reason) = self.meter.open(kind).await? {
                self.unsupported.insert(kind, reason);
            }
        }
        Ok(())
    }

    async fn measure(&mut self) {
        let mut random = fastrand::Rng::with_seed(self.options.load.seed);
        let can = Kind::ALL.into_iter().filter(|kind| !self.unsupported.contains_key(kind));
        let mut turns: Vec<(Kind, Measure)> =
            can.flat_map(|kind| [(kind, Measure::Latency), (kind, Measure::Throughput)]).collect();
        let started = Instant::now();
        let mut last = Duration::ZERO;
        // Half a round too long is as good as half a round too short.
        while self.going() && started.elapsed() + last / 2 < self.options.time {
            let warm = self.warm_up > 0 && started.elapsed() >= self.options.time / WARM_UP_OF;
            let begun = Instant::now();
            random.shuffle(&mut turns);
            for (kind, measure) in &turns {
                if !self.going() {
                    break;
                }
                let round = self.warm_up + self.rounds + 1;
                let left = self.options.time.saturating_sub(started.elapsed());
                self.rig.gauge.enter(Phase::Pricing { round, left });
                self.take_turn(*kind, *measure, warm).await;
            }
            match warm {
                true => self.rounds += 1,
                false => self.warm_up += 1,
            }
            last = begun.elapsed();
        }
        self.seconds = started.elapsed().as_secs_f64();
    }

    /// False from the moment on when somebody asks to stop, or the target is gone.
    fn going(&mut self) -> bool {
        if self.failed_in_a_row >= FAILURES_IN_A_ROW {
            self.ended = PriceEnded::TargetGone;
        } else if self.rig.stop.asked() {
            self.ended = PriceEnded::Interrupted;
        }
        self.ended == PriceEnded::Complete
    }

    async fn take_turn(&mut self, kind: Kind, measure: Measure, warm: bool) {
        match self.meter.turn(kind, measure, self.turn).await {
            Ok(turn) => {
                self.failed_in_a_row = 0;
                if warm {
                    self.note(kind, measure, &turn);
                }
            }
            Err(error) => {
                self.failed += 1;
                self.failed_in_a_row += 1;
                self.last_error = Some(error);
            }
        }
    }

    fn note(&mut self, kind: Kind, measure: Measure, turn: &Turn) {
        let round = self.rounds;
        let mut add = |what, waits: Option<&[Duration]>| {
            self.series.entry((what, kind)).or_default().add(round, turn, waits);
        };
        match (kind.consumes(), measure) {
            (false, Measure::Latency) => add(What::ProduceLatency, Some(&turn.waits)),
            (false, Measure::Throughput) => add(What::ProduceThroughput, None),
            (true, Measure::Latency) => {
                add(What::ReadLatency, Some(&turn.waits));
                add(What::ReadLatencySinceSent, Some(&turn.waits_since_sent));
            }
            (true, Measure::Throughput) => add(What::DrainThroughput, None),
        }
    }

    fn into_prices(self) -> Prices {
        let latencies = [What::ProduceLatency, What::ReadLatencySinceSent, What::ReadLatency];
        let throughputs = [What::ProduceThroughput, What::DrainThroughput];
        Prices {
            latencies: latencies.map(|what| self.table(what, Series::latency)).into(),
            throughputs: throughputs.map(|what| self.table(what, Series::throughput)).into(),
            options: self.options.clone(),
            driven: self.meter.describe(),
            turn: self.turn,
            warm_up: self.warm_up,
            rounds: self.rounds,
            seconds: self.seconds,
            ended: self.ended,
            failed: self.failed,
            last_error: self.last_error.map(|error| error.to_string()),
            troubles: Vec::new(),
        }
    }

    fn table<F>(&self, what: What, figures: impl Fn(&Series, &Series) -> F) -> Table<F> {
        let kinds = Kind::ALL.into_iter().filter(|kind| kind.consumes() == what.consumes());
        let series = |kind| {
            let series = self.series.get(&(what, kind));
            series.filter(|series| series.rounds() >= ROUNDS_MIN)
        };
        let cheapest =
            kinds.clone().filter_map(series).min_by(|a, b| a.cost().total_cmp(&b.cost()));
        let rows = kinds.map(|kind| {
            let outcome = match (self.unsupported.get(&kind), series(kind), cheapest) {
                (Some(reason), _, _) => Outcome::Unsupported(reason.clone()),
                (None, Some(series), Some(cheapest)) => {
                    Outcome::Measured(figures(series, cheapest))
                }
                _ => Outcome::TooLittle(self.series.get(&(what, kind)).map_or(0, Series::rounds)),
            };
            Row { kind, outcome }
        });
        Table { what, rows: rows.collect() }
    }
}

#[cfg(test)]
mod tests;
