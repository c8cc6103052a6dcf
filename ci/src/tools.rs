//! What a real Apache Kafka needs from the machine, asked before anything slow begins.

use std::process::Command;

use anyhow::bail;

use crate::kafka::{Version, is_cached};

/// The oldest Java that runs every release of Kafka we name.
const OLDEST_JAVA: u32 = 17;

/// An error that says what is missing and how to get it.
pub(crate) fn check_for_kafka(version: &Version) -> anyhow::Result<()> {
    let mut missing = Vec::new();
    match java() {
        Some(found) if found >= OLDEST_JAVA => {}
        Some(found) => missing.push(format!("Java {OLDEST_JAVA} or later (found {found})")),
        None => missing.push(format!("Java {OLDEST_JAVA} or later")),
    }
    if !is_cached(version)? && output("mvn", &["-version"]).is_none() {
        missing.push("Maven, to fetch Kafka once".to_owned());
    }
    if missing.is_empty() {
        return Ok(());
    }
    bail!(
        "a real Apache Kafka needs {}; on Debian: apt-get install default-jre-headless maven \
         (or leave it out: cargo ci --without-kafka)",
        missing.join(" and ")
    )
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
}
