//! The library, with targets that no user would bring: what the rig does when all else fails.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures::future::BoxFuture;
use onceness::options::{Claims, Confirm, Options, Shrinking};
use onceness::search::Ended;
use onceness::{Exit, Rig, certify};
use onceness_adapters::{Adapter, TargetError};
use onceness_reference::features::Features;
use onceness_reference::history::History;
use onceness_reference::plan::Plan;

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
