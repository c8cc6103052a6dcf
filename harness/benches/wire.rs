//! Cases on a real broker against a bare loop that sends the same requests: what our own code adds.
//!
//! Needs `ONCENESS_KAFKA=HOST:PORT`: `cargo ci kafka --long -- cargo bench -p onceness --bench wire`. The two take turns, so
//! that noise hits both alike; rooms are made beforehand. Figures are printed, nothing is asserted.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use onceness_adapters::Adapter;
use onceness_adapters::wire::Kafka;
use onceness_adapters::wire::bare::Trace;
use onceness_properties::judge;
use onceness_reference::generate;
use onceness_reference::plan::Plan;

const CASES: usize = 300;
const JOBS: usize = 32;
const TURNS: usize = 7;

#[tokio::main]
async fn main() {
    // `cargo test --benches` and plain `cargo bench` come without a broker.
    let Ok(address) = std::env::var("ONCENESS_KAFKA") else {
        println!("wire: not measured, for ONCENESS_KAFKA=HOST:PORT is not set");
        return;
    };
    let kafka =
        Arc::new(Kafka::connect(&[address]).await.expect("ONCENESS_KAFKA is a Kafka broker"));
    let plans = (0..CASES as u64).map(|seed| generate::plan(seed, kafka.features()).1);
    let plans: Arc<Vec<Plan>> = Arc::new(plans.collect());
    let traces = Arc::new(trace(&kafka, &plans).await);
    let requests: usize = traces.iter().map(Trace::requests).sum();
    println!("{CASES} cases, {:.0} requests each, {JOBS} at once", requests as f64 / CASES as f64);
    let mut ratios = Vec::new();
    for turn in 0..TURNS {
        kafka.prepare(2 * CASES).await.expect("rooms");
        let (to, what) = (kafka.clone(), traces.clone());
        let bare = timed(move |at| {
            let (kafka, traces) = (to.clone(), what.clone());
            async move { kafka.send_bare(&traces[at]).await.map(drop) }
        })
        .await;
        let (to, what) = (kafka.clone(), plans.clone());
        let cases = timed(move |at| {
            let (kafka, plans) = (to.clone(), what.clone());
            async move { kafka.run(&plans[at]).await.map(|history| drop(judge(&history))) }
        })
        .await;
        println!(
            "turn {turn}: {:.0} cases/s, bare loop {:.0}/s, ratio {:.2}",
            CASES as f64 / cases,
            CASES as f64 / bare,
            cases / bare
        );
        ratios.push(cases / bare);
    }
    ratios.sort_by(f64::total_cmp);
    println!(
        "time of cases / time of the bare loop: median {:.2}, {:.2} to {:.2}",
        ratios[TURNS / 2],
        ratios[0],
        ratios[TURNS - 1]
    );
    kafka.clean().await.expect("nothing left behind");
}

async fn trace(kafka: &Kafka, plans: &[Plan]) -> Vec<Trace> {
    kafka.prepare(plans.len()).await.expect("rooms");
    let mut traces = Vec::new();
    for plan in plans {
        traces.push(kafka.trace(plan).await.expect("the broker answers"));
    }
    traces
}

/// Seconds for all cases, so many at once.
async fn timed<F, T, E: std::fmt::Debug>(case: F) -> f64
where
    F: Fn(usize) -> T + Clone + Send + 'static,
    T: Future<Output = Result<(), E>> + Send,
{
    let next = Arc::new(AtomicUsize::new(0));
    let start = Instant::now();
    let workers = (0..JOBS).map(|_| {
        let (case, next) = (case.clone(), next.clone());
        tokio::spawn(async move {
            loop {
                let at = next.fetch_add(1, Ordering::Relaxed);
                if at >= CASES {
                    return;
                }
                case(at).await.expect("the broker answers");
            }
        })
    });
    for worker in workers.collect::<Vec<_>>() {
        worker.await.expect("a worker ends well");
    }
    start.elapsed().as_secs_f64()
}
