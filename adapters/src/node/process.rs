//! A node that is a command: started in a process group of its own, which ends as a whole.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use nix::errno::Errno;
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tempfile::TempDir;
use tokio::io::AsyncWriteExt as _;
use tokio::process::{Child, Command};
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep, timeout};

use super::guard::{Guard, quoted};
use super::{Node, NodeError, end_of};
use crate::wire;

/// How often a waiting loop looks again.
pub(super) const POLL: Duration = Duration::from_millis(20);
/// How long a broker may take to end in good order before it is killed.
pub(super) const GRACE: Duration = Duration::from_secs(10);
/// How long one question to a starting broker may take.
pub(super) const PROBE: Duration = Duration::from_secs(1);
/// A port that was free may be taken by somebody else before the broker binds it, so a failed start is tried again.
pub(super) const ATTEMPTS: u32 = 3;
/// Ports are chosen from here: below those that systems hand out to whoever connects, as one that is given up for the time
/// of a restart must not be somebody else's then.
const PORTS: std::ops::Range<u16> = 15_000..30_000;
/// So many ports are tried before there is none.
const PORTS_TRIED: u32 = 1_000;

/// How a broker is started.
///
/// In `command`, `prepare`, `environment`, `address` and the templates, `{port}` stands for a free port, `{port:NAME}` for
/// another one, the same wherever it is named, and `{data}` for the data folder. Other braces stay as they are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Launch {
    /// What it is, for people: `launch:NAME`.
    pub name: String,
    /// The program and its arguments.
    pub command: Vec<String>,
    /// What is run before the first start, if anything: to format a data folder, say.
    pub prepare: Vec<String>,
    /// Files that are copied into the data folder before that, with placeholders filled in.
    pub templates: Vec<PathBuf>,
    /// Where it runs.
    pub folder: PathBuf,
    /// What is added to the environment.
    pub environment: BTreeMap<String, String>,
    /// Where clients reach it, `HOST:PORT`.
    pub address: String,
    /// How long a start may take.
    pub ready_within: Duration,
    /// What asks it to end.
    pub stop_signal: Signal,
    /// Where it stores its data; none: in a temporary folder, which is fresh in each run and deleted afterwards.
    pub data: Option<PathBuf>,
    /// How long a pause lasts.
    pub pause: Duration,
}

/// A command that runs.
#[derive(Debug)]
pub struct Process {
    // First, so that it goes first: dropping it ends the command, and only then can the data go.
    guard: Guard,
    launch: Launch,
    log: File,
    filled: Filled,
    state: Mutex<State>,
}

/// The launch with its placeholders filled in, once for all starts.
#[derive(Debug)]
struct Filled {
    ports: BTreeMap<String, u16>,
    data: PathBuf,
    /// Deleted when dropped.
    temporary: Option<TempDir>,
}

#[derive(Debug, Default)]
struct State {
    running: Option<Running>,
    paused: bool,
}

/// A child, and the process group that it leads, which may outlive it.
#[derive(Debug)]
struct Running {
    child: Child,
    group: Pid,
}

/// Why an attempt to start failed.
enum Failed {
    /// Somebody else was quicker.
    PortTaken,
    Other(NodeError),
}

impl Process {
    /// Starts a command and waits until it answers. Its log goes to a file, which is begun anew; without a name it is kept for
    /// errors only.
    ///
    /// # Errors
    /// When the command cannot be run, ends, or does not answer in time.
    pub async fn launch(launch: Launch, log: Option<&Path>) -> Result<Process, NodeError> {
        let name = log.map_or_else(String::new, |log| format!(" {}", log.display()));
        let log = open_log(log).map_err(|error| {
            fault(&launch, "start", format!("its log{name} cannot be written: {error}"))
        })?;
        for _ in 0..ATTEMPTS {
            match Process::attempt(&launch, &log).await {
                Ok(process) => return Ok(process),
                Err(Failed::PortTaken) => {}
                Err(Failed::Other(error)) => return Err(error),
            }
        }
        Err(fault(&launch, "start", format!("no port was free in {ATTEMPTS} attempts")))
    }

    /// Fresh ports, and fresh data unless they are given.
    async fn attempt(launch: &Launch, log: &File) -> Result<Process, Failed> {
        let fault = |reason| Failed::Other(fault(launch, "start", reason));
        let log = log.try_clone().map_err(|error| fault(error.to_string()))?;
        let guard = Guard::hire().map_err(|error| fault(format!("no guard for it: {error}")))?;
        let filled = Filled::new(launch).map_err(fault)?;
        let process =
            Process { launch: launch.clone(), log, filled, state: Mutex::default(), guard };
        process.order(None).map_err(Failed::Other)?;
        process.free_address().map_err(fault)?;
        process.prepare().await.map_err(Failed::Other)?;
        match process.start().await {
            Ok(()) => Ok(process),
            // Java and Go differ in the first letter. A port that was named stays taken, however often we try.
            Err(error)
                if error.last_words.contains("ddress already in use")
                    && !process.filled.ports.is_empty() =>
            {
                Err(Failed::PortTaken)
            }
            Err(error) => Err(Failed::Other(error)),
        }
    }

    /// Nobody else may listen where the broker is to be: it would be taken for the broker.
    fn free_address(&self) -> Result<(), String> {
        let address = self.address();
        match TcpListener::bind(&address) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => Err(format!(
                "{address} is taken by another program; end that, or write {{port}} for a port that is free"
            )),
            // Whatever else is wrong with it, the broker says so better.
            _ => Ok(()),
        }
    }

    async fn prepare(&self) -> Result<(), NodeError> {
        let fault = |reason| self.fault("prepare", reason);
        for template in &self.launch.templates {
            self.filled.copy(template).map_err(fault)?;
        }
        if self.launch.prepare.is_empty() {
            return Ok(());
        }
        let mut running = self.spawn(&self.launch.prepare, "prepare").await?;
        let ended = timeout(self.launch.ready_within, running.child.wait()).await;
        let _ = killpg(running.group, Signal::SIGKILL);
        match ended {
            Ok(Ok(status)) if status.success() => self.order(None),
            Ok(Ok(status)) => {
                Err(fault(format!("its command {}", told(status, &self.launch.prepare))))
            }
            Ok(Err(error)) => Err(fault(error.to_string())),
            Err(_) => Err(fault(format!("not done within {:?}", self.launch.ready_within))),
        }
    }

    /// The command behind a shell that waits for a line: killed between our `spawn` and the guard's notice, we leave a shell
    /// that sees its input end and exits, not a broker.
    async fn spawn(&self, command: &[String], verb: &'static str) -> Result<Running, NodeError> {
        let fault = |error: io::Error| self.fault(verb, error.to_string());
        let mut shell = Command::new("sh");
        shell.args(["-c", "read -r go && exec \"$@\" </dev/null", "sh"]);
        shell.args(command.iter().map(|word| self.filled.fill(word)));
        for (name, value) in &self.launch.environment {
            shell.env(name, self.filled.fill(value));
        }
        shell
            .current_dir(&self.launch.folder)
            .stdin(Stdio::piped())
            .stdout(self.log.try_clone().map_err(fault)?)
            .stderr(self.log.try_clone().map_err(fault)?)
            .process_group(0);
        let mut child = shell.spawn().map_err(|error| {
            let folder = self.launch.folder.display();
            self.fault(verb, format!("no command can be run in {folder}: {error}"))
        })?;
        // A child that was not waited for has an id.
        let group = Pid::from_raw(child.id().unwrap_or_default().cast_signed());
        self.order(Some(group))?;
        if let Some(mut go) = child.stdin.take() {
            go.write_all(b"go\n").await.map_err(fault)?;
        }
        Ok(Running { child, group })
    }

    /// What the guard does when we are gone.
    fn order(&self, group: Option<Pid>) -> Result<(), NodeError> {
        let mut order =
            group.map_or_else(String::new, |group| format!("kill -s KILL -- -{group}; "));
        if let Some(folder) = &self.filled.temporary {
            let folder = quoted(&folder.path().to_string_lossy());
            // Killed processes may still be letting go of it.
            order += &format!(
                "for try in 1 2 3 4 5 6 7 8 9; do rm -rf {folder} && break; sleep 0.2; done"
            );
        }
        let order = if order.is_empty() { ":".to_owned() } else { order };
        self.guard.order(&order).map_err(|error| self.fault("guard", error.to_string()))
    }

    /// Waits until the broker answers, has ended, or has had its time.
    async fn answering(&self, child: &mut Child) -> Result<(), NodeError> {
        let end = Instant::now() + self.launch.ready_within;
        let address: Arc<str> = self.address().into();
        loop {
            if let Ok(Some(status)) = child.try_wait() {
                let told = told(status, &self.launch.command);
                return Err(self.fault("start", format!("it {told} before it was ready")));
            }
            if wire::answers(&address, PROBE).await {
                return Ok(());
            }
            if Instant::now() > end {
                let time = self.launch.ready_within;
                return Err(
                    self.fault("start", format!("nothing answered at {address} within {time:?}"))
                );
            }
            sleep(POLL).await;
        }
    }

    /// Kills the process group and waits until it is gone.
    async fn end(&self, state: &mut State) -> Result<(), NodeError> {
        state.paused = false;
        let Some(Running { mut child, group }) = state.running.take() else {
            return Ok(());
        };
        let _ = killpg(group, Signal::SIGKILL);
        let waited = child.wait().await;
        // The leader is gone; others of its group may take a moment. Where nobody reaps them they count for ever.
        let end = Instant::now() + PROBE;
        while killpg(group, None::<Signal>) != Err(Errno::ESRCH) && Instant::now() < end {
            sleep(POLL).await;
        }
        self.order(None)?;
        waited.map(drop).map_err(|error| self.fault("kill", error.to_string()))
    }

    async fn signal(&self, verb: &'static str, signal: Signal) -> Result<(), NodeError> {
        let mut state = self.state.lock().await;
        let Some(running) = &state.running else {
            return Err(self.fault(verb, "it does not run".to_owned()));
        };
        killpg(running.group, signal).map_err(|error| self.fault(verb, error.to_string()))?;
        state.paused = signal == Signal::SIGSTOP;
        Ok(())
    }

    fn address(&self) -> String {
        self.filled.fill(&self.launch.address)
    }

    fn fault(&self, verb: &'static str, reason: String) -> NodeError {
        NodeError { last_words: self.last_words(), ..fault(&self.launch, verb, reason) }
    }
}

impl Node for Process {
    fn name(&self) -> &str {
        &self.launch.name
    }

    fn addresses(&self) -> Vec<String> {
        vec![self.address()]
    }

    fn pause_time(&self) -> Duration {
        self.launch.pause
    }

    fn is_temporary(&self) -> bool {
        self.filled.temporary.is_some()
    }

    fn start(&self) -> BoxFuture<'_, Result<(), NodeError>> {
        Box::pin(async {
            let mut state = self.state.lock().await;
            if let Some(running) = &mut state.running
                && matches!(running.child.try_wait(), Ok(None))
            {
                let _ = killpg(running.group, Signal::SIGCONT);
                state.paused = false;
                return Ok(());
            }
            // What is left of one that ended by itself.
            self.end(&mut state).await?;
            let running = self.spawn(&self.launch.command, "start").await?;
            let running = state.running.insert(running);
            match self.answering(&mut running.child).await {
                Ok(()) => Ok(()),
                Err(error) => {
                    self.end(&mut state).await?;
                    Err(error)
                }
            }
        })
    }

    fn kill(&self) -> BoxFuture<'_, Result<(), NodeError>> {
        Box::pin(async { self.end(&mut *self.state.lock().await).await })
    }

    fn pause(&self) -> BoxFuture<'_, Result<(), NodeError>> {
        Box::pin(self.signal("pause", Signal::SIGSTOP))
    }

    fn resume(&self) -> BoxFuture<'_, Result<(), NodeError>> {
        Box::pin(self.signal("resume", Signal::SIGCONT))
    }

    fn check(&self) -> BoxFuture<'_, Result<(), NodeError>> {
        Box::pin(async {
            let mut state = self.state.lock().await;
            let ended = state.running.as_mut().map(|running| running.child.try_wait());
            match ended {
                Some(Ok(Some(status))) => {
                    let told = told(status, &self.launch.command);
                    Err(self.fault("keep", format!("it {told} by itself")))
                }
                _ => Ok(()),
            }
        })
    }

    fn stop(&self) -> BoxFuture<'_, Result<(), NodeError>> {
        Box::pin(async {
            let mut state = self.state.lock().await;
            let paused = state.paused;
            if let Some(running) = &mut state.running {
                let _ = killpg(running.group, self.launch.stop_signal);
                if paused {
                    let _ = killpg(running.group, Signal::SIGCONT);
                }
                let _ = timeout(GRACE, running.child.wait()).await;
            }
            self.end(&mut state).await?;
            if let Some(folder) = &self.filled.temporary {
                let gone = fs::remove_dir_all(folder.path());
                let gone = gone.or_else(|error| match error.kind() {
                    io::ErrorKind::NotFound => Ok(()),
                    _ => Err(error),
                });
                gone.map_err(|error| self.fault("remove the data of", error.to_string()))?;
            }
            self.guard.dismiss().map_err(|error| self.fault("stop", error.to_string()))
        })
    }

    fn last_words(&self) -> String {
        end_of(&self.log)
    }
}

impl Filled {
    fn new(launch: &Launch) -> Result<Filled, String> {
        let mut names = launch.command.clone();
        names.extend(launch.prepare.iter().cloned());
        names.extend(launch.environment.values().cloned());
        names.push(launch.address.clone());
        for template in &launch.templates {
            names.push(read(template)?);
        }
        let names = names.iter().flat_map(|text| ports_named(text));
        let mut ports = BTreeMap::new();
        for name in names {
            if !ports.contains_key(&name) {
                let port = free_port(ports.values().copied().collect())?;
                ports.insert(name, port);
            }
        }
        let (data, temporary) = match &launch.data {
            Some(data) => {
                fs::create_dir_all(data).map_err(|error| {
                    format!("its data folder {} cannot be made: {error}", data.display())
                })?;
                (data.clone(), None)
            }
            None => {
                let folder = tempfile::Builder::new().prefix("onceness-").tempdir();
                let folder = folder
                    .map_err(|error| format!("no temporary folder can be made for it: {error}"))?;
                (folder.path().to_owned(), Some(folder))
            }
        };
        Ok(Filled { ports, data, temporary })
    }

    fn fill(&self, text: &str) -> String {
        let mut text = text.replace("{data}", &self.data.to_string_lossy());
        for (name, port) in &self.ports {
            text = text.replace(name, &port.to_string());
        }
        text
    }

    fn copy(&self, template: &Path) -> Result<(), String> {
        let text = self.fill(&read(template)?);
        let Some(name) = template.file_name() else {
            return Err(format!("template {} has no file name", template.display()));
        };
        let to = self.data.join(name);
        let mut file = File::create(&to)
            .map_err(|error| format!("{} cannot be written: {error}", to.display()))?;
        file.write_all(text.as_bytes())
            .map_err(|error| format!("{} cannot be written: {error}", to.display()))
    }
}

/// Without a name it is nowhere to be found, and gone when closed.
pub(super) fn open_log(path: Option<&Path>) -> io::Result<File> {
    match path {
        // Whatever somebody else writes there too, nothing is overwritten.
        Some(path) => {
            File::create(path)?;
            OpenOptions::new().read(true).append(true).open(path)
        }
        None => tempfile::tempfile(),
    }
}

fn fault(launch: &Launch, verb: &'static str, reason: String) -> NodeError {
    NodeError { node: launch.name.clone(), verb, reason, last_words: String::new() }
}

fn read(template: &Path) -> Result<String, String> {
    fs::read_to_string(template)
        .map_err(|error| format!("template {} cannot be read: {error}", template.display()))
}

/// How a command ended, as part of a sentence.
fn told(status: ExitStatus, command: &[String]) -> String {
    let program = command.first().map_or("", String::as_str);
    match status.code() {
        // What shells say.
        Some(126) => format!("ended with {status} (may '{program}' be run?)"),
        Some(127) => format!("ended with {status} (is the program '{program}' there?)"),
        _ => format!("ended with {status}"),
    }
}

/// `{port}` and `{port:NAME}`, as they stand in a text.
fn ports_named(text: &str) -> Vec<String> {
    let found = text.match_indices("{port").filter_map(|(start, _)| {
        let end = start + text[start..].find('}')?;
        let name = text[start + "{port".len()..end].strip_prefix(':');
        let plain = |name: &str| {
            !name.is_empty()
                && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_')
        };
        let whole = &text[start..=end];
        (whole == "{port}" || name.is_some_and(plain)).then(|| whole.to_owned())
    });
    found.collect()
}

pub(super) fn free_port(taken: Vec<u16>) -> Result<u16, String> {
    let free =
        |port: &u16| !taken.contains(port) && TcpListener::bind(("127.0.0.1", *port)).is_ok();
    (0..PORTS_TRIED)
        .map(|_| fastrand::u16(PORTS))
        .find(free)
        .ok_or_else(|| format!("none of {PORTS_TRIED} ports is free"))
}
