//! The embedded broker: the model in process. No sockets, and the requests of overlapping steps interleave under a seeded
//! scheduler, so the same plan always gives the same history.

use std::collections::BTreeSet;
use std::pin::Pin;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use futures::future::BoxFuture;
use onceness_reference::broker::Broker;
use onceness_reference::features::Features;
use onceness_reference::history::History;
use onceness_reference::ids::{GroupId, Partition};
use onceness_reference::plan::{Fault, Plan};
use onceness_reference::protocol::{Answer, Request};
use onceness_reference::rules::Rules;
use onceness_reference::wrongs::client::ClientWrongs;

use crate::Adapter;
use crate::run::run;
use crate::transport::{Lane, TargetError, Transport};

/// How often a request that is refused for the moment is tried again before a client gives up.
const PATIENCE: u32 = 64;

/// A kill comes after at most so many turns of its own in a round.
const KILLED_WITHIN: u32 = 6;

/// The model as a target: every [`Rules`] value is a possible broker.
#[derive(Debug)]
pub struct Memory {
    rules: Rules,
    name: String,
    wrongs: ClientWrongs,
}

impl Memory {
    /// A broker by these rules, under a name for people.
    pub fn new(rules: Rules, name: String) -> Self {
        Memory { rules, name, wrongs: ClientWrongs::default() }
    }

    /// The same, driven by clients that are wrong so.
    #[must_use]
    pub fn driven_by(self, wrongs: ClientWrongs) -> Self {
        Memory { wrongs, ..self }
    }
}

impl Adapter for Memory {
    fn describe(&self) -> String {
        self.name.clone()
    }

    fn features(&self) -> Features {
        Features::EMBEDDED
    }

    fn prepare(&self, _cases: usize) -> BoxFuture<'_, Result<(), TargetError>> {
        Box::pin(async { Ok(()) })
    }

    fn run<'a>(&'a self, plan: &'a Plan) -> BoxFuture<'a, Result<History, TargetError>> {
        Box::pin(async {
            let way = Way::new(self.rules, plan);
            run(&way, plan, self.name.clone(), self.wrongs).await
        })
    }

    fn clean(&self) -> BoxFuture<'_, Result<(), TargetError>> {
        Box::pin(async { Ok(()) })
    }
}

/// The way to one broker in process.
struct Way {
    state: Mutex<State>,
}

struct State {
    broker: Broker,
    dice: fastrand::Rng,
    /// A kill is to come in this round.
    doomed: bool,
    /// How often the broker was killed.
    kills: u32,
    /// Where markers were yet to be written when it last went down.
    unmarked: (BTreeSet<Partition>, BTreeSet<GroupId>),
}

impl Way {
    fn new(rules: Rules, plan: &Plan) -> Self {
        let state = State {
            broker: Broker::new(rules, plan.partitions),
            dice: fastrand::Rng::with_seed(plan.schedule),
            doomed: false,
            kills: 0,
            unmarked: Default::default(),
        };
        Way { state: Mutex::new(state) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// The broker does one piece of its own work, if it has any.
    fn go_on(&mut self) {
        let work = self.broker.work();
        if work > 0 {
            self.broker.go_on(self.dice.usize(0..work));
        }
    }
}

impl Transport for Way {
    /// A kill finds a request on its way to the broker, or its answer on the way back; either is lost with the connection.
    async fn call(&self, lane: Lane, request: &Request) -> Result<Answer, TargetError> {
        let kills = self.state().kills;
        if lane != Lane::Rig {
            Turn::default().await;
        }
        let (answer, doomed) = {
            let mut state = self.state();
            if state.kills != kills {
                return Err(broken());
            }
            if state.broker.work() > 0 && state.dice.bool() {
                state.go_on();
            }
            (state.broker.handle(request), state.doomed)
        };
        if doomed {
            Turn::default().await;
        }
        if self.state().kills != kills {
            return Err(broken());
        }
        Ok(answer)
    }

    fn cut(&self, _lane: Lane) {}

    async fn back_off(&self, retry: u32) -> bool {
        self.state().go_on();
        retry < PATIENCE
    }

    async fn strike(&self, fault: Fault, struck: &(dyn Fn() + Sync)) -> Result<bool, TargetError> {
        match fault {
            Fault::Restart => {}
            Fault::Kill => {
                let turns = {
                    let mut state = self.state();
                    state.doomed = true;
                    state.dice.u32(0..=KILLED_WITHIN)
                };
                for _ in 0..turns {
                    Turn::default().await;
                }
                let mut state = self.state();
                state.doomed = false;
                state.kills += 1;
            }
            Fault::Pause => return Ok(false),
        }
        {
            let mut state = self.state();
            // Afterwards those that stand already are owed once more.
            state.unmarked = state.broker.unmarked();
            state.broker.restart();
        }
        struck();
        Ok(true)
    }

    fn unmarked(&self) -> Option<(BTreeSet<Partition>, BTreeSet<GroupId>)> {
        Some(self.state().unmarked.clone())
    }

    /// Lets one future after another take a turn, by the dice. Nothing here waits for anything outside, so this never does.
    async fn overlap<'a>(&'a self, mut steps: Vec<BoxFuture<'a, ()>>) {
        while steps.is_empty() && self.state().broker.work() > 0 {
            self.state().go_on();
        }
        let mut context = Context::from_waker(Waker::noop());
        while !steps.is_empty() {
            let turn = match steps.len() {
                1 => 0,
                several => self.state().dice.usize(0..several),
            };
            if steps[turn].as_mut().poll(&mut context).is_ready() {
                drop(steps.swap_remove(turn));
            }
        }
    }
}

fn broken() -> TargetError {
    TargetError {
        address: "the embedded broker".to_owned(),
        request: String::new(),
        reason: "the connection broke: the broker was killed".to_owned(),
    }
}

/// Pending once: here the scheduler may let another step go first.
#[derive(Default)]
struct Turn {
    taken: bool,
}

impl Future for Turn {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if self.taken {
            return Poll::Ready(());
        }
        self.taken = true;
        context.waker().wake_by_ref();
        Poll::Pending
    }
}
