//! Apache Kafka: one KRaft node on free ports, with its data in a temporary folder.
//!
//! Restarts are what conformance is about, so everything that makes a start slow is done once, at installation.

mod install;
#[cfg(test)]
mod java_client;
mod recipe;
mod settings;

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::str::FromStr;

use anyhow::Context;
use nix::sys::statvfs::{Statvfs, statvfs};

pub(crate) use self::install::is_cached;
pub(crate) use self::recipe::{Recipe, recipe};
use self::settings::Registration;
use crate::broker::Broker;
use crate::launch::{self, Failure};
use crate::undertaker::Undertaker;

/// The release that is certified when none is named. The one place that pins it.
pub(crate) const DEFAULT_VERSION: &str = "4.1.1";

/// Names the release to the tests that need its jars.
pub(crate) const VERSION_VARIABLE: &str = "ONCENESS_KAFKA_VERSION";

/// A release, such as `4.1.1`; safe in file names and XML.
#[derive(Clone, Debug)]
pub(crate) struct Version(String);

impl FromStr for Version {
    type Err = String;

    fn from_str(text: &str) -> Result<Version, String> {
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '.' || c == '-';
        match text.starts_with(|c: char| c.is_ascii_digit()) && text.chars().all(plain) {
            true => Ok(Version(text.to_owned())),
            false => Err("a release of Apache Kafka looks like 4.1.1".to_owned()),
        }
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// How long the broker will live, which decides how hard the JVM should try to be fast.
#[derive(Clone, Copy)]
pub(crate) enum Pace {
    /// Seconds: quickly compiled code. Measured on two cores: 600 transactions a second from the fifth second on.
    Short,
    /// Minutes: fully optimized code. 170 transactions a second at first, as many as `Short` after 20 s, 1,300 after 30 s.
    Long,
}

/// Installs the release unless it is cached, starts one broker, and waits until it is ready.
pub(crate) fn start<'a>(
    version: &Version,
    pace: Pace,
    undertaker: &'a Undertaker,
) -> anyhow::Result<Broker<'a>> {
    let home = install::ensure(version, undertaker)?;
    let java_options = settings::java_options(pace, &home);
    launch::retry(&format!("Apache Kafka {version}"), || launch(&home, &java_options, undertaker))
}

/// A release on this machine's disk, and how it is run from its folder.
pub(crate) struct Installation {
    /// The folder.
    pub(crate) home: PathBuf,
    /// What the JVM is told.
    pub(crate) java_options: Vec<String>,
    /// The jars, by paths that are relative to the folder.
    pub(crate) class_path: String,
}

impl Installation {
    /// Every file that running it needs: where it is, and its path in the folder.
    pub(crate) fn files(&self) -> impl Iterator<Item = (PathBuf, &str)> {
        let archive = settings::ARCHIVE;
        let archive = self.home.join(archive).exists().then_some(archive);
        self.class_path.split(':').chain(archive).map(|name| (self.home.join(name), name))
    }
}

/// Installs the release unless it is cached.
pub(crate) fn installation(
    version: &Version,
    undertaker: &Undertaker,
) -> anyhow::Result<Installation> {
    let home = install::ensure(version, undertaker)?;
    let java_options = settings::java_options(Pace::Short, &home);
    let class_path = install::class_path(&home)?;
    Ok(Installation { home, java_options, class_path })
}

/// One attempt: fresh data, fresh ports.
fn launch<'a>(
    home: &Path,
    java_options: &[String],
    undertaker: &'a Undertaker,
) -> Result<Broker<'a>, Failure> {
    let data = undertaker.folder_in(&parent_of_data())?;
    let [port, controller_port] = launch::free_ports()?;
    let properties = data.path().join("server.properties");
    let logs = data.path().join("data");
    install::copy_formatted(home, &logs)?;
    std::fs::write(
        &properties,
        settings::server_properties(port, controller_port, &logs, Registration::Safe),
    )
    .with_context(|| format!("failed to write {}", properties.display()))?;

    let command = java(home, java_options, &["kafka.Kafka"], &properties)?;
    launch::launch(&command, port, data, undertaker)
}

/// Memory, where the machine has plenty set aside for files: each new partition costs several syncs on a disk, and what is
/// tested here is never a lost disk. A killed broker finds its files again either way.
fn parent_of_data() -> PathBuf {
    const PLENTY: u64 = 4 << 30;
    let memory = Path::new("/dev/shm");
    let free = |stat: Statvfs| stat.blocks_available() * stat.fragment_size();
    match statvfs(memory).map(free) {
        Ok(free) if free >= PLENTY => memory.to_owned(),
        _ => std::env::temp_dir(),
    }
}

/// Java on the installed jars. Paths are relative to the installation, as the archive of classes remembers them; what
/// libraries unpack goes beside the properties, to be deleted with them.
fn java(
    home: &Path,
    options: &[String],
    main: &[&str],
    properties: &Path,
) -> anyhow::Result<Command> {
    let words = java_words(home, options, main, properties)?;
    let mut command = Command::new(&words[0]);
    command.current_dir(home).args(&words[1..]);
    Ok(command)
}

/// The same, word by word. The first is the program.
fn java_words(
    home: &Path,
    options: &[String],
    main: &[&str],
    properties: &Path,
) -> anyhow::Result<Vec<String>> {
    let mut words = vec!["java".to_owned()];
    words.extend_from_slice(options);
    if let Some(folder) = properties.parent() {
        words.push(format!("-Djava.io.tmpdir={}", folder.display()));
    }
    words.extend(["-cp".to_owned(), install::class_path(home)?]);
    words.extend(main.iter().map(|word| (*word).to_owned()));
    words.push(properties.display().to_string());
    Ok(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_plain() {
        assert!("4.1.1".parse::<Version>().is_ok());
        assert!("4.2.0-rc1".parse::<Version>().is_ok());
        for wrong in ["", "latest", "../4.1.1", "4.1.1</version>"] {
            assert!(wrong.parse::<Version>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_default_is_a_version() {
        assert!(DEFAULT_VERSION.parse::<Version>().is_ok());
    }
}
