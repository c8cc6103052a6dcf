//! `[launch.NAME]`: how a broker is started as a command.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::sys::signal::Signal;
use onceness_adapters::node::Launch;
use serde::Deserialize;
use serde::de::{self, Deserializer};

use super::{check_pause, duration, pause, ready_within};
use crate::nearest::unknown;

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct LaunchSection {
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

impl LaunchSection {
    pub(super) fn check(&self) -> Result<(), String> {
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
        check_pause(self.pause)
    }

    pub(super) fn launch(&self, name: &str, home: &Path) -> Launch {
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

fn address() -> String {
    "127.0.0.1:{port}".to_owned()
}

fn stop_signal() -> Signal {
    Signal::SIGTERM
}

fn signal<'de, D: Deserializer<'de>>(from: D) -> Result<Signal, D::Error> {
    let text = String::deserialize(from)?;
    text.parse().map_err(|_| {
        let known = Signal::iterator().map(Signal::as_str);
        de::Error::custom(unknown("signal", &text, known))
    })
}
