//! A stock client: librdkafka through `rdkafka`, what real applications link. It drives the same broker by other code than
//! ours, and reads it back.
//!
//! It does all that a plan may ask: the four deliveries, transactions, consuming alone or as a member of a group, positions,
//! and crashes. It chooses its sequence numbers and retries itself; fates befall its requests in a proxy (`door`). It speaks
//! the transaction protocol before KIP-890 part 2 only.
//!
//! In reading order: `rooms` (a case's part of the cluster), `settings`, `producing` and `consuming` (librdkafka, as a case
//! uses it), `door`, `client` (operations of a plan), `errors`, `readback` (the epilogue), `mock`. `price` stands apart.

mod client;
mod consuming;
mod door;
mod errors;
mod mock;
pub mod price;
mod producing;
mod readback;
mod rooms;
mod settings;

use std::sync::Arc;
use std::time::Duration;

use futures::future::{BoxFuture, join_all, try_join_all};
use onceness_reference::features::Features;
use onceness_reference::history::{Event, HISTORY_VERSION, Header, History};
use onceness_reference::plan::{Fault, Plan};
use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::KafkaError;

use crate::node::{Host, Node};
use crate::record::Recorder;
use crate::{Adapter, TargetError};
use client::{StockClient, Turn};
use consuming::blocking;
use mock::Mock;
use rooms::{Room, Rooms};

/// How long any one call to librdkafka may take.
const PATIENCE: Duration = Duration::from_secs(15);

/// A cluster, driven by librdkafka.
pub struct Stock {
    place: Place,
    rooms: Rooms,
    /// The node that it runs on, if we may hurt it.
    host: Option<Host>,
    /// The cluster itself, if it is librdkafka's own.
    mock: Option<Mock>,
}

/// Where the cluster is, and what this run's topics are called.
#[derive(Clone, Debug)]
struct Place {
    bootstrap: String,
    run: String,
}

impl std::fmt::Debug for Stock {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Stock").field("place", &self.place).finish_non_exhaustive()
    }
}

impl Stock {
    /// Connects to a cluster.
    ///
    /// # Errors
    /// When no broker answers at any of the addresses.
    pub async fn connect(addresses: &[String]) -> Result<Stock, TargetError> {
        let bootstrap = addresses.join(",");
        let run = format!("onceness-{:08x}", fastrand::u32(..));
        let place = Place { bootstrap, run };
        // Asks for the list of topics: the cheapest question that only a Kafka broker answers.
        let config = place.config();
        let metadata = blocking(move || {
            let asking: BaseConsumer = config.create()?;
            asking.fetch_metadata(None, PATIENCE).map(drop)
        });
        metadata.await.map_err(|error| place.error("Metadata", &error))?;
        Ok(Stock { rooms: Rooms::at(&place)?, place, host: None, mock: None })
    }

    /// Starts librdkafka's mock cluster in this process, and drives it. It ends with this value.
    ///
    /// # Errors
    /// When it does not start.
    pub async fn mock() -> Result<Stock, TargetError> {
        let mock = Mock::start()?;
        let place = Place { bootstrap: mock.bootstrap().to_owned(), run: "onceness".to_owned() };
        // It makes topics as they are asked for, and knows no request for it.
        Ok(Stock { rooms: Rooms::unmade(&place), place, host: None, mock: Some(mock) })
    }

    /// The same for a node that we may hurt. [`Adapter::clean`] stops it.
    ///
    /// # Errors
    /// As [`Stock::connect`].
    pub async fn on(node: Arc<dyn Node>) -> Result<Stock, TargetError> {
        let host = Host::new(node);
        match Stock::connect(&host.node().addresses()).await {
            Ok(stock) => Ok(Stock { host: Some(host), ..stock }),
            Err(error) => Err(host.explain(error).await),
        }
    }

    /// What befalls the broker, if we may hurt it.
    async fn strike(&self, recorder: &Recorder, fault: Fault) -> Result<(), TargetError> {
        let record = |happened| {
            recorder.record(Event::Fault { fault, happened });
        };
        match &self.host {
            Some(host) => host.strike(fault, &|| record(true)).await,
            None => {
                record(false);
                Ok(())
            }
        }
    }

    async fn run_in_turn(&self, plan: &Plan) -> Result<History, TargetError> {
        let room = self.rooms.take().await?;
        let recorder = Arc::new(Recorder::default());
        let clients = plan.clients.iter().cloned();
        let mut clients: Vec<StockClient> =
            clients.map(|spec| StockClient::new(spec, room.clone(), recorder.clone())).collect();
        for (round, planned) in plan.rounds.iter().enumerate() {
            let (meanwhile, before): (Vec<Fault>, Vec<Fault>) =
                planned.faults.iter().partition(|fault| fault.overlaps());
            for fault in before {
                self.strike(&recorder, fault).await?;
            }
            let held: Vec<_> = clients.iter().flat_map(StockClient::doors).cloned().collect();
            let late = held.iter().map(|door| door.release(round));
            let steps = clients.iter_mut().filter_map(|client| {
                let step = planned.steps.iter().find(|step| step.client == client.id())?;
                Some(client.perform(Turn { step, round }))
            });
            let struck = meanwhile.into_iter().map(|fault| self.strike(&recorder, fault));
            let (_, steps, struck) =
                tokio::join!(join_all(late), join_all(steps), try_join_all(struck));
            struck?;
            steps.into_iter().collect::<Result<(), TargetError>>()?;
        }
        for door in clients.iter().flat_map(StockClient::doors) {
            door.release(usize::MAX).await;
        }
        // Every client is gone, without a word, before fresh ones look.
        clients.iter_mut().for_each(StockClient::crash);
        drop(clients);
        recorder.record(Event::Healed);
        readback::heal(&room, plan, &recorder).await;
        readback::read(&room, plan, &recorder)
            .await
            .map_err(|error| self.place.error("read back", &error))?;
        let header = Header {
            version: HISTORY_VERSION,
            target: self.describe(),
            partitions: plan.partitions,
            clients: plan.clients.clone(),
        };
        Ok(History { header, events: recorder.take(), exchanges: Vec::new() })
    }
}

impl Adapter for Stock {
    fn describe(&self) -> String {
        let (_, version) = rdkafka::util::get_rdkafka_version();
        if self.mock.is_some() {
            return format!("mock, librdkafka's own cluster, by librdkafka {version}");
        }
        let told = format!("kafka://{} by librdkafka {version}", self.place.bootstrap);
        self.host.as_ref().map_or(told.clone(), |host| format!("{}, {told}", host.node().name()))
    }

    fn features(&self) -> Features {
        let hurt = self.host.is_some();
        Features {
            tv1: true,
            fates: true,
            members: true,
            shared: true,
            forging: false,
            restart: hurt,
            kill: hurt,
            pause: hurt,
            dear: true,
            ..Features::NONE
        }
    }

    fn prepare(&self, cases: usize) -> BoxFuture<'_, Result<(), TargetError>> {
        Box::pin(async move {
            let Some(host) = &self.host else {
                return self.rooms.make(cases).await;
            };
            let _stay = host.share().await?;
            self.rooms.make(cases).await
        })
    }

    fn run<'a>(&'a self, plan: &'a Plan) -> BoxFuture<'a, Result<History, TargetError>> {
        Box::pin(async {
            let Some(host) = &self.host else {
                return self.run_in_turn(plan).await;
            };
            let _stay = host.enter(plan).await?;
            match self.run_in_turn(plan).await {
                Ok(history) => Ok(history),
                Err(error) => Err(host.explain(error).await),
            }
        })
    }

    fn clean(&self) -> BoxFuture<'_, Result<(), TargetError>> {
        Box::pin(async {
            match &self.host {
                Some(host) => host.close(self.rooms.clean()).await,
                None => self.rooms.clean().await,
            }
        })
    }
}

impl Place {
    fn config(&self) -> ClientConfig {
        settings::client(&self.bootstrap)
    }

    fn error(&self, request: &str, error: &KafkaError) -> TargetError {
        TargetError {
            address: self.bootstrap.clone(),
            request: request.to_owned(),
            reason: format!("{error}; is a Kafka broker running there?"),
        }
    }
}

/// Reads by librdkafka what a case of another client left in the room of that name: every partition at both levels, and
/// the positions of every group.
pub(crate) async fn read_back(
    bootstrap: &str,
    room: &str,
    plan: &Plan,
) -> Result<Vec<Event>, TargetError> {
    let room = Room { bootstrap: bootstrap.to_owned(), name: room.to_owned() };
    let recorder = Recorder::default();
    let place = Place { bootstrap: room.bootstrap.clone(), run: String::new() };
    let read = readback::read(&room, plan, &recorder).await;
    read.map_err(|error| place.error("reading back by librdkafka", &error))?;
    Ok(recorder.take())
}
