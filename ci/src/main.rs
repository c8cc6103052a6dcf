//! `cargo ci`: the gate, and brokers for whatever wants to run against one.
//!
//! The contestable decision: cleaning up belongs to a second process, the [`undertaker`], because nothing inside this one
//! can promise anything about the moment after `kill -9`.
//!
//! In reading order: [`commands`] (what the gate runs, word by word), [`gate`], [`leftovers`] (its last step); [`process`]
//! and [`undertaker`] (how everything ends); [`broker`] (how one is lent to a command), with [`tools`], [`cache`],
//! [`launch`] and [`ready`] (what it takes until it answers); then the brokers, a file each: [`kafka`], [`container`],
//! [`kfake`], [`nisshi`]. [`track_record`] replays what was found on them; [`mutants`] tells what was done to the judges.

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod broker;
mod cache;
mod commands;
mod container;
mod gate;
mod kafka;
mod kfake;
mod launch;
mod leftovers;
mod mutants;
mod nisshi;
mod process;
mod ready;
mod tools;
mod track_record;
mod undertaker;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::process::{Interrupt, Interrupted};
use crate::undertaker::Undertaker;

const EXAMPLES: &str = "\
Examples:
  cargo ci                                     everything, with a real Apache Kafka
  cargo ci --without-kafka                     everything that needs no Java
  cargo ci kafka -- onceness certify kafka://{}
  cargo ci kafka 3.9.1 -- cargo test --workspace kafka -- --ignored
  cargo ci launch -- onceness certify launch:kafka
  cargo ci kfake -- onceness certify kafka://{}
  cargo ci container -- onceness certify container:{}
  cargo ci tansu -- onceness certify kafka://{}";

const KAFKA_EXAMPLES: &str = "\
Examples:
  cargo ci kafka -- sh -c 'echo the broker is at {}'
  cargo ci kafka 4.0.0 -- onceness certify kafka://{} --cases 100
  cargo ci kafka --long -- onceness certify kafka://{} --cases 20000
  cargo ci kafka -- bash                       look around; ONCENESS_KAFKA holds the address";

const LAUNCH_EXAMPLES: &str = "\
Examples:
  cargo ci launch -- onceness certify launch:kafka --accept KAFKA-17754
  cargo ci launch 4.0.0 -- onceness certify launch:kafka --cases 60
  cargo ci launch -- cat {}                    how to start it, for an onceness.toml of your own";

const KFAKE_EXAMPLES: &str = "\
Examples:
  cargo ci kfake -- onceness certify kafka://{}
  cargo ci kfake -- bash                       look around; ONCENESS_KAFKA holds the address";

const CONTAINER_EXAMPLES: &str = "\
Examples:
  cargo ci container -- onceness certify container:{} --cases 50
  cargo ci container 4.0.0 -- onceness certify 'container:{}?client=rdkafka'
  cargo ci container -- bash                   look around with docker; ONCENESS_CONTAINER holds the image";

const NISSHI_EXAMPLES: &str = "\
Examples:
  cargo ci nisshi -- onceness certify kafka://{}
  cargo ci tansu -- onceness certify kafka://{}
  cargo ci nisshi -- bash                       look around; ONCENESS_KAFKA holds the address";

/// The gate: format, lints, tests, docs, certification in memory and on a real Apache Kafka, which is killed and paused as
/// well; the same in containers where there can be a Docker engine; and a look whether anything is left.
#[derive(Parser)]
#[command(name = "cargo ci", bin_name = "cargo ci", after_help = EXAMPLES, args_conflicts_with_subcommands = true)]
struct Arguments {
    /// Leave out everything that needs a real broker, and say so.
    #[arg(long)]
    without_kafka: bool,
    /// The release of Apache Kafka to certify.
    #[arg(long, value_name = "VERSION", default_value = kafka::DEFAULT_VERSION)]
    kafka: kafka::Version,
    #[command(subcommand)]
    task: Option<Task>,
}

#[derive(Subcommand)]
enum Task {
    /// Run a command with a fresh Apache Kafka, which is gone afterwards.
    #[command(after_help = KAFKA_EXAMPLES)]
    Kafka {
        /// The release to run; fetched once by Maven, then cached.
        #[arg(default_value = kafka::DEFAULT_VERSION)]
        version: kafka::Version,
        /// Let the JVM optimize fully: slower for its first 20 seconds, twice as fast after 30.
        #[arg(long)]
        long: bool,
        /// What to run; every {} becomes the broker's host:port, as does the variable ONCENESS_KAFKA.
        #[arg(last = true, required = true, value_name = "CMD")]
        command: Vec<OsString>,
    },
    /// Run a command with an onceness.toml by which `onceness` starts, kills and restarts Apache Kafka by itself.
    #[command(after_help = LAUNCH_EXAMPLES)]
    Launch {
        /// The release to run; fetched once by Maven, then cached.
        #[arg(default_value = kafka::DEFAULT_VERSION)]
        version: kafka::Version,
        /// Let the JVM optimize fully: slower for its first 20 seconds, twice as fast after 30.
        #[arg(long)]
        long: bool,
        /// What to run; every {} becomes the path of the file, as does the variable ONCENESS_CONFIG.
        #[arg(last = true, required = true, value_name = "CMD")]
        command: Vec<OsString>,
    },
    /// Run a command with a fresh kfake, franz-go's fake broker, which is gone afterwards. Needs Go.
    #[command(after_help = KFAKE_EXAMPLES)]
    Kfake {
        /// What to run; every {} becomes the broker's host:port, as does the variable ONCENESS_KAFKA.
        #[arg(last = true, required = true, value_name = "CMD")]
        command: Vec<OsString>,
    },
    /// Run a command with an image of Apache Kafka, made of this machine's own Java. Needs Docker: an engine that runs, or
    /// dockerd to start one for the time of the command.
    #[command(after_help = CONTAINER_EXAMPLES)]
    Container {
        /// The release in the image; fetched once by Maven, then cached.
        #[arg(default_value = kafka::DEFAULT_VERSION)]
        version: kafka::Version,
        /// What to run; every {} becomes the name of the image, as does the variable ONCENESS_CONTAINER.
        #[arg(last = true, required = true, value_name = "CMD")]
        command: Vec<OsString>,
    },
    /// Run a command with a fresh Nisshi, a broker in Rust, which is gone afterwards. Built once by Cargo, in some minutes.
    #[command(after_help = NISSHI_EXAMPLES)]
    Nisshi {
        /// What to run; every {} becomes the broker's host:port, as does the variable ONCENESS_KAFKA.
        #[arg(last = true, required = true, value_name = "CMD")]
        command: Vec<OsString>,
    },
    /// The same with Tansu, as Nisshi was called before.
    #[command(after_help = NISSHI_EXAMPLES)]
    Tansu {
        /// What to run; every {} becomes the broker's host:port, as does the variable ONCENESS_KAFKA.
        #[arg(last = true, required = true, value_name = "CMD")]
        command: Vec<OsString>,
    },
    /// Replay every counterexample of ci/track-record on the broker that it was found on; each has to fail still.
    TrackRecord {
        /// Only those of this broker.
        #[arg(value_parser = ["kafka", "kfake", "nisshi", "tansu", "mock"])]
        broker: Option<String>,
    },
    /// Write the page of mutants of the judges from what cargo-mutants left; the page says by which commands.
    Mutants {
        /// The folders mutants.out of cargo-mutants.
        #[arg(required = true, value_name = "FOLDER")]
        folders: Vec<PathBuf>,
        /// Which part of all mutants these are, in words.
        #[arg(long, value_name = "WORDS", default_value = "all of them")]
        part: String,
        /// Where to.
        #[arg(long, value_name = "FILE", default_value = "ci/mutants.md")]
        page: PathBuf,
    },
    /// Wait until standard input ends, then end the processes and delete the folders named there.
    #[command(hide = true, name = undertaker::SUBCOMMAND)]
    Undertake,
}

fn main() -> ExitCode {
    match run(Arguments::parse()) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("cargo ci: {error:#}");
            match error.downcast_ref::<Interrupted>() {
                Some(interrupted) => interrupted.exit_code(),
                None => ExitCode::FAILURE,
            }
        }
    }
}

fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    if let Some(Task::Undertake) = arguments.task {
        undertaker::undertake(std::io::stdin().lock());
        return Ok(ExitCode::SUCCESS);
    }
    let interrupt = Interrupt::listen()?;
    let undertaker = Undertaker::hire(interrupt)?;
    match arguments.task {
        None => gate::run(&undertaker, (!arguments.without_kafka).then_some(&arguments.kafka)),
        Some(Task::Kafka { version, long, command }) => {
            let pace = if long { kafka::Pace::Long } else { kafka::Pace::Short };
            tools::check_for_kafka(&version)?;
            broker::lend(&kafka::start(&version, pace, &undertaker)?, &command, &undertaker)
        }
        Some(Task::Launch { version, long, command }) => {
            let pace = if long { kafka::Pace::Long } else { kafka::Pace::Short };
            tools::check_for_kafka(&version)?;
            broker::lend_recipe(&kafka::recipe(&version, pace, &undertaker)?, &command, &undertaker)
        }
        Some(Task::Kfake { command }) => {
            tools::check_for_kfake()?;
            broker::lend(&kfake::start(&undertaker)?, &command, &undertaker)
        }
        Some(Task::Container { version, command }) => {
            tools::check_for_kafka(&version)?;
            container::lend(&container::prepare(&version, &undertaker)?, &command, &undertaker)
        }
        Some(Task::Nisshi { command }) => {
            broker::lend(&nisshi::start(nisshi::NISSHI, &undertaker)?, &command, &undertaker)
        }
        Some(Task::Tansu { command }) => {
            broker::lend(&nisshi::start(nisshi::TANSU, &undertaker)?, &command, &undertaker)
        }
        Some(Task::TrackRecord { broker }) => track_record::run(broker.as_deref(), &undertaker),
        Some(Task::Mutants { folders, part, page }) => mutants::run(&folders, &part, &page),
        Some(Task::Undertake) => unreachable!("handled above, before anything was hired"),
    }
}
