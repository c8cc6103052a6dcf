//! Cases by librdkafka on a real broker: each a fresh transactional client that commits three transactions, and the reading
//! back of all that it wrote. So many at once, for librdkafka mostly waits.
//!
//! Needs `ONCENESS_KAFKA=HOST:PORT`: `cargo ci kafka --long -- cargo bench -p onceness --bench stock`. Figures are printed,
//! nothing is asserted.

use std::sync::Arc;
use std::time::Instant;

use futures::{StreamExt as _, TryStreamExt as _};
use onceness_adapters::Adapter;
use onceness_adapters::stock::Stock;
use onceness_properties::judge;
use onceness_reference::ids::{ClientId, Key, Partition, StepId, Tag, TxnId};
use onceness_reference::plan::{
    Client, Delivery, Fate, NewRecord, Op, PLAN_VERSION, Plan, Protocol, Round, Step,
};

const CASES: usize = 512;
const AT_ONCE: [usize; 4] = [1, 32, 128, 256];
const TURNS: usize = 3;

#[tokio::main]
async fn main() {
    // `cargo test --benches` and plain `cargo bench` come without a broker.
    let Ok(address) = std::env::var("ONCENESS_KAFKA") else {
        println!("stock: not measured, for ONCENESS_KAFKA=HOST:PORT is not set");
        return;
    };
    let stock =
        Arc::new(Stock::connect(&[address]).await.expect("ONCENESS_KAFKA is a Kafka broker"));
    let plan = Arc::new(three_transactions());
    for turn in 0..TURNS {
        for at_once in AT_ONCE {
            let cases = CASES.min(at_once * 8);
            stock.prepare(cases).await.expect("rooms");
            let start = Instant::now();
            let running = futures::stream::iter(0..cases).map(|_| {
                let (stock, plan) = (stock.clone(), plan.clone());
                async move {
                    let case = tokio::spawn(async move { stock.run(&plan).await });
                    let history = case.await.expect("a case ends well")?;
                    assert!(!judge(&history).is_empty());
                    Ok::<(), onceness_adapters::TargetError>(())
                }
            });
            let done: Result<Vec<()>, _> = running.buffer_unordered(at_once).try_collect().await;
            done.expect("the broker answers");
            let rate = cases as f64 / start.elapsed().as_secs_f64();
            println!("turn {turn}: {at_once} at once: {rate:.1} cases/s");
        }
    }
    stock.clean().await.expect("nothing left behind");
}

fn three_transactions() -> Plan {
    let id = ClientId(0);
    let delivery = Some(Delivery::Transactional { txn: TxnId(0), protocol: Protocol::Tv1 });
    let send = |tag| Op::Send {
        partition: Partition(0),
        batches: vec![vec![NewRecord { tag: Tag(tag), key: Key(0) }]],
    };
    let ops = (0..3).flat_map(|tag| [Op::Begin, send(tag), Op::Commit]);
    let steps = std::iter::once(Op::Open).chain(ops).enumerate().map(|(step, op)| Step {
        id: StepId(step as u32),
        client: id,
        op,
        fate: Fate::Delivered,
        preparation: Fate::Delivered,
        crash: false,
    });
    Plan {
        version: PLAN_VERSION,
        schedule: 0,
        partitions: 1,
        clients: vec![Client { id, delivery, consumer: None }],
        rounds: steps.map(|step| Round { faults: Vec::new(), steps: vec![step] }).collect(),
    }
}
