//! The parts of an image: files of this machine, with the libraries that they are linked to, and texts of ours.

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail};

/// Where Java lies in the image.
const JAVA: &str = "/opt/java";

/// What Java loads while it runs; the desktop's libraries are none of it.
const LOADED: [&str; 6] = [
    "bin/java",
    "lib/server/libjvm.so",
    "lib/libjava.so",
    "lib/libzip.so",
    "lib/libnet.so",
    "lib/libnio.so",
];

/// One thing in the image.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// A file of this machine, whatever links lead to it.
    Copy {
        /// Where it is.
        from: PathBuf,
        /// Where it will be.
        to: String,
    },
    /// A file of ours.
    Text {
        /// Where it will be.
        to: String,
        /// Its content.
        text: String,
    },
    /// An empty folder that anybody may write to.
    Folder(String),
}

impl Part {
    pub(super) fn copy(from: impl Into<PathBuf>, to: impl Into<String>) -> Part {
        Part::Copy { from: from.into(), to: to.into() }
    }

    pub(super) fn text(to: impl Into<String>, text: impl Into<String>) -> Part {
        Part::Text { to: to.into(), text: text.into() }
    }
}

/// This machine's Java: what a server runs on, without sources and development tools.
pub(super) fn java() -> anyhow::Result<Vec<Part>> {
    let home = java_home()?;
    let mut parts = vec![Part::copy(home.join("bin/java"), format!("{JAVA}/bin/java"))];
    for folder in ["conf", "lib"] {
        let mut files = Vec::new();
        list(&home.join(folder), &mut files)
            .with_context(|| format!("failed to list {}", home.join(folder).display()))?;
        for file in files {
            // A dangling link is not part of what runs, nor are the sources and the symbols.
            let name = file.strip_prefix(&home).unwrap_or(&file).display().to_string();
            if file.exists() && !name.ends_with("src.zip") && !name.ends_with("ct.sym") {
                parts.push(Part::copy(&file, format!("{JAVA}/{name}")));
            }
        }
    }
    for loaded in LOADED {
        parts.extend(libraries(&home.join(loaded), Some(&home))?);
    }
    Ok(parts)
}

/// A program with its libraries, as `/bin/NAME`.
pub(super) fn program(name: &str) -> anyhow::Result<Vec<Part>> {
    let path = Path::new("/bin").join(name);
    let mut parts = vec![Part::copy(&path, path.display().to_string())];
    parts.extend(libraries(&path, None)?);
    Ok(parts)
}

/// The folder of the Java that `java` runs.
pub(super) fn java_home() -> anyhow::Result<PathBuf> {
    let output = Command::new("java")
        .args(["-XX:-UsePerfData", "-XshowSettings:properties", "-version"])
        .output()
        .context("failed to start java")?;
    let text = String::from_utf8_lossy(&output.stderr);
    let home = text.lines().find_map(|line| line.trim().strip_prefix("java.home = "));
    home.map(PathBuf::from).context("failed to find the folder of Java: it did not name it")
}

/// Writes the parts as a tar archive. What is named twice is written once.
pub(super) fn write(parts: &[Part], to: impl Write) -> io::Result<()> {
    let mut archive = tar::Builder::new(io::BufWriter::with_capacity(1 << 20, to));
    archive.follow_symlinks(true);
    let mut written = BTreeSet::new();
    for part in parts {
        let (Part::Copy { to, .. } | Part::Text { to, .. } | Part::Folder(to)) = part;
        let name = to.trim_start_matches('/');
        if !written.insert(name) {
            continue;
        }
        match part {
            Part::Copy { from, .. } => archive.append_path_with_name(from, name)?,
            Part::Text { text, .. } => {
                let mut header = header(tar::EntryType::Regular, 0o644);
                header.set_size(text.len() as u64);
                archive.append_data(&mut header, name, text.as_bytes())?;
            }
            Part::Folder(_) => {
                let mut header = header(tar::EntryType::Directory, 0o1777);
                archive.append_data(&mut header, name, io::empty())?;
            }
        }
    }
    archive.into_inner()?.flush()
}

fn header(kind: tar::EntryType, mode: u32) -> tar::Header {
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_size(0);
    header
}

/// The libraries a file is linked to, at the same places in the image; those under `home` come with it.
fn libraries(file: &Path, home: Option<&Path>) -> anyhow::Result<Vec<Part>> {
    let output = Command::new("ldd").arg(file).output().context("failed to start ldd")?;
    if !output.status.success() {
        bail!("failed to find the libraries of {} by ldd", file.display());
    }
    let text = String::from_utf8_lossy(&output.stdout);
    let paths = linked(&text).filter(|path| home.is_none_or(|home| !path.starts_with(home)));
    Ok(paths.map(|path| Part::copy(path, path.display().to_string())).collect())
}

/// The paths in `libc.so.6 => /lib/libc.so.6 (0x…)` and `/lib64/ld-linux-x86-64.so.2 (0x…)`.
fn linked(text: &str) -> impl Iterator<Item = &Path> {
    text.lines().filter_map(|line| {
        let path = line.split_once("=>").map_or(line, |(_, path)| path).trim();
        let path = path.split_once(" (").map_or(path, |(path, _)| path);
        path.starts_with('/').then(|| Path::new(path))
    })
}

fn list(folder: &Path, into: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        match path.is_dir() {
            true => list(&path, into)?,
            false => into.push(path),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_are_read_from_what_ldd_says() {
        let text = "\tlinux-vdso.so.1 (0x00007fff)\n\tlibz.so.1 => /lib/libz.so.1 (0x00007f01)\n\
                    \tlibgone.so => not found\n\t/lib64/ld-linux-x86-64.so.2 (0x00007f02)\n";
        let found = linked(text).collect::<Vec<_>>();
        assert_eq!(found, [Path::new("/lib/libz.so.1"), Path::new("/lib64/ld-linux-x86-64.so.2")]);
    }

    #[test]
    fn an_archive_holds_each_part_once_and_what_links_lead_to() {
        let folder = tempfile::tempdir().unwrap();
        let (file, link) = (folder.path().join("file"), folder.path().join("link"));
        fs::write(&file, "content").unwrap();
        std::os::unix::fs::symlink(&file, &link).unwrap();
        let parts = [
            Part::copy(&link, "/lib/a"),
            Part::copy(&file, "/lib/a"),
            Part::text("/etc/b", "text"),
            Part::Folder("/tmp".to_owned()),
        ];
        let mut bytes = Vec::new();
        write(&parts, &mut bytes).unwrap();
        let mut archive = tar::Archive::new(bytes.as_slice());
        let entries = archive.entries().unwrap().map(|entry| {
            let entry = entry.unwrap();
            let header = entry.header();
            (entry.path().unwrap().display().to_string(), header.size().unwrap())
        });
        let entries = entries.collect::<Vec<_>>();
        assert_eq!(entries, [("lib/a".into(), 7), ("etc/b".into(), 4), ("tmp".into(), 0)]);
    }
}
