//! Starting a broker: on a port that is free, until it answers.

use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow, bail};
use tempfile::TempDir;

use crate::broker::Broker;
use crate::process::{Interrupted, Output, POLL, Process};
use crate::ready;
use crate::undertaker::Undertaker;

/// How long a broker may take until it is ready.
const START_LIMIT: Duration = Duration::from_secs(60);

/// A port that was free may be taken by somebody else before the broker binds it, so a failed start is tried again.
const ATTEMPTS: usize = 3;

/// How much of a log is shown when something fails.
const LOG_LINES: usize = 20;

/// Why a broker did not start.
pub(crate) enum Failure {
    /// Somebody else was quicker.
    PortTaken,
    /// Anything else.
    Other(anyhow::Error),
}

impl<E: Into<anyhow::Error>> From<E> for Failure {
    fn from(error: E) -> Failure {
        Failure::Other(error.into())
    }
}

/// Tries until the broker is ready, and says so. Each attempt has to use fresh ports and fresh data.
pub(crate) fn retry<'a>(
    name: &str,
    attempt: impl Fn() -> Result<Broker<'a>, Failure>,
) -> anyhow::Result<Broker<'a>> {
    for _ in 0..ATTEMPTS {
        let started = Instant::now();
        match attempt() {
            Ok(broker) => {
                let seconds = started.elapsed().as_secs_f64();
                eprintln!("{name} is ready at {} after {seconds:.1} s", broker.address);
                return Ok(broker);
            }
            Err(Failure::PortTaken) => {}
            Err(Failure::Other(error)) => {
                return Err(error.context(format!("failed to start {name}")));
            }
        }
    }
    bail!("failed to start {name}: no free port in {ATTEMPTS} attempts")
}

/// Runs the broker, its log in the folder of its data, and waits until it is ready.
pub(crate) fn launch<'a>(
    command: &Command,
    port: u16,
    data: TempDir,
    undertaker: &'a Undertaker,
) -> Result<Broker<'a>, Failure> {
    let log = data.path().join("broker.log");
    let output =
        File::create(&log).with_context(|| format!("failed to create {}", log.display()))?;
    let mut process = Process::background(command, undertaker, Output::File(output))?;
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    match wait_until_ready(address, &mut process, undertaker) {
        Ok(()) => Ok(Broker { address: address.to_string(), _process: process, _data: data }),
        Err(error) => Err(explain(error, &fs::read_to_string(&log).unwrap_or_default())),
    }
}

/// Ports that nobody listened on a moment ago.
pub(crate) fn free_ports<const COUNT: usize>() -> anyhow::Result<[u16; COUNT]> {
    // All are held until all are known, lest two be the same.
    let bind = || TcpListener::bind((Ipv4Addr::LOCALHOST, 0));
    let listeners = (0..COUNT).map(|_| bind()).collect::<Result<Vec<_>, _>>();
    let mut ports = [0; COUNT];
    for (port, listener) in ports.iter_mut().zip(listeners.context("failed to find a free port")?) {
        *port = listener.local_addr().context("failed to find a free port")?.port();
    }
    Ok(ports)
}

/// The last lines of it.
pub(crate) fn end_of_log(text: &str) -> String {
    last_lines(text, LOG_LINES)
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
    // Java and Go differ in the first letter.
    if log.contains("ddress already in use") {
        return Failure::PortTaken;
    }
    match error.is::<Interrupted>() {
        true => Failure::Other(error),
        false => Failure::Other(anyhow!("{error:#}; the end of its log:\n{}", end_of_log(log))),
    }
}

fn last_lines(text: &str, count: usize) -> String {
    let lines = text.lines().collect::<Vec<_>>();
    lines[lines.len().saturating_sub(count)..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_log() {
        assert_eq!(last_lines("a\nb\nc\n", 2), "b\nc");
        assert_eq!(last_lines("a", 2), "a");
    }

    #[test]
    fn free_ports_differ() {
        let [one, two] = free_ports().unwrap();
        assert_ne!(one, two);
    }

    #[test]
    fn a_taken_port_is_no_failure_of_the_broker() {
        let of_go = "listen tcp 127.0.0.1:9: bind: address already in use";
        for log in [of_go, "java.net.BindException: Address already in use"] {
            assert!(matches!(explain(anyhow!("it ended"), log), Failure::PortTaken), "{log}");
        }
        assert!(matches!(explain(anyhow!("it ended"), "other"), Failure::Other(_)));
    }
}
