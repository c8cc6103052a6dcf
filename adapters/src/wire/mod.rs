//! The transport *wire*: TCP to anything that speaks Kafka. Messages are written by the `kafka-protocol` crate; answers are
//! read by us (`answers`), and so are record batches (`batch`), for neither may a broker's mistake end the run.
//!
//! Versions are negotiated, and chosen by the transaction protocol that a client speaks: up to Produce 11, EndTxn 4 and
//! TxnOffsetCommit 4 it is TV1, from the next ones on TV2 (KIP-890).

mod answers;
pub mod bare;
mod batch;
mod cluster;
mod connection;
pub(crate) mod fields;
mod groups;
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

use crate::Adapter;
use crate::run::run;
use crate::stock::read_back;
use crate::transport::TargetError;
use cluster::{Cluster, DEADLINE, Kind};
use connection::Connection;
use rooms::Rooms;
use way::Way;

/// A cluster that speaks Kafka, driven by the test client.
///
/// Whatever it makes there has a name that starts with `onceness-`: topics, groups and transactional ids.
/// [`Adapter::clean`] removes topics and groups; transactional ids the brokers forget by themselves, no request does it.
#[derive(Debug)]
pub struct Kafka {
    cluster: Arc<Cluster>,
    rooms: Arc<Rooms>,
    /// Whether librdkafka reads everything once more.
    reads_back: bool,
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
        Ok(Kafka { cluster: Arc::new(cluster), rooms: Arc::new(Rooms::new()), reads_back: false })
    }
}

impl Kafka {
    /// The same, but at the end of each case librdkafka reads everything back once more. What two independent clients show
    /// an application must be the same.
    #[must_use]
    pub fn reading_back(self) -> Kafka {
        Kafka { reads_back: true, ..self }
    }

    /// The way of one more case, into a room of its own.
    async fn way(&self) -> Result<Way, TargetError> {
        let room = self.rooms.take(&self.cluster).await?;
        Ok(Way::new(self.cluster.clone(), self.rooms.clone(), room))
    }
}

impl Adapter for Kafka {
    fn describe(&self) -> String {
        self.cluster.describe()
    }

    fn features(&self) -> Features {
        Features {
            tv1: self.cluster.speaks_tv1(),
            tv2: self.cluster.speaks_tv2(),
            fates: true,
            restart: false,
            members: self.cluster.has_members(),
        }
    }

    fn prepare(&self, cases: usize) -> BoxFuture<'_, Result<(), TargetError>> {
        Box::pin(self.rooms.make(&self.cluster, cases))
    }

    fn run<'a>(&'a self, plan: &'a Plan) -> BoxFuture<'a, Result<History, TargetError>> {
        Box::pin(async {
            let way = self.way().await?;
            let mut history = run(&way, plan, self.describe()).await?;
            if self.reads_back {
                let bootstrap = self.cluster.bootstrap();
                history.events.extend(read_back(&bootstrap, &way.room.name, plan).await?);
            }
            Ok(history)
        })
    }

    fn clean(&self) -> BoxFuture<'_, Result<(), TargetError>> {
        Box::pin(self.rooms.clean(&self.cluster))
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
