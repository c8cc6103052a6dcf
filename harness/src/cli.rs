//! What users type: commands and options, with their help. Every option can be given as `ONCENESS_<OPTION>` as well.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::builder::TypedValueParser as _;
use clap::{Args, Parser, Subcommand, ValueEnum};
use onceness::Target;
use onceness::nearest::unknown;
use onceness::options::{Claims, Confirm};
use onceness::weakness::{self, WEAKNESSES};
use onceness_adapters::price::RECORD_BYTES;
use onceness_properties::{Claim, PROPERTIES};
use onceness_reference::defects::{self, Defect};

const TARGETS: &str = "\
Targets:
  memory              the embedded broker, the model of a correct one
  memory:DEFECT       the embedded broker with a seeded defect, or driven by a client or an
                      application that has one (see `onceness defects`)
  kafka://HOST:PORT   anything that speaks Kafka; several addresses by commas
  launch:NAME         a broker that is started by [launch.NAME] of onceness.toml, and killed,
                      started again and paused on the way
  container:IMAGE     the same in a container, on a Docker engine; images other than apache/kafka
                      are described by [container.'IMAGE'] of onceness.toml
  mock                librdkafka's mock cluster in process, driven by librdkafka

  Behind kafka, launch and container, ?client=rdkafka drives them by librdkafka instead of
  request by request, ?client=both also reads everything back by librdkafka, ?defect=DEFECT
  drives them request by request by a client or an application with a seeded defect";

const EXITS: &str = "\
Exit codes:
  0  all selected claims hold
  1  a claim is violated
  2  the command was not understood
  3  inconclusive: unreachable, interrupted, budget spent, or a claim left untested
  4  nothing was selected
  5  all selected claims hold, but an accepted breach is stale (with --deny-stale)";

const ACCEPTING: &str = "\
Known breaches of a target can be accepted in onceness.toml; they are counted, not shrunk, and do
not fail the run. One that was put to the test and not met is reported as stale:
  [[accept]]
  target = 'kafka://*'        # as typed, or the start of it and *
  property = 'isolation'
  claim = 'transactional'     # this claim alone; may be left out
  weakness = 'KAFKA-17754'    # as far as that explains it; may be left out
  reason = 'mended in the next release'
  link = 'https://…'          # may be left out";

const EXAMPLES: &str = "\
Examples:
  onceness certify                                  the embedded broker, for a start
  onceness certify memory:no-dedup                  how a failure looks
  onceness certify kafka://localhost:9092           your own broker
  onceness certify launch:kafka                     one that is killed and paused, too
  onceness replay onceness-report/cases/1-no-loss   a failure once more
";

/// How once a message happens: certifies the delivery guarantees of logs like Kafka.
///
/// Draws random histories of producing, consuming and crashing, runs them against a broker, judges what was seen, and
/// shrinks what is wrong to a few steps that run again by one command.
#[derive(Debug, Parser)]
#[command(name = "onceness", version, after_help = format!("{TARGETS}\n\n{EXITS}\n\n{EXAMPLES}"))]
pub(crate) struct Cli {
    /// When to use colours
    #[arg(
        long,
        global = true,
        value_enum,
        default_value_t,
        env = "ONCENESS_COLOR",
        hide_env_values = true
    )]
    pub(crate) color: Color,
    /// What describes brokers that are to be started, and known breaches [default: onceness.toml, if it is there]
    #[arg(
        long,
        global = true,
        value_name = "FILE",
        env = "ONCENESS_CONFIG",
        hide_env_values = true
    )]
    pub(crate) config: Option<PathBuf>,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Say which claims hold, by random cases and faults
    Certify(CertifyArgs),
    /// Run one plan once, show what happened and judge it
    Run(RunArgs),
    /// Run a saved case or plan until it fails
    Replay(ReplayArgs),
    /// Make a failing plan smaller
    Shrink(ShrinkArgs),
    /// Judge histories that were recorded before, without any broker
    Check(CheckArgs),
    /// Print the plan that a seed draws
    Plan(PlanArgs),
    /// Stand between your own application and Kafka, and let its requests meet faults
    Proxy(ProxyArgs),
    /// Be a broker on a port: one that is right, or wrong in exactly one way
    Serve(ServeArgs),
    /// Measure what each guarantee costs: latency and throughput, as ratios to the cheapest
    Price(PriceArgs),
    /// Test the suite itself: is every seeded defect found, and no correct broker accused?
    Selftest(SelftestArgs),
    /// List the properties that are judged, with their sources
    Properties(ListArgs),
    /// List what a log must, should and may do, and what judges it
    Clauses(ListArgs),
    /// List the seeded defects of `memory:DEFECT`
    Defects(ListArgs),
}

#[derive(Debug, Args)]
#[command(after_help = format!("{TARGETS}\n\n{EXITS}\n\n{ACCEPTING}\n\n\
Examples:
  onceness certify --cases 100000 --seed 7
  onceness certify kafka://localhost:9092 --until-covered 10 --time 10m
  onceness certify kafka://localhost:9092 --time 5m --jobs 128
  onceness certify kafka://localhost:9092 --claims idempotent,transactional
  onceness certify kafka://localhost:9092 --accept KAFKA-17754
  onceness certify memory:torn-commit --fail-fast --json
  onceness certify kafka://localhost:9092 --sweep
"))]
pub(crate) struct CertifyArgs {
    /// What to test
    #[arg(default_value = "memory", env = "ONCENESS_TARGET", hide_env_values = true)]
    pub(crate) target: Target,
    /// Draws all cases; the same seed, the same cases [default: a random one, which is printed]
    #[arg(long, env = "ONCENESS_SEED", hide_env_values = true)]
    pub(crate) seed: Option<u64>,
    /// How many cases to run [default: 60000 on memory, 2000 on brokers, 100 on brokers that are hurt and by librdkafka;
    /// without a limit if --time or --until-covered is given]
    #[arg(long, env = "ONCENESS_CASES", hide_env_values = true)]
    pub(crate) cases: Option<u64>,
    /// How long to run cases, such as 30s or 5m; shrinking comes after
    #[arg(long, env = "ONCENESS_TIME", hide_env_values = true)]
    pub(crate) time: Option<humantime::Duration>,
    /// Run until every request was answered so often in every state that makes a difference to it; brokers get the plans that
    /// promise most of what is missing
    #[arg(
        long,
        value_name = "TIMES",
        num_args = 0..=1,
        default_missing_value = "1",
        value_parser = clap::value_parser!(u64).range(1..),
        env = "ONCENESS_UNTIL_COVERED",
        hide_env_values = true
    )]
    pub(crate) until_covered: Option<u64>,
    /// Exit with 5 if a breach is accepted by onceness.toml that was put to the test and no longer occurs
    #[arg(long, env = "ONCENESS_DENY_STALE", hide_env_values = true)]
    pub(crate) deny_stale: bool,
    /// Strike one history at every boundary instead of drawing cases: a read-process-write loop with three transactions, or a plan file or case folder
    #[arg(
        long,
        value_name = "PLAN",
        num_args = 0..=1,
        default_missing_value = "",
        value_parser = clap::builder::OsStringValueParser::new().map(Sweep::from),
        conflicts_with_all = ["cases", "time", "until_covered"],
        env = "ONCENESS_SWEEP",
        hide_env_values = true
    )]
    pub(crate) sweep: Option<Sweep>,
    /// Stop at the first failing case
    #[arg(long, env = "ONCENESS_FAIL_FAST", hide_env_values = true)]
    pub(crate) fail_fast: bool,
    #[command(flatten)]
    pub(crate) judging: JudgingArgs,
    #[command(flatten)]
    pub(crate) shrinking: ShrinkingArgs,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

#[derive(Debug, Args)]
#[command(after_help = format!("{TARGETS}\n\n\
Examples:
  onceness run plan.json kafka://localhost:9092
  onceness plan --seed 7 | onceness run - memory --history history.jsonl
"))]
pub(crate) struct RunArgs {
    /// A plan file, a case folder, or - for standard input
    pub(crate) plan: PathBuf,
    /// What to run it against
    #[arg(default_value = "memory", env = "ONCENESS_TARGET", hide_env_values = true)]
    pub(crate) target: Target,
    /// Write the history to this file, as JSON Lines
    #[arg(long, value_name = "FILE", env = "ONCENESS_HISTORY", hide_env_values = true)]
    pub(crate) history: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) judging: JudgingArgs,
    /// Print the verdicts as JSON
    #[arg(long, env = "ONCENESS_JSON", hide_env_values = true)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
#[command(after_help = format!("{TARGETS}\n\n\
Examples:
  onceness replay onceness-report/cases/1-no-loss
  onceness replay onceness-report/cases/1-no-loss kafka://localhost:9092 --times 1000
"))]
pub(crate) struct ReplayArgs {
    /// A case folder, a plan file, or - for standard input
    pub(crate) case: PathBuf,
    /// What to run it against [default: what the case failed on, or memory]
    #[arg(env = "ONCENESS_TARGET", hide_env_values = true)]
    pub(crate) target: Option<Target>,
    /// How often to run it before giving up [default: 1 on memory, where all runs are alike, else 100]
    #[arg(long, env = "ONCENESS_TIMES", hide_env_values = true)]
    pub(crate) times: Option<u64>,
    #[command(flatten)]
    pub(crate) judging: JudgingArgs,
}

#[derive(Debug, Args)]
#[command(after_help = format!("{TARGETS}\n\n\
Examples:
  onceness shrink plan.json memory:no-dedup
  onceness shrink onceness-report/cases/1-order kafka://localhost:9092 --confirm 2/5
"))]
pub(crate) struct ShrinkArgs {
    /// A case folder, a plan file, or - for standard input
    pub(crate) case: PathBuf,
    /// What it fails on [default: what the case failed on, or memory]
    #[arg(env = "ONCENESS_TARGET", hide_env_values = true)]
    pub(crate) target: Option<Target>,
    /// The property that has to stay broken [default: the case's, or the first that breaks]
    #[arg(long, value_parser = property, env = "ONCENESS_PROPERTY", hide_env_values = true)]
    pub(crate) property: Option<String>,
    /// How often to run it before giving up [default: 1 on memory, where all runs are alike, else 100]
    #[arg(long, env = "ONCENESS_TIMES", hide_env_values = true)]
    pub(crate) times: Option<u64>,
    #[command(flatten)]
    pub(crate) judging: JudgingArgs,
    #[command(flatten)]
    pub(crate) shrinking: ShrinkingArgs,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  onceness check history.jsonl
  zcat history.jsonl.gz | onceness check -
")]
pub(crate) struct CheckArgs {
    /// History files as JSON Lines, or - for standard input
    #[arg(required = true)]
    pub(crate) histories: Vec<PathBuf>,
    #[command(flatten)]
    pub(crate) judging: JudgingArgs,
    /// Print the verdicts as JSON
    #[arg(long, env = "ONCENESS_JSON", hide_env_values = true)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  onceness plan --seed 7 > plan.json
")]
pub(crate) struct PlanArgs {
    /// For which target: a plan asks only what the target can do
    #[arg(default_value = "memory", env = "ONCENESS_TARGET", hide_env_values = true)]
    pub(crate) target: Target,
    /// The seed of the case, as reports show it
    #[arg(long, env = "ONCENESS_SEED", hide_env_values = true)]
    pub(crate) seed: u64,
    /// Print the profile instead: the knobs that the plan is drawn by
    #[arg(long)]
    pub(crate) profile: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "\
A plan is rules in TOML. Each says which requests, what befalls them, and when:

  [[rule]]
  api = \"Produce\"          # by Kafka's name
  client = \"billing\"       # only of this client.id; left out: of any
  fate = \"reply-lost\"
  nth = 3                  # the third of them

  [[rule]]
  api = \"EndTxn\"
  txn = \"payments-1\"       # only of this transactional id
  fate = \"held\"
  hold = \"5s\"
  every = 10               # the 10th, the 20th, ...

  [[rule]]
  api = \"Produce\"
  fate = \"busy\"
  error = \"NOT_LEADER_OR_FOLLOWER\"   # or its number; left out: the usual one
  percent = 2.5            # by dice (--seed)

Fates:
  request-lost  it never arrives; the connection is cut
  reply-lost    it arrives, its answer does not; the connection is cut
  repeated      it arrives twice, the second time on another connection
  held          it arrives later, on another connection; the client's is cut
  busy          it never arrives; an error in the broker's name says to try again
  delivered     nothing, but it is shown

Each request with a fate is shown on a line: when, on which connection, of which client, which API
and version, the fate, and what the broker said. Ctrl-C ends it with the counts, and exit code 0.

Examples:
  onceness proxy --to localhost:9092
  onceness proxy --to kafka-1:9092,kafka-2:9092 --listen 0.0.0.0:19092 --plan faults.toml --verbose
")]
pub(crate) struct ProxyArgs {
    /// The cluster, HOST:PORT; several addresses by commas
    #[arg(long, value_name = "HOST:PORT", value_parser = addresses, env = "ONCENESS_TO", hide_env_values = true)]
    pub(crate) to: Addresses,
    /// Where clients connect; each broker gets one more port of the same address, any that is free
    #[arg(
        long,
        value_name = "ADDRESS:PORT",
        default_value = "127.0.0.1:19092",
        env = "ONCENESS_LISTEN",
        hide_env_values = true
    )]
    pub(crate) listen: String,
    /// What befalls which requests [default: nothing befalls any]
    #[arg(long, value_name = "FILE", env = "ONCENESS_PLAN", hide_env_values = true)]
    pub(crate) plan: Option<PathBuf>,
    /// Rolls the dice of rules by percent [default: a random one, which is printed]
    #[arg(long, env = "ONCENESS_SEED", hide_env_values = true)]
    pub(crate) seed: Option<u64>,
    /// Show each request, also those that nothing befalls
    #[arg(long, env = "ONCENESS_VERBOSE", hide_env_values = true)]
    pub(crate) verbose: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "\
The reference broker for clients of your own: topics are made when they are asked for, transactions
and groups work, all state is in memory and has a bound (1 GiB of records). It speaks Kafka in the
clear, and tells clients to come back to the address that they came to. It has no topic ids, no
retention and no compaction, and no groups by KIP-848. Ctrl-C ends it, with exit code 0. SIGUSR1
kills the broker inside and starts it again: connections are cut, and some defects show only then.
With --journal the process itself can be killed and started again.

Examples:
  onceness serve
  onceness serve --defect torn-commit --listen 127.0.0.1:0
  onceness certify kafka://127.0.0.1:9092

  [launch.serve]             # in onceness.toml, for `onceness certify launch:serve`
  command = ['onceness', 'serve', '--listen', '127.0.0.1:{port}', '--journal', '{data}/journal']
")]
pub(crate) struct ServeArgs {
    /// What is wrong with it (see `onceness defects`) [default: nothing]
    #[arg(long, value_name = "NAME", value_parser = defect_of_broker, env = "ONCENESS_DEFECT", hide_env_values = true)]
    pub(crate) defect: Option<&'static Defect>,
    /// Keep what clients were told in this file, made if needed: a kill of the process loses nothing. It grows
    #[arg(long, value_name = "FILE", env = "ONCENESS_JOURNAL", hide_env_values = true)]
    pub(crate) journal: Option<PathBuf>,
    /// Where clients connect; port 0 is any that is free
    #[arg(
        long,
        value_name = "ADDRESS:PORT",
        default_value = "127.0.0.1:9092",
        env = "ONCENESS_LISTEN",
        hide_env_values = true
    )]
    pub(crate) listen: String,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Times producing at most once, at least once, idempotent and in transactions of 1, 10, 100 and
1000 records, and consuming read_committed against read_uncommitted: always by librdkafka, in
short turns of all kinds in shuffled order.

Exit codes:
  0  measured
  2  the command was not understood, or the target does not speak Kafka
  3  inconclusive: unreachable, or stopped before there was enough to tell

Examples:
  onceness price kafka://localhost:9092
  onceness price kafka://localhost:9092 --time 5m --record-size 100 --json
")]
pub(crate) struct PriceArgs {
    /// A broker that speaks Kafka: kafka://HOST:PORT; several addresses by commas
    #[arg(env = "ONCENESS_TARGET", hide_env_values = true)]
    pub(crate) target: Target,
    /// How long to measure, warm-up included, such as 30s or 5m
    #[arg(long, value_parser = some_time, default_value = "30s", env = "ONCENESS_TIME", hide_env_values = true)]
    pub(crate) time: humantime::Duration,
    /// How many bytes the value of a record has
    #[arg(
        long,
        value_name = "BYTES",
        value_parser = clap::value_parser!(u64).range(RECORD_BYTES),
        default_value_t = 1024,
        env = "ONCENESS_RECORD_SIZE",
        hide_env_values = true
    )]
    pub(crate) record_size: u64,
    /// How long producers wait for more records to go into a batch, such as 5ms; 1s at most
    #[arg(
        long,
        value_name = "TIME",
        value_parser = linger,
        default_value = "0s",
        env = "ONCENESS_LINGER",
        hide_env_values = true
    )]
    pub(crate) linger: humantime::Duration,
    /// Shuffles the turns and fills the records [default: a random one, which is printed]
    #[arg(long, env = "ONCENESS_SEED", hide_env_values = true)]
    pub(crate) seed: Option<u64>,
    /// Folder for price.json; made if needed, never emptied
    #[arg(
        long,
        value_name = "DIR",
        default_value = "onceness-report",
        env = "ONCENESS_OUT",
        hide_env_values = true
    )]
    pub(crate) out: PathBuf,
    /// Print the report as JSON instead of the tables
    #[arg(long, env = "ONCENESS_JSON", hide_env_values = true)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "\
A suite that cannot show what it detects proves nothing. Each seeded defect of the embedded broker
is searched for several times, by random cases until one fails, and the first find is shrunk. Known
weaknesses of the protocol are accepted by name: they do not count as finds. Then all kinds of
correct brokers get cases, and whatever one of them is accused of is a false alarm. The same seed
gives the same finds.

Exit codes:
  0  every defect was found by every search, and no correct broker accused
  1  a defect was missed, or a correct broker accused
  2  the command was not understood
  3  inconclusive: interrupted

Examples:
  onceness selftest
  onceness selftest --only torn-commit,no-dedup --repeats 100
  onceness selftest --repeats 20 --cases 20000 --correct-cases 140000    the long version
  onceness selftest --seed 1 --page ci/detection.md
")]
pub(crate) struct SelftestArgs {
    /// These defects only, by commas, and no correct brokers unless --correct-cases is given (see `onceness defects`)
    #[arg(long, value_name = "NAMES", value_parser = chosen_defects, env = "ONCENESS_ONLY", hide_env_values = true)]
    pub(crate) only: Option<Defects>,
    /// Draws all cases; the same seed, the same cases [default: a random one, which is printed]
    #[arg(long, env = "ONCENESS_SEED", hide_env_values = true)]
    pub(crate) seed: Option<u64>,
    /// How many searches each defect gets, each with cases of its own
    #[arg(
        long,
        value_name = "N",
        value_parser = clap::value_parser!(u64).range(1..=1_000_000),
        default_value_t = 5,
        env = "ONCENESS_REPEATS",
        hide_env_values = true
    )]
    pub(crate) repeats: u64,
    /// A search that finds nothing in so many cases has missed the defect
    #[arg(
        long,
        value_name = "N",
        value_parser = clap::value_parser!(u64).range(1..),
        default_value_t = 10_000,
        env = "ONCENESS_CASES",
        hide_env_values = true
    )]
    pub(crate) cases: u64,
    /// How many cases the correct brokers get, all kinds together; 0 to leave them out [default: 20000]
    #[arg(long, value_name = "N", env = "ONCENESS_CORRECT_CASES", hide_env_values = true)]
    pub(crate) correct_cases: Option<u64>,
    /// How many brokers are tested at once [default: one per core]
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=4096), env = "ONCENESS_JOBS", hide_env_values = true)]
    pub(crate) jobs: Option<u16>,
    /// Write the result as a page of Markdown, too, without timings
    #[arg(
        long,
        value_name = "FILE",
        conflicts_with = "only",
        env = "ONCENESS_PAGE",
        hide_env_values = true
    )]
    pub(crate) page: Option<PathBuf>,
    /// Print the result as JSON instead of the table
    #[arg(long, env = "ONCENESS_JSON", hide_env_values = true)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct ListArgs {
    /// Print it as JSON
    #[arg(long, env = "ONCENESS_JSON", hide_env_values = true)]
    pub(crate) json: bool,
}

/// What is judged, and how mildly.
#[derive(Debug, Args)]
pub(crate) struct JudgingArgs {
    /// Judge these claims only, by commas: at-most-once, at-least-once, idempotent, transactional, exactly-once
    #[arg(long, value_parser = claims, env = "ONCENESS_CLAIMS", hide_env_values = true)]
    pub(crate) claims: Option<Claims>,
    /// Known weaknesses of the protocol that do not fail the run, by commas, or `none` [default: all on memory, else none]
    #[arg(long, value_name = "IDS", value_parser = accepted, env = "ONCENESS_ACCEPT", hide_env_values = true)]
    pub(crate) accept: Option<AcceptedIds>,
}

/// How failures are made smaller.
#[derive(Debug, Args)]
pub(crate) struct ShrinkingArgs {
    /// How many cases or candidates run at once [default: one per core on memory, 64 on brokers, 16 on brokers that are
    /// hurt and with ?client=both]
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=4096), env = "ONCENESS_JOBS", hide_env_values = true)]
    pub(crate) jobs: Option<u16>,
    /// A smaller plan counts if it fails in K of N runs
    #[arg(
        long,
        value_name = "K/N",
        default_value = "1/1",
        env = "ONCENESS_CONFIRM",
        hide_env_values = true
    )]
    pub(crate) confirm: Confirm,
    /// How long to shrink each failure at most [default: 30s; 3m on brokers that are hurt]
    #[arg(long, value_name = "TIME", env = "ONCENESS_SHRINK_TIME", hide_env_values = true)]
    pub(crate) shrink_time: Option<humantime::Duration>,
    /// How many smaller plans to try for each failure at most; 0 to keep failures as they are
    #[arg(
        long,
        value_name = "N",
        default_value_t = 20_000,
        env = "ONCENESS_SHRINK_TRIES",
        hide_env_values = true
    )]
    pub(crate) shrink_tries: u64,
}

/// Where results go.
#[derive(Debug, Args)]
pub(crate) struct OutputArgs {
    /// Folder for junit.xml, summary.json and failing cases; made if needed, never emptied
    #[arg(
        long,
        value_name = "DIR",
        default_value = "onceness-report",
        env = "ONCENESS_OUT",
        hide_env_values = true
    )]
    pub(crate) out: PathBuf,
    /// Print the summary as JSON instead of the table
    #[arg(long, env = "ONCENESS_JSON", hide_env_values = true)]
    pub(crate) json: bool,
}

/// Addresses of a cluster.
#[derive(Clone, Debug)]
pub(crate) struct Addresses(pub(crate) Vec<String>);
/// What is struck at every boundary.
#[derive(Clone, Debug)]
pub(crate) enum Sweep {
    /// The built-in loop.
    Loop,
    /// A plan file or case folder.
    Named(PathBuf),
}

impl From<OsString> for Sweep {
    fn from(name: OsString) -> Self {
        match name.is_empty() {
            true => Sweep::Loop,
            false => Sweep::Named(name.into()),
        }
    }
}

/// Ids of known weaknesses.
#[derive(Clone, Debug)]
pub(crate) struct AcceptedIds(pub(crate) Vec<&'static str>);

/// Seeded defects, in the order of the catalogue.
#[derive(Clone, Debug)]
pub(crate) struct Defects(pub(crate) Vec<&'static Defect>);

/// When to use colours.
#[derive(Clone, Copy, Debug, Default, ValueEnum)]
pub(crate) enum Color {
    /// On a terminal, unless NO_COLOR is set
    #[default]
    Auto,
    /// Always
    Always,
    /// Never
    Never,
}

impl Color {
    pub(crate) fn apply(self) {
        match self {
            Color::Auto => {}
            Color::Always => anstream::ColorChoice::Always.write_global(),
            Color::Never => anstream::ColorChoice::Never.write_global(),
        }
    }
}

fn claims(text: &str) -> Result<Claims, String> {
    let mut named = Vec::new();
    for name in names(text) {
        if name == "all" {
            named.extend(Claim::ALL);
            continue;
        }
        let claim = Claim::ALL.into_iter().find(|claim| claim.name() == name);
        named.push(claim.ok_or_else(|| unknown("claim", name, Claim::ALL.map(Claim::name)))?);
    }
    named.sort_unstable();
    named.dedup();
    Ok(Claims { chosen: named, named: true })
}

fn accepted(text: &str) -> Result<AcceptedIds, String> {
    let mut ids = Vec::new();
    for name in names(text).filter(|name| *name != "none") {
        let known = WEAKNESSES.iter().map(|weakness| weakness.id);
        let weakness = weakness::find(name).ok_or_else(|| unknown("weakness", name, known))?;
        ids.push(weakness.id);
    }
    Ok(AcceptedIds(ids))
}

fn addresses(text: &str) -> Result<Addresses, String> {
    let read = onceness::target::addresses(text);
    read.map(Addresses).map_err(|error| error.to_string())
}

fn some_time(text: &str) -> Result<humantime::Duration, String> {
    let time: humantime::Duration = text.parse().map_err(|error| format!("{error}"))?;
    match time.is_zero() {
        true => Err("in no time nothing can be measured".to_owned()),
        false => Ok(time),
    }
}

fn linger(text: &str) -> Result<humantime::Duration, String> {
    let linger: humantime::Duration = text.parse().map_err(|error| format!("{error}"))?;
    match linger.as_millis() {
        0..=1000 => Ok(linger),
        _ => Err("it is 1s at most".to_owned()),
    }
}

fn property(text: &str) -> Result<String, String> {
    let names = PROPERTIES.iter().map(|property| property.name);
    match names.clone().any(|name| name == text) {
        true => Ok(text.to_owned()),
        false => Err(unknown("property", text, names)),
    }
}

fn defect(text: &str) -> Result<&'static Defect, String> {
    let names = defects::all().map(|defect| defect.name);
    defects::find(text).ok_or_else(|| unknown("defect", text, names))
}

fn defect_of_broker(text: &str) -> Result<&'static Defect, String> {
    let brokers = defects::all().filter(|defect| defect.is_of_broker());
    match defects::find(text) {
        None => Err(unknown("defect", text, brokers.map(|defect| defect.name))),
        Some(defect) if defect.is_of_broker() => Ok(defect),
        Some(defect) => {
            let culprit = defect.culprit.name();
            Err(format!(
                "'{text}' is a defect of the {culprit}; drive the broker by kafka://…?defect={text}"
            ))
        }
    }
}

fn chosen_defects(text: &str) -> Result<Defects, String> {
    let mut chosen = Vec::new();
    for name in names(text) {
        chosen.push(defect(name)?.name);
    }
    match chosen.is_empty() {
        true => Err("no defect is named; `onceness defects` lists all".to_owned()),
        false => {
            Ok(Defects(defects::all().filter(|defect| chosen.contains(&defect.name)).collect()))
        }
    }
}

fn names(text: &str) -> impl Iterator<Item = &str> {
    (text.split(',').map(str::trim)).filter(|name| !name.is_empty())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    #[test]
    fn the_commands_are_well_formed() {
        super::Cli::command().debug_assert();
    }
}
