//! The broker as a recipe: an `onceness.toml` by which `onceness` starts it, kills it and starts it again by itself.

use std::path::Path;

use anyhow::Context;
use tempfile::TempDir;

use super::settings::Registration;
use super::{Pace, Version, install, java_words, parent_of_data, settings};
use crate::undertaker::Undertaker;

/// The name of the file in the folder.
const FILE: &str = "onceness.toml";
const PROPERTIES: &str = "server.properties";

/// Installs the release unless it is cached, and writes down how to start it. The recipe is gone when the folder is.
pub(crate) fn recipe(
    version: &Version,
    pace: Pace,
    undertaker: &Undertaker,
) -> anyhow::Result<Recipe> {
    let home = install::ensure(version, undertaker)?;
    let folder = undertaker.folder_in(&parent_of_data())?;
    let write = |name: &str, text: String| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).with_context(|| format!("failed to write {}", path.display()))
    };
    let data = Path::new("{data}");
    let properties = settings::server_properties(
        "{port}",
        "{port:controller}",
        &data.join("log"),
        Registration::Short,
    );
    write(PROPERTIES, properties)?;
    let options = settings::java_options(pace, &home);
    let command = java_words(&home, &options, &["kafka.Kafka"], &data.join(PROPERTIES))?;
    write(FILE, text(&home, &folder.path().join(PROPERTIES), &command))?;
    Ok(Recipe { folder })
}

/// A folder with the file in it.
pub(crate) struct Recipe {
    folder: TempDir,
}

impl Recipe {
    /// The file.
    pub(crate) fn file(&self) -> String {
        self.folder.path().join(FILE).display().to_string()
    }

    /// Where its user should have temporary folders: where the broker is quick.
    pub(crate) fn temporary(&self) -> &Path {
        self.folder.path()
    }
}

fn text(home: &Path, properties: &Path, command: &[String]) -> String {
    let formatted = install::formatted(home).display().to_string();
    let prepare = ["cp", "-r", &formatted, "{data}/log"].map(str::to_owned);
    format!(
        "[launch.kafka]\nfolder = {}\ntemplates = [{}]\nprepare = [{}]\ncommand = [{}]\n",
        quoted(&home.display().to_string()),
        quoted(&properties.display().to_string()),
        list(&prepare),
        list(command)
    )
}

fn list(words: &[String]) -> String {
    words.iter().map(|word| quoted(word)).collect::<Vec<_>>().join(", ")
}

/// A basic string of TOML.
fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_recipe_is_toml() {
        let command = ["java", r#"-Dx=a "b" \c"#].map(str::to_owned);
        assert_eq!(
            text(Path::new("/home/k"), Path::new("/t/server.properties"), &command),
            r#"[launch.kafka]
folder = "/home/k"
templates = ["/t/server.properties"]
prepare = ["cp", "-r", "/home/k/formatted", "{data}/log"]
command = ["java", "-Dx=a \"b\" \\c"]
"#
        );
    }
}
