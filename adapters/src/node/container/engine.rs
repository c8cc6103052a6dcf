//! The Docker engine, or one that is compatible: what `testcontainers` does not do, and its errors in our words.

use std::fmt;
use std::fs::File;
use std::io::{self, Write as _};
use std::net::TcpListener;
use std::pin::Pin;
use std::time::Duration;

use futures::{Stream, StreamExt as _};
use testcontainers::GenericImage;
use testcontainers::bollard::Docker;
use testcontainers::bollard::container::LogOutput;
use testcontainers::bollard::errors::Error;
use testcontainers::bollard::query_parameters::{
    AttachContainerOptionsBuilder, KillContainerOptionsBuilder, LogsOptionsBuilder,
    RemoveContainerOptionsBuilder, StartContainerOptions,
};
use testcontainers::core::client::docker_client_instance;
use testcontainers::runners::AsyncRunner as _;
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// Where ports that an engine on this machine publishes are reached.
pub(super) const LOCAL: &str = "127.0.0.1";

/// Names an engine, for us as for Docker's own programs.
const VARIABLE: &str = "DOCKER_HOST";

/// How long an engine may take to say that it is there.
const PING: Duration = Duration::from_secs(5);

/// How long an image may take to be fetched.
const FETCH: Duration = Duration::from_secs(600);

/// What a container writes.
pub(super) type Output = Pin<Box<dyn Stream<Item = Result<LogOutput, Error>> + Send>>;

/// An engine that answers.
#[derive(Clone)]
pub(super) struct Engine {
    docker: Docker,
    host: String,
}

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Engine").field("host", &self.host).finish_non_exhaustive()
    }
}

impl Engine {
    /// The engine that the environment names, or the one at the usual socket.
    pub(super) async fn reach() -> Result<Engine, String> {
        let named = std::env::var(VARIABLE).unwrap_or_default();
        let absent = |reason: String| {
            let place = match named.as_str() {
                "" => "here".to_owned(),
                named => format!("at {VARIABLE}={named}"),
            };
            format!(
                "no Docker engine answers {place} ({reason}); start Docker, or name a running engine by {VARIABLE}"
            )
        };
        let docker = docker_client_instance().await.map_err(|error| absent(error.to_string()))?;
        match timeout(PING, docker.ping()).await {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => return Err(absent(words(&error))),
            Err(_) => return Err(absent(format!("nothing within {PING:?}"))),
        }
        Ok(Engine { docker, host: host_of(&named).to_owned() })
    }

    /// Where the ports that it publishes are reached.
    pub(super) fn host(&self) -> &str {
        &self.host
    }

    /// Has it fetch the image from a registry, unless it has it.
    pub(super) async fn fetch(&self, image: &str) -> Result<(), String> {
        match self.docker.inspect_image(image).await {
            Ok(_) => return Ok(()),
            Err(Error::DockerResponseServerError { status_code: 404, .. }) => {}
            Err(error) => return Err(format!("its image cannot be looked up: {}", words(&error))),
        }
        let (name, tag) = name_and_tag(image);
        let pulled = GenericImage::new(name, tag).pull_image();
        let reason = match timeout(FETCH, pulled).await {
            Ok(Ok(_)) => return Ok(()),
            Ok(Err(error)) => error.to_string(),
            Err(_) => format!("not done within {FETCH:?}"),
        };
        Err(format!(
            "the engine has no image {image}, and cannot fetch it: {reason}; `docker images` lists what it has"
        ))
    }

    /// All that a container has written and will write until it ends.
    pub(super) fn output(&self, container: &str) -> Output {
        let all = LogsOptionsBuilder::new().follow(true).stdout(true).stderr(true).tail("all");
        Box::pin(self.docker.logs(container, Some(all.build())))
    }

    /// All that a container writes from now on until it ends. It need not run yet.
    pub(super) async fn attach(&self, container: &str) -> Result<Output, String> {
        let live = AttachContainerOptionsBuilder::new().stream(true).stdout(true).stderr(true);
        let attached = self.docker.attach_container(container, Some(live.build())).await;
        attached.map(|attached| attached.output).map_err(|error| words(&error))
    }

    /// Starts a container again.
    pub(super) async fn start(&self, container: &str) -> Result<(), String> {
        let started = self.docker.start_container(container, None::<StartContainerOptions>).await;
        started.map_err(|error| words(&error))
    }

    /// Sends SIGKILL. A container that does not run is no error.
    pub(super) async fn kill(&self, container: &str) -> Result<(), String> {
        let signal = KillContainerOptionsBuilder::new().signal("SIGKILL").build();
        match self.docker.kill_container(container, Some(signal)).await {
            Ok(()) | Err(Error::DockerResponseServerError { status_code: 409, .. }) => Ok(()),
            Err(error) => Err(words(&error)),
        }
    }

    /// Removes a container with all that it stored, running or not. One that is not there is no error.
    pub(super) async fn remove(&self, container: &str) -> Result<(), String> {
        let all = RemoveContainerOptionsBuilder::new().force(true).v(true).build();
        match self.docker.remove_container(container, Some(all)).await {
            Ok(()) | Err(Error::DockerResponseServerError { status_code: 404, .. }) => Ok(()),
            Err(error) => Err(words(&error)),
        }
    }
}

/// Writes what a container says to a log.
pub(super) fn follow(mut output: Output, mut log: File) -> JoinHandle<()> {
    tokio::spawn(async move {
        while let Some(Ok(said)) = output.next().await {
            if log.write_all(&said.into_bytes()).is_err() {
                return;
            }
        }
    })
}

/// The port, unless somebody listens there: it would be taken for the broker.
pub(super) fn free(port: u16) -> Result<u16, String> {
    match TcpListener::bind((LOCAL, port)) {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => Err(format!(
            "{LOCAL}:{port} is taken by another program; end that, or leave out the network 'host'"
        )),
        // Whatever else is wrong with it, the broker says so better.
        _ => Ok(port),
    }
}

/// Whether an engine refused to publish a port because somebody else has it.
pub(super) fn is_port_taken(reason: &str) -> bool {
    reason.contains("port is already allocated") || reason.contains("address already in use")
}

/// An image without a tag is the latest. A colon in the name of a registry is none before a tag.
pub(super) fn name_and_tag(image: &str) -> (&str, &str) {
    match image.rsplit_once(':') {
        Some((name, tag)) if !tag.contains('/') => (name, tag),
        _ => (image, "latest"),
    }
}

/// The host in `tcp://HOST:PORT`; a socket is on this machine.
fn host_of(engine: &str) -> &str {
    let remote =
        ["tcp://", "http://", "https://"].iter().find_map(|kind| engine.strip_prefix(kind));
    let host = remote.map(|rest| rest.split('/').next().unwrap_or(rest));
    let host = host.map(|host| host.rsplit_once(':').map_or(host, |(host, _)| host));
    match host {
        None | Some("" | "localhost") => LOCAL,
        Some(host) => host,
    }
}

fn words(error: &Error) -> String {
    match error {
        Error::DockerResponseServerError { message, .. } => message.trim().to_owned(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::{host_of, name_and_tag};

    #[test]
    fn images_have_a_name_and_a_tag() {
        assert_eq!(name_and_tag("apache/kafka:4.1.1"), ("apache/kafka", "4.1.1"));
        assert_eq!(name_and_tag("apache/kafka"), ("apache/kafka", "latest"));
        assert_eq!(name_and_tag("registry:5000/kafka"), ("registry:5000/kafka", "latest"));
        assert_eq!(name_and_tag("kafka@sha256:0a1b"), ("kafka@sha256", "0a1b"));
    }

    #[test]
    fn ports_are_reached_where_the_engine_is() {
        for local in ["", "unix:///run/docker.sock", "tcp://localhost:2375", "ssh://user@host"] {
            assert_eq!(host_of(local), "127.0.0.1", "{local}");
        }
        assert_eq!(host_of("tcp://10.0.0.7:2375"), "10.0.0.7");
        assert_eq!(host_of("http://engine:2375/"), "engine");
    }
}
