//! Containers on a real engine, from the image in `ONCENESS_CONTAINER` (`cargo ci container` gives it one).

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::{Container, Image, LABEL, kafka_environment};
use crate::node::{Node as _, NodeError};
use crate::wire;

const PROBE: Duration = Duration::from_secs(1);

fn image() -> Image {
    let image = std::env::var("ONCENESS_CONTAINER").expect("ONCENESS_CONTAINER=IMAGE");
    Image {
        name: format!("container:{image}"),
        image,
        command: Vec::new(),
        environment: kafka_environment(),
        port: 9092,
        host: None,
        network: None,
        mounts: Vec::new(),
        ready_within: Duration::from_secs(60),
        pause: Duration::from_secs(1),
    }
}

/// A shell command in the image, in place of the broker.
fn shell(script: &str) -> Image {
    let command = ["/bin/sh", "-c", script].map(str::to_owned).to_vec();
    Image { command, ready_within: Duration::from_secs(1), ..image() }
}

async fn refused(image: Image) -> NodeError {
    let folder = TempDir::new().unwrap();
    Container::run(image, Some(&folder.path().join("target.log"))).await.unwrap_err()
}

async fn answers(container: &Container) -> bool {
    wire::answers(&container.address().into(), PROBE).await
}

fn exists(container: &str) -> bool {
    let filter = format!("label={LABEL}={container}");
    let listed = Command::new("docker").args(["ps", "-aq", "--filter", &filter]).output().unwrap();
    assert!(listed.status.success(), "{listed:?}");
    !listed.stdout.is_empty()
}

fn kill_behind_our_back(container: &str) {
    assert!(Command::new("docker").args(["kill", container]).status().unwrap().success());
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a Docker engine and an image: ONCENESS_CONTAINER=IMAGE"]
async fn a_container_is_killed_started_again_and_paused() {
    let folder = TempDir::new().unwrap();
    let log = folder.path().join("target.log");
    let started = Instant::now();
    let container = Container::run(image(), Some(&log)).await.unwrap();
    eprintln!("started in {:?}", started.elapsed());
    let addresses = container.addresses();
    assert!(answers(&container).await);

    container.kill().await.unwrap();
    assert!(!answers(&container).await);
    container.kill().await.unwrap();
    let started = Instant::now();
    container.start().await.unwrap();
    eprintln!("started again in {:?}", started.elapsed());
    assert_eq!(container.addresses(), addresses);
    assert!(answers(&container).await);
    container.start().await.unwrap();

    container.pause().await.unwrap();
    assert!(!answers(&container).await);
    container.resume().await.unwrap();
    assert!(answers(&container).await);

    container.pause().await.unwrap();
    container.start().await.unwrap();
    assert!(answers(&container).await, "what is left paused is let go on");

    container.pause().await.unwrap();
    container.kill().await.unwrap();
    container.check().await.expect("it was killed by us");
    container.start().await.unwrap();
    assert!(answers(&container).await);

    kill_behind_our_back(&container.id);
    let ended = container.check().await.unwrap_err();
    assert_eq!(ended.reason, "it ended with exit code 137 by itself");
    container.start().await.unwrap();

    let said = std::fs::read_to_string(&log).unwrap();
    assert_eq!(said.matches("Performing controller activation").count(), 4, "{said}");
    container.pause().await.unwrap();
    container.stop().await.unwrap();
    assert!(!exists(&container.id));
    assert!(container.start().await.unwrap_err().to_string().contains("it is removed"));
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a Docker engine and an image: ONCENESS_CONTAINER=IMAGE"]
async fn a_container_that_is_dropped_is_gone() {
    let folder = TempDir::new().unwrap();
    let container = Container::run(image(), Some(&folder.path().join("target.log"))).await.unwrap();
    let id = container.id.clone();
    assert!(exists(&id));
    tokio::task::spawn_blocking(|| drop(container)).await.unwrap();
    assert!(!exists(&id));
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a Docker engine and an image: ONCENESS_CONTAINER=IMAGE"]
async fn a_container_that_does_not_get_ready_is_told_with_the_end_of_its_log() {
    let ended = refused(shell("echo no disk >&2; exit 3")).await;
    assert_eq!(ended.reason, "it ended with exit code 3 before it was ready");
    assert_eq!(ended.last_words, "no disk");
    let silent = refused(shell("echo thinking; sleep 60")).await;
    assert!(silent.reason.starts_with("nothing answered at 127.0.0.1:"), "{silent}");
    assert_eq!(silent.last_words, "thinking");
    let missing = refused(Image { command: vec!["no-such-broker".to_owned()], ..image() }).await;
    assert!(missing.reason.contains("no-such-broker"), "{missing}");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a Docker engine and an image: ONCENESS_CONTAINER=IMAGE"]
async fn a_container_of_an_image_that_is_not_there_is_refused() {
    let image = Image { image: "onceness/no-such-image:1".to_owned(), ..image() };
    let error = refused(image).await;
    assert!(
        error
            .reason
            .starts_with("the engine has no image onceness/no-such-image:1, and cannot fetch it: "),
        "{error}"
    );
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a Docker engine and an image: ONCENESS_CONTAINER=IMAGE"]
async fn a_container_sees_what_is_mounted() {
    let folder = TempDir::new().unwrap();
    std::fs::write(folder.path().join("words"), "from outside").unwrap();
    let mounts = vec![(folder.path().to_owned(), "/words".to_owned())];
    let script = "read -r words < /words/words; echo $words; exit 1";
    let error = refused(Image { mounts, environment: BTreeMap::new(), ..shell(script) }).await;
    assert_eq!(error.last_words, "from outside");
}

#[tokio::test]
async fn a_log_that_cannot_be_written_is_told() {
    let image = Image {
        name: "container:x".to_owned(),
        image: "x".to_owned(),
        command: Vec::new(),
        environment: BTreeMap::new(),
        port: 9092,
        host: None,
        network: None,
        mounts: Vec::new(),
        ready_within: PROBE,
        pause: PROBE,
    };
    let error = Container::run(image, Some(Path::new("/no/such/folder/log"))).await.unwrap_err();
    assert!(error.reason.starts_with("its log /no/such/folder/log cannot be written"), "{error}");
}
