//! `onceness.toml`: what is too long for a command line. A misspelled key is refused, with its line and the nearest ones.
//!
//! Relative paths in it are relative to the folder that it lies in. `ci/recipes/onceness.toml` is an example of all of it.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use onceness_adapters::node::{Image, Launch};
use serde::de::{self, DeserializeOwned, Deserializer};
use serde::{Deserialize, Serialize};

use self::accept::AcceptSection;
use self::container::ContainerSection;
use self::launch::LaunchSection;
use crate::accept::Breach;
use crate::nearest::unknown;
use crate::target::Target;

mod accept;
mod container;
mod launch;

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

    /// How an image is run: as the `apache/kafka` image is, unless the file says otherwise.
    pub fn container(&self, image: &str) -> Image {
        let usual = ContainerSection::default();
        let section = self.sections.container.get(image).unwrap_or(&usual);
        let home = self.path.as_ref().and_then(|path| path.parent()).unwrap_or(Path::new("."));
        section.image(image, home)
    }

    /// The breaches that are accepted of a target.
    pub fn accepts(&self, target: &Target) -> impl Iterator<Item = Breach> {
        let here = self.sections.accept.iter().filter(|one| one.target.have(target));
        here.map(AcceptSection::breach)
    }
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

/// How long a start may take, where nothing else is said.
fn ready_within() -> Duration {
    Duration::from_secs(60)
}

/// How long a pause lasts, where nothing else is said.
fn pause() -> Duration {
    Duration::from_secs(3)
}

fn check_pause(pause: Duration) -> Result<(), String> {
    match pause.is_zero() {
        true => Err("pause is nothing; write how long a pause lasts, such as 3s".to_owned()),
        false => Ok(()),
    }
}

pub(crate) fn duration<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
    let text = String::deserialize(from)?;
    humantime::parse_duration(&text)
        .map_err(|error| de::Error::custom(format!("'{text}' is no time such as 30s: {error}")))
}

#[cfg(test)]
mod tests;
