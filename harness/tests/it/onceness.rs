//! The binary, as a test runs it: in a folder of its own, with an environment of its own.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use tempfile::TempDir;

/// A folder to run the binary in.
pub(crate) struct Desk {
    folder: TempDir,
}

/// What came of a command.
#[derive(Debug)]
pub(crate) struct Done {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Desk {
    pub(crate) fn new() -> Self {
        Desk { folder: TempDir::new().expect("a folder for a test") }
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    /// The command, with arguments split at spaces.
    pub(crate) fn command(&self, arguments: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_onceness"));
        command.args(arguments.split_whitespace());
        command.current_dir(self.path());
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("ONCENESS_")) {
            command.env_remove(name);
        }
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    pub(crate) fn run(&self, arguments: &str) -> Done {
        self.run_with(arguments, "")
    }

    pub(crate) fn run_with(&self, arguments: &str, stdin: &str) -> Done {
        let mut child = self.command(arguments).spawn().expect("the binary starts");
        if let Some(mut pipe) = child.stdin.take() {
            // A command that reads nothing may be gone already.
            let _ = pipe.write_all(stdin.as_bytes());
        }
        let output = child.wait_with_output().expect("the binary ends");
        Done {
            code: output.status.code(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    pub(crate) fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path().join(name)).expect(name)
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path().join(name), text).expect(name);
    }
}

impl Done {
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.stdout).expect("standard output is JSON")
    }
}
