//! `[container."IMAGE"]`: how an image is run.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use onceness_adapters::node::{Image, kafka_environment};
use serde::Deserialize;

use super::{check_pause, duration, pause, ready_within};

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct ContainerSection {
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
    pub(super) fn check(&self) -> Result<(), String> {
        if self.port == 0 {
            return Err("port is 0; write the port where the broker listens inside".to_owned());
        }
        if let Some(wrong) = self.mounts.iter().find(|text| mount(text).is_none()) {
            return Err(format!("mount '{wrong}' is not HERE:INSIDE, such as ./conf:/mnt/conf"));
        }
        check_pause(self.pause)
    }

    pub(super) fn image(&self, image: &str, home: &Path) -> Image {
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

fn yes() -> bool {
    true
}

fn port() -> u16 {
    9092
}
