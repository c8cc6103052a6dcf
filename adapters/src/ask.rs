//! One request of a client, from its first copy on the way to what the client knows in the end: where fates strike, and
//! where a client retries.

use std::sync::{Mutex, PoisonError};

use onceness_reference::code::Code;
use onceness_reference::history::{Call, Event, Outcome, Reply};
use onceness_reference::ids::EventId;
use onceness_reference::plan::{Fate, Step};
use onceness_reference::protocol::{Answer, Request, Response};

use crate::codes::{Class, class};
use crate::record::Recorder;
use crate::transport::{Lane, TargetError, Transport};
use crate::views::Views;

/// A client gives up a request whose connection fails this often.
const FAILURES_MAX: u32 = 2;

/// What a client's requests travel on, and where what happens to them is written down.
pub(crate) struct Wire<'a, T> {
    pub(crate) transport: &'a T,
    pub(crate) recorder: &'a Recorder,
    pub(crate) held: &'a Mutex<Vec<Held>>,
    pub(crate) views: &'a Views,
    pub(crate) round: usize,
}

/// A request that the network holds.
pub(crate) struct Held {
    pub(crate) due: usize,
    pub(crate) of: EventId,
    pub(crate) preparation: bool,
    pub(crate) fate: Fate,
    pub(crate) request: Request,
}

impl<T> Wire<'_, T> {
    pub(crate) fn record(&self, event: Event) -> EventId {
        self.recorder.record(event)
    }

    pub(crate) fn call(&self, step: &Step, call: Call) -> EventId {
        self.record(Event::Call { step: step.id, client: step.client, call })
    }
}

/// What the client knows in the end.
#[derive(Clone, Debug)]
pub(crate) enum Known {
    /// It happened.
    Done(Response),
    /// It did not and will not. Set if the session is refused for good.
    Refused(Code, bool),
    /// It may have, or may yet.
    Unknown,
}

impl Known {
    pub(crate) fn is_fenced(&self) -> bool {
        matches!(self, Known::Refused(_, true))
    }
}

/// One request on its way.
pub(crate) struct Ask {
    lane: Lane,
    of: EventId,
    fate: Fate,
    preparation: bool,
    crash: bool,
    retries: bool,
    /// A copy may have taken effect, or may yet, that the client knows nothing of.
    doubt: bool,
    copies: u32,
    failures: u32,
    /// The last refusal was one that passes.
    waiting: Option<Code>,
    /// The last answer left open whether the request was carried out.
    unsure: bool,
    known: Option<Known>,
}

impl Ask {
    pub(crate) fn new(lane: Lane, of: EventId, fate: Fate) -> Self {
        Ask {
            lane,
            of,
            fate,
            preparation: false,
            crash: false,
            retries: true,
            doubt: false,
            copies: 0,
            failures: 0,
            waiting: None,
            unsure: false,
            known: None,
        }
    }

    pub(crate) fn meeting(self, fate: Fate) -> Self {
        Ask { fate, ..self }
    }

    pub(crate) fn preparing(self) -> Self {
        Ask { preparation: true, ..self }
    }

    pub(crate) fn crashing(self, crash: bool) -> Self {
        Ask { crash, ..self }
    }

    pub(crate) fn retrying(self, retries: bool) -> Self {
        Ask { retries, ..self }
    }

    /// Sends the request, and again as the client's delivery says, until it knows.
    pub(crate) async fn send<T: Transport>(
        mut self,
        wire: &Wire<'_, T>,
        request: &Request,
    ) -> Known {
        self.first_copy(wire, request).await;
        self.settle(wire, request).await
    }

    /// The first copy meets its fate.
    pub(crate) async fn first_copy<T: Transport>(&mut self, wire: &Wire<'_, T>, request: &Request) {
        match self.fate {
            Fate::Delivered => self.deliver(wire, request).await,
            Fate::RequestLost => self.tell(wire, Outcome::Unknown),
            Fate::Busy => {
                let code = busy(request);
                self.waiting = Some(code);
                self.tell(wire, Outcome::Refused(code));
            }
            Fate::ReplyLost => {
                let answer = wire.transport.call(self.lane, request).await;
                let outcome = outcome(request, &answer);
                self.doubt |= !matches!(outcome, Outcome::Refused(_));
                self.tell(wire, outcome);
            }
            Fate::Repeated => {
                self.deliver(wire, request).await;
                let again = wire.transport.call(self.lane, request).await;
                let outcome = outcome(request, &again);
                self.doubt |= !matches!(outcome, Outcome::Refused(_));
                self.tell(wire, outcome);
            }
            Fate::Held { rounds } => {
                self.doubt = true;
                let held = Held {
                    due: wire.round + usize::from(rounds),
                    of: self.of,
                    preparation: self.preparation,
                    fate: self.fate,
                    request: request.clone(),
                };
                wire.held.lock().unwrap_or_else(PoisonError::into_inner).push(held);
            }
        }
        self.copies += 1;
    }

    /// Whether the client still waits for an answer.
    pub(crate) fn is_open(&self) -> bool {
        self.known.is_none()
    }

    /// Whether the last refusal was one that passes.
    pub(crate) fn is_put_off(&self) -> bool {
        self.waiting.is_some()
    }

    /// Another batch of the same producer before this one got lost: then "out of order" only means to send it again.
    pub(crate) fn reconsider_order(&mut self) {
        let out_of_order = Code::OUT_OF_ORDER_SEQUENCE_NUMBER;
        if matches!(self.known, Some(Known::Refused(code, _)) if code == out_of_order) {
            self.known = None;
        }
    }

    /// Sends more copies until the client knows, or gives up.
    pub(crate) async fn settle<T: Transport>(
        &mut self,
        wire: &Wire<'_, T>,
        request: &Request,
    ) -> Known {
        if self.crash {
            return Known::Unknown;
        }
        let mut waits = 0;
        loop {
            match self.known.take() {
                Some(Known::Refused(..)) if self.doubt => return Known::Unknown,
                Some(known) => return known,
                None if !self.retries || self.failures >= FAILURES_MAX => return Known::Unknown,
                None => {}
            }
            if self.waiting.is_some() || self.unsure || self.failures > 0 {
                waits += 1;
                if !wire.transport.back_off(waits).await {
                    return match self.waiting {
                        Some(code) if !self.doubt => Known::Refused(code, false),
                        _ => Known::Unknown,
                    };
                }
            }
            self.deliver(wire, request).await;
            self.copies += 1;
        }
    }

    async fn deliver<T: Transport>(&mut self, wire: &Wire<'_, T>, request: &Request) {
        (self.waiting, self.unsure) = (None, false);
        let answer = wire.transport.call(self.lane, request).await;
        let outcome = outcome(request, &answer);
        let mut failed = false;
        match answer {
            Ok(Ok(response)) => self.known = Some(Known::Done(response)),
            Ok(Err(code)) => match class(request, code) {
                // Not applied, and says nothing: not worth a line in the history, unless others may overtake it meanwhile.
                Class::Transient => {
                    self.waiting = Some(code);
                    if self.copies == 0 && matches!(request, Request::Produce { .. }) {
                        self.tell(wire, outcome);
                    }
                    return;
                }
                Class::Indeterminate => (self.doubt, self.unsure, failed) = (true, true, true),
                Class::Refused => self.known = Some(Known::Refused(code, false)),
                Class::Fenced => self.known = Some(Known::Refused(code, true)),
            },
            Err(_) => {
                self.doubt = true;
                self.failures += 1;
                failed = true;
            }
        }
        // Of a first copy that may have been carried out all must know, as of any later one.
        if failed || self.copies > 0 || self.fate != Fate::Delivered {
            self.tell(wire, outcome);
        }
    }

    fn tell<T: Transport>(&self, wire: &Wire<'_, T>, outcome: Outcome) {
        let fate = if self.copies == 0 { self.fate } else { Fate::Delivered };
        wire.record(Event::Answer { of: self.of, preparation: self.preparation, fate, outcome });
    }
}

/// What a broker says that cannot now: the proxy's words for stock clients, at the API that each request becomes.
fn busy(request: &Request) -> Code {
    match request {
        Request::Produce { .. } | Request::Malformed { .. } => Code::NOT_ENOUGH_REPLICAS,
        Request::AddPartition { .. } | Request::AddGroup { .. } => Code::CONCURRENT_TRANSACTIONS,
        _ => Code::COORDINATOR_LOAD_IN_PROGRESS,
    }
}

/// What the rig saw of an answer.
pub(crate) fn outcome(request: &Request, answer: &Result<Answer, TargetError>) -> Outcome {
    match answer {
        Ok(Ok(Response::Appended(base))) => Outcome::Done(Reply::Appended { base: *base }),
        Ok(Ok(Response::Producer(session))) => Outcome::Done(Reply::Opened {
            session: Some((session.producer, session.epoch)),
            positions: Vec::new(),
        }),
        // The frame was sent; no answer will tell more.
        Ok(Ok(_)) if matches!(request, Request::Produce { acks: false, .. }) => Outcome::Unknown,
        Ok(Ok(_)) => Outcome::Done(Reply::Nothing),
        Ok(Err(code)) if class(request, *code) == Class::Indeterminate => Outcome::Unknown,
        Ok(Err(code)) => Outcome::Refused(*code),
        Err(_) => Outcome::Unknown,
    }
}
