//! `onceness.toml`: what is too long for a command line. A misspelled key is refused, with its line and the nearest ones.
//!
//! Relative paths in it are relative to the folder that it lies in. `ci/recipes/onceness.toml` is an example of all of it.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::sys::signal::Signal;
use onceness_adapters::node::{Image, Launch, kafka_environment};
use onceness_properties::{Claim, PROPERTIES, Property, property as property_named};
use serde::de::{self, DeserializeOwned, Deserializer};
use serde::{Deserialize, Serialize};

use crate::accept::{Breach, Targets};
use crate::nearest::unknown;
use crate::target::Target;
use crate::weakness::{self, WEAKNESSES, Weakness};

/// The file that is read if it is there and no other was named.
pub const FILE: &str = "onceness.toml";

/// What the file says.
#[derive(Clone, Debug, Default)]
pub struct Config {
    /// Where it came from; none: there was none.
    pub path: Option<PathBuf>,
    /// Whether it was named, and so has to be named again.
    pub named: bool,
    sections: Sections,
}

/// The file itself. A new section is a field here.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Sections {
    /// `[launch.NAME]`: how brokers are started.
    #[serde(default)]
    launch: BTreeMap<String, LaunchSection>,
    /// `[container."IMAGE"]`: how images are run.
    #[serde(default)]
    container: BTreeMap<String, ContainerSection>,
    /// `[[accept]]`: breaches of targets that are known, and do not fail the run.
    #[serde(default)]
    accept: Vec<AcceptSection>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct AcceptSection {
    #[serde(deserialize_with = "targets")]
    target: Targets,
    #[serde(deserialize_with = "property")]
    property: &'static Property,
    #[serde(default, deserialize_with = "claim")]
    claim: Option<Claim>,
    #[serde(default, deserialize_with = "weakness")]
    weakness: Option<&'static Weakness>,
    #[serde(deserialize_with = "something")]
    reason: String,
    #[serde(default)]
    link: Option<String>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct LaunchSection {
    command: Vec<String>,
    #[serde(default)]
    prepare: Vec<String>,
    #[serde(default)]
    templates: Vec<PathBuf>,
    #[serde(default)]
    folder: PathBuf,
    #[serde(default)]
    environment: BTreeMap<String, String>,
    #[serde(default = "address")]
    address: String,
    #[serde(default = "ready_within", deserialize_with = "duration")]
    ready_within: Duration,
    #[serde(default = "stop_signal", deserialize_with = "signal")]
    stop_signal: Signal,
    data: Option<PathBuf>,
    #[serde(default = "pause", deserialize_with = "duration")]
    pause: Duration,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct ContainerSection {
    /// Whether the environment is that of the `apache/kafka` image, and the next field only adds to it.
    #[serde(default = "yes")]
    kafka_environment: bool,
    #[serde(default)]
    environment: BTreeMap<String, String>,
    #[serde(default)]
    command: Vec<String>,
    #[serde(default = "port")]
    port: u16,
    host: Option<String>,
    network: Option<String>,
    /// `HERE:INSIDE` each.
    #[serde(default)]
    mounts: Vec<String>,
    #[serde(default = "ready_within", deserialize_with = "duration")]
    ready_within: Duration,
    #[serde(default = "pause", deserialize_with = "duration")]
    pause: Duration,
}

fn yes() -> bool {
    true
}

fn port() -> u16 {
    9092
}

fn address() -> String {
    "127.0.0.1:{port}".to_owned()
}

fn ready_within() -> Duration {
    Duration::from_secs(60)
}

fn stop_signal() -> Signal {
    Signal::SIGTERM
}

fn pause() -> Duration {
    Duration::from_secs(3)
}

/// What is wrong with a configuration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ConfigError {
    /// The file.
    pub path: PathBuf,
    /// The line, counted from 1, where one is to blame.
    pub line: Option<usize>,
    /// What is wrong.
    pub reason: String,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "failed to read {}: ", self.path.display())?;
        match self.line {
            Some(line) => write!(f, "line {line}: {}", self.reason),
            None => f.write_str(&self.reason),
        }
    }
}

impl std::error::Error for ConfigError {}

impl Config {
    /// Reads the file that was named, or else the one in the working folder, if there is one.
    ///
    /// # Errors
    /// When it cannot be read, or says something that is not understood.
    pub fn find(named: Option<&Path>) -> Result<Config, ConfigError> {
        match named {
            Some(path) => Ok(Config { named: true, ..Config::read(path)? }),
            None if Path::new(FILE).exists() => Config::read(Path::new(FILE)),
            None => Ok(Config::default()),
        }
    }

    fn read(path: &Path) -> Result<Config, ConfigError> {
        let fault = |reason: String| ConfigError { path: path.to_owned(), line: None, reason };
        let sections = read_toml::<Sections>(path)?;
        let path = std::path::absolute(path).map_err(|error| fault(error.to_string()))?;
        let config = Config { path: Some(path), named: false, sections };
        for section in &config.sections.accept {
            section.check().map_err(|reason| fault(format!("[[accept]]: {reason}")))?;
        }
        for (name, section) in &config.sections.launch {
            section.check().map_err(|reason| fault(format!("[launch.{name}]: {reason}")))?;
        }
        for (image, section) in &config.sections.container {
            section
                .check()
                .map_err(|reason| fault(format!("[container.\"{image}\"]: {reason}")))?;
        }
        Ok(config)
    }

    /// How a broker of that name is started.
    ///
    /// # Errors
    /// When there is none of that name, in words.
    pub fn launch(&self, name: &str) -> Result<Launch, String> {
        let (Some(path), launches) = (&self.path, &self.sections.launch) else {
            return Err(format!(
                "launch:{name} needs [launch.{name}] in {FILE}, and there is no such file here; write one, or name it by --config FILE"
            ));
        };
        let Some(section) = launches.get(name) else {
            let known = launches.keys().map(String::as_str);
            let what = match launches.is_empty() {
                true => format!("it has no [launch.{name}]"),
                false => unknown("launch", name, known),
            };
            return Err(format!("{}: {what}", path.display()));
        };
        Ok(section.launch(name, path.parent().unwrap_or(path)))
    }

    /// The breaches that are accepted of a target.
    pub fn accepts(&self, target: &Target) -> impl Iterator<Item = Breach> {
        let here = self.sections.accept.iter().filter(|one| one.target.have(target));
        here.map(|one| Breach {
            target: one.target.clone(),
            property: one.property.name,
            claim: one.claim,
            weakness: one.weakness.map(|weakness| weakness.id),
            reason: one.reason.clone(),
            link: one.link.clone(),
        })
    }
}

impl AcceptSection {
    fn check(&self) -> Result<(), String> {
        let judged = self.property.claims;
        match self.claim {
            Some(claim) if !judged.contains(&claim) => {
                let (name, property) = (claim.name(), self.property.name);
                let claims: Vec<&str> = judged.iter().map(|claim| claim.name()).collect();
                Err(format!(
                    "property '{property}' says nothing of claim '{name}'; it does of {}",
                    claims.join(", ")
                ))
            }
            _ => Ok(()),
        }
    }
}

impl Config {
    /// How an image is run: as the `apache/kafka` image is, unless the file says otherwise.
    pub fn container(&self, image: &str) -> Image {
        let usual = ContainerSection::default();
        let section = self.sections.container.get(image).unwrap_or(&usual);
        let home = self.path.as_ref().and_then(|path| path.parent()).unwrap_or(Path::new("."));
        section.image(image, home)
    }
}

impl Default for ContainerSection {
    fn default() -> Self {
        ContainerSection {
            kafka_environment: yes(),
            environment: BTreeMap::new(),
            command: Vec::new(),
            port: port(),
            host: None,
            network: None,
            mounts: Vec::new(),
            ready_within: ready_within(),
            pause: pause(),
        }
    }
}

impl ContainerSection {
    fn check(&self) -> Result<(), String> {
        if self.port == 0 {
            return Err("port is 0; write the port where the broker listens inside".to_owned());
        }
        if let Some(wrong) = self.mounts.iter().find(|text| mount(text).is_none()) {
            return Err(format!("mount '{wrong}' is not HERE:INSIDE, such as ./conf:/mnt/conf"));
        }
        check_pause(self.pause)
    }

    fn image(&self, image: &str, home: &Path) -> Image {
        let mut environment =
            if self.kafka_environment { kafka_environment() } else { BTreeMap::new() };
        environment.extend(self.environment.clone());
        let mounts = self.mounts.iter().filter_map(|text| mount(text));
        Image {
            name: format!("container:{image}"),
            image: image.to_owned(),
            command: self.command.clone(),
            environment,
            port: self.port,
            host: self.host.clone(),
            network: self.network.clone(),
            mounts: mounts.map(|(here, inside)| (home.join(here), inside.to_owned())).collect(),
            ready_within: self.ready_within,
            pause: self.pause,
        }
    }
}

/// `HERE:INSIDE`, where what is inside is an absolute path.
fn mount(text: &str) -> Option<(&str, &str)> {
    text.split_once(':').filter(|(here, inside)| !here.is_empty() && inside.starts_with('/'))
}

fn check_pause(pause: Duration) -> Result<(), String> {
    match pause.is_zero() {
        true => Err("pause is nothing; write how long a pause lasts, such as 3s".to_owned()),
        false => Ok(()),
    }
}

impl LaunchSection {
    fn check(&self) -> Result<(), String> {
        if self.command.is_empty() {
            return Err("command is empty; write the program and its arguments".to_owned());
        }
        let port = self.address.rsplit_once(':').map(|(_, port)| port);
        match port {
            Some("{port}") => {}
            Some(port) if port.parse::<u16>().is_ok_and(|port| port > 0) => {}
            _ if self.address.contains("{port:") && self.address.ends_with('}') => {}
            _ => {
                let address = &self.address;
                return Err(format!(
                    "address '{address}' is not HOST:PORT; write 127.0.0.1:{{port}} for a port that is free"
                ));
            }
        }
        check_pause(self.pause)
    }

    fn launch(&self, name: &str, home: &Path) -> Launch {
        Launch {
            name: format!("launch:{name}"),
            command: self.command.clone(),
            prepare: self.prepare.clone(),
            templates: self.templates.iter().map(|path| home.join(path)).collect(),
            folder: home.join(&self.folder),
            environment: self.environment.clone(),
            address: self.address.clone(),
            ready_within: self.ready_within,
            stop_signal: self.stop_signal,
            data: self.data.as_ref().map(|path| home.join(path)),
            pause: self.pause,
        }
    }
}

pub(crate) fn duration<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
    let text = String::deserialize(from)?;
    humantime::parse_duration(&text)
        .map_err(|error| de::Error::custom(format!("'{text}' is no time such as 30s: {error}")))
}

fn targets<'de, D: Deserializer<'de>>(from: D) -> Result<Targets, D::Error> {
    String::deserialize(from)?.parse().map_err(de::Error::custom)
}

fn property<'de, D: Deserializer<'de>>(from: D) -> Result<&'static Property, D::Error> {
    let text = String::deserialize(from)?;
    let found = property_named(&text);
    let names = PROPERTIES.iter().map(|property| property.name);
    found.ok_or_else(|| de::Error::custom(unknown("property", &text, names)))
}

fn claim<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Claim>, D::Error> {
    let text = String::deserialize(from)?;
    let found = Claim::ALL.into_iter().find(|claim| claim.name() == text);
    let names = Claim::ALL.map(Claim::name);
    found.map(Some).ok_or_else(|| de::Error::custom(unknown("claim", &text, names)))
}

fn weakness<'de, D: Deserializer<'de>>(from: D) -> Result<Option<&'static Weakness>, D::Error> {
    let text = String::deserialize(from)?;
    let found = weakness::find(&text);
    let ids = WEAKNESSES.iter().map(|weakness| weakness.id);
    found.map(Some).ok_or_else(|| de::Error::custom(unknown("weakness", &text, ids)))
}

fn something<'de, D: Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    let text = String::deserialize(from)?;
    match text.trim().is_empty() {
        true => Err(de::Error::custom("it is empty; write why this is accepted")),
        false => Ok(text),
    }
}

fn signal<'de, D: Deserializer<'de>>(from: D) -> Result<Signal, D::Error> {
    let text = String::deserialize(from)?;
    text.parse().map_err(|_| {
        let known = Signal::iterator().map(Signal::as_str);
        de::Error::custom(unknown("signal", &text, known))
    })
}

/// Reads a TOML file. What is wrong with it is said with its line, a wrong key with the nearest ones.
pub(crate) fn read_toml<T: DeserializeOwned>(path: &Path) -> Result<T, ConfigError> {
    let fault = |reason: String| ConfigError { path: path.to_owned(), line: None, reason };
    let text = fs::read_to_string(path).map_err(|error| fault(error.to_string()))?;
    toml::from_str(&text).map_err(|error| ConfigError {
        line: error.span().map(|span| 1 + text[..span.start].matches('\n').count()),
        ..fault(reason(error.message()))
    })
}

/// What serde says of a wrong key, in our words: with the nearest ones.
fn reason(message: &str) -> String {
    let wrong = message.strip_prefix("unknown field `").and_then(|rest| rest.split_once('`'));
    let Some((wrong, rest)) = wrong else {
        return message.trim_end().to_owned();
    };
    let known: Vec<&str> = rest.split('`').skip(1).step_by(2).collect();
    unknown("key", wrong, known)
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::Config;

    fn read(text: &str) -> Result<Config, String> {
        let folder = tempfile::tempdir().expect("a folder for a test");
        let path = folder.path().join(super::FILE);
        std::fs::write(&path, text).expect("a file for a test");
        let shown = path.display().to_string();
        Config::find(Some(&path)).map_err(|error| error.to_string().replace(&shown, super::FILE))
    }

    fn refused(text: &str, expected: &Expect) {
        expected.assert_eq(&read(text).expect_err("it is wrong"));
    }

    #[test]
    fn what_is_left_out_has_its_usual_value() {
        let config =
            read("[launch.kafka]\ncommand = ['java', 'kafka.Kafka']").expect("it is right");
        let mut launch = config.launch("kafka").expect("it is there");
        launch.folder = "FOLDER".into();
        expect![[r#"
            Launch {
                name: "launch:kafka",
                command: [
                    "java",
                    "kafka.Kafka",
                ],
                prepare: [],
                templates: [],
                folder: "FOLDER",
                environment: {},
                address: "127.0.0.1:{port}",
                ready_within: 60s,
                stop_signal: SIGTERM,
                data: None,
                pause: 3s,
            }
        "#]]
        .assert_debug_eq(&launch);
    }

    #[test]
    fn what_is_accepted_is_accepted_of_its_targets() {
        let config = read(
            "[[accept]]\ntarget = 'memory:*'\nproperty = 'no-loss'\nreason = 'known'\n\
             [[accept]]\ntarget = 'kafka://a:1'\nproperty = 'isolation'\nclaim = 'transactional'\n\
             weakness = 'KAFKA-17754'\nreason = 'old'\nlink = 'x'",
        )
        .expect("it is right");
        let of = |target: &str| {
            let target = target.parse().expect("a target");
            let all = config.accepts(&target).map(|one| format!("{one}: {}", one.reason));
            all.collect::<Vec<_>>().join("; ")
        };
        assert_eq!(of("memory:no-dedup"), "no-loss: known");
        assert_eq!(of("kafka://a:1"), "isolation for transactional (KAFKA-17754): old");
        assert_eq!(of("kafka://a:2"), "");
    }

    #[test]
    fn what_is_accepted_wrongly_is_said_with_the_nearest() {
        let accept = |lines: &str| format!("[[accept]]\nreason = 'x'\n{lines}");
        let right = "target = 'memory'\nproperty = 'no-loss'";
        refused(
            &accept("target = 'memory'\nproperty = 'no-los'"),
            &expect![
                "failed to read onceness.toml: line 4: unknown property 'no-los'; did you mean 'no-loss'?"
            ],
        );
        refused(
            &accept("target = 'memory:no-dedupp'\nproperty = 'no-loss'"),
            &expect![
                "failed to read onceness.toml: line 3: unknown defect 'no-dedupp'; did you mean 'no-dedup'?"
            ],
        );
        refused(
            &accept("target = 'kafak://*'\nproperty = 'no-loss'"),
            &expect![
                "failed to read onceness.toml: line 3: unknown target 'kafak'; did you mean 'kafka'?"
            ],
        );
        refused(
            &accept(&format!("{right}\nclaim = 'idempotnt'")),
            &expect![
                "failed to read onceness.toml: line 5: unknown claim 'idempotnt'; did you mean 'idempotent'?"
            ],
        );
        refused(
            &accept(&format!("{right}\nclaim = 'exactly-once'")),
            &expect![
                "failed to read onceness.toml: [[accept]]: property 'no-loss' says nothing of claim 'exactly-once'; it does of at-least-once, idempotent, transactional"
            ],
        );
        refused(
            &accept(&format!("{right}\nweakness = 'KAFKA-1775'")),
            &expect![
                "failed to read onceness.toml: line 5: unknown weakness 'KAFKA-1775'; did you mean 'KAFKA-17754'?"
            ],
        );
        refused(
            &accept(&format!("{right}\nlinc = 'x'")),
            &expect![
                "failed to read onceness.toml: line 5: unknown key 'linc'; did you mean 'link'?"
            ],
        );
        refused(
            &format!("[[accept]]\n{right}"),
            &expect!["failed to read onceness.toml: line 1: missing field `reason`"],
        );
        refused(
            &format!("[[accept]]\nreason = ' '\n{right}"),
            &expect![
                "failed to read onceness.toml: line 2: it is empty; write why this is accepted"
            ],
        );
    }

    #[test]
    fn paths_are_relative_to_the_file() {
        let config = read("[launch.x]\ncommand = ['x']\nfolder = 'bin'\ndata = '/var/x'")
            .expect("it is right");
        let launch = config.launch("x").expect("it is there");
        let home = config.path.as_ref().and_then(|path| path.parent()).expect("it lies somewhere");
        assert_eq!(launch.folder, home.join("bin"));
        assert_eq!(launch.data.as_deref(), Some("/var/x".as_ref()));
    }

    #[test]
    fn what_is_wrong_is_said_with_its_line() {
        refused(
            "[launch.x]\ncomand = ['x']",
            &expect![
                "failed to read onceness.toml: line 2: unknown key 'comand'; did you mean 'command'?"
            ],
        );
        refused(
            "[lunch.x]\ncommand = ['x']",
            &expect![
                "failed to read onceness.toml: line 1: unknown key 'lunch'; did you mean 'launch'?"
            ],
        );
        refused(
            "[launch.x]\ncommand = ['x']\nready-within = '30'",
            &expect![
                "failed to read onceness.toml: line 3: '30' is no time such as 30s: time unit needed, for example 30sec or 30ms"
            ],
        );
        refused(
            "[launch.x]\ncommand = 'x'",
            &expect![[
                r#"failed to read onceness.toml: line 2: invalid type: string "x", expected a sequence"#
            ]],
        );
        refused(
            "[launch.x]\nfolder = 'x'",
            &expect!["failed to read onceness.toml: line 1: missing field `command`"],
        );
        refused(
            "[launch.x]\ncommand = []",
            &expect![
                "failed to read onceness.toml: [launch.x]: command is empty; write the program and its arguments"
            ],
        );
        refused(
            "[launch.x]\ncommand = ['x']\nstop-signal = 'SIGTREM'",
            &expect![
                "failed to read onceness.toml: line 3: unknown signal 'SIGTREM'; did you mean 'SIGTERM', 'SIGVTALRM' or 'SIGTRAP'?"
            ],
        );
        refused(
            "[launch.x]\ncommand = ['x']\naddress = 'localhost'",
            &expect![
                "failed to read onceness.toml: [launch.x]: address 'localhost' is not HOST:PORT; write 127.0.0.1:{port} for a port that is free"
            ],
        );
        refused(
            "[launch.x]\ncommand = ['x'\n",
            &expect!["failed to read onceness.toml: line 2: unclosed array, expected `]`"],
        );
    }

    #[test]
    fn an_image_is_run_like_that_of_kafka_unless_told_otherwise() {
        let usual = Config::default().container("apache/kafka:4.1.1");
        assert_eq!(usual.environment["KAFKA_PROCESS_ROLES"], "broker,controller");
        let config = read(
            "[container.'redpanda:v25']\nkafka-environment = false\nenvironment = {A = '{port}'}\n\
             command = ['start']\nport = 19092\nmounts = ['conf:/etc/redpanda']\nready-within = '5s'",
        )
        .expect("it is right");
        let mut image = config.container("redpanda:v25");
        let home = config.path.as_ref().and_then(|path| path.parent()).expect("it lies somewhere");
        assert_eq!(image.mounts[0].0, home.join("conf"));
        image.mounts[0].0 = "FOLDER/conf".into();
        expect![[r#"
            Image {
                name: "container:redpanda:v25",
                image: "redpanda:v25",
                command: [
                    "start",
                ],
                environment: {
                    "A": "{port}",
                },
                port: 19092,
                host: None,
                network: None,
                mounts: [
                    (
                        "FOLDER/conf",
                        "/etc/redpanda",
                    ),
                ],
                ready_within: 5s,
                pause: 3s,
            }
        "#]]
        .assert_debug_eq(&image);
        assert_eq!(config.container("other").environment, usual.environment);
        refused(
            "[container.x]\nenviroment = {}",
            &expect![
                "failed to read onceness.toml: line 2: unknown key 'enviroment'; did you mean 'environment' or 'kafka-environment'?"
            ],
        );
        refused(
            "[container.x]\nmounts = ['conf']",
            &expect![[
                r#"failed to read onceness.toml: [container."x"]: mount 'conf' is not HERE:INSIDE, such as ./conf:/mnt/conf"#
            ]],
        );
        refused(
            "[container.x]\nport = 0",
            &expect![[
                r#"failed to read onceness.toml: [container."x"]: port is 0; write the port where the broker listens inside"#
            ]],
        );
    }

    #[test]
    fn the_example_says_what_is_usual() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../ci/recipes/onceness.toml");
        let config = Config::find(Some(path.as_ref())).expect("it is right");
        let (whole, least) = (config.launch("kafka"), config.launch("mine"));
        let (whole, least) = (whole.expect("it is there"), least.expect("it is there"));
        assert_eq!(whole.address, least.address);
        assert_eq!(whole.ready_within, least.ready_within);
        assert_eq!(whole.stop_signal, least.stop_signal);
        assert_eq!(whole.pause, least.pause);
    }

    #[test]
    fn a_launch_that_is_not_there_is_said_with_the_nearest() {
        let config = read("[launch.kafka]\ncommand = ['x']").expect("it is right");
        let error = config.launch("kafak").expect_err("it is not there");
        assert!(error.ends_with(": unknown launch 'kafak'; did you mean 'kafka'?"), "{error}");
        let error = Config::default().launch("kafka").expect_err("there is no file");
        expect!["launch:kafka needs [launch.kafka] in onceness.toml, and there is no such file here; write one, or name it by --config FILE"].assert_eq(&error);
    }
}
