//! What a bare loop costs: the requests of a case, sent again to the same cluster without a client, a recorder or a judge.
//! The benchmark compares cases with it, to tell what our own code adds.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use futures::future::BoxFuture;
use onceness_reference::plan::{Fault, Plan};
use onceness_reference::protocol::{Answer, Member, Request, Response, Session};

use super::Kafka;
use super::way::Way;
use crate::run::run;
use crate::transport::{Lane, TargetError, Transport};

/// The requests of one case, in the order in which they were sent, and what they brought.
#[derive(Debug)]
pub struct Trace {
    calls: Vec<(Lane, Request, Option<Response>)>,
}

impl Trace {
    /// How many requests there are.
    pub fn requests(&self) -> usize {
        self.calls.len()
    }
}

impl Kafka {
    /// Runs a plan and keeps its requests instead of its history.
    ///
    /// # Errors
    /// As [`crate::Adapter::run`].
    pub async fn trace(&self, plan: &Plan) -> Result<Trace, TargetError> {
        let way = self.way(None).await?;
        let tracing = Tracing { way, calls: Mutex::default() };
        run(&tracing, plan, String::new(), self.wrongs).await?;
        Ok(Trace { calls: tracing.calls.into_inner().unwrap_or_else(PoisonError::into_inner) })
    }

    /// Sends the requests of a trace, one after another, in a room of their own.
    ///
    /// # Errors
    /// As [`crate::Adapter::run`].
    pub async fn send_bare(&self, trace: &Trace) -> Result<(), TargetError> {
        let way = self.way(None).await?;
        let mut now = Now::default();
        for (lane, request, then) in &trace.calls {
            let answer = way.call(*lane, &now.instead_of(request)).await?;
            if let (Some(then), Ok(response)) = (then, answer) {
                now.learn(then, response);
            }
        }
        Ok(())
    }
}

/// A way that keeps what is sent on it.
struct Tracing {
    way: Way,
    calls: Mutex<Vec<(Lane, Request, Option<Response>)>>,
}

impl Transport for Tracing {
    async fn call(&self, lane: Lane, request: &Request) -> Result<Answer, TargetError> {
        let answer = self.way.call(lane, request).await?;
        let told =
            answer.as_ref().ok().filter(|told| !matches!(told, Response::Fetched(_))).cloned();
        self.calls.lock().unwrap_or_else(PoisonError::into_inner).push((
            lane,
            request.clone(),
            told,
        ));
        Ok(answer)
    }

    fn cut(&self, lane: Lane) {
        self.way.cut(lane);
    }

    async fn back_off(&self, retry: u32) -> bool {
        self.way.back_off(retry).await
    }

    async fn strike(&self, _: Fault, _: &(dyn Fn() + Sync)) -> Result<bool, TargetError> {
        Ok(false)
    }

    async fn overlap<'a>(&'a self, steps: Vec<BoxFuture<'a, ()>>) {
        self.way.overlap(steps).await;
    }
}

/// The sessions and memberships of this time, by those of the first time.
#[derive(Default)]
struct Now {
    sessions: BTreeMap<Session, Session>,
    members: BTreeMap<String, Member>,
}

impl Now {
    fn learn(&mut self, then: &Response, now: Response) {
        match (then, now) {
            (
                Response::Producer(then) | Response::Ended(then),
                Response::Producer(now) | Response::Ended(now),
            ) => {
                self.sessions.insert(*then, now);
            }
            (Response::Joined(then), Response::Joined(now)) => {
                self.members.insert(then.id.clone(), now);
            }
            _ => {}
        }
    }

    fn instead_of(&self, request: &Request) -> Request {
        let mut request = request.clone();
        match &mut request {
            Request::AddPartition { session, .. }
            | Request::AddGroup { session, .. }
            | Request::EndTxn { session, .. } => self.replace(session),
            Request::Produce { batch, .. } | Request::Malformed { batch, .. } => {
                if let Some(session) = &mut batch.session {
                    self.replace(session);
                }
            }
            Request::SaveInTxn { session, member, .. } => {
                self.replace(session);
                self.replace_member(member);
            }
            Request::Save { member, .. } => self.replace_member(member),
            _ => {}
        }
        request
    }

    fn replace(&self, session: &mut Session) {
        if let Some(now) = self.sessions.get(session) {
            *session = *now;
        }
    }

    fn replace_member(&self, member: &mut Option<Member>) {
        if let Some(now) = member.as_ref().and_then(|then| self.members.get(&then.id)) {
            *member = Some(now.clone());
        }
    }
}
