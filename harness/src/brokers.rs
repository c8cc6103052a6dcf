//! The adapters for real brokers, behind one door.

use std::sync::Arc;

use onceness_adapters::node::Node;
use onceness_adapters::stock::Stock;
use onceness_adapters::wire::Kafka;
use onceness_adapters::{Adapter, TargetError};

use crate::target::Client;

/// Reaches a broker that speaks Kafka.
pub(crate) async fn open(
    addresses: &[String],
    client: Client,
) -> Result<Arc<dyn Adapter>, TargetError> {
    match client {
        Client::Wire => Ok(Arc::new(Kafka::connect(addresses).await?)),
        Client::Both => Ok(Arc::new(Kafka::connect(addresses).await?.reading_back())),
        Client::Defective(defect) => {
            Ok(Arc::new(Kafka::connect(addresses).await?.driven_by(defect.client())))
        }
        Client::Rdkafka => Ok(Arc::new(Stock::connect(addresses).await?)),
    }
}

/// The same for a broker that we started, and may hurt.
pub(crate) async fn on(
    node: Arc<dyn Node>,
    client: Client,
) -> Result<Arc<dyn Adapter>, TargetError> {
    match client {
        Client::Wire => Ok(Arc::new(Kafka::on(node).await?)),
        Client::Both => Ok(Arc::new(Kafka::on(node).await?.reading_back())),
        Client::Defective(defect) => {
            Ok(Arc::new(Kafka::on(node).await?.driven_by(defect.client())))
        }
        Client::Rdkafka => Ok(Arc::new(Stock::on(node).await?)),
    }
}
