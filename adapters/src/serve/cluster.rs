//! Who the cluster is: one broker, which leads and coordinates everything, and what it speaks.

use kafka_protocol::messages::api_versions_response::{
    ApiVersion, FinalizedFeatureKey, SupportedFeatureKey,
};
use kafka_protocol::messages::describe_cluster_response::DescribeClusterBroker;
use kafka_protocol::messages::find_coordinator_response::Coordinator;
use kafka_protocol::messages::metadata_response::MetadataResponseBroker;
use kafka_protocol::messages::{
    ApiVersionsResponse, BrokerId, DescribeClusterResponse, FindCoordinatorResponse,
};
use onceness_reference::code::Code;

use super::apis::{APIS, Api};
use super::call::{Call, Handled, text};
use super::state::State;
use crate::wire::fields::Fields;

/// The id of the one broker.
pub(super) const NODE: BrokerId = BrokerId(1);
/// What the cluster calls itself.
pub(super) const CLUSTER: &str = "onceness-serve";
/// The protocol of KIP-890 part 2 is on: who speaks it, uses it.
const TRANSACTION_VERSION: i16 = 2;
/// Key types of FindCoordinator.
const GROUP_AND_TXN: std::ops::RangeInclusive<i8> = 0..=1;

pub(super) fn api_versions(_: &mut State, call: &mut Call<'_>) -> Handled {
    let transactions = text("transaction.version");
    let supported = SupportedFeatureKey::default()
        .with_name(transactions.clone())
        // Before version 4 no feature could start from 0.
        .with_min_version(i16::from(call.version < 4))
        .with_max_version(TRANSACTION_VERSION);
    let finalized = FinalizedFeatureKey::default()
        .with_name(transactions)
        .with_min_version_level(TRANSACTION_VERSION)
        .with_max_version_level(TRANSACTION_VERSION);
    let answer = ApiVersionsResponse::default().with_api_keys(APIS.iter().map(told).collect());
    match call.version {
        3.. => call.answer(
            &answer
                .with_supported_features(vec![supported])
                .with_finalized_features(vec![finalized])
                .with_finalized_features_epoch(1),
        ),
        _ => call.answer(&answer),
    }
}

/// A version that is not known is answered in the oldest, with the versions of this one request.
pub(super) fn refuse_api_versions(call: &Call<'_>) -> Handled {
    let known = APIS.iter().filter(|api| api.key == call.api).map(told);
    let refusal = ApiVersionsResponse::default().with_error_code(Code::UNSUPPORTED_VERSION.0);
    call.answer_in(0, &refusal.with_api_keys(known.collect()))
}

fn told(api: &Api) -> ApiVersion {
    ApiVersion::default()
        .with_api_key(api.key as i16)
        .with_min_version(api.min)
        .with_max_version(api.max)
}

pub(super) fn find_coordinator(_: &mut State, call: &mut Call<'_>) -> Handled {
    let fields = &mut call.fields;
    let (host, port) = (text(call.address.ip().to_string()), i32::from(call.address.port()));
    let found = |kind: i8| match GROUP_AND_TXN.contains(&kind) {
        true => 0,
        false => Code::INVALID_REQUEST.0,
    };
    if call.version < 4 {
        fields.text()?;
        let kind = if call.version >= 1 { fields.i8()? } else { 0 };
        let answer = FindCoordinatorResponse::default().with_error_code(found(kind));
        return call.answer(&answer.with_node_id(NODE).with_host(host).with_port(port));
    }
    let kind = fields.i8()?;
    let coordinators = fields.array(Fields::text)?.into_iter().map(|key| {
        Coordinator::default()
            .with_key(text(key))
            .with_node_id(NODE)
            .with_host(host.clone())
            .with_port(port)
            .with_error_code(found(kind))
    });
    let coordinators = coordinators.collect();
    call.answer(&FindCoordinatorResponse::default().with_coordinators(coordinators))
}

pub(super) fn describe(_: &mut State, call: &mut Call<'_>) -> Handled {
    let broker = DescribeClusterBroker::default()
        .with_broker_id(NODE)
        .with_host(text(call.address.ip().to_string()))
        .with_port(call.address.port().into());
    call.answer(
        &DescribeClusterResponse::default()
            .with_cluster_id(text(CLUSTER))
            .with_controller_id(NODE)
            .with_brokers(vec![broker]),
    )
}

/// The one broker, as Metadata tells it.
pub(super) fn broker(call: &Call<'_>) -> MetadataResponseBroker {
    MetadataResponseBroker::default()
        .with_node_id(NODE)
        .with_host(text(call.address.ip().to_string()))
        .with_port(call.address.port().into())
}
