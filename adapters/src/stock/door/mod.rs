//! The door of one life of a client: all that its librdkafka says to the cluster passes through a proxy of its own. Here its
//! requests meet the fates of the plan, and what came of each goes into the history, in the moment in which it is seen.
//!
//! A step's fate befalls the first request of the kind that carries the step out; what librdkafka sends after that, its
//! retries among it, passes. When a life ends its door closes, so that nothing is said any more in its name, save what the
//! door still holds.

mod frame;

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures::future::join_all;
use kafka_protocol::messages::ApiKey;
use onceness_reference::history::{Event, Outcome};
use onceness_reference::ids::{EventId, Tag};
use onceness_reference::plan::{Fate, Op, Step};
use tokio::sync::Notify;

use crate::TargetError;
use crate::proxy::{ConnectionId, CopyNumber, Exchange, HeldId, Owner, Proxy, Sentence, Start};
use crate::record::Recorder;

/// The tag of a request for a session that nothing befalls.
const SESSION: u64 = u64::MAX - 1;
/// The tag of what is lost because the client is gone.
const GONE: u64 = u64::MAX;

/// A proxy for one life of one client.
pub(super) struct Door {
    proxy: Proxy,
    keeper: Arc<Keeper>,
}

/// What befalls the requests of a step, and which calls they carry out.
pub(super) struct Errand {
    main: Ordeal,
    preparation: Ordeal,
    calls: Calls,
    /// Nobody waits for answers, so the door has to tell when its requests have left.
    unanswered: bool,
    /// The client is gone once its request met its fate.
    crash: bool,
    round: usize,
}

/// What the requests of a step carry out.
#[derive(Clone, Debug)]
pub(super) enum Calls {
    /// One call, whatever is in the request.
    One(EventId),
    /// A call for each record.
    Records(Vec<(Tag, EventId)>),
}

/// A kind of request, and the fate of the next one.
struct Ordeal {
    api: Option<ApiKey>,
    fate: Fate,
}

/// Decides of each request, and tells the history what came of it.
struct Keeper {
    recorder: Arc<Recorder>,
    topic: String,
    state: Mutex<State>,
    bell: Notify,
}

#[derive(Default)]
struct State {
    /// The errands of this life; only the last can still meet requests.
    errands: Vec<Task>,
    /// The session that the client was given last.
    session: Option<(i64, i16)>,
    /// The client is gone: nothing passes.
    gone: bool,
    /// What is held, and the round in which it is due.
    held: Vec<(usize, HeldId)>,
}

struct Task {
    errand: Errand,
    /// The client still waits for what it asked.
    open: bool,
    met: Met,
}

/// What the requests of an errand met so far.
#[derive(Default)]
struct Met {
    main: bool,
    preparation: bool,
    /// The main request's first copy is through with its fate.
    over: bool,
    /// The calls of requests that something befell.
    calls: BTreeSet<EventId>,
    /// The calls of requests that nobody waits for and that have left.
    left: BTreeSet<EventId>,
    /// A copy may have been carried out, or may yet, that the client knows nothing of.
    doubt: bool,
}

impl Door {
    /// Opens a door to the cluster at those addresses.
    pub(super) async fn open(
        brokers: &[String],
        topic: &str,
        recorder: &Arc<Recorder>,
    ) -> Result<Door, TargetError> {
        let keeper = Arc::new(Keeper {
            recorder: recorder.clone(),
            topic: topic.to_owned(),
            state: Mutex::default(),
            bell: Notify::new(),
        });
        let proxy = Proxy::listen(brokers, "127.0.0.1:0", keeper.clone()).await?;
        Ok(Door { proxy, keeper })
    }

    /// Where the client is to connect.
    pub(super) fn address(&self) -> String {
        self.proxy.address().to_string()
    }

    /// What the client asks from now on is this errand.
    pub(super) fn begin(&self, errand: Errand) {
        let task = Task { errand, open: true, met: Met::default() };
        self.keeper.state().errands.push(task);
    }

    /// The client waits no more for what it asked.
    pub(super) fn end(&self) {
        if let Some(task) = self.keeper.state().errands.last_mut() {
            task.open = false;
        }
    }

    /// Waits until the request that carries the errand out has met its fate.
    pub(super) async fn struck(&self) {
        self.until(|task| task.met.over).await;
    }

    /// Waits until the requests of these calls have left, for who waits for no answer.
    pub(super) async fn left(&self, calls: &[EventId]) {
        self.until(|task| calls.iter().all(|of| task.met.left.contains(of))).await;
    }

    async fn until(&self, mut reached: impl FnMut(&Task) -> bool) {
        loop {
            // Registered before the state is read, or a change between the two would be missed.
            let bell = self.keeper.bell.notified();
            tokio::pin!(bell);
            bell.as_mut().enable();
            if self.keeper.state().errands.last().is_some_and(&mut reached) {
                return;
            }
            bell.await;
        }
    }

    /// What the client knows of a call of the last errand, after what its requests met. Who waits for answers may have sent it
    /// again.
    pub(super) fn known(&self, of: EventId, outcome: Outcome) -> Outcome {
        let (doubt, resends) = {
            let state = self.keeper.state();
            let task = state.errands.last();
            let resends = |task: &Task| task.met.calls.contains(&of) && !task.errand.unanswered;
            (task.is_some_and(|task| task.met.doubt), task.is_some_and(resends) && !state.gone)
        };
        match outcome {
            Outcome::Refused(_) if doubt => Outcome::Unknown,
            Outcome::Unknown if resends => {
                // What befell the first copy is told; of the others nobody knows.
                let (preparation, fate) = (false, Fate::Delivered);
                let outcome = Outcome::Unknown;
                self.keeper.recorder.record(Event::Answer { of, preparation, fate, outcome });
                Outcome::Unknown
            }
            outcome => outcome,
        }
    }

    /// The producer id and epoch that the client was given last.
    pub(super) fn session(&self) -> Option<(i64, i16)> {
        self.keeper.state().session
    }

    /// Whether the client asked for nothing yet that is to meet a fate.
    pub(super) fn is_waiting(&self) -> bool {
        let state = self.keeper.state();
        let task = state.errands.last();
        task.is_some_and(|task| task.open && !task.met.over && task.errand.is_special())
    }

    /// The client is gone: its connections are cut, and nothing passes any more.
    pub(super) fn close(&self) {
        self.keeper.state().gone = true;
        self.proxy.close();
    }

    /// What is held and due arrives.
    pub(super) async fn release(&self, round: usize) {
        let due: Vec<HeldId> = {
            let mut state = self.keeper.state();
            let (due, later) = state.held.drain(..).partition(|(due, _)| *due <= round);
            state.held = later;
            let due: Vec<(usize, HeldId)> = due;
            due.into_iter().map(|(_, held)| held).collect()
        };
        join_all(due.into_iter().map(|held| self.proxy.release(held))).await;
    }

    /// Holds up all that the client says and hears, as if it were paused, until [`Door::resume`].
    pub(super) fn stall(&self) {
        self.proxy.stall();
    }

    /// Lets it go on.
    pub(super) fn resume(&self) {
        self.proxy.resume();
    }
}

impl Errand {
    /// What a step asks for, in its round.
    pub(super) fn of(step: &Step, calls: Calls, round: usize) -> Errand {
        let (main, preparation) = match step.op {
            Op::Open => (Some(ApiKey::InitProducerId), None),
            Op::Send { .. } | Op::Forward { .. } => {
                (Some(ApiKey::Produce), Some(ApiKey::AddPartitionsToTxn))
            }
            Op::Commit | Op::Abort => (Some(ApiKey::EndTxn), None),
            Op::Save => (Some(ApiKey::OffsetCommit), None),
            Op::SaveInTransaction => (Some(ApiKey::TxnOffsetCommit), Some(ApiKey::AddOffsetsToTxn)),
            _ => (None, None),
        };
        Errand {
            main: Ordeal { api: main, fate: step.fate },
            preparation: Ordeal { api: preparation, fate: step.preparation },
            calls,
            unanswered: false,
            crash: step.crash,
            round,
        }
    }

    /// The same where nobody waits for answers.
    pub(super) fn unanswered(self) -> Errand {
        Errand { unanswered: true, ..self }
    }

    /// Whether the client crashes over it.
    pub(super) fn crashes(&self) -> bool {
        self.crash
    }

    /// Whether the request that carries it out meets anything.
    fn is_special(&self) -> bool {
        self.crash || !self.main.fate.is_delivered()
    }

    /// What the main request meets. Of one that its client does not survive the answer is not seen.
    fn main_fate(&self) -> Fate {
        match self.main.fate {
            Fate::Delivered if self.crash => Fate::ReplyLost,
            fate => fate,
        }
    }
}

impl Ordeal {
    fn fits(&self, request: &Start) -> bool {
        self.api.is_some_and(|api| api as i16 == request.api)
    }
}

impl Task {
    /// What that request meets, and whether it only prepares the errand.
    fn meets(&mut self, request: &Start) -> Option<(Fate, bool)> {
        if !self.open {
            return None;
        }
        let errand = &self.errand;
        if !self.met.main && errand.is_special() && errand.main.fits(request) {
            self.met.main = true;
            return Some((errand.main_fate(), false));
        }
        let prepares = !errand.preparation.fate.is_delivered();
        if !self.met.preparation && prepares && errand.preparation.fits(request) {
            self.met.preparation = true;
            return Some((errand.preparation.fate, true));
        }
        // Nothing befalls it here, but what the broker itself does with it is to be known.
        errand.main.fits(request).then_some((Fate::Delivered, false))
    }
}

impl Keeper {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Owner for Keeper {
    fn decide(&self, _: ConnectionId, request: &Start) -> Option<Sentence> {
        let mut state = self.state();
        if state.gone {
            return Some(Sentence { fate: Fate::RequestLost, code: None, tag: GONE });
        }
        let place = state.errands.len().checked_sub(1)?;
        let task = &mut state.errands[place];
        let Some((fate, preparation)) = task.meets(request) else {
            let opens = request.api == ApiKey::InitProducerId as i16;
            return opens.then_some(Sentence { fate: Fate::Delivered, code: None, tag: SESSION });
        };
        let dies = task.errand.crash && !preparation;
        state.gone |= dies;
        Some(Sentence { fate, code: None, tag: tag(place, preparation) })
    }

    fn saw(&self, exchange: Exchange) {
        let mut state = self.state();
        let is_told = matches!(exchange.fate, Fate::Delivered | Fate::Repeated);
        if is_told && exchange.copy == CopyNumber::First {
            state.session = exchange.session().or(state.session);
        }
        let Some((place, preparation)) = place(exchange.tag) else { return };
        let round = state.errands[place].errand.round;
        if let (Some(held), Fate::Held { rounds }) = (exchange.held, exchange.fate)
            && exchange.copy == CopyNumber::First
        {
            state.held.push((round + usize::from(rounds), held));
        }
        let Task { errand, met, .. } = &mut state.errands[place];
        let calls = frame::calls(&exchange, &errand.calls, &self.topic);
        let first = exchange.copy == CopyNumber::First;
        let is_held = first && exchange.held.is_some();
        for (of, record) in calls {
            met.left.insert(of);
            let outcome = frame::outcome(&exchange, record);
            // Nothing befell it, and the client is told the same.
            let is_plain = exchange.fate == Fate::Delivered;
            if is_plain && (errand.unanswered || matches!(outcome, Outcome::Done(_))) {
                continue;
            }
            met.calls.insert(of);
            let lost = exchange.fate == Fate::RequestLost || exchange.fate == Fate::Busy;
            met.doubt |= is_held || !(lost || matches!(outcome, Outcome::Refused(_)));
            if !is_held {
                let fate = exchange.fate;
                self.recorder.record(Event::Answer { of, preparation, fate, outcome });
            }
        }
        met.over |= first && !preparation && met.main;
        drop(state);
        self.bell.notify_waiters();
    }

    /// A connection that broke: what was under way on it may have been carried out.
    fn trouble(&self, _: ConnectionId, _: &str) {
        if let Some(task) = self.state().errands.last_mut().filter(|task| task.open) {
            task.met.doubt = true;
        }
    }
}

fn tag(place: usize, preparation: bool) -> u64 {
    (place as u64) << 1 | u64::from(preparation)
}

fn place(tag: u64) -> Option<(usize, bool)> {
    (tag < SESSION).then_some(((tag >> 1) as usize, tag & 1 == 1))
}
