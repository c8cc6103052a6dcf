//! One file a command.

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use onceness::certify::clean;
use onceness::config::Config;
use onceness::options::{Claims, Options, Shrinking};
use onceness::target::{Client, OpenError};
use onceness::{Exit, Rig, Target, weakness};
use onceness_adapters::Adapter;
use onceness_reference::features::Features;
use onceness_reference::plan::Plan;
use tokio::runtime::Runtime;

use crate::cli::{AcceptedIds, Command, JudgingArgs, ShrinkingArgs};
use crate::signals;
use crate::terminal::tell;

mod catalogue;
mod certify;
mod check;
mod plan;
mod price;
mod proxy;
mod replay;
mod run;
mod selftest;
mod serve;
mod shrink;
mod sweep;

/// How long a failure is shrunk, unless said otherwise.
const SHRINK_TIME: Duration = Duration::from_secs(30);
/// The same where each try may start the broker again.
const SHRINK_TIME_HURT: Duration = Duration::from_secs(180);

/// Runs a command.
pub(crate) fn run(command: Command, config: Option<&Path>) -> Result<Exit, Refusal> {
    let config = || Config::find(config).map_err(usage);
    match command {
        Command::Certify(args) => match args.sweep.clone() {
            Some(what) => sweep::sweep(args, &what, config()?),
            None => certify::certify(args, config()?),
        },
        Command::Run(args) => run::run(args, config()?),
        Command::Replay(args) => replay::replay(args, config()?),
        Command::Shrink(args) => shrink::shrink(args, config()?),
        Command::Check(args) => check::check(args),
        Command::Plan(args) => plan::plan(&args, config()?),
        Command::Proxy(args) => proxy::proxy(args),
        Command::Serve(args) => serve::serve(&args),
        Command::Price(args) => price::price(args),
        Command::Selftest(args) => selftest::selftest(args),
        Command::Properties(args) => Ok(catalogue::properties(&args)),
        Command::Clauses(args) => Ok(catalogue::clauses(&args)),
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

/// What a client that was cut off still has to do when all is done is not waited for longer than this.
const LAST_THREADS: Duration = Duration::from_secs(2);

/// Does all of it, on as many threads as it takes.
fn complete<T>(work: impl Future<Output = Result<T, Refusal>>) -> Result<T, Refusal> {
    let runtime = Runtime::new()
        .map_err(|error| inconclusive(format!("failed to start threads: {error}")))?;
    let done = runtime.block_on(work);
    runtime.shutdown_timeout(LAST_THREADS);
    done
}

/// Reaches the target, and listens for Ctrl-C from here on.
async fn open(target: &Target, rig: &Rig) -> Result<Arc<dyn Adapter>, Refusal> {
    signals::listen(&rig.stop);
    tokio::select! {
        opened = target.open(rig) => opened.map_err(|error| match error {
            OpenError::Unknown(reason) => usage(reason),
            // A broker that did not start says so itself.
            OpenError::NoAnswer(error) if error.request.is_empty() => inconclusive(error),
            OpenError::NoAnswer(error) => {
                inconclusive(format!("failed to reach {target}: {error}"))
            }
        }),
        () = rig.stop.wait() => Err(inconclusive("interrupted")),
    }
}

/// The same for a plan that is given: whatever it asks, the target must be able to do.
async fn open_for(plan: &Plan, target: &Target, rig: &Rig) -> Result<Arc<dyn Adapter>, Refusal> {
    let adapter = open(target, rig).await?;
    let Some(lack) = lack(plan, adapter.features(), target) else { return Ok(adapter) };
    if let Some(trouble) = clean(adapter.as_ref(), rig).await {
        tell(&trouble);
    }
    Err(usage(lack))
}

/// What a plan asks that the target cannot do, and which one can.
fn lack(plan: &Plan, features: Features, target: &Target) -> Option<String> {
    if let Some(fault) = plan.faults().find(|fault| !features.can(*fault)) {
        return Some(format!(
            "the plan has the fault '{}', which cannot befall {target}; faults of the broker need one that is started here (launch:NAME or container:IMAGE)",
            fault.name()
        ));
    }
    let mut consumers = plan.clients.iter().filter_map(|client| client.consumer.as_ref());
    let shares = consumers.any(|consumer| consumer.shared);
    (shares && !features.shared).then(|| {
        format!("the plan has consumers that share their group, which {target} has not; librdkafka can (?client=rdkafka)")
    })
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
        until_covered: None,
        jobs: jobs.unwrap_or(match target.client() {
            None => cores,
            // Those that hurt the broker wait for all others.
            Some(_) if target.is_hurt() => 16,
            Some(Client::Wire | Client::Defective(_)) => 64,
            // Each of its clients is some threads of its own, and mostly waits.
            Some(Client::Rdkafka) => 64,
            Some(Client::Both) => 16,
        }),
        claims: judging.claims.unwrap_or_else(Claims::all),
        accept: match judging.accept {
            Some(ids) => ids.0.into_iter().collect(),
            // The model has the protocol's own holes, and is here to test the suite, not to be accused.
            None if embedded => all_known(),
            None => Default::default(),
        },
        deny_stale: false,
        fail_fast: false,
        shrink: Shrinking {
            tries_max: shrinking.map_or(0, |shrinking| shrinking.shrink_tries),
            time_max: shrinking.map_or_else(Default::default, |shrinking| {
                let usual = if target.is_hurt() { SHRINK_TIME_HURT } else { SHRINK_TIME };
                shrinking.shrink_time.map_or(usual, Into::into)
            }),
            confirm: shrinking
                .map_or(onceness::options::Confirm::ONCE, |shrinking| shrinking.confirm),
            final_runs: match target {
                Target::Memory(_) => 1,
                Target::Kafka { .. } | Target::Mock => 10,
                // Seconds each, one after the other.
                Target::Launch { .. } | Target::Container { .. } => 3,
            },
        },
    }
}
