//! What people see while a run works: a bar where somebody watches, else a line every ten seconds.

use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use onceness::gauge::{Gauge, Phase};
use onceness::report::style::{count, thousands};

use crate::terminal::{is_watched, tell};

const LOOK_EVERY: Duration = Duration::from_millis(150);
const TELL_EVERY: Duration = Duration::from_secs(10);

/// How far a run can go.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Extent {
    pub(crate) cases: Option<u64>,
    pub(crate) time: Option<Duration>,
}

/// Shows how a run gets on until it ends.
pub(crate) async fn watch<T>(gauge: &Gauge, extent: Extent, run: impl Future<Output = T>) -> T {
    let bar = is_watched().then(new_bar);
    let started = Instant::now();
    let mut told = started;
    let mut look = tokio::time::interval(LOOK_EVERY);
    tokio::pin!(run);
    let result = loop {
        tokio::select! {
            result = &mut run => break result,
            _ = look.tick() => {
                let line = line(gauge, extent, started.elapsed());
                match &bar {
                    Some(bar) => bar.set_message(line),
                    None if told.elapsed() >= TELL_EVERY => {
                        told = Instant::now();
                        tell(&line);
                    }
                    None => {}
                }
            }
        }
    };
    if let Some(bar) = bar {
        bar.finish_and_clear();
    }
    result
}

fn new_bar() -> ProgressBar {
    let bar = ProgressBar::new_spinner();
    if let Ok(style) = ProgressStyle::with_template("{spinner} {msg}") {
        bar.set_style(style);
    }
    bar.enable_steady_tick(LOOK_EVERY);
    bar
}

fn line(gauge: &Gauge, extent: Extent, elapsed: Duration) -> String {
    match gauge.phase() {
        Phase::Searching => searching(gauge, extent, elapsed),
        Phase::Shrinking { what, steps, tries } => {
            let (steps, tries) = (count(steps as u64, "step"), count(tries, "candidate"));
            format!("shrinking {what}: {steps} after {tries}")
        }
        Phase::Pricing { round: 0, .. } => "opening clients".to_owned(),
        Phase::Pricing { round, left } => format!("round {round}, {} s left", left.as_secs() + 1),
        Phase::SelfTesting { done, of } => {
            let cases = count(gauge.cases(), "case");
            format!("searches done: {} of {}; {cases}", thousands(done), thousands(of))
        }
        Phase::Cleaning => "cleaning the target up".to_owned(),
    }
}

fn searching(gauge: &Gauge, extent: Extent, elapsed: Duration) -> String {
    let cases = gauge.cases();
    let rate = cases as f64 / elapsed.as_secs_f64().max(0.001);
    let mut parts = vec![
        match extent.cases {
            Some(all) => format!("{} of {}", thousands(cases), count(all, "case")),
            None => count(cases, "case"),
        },
        format!("{}/s", thousands(rate as u64)),
        format!("{} failing", thousands(gauge.failing())),
    ];
    if gauge.silent() > 0 {
        parts.push(format!("{} without an answer", thousands(gauge.silent())));
    }
    if let Some(left) = left(cases, rate, extent, elapsed) {
        parts.push(format!("{} s left", left.as_secs() + 1));
    }
    parts.join(", ")
}

fn left(cases: u64, rate: f64, extent: Extent, elapsed: Duration) -> Option<Duration> {
    let by_time = extent.time.map(|time| time.saturating_sub(elapsed));
    let by_cases = (extent.cases.filter(|_| rate > 0.0))
        .map(|all| Duration::from_secs_f64((all.saturating_sub(cases) as f64 / rate).min(1e6)));
    [by_time, by_cases].into_iter().flatten().min()
}
