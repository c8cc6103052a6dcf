//! A node that the cases of a run share. Those that hurt it have it for themselves, so that what they see is explained by
//! their own plan; all others run many at once.

use std::sync::Arc;

use onceness_reference::plan::{Fault, Plan};
use tokio::sync::{RwLock, RwLockReadGuard, RwLockWriteGuard, watch};

use super::{Node, NodeError};
use crate::TargetError;

/// A node, shared. Who waits for it is let in in order.
#[derive(Debug)]
pub(crate) struct Host {
    node: Arc<dyn Node>,
    turn: RwLock<()>,
    condition: watch::Sender<Condition>,
}

/// How the node is, as far as its cases know.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Condition {
    Well,
    /// It keeps its connections and answers nothing.
    Paused,
    /// Nobody can connect.
    Down,
    /// It did not come back.
    Gone(NodeError),
}

/// A case's time with the node. Over when dropped.
pub(crate) enum Stay<'a> {
    /// With others.
    Shared { _turn: RwLockReadGuard<'a, ()> },
    /// Alone.
    Alone { _turn: RwLockWriteGuard<'a, ()> },
}

impl Host {
    pub(crate) fn new(node: Arc<dyn Node>) -> Self {
        Host { node, turn: RwLock::default(), condition: watch::Sender::new(Condition::Well) }
    }

    pub(crate) fn node(&self) -> &dyn Node {
        self.node.as_ref()
    }

    /// Waits until the node can be had: alone for a plan with faults.
    pub(crate) async fn enter(&self, plan: &Plan) -> Result<Stay<'_>, TargetError> {
        if plan.faults().next().is_none() {
            return self.share().await;
        }
        let stay = Stay::Alone { _turn: self.turn.write().await };
        self.mend().await?;
        Ok(stay)
    }

    /// Waits until the node is not hurt.
    pub(crate) async fn share(&self) -> Result<Stay<'_>, TargetError> {
        let stay = Stay::Shared { _turn: self.turn.read().await };
        self.mend().await?;
        Ok(stay)
    }

    /// Waits while nobody can connect.
    pub(crate) async fn reachable(&self) -> Result<(), TargetError> {
        let mut condition = self.condition.subscribe();
        // The sender lives as long as we do.
        let condition = condition.wait_for(|condition| *condition != Condition::Down).await;
        match condition.as_deref() {
            Ok(Condition::Gone(error)) => Err(error.clone().into()),
            _ => Ok(()),
        }
    }

    /// Hurts the node, tells `struck` at that moment, and returns when it answers again. For who has it alone.
    pub(crate) async fn strike(
        &self,
        fault: Fault,
        struck: &(dyn Fn() + Sync),
    ) -> Result<(), TargetError> {
        let done = match fault {
            Fault::Restart | Fault::Kill => {
                self.condition.send_replace(Condition::Down);
                let killed = self.node.kill().await;
                struck();
                match killed {
                    Ok(()) => self.node.start().await,
                    Err(error) => Err(error),
                }
            }
            Fault::Pause => {
                self.condition.send_replace(Condition::Paused);
                let paused = self.node.pause().await;
                struck();
                if paused.is_ok() {
                    tokio::time::sleep(self.node.pause_time()).await;
                }
                paused.and(self.node.resume().await)
            }
        };
        self.note(done)
    }

    /// A case that was given up in the middle may have left the node as it was then.
    async fn mend(&self) -> Result<(), TargetError> {
        let condition = self.condition.borrow().clone();
        match condition {
            Condition::Well => Ok(()),
            Condition::Gone(error) => Err(error.into()),
            Condition::Paused | Condition::Down => self.note(self.node.start().await),
        }
    }

    fn note(&self, done: Result<(), NodeError>) -> Result<(), TargetError> {
        let condition = match &done {
            Ok(()) => Condition::Well,
            Err(error) => Condition::Gone(error.clone()),
        };
        self.condition.send_replace(condition);
        done.map_err(TargetError::from)
    }

    /// Why a case failed: the node itself may have a better answer than who asked it.
    pub(crate) async fn explain(&self, error: TargetError) -> TargetError {
        match self.node.check().await {
            Ok(()) => error,
            Err(ended) => ended.into(),
        }
    }

    /// Cleans up unless all is temporary anyway, and ends the node.
    pub(crate) async fn close(
        &self,
        clean: impl Future<Output = Result<(), TargetError>>,
    ) -> Result<(), TargetError> {
        let _alone = self.turn.write().await;
        let mut cleaned = Ok(());
        if !self.node.is_temporary() {
            cleaned = self.mend().await;
            if cleaned.is_ok() {
                cleaned = clean.await;
            }
        }
        let stopped = self.node.stop().await;
        cleaned.and(stopped.map_err(TargetError::from))
    }
}
