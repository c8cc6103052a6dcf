//! Installing a release once: jars by Maven, a formatted data folder, and an archive of loaded classes.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

use super::settings::{self, ARCHIVE, Registration};
use super::{Pace, Version, java};
use crate::cache;
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
    let started = Instant::now();
    eprintln!("fetching Apache Kafka {version} into {}", home.display());
    cache::install(&home, undertaker, |fresh| {
        fetch(version, fresh, undertaker)?;
        format(fresh, undertaker)?;
        if let Err(error) = archive_classes(fresh, undertaker) {
            undertaker.interrupt.check()?;
            eprintln!("starts will be slower: {error:#}");
        }
        Ok(())
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

/// What is copied: a fresh broker's disk.
pub(super) fn formatted(home: &Path) -> PathBuf {
    home.join(FORMATTED)
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

pub(super) fn home(version: &Version) -> anyhow::Result<PathBuf> {
    cache::place(&format!("kafka-{version}"))
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
    cache::run(&maven, into, undertaker)
        .with_context(|| format!("failed to fetch Apache Kafka {version} with Maven"))
}

fn format(home: &Path, undertaker: &Undertaker) -> anyhow::Result<()> {
    let properties = home.join("format.properties");
    // The ports do not matter: formatting writes only identities and the default features of the release.
    fs::write(
        &properties,
        settings::server_properties(9092, 9093, &home.join(FORMATTED), Registration::Safe),
    )
    .with_context(|| format!("failed to write {}", properties.display()))?;
    let main = ["kafka.tools.StorageTool", "format", "-t", settings::CLUSTER_ID, "-c"];
    let command = java(home, &settings::java_options(Pace::Short, home), &main, &properties)?;
    cache::run(&command, home, undertaker).context("failed to format the storage")
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
