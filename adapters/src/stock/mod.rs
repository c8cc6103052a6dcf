//! A stock client: librdkafka through `rdkafka`, what real applications link. It drives the same broker by other code than
//! ours, and reads it back.
//!
//! It does the ordinary path: the four deliveries, transactions, consuming and positions, and crashes of the client between
//! calls. It chooses its sequence numbers and retries itself, so fates cannot befall its requests, and it does not speak the
//! transaction protocol of KIP-890 part 2. Plans for it are drawn without both.

mod client;
mod errors;
pub mod price;
mod readback;

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::future::{BoxFuture, join, join_all, try_join_all};
use onceness_reference::features::Features;
use onceness_reference::history::{Event, HISTORY_VERSION, Header, History};
use onceness_reference::ids::Partition;
use onceness_reference::plan::{Fault, Plan};
use onceness_reference::wellformed::PARTITIONS_MAX;
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};

use crate::node::{Host, Node};
use crate::record::Recorder;
use crate::{Adapter, TargetError};
use client::StockClient;

/// How long any one call to librdkafka may take.
const PATIENCE: Duration = Duration::from_secs(15);

/// A cluster, driven by librdkafka.
pub struct Stock {
    place: Place,
    admin: AdminClient<DefaultClientContext>,
    rooms: Mutex<Rooms>,
    made: AtomicU32,
    /// The node that it runs on, if we may hurt it.
    host: Option<Host>,
}

/// Where the cluster is, and what this run's topics are called.
#[derive(Clone, Debug)]
struct Place {
    bootstrap: String,
    run: String,
}

/// The topics of this run.
#[derive(Debug, Default)]
struct Rooms {
    free: Vec<String>,
    all: Vec<String>,
}

/// One case's part of the cluster: a topic, and prefixes for groups and transactional ids.
#[derive(Clone, Debug)]
struct Room {
    bootstrap: String,
    name: String,
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
        let admin: AdminClient<DefaultClientContext> =
            place.config().create().map_err(|error| place.error("create a client", &error))?;
        // Asks for the list of topics: the cheapest question that only a Kafka broker answers.
        let config = place.config();
        let metadata = client::blocking(move || {
            let asking: BaseConsumer = config.create()?;
            asking.fetch_metadata(None, PATIENCE).map(drop)
        });
        metadata.await.map_err(|error| place.error("Metadata", &error))?;
        let (rooms, made) = (Mutex::default(), AtomicU32::new(0));
        Ok(Stock { place, admin, rooms, made, host: None })
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
        let room = self.take_room().await?;
        let recorder = Recorder::default();
        let clients = plan.clients.iter().cloned();
        let mut clients: Vec<_> =
            clients.map(|spec| StockClient::new(spec, room.clone())).collect();
        for round in &plan.rounds {
            let (meanwhile, before): (Vec<Fault>, Vec<Fault>) =
                round.faults.iter().partition(|fault| fault.overlaps());
            for fault in before {
                self.strike(&recorder, fault).await?;
            }
            let steps = clients.iter_mut().filter_map(|client| {
                let step = round.steps.iter().find(|step| step.client == client.id())?;
                Some(client.perform(&recorder, step))
            });
            let struck = meanwhile.into_iter().map(|fault| self.strike(&recorder, fault));
            let (_, struck) = join(join_all(steps), try_join_all(struck)).await;
            struck?;
        }
        // Every client is gone, without a word, before fresh ones look.
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
        Ok(History { header, events: recorder.into_events() })
    }

    async fn clean_up(&self) -> Result<(), TargetError> {
        let all = std::mem::take(&mut *self.rooms()).all;
        if all.is_empty() {
            return Ok(());
        }
        let names: Vec<&str> = all.iter().map(String::as_str).collect();
        let options = AdminOptions::new().operation_timeout(Some(PATIENCE));
        let groups = readback::groups(&self.place.bootstrap, &self.place.run);
        let groups: Vec<&str> = groups.iter().map(String::as_str).collect();
        let mut groups_gone = Ok(());
        if !groups.is_empty() {
            let gone = self.admin.delete_groups(&groups, &options).await;
            groups_gone = gone.map(drop).map_err(|error| self.place.error("DeleteGroups", &error));
        }
        let gone = self.admin.delete_topics(&names, &options).await;
        for gone in gone.map_err(|error| self.place.error("DeleteTopics", &error))? {
            match gone {
                Ok(_) | Err((_, RDKafkaErrorCode::UnknownTopicOrPartition)) => {}
                Err((_, code)) => {
                    return Err(self.place.error("DeleteTopics", &KafkaError::AdminOp(code)));
                }
            }
        }
        groups_gone
    }

    async fn make_rooms(&self, count: usize) -> Result<(), TargetError> {
        let names: Vec<String> = (0..count).map(|_| self.new_name()).collect();
        // Noted before they are made: what is interrupted in between is deleted all the same.
        self.rooms().all.extend(names.iter().cloned());
        let topics: Vec<NewTopic<'_>> = names
            .iter()
            .map(|name| {
                let topic =
                    NewTopic::new(name, i32::from(PARTITIONS_MAX), TopicReplication::Fixed(-1));
                topic.set("segment.index.bytes", "16384")
            })
            .collect();
        let options = AdminOptions::new().operation_timeout(Some(PATIENCE));
        let made = self.admin.create_topics(&topics, &options).await;
        for made in made.map_err(|error| self.place.error("CreateTopics", &error))? {
            made.map_err(|(_, code)| self.place.error("CreateTopics", &KafkaError::AdminOp(code)))?;
        }
        self.rooms().free.extend(names);
        Ok(())
    }

    async fn take_room(&self) -> Result<Room, TargetError> {
        loop {
            let free = self.rooms().free.pop();
            match free {
                Some(name) => return Ok(Room { bootstrap: self.place.bootstrap.clone(), name }),
                None => self.make_rooms(1).await?,
            }
        }
    }

    fn new_name(&self) -> String {
        format!("{}-{}", self.place.run, self.made.fetch_add(1, Ordering::Relaxed))
    }

    fn rooms(&self) -> std::sync::MutexGuard<'_, Rooms> {
        self.rooms.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Adapter for Stock {
    fn describe(&self) -> String {
        let (_, version) = rdkafka::util::get_rdkafka_version();
        let told = format!("kafka://{} by librdkafka {version}", self.place.bootstrap);
        self.host.as_ref().map_or(told.clone(), |host| format!("{}, {told}", host.node().name()))
    }

    fn features(&self) -> Features {
        let hurt = self.host.is_some();
        Features { tv1: true, restart: hurt, kill: hurt, pause: hurt, dear: true, ..Features::NONE }
    }

    fn prepare(&self, cases: usize) -> BoxFuture<'_, Result<(), TargetError>> {
        Box::pin(async move {
            let Some(host) = &self.host else {
                return self.make_rooms(cases).await;
            };
            let _stay = host.share().await?;
            self.make_rooms(cases).await
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
                Some(host) => host.close(self.clean_up()).await,
                None => self.clean_up().await,
            }
        })
    }
}

impl Place {
    fn config(&self) -> ClientConfig {
        config(&self.bootstrap)
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
    Ok(recorder.into_events())
}

impl Room {
    fn group(&self, group: onceness_reference::ids::GroupId) -> String {
        format!("{}-{group}", self.name)
    }

    fn txn(&self, txn: onceness_reference::ids::TxnId) -> String {
        format!("{}-{txn}", self.name)
    }

    fn config(&self) -> ClientConfig {
        config(&self.bootstrap)
    }

    fn partition(&self, partition: i32) -> Partition {
        // Rooms have at most PARTITIONS_MAX partitions.
        Partition(partition as u32)
    }
}

fn config(bootstrap: &str) -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", bootstrap);
    config.set("socket.timeout.ms", "10000");
    config
}
