//! Where brokers are installed once.
//!
//! An installation is made in a temporary folder of the cache and appears there by one rename, so it is whole or absent.

use std::env;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail};

use crate::launch::end_of_log;
use crate::process::{Output, Process};
use crate::undertaker::Undertaker;

/// The place of that name in the cache.
pub(crate) fn place(name: &str) -> anyhow::Result<PathBuf> {
    let folder = |name| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let cache = folder("ONCENESS_CACHE")
        .or_else(|| Some(folder("XDG_CACHE_HOME")?.join("onceness")))
        .or_else(|| Some(folder("HOME")?.join(".cache").join("onceness")))
        .context("no place for the cache: set ONCENESS_CACHE to a folder")?;
    let cache = std::path::absolute(&cache)
        .with_context(|| format!("failed to find {}", cache.display()))?;
    Ok(cache.join(name))
}

/// Lets `make` fill a temporary folder, then puts it in its place.
pub(crate) fn install(
    home: &Path,
    undertaker: &Undertaker,
    make: impl FnOnce(&Path) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let cache = home.parent().unwrap_or(home);
    fs::create_dir_all(cache).with_context(|| format!("failed to create {}", cache.display()))?;
    let fresh = undertaker.folder_in(cache)?;
    make(fresh.path())?;
    // Somebody else may have been quicker; theirs is as good.
    fs::rename(fresh.path(), home)
        .or_else(|error| if home.exists() { Ok(()) } else { Err(error) })
        .with_context(|| {
            format!("failed to rename {} to {}", fresh.path().display(), home.display())
        })
}

/// Runs a step of an installation. Its output is kept in the folder, and told if it fails.
pub(crate) fn run(command: &Command, folder: &Path, undertaker: &Undertaker) -> anyhow::Result<()> {
    let log = folder.join("install.log");
    let output =
        File::create(&log).with_context(|| format!("failed to create {}", log.display()))?;
    let status = Process::background(command, undertaker, Output::File(output))?.wait()?;
    if !status.success() {
        bail!("{status}:\n{}", end_of_log(&fs::read_to_string(&log).unwrap_or_default()));
    }
    Ok(())
}
