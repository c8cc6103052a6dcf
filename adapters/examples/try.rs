//! scratch
use onceness_adapters::{Adapter, memory::Memory, stock::Stock, wire::Kafka};
use onceness_reference::{features::Features, generate, history::*, rules::Rules, text};
use std::sync::Arc;
#[tokio::main]
async fn main() {
    let which = std::env::args().nth(1).unwrap();
    let n: u64 = std::env::args().nth(2).unwrap().parse().unwrap();
    let jobs: usize = std::env::args().nth(3).unwrap().parse().unwrap();
    let only: Option<u64> = std::env::args().nth(4).map(|s| s.parse().unwrap());
    let addr = vec![std::env::var("ONCENESS_KAFKA").unwrap_or_default()];
    let m: Arc<dyn Adapter> = match &which[..] {
        "memory" => Arc::new(Memory::new(Rules::default(), "memory".into())),
        "wire" => Arc::new(Kafka::connect(&addr).await.unwrap()),
        _ => Arc::new(Stock::connect(&addr).await.unwrap()),
    };
    let f = m.features();
    println!("{} {f:?}", m.describe());
    if let Some(seed) = only {
        let (p, plan) = generate::plan(seed, f);
        eprintln!("{p:?}");
        let h = m.run(&plan).await.unwrap();
        print!("{}", text::history_to_lines(&h));
        m.clean().await.unwrap();
        return;
    }
    let plans: Vec<_> = (0..n).map(|s| generate::plan(s, f).1).collect();
    let t = std::time::Instant::now();
    if which != "memory" {
        m.prepare(n as usize).await.unwrap();
        println!("prepare {:?}", t.elapsed());
    }
    let start = std::time::Instant::now();
    let next = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let plans = Arc::new(plans);
    let hs: Vec<_> = (0..jobs)
        .map(|_| {
            let (m, next, plans) = (m.clone(), next.clone(), plans.clone());
            tokio::spawn(async move {
                let mut out = vec![];
                loop {
                    let i = next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                    if i >= plans.len() {
                        return out;
                    }
                    let t = std::time::Instant::now();
                    match m.run(&plans[i]).await {
                        Ok(h) => out.push((i, h, t.elapsed())),
                        Err(e) => println!("case {i}: {e}"),
                    }
                }
            })
        })
        .collect();
    let mut all = vec![];
    for h in hs {
        all.extend(h.await.unwrap());
    }
    let took = start.elapsed();
    let mut skipped = std::collections::BTreeMap::new();
    let mut rets = std::collections::BTreeMap::new();
    let mut stuck = 0;
    let mut slow: Vec<_> = all.iter().map(|(i, _, t)| (*t, *i)).collect();
    slow.sort();
    slow.reverse();
    slow.truncate(5);
    for (i, h, _) in &all {
        for e in &h.events {
            match e {
                Event::Skipped { why, .. } => *skipped.entry(format!("{why:?}")).or_insert(0) += 1,
                Event::Stuck { what } => {
                    stuck += 1;
                    if stuck < 5 {
                        println!("case {i} stuck {what}");
                    }
                }
                Event::Return { of, outcome } => {
                    let Event::Call { call, .. } = &h.events[of.0 as usize] else { panic!() };
                    let c = format!("{call:?}");
                    let c = c.split([' ', '{']).next().unwrap().to_string();
                    let o = match outcome {
                        Outcome::Done(_) => "done".to_string(),
                        o => format!("{o:?}"),
                    };
                    *rets.entry((c, o)).or_insert(0) += 1;
                }
                _ => {}
            }
        }
    }
    let v = onceness_adapters_judge(&all);
    println!(
        "{} cases in {took:?}: {:.1}/s stuck {stuck} {v}\nslow {slow:?}\n{skipped:?}",
        all.len(),
        all.len() as f64 / took.as_secs_f64()
    );
    for ((c, o), n) in rets {
        println!("{c:10} {o:25} {n}");
    }
    m.clean().await.unwrap();
}
fn onceness_adapters_judge(_: &[(usize, History, std::time::Duration)]) -> String {
    String::new()
}
