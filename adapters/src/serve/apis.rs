//! The requests that are known here, in which versions, and who handles them. ApiVersions tells clients this table.
//!
//! Versions end where topics are named by ids (Fetch 12, Produce 12), and where the wire cannot say what the model does.

use kafka_protocol::messages::ApiKey;

use super::call::{Call, Handled, Reply};
use super::state::State;
use super::{cluster, fetching, groups, offsets, positions, producing, topics, transactions};

/// One request: in which versions, and who handles it.
pub(super) struct Api {
    pub(super) key: ApiKey,
    pub(super) min: i16,
    pub(super) max: i16,
    handle: fn(&mut State, &mut Call<'_>) -> Handled,
}

const fn api(
    key: ApiKey,
    min: i16,
    max: i16,
    handle: fn(&mut State, &mut Call<'_>) -> Handled,
) -> Api {
    Api { key, min, max, handle }
}

pub(super) const APIS: &[Api] = &[
    api(ApiKey::Produce, 3, 12, producing::produce),
    api(ApiKey::Fetch, 4, 12, fetching::fetch),
    api(ApiKey::ListOffsets, 1, 7, offsets::list),
    api(ApiKey::Metadata, 0, 9, topics::metadata),
    api(ApiKey::OffsetCommit, 2, 8, positions::commit),
    api(ApiKey::OffsetFetch, 1, 8, positions::fetch),
    api(ApiKey::FindCoordinator, 0, 5, cluster::find_coordinator),
    api(ApiKey::JoinGroup, 0, 9, groups::join),
    api(ApiKey::Heartbeat, 0, 4, groups::heartbeat),
    api(ApiKey::LeaveGroup, 0, 5, groups::leave),
    api(ApiKey::SyncGroup, 0, 5, groups::sync),
    api(ApiKey::DescribeGroups, 0, 5, groups::describe),
    api(ApiKey::ListGroups, 0, 4, groups::list),
    api(ApiKey::ApiVersions, 0, 4, cluster::api_versions),
    api(ApiKey::CreateTopics, 2, 6, topics::create),
    api(ApiKey::DeleteTopics, 1, 5, topics::delete),
    api(ApiKey::InitProducerId, 0, 5, transactions::init_producer),
    api(ApiKey::AddPartitionsToTxn, 0, 3, transactions::add_partitions),
    api(ApiKey::AddOffsetsToTxn, 0, 4, transactions::add_offsets),
    api(ApiKey::EndTxn, 0, 5, transactions::end),
    api(ApiKey::TxnOffsetCommit, 0, 5, positions::commit_in_txn),
    api(ApiKey::DeleteGroups, 0, 2, groups::delete),
    api(ApiKey::DescribeCluster, 0, 0, cluster::describe),
    api(ApiKey::DescribeTransactions, 0, 0, transactions::describe),
    api(ApiKey::ListTransactions, 0, 1, transactions::list),
];

/// Whether a request may change what the broker knows, so that it has to be remembered.
pub(super) fn changes(key: ApiKey) -> bool {
    !matches!(
        key,
        ApiKey::Fetch
            | ApiKey::ListOffsets
            | ApiKey::FindCoordinator
            | ApiKey::Heartbeat
            | ApiKey::DescribeGroups
            | ApiKey::ListGroups
            | ApiKey::ApiVersions
            | ApiKey::DescribeCluster
            | ApiKey::DescribeTransactions
            | ApiKey::ListTransactions
    )
}

/// Handles a request. One that is not known ends the connection; only ApiVersions is answered in any version (KIP-511).
pub(super) fn handle(state: &mut State, call: &mut Call<'_>) -> Handled {
    let Some(api) = APIS.iter().find(|api| api.key == call.api) else { return Ok(Reply::Close) };
    match (api.min..=api.max).contains(&call.version) {
        true => (api.handle)(state, call),
        false if api.key == ApiKey::ApiVersions => cluster::refuse_api_versions(call),
        false => Ok(Reply::Close),
    }
}
