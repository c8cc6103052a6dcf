//! Against a real broker, whose address is in `ONCENESS_KAFKA` (`cargo ci kafka` gives it one).

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _};

use crate::liar;
use crate::onceness::Desk;

#[test]
#[ignore = "needs a broker that speaks Kafka: ONCENESS_KAFKA=HOST:PORT"]
fn a_real_kafka_is_certified_and_left_clean() {
    let (_alone, address) = alone();
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

#[test]
#[ignore = "needs a broker that speaks Kafka: ONCENESS_KAFKA=HOST:PORT"]
fn a_kafka_that_hides_its_aborted_transactions_is_caught_and_the_failure_shrunk() {
    let (_alone, address) = alone();
    let liar = liar::start(address.parse().expect("HOST:PORT with a numeric host"));
    let desk = Desk::new();
    let done = desk.run(&format!(
        "certify kafka://{liar} --cases 60 --seed 1 --jobs 16 --accept KAFKA-17754 --fail-fast"
    ));
    assert_eq!(done.code, Some(1), "{done:?}");
    assert!(done.stdout.contains("isolation violated"), "{done:?}");
    let shrunk = done.stdout.lines().find_map(|line| line.trim().strip_prefix("shrunk from "));
    let steps =
        shrunk.and_then(|rest| rest.split(" to ").nth(1)?.split(' ').next()?.parse::<u32>().ok());
    assert!(steps.is_some_and(|steps| steps <= 8), "{done:?}");
}

#[test]
#[ignore = "needs a broker that speaks Kafka: ONCENESS_KAFKA=HOST:PORT"]
fn a_real_kafka_is_driven_and_read_back_by_librdkafka() {
    let (_alone, address) = alone();
    let before = our_topics(&address);
    let desk = Desk::new();
    for (client, cases) in [("rdkafka", 16), ("both", 24)] {
        let done = desk.run(&format!(
            "certify kafka://{address}?client={client} --cases {cases} --seed 3 --accept KAFKA-17754"
        ));
        assert!(matches!(done.code, Some(0 | 3)), "{done:?}");
        assert!(!done.stdout.contains("violated"), "{done:?}");
        assert!(!done.stdout.contains("did not answer"), "{done:?}");
    }
    let left: Vec<String> = our_topics(&address).difference(&before).cloned().collect();
    assert!(left.is_empty(), "left behind: {left:?}");
}

#[test]
#[ignore = "needs a broker that speaks Kafka: ONCENESS_KAFKA=HOST:PORT"]
fn a_real_kafka_holds_at_every_boundary_of_a_loop() {
    let (_alone, address) = alone();
    let before = our_topics(&address);
    let desk = Desk::new();
    let done = desk.run(&format!("certify kafka://{address} --sweep --accept KAFKA-17754 --json"));
    let sweep = done.json();
    assert_eq!(done.code, Some(0), "{done:?}");
    assert!(sweep["counts"]["holds"].as_u64() > Some(150), "{}", sweep["counts"]);
    for plan in sweep["plans"].as_array().expect("plans") {
        let points = plan["points"].as_array().expect("points");
        let visited = points.iter().filter(|point| point["visit"] == "exact");
        // All but those inside the broker, and in TV2 those that it has not.
        assert!(visited.clone().count() >= 7, "{points:?}");
        for point in visited {
            assert_eq!(point["crashes"], point["as_expected"], "{point}");
        }
    }
    let left: Vec<String> = our_topics(&address).difference(&before).cloned().collect();
    assert!(left.is_empty(), "left behind: {left:?}");
}

/// The broker, for one test at a time: what one leaves behind is told by comparing.
fn alone() -> (MutexGuard<'static, ()>, String) {
    static BROKER: Mutex<()> = Mutex::new(());
    let alone = BROKER.lock().unwrap_or_else(PoisonError::into_inner);
    (alone, std::env::var("ONCENESS_KAFKA").expect("ONCENESS_KAFKA=HOST:PORT"))
}

fn our_topics(address: &str) -> BTreeSet<String> {
    let reader: BaseConsumer =
        (ClientConfig::new().set("bootstrap.servers", address)).create().expect("a client");
    let metadata = reader.fetch_metadata(None, Duration::from_secs(10)).expect("a broker answers");
    let names = metadata.topics().iter().map(|topic| topic.name().to_owned());
    names.filter(|name| name.starts_with("onceness")).collect()
}
