//! kfake, the fake broker of franz-go: one node on a free port that keeps everything in its memory.
//!
//! The Go program around it lies in `ci/kfake` and is part of this binary, so that building it leaves nothing in the source
//! folder. `go.mod` there pins the version, `go.sum` what is fetched for it.

use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use anyhow::Context;

use crate::broker::Broker;
use crate::cache;
use crate::launch::{self, Failure};
use crate::undertaker::Undertaker;

const PROGRAM: &str = "kfake";
const MODULE: &str = "github.com/twmb/franz-go/pkg/kfake";
const GO_MOD: &str = include_str!("../kfake/go.mod");

/// The program as it is built, by file.
const SOURCES: [(&str, &str); 3] = [
    ("go.mod", GO_MOD),
    ("go.sum", include_str!("../kfake/go.sum")),
    ("main.go", include_str!("../kfake/main.go")),
];

/// Whether it needs no building.
pub(crate) fn is_cached() -> anyhow::Result<bool> {
    Ok(home()?.exists())
}

/// Builds it unless it is cached, starts it, and waits until it is ready.
pub(crate) fn start(undertaker: &Undertaker) -> anyhow::Result<Broker<'_>> {
    let home = ensure(undertaker)?;
    launch::retry(&format!("kfake {}", version()), || launch(&home, undertaker))
}

fn launch<'a>(home: &Path, undertaker: &'a Undertaker) -> Result<Broker<'a>, Failure> {
    let data = undertaker.folder_in(&std::env::temp_dir())?;
    let [port] = launch::free_ports()?;
    let mut command = Command::new(home.join(PROGRAM));
    command.arg(port.to_string()).current_dir(data.path());
    launch::launch(&command, port, data, undertaker)
}

fn ensure(undertaker: &Undertaker) -> anyhow::Result<PathBuf> {
    let home = home()?;
    if !home.exists() {
        let started = Instant::now();
        eprintln!("building kfake {} into {}", version(), home.display());
        cache::install(&home, undertaker, |fresh| build(fresh, undertaker))?;
        eprintln!("built kfake in {:.1} s", started.elapsed().as_secs_f64());
    }
    Ok(home)
}

fn build(folder: &Path, undertaker: &Undertaker) -> anyhow::Result<()> {
    for (name, text) in SOURCES {
        let path = folder.join(name);
        fs::write(&path, text).with_context(|| format!("failed to write {}", path.display()))?;
    }
    let mut go = Command::new("go");
    go.args(["build", "-mod=readonly", "-trimpath", "-buildvcs=false", "-o", PROGRAM, "."])
        // No C compiler, and no workspace of the caller's.
        .env("CGO_ENABLED", "0")
        .env("GOWORK", "off")
        .current_dir(folder);
    cache::run(&go, folder, undertaker)
        .with_context(|| format!("failed to build kfake {} with Go", version()))
}

/// Other sources are another installation.
fn home() -> anyhow::Result<PathBuf> {
    let mut hasher = DefaultHasher::new();
    SOURCES.hash(&mut hasher);
    cache::place(&format!("kfake-{}-{:016x}", version(), hasher.finish()))
}

/// The version that `go.mod` asks for.
fn version() -> &'static str {
    required(GO_MOD, MODULE).unwrap_or("of an unknown version")
}

fn required<'a>(go_mod: &'a str, module: &str) -> Option<&'a str> {
    let words = |line: &'a str| line.trim_start_matches("require").split_whitespace();
    let mut lines = go_mod.lines().map(words);
    lines.find_map(|mut line| if line.next() == Some(module) { line.next() } else { None })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn go_mod_pins_the_version() {
        assert!(version().starts_with("v0."), "{}", version());
        assert_eq!(required("require a/b v1\nrequire (\n\ta v2 // indirect\n)\n", "a"), Some("v2"));
        assert_eq!(required("require a/b v1\n", "a"), None);
    }

    #[test]
    fn what_is_fetched_has_a_checksum() {
        let checked = format!("{MODULE} {} h1:", version());
        assert!(SOURCES[1].1.lines().any(|line| line.starts_with(&checked)));
    }
}
