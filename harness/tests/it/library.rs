//! The library, with targets that no user would bring: what the rig does when all else fails.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures::future::BoxFuture;
use onceness::folder::Folder;
use onceness::options::{Claims, Confirm, Options, Shrinking};
use onceness::report::table;
use onceness::search::Ended;
use onceness::weakness::WEAKNESSES;
use onceness::{Exit, Rig, certify};
use onceness_adapters::memory::Memory;
use onceness_adapters::{Adapter, TargetError};
use onceness_reference::code::Code;
use onceness_reference::exchanges::Exchange;
use onceness_reference::features::Features;
use onceness_reference::generate;
use onceness_reference::history::History;
use onceness_reference::plan::Plan;
use onceness_reference::protocol::Response;
use onceness_reference::rules::Rules;
use onceness_reference::text::plan_to_json;

use crate::onceness::Desk;

/// A target that does one thing wrong.
struct Wrong {
    panics: bool,
    cleaned: AtomicU64,
}

impl Adapter for Wrong {
    fn describe(&self) -> String {
        "wrong".to_owned()
    }

    fn features(&self) -> Features {
        Features::EMBEDDED
    }

    fn prepare(&self, _cases: usize) -> BoxFuture<'_, Result<(), TargetError>> {
        Box::pin(async { Ok(()) })
    }

    fn run<'a>(&'a self, _plan: &'a Plan) -> BoxFuture<'a, Result<History, TargetError>> {
        Box::pin(async {
            assert!(!self.panics, "as it was told to");
            Err(TargetError {
                address: "nowhere".to_owned(),
                request: "Produce".to_owned(),
                reason: "closed".to_owned(),
            })
        })
    }

    fn clean(&self) -> BoxFuture<'_, Result<(), TargetError>> {
        self.cleaned.fetch_add(1, Ordering::SeqCst);
        Box::pin(async { Ok(()) })
    }
}

fn options() -> Options {
    Options {
        target: "wrong".to_owned(),
        deterministic: false,
        seed: 1,
        cases: Some(20),
        time: None,
        until_covered: None,
        jobs: 4,
        claims: Claims::all(),
        accept: Default::default(),
        deny_stale: false,
        fail_fast: false,
        shrink: Shrinking {
            tries_max: 100,
            time_max: Duration::from_secs(5),
            confirm: Confirm::ONCE,
            final_runs: 1,
        },
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_target_that_is_gone_ends_the_run() {
    let wrong = Arc::new(Wrong { panics: false, cleaned: AtomicU64::new(0) });
    let report = certify(wrong.clone(), &options(), &Rig::default()).await;
    assert_eq!(report.exit(), Exit::Inconclusive);
    assert_eq!(report.ended, Ended::TargetGone);
    assert_eq!(report.last_error.as_deref(), Some("Produce to nowhere: closed"));
    assert!(report.silent < 20);
    assert_eq!(wrong.cleaned.load(Ordering::SeqCst), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_panic_in_a_case_is_an_internal_error_and_the_run_goes_on() {
    let wrong = Arc::new(Wrong { panics: true, cleaned: AtomicU64::new(0) });
    let report = certify(wrong.clone(), &options(), &Rig::default()).await;
    assert_eq!(report.exit(), Exit::Internal);
    assert_eq!(report.broke.len(), 20);
    assert_eq!(report.broke[0].words, "as it was told to");
    assert_eq!(wrong.cleaned.load(Ordering::SeqCst), 1);
}

/// Kafka but for one code; of two deviations in a case the first ends what can be judged there.
struct Impolite {
    memory: Memory,
}

impl Adapter for Impolite {
    fn describe(&self) -> String {
        "impolite".to_owned()
    }

    fn features(&self) -> Features {
        Features::EMBEDDED
    }

    fn prepare(&self, cases: usize) -> BoxFuture<'_, Result<(), TargetError>> {
        self.memory.prepare(cases)
    }

    fn run<'a>(&'a self, plan: &'a Plan) -> BoxFuture<'a, Result<History, TargetError>> {
        Box::pin(async {
            let mut history = self.memory.run(plan).await?;
            for exchange in &mut history.exchanges {
                let Exchange::Answered { answer, .. } = exchange else { continue };
                match answer {
                    Err(code @ Code::OUT_OF_ORDER_SEQUENCE_NUMBER) => *code = Code::INVALID_RECORD,
                    Err(Code::INVALID_REQUIRED_ACKS) => *answer = Ok(Response::Appended(None)),
                    _ => {}
                }
            }
            Ok(history)
        })
    }

    fn clean(&self) -> BoxFuture<'_, Result<(), TargetError>> {
        self.memory.clean()
    }
}

/// Nothing promised is broken: the run holds, says what is odd, and keeps the first case of each kind.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_as_it_should_be_is_told_and_kept_and_fails_nothing() {
    let desk = Desk::new();
    let folder = Folder::create(&desk.path().join("report")).expect("a folder");
    let rig = Rig { folder: Some(folder), ..Rig::default() };
    let known: Vec<&str> = WEAKNESSES.iter().map(|weakness| weakness.id).collect();
    let options = Options {
        cases: Some(2_000),
        deterministic: true,
        accept: known.iter().copied().collect(),
        ..options()
    };
    let memory = Memory::new(Rules::default(), "memory".to_owned());
    let report = certify(Arc::new(Impolite { memory }), &options, &rig).await;
    assert_eq!(report.exit(), Exit::Holds, "{}", table::render(&report));
    let told: Vec<&str> = report.deviations.iter().map(|one| one.what.as_str()).collect();
    for kind in [
        "Produce refused with INVALID_RECORD (87) where Kafka refuses with OUT_OF_ORDER_SEQUENCE_NUMBER (45)",
        "LOG-13, a SHOULD, is not kept: A number of acks other than -1, 0 and 1 is refused",
    ] {
        assert!(told.contains(&kind), "{told:#?}");
    }
    for (number, one) in (1..).zip(&report.deviations) {
        let history = format!("report/deviations/{number}/history.jsonl");
        let checked = desk.run(&format!("check {history} --accept {}", known.join(",")));
        assert_eq!(checked.code, Some(0), "{}", checked.stderr);
        assert!(checked.stdout.contains(&one.story), "{}", checked.stdout);
        let plan = desk.path().join(format!("report/deviations/{number}/plan.json"));
        let drawn = plan_to_json(&generate::plan(one.seed, Features::EMBEDDED).1);
        assert_eq!(std::fs::read_to_string(plan).expect("a plan"), drawn);
    }
}
