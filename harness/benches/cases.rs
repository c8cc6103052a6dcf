//! How many cases of about twenty steps the embedded broker runs and judges in a second, on one core.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use futures::executor::block_on;
use onceness_adapters::Adapter;
use onceness_adapters::memory::Memory;
use onceness_properties::judge;
use onceness_reference::features::Features;
use onceness_reference::generate;
use onceness_reference::plan::Plan;
use onceness_reference::rules::Rules;

const CASES: u64 = 1_000;

fn cases(criterion: &mut Criterion) {
    let plans: Vec<Plan> =
        (0..CASES).map(|seed| generate::plan(seed, Features::EMBEDDED).1).collect();
    let steps: usize = plans.iter().map(|plan| plan.steps().count()).sum();
    println!("{CASES} cases of {:.1} steps on average", steps as f64 / CASES as f64);
    let memory = Memory::new(Rules::default(), "memory".to_owned());
    let mut group = criterion.benchmark_group("memory");
    group.throughput(Throughput::Elements(CASES));
    group.bench_function("draw", |bencher| {
        bencher.iter(|| {
            (0..CASES).map(|seed| generate::plan(seed, Features::EMBEDDED).1.size()).sum::<usize>()
        });
    });
    group.bench_function("run", |bencher| {
        bencher.iter(|| plans.iter().map(|plan| events(&memory, plan)).sum::<usize>());
    });
    group.bench_function("run and judge", |bencher| {
        bencher.iter(|| plans.iter().map(|plan| judged(&memory, plan)).sum::<usize>());
    });
    group.finish();
}

fn events(memory: &Memory, plan: &Plan) -> usize {
    block_on(memory.run(plan)).expect("memory is always reachable").events.len()
}

fn judged(memory: &Memory, plan: &Plan) -> usize {
    judge(&block_on(memory.run(plan)).expect("memory is always reachable")).len()
}

criterion_group!(benches, cases);
criterion_main!(benches);
