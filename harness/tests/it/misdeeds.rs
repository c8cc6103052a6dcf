//! Defects of clients and applications, each on a plan of a few steps by hand: the broker is right, and so is everything if
//! the client is.

use expect_test::{Expect, expect};
use futures::executor::block_on;
use onceness_adapters::Adapter as _;
use onceness_adapters::memory::Memory;
use onceness_properties::{Verdict, judge};
use onceness_reference::defects;
use onceness_reference::ids::{ClientId, GroupId, Key, Partition, StepId, Tag, TxnId};
use onceness_reference::plan::{
    Client, Consumer, Delivery, Fate, Isolation, NewRecord, Op, PLAN_VERSION, Plan, Protocol,
    Round, Saving, Step,
};
use onceness_reference::rules::Rules;
use onceness_reference::wrongs::client::ClientWrongs;

use Fate::{Busy, Delivered, ReplyLost, RequestLost};
use Op::{Abort, Begin, Commit, Crash, Open, Process, Rewind, Save, SaveInTransaction};

/// One step a round.
fn plan<const C: usize>(clients: [Client; C], steps: Vec<(u8, Op, Fate)>) -> Plan {
    let steps = steps.into_iter().enumerate().map(|(id, (client, op, fate))| Step {
        id: StepId(id as u32),
        client: ClientId(client),
        op,
        fate,
        preparation: Delivered,
        crash: false,
    });
    let rounds = steps.map(|step| Round { faults: Vec::new(), steps: vec![step] });
    let plan = Plan {
        version: PLAN_VERSION,
        schedule: 1,
        partitions: 2,
        clients: Vec::from(clients),
        rounds: rounds.collect(),
    };
    plan.check().expect("it means something");
    plan
}

/// Steps that nothing befalls.
fn calm<const N: usize>(steps: [(u8, Op); N]) -> Vec<(u8, Op, Fate)> {
    steps.map(|(client, op)| (client, op, Delivered)).into()
}

fn producer(id: u8, delivery: Delivery) -> Client {
    Client { id: ClientId(id), delivery: Some(delivery), consumer: None }
}

fn transactional(txn: u32) -> Delivery {
    Delivery::Transactional { txn: TxnId(txn), protocol: Protocol::Tv1 }
}

/// Reads partition 0.
fn reader(id: u8, saving: Saving) -> Client {
    let consumer = Consumer {
        group: GroupId(0),
        member: false,
        shared: false,
        inputs: vec![Partition(0)],
        isolation: Isolation::ReadCommitted,
        saving,
    };
    Client { id: ClientId(id), delivery: None, consumer: Some(consumer) }
}

/// Reads partition 0, in transactions of t0.
fn looping(id: u8) -> Client {
    Client { delivery: Some(transactional(0)), ..reader(id, Saving::InTransaction) }
}

/// One record a batch, all of one key, to partition 0.
fn send<const N: usize>(tags: [u32; N]) -> Op {
    let record = |tag| vec![NewRecord { tag: Tag(tag), key: Key(0) }];
    Op::Send { partition: Partition(0), batches: tags.map(record).into() }
}

/// To partition 1.
fn forward(tag: u32) -> Op {
    Op::Forward { to: Partition(1), tag: Tag(tag), limit: 1 }
}

fn poll() -> Op {
    Op::Poll { max: 9 }
}

/// What is broken, and the story of it.
fn accusations(wrongs: ClientWrongs, plan: &Plan) -> Vec<(&'static str, String)> {
    let memory = Memory::new(Rules::default(), String::new()).driven_by(wrongs);
    let history = block_on(memory.run(plan)).expect("memory is always there");
    let violated = judge(&history).into_iter().filter_map(|one| match one.verdict {
        Verdict::Violated(violations) => Some((one.property.name, violations[0].story.clone())),
        _ => None,
    });
    violated.collect()
}

fn check(name: &str, plan: &Plan, expected: &Expect) {
    assert_eq!(accusations(ClientWrongs::default(), plan), [], "{name}");
    let defect = defects::find(name).expect("a defect");
    let accusations = accusations(defect.client(), plan);
    let owner = accusations.iter().find(|(property, _)| defect.breaks[0] == *property);
    let (property, story) = owner.unwrap_or_else(|| panic!("{name}: {accusations:?}"));
    expected.assert_eq(&format!("{property}: {story}"));
}

#[test]
fn producers() {
    let alone = [producer(0, Delivery::Idempotent)];
    let steps = vec![
        (0, Open, Delivered),
        (0, send([0]), Delivered),
        (0, send([1]), Busy),
        (0, send([2]), Delivered),
    ];
    check(
        "sequences-restarted",
        &plan(alone.clone(), steps),
        &expect![
            "no-loss: r2 of c0 was acknowledged in p0 at offset 0, but no read of p0 shows it"
        ],
    );
    let steps = vec![(0, Open, Delivered), (0, send([0]), ReplyLost)];
    check(
        "resent-in-new-epoch",
        &plan(alone.clone(), steps),
        &expect!["no-duplicate: r0, sent once by c0, is in p0 at offsets 0 and 1"],
    );
    let steps =
        vec![(0, Open, Delivered), (0, send([0]), Delivered), (0, send([1, 2]), RequestLost)];
    check(
        "resent-backwards",
        &plan(alone, steps),
        &expect!["order: c0 sent r1 before r2, but in p0 they are at offsets 2 and 1"],
    );
}

#[test]
fn transactions() {
    let alone = [producer(0, transactional(0))];
    let opened = vec![(0, Open, Delivered), (0, Begin, Delivered), (0, send([0]), Delivered)];
    let and = |more: Vec<(u8, Op, Fate)>| [opened.clone(), more].concat();
    let steps = and(vec![(0, send([1]), RequestLost), (0, Commit, Delivered)]);
    check(
        "committed-without-failed",
        &plan(alone.clone(), steps),
        &expect![
            "atomicity: a transaction of c0 was committed, though its r1 in p0 was not accepted before, and is not shown to read_committed"
        ],
    );
    let steps = and(vec![(0, send([1]), Busy), (0, Commit, Delivered)]);
    check(
        "renewed-in-transaction",
        &plan(alone.clone(), steps),
        &expect![
            "atomicity: a transaction of c0 was committed, but its r0 in p0 is not shown to read_committed"
        ],
    );
    let steps = and(vec![(0, Commit, ReplyLost)]);
    check(
        "commit-given-up",
        &plan(alone, steps),
        &expect![
            "isolation: c0 aborted its transaction, but its r0 in p0 at offset 0 was shown to the final reader at read_committed"
        ],
    );
    let twins = || [producer(0, transactional(0)), producer(1, transactional(0))];
    let steps = calm([(0, Open), (0, Begin), (1, Open), (0, send([0]))]);
    check(
        "fenced-goes-on",
        &plan(twins(), steps.clone()),
        &expect!["fencing: c0 was superseded by c1, but its send to p0 was acknowledged"],
    );
    check(
        "fences-nobody",
        &plan(twins(), steps),
        &expect!["fencing: c0 was superseded by c1, but its send to p0 was acknowledged"],
    );
}

#[test]
fn readers() {
    let all = || {
        let reader = reader(2, Saving::AfterProcessing);
        [producer(0, transactional(0)), producer(1, transactional(1)), reader]
    };
    let steps = calm([(0, Open), (0, Begin), (0, send([0])), (0, Abort)]);
    check(
        "aborted-not-left-out",
        &plan(all(), steps.clone()),
        &expect![
            "isolation: c0 aborted its transaction, but its r0 in p0 at offset 0 was shown to the final reader at read_committed"
        ],
    );
    let steps = [steps, calm([(2, Open), (2, poll())])].concat();
    check(
        "output-read-uncommitted",
        &plan(all(), steps),
        &expect![
            "isolation: c0 aborted its transaction, but its r0 in p0 at offset 0 was shown to c2 at read_committed"
        ],
    );
    let begun =
        calm([(0, Open), (1, Open), (0, Begin), (1, Begin), (0, send([0])), (1, send([1]))]);
    let steps = [begun, calm([(1, Abort), (0, Abort)])].concat();
    check(
        "aborted-taken-as-listed",
        &plan(all(), steps),
        &expect![
            "isolation: c0 aborted its transaction, but its r0 in p0 at offset 0 was shown to the final reader at read_committed"
        ],
    );
}

#[test]
fn consumers() {
    let of = |saving| [producer(0, Delivery::AtLeastOnce), reader(1, saving)];
    let written = || calm([(0, Open), (0, send([0, 1])), (1, Open)]);
    let steps = [written(), calm([(1, poll()), (1, Crash)])].concat();
    check(
        "saved-before-processing",
        &plan(of(Saving::AfterProcessing), steps),
        &expect![
            "consume-at-least-once: g0 saved the position 2 in p0, but never processed r0 at offset 0"
        ],
    );
    let cycle = || calm([(1, poll()), (1, Process), (1, Crash), (1, Open)]);
    let steps = [written(), cycle(), cycle()].concat();
    check(
        "append-not-upsert",
        &plan(of(Saving::AfterProcessing), steps),
        &expect![
            "upserts: g0 processed r1 of k0 in p0 last, but its application has r0, r1, r0, r1 of that key"
        ],
    );
}

#[test]
fn loops() {
    let all = || [producer(0, Delivery::AtLeastOnce), looping(1)];
    let read = calm([(0, Open), (0, send([0])), (1, Open), (1, Begin), (1, poll())]);
    let written = [read, calm([(1, forward(10)), (1, SaveInTransaction)])].concat();
    let and = |more: Vec<(u8, Op, Fate)>| [written.clone(), more].concat();
    let steps = and(calm([(1, Abort), (1, Rewind), (1, Begin), (1, poll()), (1, forward(20))]));
    let steps = [steps, calm([(1, SaveInTransaction), (1, Commit)])].concat();
    check(
        "rewind-forgotten",
        &plan(all(), steps),
        &expect![
            "exactly-once: the position of g0 in p0 is 1, so its input r0 at offset 0 has to have 1 committed outputs, but has 0"
        ],
    );
    check(
        "last-offset-saved",
        &plan(all(), and(calm([(1, Commit)]))),
        &expect![
            "exactly-once: the position of g0 in p0 is 0, so its input r0 at offset 0 has to have 0 committed outputs, but has 1"
        ],
    );
    check(
        "saved-outside-transaction",
        &plan(all(), and(calm([(1, Crash)]))),
        &expect![
            "exactly-once: the position of g0 in p0 is 1, so its input r0 at offset 0 has to have 1 committed outputs, but has 0"
        ],
    );
}

/// At most once, the last offset instead of the next one is a repetition.
#[test]
fn the_last_offset_again() {
    let both = [producer(0, Delivery::AtLeastOnce), reader(1, Saving::BeforeProcessing)];
    let cycle = || calm([(1, Open), (1, poll()), (1, Save), (1, Process), (1, Crash)]);
    let plan = plan(both, [calm([(0, Open), (0, send([0]))]), cycle(), cycle()].concat());
    assert_eq!(accusations(ClientWrongs::default(), &plan), []);
    let wrongs = defects::find("last-offset-saved").expect("a defect").client();
    assert_eq!(accusations(wrongs, &plan)[0].0, "consume-at-most-once");
}
