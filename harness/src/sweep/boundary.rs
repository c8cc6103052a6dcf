//! The boundaries of a plan: before each step, and at each request of each step that something can befall.

use std::collections::BTreeSet;

use onceness_reference::ids::{ClientId, GroupId, Partition, StepId};
use onceness_reference::plan::{Client, Delivery, Op, Plan, Protocol, Step};
use onceness_reference::wellformed::Lives;

use super::points;

/// A place in a plan at which something can go wrong.
#[derive(Clone, Debug)]
pub struct Boundary {
    /// The step that it belongs to.
    pub step: StepId,
    /// Whose step that is.
    pub client: ClientId,
    /// The step in words.
    pub doing: String,
    /// Where exactly.
    pub place: Place,
    /// The same in words.
    pub at: String,
    /// Which point of the read-process-write loop it is.
    pub point: Option<u8>,
    /// The round of the step.
    pub(super) round: usize,
    /// Whether the step asks the broker anything.
    pub(super) talks: bool,
    /// Whether the client is open before the step.
    pub(super) open: bool,
    /// Where the transaction that ends here has written.
    pub(super) written: Places,
}

/// Where exactly a boundary is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Nowhere: the plan as it is.
    Nowhere,
    /// Before the step, while nothing of its client is on its way.
    Before,
    /// At this request of the step, which does not arrive.
    Lost(Which),
    /// At this request of the step, which is applied; its answer does not arrive.
    Applied(Which),
    /// After the answer of a commit.
    After(Stage),
}

/// One request of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Which {
    /// The one that adds a partition or group to the transaction (TV1).
    Preparation,
    /// The one that carries it out.
    Main,
}

/// How far the broker is with a transaction whose commit it has answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// No marker is written.
    Unmarked,
    /// Some markers are written, and others are not.
    HalfMarked,
    /// All is done.
    Complete,
}

/// What a transaction has written to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Places {
    pub(super) partitions: BTreeSet<Partition>,
    pub(super) groups: BTreeSet<GroupId>,
}

impl Places {
    fn is_empty(&self) -> bool {
        self.partitions.is_empty() && self.groups.is_empty()
    }
}

/// All boundaries of a plan, in its order, after the plan as it is.
pub fn boundaries(plan: &Plan) -> Vec<Boundary> {
    let first = plan.steps().next();
    let whole = first.map(|step| Boundary {
        step: step.id,
        client: step.client,
        doing: "the whole plan".to_owned(),
        place: Place::Nowhere,
        at: "without any mishap".to_owned(),
        point: None,
        round: 0,
        talks: false,
        open: false,
        written: Places::default(),
    });
    let mut walk = Walk { plan, lives: Lives::default(), careers: Vec::new(), found: Vec::new() };
    for (round, planned) in plan.rounds.iter().enumerate() {
        for step in &planned.steps {
            if let Some(client) = plan.client(step.client) {
                walk.step(round, client, step);
            }
        }
    }
    whole.into_iter().chain(walk.found).collect()
}

/// What one client has done so far.
struct Career<'a> {
    client: ClientId,
    before: Option<&'a Op>,
    transaction: Option<Places>,
    transactions: u32,
}

struct Walk<'a> {
    plan: &'a Plan,
    lives: Lives,
    careers: Vec<Career<'a>>,
    found: Vec<Boundary>,
}

impl<'a> Walk<'a> {
    fn step(&mut self, round: usize, client: &'a Client, step: &'a Step) {
        let open = self.lives.of(client.id).is_some();
        let career = career(&mut self.careers, client.id);
        let before = career.before;
        let prepared = career.prepare(client, step);
        let written = career.transaction.clone().unwrap_or_default();
        let doing = career.tell(client, step);
        career.advance(step);
        let reads = matches!(step.op, Op::Open | Op::Poll { .. } | Op::Rewind);
        let mut places = vec![Place::Before];
        // What has a fate already is left as it is.
        if step.fate.is_delivered() && step.preparation.is_delivered() && !step.crash {
            if prepared {
                places
                    .extend([Place::Lost(Which::Preparation), Place::Applied(Which::Preparation)]);
            }
            if asks(client, step, &written) {
                places.extend([Place::Lost(Which::Main), Place::Applied(Which::Main)]);
            }
        }
        if step.op == Op::Commit && points::is_loop(client) && !written.is_empty() {
            let stages = [Stage::Unmarked, Stage::HalfMarked, Stage::Complete];
            places.extend(stages.map(Place::After));
        }
        self.found.extend(places.into_iter().map(|place| Boundary {
            step: step.id,
            client: client.id,
            doing: doing.clone(),
            place,
            at: tell_place(client, step, place),
            point: points::number_of(client, before, step, place, prepared),
            round,
            talks: reads || asks(client, step, &written),
            open,
            written: written.clone(),
        }));
        // A plan is checked before it is swept, so this cannot fail.
        let _ = self.lives.take(self.plan, step);
    }
}

fn career<'c, 'a>(careers: &'c mut Vec<Career<'a>>, client: ClientId) -> &'c mut Career<'a> {
    let place = careers.iter().position(|career| career.client == client).unwrap_or_else(|| {
        careers.push(Career { client, before: None, transaction: None, transactions: 0 });
        careers.len() - 1
    });
    &mut careers[place]
}

impl<'a> Career<'a> {
    /// Notes what the step adds to the transaction. Whether that takes a request of its own.
    fn prepare(&mut self, client: &Client, step: &Step) -> bool {
        let Some(transaction) = &mut self.transaction else { return false };
        let added = match &step.op {
            Op::Send { partition, .. } => transaction.partitions.insert(*partition),
            Op::Forward { to, .. } => transaction.partitions.insert(*to),
            Op::SaveInTransaction => {
                let group = client.consumer.as_ref().map(|consumer| consumer.group);
                group.is_some_and(|group| transaction.groups.insert(group))
            }
            _ => false,
        };
        added && client.protocol() == Some(Protocol::Tv1)
    }

    fn advance(&mut self, step: &'a Step) {
        match step.op {
            Op::Begin => {
                self.transaction = Some(Places::default());
                self.transactions += 1;
            }
            Op::Commit | Op::Abort | Op::Open | Op::Crash | Op::Close => self.transaction = None,
            _ => {}
        }
        self.before = Some(&step.op);
    }

    fn tell(&self, client: &Client, step: &Step) -> String {
        let number = match step.op {
            Op::Begin => self.transactions + 1,
            _ => self.transactions,
        };
        let within = match client.txn() {
            Some(_) if number > 0 && step.op != Op::Open => format!(", txn {number}"),
            _ => String::new(),
        };
        let who = client.id;
        match &step.op {
            Op::Open => format!("{who} starts"),
            Op::Send { partition, .. } => format!("{who} sends to {partition}{within}"),
            Op::Begin => format!("{who} begins{within}"),
            Op::Commit => format!("{who} commits{within}"),
            Op::Abort => format!("{who} aborts{within}"),
            Op::Poll { .. } => format!("{who} polls"),
            Op::Process => format!("{who} processes"),
            Op::Save => format!("{who} saves"),
            Op::SaveInTransaction => format!("{who} saves{within}"),
            Op::Forward { to, .. } => format!("{who} writes to {to}{within}"),
            Op::Rewind => format!("{who} rewinds"),
            Op::Stall => format!("{who} stalls"),
            Op::Forge(_) => format!("{who} forges a request"),
            Op::Crash => format!("{who} crashes"),
            Op::Close => format!("{who} closes"),
        }
    }
}

/// Whether a step sends a request that something can befall.
fn asks(client: &Client, step: &Step, written: &Places) -> bool {
    match step.op {
        Op::Open => {
            let sessions = [Some(Delivery::AtMostOnce), Some(Delivery::AtLeastOnce), None];
            !sessions.contains(&client.delivery)
        }
        Op::Send { .. } | Op::Forward { .. } | Op::Save | Op::SaveInTransaction => true,
        // A transaction that wrote nothing ends without a word.
        Op::Commit | Op::Abort => !written.is_empty(),
        _ => false,
    }
}

fn tell_place(client: &Client, step: &Step, place: Place) -> String {
    let request = |which: Which| match (which, &step.op) {
        (Which::Preparation, Op::SaveInTransaction) => "AddOffsetsToTxn",
        (Which::Preparation, _) => "AddPartitionsToTxn",
        (Which::Main, Op::Open) => "InitProducerId",
        (Which::Main, Op::Save) => "OffsetCommit",
        (Which::Main, Op::SaveInTransaction) => "TxnOffsetCommit",
        (Which::Main, Op::Commit | Op::Abort) => "EndTxn",
        (Which::Main, _) => "Produce",
    };
    match place {
        Place::Nowhere | Place::Before => "before".to_owned(),
        Place::Lost(which) => format!("{} lost", request(which)),
        // Nobody is told of a record without acknowledgement, so it has no answer to lose.
        Place::Applied(which) if client.delivery == Some(Delivery::AtMostOnce) => {
            format!("{} applied", request(which))
        }
        Place::Applied(which) => format!("{} applied, answer lost", request(which)),
        Place::After(Stage::Unmarked) => "answered, no marker written".to_owned(),
        Place::After(Stage::HalfMarked) => "answered, half the markers written".to_owned(),
        Place::After(Stage::Complete) => "answered and complete".to_owned(),
    }
}
