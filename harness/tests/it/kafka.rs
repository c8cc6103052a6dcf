//! Against a real broker, whose address is in `ONCENESS_KAFKA` (`cargo ci kafka` gives it one).

use std::collections::BTreeSet;
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _};

use crate::onceness::Desk;

#[test]
#[ignore = "needs a broker that speaks Kafka: ONCENESS_KAFKA=HOST:PORT"]
fn a_real_kafka_is_certified_and_left_clean() {
    let address = std::env::var("ONCENESS_KAFKA").expect("ONCENESS_KAFKA=HOST:PORT");
    let before = our_topics(&address);
    let desk = Desk::new();
    let done = desk.run(&format!("certify kafka://{address} --cases 100 --accept KAFKA-17754"));
    // So few cases may leave something untested, which is not green; but nothing is accused.
    assert!(matches!(done.code, Some(0 | 3)), "{done:?}");
    assert!(!done.stdout.contains("violated"), "{done:?}");
    assert!(!done.stdout.contains("did not answer"), "{done:?}");
    assert!(!desk.path().join("onceness-report/running").exists());
    let left: Vec<String> = our_topics(&address).difference(&before).cloned().collect();
    assert!(left.is_empty(), "left behind: {left:?}");
}

fn our_topics(address: &str) -> BTreeSet<String> {
    let reader: BaseConsumer =
        (ClientConfig::new().set("bootstrap.servers", address)).create().expect("a client");
    let metadata = reader.fetch_metadata(None, Duration::from_secs(10)).expect("a broker answers");
    let names = metadata.topics().iter().map(|topic| topic.name().to_owned());
    names.filter(|name| name.starts_with("onceness")).collect()
}
