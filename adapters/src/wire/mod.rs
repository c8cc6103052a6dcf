//! The transport *wire*: TCP to anything that speaks Kafka. Messages are written by the `kafka-protocol` crate; answers are
//! read by us (`answers`), and so are record batches (`batch`), for neither may a broker's mistake end the run.
//!
//! Versions are negotiated, and chosen by the transaction protocol that a client speaks: up to Produce 11, EndTxn 4 and
//! TxnOffsetCommit 4 it is TV1, from the next ones on TV2 (KIP-890).

pub(crate) mod answers;
pub mod bare;
pub(crate) mod batch;
mod cluster;
mod connection;
pub(crate) mod fields;
mod groups;
mod malformed;
mod producing;
mod reading;
mod rooms;
mod way;

use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use kafka_protocol::messages::ApiVersionsRequest;
use onceness_reference::features::Features;
use onceness_reference::history::History;
use onceness_reference::plan::Plan;
use onceness_reference::wrongs::client::ClientWrongs;

use crate::Adapter;
use crate::node::{Host, Node};
use crate::run::run;
use crate::stock::read_back;
use crate::transport::TargetError;
use cluster::{Cluster, DEADLINE, Kind};
use connection::Connection;
use rooms::Rooms;
use way::{Ordeal, Way};

/// A cluster that speaks Kafka, driven by the test client.
///
/// Whatever it makes there has a name that starts with `onceness-`: topics, groups and transactional ids.
/// [`Adapter::clean`] removes topics and groups; transactional ids the brokers forget by themselves, no request does it.
#[derive(Debug)]
pub struct Kafka {
    cluster: Arc<Cluster>,
    rooms: Arc<Rooms>,
    /// The node that it runs on, if we may hurt it.
    host: Option<Arc<Host>>,
    /// Whether librdkafka reads everything once more.
    reads_back: bool,
    /// What the test client does wrong.
    wrongs: ClientWrongs,
}

impl Kafka {
    /// Connects to a cluster.
    ///
    /// # Errors
    /// When none of the addresses answers as a Kafka broker does, or the addresses that it advertises cannot be reached.
    pub async fn connect(addresses: &[String]) -> Result<Kafka, TargetError> {
        Kafka::connect_within(addresses, DEADLINE).await
    }

    /// The same, with another bound on how long a broker may take for one answer.
    ///
    /// # Errors
    /// As [`Kafka::connect`].
    pub async fn connect_within(
        addresses: &[String],
        deadline: Duration,
    ) -> Result<Kafka, TargetError> {
        let cluster = Cluster::connect(addresses, deadline).await?;
        cluster.ready(Kind::Group).await?;
        if cluster.speaks_tv1() || cluster.speaks_tv2() {
            cluster.ready(Kind::Transaction).await?;
        }
        Ok(Kafka {
            cluster: Arc::new(cluster),
            rooms: Arc::new(Rooms::new()),
            host: None,
            reads_back: false,
            wrongs: ClientWrongs::default(),
        })
    }

    /// The same for a node that we may hurt. [`Adapter::clean`] stops it.
    ///
    /// # Errors
    /// As [`Kafka::connect`].
    pub async fn on(node: Arc<dyn Node>) -> Result<Kafka, TargetError> {
        let host = Host::new(node);
        match Kafka::connect(&host.node().addresses()).await {
            Ok(kafka) => Ok(Kafka { host: Some(Arc::new(host)), ..kafka }),
            Err(error) => Err(host.explain(error).await),
        }
    }

    /// The same, but at the end of each case librdkafka reads everything back once more. What two independent clients show
    /// an application must be the same.
    #[must_use]
    pub fn reading_back(self) -> Kafka {
        Kafka { reads_back: true, ..self }
    }

    /// The same, but the test client is wrong so.
    #[must_use]
    pub fn driven_by(self, wrongs: ClientWrongs) -> Kafka {
        Kafka { wrongs, ..self }
    }

    /// The way of one more case, into a room of its own.
    async fn way(&self, ordeal: Option<Ordeal>) -> Result<Way, TargetError> {
        let room = self.rooms.take(&self.cluster).await?;
        Ok(Way::new(self.cluster.clone(), self.rooms.clone(), room, ordeal))
    }

    async fn run_in_turn(&self, plan: &Plan) -> Result<History, TargetError> {
        let ordeal =
            self.host.as_ref().and_then(|host| Ordeal::of(plan, host, self.cluster.deadline()));
        let way = self.way(ordeal).await?;
        let mut history = run(&way, plan, self.describe(), self.wrongs).await?;
        if self.reads_back {
            let bootstrap = self.cluster.bootstrap();
            history.events.extend(read_back(&bootstrap, &way.room.name, plan).await?);
        }
        Ok(history)
    }
}

impl Adapter for Kafka {
    fn describe(&self) -> String {
        match &self.host {
            Some(host) => format!("{}, {}", host.node().name(), self.cluster.describe()),
            None => self.cluster.describe(),
        }
    }

    fn features(&self) -> Features {
        Features {
            tv1: self.cluster.speaks_tv1(),
            tv2: self.cluster.speaks_tv2(),
            fates: true,
            restart: self.host.is_some(),
            kill: self.host.is_some(),
            pause: self.host.is_some(),
            dear: true,
            members: self.cluster.has_members(),
            // The test client is no dynamic member.
            shared: false,
            // Where transactional writes are not checked (before KIP-890), one outside of a transaction stays open for good.
            forging: self.cluster.checks_writes(),
        }
    }

    fn prepare(&self, cases: usize) -> BoxFuture<'_, Result<(), TargetError>> {
        Box::pin(async move {
            let Some(host) = &self.host else {
                return self.rooms.make(&self.cluster, cases).await;
            };
            let _stay = host.share().await?;
            self.rooms.make(&self.cluster, cases).await
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
            let cleaned = self.rooms.clean(&self.cluster);
            match &self.host {
                Some(host) => host.close(cleaned).await,
                None => cleaned.await,
            }
        })
    }
}

/// Whether an API answers there. An open port alone says nothing: it may be opened long before.
pub(crate) async fn answers(address: &Arc<str>, within: Duration) -> bool {
    let asked = async {
        let mut connection = Connection::open(address, within).await?;
        connection.exchange(0, &ApiVersionsRequest::default()).await
    };
    asked.await.is_ok_and(|told| told.code == 0)
}

#[cfg(test)]
mod tests;
