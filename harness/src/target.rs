//! What users type as TARGET, and the adapter that it stands for.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use onceness_adapters::memory::Memory;
use onceness_adapters::node::{Container, Process};
use onceness_adapters::stock::Stock;
use onceness_adapters::{Adapter, TargetError};
use onceness_reference::defects::{self, Defect};
use onceness_reference::rules::Rules;

use crate::folder::Folder;
use crate::nearest::unknown;
use crate::rig::Rig;

/// What targets begin with.
pub const SCHEMES: [&str; 5] = ["memory", "kafka", "launch", "container", "mock"];

/// A system under test, as it is typed.
#[derive(Clone, Debug)]
pub enum Target {
    /// The embedded broker: the model, or the model with one seeded defect, of its own or of who drives it.
    Memory(Option<&'static Defect>),
    /// Anything that speaks Kafka.
    Kafka {
        /// Bootstrap addresses, `HOST:PORT` each.
        addresses: Vec<String>,
        /// Who drives it.
        client: Client,
    },
    /// A broker that we start, by a command of `onceness.toml`, and may hurt.
    Launch {
        /// What it is called there.
        name: String,
        /// Who drives it.
        client: Client,
    },
    /// A broker that we start in a container, and may hurt.
    Container {
        /// The image, as the engine knows it.
        image: String,
        /// Who drives it.
        client: Client,
    },
    /// librdkafka's mock cluster, driven by librdkafka.
    Mock,
}

/// Which client drives a Kafka.
#[derive(Clone, Copy, Debug, Default)]
pub enum Client {
    /// Our own, request by request.
    #[default]
    Wire,
    /// librdkafka, as real applications link it.
    Rdkafka,
    /// Our own, and librdkafka reads everything back once more.
    Both,
    /// Our own, with one seeded defect.
    Defective(&'static Defect),
}

/// Why a target cannot be had.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// It is not described, or not well.
    #[error("{0}")]
    Unknown(String),
    /// It does not answer.
    #[error(transparent)]
    NoAnswer(TargetError),
}

impl From<TargetError> for OpenError {
    fn from(error: TargetError) -> Self {
        OpenError::NoAnswer(error)
    }
}

/// Why something is not a target.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct TargetSyntax(String);

impl Target {
    /// Whether the same plan always gives the same history.
    pub fn is_deterministic(&self) -> bool {
        matches!(self, Target::Memory(_))
    }

    /// Who drives it, if it speaks Kafka.
    pub fn client(&self) -> Option<Client> {
        match self {
            Target::Memory(_) => None,
            Target::Kafka { client, .. }
            | Target::Launch { client, .. }
            | Target::Container { client, .. } => Some(*client),
            Target::Mock => Some(Client::Rdkafka),
        }
    }

    /// Whether faults of the broker are part of what is tested, and take seconds each.
    pub fn is_hurt(&self) -> bool {
        matches!(self, Target::Launch { .. } | Target::Container { .. })
    }

    /// Reaches the target, or starts it.
    ///
    /// # Errors
    /// When it is not described in the configuration, or nothing that speaks Kafka answers there.
    pub async fn open(&self, rig: &Rig) -> Result<Arc<dyn Adapter>, OpenError> {
        match self {
            Target::Memory(defect) => {
                let memory = |rules| Memory::new(rules, self.to_string());
                Ok(Arc::new(match defect {
                    None => memory(Rules::default()),
                    Some(defect) => memory(defect.rules()).driven_by(defect.client()),
                }))
            }
            Target::Kafka { addresses, client } => {
                Ok(crate::brokers::open(addresses, *client).await?)
            }
            Target::Launch { name, client } => {
                let launch = rig.config.launch(name).map_err(OpenError::Unknown)?;
                let log = rig.folder.as_ref().map(Folder::target_log);
                let node = Process::launch(launch, log.as_deref()).await;
                let node = Arc::new(node.map_err(TargetError::from)?);
                Ok(crate::brokers::on(node, *client).await?)
            }
            Target::Container { image, client } => {
                let log = rig.folder.as_ref().map(Folder::target_log);
                let node = Container::run(rig.config.container(image), log.as_deref()).await;
                let node = Arc::new(node.map_err(TargetError::from)?);
                Ok(crate::brokers::on(node, *client).await?)
            }
            Target::Mock => Ok(Arc::new(Stock::mock().await?)),
        }
    }
}

impl FromStr for Target {
    type Err = TargetSyntax;

    fn from_str(text: &str) -> Result<Self, TargetSyntax> {
        if text == "mock" {
            return Ok(Target::Mock);
        }
        if text == "memory" {
            return Ok(Target::Memory(None));
        }
        if let Some(name) = text.strip_prefix("memory:") {
            let names = defects::all().map(|defect| defect.name);
            let found = defects::find(name);
            return match found {
                Some(defect) => Ok(Target::Memory(Some(defect))),
                None => Err(TargetSyntax(unknown("defect", name, names))),
            };
        }
        if let Some(rest) = text.strip_prefix("kafka://") {
            return kafka(rest);
        }
        if let Some(rest) = text.strip_prefix("launch:") {
            return launch(rest);
        }
        if let Some(rest) = text.strip_prefix("container:") {
            return container(rest);
        }
        if addresses(text).is_ok() {
            let reason = format!("'{text}' lacks a scheme; write kafka://{text}");
            return Err(TargetSyntax(reason));
        }
        let scheme = text.split(':').next().unwrap_or(text);
        let reason = unknown("target", scheme, SCHEMES);
        let forms =
            "memory, memory:DEFECT, kafka://HOST:PORT, launch:NAME, container:IMAGE or mock";
        Err(TargetSyntax(format!("{reason} ({forms})")))
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Target::Memory(None) => write!(f, "memory"),
            Target::Memory(Some(defect)) => write!(f, "memory:{}", defect.name),
            Target::Kafka { addresses, client } => {
                write!(f, "kafka://{}{}", addresses.join(","), client.query())
            }
            Target::Launch { name, client } => write!(f, "launch:{name}{}", client.query()),
            Target::Container { image, client } => {
                write!(f, "container:{image}{}", client.query())
            }
            Target::Mock => write!(f, "mock"),
        }
    }
}

impl Client {
    /// As it is typed behind a target.
    fn query(self) -> String {
        match self {
            Client::Wire => String::new(),
            Client::Rdkafka => "?client=rdkafka".to_owned(),
            Client::Both => "?client=both".to_owned(),
            Client::Defective(defect) => format!("?defect={}", defect.name),
        }
    }
}

fn kafka(rest: &str) -> Result<Target, TargetSyntax> {
    let (hosts, query) = rest.split_once('?').unwrap_or((rest, ""));
    let addresses = addresses(hosts.trim_end_matches('/'))?;
    Ok(Target::Kafka { addresses, client: client(query)? })
}

fn launch(rest: &str) -> Result<Target, TargetSyntax> {
    let (name, query) = rest.split_once('?').unwrap_or((rest, ""));
    if name.is_empty() {
        let reason =
            "'launch:' has no name; write launch:NAME as in [launch.NAME] of onceness.toml";
        return Err(TargetSyntax(reason.to_owned()));
    }
    Ok(Target::Launch { name: name.to_owned(), client: client(query)? })
}

fn container(rest: &str) -> Result<Target, TargetSyntax> {
    let (image, query) = rest.split_once('?').unwrap_or((rest, ""));
    // Whether there is such an image only the engine knows, but these it would not understand.
    let plain = |c: char| c.is_ascii_alphanumeric() || "._-/:@".contains(c);
    let name = image.rsplit('/').next().unwrap_or(image);
    if name.is_empty()
        || !name.starts_with(|c: char| c.is_ascii_alphanumeric())
        || !image.chars().all(plain)
    {
        let reason =
            format!("'{image}' is not an image; write one such as container:apache/kafka:4.1.1");
        return Err(TargetSyntax(reason));
    }
    Ok(Target::Container { image: image.to_owned(), client: client(query)? })
}

fn client(query: &str) -> Result<Client, TargetSyntax> {
    let mut client = Client::default();
    let mut defective = None;
    for option in query.split('&').filter(|option| !option.is_empty()) {
        let (name, value) = option.split_once('=').unwrap_or((option, ""));
        match name {
            "client" => client = client_called(value)?,
            "defect" => defective = Some(defect_of_client(value)?),
            _ => return Err(TargetSyntax(unknown("target option", name, ["client", "defect"]))),
        }
    }
    match (client, defective) {
        (_, None) => Ok(client),
        (Client::Wire, Some(defect)) => Ok(Client::Defective(defect)),
        (_, Some(defect)) => {
            let reason =
                format!("'{}' is a defect of our own client, so client=wire has it", defect.name);
            Err(TargetSyntax(reason))
        }
    }
}

fn client_called(name: &str) -> Result<Client, TargetSyntax> {
    match name {
        "wire" => Ok(Client::Wire),
        "rdkafka" => Ok(Client::Rdkafka),
        "both" => Ok(Client::Both),
        other => Err(TargetSyntax(unknown("client", other, ["wire", "rdkafka", "both"]))),
    }
}

fn defect_of_client(name: &str) -> Result<&'static Defect, TargetSyntax> {
    match defects::find(name) {
        Some(defect) if defect.is_of_broker() => {
            let reason = format!("'{name}' is a defect of a broker; memory:{name} has it");
            Err(TargetSyntax(reason))
        }
        Some(defect) => Ok(defect),
        None => {
            let ours = defects::all().filter(|defect| !defect.is_of_broker());
            Err(TargetSyntax(unknown("defect", name, ours.map(|defect| defect.name))))
        }
    }
}

/// Reads addresses by commas.
///
/// # Errors
/// When one is none.
pub fn addresses(hosts: &str) -> Result<Vec<String>, TargetSyntax> {
    hosts.split(',').map(address).collect()
}

fn address(text: &str) -> Result<String, TargetSyntax> {
    let fault = |what: &str| {
        TargetSyntax(format!("'{text}' {what}; an address is HOST:PORT, such as localhost:9092"))
    };
    let (host, port) = text.rsplit_once(':').ok_or_else(|| fault("has no port"))?;
    let bracketed = host.starts_with('[') && host.ends_with(']');
    if host.is_empty() || host.contains(['/', '@', ' ']) || (host.contains(':') && !bracketed) {
        return Err(fault("has no host that can be used"));
    }
    match port.parse::<u16>() {
        Ok(port) if port > 0 => Ok(text.to_owned()),
        _ => Err(fault("has no port from 1 to 65535")),
    }
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::Target;

    fn check(text: &str, expected: &Expect) {
        let parsed = match text.parse::<Target>() {
            Ok(target) => target.to_string(),
            Err(error) => format!("error: {error}"),
        };
        expected.assert_eq(&parsed);
    }

    #[test]
    fn targets_are_read_and_shown_alike() {
        check("memory", &expect!["memory"]);
        check("memory:no-dedup", &expect!["memory:no-dedup"]);
        check("mock", &expect!["mock"]);
        check("kafka://localhost:9092", &expect!["kafka://localhost:9092"]);
        check("kafka://a:1,b:2/?client=wire", &expect!["kafka://a:1,b:2"]);
        check("launch:kafka", &expect!["launch:kafka"]);
        check("launch:kafka?client=both", &expect!["launch:kafka?client=both"]);
        check("container:apache/kafka:4.1.1", &expect!["container:apache/kafka:4.1.1"]);
        check(
            "container:h:5000/a/b@sha256:0?client=both",
            &expect!["container:h:5000/a/b@sha256:0?client=both"],
        );
        check("kafka://a:1?client=both", &expect!["kafka://a:1?client=both"]);
        check("kafka://[::1]:9092?client=rdkafka", &expect!["kafka://[::1]:9092?client=rdkafka"]);
        check("memory:rewind-forgotten", &expect!["memory:rewind-forgotten"]);
        check(
            "launch:kafka?client=wire&defect=rewind-forgotten",
            &expect!["launch:kafka?defect=rewind-forgotten"],
        );
    }

    #[test]
    fn what_is_wrong_is_said_with_the_nearest_names() {
        check(
            "memory:no-dedupp",
            &expect!["error: unknown defect 'no-dedupp'; did you mean 'no-dedup'?"],
        );
        check(
            "mem",
            &expect![
                "error: unknown target 'mem'; did you mean 'memory'? (memory, memory:DEFECT, kafka://HOST:PORT, launch:NAME, container:IMAGE or mock)"
            ],
        );
        check(
            "localhost:9092",
            &expect!["error: 'localhost:9092' lacks a scheme; write kafka://localhost:9092"],
        );
        check(
            "kafka://localhost",
            &expect![
                "error: 'localhost' has no port; an address is HOST:PORT, such as localhost:9092"
            ],
        );
        check(
            "kafka://localhost:99999",
            &expect![
                "error: 'localhost:99999' has no port from 1 to 65535; an address is HOST:PORT, such as localhost:9092"
            ],
        );
        check(
            "kafka://",
            &expect!["error: '' has no port; an address is HOST:PORT, such as localhost:9092"],
        );
        check(
            "launch:",
            &expect![
                "error: 'launch:' has no name; write launch:NAME as in [launch.NAME] of onceness.toml"
            ],
        );
        check(
            "lunch:kafka",
            &expect![
                "error: unknown target 'lunch'; did you mean 'launch'? (memory, memory:DEFECT, kafka://HOST:PORT, launch:NAME, container:IMAGE or mock)"
            ],
        );
        check(
            "container:",
            &expect!["error: '' is not an image; write one such as container:apache/kafka:4.1.1"],
        );
        check(
            "container://",
            &expect!["error: '//' is not an image; write one such as container:apache/kafka:4.1.1"],
        );
        check(
            "container:a b",
            &expect![
                "error: 'a b' is not an image; write one such as container:apache/kafka:4.1.1"
            ],
        );
        check(
            "kafka://a:1?klient=wire",
            &expect!["error: unknown target option 'klient'; did you mean 'client'?"],
        );
        check(
            "kafka://a:1?defect=rewind-forgoten",
            &expect!["error: unknown defect 'rewind-forgoten'; did you mean 'rewind-forgotten'?"],
        );
        check(
            "kafka://a:1?defect=no-dedup",
            &expect!["error: 'no-dedup' is a defect of a broker; memory:no-dedup has it"],
        );
        check(
            "kafka://a:1?client=both&defect=rewind-forgotten",
            &expect![
                "error: 'rewind-forgotten' is a defect of our own client, so client=wire has it"
            ],
        );
        check(
            "kafka://a:1?client=rdkfaka",
            &expect!["error: unknown client 'rdkfaka'; did you mean 'rdkafka'?"],
        );
        check(
            "",
            &expect![
                "error: unknown target ''; known: memory, kafka, launch, container, mock (memory, memory:DEFECT, kafka://HOST:PORT, launch:NAME, container:IMAGE or mock)"
            ],
        );
    }
}
