//! Installing a release once: jars by Maven, a formatted data folder, and an archive of loaded classes.
//!
//! An installation is made in a temporary folder of the cache and appears there by one rename, so it is whole or absent.

use std::env;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

use super::settings::{self, ARCHIVE};
use super::{LOG_LINES, Pace, Version, java, last_lines};
use crate::process::{Output, Process};
use crate::undertaker::Undertaker;

const JARS: &str = "libs";
const FORMATTED: &str = "formatted";

/// How long the JVM may take to write down its classes.
const ARCHIVE_LIMIT: Duration = Duration::from_secs(60);

/// Whether the release needs no fetching.
pub(crate) fn is_cached(version: &Version) -> anyhow::Result<bool> {
    Ok(home(version)?.exists())
}

/// The folder of the release, installed now if it is not there.
pub(super) fn ensure(version: &Version, undertaker: &Undertaker) -> anyhow::Result<PathBuf> {
    let home = home(version)?;
    if home.exists() {
        return Ok(home);
    }
    let cache = cache()?;
    fs::create_dir_all(&cache).with_context(|| format!("failed to create {}", cache.display()))?;
    let started = Instant::now();
    eprintln!("fetching Apache Kafka {version} into {}", home.display());
    let fresh = undertaker.folder_in(&cache)?;
    fetch(version, fresh.path(), undertaker)?;
    format(fresh.path(), undertaker)?;
    if let Err(error) = archive_classes(fresh.path(), undertaker) {
        undertaker.interrupt.check()?;
        eprintln!("starts will be slower: {error:#}");
    }
    // Somebody else may have been quicker; theirs is as good.
    fs::rename(fresh.path(), &home)
        .or_else(|error| if home.exists() { Ok(()) } else { Err(error) })
        .with_context(|| {
            format!("failed to rename {} to {}", fresh.path().display(), home.display())
        })?;
    eprintln!("fetched Apache Kafka {version} in {:.1} s", started.elapsed().as_secs_f64());
    Ok(home)
}

/// Copies the formatted data folder, which is a fresh broker's disk.
pub(super) fn copy_formatted(home: &Path, to: &Path) -> anyhow::Result<()> {
    let from = home.join(FORMATTED);
    let copy = || {
        fs::create_dir(to)?;
        for entry in fs::read_dir(&from)? {
            let entry = entry?;
            fs::copy(entry.path(), to.join(entry.file_name()))?;
        }
        Ok::<_, std::io::Error>(())
    };
    copy().with_context(|| format!("failed to copy {} to {}", from.display(), to.display()))
}

/// The jars in a fixed order, as the archive of classes is only valid for that order.
pub(super) fn class_path(home: &Path) -> anyhow::Result<String> {
    let folder = home.join(JARS);
    let names = || {
        fs::read_dir(&folder)?
            .map(|entry| Ok(entry?.file_name()))
            .collect::<std::io::Result<Vec<_>>>()
    };
    let mut names = names().with_context(|| format!("failed to list {}", folder.display()))?;
    names.sort();
    Ok(names
        .iter()
        .map(|name| format!("{JARS}/{}", name.to_string_lossy()))
        .collect::<Vec<_>>()
        .join(":"))
}

fn home(version: &Version) -> anyhow::Result<PathBuf> {
    Ok(cache()?.join(format!("kafka-{version}")))
}

fn cache() -> anyhow::Result<PathBuf> {
    let folder = |name| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let cache = folder("ONCENESS_CACHE")
        .or_else(|| Some(folder("XDG_CACHE_HOME")?.join("onceness")))
        .or_else(|| Some(folder("HOME")?.join(".cache").join("onceness")))
        .context("no place for the cache: set ONCENESS_CACHE to a folder")?;
    std::path::absolute(&cache).with_context(|| format!("failed to find {}", cache.display()))
}

fn fetch(version: &Version, into: &Path, undertaker: &Undertaker) -> anyhow::Result<()> {
    let pom = into.join("pom.xml");
    fs::write(&pom, settings::pom(version))
        .with_context(|| format!("failed to write {}", pom.display()))?;
    let mut maven = Command::new("mvn");
    maven
        .args(["-q", "-B", "dependency:copy-dependencies"])
        .arg(format!("-DoutputDirectory={JARS}"))
        .current_dir(into);
    run(&maven, into, undertaker)
        .with_context(|| format!("failed to fetch Apache Kafka {version} with Maven"))
}

fn format(home: &Path, undertaker: &Undertaker) -> anyhow::Result<()> {
    let properties = home.join("format.properties");
    // The ports do not matter: formatting writes only identities and the default features of the release.
    fs::write(&properties, settings::server_properties(9092, 9093, &home.join(FORMATTED)))
        .with_context(|| format!("failed to write {}", properties.display()))?;
    let main = ["kafka.tools.StorageTool", "format", "-t", settings::CLUSTER_ID, "-c"];
    let command = java(home, &settings::java_options(Pace::Short, home), &main, &properties)?;
    run(&command, home, undertaker).context("failed to format the storage")
}

/// Starts a broker once only to have the JVM write down the classes it loaded: later starts take half the time.
fn archive_classes(home: &Path, undertaker: &Undertaker) -> anyhow::Result<()> {
    let mut options = settings::java_options(Pace::Short, home);
    options.push(format!("-XX:ArchiveClassesAtExit={ARCHIVE}"));
    let launched = super::launch(home, &options, undertaker);
    let Ok(mut broker) = launched else {
        bail!("failed to start a broker for the archive of classes")
    };
    match broker._process.terminate(ARCHIVE_LIMIT)? {
        Some(_) if home.join(ARCHIVE).exists() => Ok(()),
        _ => bail!("failed to write {}", home.join(ARCHIVE).display()),
    }
}

fn run(command: &Command, folder: &Path, undertaker: &Undertaker) -> anyhow::Result<()> {
    let log = folder.join("install.log");
    let output =
        File::create(&log).with_context(|| format!("failed to create {}", log.display()))?;
    let status = Process::background(command, undertaker, Output::File(output))?.wait()?;
    if !status.success() {
        bail!(
            "{status}:\n{}",
            last_lines(&fs::read_to_string(&log).unwrap_or_default(), LOG_LINES)
        );
    }
    Ok(())
}
