//! librdkafka's mock cluster, in process: a broker that is known to break most promises, and so shows that they are tested.
//!
//! It lives on a thread of its own, for it cannot move between threads.

use std::sync::mpsc;
use std::thread::{self, JoinHandle};

use rdkafka::mocking::MockCluster;

use crate::TargetError;

/// More than one, so that leaders and coordinators are not all the same.
const BROKERS: i32 = 3;

/// A mock cluster. It ends when dropped.
pub(super) struct Mock {
    /// Closed to end it.
    ends: Option<mpsc::Sender<()>>,
    thread: Option<JoinHandle<()>>,
    bootstrap: String,
}

impl Mock {
    /// Starts one. Blocks, briefly.
    pub(super) fn start() -> Result<Mock, TargetError> {
        let (tells, told) = mpsc::channel();
        let (ends, end) = mpsc::channel();
        let thread = thread::spawn(move || match MockCluster::new(BROKERS) {
            Ok(cluster) => {
                let _ = tells.send(Ok(cluster.bootstrap_servers()));
                // Until the sender is dropped.
                let _ = end.recv();
            }
            Err(error) => {
                let _ = tells.send(Err(error.to_string()));
            }
        });
        let error = |reason| TargetError {
            address: "mock".to_owned(),
            request: "starting the mock cluster".to_owned(),
            reason,
        };
        let bootstrap = told.recv().unwrap_or_else(|_| Err("its thread ended".to_owned()));
        let bootstrap = bootstrap.map_err(error)?;
        Ok(Mock { ends: Some(ends), thread: Some(thread), bootstrap })
    }

    /// Where it can be reached.
    pub(super) fn bootstrap(&self) -> &str {
        &self.bootstrap
    }
}

impl Drop for Mock {
    fn drop(&mut self) {
        self.ends = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
