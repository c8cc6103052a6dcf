//! The transport *wire*: TCP to anything that speaks Kafka. Messages by the `kafka-protocol` crate, record batches by a codec
//! of ours ([`batch`]).
//!
//! Versions are negotiated, and chosen by the transaction protocol that a client speaks: up to Produce 11, EndTxn 4 and
//! TxnOffsetCommit 4 it is TV1, from the next ones on TV2 (KIP-890).

mod batch;
mod cluster;
mod connection;
mod groups;
mod producing;
mod reading;
mod rooms;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::future::{BoxFuture, join_all};
use kafka_protocol::protocol::Request as Message;
use onceness_reference::code::Code;
use onceness_reference::features::Features;
use onceness_reference::history::History;
use onceness_reference::ids::Partition;
use onceness_reference::plan::Plan;
use onceness_reference::protocol::{Answer, Request};

use crate::Adapter;
use crate::run::run;
use crate::transport::{Lane, TargetError, Transport};
use cluster::{Cluster, DEADLINE, Kind};
use connection::Connection;
use rooms::{Room, Rooms};

/// How long a client keeps asking what is refused for the moment.
const PATIENCE: Duration = Duration::from_secs(5);

/// A cluster that speaks Kafka, driven by the test client.
#[derive(Debug)]
pub struct Kafka {
    cluster: Arc<Cluster>,
    rooms: Rooms,
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
    pub async fn connect_within(addresses: &[String], deadline: Duration) -> Result<Kafka, TargetError> {
        let cluster = Cluster::connect(addresses, deadline).await?;
        for kind in [Kind::Group, Kind::Transaction] {
            cluster.coordinator(kind, "onceness").await?;
        }
        Ok(Kafka { cluster: Arc::new(cluster), rooms: Rooms::new() })
    }
}

impl Adapter for Kafka {
    fn describe(&self) -> String {
        self.cluster.describe()
    }

    fn features(&self) -> Features {
        Features { tv1: true, tv2: self.cluster.speaks_tv2(), fates: true, restart: false, members: true }
    }

    fn prepare(&self, cases: usize) -> BoxFuture<'_, Result<(), TargetError>> {
        Box::pin(self.rooms.make(&self.cluster, cases))
    }

    fn run<'a>(&'a self, plan: &'a Plan) -> BoxFuture<'a, Result<History, TargetError>> {
        Box::pin(async {
            let room = self.rooms.take(&self.cluster).await?;
            let way = Way::new(self.cluster.clone(), room);
            let history = run(&way, plan, self.describe()).await;
            self.rooms.leave(way.close());
            history
        })
    }

    fn clean(&self) -> BoxFuture<'_, Result<(), TargetError>> {
        Box::pin(self.rooms.clean(&self.cluster))
    }
}

/// The way of one case to the cluster.
struct Way {
    cluster: Arc<Cluster>,
    room: Room,
    lanes: Mutex<BTreeMap<(Lane, i32), Connection>>,
    coordinators: Mutex<BTreeMap<(Kind, String), i32>>,
}

impl Way {
    fn new(cluster: Arc<Cluster>, room: Room) -> Self {
        Way { cluster, room, lanes: Mutex::default(), coordinators: Mutex::default() }
    }

    /// Gives idle connections back, and the room.
    fn close(self) -> Room {
        for (_, connection) in std::mem::take(&mut *self.lanes()) {
            self.cluster.put_back(connection);
        }
        self.room
    }

    fn lanes(&self) -> MutexGuard<'_, BTreeMap<(Lane, i32), Connection>> {
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One request on a lane. A connection that failed is not used again.
    async fn exchange<M: Message>(
        &self,
        lane: Lane,
        broker: i32,
        versions: (i16, i16),
        request: &M,
    ) -> Result<M::Response, TargetError> {
        let (mut connection, version) = self.connection::<M>(lane, broker, versions).await?;
        let answer = connection.exchange(version, request).await?;
        self.lanes().insert((lane, broker), connection);
        Ok(answer)
    }

    async fn connection<M: Message>(
        &self,
        lane: Lane,
        broker: i32,
        (least, most): (i16, i16),
    ) -> Result<(Connection, i16), TargetError> {
        let address = self.cluster.broker(broker).unwrap_or_else(|| self.cluster.any_broker().1);
        let version = self.cluster.version::<M>(&address, least, most)?;
        let open = self.lanes().remove(&(lane, broker));
        let connection = match open {
            Some(connection) => connection,
            None => self.cluster.take(&address).await?,
        };
        Ok((connection, version))
    }

    fn leader(&self, partition: Partition) -> i32 {
        let leaders = self.room.leaders.lock().unwrap_or_else(PoisonError::into_inner);
        leaders.get(usize::from(partition.0)).copied().unwrap_or(-1)
    }

    async fn coordinator(&self, kind: Kind, key: String) -> Result<i32, TargetError> {
        if self.cluster.has_one_broker() {
            return Ok(self.cluster.any_broker().0);
        }
        let place = (kind, key);
        let known = self.coordinators().get(&place).copied();
        match known {
            Some(node) => Ok(node),
            None => {
                let node = self.cluster.coordinator(kind, &place.1).await?;
                self.coordinators().insert(place, node);
                Ok(node)
            }
        }
    }

    fn coordinators(&self) -> MutexGuard<'_, BTreeMap<(Kind, String), i32>> {
        self.coordinators.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Leaders and coordinators move: what a broker says it is not, is looked up again.
    async fn look_again(&self, code: Code) -> Result<(), TargetError> {
        match code {
            Code::NOT_COORDINATOR | Code::COORDINATOR_NOT_AVAILABLE => self.coordinators().clear(),
            Code::NOT_LEADER_OR_FOLLOWER | Code::FENCED_LEADER_EPOCH | Code::UNKNOWN_LEADER_EPOCH => {
                let leaders = rooms::find_leaders(&self.cluster, &self.room.name).await?;
                *self.room.leaders.lock().unwrap_or_else(PoisonError::into_inner) = leaders;
            }
            _ => {}
        }
        Ok(())
    }
}

impl Transport for Way {
    async fn call(&self, lane: Lane, request: &Request) -> Result<Answer, TargetError> {
        let answer = match request {
            Request::InitProducer { txn } => self.init_producer(lane, *txn).await,
            Request::AddPartition { txn, session, partition } => {
                self.add_partition(lane, *txn, *session, *partition).await
            }
            Request::AddGroup { txn, session, group } => self.add_group(lane, *txn, *session, *group).await,
            Request::Produce { partition, batch, acks, txn } => {
                self.produce(lane, *partition, batch, *acks, *txn).await
            }
            Request::EndTxn { txn, session, ending, protocol } => {
                self.end_txn(lane, *txn, *session, *ending, *protocol).await
            }
            Request::SaveInTxn { .. } => self.save_in_txn(lane, request).await,
            Request::Save { group, member, positions } => {
                self.save(lane, *group, member.as_ref(), positions).await
            }
            Request::Positions { group, partitions } => self.positions(lane, *group, partitions).await,
            Request::Join { group } => self.join(lane, *group).await,
            Request::Fetch { partition, offset, isolation } => {
                self.fetch(lane, *partition, *offset, *isolation).await
            }
        }?;
        if let Err(code) = answer {
            self.look_again(code).await?;
        }
        Ok(answer)
    }

    fn cut(&self, lane: Lane) {
        self.lanes().retain(|(of, _), _| *of != lane);
    }

    /// 1, 2, 4, … ms, 64 at most.
    async fn back_off(&self, retry: u32) -> bool {
        let pause = |retry: u32| Duration::from_millis(1 << retry.saturating_sub(1).min(6));
        tokio::time::sleep(pause(retry)).await;
        (1..=retry).map(pause).sum::<Duration>() < PATIENCE
    }

    async fn restart(&self) -> bool {
        false
    }

    async fn overlap<'a>(&'a self, steps: Vec<BoxFuture<'a, ()>>) {
        join_all(steps).await;
    }
}
