use onceness_adapters::{Adapter, memory::Memory};
use onceness_reference::{features::Features, generate, rules::Rules, text};
fn main() {
    let n: u64 = std::env::args().nth(1).unwrap().parse().unwrap();
    let only: Option<u64> = std::env::args().nth(2).map(|s| s.parse().unwrap());
    let m = Memory::new(Rules::default(), "memory".into());
    if let Some(seed) = only {
        let (p, plan) = generate::plan(seed, Features::ALL);
        eprintln!("{p:?}");
        let h = futures::executor::block_on(m.run(&plan)).unwrap();
        print!("{}", text::history_to_lines(&h));
        return;
    }
    let start = std::time::Instant::now();
    let plans: Vec<_> = (0..n).map(|s| generate::plan(s, Features::ALL).1).collect();
    println!(
        "generate {:?}/case, steps avg {}",
        start.elapsed() / n as u32,
        plans.iter().map(|p| p.size()).sum::<usize>() as f64 / n as f64
    );
    let start = std::time::Instant::now();
    let mut skipped = std::collections::BTreeMap::new();
    let mut events = 0;
    let mut stuck = 0;
    let mut steps = 0;
    let mut rets = std::collections::BTreeMap::new();
    for p in &plans {
        p.check().unwrap();
        let h = futures::executor::block_on(m.run(p)).unwrap();
        events += h.events.len();
        steps += p.steps().count();
        for e in &h.events {
            match e {
                onceness_reference::history::Event::Skipped { why, .. } => {
                    *skipped.entry(format!("{why:?}")).or_insert(0) += 1
                }
                onceness_reference::history::Event::Stuck { .. } => stuck += 1,
                onceness_reference::history::Event::Return { of, outcome } => {
                    let onceness_reference::history::Event::Call { call, .. } =
                        &h.events[of.0 as usize]
                    else {
                        panic!()
                    };
                    let c = format!("{call:?}");
                    let c = c.split([' ', '{']).next().unwrap().to_string();
                    let o = match outcome {
                        onceness_reference::history::Outcome::Done(_) => "done".to_string(),
                        o => format!("{o:?}"),
                    };
                    *rets.entry((c, o)).or_insert(0) += 1;
                }
                _ => {}
            }
        }
    }
    println!(
        "run {:?}/case, events avg {}, steps {steps} stuck {stuck}\n{skipped:?}\n{rets:#?}",
        start.elapsed() / n as u32,
        events as f64 / n as f64
    );
}
