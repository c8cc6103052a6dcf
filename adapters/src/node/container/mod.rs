//! A node that is a container: made once, then killed and started again with all that it stored in itself.
//!
//! The library `testcontainers` makes and removes it. Its own reaper, a container too, is not asked for: nothing is pulled that
//! nobody named, and the [`Guard`] needs only the engine's command line.

mod engine;
mod kafka;

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::Duration;

use futures::future::BoxFuture;
use testcontainers::core::{IntoContainerPort as _, Mount};
use testcontainers::runners::AsyncRunner as _;
use testcontainers::{ContainerAsync, ContainerRequest, GenericImage, ImageExt as _};
use tokio::sync::Mutex;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};

use super::guard::{Guard, quoted};
use super::process::{ATTEMPTS, GRACE, POLL, PROBE, free_port, open_log};
use super::{Node, NodeError, end_of};
use crate::wire;
use engine::{Engine, Output};

pub use kafka::kafka_environment;

/// What every container of ours is labelled with; the value is its name.
pub const LABEL: &str = "onceness";

/// The network of the engine's own machine: nothing is published, the port inside is the port.
const HOST_NETWORK: &str = "host";

/// How a container is run.
///
/// In `command` and `environment`, `{port}` stands for the port that clients reach, `{host}` for the host. Both are known
/// before the start, as brokers advertise them. Other braces stay as they are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    /// What it is, for people: `container:IMAGE`.
    pub name: String,
    /// The image, as the engine knows it.
    pub image: String,
    /// What is run, if not what the image says.
    pub command: Vec<String>,
    /// What is added to the environment.
    pub environment: BTreeMap<String, String>,
    /// Where the broker listens for clients, inside.
    pub port: u16,
    /// The host where published ports are reached; none: the engine's.
    pub host: Option<String>,
    /// The network it is in, if not the engine's usual one.
    pub network: Option<String>,
    /// Files and folders of the engine's machine, and where they are seen inside.
    pub mounts: Vec<(PathBuf, String)>,
    /// How long a start may take.
    pub ready_within: Duration,
    /// How long a pause lasts.
    pub pause: Duration,
}

/// A container that runs.
#[derive(Debug)]
pub struct Container {
    // First, so that it goes first: dropping it removes the container.
    guard: Guard,
    image: Image,
    engine: Engine,
    /// What the engine calls it.
    id: String,
    host: String,
    port: u16,
    log: File,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    container: Option<ContainerAsync<GenericImage>>,
    /// Writes its output to the log until it ends.
    follower: Option<JoinHandle<()>>,
    /// Whether it was started, and not killed since.
    up: bool,
    paused: bool,
}

/// Why an attempt to start failed.
enum Failed {
    /// Somebody else was quicker.
    PortTaken,
    Other(NodeError),
}

impl Container {
    /// Makes a container of the image, which is fetched if the engine does not have it, and waits until it answers. Its
    /// log goes to a file, which is begun anew; without a name it is kept for errors only.
    ///
    /// # Errors
    /// When there is no engine, no such image, or the container cannot be run, ends, or does not answer in time.
    pub async fn run(image: Image, log: Option<&Path>) -> Result<Container, NodeError> {
        let fault = |reason| fault(&image, "start", reason);
        let name = log.map_or_else(String::new, |log| format!(" {}", log.display()));
        let log = open_log(log)
            .map_err(|error| fault(format!("its log{name} cannot be written: {error}")))?;
        let engine = Engine::reach().await.map_err(fault)?;
        engine.fetch(&image.image).await.map_err(fault)?;
        for _ in 0..ATTEMPTS {
            match Container::attempt(&image, &engine, &log).await {
                Ok(container) => return Ok(container),
                Err(Failed::PortTaken) => {}
                Err(Failed::Other(error)) => return Err(error),
            }
        }
        Err(fault(format!("no port was free in {ATTEMPTS} attempts")))
    }

    /// A fresh port and a fresh container.
    async fn attempt(image: &Image, engine: &Engine, log: &File) -> Result<Container, Failed> {
        let fault = |reason| Failed::Other(fault(image, "start", reason));
        let log = log.try_clone().map_err(|error| fault(error.to_string()))?;
        let guard = Guard::hire().map_err(|error| fault(format!("no guard for it: {error}")))?;
        let port = match image.network.as_deref() {
            Some(HOST_NETWORK) => engine::free(image.port).map_err(fault)?,
            _ => free_port(Vec::new()).map_err(fault)?,
        };
        let container = Container {
            guard,
            image: image.clone(),
            engine: engine.clone(),
            id: format!("onceness-{:016x}", fastrand::u64(..)),
            host: image.host.clone().unwrap_or_else(|| engine.host().to_owned()),
            port,
            log,
            state: Mutex::default(),
        };
        container.order().map_err(Failed::Other)?;
        match container.make().await {
            Ok(()) => Ok(container),
            Err(failed) => {
                // What was made before it failed.
                let _ = container.stop().await;
                Err(failed)
            }
        }
    }

    async fn make(&self) -> Result<(), Failed> {
        let mut state = self.state.lock().await;
        let made = self.request().start().await.map_err(|error| {
            let reason = error.to_string();
            match engine::is_port_taken(&reason) && self.image.network.is_none() {
                true => Failed::PortTaken,
                false => Failed::Other(self.fault("start", reason)),
            }
        })?;
        state.container = Some(made);
        let output = self.engine.output(&self.id);
        self.becomes_ready(&mut state, output).await.map_err(Failed::Other)
    }

    /// Waits until a container that was started answers. One that does not is ended, and its last words waited for.
    async fn becomes_ready(&self, state: &mut State, output: Output) -> Result<(), NodeError> {
        let container = state.container.as_ref().ok_or_else(|| self.absent("start"))?;
        let follower = self.log.try_clone().map(|log| engine::follow(output, log));
        let ready = self.answering(container).await;
        state.follower = follower.ok();
        state.up = ready.is_ok();
        let Err(reason) = ready else { return Ok(()) };
        let _ = self.engine.kill(&self.id).await;
        state.output_ends().await;
        Err(self.fault("start", reason))
    }

    fn request(&self) -> ContainerRequest<GenericImage> {
        let Image { image, command, environment, port, network, mounts, .. } = &self.image;
        let (name, tag) = engine::name_and_tag(image);
        let mut request = GenericImage::new(name, tag)
            .with_container_name(&self.id)
            .with_label(LABEL, &self.id)
            .with_cmd(command.iter().map(|word| self.fill(word)));
        for (name, value) in environment {
            request = request.with_env_var(name, self.fill(value));
        }
        for (from, to) in mounts {
            request = request.with_mount(Mount::bind_mount(from.to_string_lossy(), to));
        }
        if let Some(network) = network {
            request = request.with_network(network);
        }
        if network.as_deref() != Some(HOST_NETWORK) {
            request = request.with_mapped_port(self.port, port.tcp());
        }
        // What is on this machine alone should be reached from this machine alone.
        if self.host == engine::LOCAL {
            request = request.with_host_config_modifier(|config| {
                let bindings = config.port_bindings.iter_mut().flat_map(|ports| ports.values_mut());
                for binding in bindings.flatten().flatten() {
                    binding.host_ip = Some(engine::LOCAL.to_owned());
                }
            });
        }
        request
    }

    fn fill(&self, text: &str) -> String {
        text.replace("{port}", &self.port.to_string()).replace("{host}", &self.host)
    }

    /// What the guard does when we are gone. More than once, as the engine may be just about to make it.
    fn order(&self) -> Result<(), NodeError> {
        let id = quoted(&self.id);
        let order = format!("for pause in 0 0.5 1; do sleep $pause; docker rm -f -v {id}; done");
        self.guard.order(&order).map_err(|error| self.fault("guard", error.to_string()))
    }

    /// Waits until the broker answers, has ended, or has had its time.
    async fn answering(&self, container: &ContainerAsync<GenericImage>) -> Result<(), String> {
        let within = self.image.ready_within;
        let end = Instant::now() + within;
        let address = self.address().into();
        loop {
            if !container.is_running().await.map_err(|error| error.to_string())? {
                return Err(format!("it ended{} before it was ready", code_of(container).await));
            }
            if wire::answers(&address, PROBE).await {
                return Ok(());
            }
            if Instant::now() > end {
                return Err(format!(
                    "nothing answered at {address} within {within:?} (its port {} is published there)",
                    self.image.port
                ));
            }
            sleep(POLL).await;
        }
    }

    fn address(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }

    fn fault(&self, verb: &'static str, reason: String) -> NodeError {
        NodeError { last_words: self.last_words(), ..fault(&self.image, verb, reason) }
    }

    fn absent(&self, verb: &'static str) -> NodeError {
        self.fault(verb, "it is removed".to_owned())
    }
}

impl State {
    /// Waits until all that an ended container said is in the log.
    async fn output_ends(&mut self) {
        if let Some(follower) = self.follower.take() {
            let _ = timeout(PROBE, follower).await;
        }
    }
}

impl Node for Container {
    fn name(&self) -> &str {
        &self.image.name
    }

    fn addresses(&self) -> Vec<String> {
        vec![self.address()]
    }

    fn pause_time(&self) -> Duration {
        self.image.pause
    }

    fn is_temporary(&self) -> bool {
        self.image.mounts.is_empty()
    }

    fn start(&self) -> BoxFuture<'_, Result<(), NodeError>> {
        Box::pin(async {
            let fault = |reason| self.fault("start", reason);
            let mut state = self.state.lock().await;
            let container = state.container.as_ref().ok_or_else(|| self.absent("start"))?;
            if container.is_running().await.map_err(|error| fault(error.to_string()))? {
                if state.paused {
                    container.unpause().await.map_err(|error| fault(error.to_string()))?;
                    state.paused = false;
                }
                return Ok(());
            }
            let output = self.engine.attach(&self.id).await.map_err(fault)?;
            self.engine.start(&self.id).await.map_err(fault)?;
            self.becomes_ready(&mut state, output).await
        })
    }

    fn kill(&self) -> BoxFuture<'_, Result<(), NodeError>> {
        Box::pin(async {
            let mut state = self.state.lock().await;
            let container = state.container.as_ref().ok_or_else(|| self.absent("kill"))?;
            self.engine.kill(&self.id).await.map_err(|reason| self.fault("kill", reason))?;
            let end = Instant::now() + GRACE;
            while container.is_running().await.unwrap_or(true) {
                if Instant::now() > end {
                    return Err(self.fault("kill", format!("it still runs after {GRACE:?}")));
                }
                sleep(POLL).await;
            }
            state.paused = false;
            state.up = false;
            state.output_ends().await;
            Ok(())
        })
    }

    fn pause(&self) -> BoxFuture<'_, Result<(), NodeError>> {
        Box::pin(async {
            let mut state = self.state.lock().await;
            let container = state.container.as_ref().ok_or_else(|| self.absent("pause"))?;
            container.pause().await.map_err(|error| self.fault("pause", error.to_string()))?;
            state.paused = true;
            Ok(())
        })
    }

    fn resume(&self) -> BoxFuture<'_, Result<(), NodeError>> {
        Box::pin(async {
            let mut state = self.state.lock().await;
            let container = state.container.as_ref().ok_or_else(|| self.absent("resume"))?;
            container.unpause().await.map_err(|error| self.fault("resume", error.to_string()))?;
            state.paused = false;
            Ok(())
        })
    }

    fn check(&self) -> BoxFuture<'_, Result<(), NodeError>> {
        Box::pin(async {
            let mut state = self.state.lock().await;
            let container = state.container.as_ref().ok_or_else(|| self.absent("keep"))?;
            let running = container.is_running().await;
            if running.map_err(|error| self.fault("keep", error.to_string()))? || !state.up {
                return Ok(());
            }
            let reason = format!("it ended{} by itself", code_of(container).await);
            state.output_ends().await;
            Err(self.fault("keep", reason))
        })
    }

    fn stop(&self) -> BoxFuture<'_, Result<(), NodeError>> {
        Box::pin(async {
            let mut state = self.state.lock().await;
            if let Some(container) = state.container.take() {
                // In good order only if something of it stays.
                if !self.is_temporary() {
                    if state.paused {
                        let _ = container.unpause().await;
                    }
                    let grace = i32::try_from(GRACE.as_secs()).ok();
                    let _ = container.stop_with_timeout(grace).await;
                }
                // The engine is asked by name below; what drops here would ask it once more.
                std::mem::forget(container);
            }
            self.engine.remove(&self.id).await.map_err(|reason| self.fault("remove", reason))?;
            state.output_ends().await;
            self.guard.dismiss().map_err(|error| self.fault("stop", error.to_string()))
        })
    }

    fn last_words(&self) -> String {
        end_of(&self.log)
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        // The guard removes it; what drops here would need a runtime, and may not have one.
        std::mem::forget(self.state.get_mut().container.take());
    }
}

/// With which exit code a container ended, as part of a sentence.
async fn code_of(container: &ContainerAsync<GenericImage>) -> String {
    let code = container.exit_code().await.ok().flatten();
    code.map_or_else(String::new, |code| format!(" with exit code {code}"))
}

fn fault(image: &Image, verb: &'static str, reason: String) -> NodeError {
    NodeError { node: image.name.clone(), verb, reason, last_words: String::new() }
}

#[cfg(test)]
mod tests;
