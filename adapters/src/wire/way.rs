//! The way of one case to the cluster: which connection a request takes, and where the brokers in charge are.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::future::{BoxFuture, join_all};
use kafka_protocol::messages::ApiVersionsRequest;
use onceness_reference::code::Code;
use onceness_reference::ids::Partition;
use onceness_reference::plan::{Fault, Plan};
use onceness_reference::protocol::{Answer, Request, Response};

use super::answers::{ByPartition, Exchange};
use super::cluster::{Cluster, Kind};
use super::connection::{self, Connection};
use super::reading::FETCH_BYTES_MAX;
use super::rooms::{Room, Rooms};
use crate::node::Host;
use crate::transport::{Lane, TargetError, Transport};

/// How long a client keeps asking what is refused for the moment.
const PATIENCE: Duration = Duration::from_secs(5);
/// The same while the broker is hurt: it has to come back first, and to load what it coordinates.
const PATIENCE_IN_ORDEALS: Duration = Duration::from_secs(15);
/// The same after a client waited so long in vain.
const PATIENCE_WITHOUT_HOPE: Duration = Duration::from_secs(1);
/// Within so many microseconds from the start of a round the broker is struck.
const STRUCK_WITHIN_US: u64 = 8_000;
/// The longest pause between two tries.
const PAUSE_MAX_MS: u64 = 50;
/// What a round of nothing takes: brokers write markers within a few milliseconds.
const IDLE: Duration = Duration::from_millis(20);

/// The way of one case to the cluster.
pub(super) struct Way {
    pub(super) cluster: Arc<Cluster>,
    pub(super) rooms: Arc<Rooms>,
    pub(super) room: Room,
    /// Few, so they are looked through.
    lanes: Mutex<Vec<(Lane, Connection)>>,
    coordinators: Mutex<BTreeMap<(Kind, String), i32>>,
    /// Connections of lanes that are gone, whose last request gets no answer. See [`Way::settle`].
    left: Mutex<Vec<Connection>>,
    unsettled: AtomicBool,
    ordeal: Option<Ordeal>,
}

/// What is different for a case in which the broker is hurt.
pub(super) struct Ordeal {
    host: Arc<Host>,
    /// How long its clients wait for an answer.
    deadline: Duration,
    dice: Mutex<fastrand::Rng>,
    /// A client waited in vain.
    disappointed: AtomicBool,
    /// The epilogue has begun.
    healing: AtomicBool,
    /// Connections whose last request was given up by its client, and may be carried out after all.
    late: Mutex<Vec<Connection>>,
}

impl Ordeal {
    /// None for a plan without faults. Clients wait less than a pause lasts, so that some give up and others see their second
    /// copy answered.
    pub(super) fn of(plan: &Plan, host: &Arc<Host>, deadline: Duration) -> Option<Ordeal> {
        plan.faults().next()?;
        let mut dice = fastrand::Rng::with_seed(plan.schedule);
        let pauses = plan.faults().any(|fault| fault == Fault::Pause);
        let share = dice.u32(30..90);
        let deadline = if pauses { host.node().pause_time() * share / 100 } else { deadline };
        let (dice, late) = (Mutex::new(dice), Mutex::default());
        let (disappointed, healing) = (AtomicBool::new(false), AtomicBool::new(false));
        Some(Ordeal { host: Arc::clone(host), deadline, dice, disappointed, healing, late })
    }

    /// How long a client keeps asking that has asked for so long already. Only the first one has all the time that a broker
    /// may need to come back: one that comes back without what it had is not waited for in every step.
    fn patience(&self, spent: Duration) -> Duration {
        // The epilogue waits several times so long anyway.
        if self.healing.load(Ordering::Relaxed) {
            return PATIENCE;
        }
        let patience = match self.disappointed.load(Ordering::Relaxed) {
            true => PATIENCE_WITHOUT_HOPE,
            false => PATIENCE_IN_ORDEALS,
        };
        if spent >= patience {
            self.disappointed.store(true, Ordering::Relaxed);
        }
        patience
    }

    /// When in a round the broker is struck: while requests are under way, as a rule.
    fn moment(&self) -> Duration {
        let mut dice = self.dice.lock().unwrap_or_else(PoisonError::into_inner);
        Duration::from_micros(dice.u64(0..STRUCK_WITHIN_US))
    }

    fn late(&self) -> MutexGuard<'_, Vec<Connection>> {
        self.late.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until the broker is done with what clients gave up. Else it could be carried out in any later round, which the
    /// protocol gives no defence against and no plan says (a request held on purpose is told by its fate).
    async fn outlive(&self, deadline: Duration) {
        let late = std::mem::take(&mut *self.late());
        join_all(late.into_iter().map(|mut connection| async move {
            connection.set_deadline(deadline);
            connection.outlive().await;
        }))
        .await;
    }
}

/// Why a request gave no response.
pub(super) enum Failed {
    /// The broker refused it.
    Refused(Code),
    /// The broker did not answer as brokers do.
    Target(TargetError),
}

impl From<TargetError> for Failed {
    fn from(error: TargetError) -> Self {
        Failed::Target(error)
    }
}

/// What a request brought.
pub(super) type Told = Result<Response, Failed>;

/// Goes on if the broker reported no error.
pub(super) fn check(code: i16) -> Result<(), Failed> {
    match code {
        0 => Ok(()),
        code => Err(Failed::Refused(Code(code))),
    }
}

/// What an answer says of a partition that was asked about.
pub(super) fn said_of<'a, T, R: Exchange>(
    broker: &str,
    partition: Partition,
    answer: &'a ByPartition<T>,
) -> Result<&'a T, TargetError> {
    let found = answer.iter().find(|(index, _)| *index == partition.index());
    found.map(|(_, said)| said).ok_or_else(|| TargetError {
        address: broker.to_owned(),
        request: connection::name::<R>(),
        reason: format!(
            "its answer says nothing of partition {}, which was asked about",
            partition.0
        ),
    })
}

impl Way {
    pub(super) fn new(
        cluster: Arc<Cluster>,
        rooms: Arc<Rooms>,
        room: Room,
        ordeal: Option<Ordeal>,
    ) -> Self {
        Way {
            cluster,
            rooms,
            room,
            lanes: Mutex::default(),
            coordinators: Mutex::default(),
            left: Mutex::default(),
            unsettled: AtomicBool::new(false),
            ordeal,
        }
    }

    /// One request on a lane. A connection that failed is not used again.
    pub(super) async fn exchange<R: Exchange>(
        &self,
        lane: Lane,
        broker: &Arc<str>,
        versions: (i16, i16),
        request: &R,
    ) -> Result<R::Answer, TargetError> {
        let version = self.cluster.version::<R>(versions)?;
        let mut connection = self.connection(lane, broker).await?;
        let answer = connection.exchange(version, request).await;
        match (&answer, &self.ordeal) {
            (Ok(_), _) => self.lanes().push((lane, connection)),
            (Err(_), Some(ordeal)) if connection.is_waiting() => ordeal.late().push(connection),
            _ => {}
        }
        answer
    }

    /// One request on a lane that gets no answer.
    pub(super) async fn post<R: Exchange>(
        &self,
        lane: Lane,
        broker: &Arc<str>,
        versions: (i16, i16),
        request: &R,
    ) -> Result<(), TargetError> {
        let version = self.cluster.version::<R>(versions)?;
        let mut connection = self.connection(lane, broker).await?;
        connection.post(version, request).await?;
        self.unsettled.store(true, Ordering::Relaxed);
        self.lanes().push((lane, connection));
        Ok(())
    }

    /// Taken out of the lane, so that it comes back only if all went well.
    async fn connection(&self, lane: Lane, broker: &Arc<str>) -> Result<Connection, TargetError> {
        let open = {
            let mut lanes = self.lanes();
            let place = lanes.iter().position(|(of, one)| *of == lane && one.address() == broker);
            place.map(|place| lanes.swap_remove(place).1)
        };
        match open {
            // A broker closes the connection over a batch without acknowledgement that it refuses. Clients reconnect.
            Some(connection) if !connection.is_posted() || connection.is_usable() => Ok(connection),
            _ => {
                let mut connection = self.cluster.take(broker).await?;
                if let (Some(ordeal), false) = (&self.ordeal, lane == Lane::Rig) {
                    connection.set_deadline(ordeal.deadline);
                }
                Ok(connection)
            }
        }
    }

    /// Whether the broker is hurt in this case.
    pub(super) fn is_ordeal(&self) -> bool {
        self.ordeal.is_some()
    }

    /// The broker is dead, and so are all connections to it.
    fn hang_up(&self) {
        self.lanes().clear();
        self.left.lock().unwrap_or_else(PoisonError::into_inner).clear();
        self.cluster.hang_up();
    }

    /// Waits until the brokers are done with what they do not answer. Else a batch without acknowledgement could arrive
    /// in the middle of the final reads, one of which would see it and another not.
    async fn settle(&self) {
        if !self.unsettled.swap(false, Ordering::Relaxed) {
            return;
        }
        let mut posted =
            std::mem::take(&mut *self.left.lock().unwrap_or_else(PoisonError::into_inner));
        posted.extend(self.lanes().extract_if(.., |(_, one)| one.is_posted()).map(|(_, one)| one));
        // Brokers work off a connection's requests in order: once they answer, they are done with all before.
        join_all(posted.into_iter().map(|mut connection| async move {
            let request = ApiVersionsRequest::default();
            if connection.exchange(0, &request).await.is_ok() {
                self.cluster.put_back(connection);
            }
        }))
        .await;
    }

    /// The broker that leads a partition.
    pub(super) async fn leader(&self, partition: Partition) -> Result<Arc<str>, Failed> {
        let place = partition.0 as usize;
        let known = self.room.leaders().get(place).and_then(|id| self.cluster.broker(*id));
        if let Some(address) = known {
            return Ok(address);
        }
        self.room.look_up(&self.cluster).await?;
        let found = self.room.leaders().get(place).and_then(|id| self.cluster.broker(*id));
        found.ok_or(Failed::Refused(Code::LEADER_NOT_AVAILABLE))
    }

    /// The broker that coordinates a group or a transactional id.
    pub(super) async fn coordinator(&self, kind: Kind, key: String) -> Result<Arc<str>, Failed> {
        if let Some(address) = self.cluster.only_broker() {
            return Ok(address);
        }
        let place = (kind, key);
        let known = self.coordinators().get(&place).and_then(|id| self.cluster.broker(*id));
        if let Some(address) = known {
            return Ok(address);
        }
        let node = self.cluster.coordinator(kind, &place.1).await?.map_err(Failed::Refused)?;
        self.coordinators().insert(place, node);
        self.cluster.broker(node).ok_or(Failed::Refused(Code::COORDINATOR_NOT_AVAILABLE))
    }

    /// Leaders and coordinators move: who could not be reached, or is not in charge, is looked up before the next request.
    fn forget(&self, request: &Request, failed: &Failed) {
        let moved = match failed {
            Failed::Target(_) => true,
            Failed::Refused(code) => matches!(
                *code,
                Code::NOT_LEADER_OR_FOLLOWER
                    | Code::LEADER_NOT_AVAILABLE
                    | Code::FENCED_LEADER_EPOCH
                    | Code::UNKNOWN_LEADER_EPOCH
                    | Code::UNKNOWN_TOPIC_OR_PARTITION
                    | Code::KAFKA_STORAGE_ERROR
                    | Code::NOT_COORDINATOR
                    | Code::COORDINATOR_NOT_AVAILABLE
            ),
        };
        match request {
            _ if !moved => {}
            Request::Produce { .. }
            | Request::Malformed { .. }
            | Request::Fetch { .. }
            | Request::FetchByte { .. }
            | Request::ListOffsets { .. } => self.room.leaders().clear(),
            _ => self.coordinators().clear(),
        }
    }

    fn lanes(&self) -> MutexGuard<'_, Vec<(Lane, Connection)>> {
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn coordinators(&self) -> MutexGuard<'_, BTreeMap<(Kind, String), i32>> {
        self.coordinators.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Idle connections go back; also when the case was given up in the middle, for then those under way are not here.
impl Drop for Way {
    fn drop(&mut self) {
        self.rooms.leave(&self.room);
        for (_, connection) in std::mem::take(&mut *self.lanes()) {
            if !connection.is_posted() {
                self.cluster.put_back(connection);
            }
        }
    }
}

impl Transport for Way {
    async fn call(&self, lane: Lane, request: &Request) -> Result<Answer, TargetError> {
        if lane == Lane::Rig {
            self.settle().await;
        }
        if let Some(ordeal) = &self.ordeal {
            ordeal.host.reachable().await?;
            ordeal.healing.fetch_or(lane == Lane::Rig, Ordering::Relaxed);
        }
        let told = match request {
            Request::InitProducer { txn, expected } => {
                self.init_producer(lane, *txn, *expected).await
            }
            Request::AddPartition { txn, session, partition } => {
                self.add_partition(lane, *txn, *session, *partition).await
            }
            Request::AddGroup { txn, session, group } => {
                self.add_group(lane, *txn, *session, *group).await
            }
            Request::Produce { partition, batch, acks, txn } => {
                self.produce(lane, *partition, batch, *acks, *txn).await
            }
            Request::Malformed { flaw, partition, batch, txn } => {
                self.malformed(lane, *flaw, *partition, batch, *txn).await
            }
            Request::EndTxn { txn, session, ending, protocol } => {
                self.end_txn(lane, *txn, *session, *ending, *protocol).await
            }
            Request::SaveInTxn { txn, session, protocol, group, member, positions } => {
                self.save_in_txn(
                    lane,
                    (*txn, *session, *protocol),
                    *group,
                    member.as_ref(),
                    positions,
                )
                .await
            }
            Request::Save { group, member, positions } => {
                self.save(lane, *group, member.as_ref(), positions).await
            }
            Request::Positions { group, partitions, stable } => {
                self.positions(lane, *group, partitions, *stable).await
            }
            Request::Join { group } => self.join(lane, *group).await,
            Request::Fetch { partition, offset, isolation } => {
                self.fetch(lane, *partition, *offset, *isolation, FETCH_BYTES_MAX).await
            }
            Request::FetchByte { partition, offset, isolation } => {
                self.fetch(lane, *partition, *offset, *isolation, 1).await
            }
            Request::ListOffsets { partition, earliest, isolation } => {
                self.list_offsets(lane, *partition, *earliest, *isolation).await
            }
        };
        if let Err(failed) = &told {
            self.forget(request, failed);
        }
        match told {
            Ok(response) => Ok(Ok(response)),
            Err(Failed::Refused(code)) => Ok(Err(code)),
            Err(Failed::Target(error)) => Err(error),
        }
    }

    fn cut(&self, lane: Lane) {
        let cut: Vec<_> = self.lanes().extract_if(.., |(of, _)| *of == lane).collect();
        let posted =
            cut.into_iter().map(|(_, connection)| connection).filter(Connection::is_posted);
        self.left.lock().unwrap_or_else(PoisonError::into_inner).extend(posted);
    }

    /// 1, 2, 4, … ms, 50 at most.
    async fn back_off(&self, retry: u32) -> bool {
        tokio::time::sleep(pause(retry)).await;
        let spent = (1..=retry).map(pause).sum::<Duration>();
        match &self.ordeal {
            Some(ordeal) => spent < ordeal.patience(spent),
            None => spent < PATIENCE,
        }
    }

    async fn strike(&self, fault: Fault, struck: &(dyn Fn() + Sync)) -> Result<bool, TargetError> {
        let Some(ordeal) = &self.ordeal else {
            return Ok(false);
        };
        if fault.overlaps() {
            tokio::time::sleep(ordeal.moment()).await;
        }
        let struck = || {
            if fault != Fault::Pause {
                self.hang_up();
            }
            struck();
        };
        ordeal.host.strike(fault, &struck).await?;
        Ok(true)
    }

    async fn overlap<'a>(&'a self, steps: Vec<BoxFuture<'a, ()>>) {
        if steps.is_empty() {
            tokio::time::sleep(IDLE).await;
        }
        join_all(steps).await;
        if let Some(ordeal) = &self.ordeal {
            ordeal.outlive(self.cluster.deadline()).await;
        }
    }
}

fn pause(retry: u32) -> Duration {
    Duration::from_millis((1 << retry.saturating_sub(1).min(10)).min(PAUSE_MAX_MS))
}
