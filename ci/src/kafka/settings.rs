//! The texts that make a single broker quick to start, quick to restart and fit for transactions.

use std::fmt::Display;
use std::path::Path;

use super::{Pace, Version};

/// The name of the archive of loaded classes inside an installation.
pub(super) const ARCHIVE: &str = "classes.jsa";

/// The identity every installation is formatted with; brokers never meet.
pub(super) const CLUSTER_ID: &str = "b25jZW5lc3MtZ2F0ZS0wMA";

/// The project by which Maven finds a release and everything it needs, with a binding for its log.
pub(super) fn pom(version: &Version) -> String {
    format!(
        r#"<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>onceness</groupId>
  <artifactId>kafka</artifactId>
  <version>1</version>
  <packaging>pom</packaging>
  <dependencies>
    <dependency>
      <groupId>org.apache.kafka</groupId>
      <artifactId>kafka_2.13</artifactId>
      <version>{version}</version>
    </dependency>
    <dependency>
      <groupId>org.slf4j</groupId>
      <artifactId>slf4j-simple</artifactId>
      <version>1.7.36</version>
    </dependency>
  </dependencies>
</project>
"#
    )
}

/// The options of the JVM. Its log is its standard error: the simple binding works for every release and needs no file.
pub(super) fn java_options(pace: Pace, home: &Path) -> Vec<String> {
    let mut options = vec![
        "-Xmx1g",
        // A file of counters in the system's temporary folder, which a killed JVM would leave there.
        "-XX:-UsePerfData",
        "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
        "-Dorg.slf4j.simpleLogger.showDateTime=true",
        "-Dorg.slf4j.simpleLogger.dateTimeFormat=HH:mm:ss.SSS",
    ];
    options.extend(match pace {
        Pace::Short => ["-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC"].as_slice(),
        Pace::Long => ["-XX:+UseParallelGC"].as_slice(),
    });
    let mut options = options.into_iter().map(str::to_owned).collect::<Vec<_>>();
    if home.join(ARCHIVE).exists() {
        // Another JVM than the one that wrote the archive ignores it, silently by the second option.
        options.extend([format!("-XX:SharedArchiveFile={ARCHIVE}"), "-Xlog:cds=off".to_owned()]);
    }
    options
}

/// How long the controller believes in a broker that it hears nothing of. A killed broker is let in again only when its old
/// registration has expired (9 s by default).
#[derive(Clone, Copy)]
pub(super) enum Registration {
    /// On a busy machine a broker with less loses its registration, and with it all leaders, without having been killed.
    Safe,
    /// Where it is killed all the time anyway.
    Short,
}

impl Registration {
    fn timeout_ms(self) -> u32 {
        match self {
            Registration::Safe => 4_000,
            Registration::Short => 1_500,
        }
    }
}

/// One node that is both broker and controller. Ports may be placeholders that somebody else fills in.
pub(super) fn server_properties(
    port: impl Display,
    controller_port: impl Display,
    logs: &Path,
    registration: Registration,
) -> String {
    format!(
        "\
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller_port}
listeners=BROKER://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller_port}
advertised.listeners=BROKER://127.0.0.1:{port}
listener.security.protocol.map=BROKER:PLAINTEXT,CONTROLLER:PLAINTEXT
inter.broker.listener.name=BROKER
controller.listener.names=CONTROLLER
log.dirs={logs}

# A misspelled topic is an error, not a topic.
auto.create.topics.enable=false

# One node, and small internal topics: less to create, less to load after a restart.
offsets.topic.replication.factor=1
offsets.topic.num.partitions=3
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=3
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
share.coordinator.state.topic.num.partitions=3

# A killed broker is let in again soon.
broker.session.timeout.ms={session}
broker.heartbeat.interval.ms={heartbeat}

# Waiting is not what is tested: groups form at once, expired transactions are aborted within a second.
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=100
transaction.abort.timed.out.transaction.cleanup.interval.ms=1000

# Thousands of short-lived topics: deleted quickly, with small index files and little memory for cleaning.
log.segment.delete.delay.ms=1000
log.index.size.max.bytes=65536
log.cleaner.dedupe.buffer.size=16777216

num.network.threads=2
num.io.threads=4
",
        logs = logs.display(),
        session = registration.timeout_ms(),
        heartbeat = registration.timeout_ms() / 8,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pom_names_the_release() {
        let text = pom(&"3.9.1".parse().unwrap());
        assert!(
            text.contains("<artifactId>kafka_2.13</artifactId>\n      <version>3.9.1</version>")
        );
        assert!(text.contains("<artifactId>slf4j-simple</artifactId>"));
    }

    #[test]
    fn the_properties_name_ports_and_folder() {
        let text = server_properties(1, 2, Path::new("/d"), Registration::Safe);
        assert!(text.contains("\nlisteners=BROKER://127.0.0.1:1,CONTROLLER://127.0.0.1:2\n"));
        assert!(text.contains("\ncontroller.quorum.voters=1@127.0.0.1:2\n"));
        assert!(text.contains("\nlog.dirs=/d\n"));
    }

    #[test]
    fn each_property_is_set_once() {
        let text = server_properties(1, 2, Path::new("/d"), Registration::Safe);
        let keys = text
            .lines()
            .filter(|line| !line.starts_with('#'))
            .filter_map(|line| line.split_once('='));
        let mut keys = keys.map(|(key, _)| key).collect::<Vec<_>>();
        let all = keys.len();
        keys.sort_unstable();
        keys.dedup();
        assert_eq!(keys.len(), all);
    }

    #[test]
    fn without_an_archive_none_is_named() {
        let options = java_options(Pace::Short, Path::new("/nowhere"));
        assert!(!options.iter().any(|option| option.contains("SharedArchiveFile")));
    }
}
