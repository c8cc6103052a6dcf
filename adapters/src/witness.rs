//! The witness: writes down every request and answer on its way past, whoever asks.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use futures::future::BoxFuture;
use onceness_reference::exchanges::Exchange;
use onceness_reference::ids::{GroupId, Partition};
use onceness_reference::plan::Fault;
use onceness_reference::protocol::{Answer, Request};

use crate::record::Recorder;
use crate::transport::{Lane, TargetError, Transport};

/// A transport that is watched.
pub(crate) struct Witness<'a, T> {
    transport: &'a T,
    recorder: &'a Recorder,
    exchanges: Mutex<Vec<Exchange>>,
}

impl<'a, T> Witness<'a, T> {
    pub(crate) fn new(transport: &'a T, recorder: &'a Recorder) -> Self {
        Witness { transport, recorder, exchanges: Mutex::default() }
    }

    /// All that was written down. What comes later goes nowhere.
    pub(crate) fn take(&self) -> Vec<Exchange> {
        std::mem::take(&mut *self.exchanges.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn note(&self, exchange: Exchange) -> u32 {
        let mut exchanges = self.exchanges.lock().unwrap_or_else(PoisonError::into_inner);
        exchanges.push(exchange);
        exchanges.len() as u32 - 1
    }
}

impl<T: Transport> Transport for Witness<'_, T> {
    async fn call(&self, lane: Lane, request: &Request) -> Result<Answer, TargetError> {
        let after = self.recorder.last();
        let of = self.note(Exchange::Asked { after, lane, request: request.clone() });
        let answer = self.transport.call(lane, request).await;
        self.note(match &answer {
            Ok(answer) => Exchange::Answered { of, answer: answer.clone() },
            Err(_) => Exchange::Unanswered { of },
        });
        answer
    }

    fn cut(&self, lane: Lane) {
        self.note(Exchange::Cut { lane });
        self.transport.cut(lane);
    }

    async fn back_off(&self, retry: u32) -> bool {
        self.transport.back_off(retry).await
    }

    async fn strike(&self, fault: Fault, struck: &(dyn Fn() + Sync)) -> Result<bool, TargetError> {
        let witnessed = || {
            self.note(match fault {
                Fault::Restart | Fault::Kill => Exchange::Restarted,
                Fault::Pause => Exchange::Paused,
            });
            struck();
        };
        self.transport.strike(fault, &witnessed).await
    }

    fn unmarked(&self) -> Option<(BTreeSet<Partition>, BTreeSet<GroupId>)> {
        self.transport.unmarked()
    }

    async fn overlap<'a>(&'a self, steps: Vec<BoxFuture<'a, ()>>) {
        self.transport.overlap(steps).await;
    }
}
