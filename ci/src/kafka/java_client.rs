//! Kafka's own Java client against `onceness serve`: the jars of an installed release, a small program (`ci/java`), no broker
//! of Kafka's. The same program holds on a real one.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use super::install::{class_path, home};
use super::{DEFAULT_VERSION, VERSION_VARIABLE, Version};

/// A served broker, gone with the test.
struct Served {
    child: Child,
    address: String,
}

impl Served {
    fn start() -> Served {
        let mut child = Command::new(onceness())
            .args(["serve", "--listen", "127.0.0.1:0"])
            .env_remove("ONCENESS_DEFECT")
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut said = String::new();
        BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut said).unwrap();
        let address = said.split(' ').nth(2).unwrap_or_default().to_owned();
        Served { child, address }
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The binary, which `cargo test --workspace` builds beside this test's folder.
fn onceness() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let binary = test.parent().and_then(Path::parent).unwrap().join("onceness");
    assert!(binary.exists(), "{} is not there: cargo build -p onceness", binary.display());
    binary
}

#[test]
#[ignore = "needs a JDK, and the jars of Apache Kafka: cargo ci kafka -- true"]
fn kafkas_java_client_produces_consumes_and_runs_transactions_on_a_served_broker() {
    let named = std::env::var(VERSION_VARIABLE);
    let version: Version = named.as_deref().unwrap_or(DEFAULT_VERSION).parse().unwrap();
    let home = home(&version).unwrap();
    assert!(
        home.exists(),
        "Apache Kafka {version} is not cached: cargo ci kafka {version} -- true"
    );
    let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("java/RoundTrips.java");
    let served = Served::start();
    let done = Command::new("java")
        .args(["-XX:TieredStopAtLevel=1", "-XX:-UsePerfData"])
        .arg("-Dorg.slf4j.simpleLogger.defaultLogLevel=error")
        .args(["-cp", &class_path(&home).unwrap()])
        .arg(program)
        .arg(&served.address)
        .current_dir(&home)
        .output()
        .unwrap();
    let (said, trouble) =
        (String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
    assert!(done.status.success(), "{said}\n{trouble}");
    let trips = ["ordinary", "compressed", "group", "transactions", "fencing", "times", "done"];
    assert_eq!(Vec::from_iter(said.lines()), trips, "{trouble}");
}
