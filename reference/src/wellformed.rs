//! Which plans mean something: the rules that a plan keeps when it is drawn, read from a file, or shrunk.
//!
//! One automaton per client ([`Lives`]) says which step may follow which. The generator asks it what can come next,
//! [`Plan::check`] runs it over a whole plan, and [`Plan::repaired`] drops the steps that it refuses, so that a plan stays
//! well formed when others were cut out of it.

use std::collections::{BTreeMap, BTreeSet};

use crate::ids::{ClientId, GroupId, Partition, Tag};
use crate::plan::forge::Forge;
use crate::plan::{
    BATCHES_IN_FLIGHT_MAX, Client, Consumer, Delivery, Fate, HELD_ROUNDS_MAX, Op, Plan, PlanFault,
    Protocol, Saving, Step,
};

/// No plan has more partitions than this: rooms on real brokers are made before plans are known.
pub const PARTITIONS_MAX: u8 = 3;

impl Plan {
    /// Whether the plan means something.
    ///
    /// # Errors
    /// The first fault found.
    pub fn check(&self) -> Result<(), PlanFault> {
        self.check_clients()?;
        self.check_forgers()?;
        self.check_tags()?;
        let mut lives = Lives::default();
        let mut steps = BTreeSet::new();
        for (place, round) in self.rounds.iter().enumerate() {
            if round.faults.iter().filter(|fault| fault.overlaps()).count() > 1 {
                let reason = "has more than one fault that overlaps its steps".to_owned();
                return Err(PlanFault { step: None, round: Some(place), reason });
            }
            let mut busy = BTreeSet::new();
            for step in &round.steps {
                let fault = |reason: String| PlanFault { step: Some(step.id), round: None, reason };
                if !steps.insert(step.id) {
                    return Err(fault("appears twice".to_owned()));
                }
                if !busy.insert(step.client) {
                    return Err(fault(format!("{} has another step in this round", step.client)));
                }
                lives.take(self, step).map_err(fault)?;
            }
        }
        Ok(())
    }

    /// The plan without the steps that no longer mean anything, clients that share a name with a forger, the faults that one round cannot have together, the clients
    /// that do nothing, and empty rounds at the end.
    #[must_use]
    pub fn repaired(mut self) -> Plan {
        let mut lives = Lives::default();
        let mut rounds = std::mem::take(&mut self.rounds);
        for round in &mut rounds {
            round.steps.retain(|step| lives.take(&self, step).is_ok());
            let mut overlapping = round.faults.iter().filter(|fault| fault.overlaps());
            if let (Some(first), Some(_)) = (overlapping.next().copied(), overlapping.next()) {
                round.faults.retain(|fault| !fault.overlaps());
                round.faults.push(first);
            }
        }
        self.rounds = rounds;
        let honest: BTreeSet<ClientId> =
            self.sharers_with_forgers().map(|(honest, _)| honest).collect();
        for round in &mut self.rounds {
            round.steps.retain(|step| !honest.contains(&step.client));
        }
        let mut rounds = std::mem::take(&mut self.rounds);
        while rounds.last().is_some_and(|last| last.steps.is_empty() && last.faults.is_empty()) {
            rounds.pop();
        }
        self.rounds = rounds;
        let busy: BTreeSet<ClientId> = self.steps().map(|step| step.client).collect();
        self.clients.retain(|client| busy.contains(&client.id));
        self
    }

    fn check_clients(&self) -> Result<(), PlanFault> {
        let fault = |reason: String| Err(PlanFault { step: None, round: None, reason });
        if self.partitions == 0 || self.partitions > PARTITIONS_MAX {
            return fault(format!("has {} partitions, not 1 to {PARTITIONS_MAX}", self.partitions));
        }
        let mut ids = BTreeSet::new();
        let mut groups: BTreeMap<GroupId, (&Consumer, Option<_>)> = BTreeMap::new();
        for client in &self.clients {
            let id = client.id;
            if !ids.insert(id) {
                return fault(format!("client {id} appears twice"));
            }
            let Some(consumer) = &client.consumer else {
                if client.delivery.is_none() {
                    return fault(format!("client {id} neither produces nor consumes"));
                }
                continue;
            };
            let outside = |input: &&Partition| input.0 >= u32::from(self.partitions);
            if let Some(input) = consumer.inputs.iter().find(outside) {
                return fault(format!("client {id} reads {input}, which does not exist"));
            }
            if consumer.inputs.is_empty() {
                return fault(format!("client {id} consumes nothing"));
            }
            if consumer.shared && !consumer.member {
                return fault(format!("client {id} shares a group that it is no member of"));
            }
            // What a member left open would keep its successors from reading their positions.
            if consumer.shared && consumer.saving == Saving::InTransaction {
                return fault(format!("client {id} saves in transactions and shares its group"));
            }
            if consumer.saving == Saving::InTransaction && client.txn().is_none() {
                return fault(format!("client {id} saves in transactions, but has none"));
            }
            // Two loops on one group fence each other by their transactional id, so they must share it.
            let owner = (consumer.saving == Saving::InTransaction).then(|| client.txn()).flatten();
            let (first, first_owner) = groups.entry(consumer.group).or_insert((consumer, owner));
            if *first != consumer || *first_owner != owner {
                return fault(format!("group {} is used in two ways", consumer.group));
            }
        }
        Ok(())
    }

    fn check_forgers(&self) -> Result<(), PlanFault> {
        match self.sharers_with_forgers().next() {
            Some((honest, forger)) => {
                let reason = format!("client {honest} shares a name with {forger}, which forges");
                Err(PlanFault { step: None, round: None, reason })
            }
            None => Ok(()),
        }
    }

    /// Who shares a name with a forger can be held to nothing, so it has to be one too. Those that are none, each with a forger.
    fn sharers_with_forgers(&self) -> impl Iterator<Item = (ClientId, ClientId)> {
        let forgers = self.forgers();
        let group = |client: &Client| client.consumer.as_ref().map(|consumer| consumer.group);
        let forging = self.clients.iter().filter(move |client| forgers.contains(&client.id));
        let forgers = self.forgers();
        forging.flat_map(move |forger| {
            let shares = |other: &&Client| {
                let txn = forger.txn().is_some() && forger.txn() == other.txn();
                txn || (group(forger).is_some() && group(forger) == group(other))
            };
            let honest = self.clients.iter().filter(|client| !forgers.contains(&client.id));
            let honest = honest.filter(shares).map(|honest| (honest.id, forger.id));
            honest.collect::<Vec<_>>()
        })
    }

    fn check_tags(&self) -> Result<(), PlanFault> {
        let mut seen = BTreeSet::new();
        for step in self.steps() {
            for tag in tags(&step.op) {
                if !seen.insert(tag) {
                    let reason = format!("record {tag} appears twice");
                    return Err(PlanFault { step: Some(step.id), round: None, reason });
                }
            }
        }
        Ok(())
    }
}

/// The tags that an operation may use.
pub fn tags(op: &Op) -> Vec<Tag> {
    match op {
        Op::Send { batches, .. } => batches.iter().flatten().map(|record| record.tag).collect(),
        Op::Forge(forge) => forge.records().iter().map(|record| record.tag).collect(),
        Op::Forward { tag, limit, .. } => {
            (0..u32::from(*limit)).map(|i| Tag(tag.0.saturating_add(i))).collect()
        }
        _ => Vec::new(),
    }
}

/// What a plan knows of its clients at some point.
#[derive(Clone, Debug, Default)]
pub struct Lives {
    open: BTreeMap<ClientId, Life>,
}

/// What a plan knows of a client that is open.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Life {
    /// Between begin and end of a transaction.
    pub in_transaction: bool,
}

impl Lives {
    /// The client's life, if it is open.
    pub fn of(&self, client: ClientId) -> Option<Life> {
        self.open.get(&client).copied()
    }

    /// Takes a step, if it may come now.
    ///
    /// # Errors
    /// Why it may not; nothing changes then.
    pub fn take(&mut self, plan: &Plan, step: &Step) -> Result<(), String> {
        let Some(client) = plan.client(step.client) else {
            return Err(format!("client {} does not exist", step.client));
        };
        check_fates(client, step)?;
        let life = self.after(plan, client, &step.op)?;
        match life {
            Some(life) if !step.crash => self.open.insert(client.id, life),
            _ => self.open.remove(&client.id),
        };
        Ok(())
    }

    fn after(&self, plan: &Plan, client: &Client, op: &Op) -> Result<Option<Life>, String> {
        let Some(life) = self.of(client.id) else {
            return match op {
                Op::Open => Ok(Some(Life::default())),
                _ => Err(format!("client {} is not open", client.id)),
            };
        };
        let begun = Life { in_transaction: true };
        let ended = Life { in_transaction: false };
        match op {
            Op::Open => Err(format!("client {} is open already", client.id)),
            Op::Crash | Op::Close => Ok(None),
            Op::Forge(forge) => {
                check_forge(plan, client, forge)?;
                Ok(Some(life))
            }
            Op::Send { partition, batches } => {
                check_send(plan, client, life, *partition)?;
                check_batches(batches)?;
                Ok(Some(life))
            }
            Op::Forward { to, limit, .. } => {
                check_send(plan, client, life, *to)?;
                let consumer = consumer(client)?;
                if consumer.saving != Saving::InTransaction {
                    return Err(
                        "forwards without saving its position in the transaction".to_owned()
                    );
                }
                if *limit == 0 || consumer.inputs.contains(to) {
                    return Err(format!("forwards {limit} records to {to}"));
                }
                Ok(Some(life))
            }
            Op::Begin if client.txn().is_none() => Err("has no transactional id".to_owned()),
            Op::Begin if life.in_transaction => Err("begins inside a transaction".to_owned()),
            Op::Begin => Ok(Some(begun)),
            Op::Commit | Op::Abort if !life.in_transaction => {
                Err("ends a transaction that it did not begin".to_owned())
            }
            Op::Commit | Op::Abort => Ok(Some(ended)),
            Op::Poll { max: 0 } => Err("polls no record".to_owned()),
            Op::Poll { .. } | Op::Rewind => consumer(client).map(|_| Some(life)),
            Op::Stall if !consumer(client)?.shared => {
                Err("stalls, but is no dynamic member of a group".to_owned())
            }
            Op::Stall => Ok(Some(life)),
            Op::Process | Op::Save => match consumer(client)?.saving {
                Saving::InTransaction => Err("saves in transactions".to_owned()),
                _ => Ok(Some(life)),
            },
            Op::SaveInTransaction => match consumer(client)?.saving {
                Saving::InTransaction if life.in_transaction => Ok(Some(life)),
                Saving::InTransaction => Err("saves outside a transaction".to_owned()),
                _ => Err("does not save in transactions".to_owned()),
            },
        }
    }
}

fn consumer(client: &Client) -> Result<&Consumer, String> {
    (client.consumer.as_ref()).ok_or_else(|| format!("client {} does not consume", client.id))
}

fn check_send(plan: &Plan, client: &Client, life: Life, to: Partition) -> Result<(), String> {
    if to.0 >= u32::from(plan.partitions) {
        return Err(format!("partition {to} does not exist"));
    }
    match client.delivery {
        None => Err(format!("client {} does not produce", client.id)),
        Some(Delivery::Transactional { .. }) if !life.in_transaction => {
            Err("sends outside a transaction".to_owned())
        }
        Some(_) => Ok(()),
    }
}

fn check_forge(plan: &Plan, client: &Client, forge: &Forge) -> Result<(), String> {
    forge.check()?;
    if let Some(partition) = forge.partition().filter(|to| to.0 >= u32::from(plan.partitions)) {
        return Err(format!("partition {partition} does not exist"));
    }
    let needs_txn = match forge {
        Forge::AddPartition { .. } | Forge::AddGroup { .. } | Forge::End { .. } => true,
        Forge::Save { in_transaction, .. } => *in_transaction,
        _ => false,
    };
    if needs_txn && client.txn().is_none() {
        return Err("has no transactional id".to_owned());
    }
    match forge {
        Forge::Produce { .. } if client.delivery.is_none() => {
            Err(format!("client {} does not produce", client.id))
        }
        Forge::Init { .. } if !has_session(client) => {
            Err(format!("client {} is no producer with an id", client.id))
        }
        Forge::AddGroup { .. } | Forge::Save { .. } => consumer(client).map(|_| ()),
        _ => Ok(()),
    }
}

fn check_batches(batches: &[Vec<impl Sized>]) -> Result<(), String> {
    if batches.is_empty() || batches.len() > BATCHES_IN_FLIGHT_MAX {
        return Err(format!("has {} batches, not 1 to {BATCHES_IN_FLIGHT_MAX}", batches.len()));
    }
    match batches.iter().any(Vec::is_empty) {
        true => Err("has an empty batch".to_owned()),
        false => Ok(()),
    }
}

/// Which fates a step may meet. A fate that the protocol gives no defence against (a plain save or a plain record that is
/// repeated by the network) would accuse brokers of what they cannot help.
fn check_fates(client: &Client, step: &Step) -> Result<(), String> {
    let sends = matches!(step.op, Op::Send { .. } | Op::Forward { .. });
    let ends = matches!(step.op, Op::Commit | Op::Abort);
    let inits = matches!(step.op, Op::Open) && has_session(client);
    let saves = matches!(step.op, Op::Save | Op::SaveInTransaction);
    let forges = matches!(&step.op, Op::Forge(forge) if forge.writes());
    let refuse = |what: &str| Err(format!("{what} cannot befall this step"));
    if step.crash && !(sends || ends || inits || saves) {
        return refuse("a crash at the request");
    }
    let allowed = match step.fate {
        Fate::Delivered => true,
        Fate::Held { .. } if step.op == Op::Save => false,
        Fate::Held { rounds } if rounds == 0 || rounds > HELD_ROUNDS_MAX => false,
        // Who waits for no answer cannot be told to ask again.
        Fate::Repeated | Fate::Busy if client.delivery == Some(Delivery::AtMostOnce) && sends => {
            false
        }
        _ => sends || ends || inits || saves || forges,
    };
    if !allowed {
        return refuse("this fate");
    }
    let prepares = client.protocol() == Some(Protocol::Tv1)
        && (sends || matches!(step.op, Op::SaveInTransaction));
    match step.preparation {
        Fate::Delivered => Ok(()),
        Fate::Held { rounds } if rounds == 0 || rounds > HELD_ROUNDS_MAX => refuse("this fate"),
        _ if prepares => Ok(()),
        _ => refuse("a fate of the preparation"),
    }
}

fn has_session(client: &Client) -> bool {
    matches!(client.delivery, Some(Delivery::Idempotent | Delivery::Transactional { .. }))
}
