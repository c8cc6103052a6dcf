//! The cluster that a run talks to: who its brokers are, which versions of which request they speak, and idle connections
//! that cases share, so that none pays for setting one up.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::future::try_join_all;
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::{
    AddOffsetsToTxnRequest, AddPartitionsToTxnRequest, ApiVersionsRequest, EndTxnRequest,
    FetchRequest, FindCoordinatorRequest, InitProducerIdRequest, JoinGroupRequest, MetadataRequest,
    ProduceRequest, SyncGroupRequest, TopicName, TxnOffsetCommitRequest,
};
use kafka_protocol::protocol::StrBytes;
use onceness_reference::code::Code;
use tokio::time::Instant;

use super::answers::{Abilities, Exchange, Geography, Topic};
use super::connection::{self, Connection};
use crate::TargetError;

/// How long a broker may take for one answer.
pub(super) const DEADLINE: Duration = Duration::from_secs(10);
/// A cluster may take so many deadlines to be ready for its first transaction and group.
const DEADLINES_TO_BE_READY: u32 = 3;

/// A cluster, connected.
#[derive(Debug)]
pub(super) struct Cluster {
    bootstrap: Vec<Arc<str>>,
    deadline: Duration,
    spoken: Spoken,
    id: String,
    brokers: Mutex<Arc<Brokers>>,
    idle: Mutex<HashMap<Arc<str>, Vec<Connection>>>,
}

/// Which versions every broker speaks, and what the cluster has finalized.
#[derive(Debug)]
struct Spoken {
    ranges: BTreeMap<i16, (i16, i16)>,
    features: BTreeMap<String, i16>,
}

/// Who is there, as last heard.
#[derive(Clone, Debug, Default)]
struct Brokers {
    addresses: BTreeMap<i32, Arc<str>>,
    controller: i32,
}

/// What a coordinator coordinates. The number is the key type on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    Group = 0,
    Transaction = 1,
}

impl Cluster {
    /// Asks the first of the addresses that answers who the cluster is, and then everyone there.
    pub(super) async fn connect(
        addresses: &[String],
        deadline: Duration,
    ) -> Result<Cluster, TargetError> {
        let mut failures = Vec::new();
        for address in addresses {
            match Cluster::connect_to(address, addresses, deadline).await {
                Ok(cluster) => return Ok(cluster),
                Err(error) => failures.push(error),
            }
        }
        // What went wrong at the first address is mostly what went wrong.
        Err(failures.into_iter().next().unwrap_or_else(|| TargetError {
            address: "the cluster".to_owned(),
            request: "connecting".to_owned(),
            reason: "no address was given".to_owned(),
        }))
    }

    async fn connect_to(
        address: &str,
        all: &[String],
        deadline: Duration,
    ) -> Result<Cluster, TargetError> {
        let address: Arc<str> = address.into();
        let mut connection = Connection::open(&address, deadline).await?;
        let spoken = Spoken::new(abilities(&mut connection).await?);
        let mut cluster = Cluster {
            bootstrap: all.iter().map(|address| address.as_str().into()).collect(),
            deadline,
            spoken,
            id: String::new(),
            brokers: Mutex::default(),
            idle: Mutex::default(),
        };
        let version = cluster.version::<MetadataRequest>((0, i16::MAX))?;
        let request = MetadataRequest::default().with_topics(Some(Vec::new()));
        let geography = connection.exchange(version, &request).await?;
        cluster.put_back(connection);
        if geography.brokers.is_empty() {
            return Err(cluster
                .error("Metadata", "names no broker; is the cluster still starting?".to_owned()));
        }
        cluster.learn(&geography);
        cluster.id = geography.cluster;
        let brokers = cluster.brokers();
        let others = brokers
            .addresses
            .iter()
            .map(|(id, advertised)| cluster.meet(&address, *id, advertised));
        for abilities in try_join_all(others).await? {
            cluster.spoken.narrow(&abilities);
        }
        Ok(cluster)
    }

    /// Brokers advertise addresses of their own, and those are what clients must reach.
    async fn meet(
        &self,
        asked: &str,
        id: i32,
        advertised: &Arc<str>,
    ) -> Result<Abilities, TargetError> {
        let mut connection = self.take(advertised).await.map_err(|error| TargetError {
            reason: format!(
                "{asked} advertises broker {id} at {advertised}, which cannot be reached from here ({}); \
                 set advertised.listeners to an address that clients can reach",
                error.reason
            ),
            ..error
        })?;
        let abilities = abilities(&mut connection).await?;
        self.put_back(connection);
        Ok(abilities)
    }

    /// The addresses that a client starts from, as Kafka's clients take them.
    pub(super) fn bootstrap(&self) -> String {
        self.bootstrap.join(",")
    }

    /// For people: what is known of the cluster. The protocol does not tell a broker's release.
    pub(super) fn describe(&self) -> String {
        let highest =
            self.spoken.ranges.get(&<FetchRequest as kafka_protocol::protocol::Request>::KEY);
        let highest = highest.map_or(0, |(_, max)| *max);
        let brokers = self.brokers().addresses.len();
        let plural = if brokers == 1 { "" } else { "s" };
        let bootstrap = self.bootstrap.join(",");
        let mut told = format!(
            "kafka://{bootstrap} (cluster {}, {brokers} broker{plural}, Fetch v{highest}",
            self.id
        );
        for feature in ["metadata.version", "transaction.version"] {
            if let Some(level) = self.spoken.features.get(feature) {
                told.push_str(&format!(", {feature} {level}"));
            }
        }
        told + ")"
    }

    /// Whether transactions can be had, by the protocol before KIP-890 part 2.
    pub(super) fn speaks_tv1(&self) -> bool {
        self.speaks::<InitProducerIdRequest>(0)
            && self.speaks::<AddPartitionsToTxnRequest>(0)
            && self.speaks::<AddOffsetsToTxnRequest>(0)
            && self.speaks::<EndTxnRequest>(0)
            && self.speaks::<TxnOffsetCommitRequest>(0)
    }

    /// Whether transactions can be had by the protocol of KIP-890 part 2. A broker may know the requests without the
    /// cluster having switched over.
    pub(super) fn speaks_tv2(&self) -> bool {
        self.feature("transaction.version").is_some_and(|level| level >= 2)
            && self.speaks::<ProduceRequest>(12)
            && self.speaks::<EndTxnRequest>(5)
            && self.speaks::<TxnOffsetCommitRequest>(5)
    }

    /// The finalized level of a feature, where the cluster has it.
    pub(super) fn feature(&self, name: &str) -> Option<i16> {
        self.spoken.features.get(name).copied()
    }

    /// Whether leaders ask the coordinator about transactional writes (KIP-890 part 1), as brokers do that say so in words
    /// of their own.
    pub(super) fn checks_writes(&self) -> bool {
        self.speaks::<ProduceRequest>(11)
    }

    /// Whether consumers can be static members of their group (KIP-345).
    pub(super) fn has_members(&self) -> bool {
        self.speaks::<JoinGroupRequest>(5) && self.speaks::<SyncGroupRequest>(3)
    }

    fn speaks<R: Exchange>(&self, version: i16) -> bool {
        self.version::<R>((version, i16::MAX)).is_ok()
    }

    /// The highest version of a request that both sides speak, within the given range.
    pub(super) fn version<R: Exchange>(
        &self,
        (least, most): (i16, i16),
    ) -> Result<i16, TargetError> {
        let (least, most) = (least.max(R::SPOKEN.0), most.min(R::SPOKEN.1));
        let spoken = self.spoken.ranges.get(&R::KEY);
        match spoken {
            Some((min, max)) if *min.max(&least) <= *max.min(&most) => Ok(*max.min(&most)),
            Some((min, max)) => Err(self.error(
                &connection::name::<R>(),
                format!(
                    "the brokers speak versions {min} to {max}, this suite needs {least} to {most}"
                ),
            )),
            None => {
                Err(self.error(&connection::name::<R>(), "the brokers do not offer it".to_owned()))
            }
        }
    }

    /// Where a broker is.
    pub(super) fn broker(&self, id: i32) -> Option<Arc<str>> {
        self.brokers().addresses.get(&id).cloned()
    }

    /// The broker, if there is but one.
    pub(super) fn only_broker(&self) -> Option<Arc<str>> {
        let brokers = self.brokers();
        let mut addresses = brokers.addresses.values();
        addresses.next().filter(|_| brokers.addresses.len() == 1).cloned()
    }

    /// The controller: before KRaft nobody else makes topics, since then anybody passes it on (KIP-590).
    pub(super) fn controller(&self) -> Arc<str> {
        let brokers = self.brokers();
        let controller = brokers.addresses.get(&brokers.controller);
        controller
            .or_else(|| brokers.addresses.values().next())
            .unwrap_or(&self.bootstrap[0])
            .clone()
    }

    /// Some broker, for what any of them can do.
    pub(super) fn any_broker(&self) -> Arc<str> {
        self.brokers().addresses.values().next().unwrap_or(&self.bootstrap[0]).clone()
    }

    /// Where topics are now.
    pub(super) async fn topics(
        &self,
        names: impl Iterator<Item = StrBytes>,
    ) -> Result<Vec<Topic>, TargetError> {
        let topics =
            names.map(|name| MetadataRequestTopic::default().with_name(Some(TopicName(name))));
        let request = MetadataRequest::default()
            .with_topics(Some(topics.collect()))
            .with_allow_auto_topic_creation(false);
        let geography = self.ask_anyone((0, i16::MAX), &request).await?;
        self.learn(&geography);
        Ok(geography.topics)
    }

    /// Which broker coordinates a group or transactional id; or why none does for now.
    pub(super) async fn coordinator(
        &self,
        kind: Kind,
        key: &str,
    ) -> Result<Result<i32, Code>, TargetError> {
        let version = self.version::<FindCoordinatorRequest>((0, i16::MAX))?;
        let name = StrBytes::from_string(key.to_owned());
        let mut request = FindCoordinatorRequest::default().with_key_type(kind as i8);
        match version {
            4.. => request.coordinator_keys = vec![name],
            _ => request.key = name,
        }
        let found = self.ask_anyone((version, version), &request).await?.into_iter().next();
        let Some(found) = found else {
            return Err(self.error("FindCoordinator", "the answer names none".to_owned()));
        };
        if found.code != 0 {
            return Ok(Err(Code(found.code)));
        }
        if self.broker(found.node).is_none() {
            // One that joined the cluster since we last looked.
            let mut brokers = Brokers::clone(&self.brokers());
            brokers.addresses.insert(found.node, found.address.into());
            *self.brokers.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(brokers);
        }
        Ok(Ok(found.node))
    }

    /// Waits until there are coordinators of a kind. The first question makes the internal topic behind them.
    pub(super) async fn ready(&self, kind: Kind) -> Result<(), TargetError> {
        let end = self.patience(DEADLINES_TO_BE_READY);
        loop {
            let code = match self.coordinator(kind, "onceness").await? {
                Ok(_) => return Ok(()),
                Err(code) => code,
            };
            let passes = [
                Code::COORDINATOR_LOAD_IN_PROGRESS,
                Code::COORDINATOR_NOT_AVAILABLE,
                Code::NOT_COORDINATOR,
                Code::LEADER_NOT_AVAILABLE,
                Code::UNKNOWN_TOPIC_OR_PARTITION,
            ];
            if !passes.contains(&code) || Instant::now() > end {
                let (what, setting) = match kind {
                    Kind::Group => ("groups", "offsets.topic.replication.factor"),
                    Kind::Transaction => {
                        ("transactions", "transaction.state.log.replication.factor")
                    }
                };
                let brokers = self.brokers().addresses.len();
                let reason = format!(
                    "no coordinator of {what}: {code}; the cluster has {brokers} brokers, is {setting} at most that?"
                );
                return Err(self.error("FindCoordinator", reason));
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// When waiting for something to become ready ends.
    pub(super) fn patience(&self, deadlines: u32) -> Instant {
        Instant::now() + self.deadline * deadlines
    }

    /// One request to a broker, on a connection from the pool.
    pub(super) async fn ask<R: Exchange>(
        &self,
        address: &Arc<str>,
        request: &R,
    ) -> Result<R::Answer, TargetError> {
        self.ask_within(address, (0, i16::MAX), request).await
    }

    /// The same, in one of these versions.
    pub(super) async fn ask_within<R: Exchange>(
        &self,
        address: &Arc<str>,
        versions: (i16, i16),
        request: &R,
    ) -> Result<R::Answer, TargetError> {
        self.ask_in(address, self.version::<R>(versions)?, request).await
    }

    async fn ask_in<R: Exchange>(
        &self,
        address: &Arc<str>,
        version: i16,
        request: &R,
    ) -> Result<R::Answer, TargetError> {
        let mut connection = self.take(address).await?;
        let answer = connection.exchange(version, request).await?;
        self.put_back(connection);
        Ok(answer)
    }

    /// One request to whichever broker answers it first.
    async fn ask_anyone<R: Exchange>(
        &self,
        range: (i16, i16),
        request: &R,
    ) -> Result<R::Answer, TargetError> {
        let version = self.version::<R>(range)?;
        let brokers = self.brokers();
        let mut failed = None;
        for address in brokers.addresses.values().chain(&self.bootstrap) {
            match self.ask_in(address, version, request).await {
                Ok(answer) => return Ok(answer),
                Err(error) => failed = failed.or(Some(error)),
            }
        }
        Err(failed.unwrap_or_else(|| {
            self.error(&connection::name::<R>(), "there is nobody to ask".to_owned())
        }))
    }

    /// An idle connection, or a new one.
    pub(super) async fn take(&self, address: &Arc<str>) -> Result<Connection, TargetError> {
        // Brokers close what was idle for long.
        while let Some(connection) = self.take_idle(address) {
            if connection.is_usable() {
                return Ok(connection);
            }
        }
        Connection::open(address, self.deadline).await
    }

    fn take_idle(&self, address: &Arc<str>) -> Option<Connection> {
        self.idle().get_mut(address)?.pop()
    }

    /// Takes back a connection that nothing is under way on.
    pub(super) fn put_back(&self, mut connection: Connection) {
        connection.set_deadline(self.deadline);
        self.idle().entry(connection.address().clone()).or_default().push(connection);
    }

    /// Gives up all idle connections: the broker at their other end is gone.
    pub(super) fn hang_up(&self) {
        self.idle().clear();
    }

    /// How long a broker may take for one answer.
    pub(super) fn deadline(&self) -> Duration {
        self.deadline
    }

    #[cfg(test)]
    pub(super) fn idle_connections(&self) -> usize {
        self.idle().values().map(Vec::len).sum()
    }

    /// Something went wrong that is nobody's in particular.
    pub(super) fn error(&self, request: &str, reason: String) -> TargetError {
        TargetError { address: self.bootstrap.join(","), request: request.to_owned(), reason }
    }

    fn learn(&self, geography: &Geography) {
        if geography.brokers.is_empty() {
            return;
        }
        let known = self.brokers();
        let address = |(id, address): &(i32, String)| {
            let same = known.addresses.get(id).filter(|known| ***known == **address);
            (*id, same.cloned().unwrap_or_else(|| address.as_str().into()))
        };
        let learned = Brokers {
            addresses: geography.brokers.iter().map(address).collect(),
            controller: geography.controller,
        };
        *self.brokers.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(learned);
    }

    fn brokers(&self) -> Arc<Brokers> {
        self.brokers.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn idle(&self) -> MutexGuard<'_, HashMap<Arc<str>, Vec<Connection>>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Spoken {
    fn new(told: Abilities) -> Self {
        Spoken {
            ranges: told.ranges.into_iter().map(|(key, min, max)| (key, (min, max))).collect(),
            features: told.finalized.into_iter().collect(),
        }
    }

    /// Keeps what another broker speaks too: in the middle of an upgrade they differ.
    fn narrow(&mut self, other: &Abilities) {
        let theirs: BTreeMap<i16, (i16, i16)> =
            other.ranges.iter().map(|(key, min, max)| (*key, (*min, *max))).collect();
        self.ranges.retain(|key, _| theirs.contains_key(key));
        for (key, (min, max)) in &mut self.ranges {
            if let Some((other_min, other_max)) = theirs.get(key) {
                (*min, *max) = (*other_min.max(min), *other_max.min(max));
            }
        }
    }
}

/// What a broker can do. Version 3 tells the features; brokers before 2.4 refuse it, and are asked again.
async fn abilities(connection: &mut Connection) -> Result<Abilities, TargetError> {
    let request = ApiVersionsRequest::default()
        .with_client_software_name(StrBytes::from_static_str("onceness"))
        .with_client_software_version(StrBytes::from_static_str(env!("CARGO_PKG_VERSION")));
    let mut answer = connection.exchange(3, &request).await?;
    if Code(answer.code) == Code::UNSUPPORTED_VERSION {
        answer = connection.exchange(0, &request).await?;
    }
    match answer.code {
        0 => Ok(answer),
        code => Err(TargetError {
            address: connection.address().to_string(),
            request: "ApiVersions".to_owned(),
            reason: format!("it is refused with {}", Code(code)),
        }),
    }
}
