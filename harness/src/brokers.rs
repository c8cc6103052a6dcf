//! The adapters for real brokers, behind one door.

use std::sync::Arc;

use onceness_adapters::{Adapter, TargetError};

use crate::target::Client;

/// Reaches a broker that speaks Kafka.
pub(crate) async fn open(
    addresses: &[String],
    client: Client,
) -> Result<Arc<dyn Adapter>, TargetError> {
    let _ = client;
    Err(TargetError {
        address: addresses.join(","),
        request: "ApiVersions".to_owned(),
        reason: "this build cannot speak to brokers yet".to_owned(),
    })
}
