//! The history that is swept unless another is named: a read-process-write loop with three transactions, the second of which
//! aborts. Each reads two inputs, writes to two partitions, and saves its position; and after each a reader downstream looks.

use onceness_reference::features::Features;
use onceness_reference::ids::{ClientId, GroupId, Key, Partition, StepId, Tag, TxnId};
use onceness_reference::plan::{
    Client, Consumer, Delivery, Fate, Isolation, NewRecord, Op, PLAN_VERSION, Plan, Protocol,
    Round, Saving, Step,
};

const SOURCE: ClientId = ClientId(0);
const LOOP: ClientId = ClientId(1);
const READER: ClientId = ClientId(2);
const INPUT: Partition = Partition(0);
const OUTPUTS: [Partition; 2] = [Partition(1), Partition(2)];

/// Three batches of two: the loop reads as much in each transaction.
const BATCHES: u32 = 3;
const PER_TRANSACTION: u8 = 2;

/// The loop over a transaction protocol, for a target that can do so much.
pub fn read_process_write(protocol: Protocol, features: Features, schedule: u64) -> Plan {
    let mut steps = Steps::default();
    steps.add(SOURCE, Op::Open);
    let batches = (0..BATCHES).map(|_| (0..PER_TRANSACTION).map(|_| steps.record()).collect());
    let batches = batches.collect();
    steps.add(SOURCE, Op::Send { partition: INPUT, batches });
    steps.add(READER, Op::Open);
    steps.add(LOOP, Op::Open);
    for end in [Op::Commit, Op::Abort, Op::Commit] {
        let aborts = end == Op::Abort;
        steps.add(LOOP, Op::Poll { max: PER_TRANSACTION });
        steps.add(LOOP, Op::Begin);
        for to in OUTPUTS {
            let tag = steps.record().tag;
            steps.add(LOOP, Op::Forward { to, tag, limit: 1 });
        }
        steps.add(LOOP, Op::SaveInTransaction);
        steps.add(LOOP, end);
        steps.add(READER, Op::Poll { max: u8::MAX });
        if aborts {
            steps.add(LOOP, Op::Rewind);
        }
    }
    let source = Client { id: SOURCE, delivery: Some(Delivery::Idempotent), consumer: None };
    let downstream = Consumer {
        group: GroupId(1),
        member: false,
        shared: false,
        inputs: OUTPUTS.to_vec(),
        isolation: Isolation::ReadCommitted,
        saving: Saving::AfterProcessing,
    };
    let reader = Client { id: READER, delivery: None, consumer: Some(downstream) };
    let consumer = Consumer {
        group: GroupId(0),
        member: features.members,
        shared: false,
        inputs: vec![INPUT],
        isolation: Isolation::ReadCommitted,
        saving: Saving::InTransaction,
    };
    let delivery = Delivery::Transactional { txn: TxnId(0), protocol };
    let transformer = Client { id: LOOP, delivery: Some(delivery), consumer: Some(consumer) };
    Plan {
        version: PLAN_VERSION,
        schedule,
        partitions: 3,
        clients: vec![source, transformer, reader],
        rounds: steps.rounds,
    }
}

/// Steps one after another, each in a round of its own.
#[derive(Default)]
struct Steps {
    rounds: Vec<Round>,
    tags: u32,
}

impl Steps {
    fn add(&mut self, client: ClientId, op: Op) {
        let step = step(StepId(self.rounds.len() as u32), client, op);
        self.rounds.push(Round { faults: Vec::new(), steps: vec![step] });
    }

    fn record(&mut self) -> NewRecord {
        self.tags += 1;
        NewRecord { tag: Tag(self.tags - 1), key: Key(0) }
    }
}

/// A step that nothing befalls.
pub(super) fn step(id: StepId, client: ClientId, op: Op) -> Step {
    Step { id, client, op, fate: Fate::Delivered, preparation: Fate::Delivered, crash: false }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loop_is_well_formed() {
        for protocol in [Protocol::Tv1, Protocol::Tv2] {
            let plan = read_process_write(protocol, Features::ALL, 0);
            assert_eq!(plan.check(), Ok(()));
            assert_eq!(plan.steps().filter(|step| step.op == Op::Begin).count(), 3);
        }
    }
}
