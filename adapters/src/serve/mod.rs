//! The reference broker on a port: the model behind Kafka's wire protocol, for clients and applications that are to be tested
//! against a broker that is right, or wrong in exactly one way.
//!
//! The server translates, it does not decide: what a broker answers is the model's word
//! ([`onceness_reference::broker`]). What is added here is what the model has no words for: names, bytes, time, and sockets.
//! All state is in memory, behind one lock; a journal can keep it over kills of the process.
//!
//! In reading order: `call` (a request and its answer), `apis` (which there are), `state` (the model with names, bytes and a
//! clock), `names`, `batches` and `store` (the bytes of records), then one file for each kind of request (`cluster`, `topics`,
//! `producing`, `fetching`, `offsets`, `transactions`, `positions`, `groups`), `journal` and `kept` (what outlives the process),
//! and `connection` (sockets, and their bounds).

mod apis;
mod batches;
mod call;
mod cluster;
mod connection;
mod fetching;
mod groups;
mod journal;
mod kept;
mod names;
mod offsets;
mod positions;
mod producing;
mod state;
mod store;
mod topics;
mod transactions;

use std::fmt;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use onceness_reference::rules::Rules;
use tokio::net::TcpListener;
use tokio::sync::{Notify, Semaphore, watch};
use tokio::task::AbortHandle;

use crate::TargetError;
use connection::Connection;
use kept::Kept;

/// Markers are written this long after the transaction ended, as brokers do it.
const MARKERS_LAG: Duration = Duration::from_millis(1);
/// How often it is looked whether somebody's time is up.
const TICK: Duration = Duration::from_millis(100);
/// No more connections than this are served at once. Others wait to be accepted.
const CONNECTIONS_MAX: usize = 10_000;

/// A broker on a port, open as long as it lives.
pub struct Server {
    shared: Arc<Shared>,
    address: SocketAddr,
    tasks: Vec<AbortHandle>,
}

/// What all connections share.
struct Shared {
    kept: Mutex<Kept>,
    /// Rings when something has changed that a waiting request may wait for.
    changes: watch::Sender<()>,
    /// Rings when the broker restarts: all connections end.
    restarts: watch::Sender<()>,
    /// Rings when markers are to be written.
    work: Notify,
    /// How many bytes of large requests may be held at once.
    room: Semaphore,
    connections: Arc<Semaphore>,
    started: Instant,
    /// Milliseconds since 1970, at the start.
    started_ms: i64,
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("address", &self.address).finish_non_exhaustive()
    }
}

impl Server {
    /// Listens at an address, `HOST:PORT`, as a broker by these rules. Must be called within a tokio runtime.
    ///
    /// Clients are told to come back to the address that they have come to.
    ///
    /// # Errors
    /// When it cannot listen there.
    pub async fn listen(rules: Rules, listen: &str) -> Result<Server, TargetError> {
        Server::start(listen, |_| Ok(Kept::new(rules))).await
    }

    /// The same, but what clients were told outlives the process: it is written to a journal, which is made if need be. A
    /// broker that begins with one starts again from what was durable when it was killed.
    ///
    /// # Errors
    /// When it cannot listen there, or the journal cannot be read, written, or was written by other rules.
    pub async fn listen_with_journal(
        rules: Rules,
        listen: &str,
        journal: &Path,
    ) -> Result<Server, TargetError> {
        let open = |now| {
            Kept::open(rules, journal, now).map_err(|cause| TargetError {
                address: journal.display().to_string(),
                request: "opening the journal".to_owned(),
                reason: cause.to_string(),
            })
        };
        Server::start(listen, open).await
    }

    async fn start(
        listen: &str,
        open: impl FnOnce(i64) -> Result<Kept, TargetError>,
    ) -> Result<Server, TargetError> {
        let error = |cause: std::io::Error| TargetError {
            address: listen.to_owned(),
            request: "listening".to_owned(),
            reason: format!("{cause}; is the address free, and one of this machine?"),
        };
        let listener = TcpListener::bind(listen).await.map_err(error)?;
        let address = listener.local_addr().map_err(error)?;
        // Listening comes first: clients may connect, and wait until everything is there again.
        let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let started_ms = since_1970.as_millis() as i64;
        let shared = Arc::new(Shared {
            kept: Mutex::new(open(started_ms)?),
            changes: watch::channel(()).0,
            restarts: watch::channel(()).0,
            work: Notify::new(),
            room: Semaphore::new(connection::ROOM),
            connections: Arc::new(Semaphore::new(CONNECTIONS_MAX)),
            started: Instant::now(),
            started_ms,
        });
        let tasks = vec![
            tokio::spawn(accept(shared.clone(), listener)).abort_handle(),
            tokio::spawn(write_markers(shared.clone())).abort_handle(),
            tokio::spawn(tick(shared.clone())).abort_handle(),
        ];
        Ok(Server { shared, address, tasks })
    }

    /// Where clients are to connect.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The broker is killed, and starts again from what is durable: all connections are cut, and what was under way is lost.
    pub fn restart(&self) {
        self.shared.restarts.send_replace(());
        self.shared.kept().restart(self.shared.now());
        self.shared.changed();
    }

    /// Waits until the broker has to stop, for its journal cannot be written, and says why. Mostly that is never.
    pub async fn failed(&self) -> String {
        let mut ticks = tokio::time::interval(TICK);
        loop {
            ticks.tick().await;
            if let Some(failure) = self.shared.kept().failure() {
                return failure.to_owned();
            }
        }
    }

    /// How many connections are open.
    pub fn connections(&self) -> usize {
        CONNECTIONS_MAX - self.shared.connections.available_permits()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.tasks.iter().for_each(AbortHandle::abort);
        self.shared.restarts.send_replace(());
    }
}

impl Shared {
    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Milliseconds since 1970, by a clock that never goes back.
    fn now(&self) -> i64 {
        self.started_ms + self.started.elapsed().as_millis() as i64
    }

    fn changed(&self) {
        self.changes.send_replace(());
    }
}

async fn accept(shared: Arc<Shared>, listener: TcpListener) {
    loop {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            // Out of files, for one: to be had again when connections end.
            Err(_) => {
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        // It is never closed.
        let Ok(permit) = shared.connections.clone().acquire_owned().await else { return };
        let mut restarts = shared.restarts.subscribe();
        let connection = Connection::new(shared.clone(), stream);
        tokio::spawn(async move {
            let _permit = permit;
            tokio::select! {
                _ = restarts.changed() => {}
                () = connection.serve() => {}
            }
        });
    }
}

/// The broker's own work, some time after it was caused.
async fn write_markers(shared: Arc<Shared>) {
    loop {
        shared.work.notified().await;
        tokio::time::sleep(MARKERS_LAG).await;
        shared.kept().write_markers();
        shared.changed();
    }
}

async fn tick(shared: Arc<Shared>) {
    let mut ticks = tokio::time::interval(TICK);
    loop {
        ticks.tick().await;
        let now = shared.now();
        let (changed, works) = {
            let mut kept = shared.kept();
            (kept.pass(now), kept.works())
        };
        if works {
            shared.work.notify_one();
        }
        if changed {
            shared.changed();
        }
    }
}
