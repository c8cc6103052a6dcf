//! The gate: every step in order, each announced and timed, the first failure ends it.

use std::env;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Instant;

use anyhow::{Context, bail};

use crate::broker::{self, Broker};
use crate::commands::{self, Line};
use crate::container::{self, Unavailable};
use crate::kafka::{self, Pace};
use crate::leftovers::Leftovers;
use crate::process::{Interrupted, Output, Process};
use crate::tools;
use crate::undertaker::Undertaker;

/// Runs the gate; without a release of Kafka, only what needs none.
pub(crate) fn run(
    undertaker: &Undertaker,
    kafka: Option<&kafka::Version>,
) -> anyhow::Result<ExitCode> {
    let leftovers = Leftovers::new(undertaker)?;
    let mut gate = Gate { undertaker, leftovers, root: root(), passed: 0, no_engine: None };
    let result = gate.all(kafka);
    let (failed, code) = match result.as_ref().map_err(|error| error.downcast_ref::<Interrupted>())
    {
        Ok(()) => (0, ExitCode::SUCCESS),
        Err(Some(interrupted)) => (1, interrupted.exit_code()),
        Err(None) => (1, ExitCode::FAILURE),
    };
    if let Err(error) = result {
        println!("\ngate: failed: {error:#}");
    }
    println!("\n{} passed, {failed} failed", gate.passed);
    if kafka.is_none() && failed == 0 {
        println!("gate: the real-Kafka part was SKIPPED (--without-kafka)");
    }
    if let Some(reason) = &gate.no_engine {
        println!("gate: the container part was SKIPPED: {reason}");
    }
    Ok(code)
}

struct Gate<'a> {
    undertaker: &'a Undertaker,
    leftovers: Leftovers,
    root: PathBuf,
    passed: usize,
    /// Why containers were left out, if they were.
    no_engine: Option<String>,
}

impl<'a> Gate<'a> {
    fn all(&mut self, kafka: Option<&kafka::Version>) -> anyhow::Result<()> {
        if let Some(version) = kafka {
            self.step("tools", "Java and Maven", |_| {
                tools::check_for_kafka(version)?;
                tools::check_for_java_compiler()
            })?;
        }
        for line in commands::PLAIN {
            self.command(line, None)?;
        }
        if let Some(version) = kafka {
            self.on_kafka(version)?;
            self.in_containers(version)?;
        }
        self.step("nothing left", "no process and no temporary folder of all the above", |gate| {
            gate.leftovers.check()
        })
    }

    fn on_kafka(&mut self, version: &kafka::Version) -> anyhow::Result<()> {
        let undertaker = self.undertaker;
        let start = format!("Apache Kafka {version}, fetched by Maven unless cached");
        let broker =
            self.step("start kafka", &start, |_| kafka::start(version, Pace::Short, undertaker))?;
        self.step(commands::KAFKA_TESTS.name, commands::KAFKA_TESTS.words, |gate| {
            let mut command = gate.build(commands::KAFKA_TESTS.words, Some(&broker), None);
            command.env(kafka::VERSION_VARIABLE, version.to_string());
            gate.counted(&command, "kafka")
        })?;
        self.command(&commands::CERTIFY_KAFKA, Some(&broker))?;
        self.step("stop kafka", "and delete its data", |_| {
            drop(broker);
            Ok(())
        })?;
        self.step(commands::LAUNCH_TESTS.name, commands::LAUNCH_TESTS.words, |gate| {
            let recipe = kafka::recipe(version, Pace::Short, undertaker)?;
            let mut command = gate.build(commands::LAUNCH_TESTS.words, None, None);
            command.env(broker::RECIPE_VARIABLE, recipe.file()).env("TMPDIR", recipe.temporary());
            gate.counted(&command, "launch")
        })?;
        self.command(&commands::LEAVES_NOTHING, None)
    }

    /// Runs the tests that need a Docker engine, if there can be one. There being none is no failure, but said.
    fn in_containers(&mut self, version: &kafka::Version) -> anyhow::Result<()> {
        let undertaker = self.undertaker;
        println!(
            "\n=== start containers: a Docker engine unless one runs, Apache Kafka {version} as an image"
        );
        let image = match container::prepare(version, undertaker) {
            Err(error) if error.is::<Unavailable>() => {
                println!("--- start containers: SKIPPED");
                self.no_engine = Some(error.to_string());
                return Ok(());
            }
            image => image.context("step 'start containers'")?,
        };
        self.step(commands::CONTAINER_TESTS.name, commands::CONTAINER_TESTS.words, |gate| {
            let mut command = gate.build(commands::CONTAINER_TESTS.words, None, None);
            command.envs(image.variables());
            gate.counted(&command, "container")
        })?;
        self.step("stop containers", "and the engine, if it was started here", |_| {
            drop(image);
            Ok(())
        })
    }

    fn step<T>(
        &mut self,
        name: &str,
        what: &str,
        body: impl FnOnce(&Self) -> anyhow::Result<T>,
    ) -> anyhow::Result<T> {
        self.undertaker.interrupt.check()?;
        println!("\n=== {name}: {what}");
        let started = Instant::now();
        let value = body(self).with_context(|| format!("step '{name}'"))?;
        println!("--- {name}: passed in {:.1} s", started.elapsed().as_secs_f64());
        self.passed += 1;
        Ok(value)
    }

    fn command(&mut self, line: &Line, broker: Option<&Broker<'_>>) -> anyhow::Result<()> {
        let announced = self.fill(line.words, broker);
        self.step(line.name, &announced, |gate| {
            let target = gate.target();
            let out = match line.words.contains("{out}") {
                true => Some(gate.out(&target)?),
                false => None,
            };
            let folder = out.as_ref().map(|out| out.path().join("report"));
            let command = gate.build(line.words, broker, folder.as_deref());
            let result =
                success(&mut Process::background(&command, gate.undertaker, Output::Inherited)?);
            match (result, folder) {
                (Err(error), Some(folder)) if folder.exists() => {
                    Err(keep(&folder, &target, line.name, error))
                }
                (result, _) => result,
            }
        })
    }

    /// Runs the tests of something real, and insists that there were some.
    fn counted(&self, command: &Command, what: &str) -> anyhow::Result<()> {
        let mut process = Process::background(command, self.undertaker, Output::Piped)?;
        let passed = process.take_stdout().map(|stdout| {
            std::thread::spawn(move || echo(BufReader::new(stdout), std::io::stdout()))
        });
        success(&mut process)?;
        // The leader has ended; ending its whole group closes the pipe for certain.
        drop(process);
        match passed.map(|thread| thread.join()) {
            Some(Ok(0)) => bail!("no test with {what} in its name ran"),
            Some(Ok(_)) => Ok(()),
            _ => bail!("failed to read the output of the tests"),
        }
    }

    fn build(&self, words: &str, broker: Option<&Broker<'_>>, out: Option<&Path>) -> Command {
        let out = out.map_or_else(String::new, |out| out.display().to_string());
        let mut words =
            words.split_whitespace().map(|word| self.fill(word, broker).replace("{out}", &out));
        let mut command = Command::new(words.next().unwrap_or_default());
        command.args(words).current_dir(&self.root);
        self.leftovers.mark(&mut command);
        match broker {
            Some(broker) => command.env(broker::VARIABLE, &broker.address),
            // A broker or an image of the caller's is none of the gate's business.
            None => command.env_remove(broker::VARIABLE).env_remove(container::VARIABLE),
        };
        command.env_remove(broker::RECIPE_VARIABLE);
        command
    }

    fn fill(&self, words: &str, broker: Option<&Broker<'_>>) -> String {
        let address = broker.map_or("", |broker| broker.address.as_str());
        let target = self.target().display().to_string();
        words.replace("{address}", address).replace("{target}", &target)
    }

    fn target(&self) -> PathBuf {
        self.root.join(env::var_os("CARGO_TARGET_DIR").unwrap_or_else(|| "target".into()))
    }

    /// In the build folder, so that keeping it is a rename.
    fn out(&self, target: &Path) -> anyhow::Result<tempfile::TempDir> {
        std::fs::create_dir_all(target)
            .with_context(|| format!("failed to create {}", target.display()))?;
        self.undertaker.folder_in(target)
    }
}

fn success(process: &mut Process<'_>) -> anyhow::Result<()> {
    match process.wait()? {
        status if status.success() => Ok(()),
        status => bail!("{status}"),
    }
}

/// Saves what a failed certification reported, as its folder is about to be deleted.
fn keep(report: &Path, target: &Path, name: &str, error: anyhow::Error) -> anyhow::Error {
    let kept = target.join("gate").join(name.replace(' ', "-"));
    let _ = std::fs::remove_dir_all(&kept);
    let renamed =
        std::fs::create_dir_all(target.join("gate")).and_then(|()| std::fs::rename(report, &kept));
    match renamed {
        Ok(()) => error.context(format!("see {}", kept.display())),
        Err(_) => error,
    }
}

/// Repeats the lines of `cargo test` and adds up the tests that passed.
fn echo(output: impl BufRead, mut to: impl Write) -> u64 {
    let mut passed = 0;
    for line in output.lines().map_while(Result::ok) {
        // Even when nobody reads us any more, the tests' output has to be drained.
        let _ = writeln!(to, "{line}");
        passed += passed_in(&line).unwrap_or(0);
    }
    passed
}

/// 3 in `test result: ok. 3 passed; 0 failed; …`; nothing in any other line.
fn passed_in(line: &str) -> Option<u64> {
    line.strip_prefix("test result: ok. ")?.split_once(" passed;")?.0.parse().ok()
}

fn root() -> PathBuf {
    // Set by `cargo run`, hence by `cargo ci`; the crate's folder is a child of the workspace's.
    match env::var_os("CARGO_MANIFEST_DIR").map(PathBuf::from) {
        Some(folder) => folder.parent().map(Path::to_owned).unwrap_or(folder),
        None => PathBuf::from("."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_of_tests_are_read() {
        let line = "test result: ok. 12 passed; 0 failed; 3 ignored; 0 measured; 1 filtered out; finished in 0.00s";
        assert_eq!(passed_in(line), Some(12));
        assert_eq!(passed_in("test result: FAILED. 1 passed; 1 failed; 0 ignored"), None);
        assert_eq!(passed_in("running 12 tests"), None);
    }

    #[test]
    fn results_of_all_binaries_are_added() {
        let output = "test result: ok. 0 passed; 0 failed;\nfine\ntest result: ok. 2 passed; 0 failed;\ntest result: ok. 1 passed; 0 failed;\n";
        assert_eq!(echo(output.as_bytes(), std::io::sink()), 3);
    }
}
