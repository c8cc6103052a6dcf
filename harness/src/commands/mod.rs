//! One file a command.

use std::fmt;
use std::sync::Arc;

use onceness::options::{Claims, Options, Shrinking};
use onceness::target::Client;
use onceness::{Exit, Rig, Target, weakness};
use onceness_adapters::Adapter;
use tokio::runtime::Runtime;

use crate::cli::{AcceptedIds, Command, JudgingArgs, ShrinkingArgs};
use crate::signals;

mod catalogue;
mod certify;
mod check;
mod plan;
mod proxy;
mod replay;
mod run;
mod shrink;

/// Runs a command.
pub(crate) fn run(command: Command) -> Result<Exit, Refusal> {
    match command {
        Command::Certify(args) => certify::certify(args),
        Command::Run(args) => run::run(args),
        Command::Replay(args) => replay::replay(args),
        Command::Shrink(args) => shrink::shrink(args),
        Command::Check(args) => check::check(args),
        Command::Plan(args) => plan::plan(&args),
        Command::Proxy(args) => proxy::proxy(args),
        Command::Properties(args) => Ok(catalogue::properties(&args)),
        Command::Defects(args) => Ok(catalogue::defects(&args)),
    }
}

/// Why a command was not carried out.
#[derive(Debug)]
pub(crate) struct Refusal {
    pub(crate) exit: Exit,
    pub(crate) reason: String,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reason)
    }
}

/// The command cannot be carried out as it was given.
fn usage(reason: impl fmt::Display) -> Refusal {
    Refusal { exit: Exit::Usage, reason: reason.to_string() }
}

fn inconclusive(reason: impl fmt::Display) -> Refusal {
    Refusal { exit: Exit::Inconclusive, reason: reason.to_string() }
}

fn runtime() -> Result<Runtime, Refusal> {
    Runtime::new().map_err(|error| inconclusive(format!("failed to start threads: {error}")))
}

/// Reaches the target, and listens for Ctrl-C from here on.
async fn open(target: &Target, rig: &Rig) -> Result<Arc<dyn Adapter>, Refusal> {
    signals::listen(&rig.stop);
    tokio::select! {
        opened = target.open() => {
            opened.map_err(|error| inconclusive(format!("failed to reach {target}: {error}")))
        }
        () = rig.stop.wait() => Err(inconclusive("interrupted")),
    }
}

/// Whoever looks at one case wants to see what is wrong with it, known or not: nothing is accepted unless it is named.
fn accepting_nothing(judging: JudgingArgs) -> JudgingArgs {
    let accept = judging.accept.unwrap_or_else(|| AcceptedIds(Vec::new()));
    JudgingArgs { accept: Some(accept), ..judging }
}

/// The options that all commands share that judge. `certify` changes some of them.
fn options(target: &Target, judging: JudgingArgs, shrinking: Option<&ShrinkingArgs>) -> Options {
    let embedded = target.is_deterministic();
    let all_known = || weakness::WEAKNESSES.iter().map(|known| known.id).collect();
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let jobs = shrinking.and_then(|shrinking| shrinking.jobs).map(usize::from);
    Options {
        target: target.to_string(),
        deterministic: embedded,
        seed: 0,
        cases: None,
        time: None,
        jobs: jobs.unwrap_or(match target {
            Target::Memory(_) => cores,
            Target::Kafka { client: Client::Wire, .. } => 64,
            // Each of its clients is some threads of its own.
            Target::Kafka { client: Client::Rdkafka | Client::Both, .. } => 8,
        }),
        claims: judging.claims.unwrap_or_else(Claims::all),
        accept: match judging.accept {
            Some(ids) => ids.0.into_iter().collect(),
            // The model has the protocol's own holes, and is here to test the suite, not to be accused.
            None if embedded => all_known(),
            None => Default::default(),
        },
        fail_fast: false,
        shrink: Shrinking {
            tries_max: shrinking.map_or(0, |shrinking| shrinking.shrink_tries),
            time_max: shrinking
                .map_or_else(Default::default, |shrinking| shrinking.shrink_time.into()),
            confirm: shrinking
                .map_or(onceness::options::Confirm::ONCE, |shrinking| shrinking.confirm),
            final_runs: if embedded { 1 } else { 10 },
        },
    }
}
