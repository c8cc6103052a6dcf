//! An Apache Kafka that runs in containers: an engine, and an image made on the spot.
//!
//! No registry is asked, for it may be out of reach: the image is made of this machine's own Java and of the jars that are
//! cached anyway. Kafka's jars hold the very code behind the environment variables of the `apache/kafka` image, so that
//! what is learnt from the local image holds for the published one.

mod engine;
mod image;
mod parts;

use std::ffi::OsString;
use std::process::ExitCode;

pub(crate) use self::engine::{Engine, HOST, Unavailable};
use crate::broker;
use crate::kafka::Version;
use crate::undertaker::Undertaker;

/// The environment variable by which tests learn of the image.
pub(crate) const VARIABLE: &str = "ONCENESS_CONTAINER";

/// An image on an engine that answers. Dropping it stops the engine, if we started it.
pub(crate) struct Image<'a> {
    /// What users type after `container:`.
    pub(crate) name: String,
    /// Where it can be run.
    pub(crate) engine: Engine<'a>,
}

/// Finds or starts an engine, and makes the image of that release there unless it has it.
pub(crate) fn prepare<'a>(
    version: &Version,
    undertaker: &'a Undertaker,
) -> anyhow::Result<Image<'a>> {
    let engine = Engine::find_or_start(undertaker)?;
    let name = image::ensure(version, &engine, undertaker)?;
    Ok(Image { name, engine })
}

/// Runs a command with the name of the image in place of every `{}`; its exit code is ours.
pub(crate) fn lend(
    image: &Image<'_>,
    command: &[OsString],
    undertaker: &Undertaker,
) -> anyhow::Result<ExitCode> {
    broker::run_with(command, &image.name, &image.variables(), undertaker)
}

impl Image<'_> {
    /// What the environment of a command says about it.
    pub(crate) fn variables(&self) -> Vec<(&'static str, String)> {
        let host = self.engine.host.clone().map(|host| (HOST, host));
        [(VARIABLE, self.name.clone())].into_iter().chain(host).collect()
    }
}
