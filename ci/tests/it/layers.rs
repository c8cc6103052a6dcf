//! The house rules that the compiler does not check: which crate may know which, what the pure ones never do, and that
//! nothing lies around.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The crates of ours that a crate depends on, tests included.
fn knows(folder: &str) -> BTreeSet<String> {
    let manifest = fs::read_to_string(root().join(folder).join("Cargo.toml"))
        .expect("every folder is a crate");
    let ours = manifest.lines().filter(|line| line.starts_with("onceness") && line.contains('='));
    ours.map(|line| line.split(['.', ' ', '=']).next().expect("a line has a start").to_owned())
        .collect()
}

#[test]
fn arrows_point_one_way() {
    let set = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<BTreeSet<_>>();
    assert_eq!(knows("reference"), set(&[]));
    assert_eq!(knows("properties"), set(&["onceness-reference"]));
    assert_eq!(knows("adapters"), set(&["onceness-reference"]));
    let all = set(&["onceness-adapters", "onceness-properties", "onceness-reference"]);
    assert_eq!(knows("harness"), all);
    assert_eq!(knows("ci"), set(&[]), "the gate runs the binary, it does not link it");
}

#[test]
fn the_pure_crates_do_no_io_and_read_no_clock() {
    let impure = [
        "std::fs",
        "std::net",
        "std::time",
        "std::thread",
        "std::env",
        "std::process",
        "tokio",
        "println!",
    ];
    for file in ["reference/src", "properties/src"]
        .iter()
        .flat_map(|folder| rust_files(&root().join(folder)))
    {
        let text = fs::read_to_string(&file).expect("a source file is text");
        for word in impure {
            assert!(!text.contains(word), "{} uses {word}", file.display());
        }
    }
}

/// But for the second judge, who is the model at work.
#[test]
fn properties_never_see_the_model() {
    let model = [
        "onceness_reference::broker",
        "onceness_reference::rules",
        "onceness_reference::defects",
        "onceness_reference::explain",
    ];
    let first_judges = rust_files(&root().join("properties/src"))
        .into_iter()
        .filter(|file| !file.ends_with("properties/src/answers.rs"));
    for file in first_judges {
        let text = fs::read_to_string(&file).expect("a source file is text");
        for word in model {
            assert!(!text.contains(word), "{} uses {word}", file.display());
        }
    }
}

#[test]
fn every_source_file_opens_with_what_it_is_for() {
    for folder in ["reference", "properties", "adapters", "harness", "ci"] {
        for file in rust_files(&root().join(folder).join("src")) {
            let text = fs::read_to_string(&file).expect("a source file is text");
            assert!(text.starts_with("//!"), "{} opens with code", file.display());
        }
    }
}

#[test]
fn the_top_level_holds_what_it_should() {
    let tracked = std::process::Command::new("git").arg("ls-files").current_dir(root()).output();
    let tracked = String::from_utf8(tracked.expect("git lists its files").stdout)
        .expect("our names are text");
    let top: BTreeSet<&str> = tracked.lines().filter_map(|path| path.split('/').next()).collect();
    let house = [
        "CHANGELOG.md",
        "Cargo.lock",
        "Cargo.toml",
        "LICENSE",
        "README.md",
        "adapters",
        "ci",
        "harness",
        "properties",
        "reference",
    ];
    let strange: Vec<_> =
        top.iter().filter(|name| !name.starts_with('.') && !house.contains(*name)).collect();
    assert!(strange.is_empty(), "{strange:?}");
}

fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).expect("a source folder can be read").flatten();
    let mut files = Vec::new();
    for path in entries.map(|entry| entry.path()) {
        if path.is_dir() {
            files.extend(rust_files(&path));
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            files.push(path);
        }
    }
    files
}
