//! What brokers need from the machine, asked before anything slow begins.

use std::process::Command;

use anyhow::bail;

use crate::kafka::{self, Version};
use crate::kfake;

/// The oldest Java that runs every release of Kafka we name.
const OLDEST_JAVA: u32 = 17;

/// The oldest Go that fetches a newer one by itself, should kfake ask for it.
const OLDEST_GO: (u32, u32) = (1, 21);

/// An error that says what is missing and how to get it.
pub(crate) fn check_for_kafka(version: &Version) -> anyhow::Result<()> {
    let mut missing = Vec::new();
    match java() {
        Some(found) if found >= OLDEST_JAVA => {}
        Some(found) => missing.push(format!("Java {OLDEST_JAVA} or later (found {found})")),
        None => missing.push(format!("Java {OLDEST_JAVA} or later")),
    }
    if !kafka::is_cached(version)? && output("mvn", &["-version"]).is_none() {
        missing.push("Maven, to fetch Kafka once".to_owned());
    }
    if missing.is_empty() {
        return Ok(());
    }
    bail!(
        "a real Apache Kafka needs {}; on Debian: apt-get install default-jdk-headless maven \
         (or leave it out: cargo ci --without-kafka)",
        missing.join(" and ")
    )
}

/// The same for the test of Kafka's own client, a program in Java's source form.
pub(crate) fn check_for_java_compiler() -> anyhow::Result<()> {
    match output("java", &["-XX:-UsePerfData", "--list-modules"]) {
        Some(modules) if modules.contains("jdk.compiler") => Ok(()),
        _ => bail!(
            "the test of Kafka's Java client needs a JDK, not only a JRE; on Debian: apt-get install \
             default-jdk-headless (or leave it out: cargo ci --without-kafka)"
        ),
    }
}

/// The same for kfake, which needs nothing once it is built.
pub(crate) fn check_for_kfake() -> anyhow::Result<()> {
    if kfake::is_cached()? {
        return Ok(());
    }
    let (major, minor) = OLDEST_GO;
    match output("go", &["version"]) {
        Some(text) if go_release(&text).is_none_or(|found| found >= OLDEST_GO) => Ok(()),
        Some(text) => bail!(
            "kfake is built with Go {major}.{minor} or later (found {}): see https://go.dev/doc/install",
            text.trim()
        ),
        None => bail!(
            "kfake is built with Go {major}.{minor} or later, and there is none: see https://go.dev/doc/install"
        ),
    }
}

fn java() -> Option<u32> {
    java_release(&output("java", &["-XX:-UsePerfData", "-version"])?)
}

/// The major release in what `java -version` says: 17 in `openjdk version "17.0.15" 2025-04-15`, 8 in `"1.8.0_392"`.
fn java_release(text: &str) -> Option<u32> {
    let version = text.split('"').nth(1)?;
    let version = version.strip_prefix("1.").unwrap_or(version);
    version.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

/// The release in what `go version` says: (1, 26) in `go version go1.26.8 linux/amd64`. None in one of Go's own trunk.
fn go_release(text: &str) -> Option<(u32, u32)> {
    let (major, rest) = text.split_whitespace().nth(2)?.strip_prefix("go")?.split_once('.')?;
    let minor = rest.split(|c: char| !c.is_ascii_digit()).next()?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

fn output(program: &str, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program)
        .args(arguments)
        .output()
        .ok()
        .filter(|output| output.status.success())?;
    Some(String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn java_releases_are_read() {
        assert_eq!(java_release("openjdk version \"17.0.15\" 2025-04-15\n"), Some(17));
        assert_eq!(java_release("openjdk version \"21\" 2023-09-19"), Some(21));
        assert_eq!(java_release("java version \"1.8.0_392\""), Some(8));
        assert_eq!(java_release("openjdk version \"24-ea\" 2025-03-18"), Some(24));
        assert_eq!(java_release("no java here"), None);
    }

    #[test]
    fn go_releases_are_read() {
        assert_eq!(go_release("go version go1.26.8 linux/amd64\n"), Some((1, 26)));
        assert_eq!(go_release("go version go1.27rc1 linux/amd64"), Some((1, 27)));
        assert_eq!(go_release("go version go1.9 darwin/arm64"), Some((1, 9)));
        assert_eq!(go_release("go version devel +abc linux/amd64"), None);
        assert_eq!(go_release(""), None);
    }
}
