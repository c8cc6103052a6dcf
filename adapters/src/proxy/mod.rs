//! A proxy between any Kafka client and a cluster, that knows requests from answers: so the requests of stock clients meet
//! the same fates as those of the test client.
//!
//! Its owner says of each request what befalls it ([`Owner`]; [`Rules`] is the ready-made one) and is told what came of it:
//! what really happened goes into histories, not what was meant to. A fate means what it means in the test client, with one
//! difference: a stock client notices a loss by its connection being cut, not by a timeout, for timeouts of stock clients
//! are long and say no more. One proxy serves one client, or all, as its owner likes; it costs a task for each broker and
//! one for each connection, and small buffers. Dropping it closes everything.
//!
//! In reading order: `frames` (how bytes pass), `start` (what a request is), `addresses` (what has to be changed in answers),
//! `busy` (answers in the broker's name), `link` (one connection), `exchange`, `said` and `rules` (what its owner says and is
//! told).

mod addresses;
mod busy;
mod exchange;
mod frames;
mod link;
mod rules;
mod said;
mod start;

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use onceness_reference::code::Code;
use onceness_reference::plan::Fate;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::AbortHandle;

pub use busy::{busy_apis, busy_code};
pub use exchange::{CopyNumber, Exchange};
pub use rules::{Rule, Rules};
pub use said::{api_name, apis};
pub use start::Start;

use crate::TargetError;
use exchange::Witness;
use frames::Pace;
use link::Link;

/// No cluster has more brokers than this, as far as the proxy believes.
const BROKERS_MAX: usize = 256;
/// How long a frame may stop midway.
const BYTES_WITHIN: Duration = Duration::from_secs(30);

/// Who decides what befalls each request, and is told what came of it. Both are called while bytes wait: they must be quick.
pub trait Owner: Send + Sync {
    /// What befalls a request. None: it passes, and is not told of.
    fn decide(&self, connection: ConnectionId, request: &Start) -> Option<Sentence>;

    /// A request of which [`Owner::decide`] said something has met its fate. Told once of each copy; always before the
    /// client can act on it, save where the answer itself is passed on.
    fn saw(&self, exchange: Exchange);

    /// A connection ended by a fault, of the client or of the broker; the proxy goes on.
    fn trouble(&self, connection: ConnectionId, words: &str);
}

/// What is to befall a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sentence {
    /// The fate. How many rounds a request is held is the owner's business: it stays until [`Proxy::release`].
    pub fate: Fate,
    /// Of [`Fate::Busy`]: another error than the usual one.
    pub code: Option<Code>,
    /// Comes back in the [`Exchange`].
    pub tag: u64,
}

/// A connection of a client to the proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionId(pub u64);

/// A request that the proxy keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HeldId(pub u64);

/// A proxy, open as long as it lives.
pub struct Proxy {
    shared: Arc<Shared>,
    address: SocketAddr,
}

/// Why a connection ends, in words.
#[derive(Debug)]
struct Fault(String);

/// What all connections share.
struct Shared {
    owner: Arc<dyn Owner>,
    ip: IpAddr,
    goes: watch::Sender<bool>,
    bytes_within: Duration,
    largest: Arc<AtomicUsize>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Where each broker's listener is, by the broker's address.
    doors: BTreeMap<String, Door>,
    connections: BTreeMap<ConnectionId, AbortHandle>,
    held: BTreeMap<HeldId, HeldRequest>,
    numbers: u64,
    closed: bool,
}

struct Door {
    port: u16,
    task: AbortHandle,
}

/// A request that is kept, and where it was to go.
struct HeldRequest {
    address: String,
    frame: Bytes,
    exchange: Exchange,
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Proxy").field("address", &self.address).finish_non_exhaustive()
    }
}

impl Proxy {
    /// Listens for clients of the cluster at those addresses. More listeners, on the same IP address and any free ports,
    /// open as its brokers become known. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// When it cannot listen there. Whether the cluster can be reached shows when a client comes.
    pub async fn listen(
        upstream: &[String],
        listen: &str,
        owner: Arc<dyn Owner>,
    ) -> Result<Proxy, TargetError> {
        Proxy::listen_within(upstream, listen, owner, BYTES_WITHIN).await
    }

    /// The same, with another bound on how long a broker may stop amid a frame.
    ///
    /// # Errors
    /// As [`Proxy::listen`].
    pub async fn listen_within(
        upstream: &[String],
        listen: &str,
        owner: Arc<dyn Owner>,
        bytes_within: Duration,
    ) -> Result<Proxy, TargetError> {
        let error = |cause: std::io::Error| TargetError {
            address: listen.to_owned(),
            request: "listening".to_owned(),
            reason: format!("{cause}; is the address free, and one of this machine?"),
        };
        let listener = TcpListener::bind(listen).await.map_err(error)?;
        let address = listener.local_addr().map_err(error)?;
        let shared = Arc::new(Shared {
            owner,
            ip: address.ip(),
            goes: watch::channel(true).0,
            bytes_within,
            largest: Arc::default(),
            state: Mutex::default(),
        });
        let task = shared.accept(listener, upstream.into());
        // Behind several addresses is any broker; each gets a listener of its own when it is named.
        let broker = upstream.join(",");
        shared.state().doors.insert(broker, Door { port: address.port(), task });
        Ok(Proxy { shared, address })
    }

    /// Where clients are to connect.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The connections that are open.
    pub fn connections(&self) -> Vec<ConnectionId> {
        self.shared.state().connections.keys().copied().collect()
    }

    /// Cuts a connection. False if it is not open.
    pub fn cut(&self, connection: ConnectionId) -> bool {
        let cut = self.shared.state().connections.remove(&connection);
        cut.inspect(AbortHandle::abort).is_some()
    }

    /// Cuts all connections.
    pub fn cut_all(&self) {
        let cut = std::mem::take(&mut self.shared.state().connections);
        cut.values().for_each(AbortHandle::abort);
    }

    /// Holds everything up, both ways, as if the client were paused, heartbeats too. Connections are still accepted.
    pub fn stall(&self) {
        self.shared.goes.send_replace(false);
    }

    /// Lets everything go on.
    pub fn resume(&self) {
        self.shared.goes.send_replace(true);
    }

    /// Sends a request that was held, on a connection of its own, and waits for its answer; the owner is told as well.
    /// None if there is none of that number.
    pub async fn release(&self, held: HeldId) -> Option<Exchange> {
        let HeldRequest { address, frame, exchange } = self.shared.state().held.remove(&held)?;
        let exchange = Exchange { copy: CopyNumber::Late, held: Some(held), ..exchange };
        let witness = Witness::new(self.shared.owner.clone(), exchange);
        let start = witness.exchange.start.clone();
        let answer = link::alone(&address, &frame, &start, &self.shared.pace()).await;
        Some(witness.told(answer))
    }

    /// How large any one buffer has become, in bytes. There are two for each connection.
    pub fn largest_buffer(&self) -> usize {
        self.shared.largest.load(Ordering::Relaxed)
    }

    /// Ends all connections, and accepts no more. What is held stays, and can still be released.
    pub fn close(&self) {
        let mut state = self.shared.state();
        state.closed = true;
        state.doors.values().for_each(|door| door.task.abort());
        std::mem::take(&mut state.connections).values().for_each(AbortHandle::abort);
    }

    /// The requests that are held.
    pub fn held(&self) -> Vec<HeldId> {
        self.shared.state().held.keys().copied().collect()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.close();
    }
}

impl State {
    fn number(&mut self) -> u64 {
        self.numbers += 1;
        self.numbers
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn pace(&self) -> Pace {
        let goes = self.goes.subscribe();
        Pace { bytes: self.bytes_within, goes, largest: self.largest.clone() }
    }

    fn accept(self: &Arc<Self>, listener: TcpListener, brokers: Arc<[String]>) -> AbortHandle {
        let shared = self.clone();
        let accepting = async move {
            loop {
                match listener.accept().await {
                    Ok((client, _)) => shared.serve(client, brokers.clone()),
                    // Out of files, for one: to be had again when connections end.
                    Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
                }
            }
        };
        tokio::spawn(accepting).abort_handle()
    }

    fn serve(self: &Arc<Self>, client: TcpStream, brokers: Arc<[String]>) {
        // Locked until it is noted, or it might end before.
        let mut state = self.state();
        if state.closed {
            return;
        }
        let id = ConnectionId(state.number());
        let link = Link { shared: self.clone(), id, brokers };
        let serving = async move {
            if let Err(Fault(words)) = link.serve(client).await {
                link.shared.owner.trouble(id, &words);
            }
            link.shared.state().connections.remove(&id);
        };
        state.connections.insert(id, tokio::spawn(serving).abort_handle());
    }

    /// The port on which that broker is listened for.
    fn door(self: &Arc<Self>, host: &str, port: u16) -> Result<u16, Fault> {
        let broker = match host.contains(':') {
            true => format!("[{host}]:{port}"),
            false => format!("{host}:{port}"),
        };
        let mut state = self.state();
        if let Some(door) = state.doors.get(&broker) {
            return Ok(door.port);
        }
        if state.closed || state.doors.len() >= BROKERS_MAX {
            return Err(Fault(format!("more than {BROKERS_MAX} brokers are advertised")));
        }
        let fault =
            |cause: std::io::Error| Fault(format!("failed to listen for {broker}: {cause}"));
        let listener = std::net::TcpListener::bind((self.ip, 0)).map_err(fault)?;
        listener.set_nonblocking(true).map_err(fault)?;
        let listener = TcpListener::from_std(listener).map_err(fault)?;
        let port = listener.local_addr().map_err(fault)?.port();
        let task = self.accept(listener, [broker.clone()].into());
        state.doors.insert(broker, Door { port, task });
        Ok(port)
    }

    fn hold(&self, request: HeldRequest) -> HeldId {
        let mut state = self.state();
        let held = HeldId(state.number());
        state.held.insert(held, request);
        held
    }
}

#[cfg(test)]
mod tests;
