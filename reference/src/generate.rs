//! From a seed to a plan: each client follows the script of its role, and mishaps are dealt as the profile says.
//!
//! The scripts know what the automaton of [`crate::wellformed`] knows, and how much was sent where, so that plans are
//! interesting: a commit has something to commit, a poll something to read.

use std::collections::BTreeMap;

use proptest::strategy::{NewTree, Strategy, ValueTree};
use proptest::test_runner::TestRunner;

use crate::features::Features;
use crate::forging;
use crate::ids::{ClientId, Key, Partition, StepId, Tag};
use crate::plan::{
    Client, Consumer, Fate, Fault, NewRecord, Op, PLAN_VERSION, Plan, Round, Saving, Step,
};
use crate::profile::{Focus, Profile};
use crate::smaller::smaller;
use crate::wellformed::Lives;

/// The plan of a seed, for a target that can do so much, and the profile between the two.
pub fn plan(seed: u64, features: Features) -> (Profile, Plan) {
    let profile = Profile::draw(seed, features);
    let plan = Script::write(&profile);
    (profile, plan)
}

/// A proptest strategy of plans. Its value tree shrinks by [`smaller`].
pub fn plans(features: Features) -> Plans {
    Plans { features }
}

/// See [`plans`].
#[derive(Clone, Copy, Debug)]
pub struct Plans {
    features: Features,
}

impl Strategy for Plans {
    type Tree = PlanTree;
    type Value = Plan;

    fn new_tree(&self, runner: &mut TestRunner) -> NewTree<Self> {
        use proptest::prelude::Rng as _;
        let (_, plan) = plan(runner.rng().next_u64(), self.features);
        Ok(PlanTree::new(plan))
    }
}

/// A plan on its way to become smaller.
pub struct PlanTree {
    /// The smallest plan known to fail.
    best: Plan,
    /// What is tried instead.
    trying: Option<Plan>,
    rest: Box<dyn Iterator<Item = Plan> + Send>,
}

impl std::fmt::Debug for PlanTree {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let trying = &self.trying;
        f.debug_struct("PlanTree").field("best", &self.best).field("trying", trying).finish()
    }
}

impl PlanTree {
    fn new(plan: Plan) -> Self {
        PlanTree { rest: Box::new(smaller(&plan)), best: plan, trying: None }
    }
}

impl ValueTree for PlanTree {
    type Value = Plan;

    fn current(&self) -> Plan {
        self.trying.as_ref().unwrap_or(&self.best).clone()
    }

    /// What was tried fails too: go on from there.
    fn simplify(&mut self) -> bool {
        if let Some(smaller_one) = self.trying.take() {
            self.rest = Box::new(smaller(&smaller_one));
            self.best = smaller_one;
        }
        self.trying = self.rest.next();
        self.trying.is_some()
    }

    /// What was tried does not fail: try another.
    fn complicate(&mut self) -> bool {
        self.trying = self.rest.next();
        self.trying.is_some()
    }
}

/// To rewind and to go through one more transaction takes a loop so many steps.
const ROUNDS_AFTER_ABORT: usize = 6;

/// A plan as it is written, round by round.
struct Script<'a> {
    profile: &'a Profile,
    dice: fastrand::Rng,
    plan: Plan,
    lives: Lives,
    parts: BTreeMap<ClientId, Part>,
    /// How many records were sent to each partition.
    sent: Vec<u32>,
    steps: u32,
    tags: u32,
    faults: usize,
    /// Whether a consumer has stalled: it takes seconds, so once is enough.
    stalled: bool,
}

/// Where a client stands in the script of its role.
#[derive(Clone, Debug, Default)]
struct Part {
    /// Sends of the transaction so far.
    sends: u8,
    /// How far a consumer is in its cycle of polling, processing and saving.
    stage: u8,
    /// Records that it has probably read.
    read: u32,
    /// The same, when its last transaction was committed.
    committed: u32,
    /// Whether it aborted and must rewind.
    must_rewind: bool,
    /// Whether it aborted and has not committed since.
    aborted: bool,
    /// A second instance has started since: a zombie. It talks on for a while.
    succeeded: bool,
    /// The round in which the end of an earlier transaction arrives late. The next one waits for it with its own end.
    late_end: usize,
    /// How that transaction ended.
    late_ending: Option<Op>,
}

impl Script<'_> {
    fn write(profile: &Profile) -> Plan {
        // Another stream than the profile's, so that a new knob does not change what is written.
        let mut dice = fastrand::Rng::with_seed(profile.seed ^ 0x9e37_79b9_7f4a_7c15);
        let plan = Plan {
            version: PLAN_VERSION,
            schedule: dice.u64(..),
            partitions: profile.partitions,
            clients: profile.clients.clone(),
            rounds: Vec::new(),
        };
        let mut script = Script {
            profile,
            dice,
            plan,
            lives: Lives::default(),
            parts: BTreeMap::new(),
            sent: vec![0; usize::from(profile.partitions)],
            steps: 0,
            tags: 0,
            faults: 0,
            stalled: false,
        };
        while script.steps < u32::from(profile.steps) {
            let round = script.round();
            script.plan.rounds.push(round);
        }
        for _ in 0..ROUNDS_AFTER_ABORT {
            let round = script.afterwards();
            if round.steps.is_empty() {
                break;
            }
            script.plan.rounds.push(round);
        }
        script.plan.repaired()
    }

    /// What loops that have aborted do next: only that shows whether they went back.
    fn afterwards(&mut self) -> Round {
        let mut round = Round::default();
        for client in &self.profile.clients {
            let aborted = self.parts.get(&client.id).is_some_and(|part| part.aborted);
            round.steps.extend(if aborted { self.step(client) } else { None });
        }
        round
    }

    fn round(&mut self) -> Round {
        let mut round = Round { faults: self.faults(), steps: Vec::new() };
        let mut turn: Vec<usize> = (0..self.profile.clients.len()).collect();
        self.dice.shuffle(&mut turn);
        for place in turn {
            if !round.steps.is_empty() && !self.chance(self.profile.overlap) {
                continue;
            }
            let client = &self.profile.clients[place];
            if let Some(step) = self.step(client) {
                round.steps.push(step);
            }
        }
        round
    }

    /// Mostly none. Of those that overlap the round at most one.
    fn faults(&mut self) -> Vec<Fault> {
        let profile = self.profile;
        let mut faults = Vec::new();
        let chances = [
            (profile.restart, Fault::Restart),
            (profile.kill, Fault::Kill),
            (profile.pause, Fault::Pause),
        ];
        for (chance, fault) in chances {
            let free = !fault.overlaps() || !faults.iter().any(|other: &Fault| other.overlaps());
            if self.chance(chance) && free && self.faults < usize::from(profile.faults_max) {
                self.faults += 1;
                faults.push(fault);
            }
        }
        faults
    }

    fn step(&mut self, client: &Client) -> Option<Step> {
        let mut part = self.parts.get(&client.id).cloned().unwrap_or_default();
        let op = self.op(client, &mut part)?;
        // A late end is the rarest of dangers: it needs the next transaction to be open when it arrives.
        let held = match op {
            Op::Commit | Op::Abort => self.profile.held.saturating_mul(2),
            // A late opening fences its own client, which ends most of what would follow.
            Op::Open => self.profile.held / 3,
            _ => self.profile.held,
        };
        let mut step = Step {
            id: StepId(self.steps),
            client: client.id,
            op,
            fate: self.fate(held),
            preparation: Fate::Delivered,
            crash: self.chance(self.profile.crash_at_request),
        };
        if self.chance(25) {
            step.preparation = self.fate(self.profile.held);
        }
        // Not every step can meet every mishap: drop them one by one until the automaton takes it.
        let mishaps: [fn(&mut Step); 4] = [
            |_| {},
            |step| step.preparation = Fate::Delivered,
            |step| step.crash = false,
            |step| step.fate = Fate::Delivered,
        ];
        let taken = mishaps.into_iter().any(|drop| {
            drop(&mut step);
            self.lives.take(&self.plan, &step).is_ok()
        });
        if !taken {
            return None;
        }
        if self.lives.of(client.id).is_none() {
            part = Part { succeeded: part.succeeded, ..Part::default() };
        }
        if step.op == Op::Open {
            part.succeeded = false;
        }
        if let (Op::Commit | Op::Abort, Fate::Held { rounds }) = (&step.op, step.fate) {
            part.late_end = self.plan.rounds.len() + usize::from(rounds);
            part.late_ending = Some(step.op.clone());
        }
        self.parts.insert(client.id, part);
        if step.op == Op::Open {
            self.succeed(client);
        }
        self.steps += 1;
        Some(step)
    }

    /// The client's twins are zombies from now on.
    fn succeed(&mut self, client: &Client) {
        for twin in &self.profile.clients {
            let same_txn = client.txn().is_some() && client.txn() == twin.txn();
            if twin.id != client.id && (same_txn || is_same_member(client, twin)) {
                self.parts.entry(twin.id).or_default().succeeded = true;
            }
        }
    }

    fn op(&mut self, client: &Client, part: &mut Part) -> Option<Op> {
        let Some(life) = self.lives.of(client.id) else {
            // An instance that replaces another one waits a while, so that there is something to take over.
            let early = part.succeeded && self.chance(60);
            return if early { None } else { Some(Op::Open) };
        };
        let doomed = part.succeeded && self.dice.bool();
        if doomed || self.chance(self.profile.crash) {
            return Some(if self.chance(20) { Op::Close } else { Op::Crash });
        }
        if self.is_forger(client.id) {
            let scripted = client.txn().is_some() && self.chance(60);
            return Some(match self.profile.focus.filter(|_| scripted) {
                Some(Focus::Positions) => self.saver_op(client, life.in_transaction, part),
                Some(Focus::Reads) => self.peeper_op(life.in_transaction, part),
                _ => self.forger_op(client, life.in_transaction),
            });
        }
        match (&client.consumer, client.txn()) {
            (Some(consumer), Some(_)) => self.loop_op(consumer, life.in_transaction, part),
            (Some(consumer), None) => self.reader_op(consumer, part),
            (None, Some(_)) => self.transaction_op(life.in_transaction, part),
            (None, None) => {
                let partition = self.any_partition();
                Some(self.send(partition))
            }
        }
    }

    fn is_forger(&self, client: ClientId) -> bool {
        let mut forgers = self.profile.clients.iter().rev().take(self.profile.forgers.into());
        forgers.any(|forger| forger.id == client)
    }

    /// As often something ordinary as something forged.
    fn forger_op(&mut self, client: &Client, in_transaction: bool) -> Op {
        if self.dice.bool() {
            let partition = self.any_partition();
            let records = self.batch();
            return Op::Forge(forging::draw(
                &mut self.dice,
                self.profile.focus,
                client,
                in_transaction,
                partition,
                records,
            ));
        }
        match (client.txn(), in_transaction) {
            (Some(_), false) => Op::Begin,
            (Some(_), true) if self.chance(40) => self.end(),
            _ => {
                let partition = self.any_partition();
                self.send(partition)
            }
        }
    }

    /// Forges saves in a transaction and beside it, ends it, and looks what is left.
    fn saver_op(&mut self, client: &Client, in_transaction: bool, part: &mut Part) -> Op {
        if !in_transaction {
            part.stage = 0;
            let looks = self.dice.bool();
            return if looks { Op::Forge(forging::look(&mut self.dice)) } else { Op::Begin };
        }
        part.stage += 1;
        forging::saved_beside(client, part.stage).map_or_else(|| self.end(), Op::Forge)
    }

    /// Sends a long batch in a transaction, ends that, and reads from the middle of the batch.
    fn peeper_op(&mut self, in_transaction: bool, part: &mut Part) -> Op {
        part.stage = if in_transaction { part.stage + 1 } else { 0 };
        match (in_transaction, part.stage) {
            (false, _) if part.sends > 0 => {
                part.sends = 0;
                Op::Forge(forging::peep(&mut self.dice))
            }
            (false, _) => Op::Begin,
            (true, 1) => {
                part.sends = 1;
                self.sent[0] += 2;
                let batches = vec![vec![self.record(), self.record()]];
                Op::Send { partition: forging::COMMON, batches }
            }
            (true, _) => self.end(),
        }
    }

    fn transaction_op(&mut self, in_transaction: bool, part: &mut Part) -> Option<Op> {
        if !in_transaction {
            part.sends = 0;
            return Some(Op::Begin);
        }
        if part.sends == 0 || (part.sends < 4 && self.chance(35)) {
            part.sends += 1;
            let partition = self.any_partition();
            return Some(self.send(partition));
        }
        self.end_in_time(part)
    }

    /// Begin, poll, forward, save, end; rewind after an abort.
    fn loop_op(
        &mut self,
        consumer: &Consumer,
        in_transaction: bool,
        part: &mut Part,
    ) -> Option<Op> {
        if part.must_rewind {
            part.must_rewind = false;
            part.stage = 0;
            part.read = part.committed;
            return Some(Op::Rewind);
        }
        if !in_transaction {
            part.stage = 0;
            // Without anything to read a loop waits, mostly.
            let idle = !self.unread(consumer, part) && self.steps > 4;
            return if idle && self.chance(80) { None } else { Some(Op::Begin) };
        }
        part.stage += 1;
        Some(match part.stage {
            1 => self.poll(part),
            2 => {
                let outputs = consumer.inputs.len() as u8..self.profile.partitions;
                let limit = self.profile.poll_max;
                let tag = Tag(self.tags);
                self.tags += u32::from(limit);
                Op::Forward { to: Partition(self.dice.u8(outputs).into()), tag, limit }
            }
            3 => Op::SaveInTransaction,
            _ => {
                part.stage = 3;
                let op = self.end_in_time(part)?;
                part.must_rewind = op == Op::Abort;
                part.aborted = part.must_rewind;
                if op == Op::Commit {
                    part.committed = part.read;
                }
                op
            }
        })
    }

    fn reader_op(&mut self, consumer: &Consumer, part: &mut Part) -> Option<Op> {
        if self.chance(5) {
            part.stage = 0;
            return Some(Op::Rewind);
        }
        if consumer.shared && part.read > 0 && !self.stalled && self.chance(self.profile.stall) {
            self.stalled = true;
            return Some(Op::Stall);
        }
        let idle = part.stage.is_multiple_of(3) && !self.unread(consumer, part);
        if idle && self.chance(80) {
            return None;
        }
        part.stage = part.stage % 3 + 1;
        Some(match (part.stage, consumer.saving) {
            (1, _) => self.poll(part),
            (2, Saving::BeforeProcessing) | (3, Saving::AfterProcessing) => Op::Save,
            _ => Op::Process,
        })
    }

    fn poll(&mut self, part: &mut Part) -> Op {
        let max = self.dice.u8(1..=self.profile.poll_max);
        part.read += u32::from(max);
        Op::Poll { max }
    }

    /// Ends the transaction; where the end of the one before is late, mostly after it has arrived and the other way, for
    /// ending it twice the same way shows nothing.
    fn end_in_time(&mut self, part: &mut Part) -> Option<Op> {
        let early = self.plan.rounds.len() <= part.late_end;
        if early && self.chance(80) {
            return None;
        }
        let other = match part.late_ending.take() {
            Some(Op::Commit) => Some(Op::Abort),
            Some(_) => Some(Op::Commit),
            None => None,
        };
        Some(other.filter(|_| self.chance(70)).unwrap_or_else(|| self.end()))
    }

    fn end(&mut self) -> Op {
        match self.chance(self.profile.abort) {
            true => Op::Abort,
            false => Op::Commit,
        }
    }

    fn unread(&self, consumer: &Consumer, part: &Part) -> bool {
        let sent: u32 = (consumer.inputs.iter()).map(|input| self.sent[input.0 as usize]).sum();
        sent > part.read
    }

    fn send(&mut self, partition: Partition) -> Op {
        let batches = self.dice.u8(1..=self.profile.batches_max);
        let batches: Vec<Vec<NewRecord>> = (0..batches).map(|_| self.batch()).collect();
        let records = batches.iter().map(Vec::len).sum::<usize>();
        self.sent[partition.0 as usize] += records as u32;
        Op::Send { partition, batches }
    }

    fn batch(&mut self) -> Vec<NewRecord> {
        let records = self.dice.u8(1..=self.profile.records_max);
        (0..records).map(|_| self.record()).collect()
    }

    fn record(&mut self) -> NewRecord {
        let tag = Tag(self.tags);
        self.tags += 1;
        NewRecord { tag, key: Key(self.dice.u8(0..self.profile.keys).into()) }
    }

    /// Any, but the first one more often: it is everybody's input.
    fn any_partition(&mut self) -> Partition {
        match self.dice.bool() {
            true => Partition(0),
            false => Partition(self.dice.u8(0..self.profile.partitions).into()),
        }
    }

    fn fate(&mut self, held_chance: u8) -> Fate {
        let profile = self.profile;
        let held = Fate::Held { rounds: self.dice.u8(1..=profile.held_rounds_max) };
        let mishaps = [
            (held_chance, held),
            (profile.request_lost, Fate::RequestLost),
            (profile.reply_lost, Fate::ReplyLost),
            (profile.repeated, Fate::Repeated),
            (profile.busy, Fate::Busy),
        ];
        let mut roll = self.dice.u8(0..100);
        for (chance, fate) in mishaps {
            if roll < chance {
                return fate;
            }
            roll -= chance;
        }
        Fate::Delivered
    }

    fn chance(&mut self, percent: u8) -> bool {
        self.dice.u8(0..100) < percent
    }
}

fn is_same_member(one: &Client, other: &Client) -> bool {
    match (&one.consumer, &other.consumer) {
        (Some(one), Some(other)) => one.group == other.group && one.member && !one.shared,
        _ => false,
    }
}
