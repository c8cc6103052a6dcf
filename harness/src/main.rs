//! `onceness`: certifies logs that claim to be like Kafka. What it does is in the library; here is what users type.

use std::panic;
use std::process::ExitCode;

use clap::Parser as _;
use onceness::Exit;

mod cli;
mod commands;
mod progress;
mod signals;
mod terminal;

fn main() -> ExitCode {
    let cli = cli::Cli::parse();
    cli.color.apply();
    panic::set_hook(Box::new(|panic| {
        terminal::tell(&format!("internal error, please report it: {panic}"));
    }));
    let done = panic::catch_unwind(|| commands::run(cli.command, cli.config.as_deref()));
    match done {
        Ok(Ok(exit)) => exit.into(),
        Ok(Err(refusal)) => {
            terminal::tell(&format!("error: {refusal}"));
            refusal.exit.into()
        }
        Err(_) => Exit::Internal.into(),
    }
}
