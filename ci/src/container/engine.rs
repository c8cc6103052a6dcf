//! A Docker engine: the one that answers already, or one of our own.
//!
//! Ours is private: it lives in namespaces of its own for processes and mounts, so that killing it by one signal takes its
//! containers and their mounts along, whatever happened to us. It knows no image but ours, and writes only to a temporary
//! folder. Ports are published by its proxy processes, so no rule of the machine's firewall changes.

use std::fmt;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow, bail};
use tempfile::TempDir;

use crate::cache;
use crate::launch::end_of_log;
use crate::process::{Interrupted, Output, POLL, Process};
use crate::undertaker::{Mortal, Undertaker};

/// The environment variable that names an engine.
pub(crate) const HOST: &str = "DOCKER_HOST";

/// What ours needs. On Debian: `apt-get install docker.io iproute2`.
const PROGRAMS: [&str; 4] = ["dockerd", "docker", "unshare", "ip"];

/// How long ours may take until it answers.
const START_LIMIT: Duration = Duration::from_secs(30);

/// How long any engine may take to say its version.
const ANSWER_LIMIT: Duration = Duration::from_secs(5);

/// Runs as the first process of its own world: private folders where the engine would write outside its own, a bridge
/// for its containers, then the engine itself.
const SCRIPT: &str = r#"
set -e
mount -t tmpfs tmpfs /run
mkdir -p /etc/docker
mount -t tmpfs tmpfs /etc/docker
ip link add "$1" type bridge
ip address add "$2" dev "$1"
ip link set "$1" up
exec dockerd --data-root "$3/data" --exec-root "$3/run" --pidfile "$3/pid" --host "unix://$4" \
  --bridge "$1" --iptables=false --ip6tables=false --ip-masq=false --ip-forward=false"#;

/// An engine that answers. Dropping it stops it, if we started it.
pub(crate) struct Engine<'a> {
    /// What `DOCKER_HOST` has to be; none: what it is already.
    pub(crate) host: Option<String>,
    own: Option<Own<'a>>,
}

struct Own<'a> {
    process: Option<Process<'a>>,
    bridge: Mortal,
    data: TempDir,
    /// The socket has a folder of its own, as the path of a socket must be short.
    _socket: TempDir,
    undertaker: &'a Undertaker,
}

/// Why there is no engine: nothing is broken, the machine just does not have one.
#[derive(Debug)]
pub(crate) struct Unavailable(String);

impl fmt::Display for Unavailable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no Docker engine: {}", self.0)
    }
}

impl std::error::Error for Unavailable {}

impl<'a> Engine<'a> {
    /// The engine that answers, or one of our own.
    pub(crate) fn find_or_start(undertaker: &'a Undertaker) -> anyhow::Result<Engine<'a>> {
        let engine = Engine { host: None, own: None };
        if engine.answers() {
            return Ok(engine);
        }
        may_start()?;
        let started = Instant::now();
        let engine = match start(undertaker) {
            Err(error) if !error.is::<Interrupted>() => {
                return Err(Unavailable(format!("{error:#}")).into());
            }
            result => result?,
        };
        eprintln!("a Docker engine answers after {:.1} s", started.elapsed().as_secs_f64());
        Ok(engine)
    }

    /// A command of the engine's client.
    pub(crate) fn docker(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("docker");
        command.args(arguments).stdin(Stdio::null());
        if let Some(host) = &self.host {
            command.env(HOST, host);
        }
        command
    }

    fn answers(&self) -> bool {
        let mut version = self.docker(&["version", "--format", "{{.Server.Version}}"]);
        let child = version.stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        let Ok(mut child) = child else { return false };
        let started = Instant::now();
        while started.elapsed() < ANSWER_LIMIT {
            if let Ok(Some(status)) = child.try_wait() {
                return status.success();
            }
            thread::sleep(POLL);
        }
        let _ = child.kill();
        let _ = child.wait();
        false
    }
}

impl Drop for Own<'_> {
    fn drop(&mut self) {
        drop(self.process.take());
        self.bridge.delete();
        self.undertaker.forget(&self.bridge);
        // The last mounts go a moment after the last process.
        Mortal::Folder(self.data.path().to_owned()).delete();
    }
}

fn may_start() -> Result<(), Unavailable> {
    let missing = PROGRAMS.into_iter().filter(|program| which(program).is_none());
    let missing = missing.collect::<Vec<_>>();
    if !missing.is_empty() {
        return Err(Unavailable(format!(
            "none answers, and to start one {} is missing; on Debian: apt-get install docker.io iproute2 \
             (or name a running one by {HOST})",
            missing.join(", ")
        )));
    }
    if !nix::unistd::geteuid().is_root() {
        let reason = format!(
            "none answers, and only root may start one; start Docker, or name a running one by {HOST}"
        );
        return Err(Unavailable(reason));
    }
    Ok(())
}

fn start(undertaker: &Undertaker) -> anyhow::Result<Engine<'_>> {
    // On a disk, if the cache is: images are large.
    let home = cache::place("engines")?;
    fs::create_dir_all(&home).with_context(|| format!("failed to create {}", home.display()))?;
    let data = undertaker.folder_in(&home)?;
    let socket_folder = undertaker.folder_in(&std::env::temp_dir())?;
    let socket = socket_folder.path().join("docker.sock");
    let id = std::process::id();
    // From the range set aside for measuring devices, which nobody routes.
    let (bridge, address) = (format!("onceness{id}"), format!("198.18.{}.1/24", id % 256));
    let log = data.path().join("engine.log");
    let output =
        File::create(&log).with_context(|| format!("failed to create {}", log.display()))?;
    let mut command = Command::new("unshare");
    command
        .args(["--mount", "--pid", "--fork", "--kill-child=KILL", "--mount-proc"])
        .args(["sh", "-c", SCRIPT, "sh", &bridge, &address])
        .args([data.path(), &socket]);
    let bridge = Mortal::Link(bridge);
    undertaker.register(&bridge)?;
    let process = Some(Process::background(&command, undertaker, Output::File(output))?);
    let own = Own { process, bridge, data, _socket: socket_folder, undertaker };
    let mut engine = Engine { host: Some(format!("unix://{}", socket.display())), own: Some(own) };
    engine.wait_until_it_answers(undertaker).map_err(|error| explain(error, &log))?;
    Ok(engine)
}

impl Engine<'_> {
    fn wait_until_it_answers(&mut self, undertaker: &Undertaker) -> anyhow::Result<()> {
        let started = Instant::now();
        while !self.answers() {
            undertaker.interrupt.check()?;
            let process = self.own.as_mut().and_then(|own| own.process.as_mut());
            if let Some(status) = process.map(Process::ended).transpose()?.flatten() {
                bail!("dockerd ended with {status}");
            }
            if started.elapsed() > START_LIMIT {
                bail!("dockerd did not answer after {} s", START_LIMIT.as_secs());
            }
            thread::sleep(Duration::from_millis(100));
        }
        Ok(())
    }
}

fn explain(error: anyhow::Error, log: &Path) -> anyhow::Error {
    if error.is::<Interrupted>() {
        return error;
    }
    let log = fs::read_to_string(log).unwrap_or_default();
    anyhow!("{error:#}; the end of its log:\n{}", end_of_log(&log))
}

fn which(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(program)).find(|file| file.is_file())
}
