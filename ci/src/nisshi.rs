//! Nisshi, a broker in Rust, and Tansu, as it was called before: one node on a free port that keeps everything in its memory
//! (the storage engine `memory://`).
//!
//! They are built from their sources by Cargo, which takes some minutes and a gigabyte, so the gate leaves them out; the
//! build folder is gone afterwards. Not optimized: what is asked of them here is whether they are right.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use anyhow::Context;

use crate::broker::Broker;
use crate::cache;
use crate::launch::{self, Failure};
use crate::undertaker::Undertaker;

/// A release of it.
#[derive(Clone, Copy)]
pub(crate) struct Release {
    /// The crate, and the program in it.
    name: &'static str,
    version: &'static str,
}

/// The last one under the old name. It does not announce EndTxn, so nobody has transactions on it.
pub(crate) const TANSU: Release = Release { name: "tansu", version: "0.6.0" };

/// The one that is current.
pub(crate) const NISSHI: Release = Release { name: "nisshi", version: "0.8.1" };

impl fmt::Display for Release {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.name, self.version)
    }
}

/// Builds it unless it is cached, starts it, and waits until it is ready.
pub(crate) fn start(release: Release, undertaker: &Undertaker) -> anyhow::Result<Broker<'_>> {
    let home = ensure(release, undertaker)?;
    launch::retry(&release.to_string(), || launch(release, &home, undertaker))
}

fn launch<'a>(
    release: Release,
    home: &Path,
    undertaker: &'a Undertaker,
) -> Result<Broker<'a>, Failure> {
    // It reads a file `.env` of its working folder, where there is none.
    let data = undertaker.folder_in(&std::env::temp_dir())?;
    let [port] = launch::free_ports()?;
    let url = format!("tcp://127.0.0.1:{port}");
    let mut command = Command::new(home.join("bin").join(release.name));
    command
        .arg("broker")
        .args(["--storage-engine", &format!("memory://{}/", release.name)])
        .args(["--listener-url", &url, "--advertised-listener-url", &url])
        .current_dir(data.path());
    launch::launch(&command, port, data, undertaker)
}

fn ensure(release: Release, undertaker: &Undertaker) -> anyhow::Result<PathBuf> {
    let home = cache::place(&format!("{}-{}", release.name, release.version))?;
    if !home.exists() {
        let started = Instant::now();
        eprintln!("building {release} into {}: some minutes", home.display());
        cache::install(&home, undertaker, |fresh| build(release, fresh, undertaker))?;
        eprintln!("built {release} in {:.0} s", started.elapsed().as_secs_f64());
    }
    Ok(home)
}

fn build(release: Release, folder: &Path, undertaker: &Undertaker) -> anyhow::Result<()> {
    let target = folder.join("target");
    let mut cargo = Command::new("cargo");
    cargo
        .args(["install", release.name, "--version", release.version])
        .args(["--locked", "--profile", "dev", "--no-default-features", "--features", "dynostore"])
        // One of its libraries names a compiler newer than ours, and does not need it.
        .arg("--ignore-rust-version")
        .arg("--root")
        .arg(folder)
        .arg("--target-dir")
        .arg(&target)
        .env("CARGO_PROFILE_DEV_DEBUG", "0")
        // What was set for our own build is not meant for theirs.
        .env_remove("RUSTFLAGS")
        .env_remove("CARGO_ENCODED_RUSTFLAGS")
        .current_dir(folder);
    cache::run(&cargo, folder, undertaker)
        .with_context(|| format!("failed to build {release} with Cargo"))?;
    fs::remove_dir_all(&target).with_context(|| format!("failed to remove {}", target.display()))
}
