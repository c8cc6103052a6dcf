//! What can go wrong at a boundary, and the plan in which it does: the steps up to it, the mishap, whoever goes on with the
//! work, the rest of the steps, and as many further cycles as it takes to drain the inputs of every loop.
//!
//! The contestable decision: after a crash the rest of the plan is kept, not drawn anew. Steps that mean nothing any more
//! (the commit of a transaction that was never begun again) are dropped, as when plans shrink.

use onceness_reference::features::Features;
use onceness_reference::ids::{ClientId, GroupId, Partition, StepId, Tag};
use onceness_reference::plan::{
    Client, Consumer, Fate, Fault, Isolation, Op, Plan, Round, Saving, Step,
};
use onceness_reference::wellformed::{Lives, tags};
use serde::Serialize;

use super::boundary::{Boundary, Place, Stage, Which};
use super::history::step;
use super::points::is_loop;

/// What a held request waits: long enough to arrive in the middle of the loop's next transaction.
const HELD: Fate = Fate::Held { rounds: 5 };

/// How often an outsider looks whether a transaction is complete.
const LOOKS: usize = 4;

/// How much one cycle of a draining loop reads at most.
const DRAINED_AT_ONCE: u8 = 8;

/// A plan with more inputs than this is drained no further.
const CYCLES_MAX: usize = 64;

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Mishap {
    /// Nothing: the plan must hold as it is.
    Nothing,
    /// The client crashes, and starts again.
    Again,
    /// The client crashes, and another instance takes over.
    Takeover,
    /// Another instance takes over while the client lives, and the client goes on to the end of its transaction.
    Zombie,
    /// The client gets no answer, and asks again.
    Retry,
    /// The request arrives twice.
    Repeated,
    /// The request arrives rounds later, after its retry.
    Held,
    /// The broker is killed and started again.
    Restart,
    /// The broker is killed while the step is under way, and started again.
    Kill,
    /// The broker stands still while the step is under way, and goes on.
    Pause,
}

impl Mishap {
    /// All of them, in the order of the report.
    pub const ALL: [Mishap; 10] = [
        Mishap::Nothing,
        Mishap::Again,
        Mishap::Takeover,
        Mishap::Zombie,
        Mishap::Retry,
        Mishap::Repeated,
        Mishap::Held,
        Mishap::Restart,
        Mishap::Kill,
        Mishap::Pause,
    ];

    /// The word that reports show.
    pub fn text(self) -> &'static str {
        match self {
            Mishap::Nothing => "nothing",
            Mishap::Again => "again",
            Mishap::Takeover => "takeover",
            Mishap::Zombie => "zombie",
            Mishap::Retry => "retry",
            Mishap::Repeated => "repeated",
            Mishap::Held => "held",
            Mishap::Restart => "restart",
            Mishap::Kill => "kill",
            Mishap::Pause => "pause",
        }
    }

    /// What it is, in a few words.
    pub fn meaning(self) -> &'static str {
        match self {
            Mishap::Nothing => "nothing goes wrong",
            Mishap::Again => "the client crashes there and starts again",
            Mishap::Takeover => "the client crashes there and another instance takes over",
            Mishap::Zombie => "another instance takes over while the client lives and goes on",
            Mishap::Retry => "the client gets no answer and asks again",
            Mishap::Repeated => "the request arrives twice",
            Mishap::Held => "the request arrives five rounds later, after its retry",
            Mishap::Restart => "the broker is killed and started again",
            Mishap::Kill => "the broker is killed while the step is under way, and started again",
            Mishap::Pause => "the broker stands still while the step is under way, and goes on",
        }
    }

    /// Whether the client dies of it.
    pub fn kills_client(self) -> bool {
        matches!(self, Mishap::Again | Mishap::Takeover)
    }

    /// Whether something fails at the boundary, rather than being late or doubled.
    pub fn is_a_failure(self) -> bool {
        self.kills_client() || self == Mishap::Restart
    }

    /// What befalls the broker.
    pub(super) fn fault(self) -> Option<Fault> {
        match self {
            Mishap::Restart => Some(Fault::Restart),
            Mishap::Kill => Some(Fault::Kill),
            Mishap::Pause => Some(Fault::Pause),
            _ => None,
        }
    }

    /// Why a target cannot have it at a place, if so.
    fn obstacle(self, place: Place, features: Features) -> Option<&'static str> {
        let in_broker = matches!(place, Place::After(Stage::Unmarked | Stage::HalfMarked));
        let at_request = matches!(place, Place::Lost(_) | Place::Applied(_));
        let fault = if in_broker { Some(Fault::Restart) } else { self.fault() };
        if fault.is_some_and(|fault| !features.can(fault)) {
            Some(match features.restart {
                true => "this broker cannot stand still",
                false => "only a broker behind launch: or container: is killed or paused",
            })
        } else if at_request && !features.fates {
            Some("nothing can befall the requests of this client")
        } else {
            None
        }
    }
}

/// A plan with a mishap in it, and which of its steps tell that it happened.
#[derive(Clone, Debug)]
pub(super) struct Struck {
    pub(super) plan: Plan,
    /// The step with which the client is gone.
    pub(super) crash: Option<StepId>,
    /// The step with which somebody goes on.
    pub(super) open: Option<StepId>,
    /// The outsider that looks whether a transaction is complete.
    pub(super) outsider: Option<ClientId>,
}

/// What a mishap at a boundary comes to.
pub(super) enum Variant {
    /// It means nothing there.
    Meaningless,
    /// The target cannot have it, and why.
    Impossible(&'static str),
    /// This.
    Plan(Box<Struck>),
}

/// The plan in which a mishap strikes at a boundary.
pub(super) fn strike(
    base: &Plan,
    boundary: &Boundary,
    mishap: Mishap,
    features: Features,
) -> Variant {
    let Some(client) = base.client(boundary.client) else { return Variant::Meaningless };
    if !means_something(client, boundary, mishap) {
        return Variant::Meaningless;
    }
    let mut work = Work::new(base, client, boundary, mishap);
    work.before();
    work.strike();
    work.after();
    work.drain();
    let plan = work.plan.repaired();
    // A fate that a step cannot meet is refused by the rules of plans, so the step is gone.
    let kept = |id: &StepId| plan.steps().any(|step| step.id == *id);
    let complete = kept(&boundary.step) || matches!(boundary.place, Place::Nowhere | Place::Before);
    let crashed = work.crash.as_ref().is_none_or(kept) && work.open.as_ref().is_none_or(kept);
    if !complete || !crashed || plan.check().is_err() {
        return Variant::Meaningless;
    }
    if let Some(why) = mishap.obstacle(boundary.place, features) {
        return Variant::Impossible(why);
    }
    Variant::Plan(Box::new(Struck {
        plan,
        crash: work.crash,
        open: work.open,
        outsider: work.outsider,
    }))
}

fn means_something(client: &Client, boundary: &Boundary, mishap: Mishap) -> bool {
    match (boundary.place, mishap) {
        (Place::Nowhere, Mishap::Nothing) => true,
        (Place::Before, Mishap::Again | Mishap::Takeover) => boundary.open,
        (Place::Before, Mishap::Zombie) => boundary.open && client.txn().is_some(),
        (Place::Before, Mishap::Restart) => true,
        (Place::Before, Mishap::Kill | Mishap::Pause) => boundary.talks,
        (Place::Lost(Which::Preparation), Mishap::Retry | Mishap::Held) => true,
        (Place::Applied(Which::Preparation), Mishap::Retry | Mishap::Repeated) => true,
        (Place::Lost(Which::Main), Mishap::Retry | Mishap::Held) => true,
        (Place::Applied(Which::Main), Mishap::Retry | Mishap::Repeated) => true,
        (
            Place::Lost(Which::Main) | Place::Applied(Which::Main),
            Mishap::Again | Mishap::Takeover,
        ) => true,
        (Place::After(_), Mishap::Again | Mishap::Takeover | Mishap::Restart) => true,
        _ => false,
    }
}

/// A plan under construction.
struct Work<'a> {
    base: &'a Plan,
    boundary: &'a Boundary,
    mishap: Mishap,
    plan: Plan,
    /// The next round of the base plan.
    next: usize,
    steps: u32,
    tags: u32,
    crash: Option<StepId>,
    open: Option<StepId>,
    successor: ClientId,
    outsider: Option<ClientId>,
}

impl<'a> Work<'a> {
    fn new(base: &'a Plan, client: &Client, boundary: &'a Boundary, mishap: Mishap) -> Self {
        let all_tags = base.steps().flat_map(|step| tags(&step.op));
        let mut work = Work {
            base,
            boundary,
            mishap,
            plan: Plan { rounds: Vec::new(), ..base.clone() },
            next: 0,
            steps: base.steps().map(|step| step.id.0 + 1).max().unwrap_or(0),
            tags: all_tags.map(|tag| tag.0 + 1).max().unwrap_or(0),
            crash: None,
            open: None,
            successor: client.id,
            outsider: None,
        };
        if matches!(mishap, Mishap::Takeover | Mishap::Zombie) {
            let id = work.new_client();
            work.plan.clients.push(Client { id, ..client.clone() });
            work.successor = id;
        }
        work
    }

    /// The rounds up to the boundary.
    fn before(&mut self) {
        let boundary = self.boundary;
        if matches!(boundary.place, Place::After(Stage::HalfMarked | Stage::Complete)) {
            self.watch();
        }
        self.take(match boundary.place {
            Place::Nowhere | Place::Before => boundary.round,
            _ => boundary.round + 1,
        });
    }

    /// Takes rounds of the base plan as they are.
    fn take(&mut self, until: usize) {
        self.plan.rounds.extend(self.base.rounds[self.next..until].iter().cloned());
        self.next = until;
    }

    /// An outsider that can tell from its reads how far a commit is.
    fn watch(&mut self) {
        let id = self.new_client();
        let consumer = Consumer {
            group: GroupId(self.plan.groups().last().map_or(0, |group| group.0.saturating_add(1))),
            member: false,
            shared: false,
            inputs: self.boundary.written.partitions.iter().copied().collect(),
            isolation: Isolation::ReadCommitted,
            saving: Saving::AfterProcessing,
        };
        self.plan.clients.push(Client { id, delivery: None, consumer: Some(consumer) });
        self.outsider = Some(id);
        self.round(id, Op::Open);
    }

    fn strike(&mut self) {
        match (self.boundary.place, self.mishap) {
            (Place::Nowhere, _) => {}
            (Place::Before, Mishap::Restart) => self.restart(),
            (Place::Before, Mishap::Kill | Mishap::Pause) => {
                self.take(self.next + 1);
                if let (Some(round), Some(fault)) =
                    (self.plan.rounds.last_mut(), self.mishap.fault())
                {
                    round.faults.push(fault);
                }
            }
            (Place::Before, Mishap::Zombie) => {
                self.open = Some(self.round(self.successor, Op::Open));
                self.live_on();
            }
            (Place::Before, _) => self.die_and_go_on(),
            (Place::After(stage), mishap) => {
                self.look(stage);
                if stage != Stage::Complete || mishap == Mishap::Restart {
                    self.restart();
                }
                if mishap != Mishap::Restart {
                    self.die_and_go_on();
                }
            }
            (Place::Lost(which), Mishap::Held) => self.befall(which, HELD),
            (Place::Applied(which), Mishap::Repeated) => self.befall(which, Fate::Repeated),
            (Place::Lost(which), _) => self.befall(which, Fate::RequestLost),
            (Place::Applied(which), _) => self.befall(which, Fate::ReplyLost),
        }
        let at_request = matches!(self.boundary.place, Place::Lost(_) | Place::Applied(_));
        if at_request && self.mishap.kills_client() {
            let step = self.boundary.step;
            self.struck(|struck| struck.crash = true);
            self.crash = Some(step);
            self.open = Some(self.round(self.successor, Op::Open));
        }
    }

    fn die_and_go_on(&mut self) {
        let client = self.boundary.client;
        self.crash = Some(self.round(client, Op::Crash));
        self.open = Some(self.round(self.successor, Op::Open));
    }

    fn befall(&mut self, which: Which, fate: Fate) {
        self.struck(|struck| match which {
            Which::Preparation => struck.preparation = fate,
            Which::Main => struck.fate = fate,
        });
    }

    /// Lets the broker work, or makes sure that it is done.
    fn look(&mut self, stage: Stage) {
        let looks = match stage {
            Stage::Unmarked => 0,
            Stage::HalfMarked => 1,
            Stage::Complete => LOOKS,
        };
        if let Some(outsider) = self.outsider {
            for _ in 0..looks {
                self.round(outsider, Op::Poll { max: u8::MAX });
            }
        }
        if stage == Stage::Complete {
            self.round(self.boundary.client, Op::Rewind);
        }
    }

    /// The client does not know that it was replaced, and goes on to the end of its transaction.
    fn live_on(&mut self) {
        let client = self.boundary.client;
        let ends = |round: &Round| {
            let mut steps = round.steps.iter();
            steps.any(|step| step.client == client && matches!(step.op, Op::Commit | Op::Abort))
        };
        let rest = self.base.rounds.iter().skip(self.next);
        let whole = rest.clone().position(ends).map_or(0, |place| place + 1);
        self.take(self.next + whole);
    }

    /// The rest of the base plan, by whoever goes on.
    fn after(&mut self) {
        let (client, from) = (self.boundary.client, self.plan.rounds.len());
        self.take(self.base.rounds.len());
        let rest = self.plan.rounds[from..].iter_mut().flat_map(|round| &mut round.steps);
        for step in rest.filter(|step| step.client == client) {
            step.client = self.successor;
        }
    }

    /// A fresh instance of every loop reads on until its inputs are empty.
    fn drain(&mut self) {
        let mut lives = Lives::default();
        for step in self.plan.steps() {
            // What cannot be taken is dropped when the plan is repaired.
            let _ = lives.take(&self.plan, step);
        }
        let mut groups: Vec<GroupId> = Vec::new();
        let clients = self.plan.clients.clone();
        for client in clients.iter().rev().filter(|client| is_loop(client)) {
            let Some(consumer) = &client.consumer else { continue };
            let Some(to) = self.output_of(consumer.group) else { continue };
            if groups.contains(&consumer.group) {
                continue;
            }
            groups.push(consumer.group);
            for other in clients.iter().filter(|other| lives.of(other.id).is_some()) {
                if other.consumer.as_ref().is_some_and(|one| one.group == consumer.group) {
                    self.round(other.id, Op::Crash);
                }
            }
            self.round(client.id, Op::Open);
            for _ in 0..self.cycles(&consumer.inputs) {
                self.cycle(client.id, to);
            }
        }
    }

    fn cycle(&mut self, client: ClientId, to: Partition) {
        let tag = Tag(self.tags);
        self.tags += u32::from(DRAINED_AT_ONCE);
        self.round(client, Op::Poll { max: DRAINED_AT_ONCE });
        self.round(client, Op::Begin);
        self.round(client, Op::Forward { to, tag, limit: DRAINED_AT_ONCE });
        self.round(client, Op::SaveInTransaction);
        self.round(client, Op::Commit);
    }

    /// Where the loop of a group writes.
    fn output_of(&self, group: GroupId) -> Option<Partition> {
        self.base.steps().find_map(|step| match step.op {
            Op::Forward { to, .. } => {
                let consumer = self.base.client(step.client)?.consumer.as_ref()?;
                (consumer.group == group).then_some(to)
            }
            _ => None,
        })
    }

    /// How many cycles drain these inputs, whatever was read of them before, and two to spare: a
    /// fetch may bring less than there is.
    fn cycles(&self, inputs: &[Partition]) -> usize {
        let records = self.base.steps().map(|step| match &step.op {
            Op::Send { partition, .. } if inputs.contains(partition) => tags(&step.op).len(),
            Op::Forward { to, .. } if inputs.contains(to) => tags(&step.op).len(),
            _ => 0,
        });
        let records: usize = records.sum();
        (records.div_ceil(usize::from(DRAINED_AT_ONCE)) + 2).min(CYCLES_MAX)
    }

    fn restart(&mut self) {
        self.plan.rounds.push(Round { faults: vec![Fault::Restart], steps: Vec::new() });
    }

    /// A round of one step.
    fn round(&mut self, client: ClientId, op: Op) -> StepId {
        let id = StepId(self.steps);
        self.steps += 1;
        let steps = vec![step(id, client, op)];
        self.plan.rounds.push(Round { faults: Vec::new(), steps });
        id
    }

    fn struck(&mut self, change: impl FnOnce(&mut Step)) {
        let id = self.boundary.step;
        let mut steps = self.plan.rounds.iter_mut().flat_map(|round| &mut round.steps);
        if let Some(step) = steps.find(|step| step.id == id) {
            change(step);
        }
    }

    fn new_client(&self) -> ClientId {
        ClientId(self.plan.clients.iter().map(|client| client.id.0 + 1).max().unwrap_or(0))
    }
}
