//! `onceness.toml`: what is too long for a command line. A misspelled key is refused, with its line and the nearest ones.
//!
//! Relative paths in it are relative to the folder that it lies in. `ci/recipes/onceness.toml` is an example of all of it.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::sys::signal::Signal;
use onceness_adapters::node::Launch;
use serde::de::{self, Deserializer};
use serde::{Deserialize, Serialize};

use crate::nearest::unknown;

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
        let text = fs::read_to_string(path).map_err(|error| fault(error.to_string()))?;
        let sections = toml::from_str::<Sections>(&text).map_err(|error| ConfigError {
            line: error.span().map(|span| 1 + text[..span.start].matches('\n').count()),
            ..fault(reason(error.message()))
        })?;
        let path = std::path::absolute(path).map_err(|error| fault(error.to_string()))?;
        let config = Config { path: Some(path), named: false, sections };
        for (name, section) in &config.sections.launch {
            section.check().map_err(|reason| fault(format!("[launch.{name}]: {reason}")))?;
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
        if self.pause.is_zero() {
            return Err("pause is nothing; write how long a pause lasts, such as 3s".to_owned());
        }
        Ok(())
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

fn duration<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
    let text = String::deserialize(from)?;
    humantime::parse_duration(&text)
        .map_err(|error| de::Error::custom(format!("'{text}' is no time such as 30s: {error}")))
}

fn signal<'de, D: Deserializer<'de>>(from: D) -> Result<Signal, D::Error> {
    let text = String::deserialize(from)?;
    text.parse().map_err(|_| {
        let known = Signal::iterator().map(Signal::as_str);
        de::Error::custom(unknown("signal", &text, known))
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
