//! A profile: one seed expanded into an explicit record of knobs, printed in full with every failure.
//!
//! Swarm testing (Groce and others, 2012): each case switches a random subset of features on, for a feature that is always
//! on hides what only shows without it.

use serde::Serialize;

use crate::features::Features;
use crate::ids::{ClientId, GroupId, Partition, TxnId};
use crate::plan::{Client, Consumer, Delivery, Isolation, Protocol, Saving};
use crate::wellformed::PARTITIONS_MAX;

/// The knobs of one case. Chances are in percent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Profile {
    /// Where it came from.
    pub seed: u64,
    /// About how many steps the plan gets.
    pub steps: u16,
    /// How many partitions.
    pub partitions: u8,
    /// Who takes part.
    pub clients: Vec<Client>,
    /// How many of them, the last ones, forge requests.
    pub forgers: u8,
    /// What these are mostly about. By chance alone the few requests that only show something together hardly meet.
    pub focus: Option<Focus>,
    /// The chance that a client takes part in a round.
    pub overlap: u8,
    /// The chance that a request is lost.
    pub request_lost: u8,
    /// The chance that a reply is lost.
    pub reply_lost: u8,
    /// The chance that a request is repeated.
    pub repeated: u8,
    /// The chance that a request is put off in the broker's name.
    pub busy: u8,
    /// The chance that a request is held.
    pub held: u8,
    /// For how many rounds at most.
    pub held_rounds_max: u8,
    /// The chance that a client crashes with a request under way.
    pub crash_at_request: u8,
    /// The chance that a client crashes between requests.
    pub crash: u8,
    /// The chance that the broker restarts before a round.
    pub restart: u8,
    /// The chance that the broker is killed in a round.
    pub kill: u8,
    /// The chance that the broker is paused in a round.
    pub pause: u8,
    /// How many faults of the broker there are at most.
    pub faults_max: u8,
    /// The chance that a consumer that shares its group stalls.
    pub stall: u8,
    /// The chance that a transaction is aborted.
    pub abort: u8,
    /// How many batches a producer has in flight at most.
    pub batches_max: u8,
    /// How many records a batch has at most.
    pub records_max: u8,
    /// How many keys there are.
    pub keys: u8,
    /// How many records a poll asks for at most.
    pub poll_max: u8,
}

/// What forgers are mostly about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Focus {
    /// Positions, saved in transactions and beside them.
    Positions,
    /// Reading at odd offsets and at both isolation levels.
    Reads,
    /// Sequence numbers.
    Numbers,
    /// Who opens and ends transactions.
    Sessions,
}

impl Profile {
    /// The profile of a seed, for a target that can do so much.
    pub fn draw(seed: u64, features: Features) -> Profile {
        let mut dice = fastrand::Rng::with_seed(seed);
        let partitions = dice.u8(1..=PARTITIONS_MAX);
        let clients = Cast::draw(&mut dice, features, partitions);
        let fates = features.fates;
        let mut profile = Profile {
            seed,
            steps: dice.u16(8..=36),
            partitions,
            clients,
            forgers: 0,
            focus: None,
            overlap: *pick(&mut dice, &[15, 40, 70, 95]),
            request_lost: sometimes(&mut dice, fates, 50, 25),
            reply_lost: sometimes(&mut dice, fates, 60, 25),
            repeated: sometimes(&mut dice, fates, 50, 20),
            held: sometimes(&mut dice, fates, 75, 40),
            held_rounds_max: dice.u8(1..=5),
            crash_at_request: sometimes(&mut dice, fates, 50, 20),
            crash: sometimes(&mut dice, true, 50, 12),
            restart: sometimes(&mut dice, features.restart, 65, 40),
            kill: sometimes(&mut dice, features.kill, 55, 35),
            pause: sometimes(&mut dice, features.pause, 55, 35),
            faults_max: match features.dear {
                // Half of the plans get none: those run many at once, and are as many as the others cost.
                true => *pick(&mut dice, &[0, 0, 1, 2]),
                false => u8::MAX,
            },
            abort: *pick(&mut dice, &[10, 30, 60]),
            batches_max: *pick(&mut dice, &[1, 1, 3, 5]),
            records_max: *pick(&mut dice, &[1, 2, 4]),
            keys: *pick(&mut dice, &[1, 2, 8]),
            poll_max: *pick(&mut dice, &[1, 3, 8]),
            // Younger than the others: drawn last, so that their seeds mean what they meant.
            busy: sometimes(&mut dice, fates, 40, 20),
            stall: sometimes(&mut dice, features.shared, 50, 30),
        };
        // Dice of their own, so that a case without forgers is what it was.
        let mut dice = fastrand::Rng::with_seed(seed ^ FORGERS);
        if features.forging && dice.u8(0..100) < 33 {
            profile.add_forgers(&mut dice, features);
        }
        profile
    }

    /// Forgers come on top: the others do what they do without them.
    fn add_forgers(&mut self, dice: &mut fastrand::Rng, features: Features) {
        let clients = std::mem::take(&mut self.clients);
        let next =
            |numbers: &mut dyn Iterator<Item = u32>| numbers.max().map_or(0, |most| most + 1);
        let txns = next(&mut clients.iter().filter_map(Client::txn).map(|txn| txn.0));
        let consumers = clients.iter().filter_map(|client| client.consumer.as_ref());
        let groups = next(&mut consumers.map(|consumer| consumer.group.0));
        let mut cast = Cast {
            dice,
            features,
            partitions: self.partitions,
            // There are few of either.
            txns: txns as u8,
            groups: groups as u8,
            clients,
        };
        let focuses = [Focus::Positions, Focus::Reads, Focus::Numbers, Focus::Sessions];
        self.focus = (cast.dice.u8(0..100) < 60).then(|| *pick(cast.dice, &focuses));
        self.forgers = cast.add_forger(self.focus);
        self.clients = cast.clients;
        self.steps += 4 + 8 * u16::from(self.forgers);
    }
}

/// Tells the dice of forgers from others.
const FORGERS: u64 = 0x6a09_e667_f3bc_c908;

/// The clients of a case, as they are cast one by one.
struct Cast<'a> {
    dice: &'a mut fastrand::Rng,
    features: Features,
    partitions: u8,
    clients: Vec<Client>,
    txns: u8,
    groups: u8,
}

impl Cast<'_> {
    fn draw(dice: &mut fastrand::Rng, features: Features, partitions: u8) -> Vec<Client> {
        let mut cast = Cast { dice, features, partitions, clients: Vec::new(), txns: 0, groups: 0 };
        // Few clients do much, many do little: both are wanted, the former more.
        let roles = *pick(cast.dice, &[1, 1, 1, 2, 2, 3]);
        for _ in 0..roles {
            cast.add_role();
        }
        // Someone has to write, and what they write should be read.
        if cast.clients.iter().all(|client| client.consumer.is_some()) {
            cast.add_producer();
        }
        cast.clients
    }

    fn add_role(&mut self) {
        let loops = self.features.transactions() && self.partitions > 1;
        match self.dice.u8(0..10) {
            0..=4 => self.add_producer(),
            5..=7 if loops => self.add_loop(),
            _ => self.add_reader(),
        }
    }

    fn add_producer(&mut self) {
        let delivery = match self.dice.u8(0..10) {
            0 => Delivery::AtMostOnce,
            1 => Delivery::AtLeastOnce,
            2..=3 => Delivery::Idempotent,
            _ if self.features.transactions() => self.transactional(),
            _ => Delivery::Idempotent,
        };
        self.add(Some(delivery), None);
        let transactional = matches!(delivery, Delivery::Transactional { .. });
        if transactional && self.dice.u8(0..100) < 40 {
            self.add(Some(delivery), None);
        }
    }

    /// A client that sends what no library sends, and sometimes a second instance of it. How many that are.
    fn add_forger(&mut self, focus: Option<Focus>) -> u8 {
        let delivery = match (self.dice.u8(0..10), focus) {
            (_, Some(Focus::Positions | Focus::Reads)) if self.features.transactions() => {
                self.transactional()
            }
            (0, _) => Delivery::AtLeastOnce,
            (1..=4, _) => Delivery::Idempotent,
            _ if self.features.transactions() => self.transactional(),
            _ => Delivery::Idempotent,
        };
        // It reads by forging, wherever it likes.
        let grouped = self.dice.bool() || focus == Some(Focus::Positions);
        let consumer = grouped.then(|| self.consumer(vec![Partition(0)]));
        let instances = if self.dice.u8(0..100) < 25 { 2 } else { 1 };
        for _ in 0..instances {
            self.add(Some(delivery), consumer.clone());
        }
        instances
    }

    /// A read-process-write loop, and sometimes a second instance of it.
    fn add_loop(&mut self) {
        let delivery = self.transactional();
        let inputs = self.some_partitions(self.partitions - 1);
        let consumer = Consumer {
            saving: Saving::InTransaction,
            isolation: Isolation::ReadCommitted,
            ..self.consumer(inputs)
        };
        self.add(Some(delivery), Some(consumer.clone()));
        if self.dice.u8(0..100) < 55 {
            self.add(Some(delivery), Some(consumer));
        }
    }

    fn add_reader(&mut self) {
        let inputs = self.some_partitions(self.partitions);
        let mut consumer = self.consumer(inputs);
        if self.features.shared && self.dice.u8(0..100) < 30 {
            (consumer.member, consumer.shared) = (true, true);
        }
        self.add(None, Some(consumer.clone()));
        // A member can be replaced, so it mostly is.
        if self.dice.u8(0..100) < if consumer.member { 60 } else { 20 } {
            self.add(None, Some(consumer));
        }
    }

    fn consumer(&mut self, inputs: Vec<Partition>) -> Consumer {
        self.groups += 1;
        Consumer {
            group: GroupId(u32::from(self.groups) - 1),
            member: self.features.members && self.dice.bool(),
            shared: false,
            inputs,
            isolation: *pick(self.dice, &[Isolation::ReadCommitted, Isolation::ReadUncommitted]),
            saving: *pick(self.dice, &[Saving::BeforeProcessing, Saving::AfterProcessing]),
        }
    }

    /// The first so many partitions, so that everybody's inputs are the same few.
    fn some_partitions(&mut self, most: u8) -> Vec<Partition> {
        (0..u32::from(self.dice.u8(1..=most))).map(Partition).collect()
    }

    fn transactional(&mut self) -> Delivery {
        self.txns += 1;
        let protocol = match (self.features.tv1, self.features.tv2) {
            (true, true) => *pick(self.dice, &[Protocol::Tv1, Protocol::Tv2]),
            (true, false) => Protocol::Tv1,
            _ => Protocol::Tv2,
        };
        Delivery::Transactional { txn: TxnId(u32::from(self.txns) - 1), protocol }
    }

    fn add(&mut self, delivery: Option<Delivery>, consumer: Option<Consumer>) {
        let id = ClientId(self.clients.len() as u8);
        self.clients.push(Client { id, delivery, consumer });
    }
}

/// A chance of up to so much, switched on in so many of a hundred cases.
fn sometimes(dice: &mut fastrand::Rng, possible: bool, on: u8, most: u8) -> u8 {
    let (drawn, chance) = (dice.u8(0..100) < on, dice.u8(5..=most));
    if possible && drawn { chance } else { 0 }
}

fn pick<'a, T>(dice: &mut fastrand::Rng, of: &'a [T]) -> &'a T {
    &of[dice.usize(0..of.len())]
}
