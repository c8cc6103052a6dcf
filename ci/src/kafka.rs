//! Apache Kafka: one KRaft node on free ports, with its data in a temporary folder.
//!
//! Restarts are what conformance is about, so everything that makes a start slow is done once, at installation.

mod install;
mod settings;

use std::fmt;
use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::str::FromStr;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow, bail};
use nix::sys::statvfs::{Statvfs, statvfs};

pub(crate) use self::install::is_cached;
use crate::broker::Broker;
use crate::process::{Interrupted, Output, POLL, Process};
use crate::ready;
use crate::undertaker::Undertaker;

/// The release that is certified when none is named. The one place that pins it.
pub(crate) const DEFAULT_VERSION: &str = "4.1.1";

/// How long a broker may take until it is ready.
const START_LIMIT: Duration = Duration::from_secs(60);

/// A port that was free may be taken by somebody else before Kafka binds it, so a failed start is tried again.
const ATTEMPTS: usize = 3;

/// How much of the broker's log is shown when it does not start.
const LOG_LINES: usize = 20;

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
    let mut attempt = 1;
    loop {
        let started = Instant::now();
        match launch(&home, &settings::java_options(pace, &home), undertaker) {
            Ok(broker) => {
                let seconds = started.elapsed().as_secs_f64();
                eprintln!(
                    "Apache Kafka {version} is ready at {} after {seconds:.1} s",
                    broker.address
                );
                return Ok(broker);
            }
            Err(Failure::PortTaken) if attempt < ATTEMPTS => attempt += 1,
            Err(Failure::PortTaken) => {
                bail!("failed to start Apache Kafka {version}: no free port in {ATTEMPTS} attempts")
            }
            Err(Failure::Other(error)) => {
                return Err(error.context(format!("failed to start Apache Kafka {version}")));
            }
        }
    }
}

enum Failure {
    PortTaken,
    Other(anyhow::Error),
}

impl<E: Into<anyhow::Error>> From<E> for Failure {
    fn from(error: E) -> Failure {
        Failure::Other(error.into())
    }
}

/// One attempt: fresh data, fresh ports.
fn launch<'a>(
    home: &Path,
    java_options: &[String],
    undertaker: &'a Undertaker,
) -> Result<Broker<'a>, Failure> {
    let data = undertaker.folder_in(&parent_of_data())?;
    let [port, controller_port] = free_ports()?;
    let properties = data.path().join("server.properties");
    let logs = data.path().join("data");
    install::copy_formatted(home, &logs)?;
    std::fs::write(&properties, settings::server_properties(port, controller_port, &logs))
        .with_context(|| format!("failed to write {}", properties.display()))?;

    let log = data.path().join("broker.log");
    let output =
        File::create(&log).with_context(|| format!("failed to create {}", log.display()))?;
    let command = java(home, java_options, &["kafka.Kafka"], &properties)?;
    let mut process = Process::background(&command, undertaker, Output::File(output))?;
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    match wait_until_ready(address, &mut process, undertaker) {
        Ok(()) => Ok(Broker { address: address.to_string(), _process: process, _data: data }),
        Err(error) => Err(explain(error, &std::fs::read_to_string(&log).unwrap_or_default())),
    }
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

fn wait_until_ready(
    address: SocketAddr,
    process: &mut Process<'_>,
    undertaker: &Undertaker,
) -> anyhow::Result<()> {
    let started = Instant::now();
    while !ready::is_ready(address) {
        undertaker.interrupt.check()?;
        if let Some(status) = process.ended()? {
            bail!("it ended with {status} before it was ready");
        }
        if started.elapsed() > START_LIMIT {
            bail!("it was not ready after {} s", START_LIMIT.as_secs());
        }
        thread::sleep(POLL);
    }
    Ok(())
}

fn explain(error: anyhow::Error, log: &str) -> Failure {
    if log.contains("Address already in use") {
        return Failure::PortTaken;
    }
    match error.is::<Interrupted>() {
        true => Failure::Other(error),
        false => Failure::Other(anyhow!(
            "{error:#}; the end of its log:\n{}",
            last_lines(log, LOG_LINES)
        )),
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
    let mut command = Command::new("java");
    command.current_dir(home).args(options);
    if let Some(folder) = properties.parent() {
        command.arg(format!("-Djava.io.tmpdir={}", folder.display()));
    }
    command.arg("-cp").arg(install::class_path(home)?).args(main).arg(properties);
    Ok(command)
}

fn free_ports() -> anyhow::Result<[u16; 2]> {
    // Both are held until both are known, lest they be the same.
    let bind = || TcpListener::bind((Ipv4Addr::LOCALHOST, 0));
    let port = |listener: &TcpListener| listener.local_addr().map(|address| address.port());
    let (one, two) = (
        bind().context("failed to find a free port")?,
        bind().context("failed to find a free port")?,
    );
    Ok([port(&one)?, port(&two)?])
}

fn last_lines(text: &str, count: usize) -> String {
    let lines = text.lines().collect::<Vec<_>>();
    lines[lines.len().saturating_sub(count)..].join("\n")
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

    #[test]
    fn the_end_of_a_log() {
        assert_eq!(last_lines("a\nb\nc\n", 2), "b\nc");
        assert_eq!(last_lines("a", 2), "a");
    }
}
