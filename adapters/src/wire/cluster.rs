//! The cluster that a run talks to: who its brokers are, which versions of which request they speak, and idle connections
//! that cases share, so that none pays for setting one up.

use std::collections::BTreeMap;
use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use kafka_protocol::messages::{
    ApiKey, ApiVersionsRequest, ApiVersionsResponse, FindCoordinatorRequest, MetadataRequest, MetadataResponse,
};
use kafka_protocol::protocol::{Request, StrBytes};

use super::connection::Connection;
use crate::TargetError;

/// How long a broker may take for one answer.
pub(super) const DEADLINE: Duration = Duration::from_secs(10);
/// How long it may take to be ready for its first coordinator and topics.
const PATIENCE: Duration = Duration::from_secs(30);

const UNSUPPORTED_VERSION: i16 = 35;

/// A cluster, connected.
#[derive(Debug)]
pub(super) struct Cluster {
    bootstrap: Vec<String>,
    deadline: Duration,
    versions: BTreeMap<i16, (i16, i16)>,
    /// The level of the finalized feature `transaction.version`.
    transaction_version: i16,
    cluster_id: String,
    brokers: Mutex<BTreeMap<i32, String>>,
    idle: Mutex<HashMap<String, Vec<Connection>>>,
}

/// What a coordinator coordinates.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    Group = 0,
    Transaction = 1,
}

impl Cluster {
    /// Asks the first of the addresses that answers who the cluster is.
    pub(super) async fn connect(addresses: &[String], deadline: Duration) -> Result<Cluster, TargetError> {
        let mut failed = None;
        for address in addresses {
            match Cluster::connect_to(address, addresses, deadline).await {
                Ok(cluster) => return Ok(cluster),
                Err(error) => failed = failed.or(Some(error)),
            }
        }
        Err(failed.unwrap_or_else(|| TargetError {
            address: String::new(),
            request: "connecting".to_owned(),
            reason: "no address was given".to_owned(),
        }))
    }

    async fn connect_to(address: &str, addresses: &[String], deadline: Duration) -> Result<Cluster, TargetError> {
        let mut connection = Connection::open(address, deadline).await?;
        let spoken = api_versions(&mut connection).await?;
        let feature = (spoken.finalized_features.iter())
            .find(|feature| feature.name.as_str() == "transaction.version")
            .map_or(0, |feature| feature.max_version_level);
        let versions = spoken.api_keys.iter().map(|api| (api.api_key, (api.min_version, api.max_version)));
        let mut cluster = Cluster {
            bootstrap: addresses.to_vec(),
            deadline,
            versions: versions.collect(),
            transaction_version: feature,
            cluster_id: String::new(),
            brokers: Mutex::default(),
            idle: Mutex::default(),
        };
        let request = MetadataRequest::default().with_topics(Some(Vec::new()));
        let version = cluster.version::<MetadataRequest>(address, 4, 13)?;
        let metadata = connection.exchange(version, &request).await?;
        cluster.cluster_id = metadata.cluster_id.as_ref().map_or_else(String::new, |id| id.to_string());
        cluster.learn(&metadata);
        if cluster.brokers().is_empty() {
            return Err(TargetError {
                address: address.to_owned(),
                request: "Metadata".to_owned(),
                reason: "names no broker; is the cluster still starting?".to_owned(),
            });
        }
        cluster.put_back(connection);
        cluster.check_advertised(address).await?;
        Ok(cluster)
    }

    /// Brokers advertise addresses of their own, and those are what clients must reach.
    async fn check_advertised(&self, asked: &str) -> Result<(), TargetError> {
        let brokers: Vec<(i32, String)> =
            self.brokers().iter().map(|(id, address)| (*id, address.clone())).collect();
        for (id, address) in brokers {
            let mut connection = self.take(&address).await.map_err(|error| TargetError {
                reason: format!(
                    "{asked} advertises broker {id} at {address}, which cannot be reached from here ({}); \
                     set advertised.listeners to an address that clients can reach",
                    error.reason
                ),
                ..error
            })?;
            api_versions(&mut connection).await?;
            self.put_back(connection);
        }
        Ok(())
    }

    /// For people: what is known of the cluster.
    pub(super) fn describe(&self) -> String {
        let highest = self.versions.get(&(ApiKey::Fetch as i16)).map_or(0, |(_, max)| *max);
        let brokers = self.brokers().len();
        format!(
            "kafka://{} (cluster {}, {brokers} broker{}, Fetch v{highest}, transaction.version {})",
            self.bootstrap.join(","),
            self.cluster_id,
            if brokers == 1 { "" } else { "s" },
            self.transaction_version,
        )
    }

    /// Whether transactions by the protocol of KIP-890 part 2 can be had.
    pub(super) fn speaks_tv2(&self) -> bool {
        let reaches = |key: ApiKey, version| self.versions.get(&(key as i16)).is_some_and(|(_, max)| *max >= version);
        self.transaction_version >= 2
            && reaches(ApiKey::Produce, 12)
            && reaches(ApiKey::EndTxn, 5)
            && reaches(ApiKey::TxnOffsetCommit, 5)
    }

    /// The highest version of a request that both sides speak, within what we can use.
    pub(super) fn version<R: Request>(&self, address: &str, least: i16, most: i16) -> Result<i16, TargetError> {
        let key = ApiKey::try_from(R::KEY).map_or_else(|()| format!("API {}", R::KEY), |key| format!("{key:?}"));
        let spoken = self.versions.get(&R::KEY).copied();
        let common = spoken.map(|(min, max)| (min.max(least), max.min(most))).filter(|(min, max)| min <= max);
        common.map(|(_, max)| max).ok_or_else(|| TargetError {
            address: address.to_owned(),
            request: key,
            reason: match spoken {
                Some((min, max)) => format!("the broker speaks versions {min} to {max}, this suite {least} to {most}"),
                None => "the broker does not offer it".to_owned(),
            },
        })
    }

    pub(super) fn broker(&self, id: i32) -> Option<String> {
        self.brokers().get(&id).cloned()
    }

    /// The broker to ask where any will do; the only one, where there is one.
    pub(super) fn any_broker(&self) -> (i32, String) {
        let brokers = self.brokers();
        // `connect` has made sure that there is one, and brokers are only ever added.
        brokers.iter().next().map_or((-1, self.bootstrap[0].clone()), |(id, address)| (*id, address.clone()))
    }

    pub(super) fn has_one_broker(&self) -> bool {
        self.brokers().len() == 1
    }

    /// Who coordinates that group or transactional id. Asked once of each kind even where there is only one broker, for the
    /// first question makes the internal topic.
    pub(super) async fn coordinator(&self, kind: Kind, key: &str) -> Result<i32, TargetError> {
        let (_, address) = self.any_broker();
        let version = self.version::<FindCoordinatorRequest>(&address, 1, 6)?;
        let name = StrBytes::from_string(key.to_owned());
        let mut request = FindCoordinatorRequest::default().with_key_type(kind as i8);
        match version {
            4.. => request.coordinator_keys = vec![name],
            _ => request.key = name,
        }
        let start = tokio::time::Instant::now();
        loop {
            let answer = self.ask(&address, version, &request).await?;
            let (code, node) = match answer.coordinators.first() {
                Some(found) => (found.error_code, found.node_id.0),
                None => (answer.error_code, answer.node_id.0),
            };
            match code {
                0 => return Ok(node),
                // Loading, or its internal topic is being made.
                14..=16 if start.elapsed() < PATIENCE => tokio::time::sleep(Duration::from_millis(50)).await,
                code => {
                    return Err(TargetError {
                        address,
                        request: "FindCoordinator".to_owned(),
                        reason: format!(
                            "no coordinator for {key}: {}; can the cluster make its internal topics \
                             (transaction.state.log.replication.factor, offsets.topic.replication.factor)?",
                            onceness_reference::code::Code(code)
                        ),
                    });
                }
            }
        }
    }

    /// One request to a broker, on a connection from the pool.
    pub(super) async fn ask<R: Request>(
        &self,
        address: &str,
        version: i16,
        request: &R,
    ) -> Result<R::Response, TargetError> {
        let mut connection = self.take(address).await?;
        let answer = connection.exchange(version, request).await?;
        self.put_back(connection);
        Ok(answer)
    }

    /// An idle connection, or a new one.
    pub(super) async fn take(&self, address: &str) -> Result<Connection, TargetError> {
        let idle = self.idle().get_mut(address).and_then(Vec::pop);
        match idle {
            Some(connection) => Ok(connection),
            None => Connection::open(address, self.deadline).await,
        }
    }

    /// Takes back a connection that nothing is under way on.
    pub(super) fn put_back(&self, connection: Connection) {
        self.idle().entry(connection.address().to_owned()).or_default().push(connection);
    }

    pub(super) fn learn(&self, metadata: &MetadataResponse) {
        let mut brokers = self.brokers();
        for broker in &metadata.brokers {
            brokers.insert(broker.node_id.0, format!("{}:{}", broker.host, broker.port));
        }
    }

    fn brokers(&self) -> MutexGuard<'_, BTreeMap<i32, String>> {
        self.brokers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn idle(&self) -> MutexGuard<'_, HashMap<String, Vec<Connection>>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Version 3 tells the features; brokers before 2.4 refuse it and answer version 0.
async fn api_versions(connection: &mut Connection) -> Result<ApiVersionsResponse, TargetError> {
    let request = ApiVersionsRequest::default()
        .with_client_software_name(StrBytes::from_static_str("onceness"))
        .with_client_software_version(StrBytes::from_static_str(env!("CARGO_PKG_VERSION")));
    let answer = connection.exchange(3, &request).await?;
    if answer.error_code == UNSUPPORTED_VERSION {
        return connection.exchange(0, &request).await;
    }
    Ok(answer)
}
