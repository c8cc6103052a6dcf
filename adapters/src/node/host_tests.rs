//! Who has the node when, and what becomes of one that was left hurt or does not come back. The node is a list of what it
//! was told.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use onceness_reference::plan::{Fault, PLAN_VERSION, Plan, Round};

use super::{Host, Node, NodeError};

#[derive(Debug, Default)]
struct Told {
    words: Mutex<Vec<&'static str>>,
    /// It does not start again.
    broken: bool,
    temporary: bool,
}

impl Told {
    fn note(&self, word: &'static str) -> BoxFuture<'_, Result<(), NodeError>> {
        self.words.lock().unwrap().push(word);
        let error = NodeError {
            node: "it".to_owned(),
            verb: word,
            reason: "it is broken".to_owned(),
            last_words: String::new(),
        };
        let done = if self.broken && word == "start" { Err(error) } else { Ok(()) };
        Box::pin(async { done })
    }

    fn words(&self) -> String {
        self.words.lock().unwrap().join(" ")
    }
}

impl Node for Told {
    fn name(&self) -> &str {
        "it"
    }
    fn addresses(&self) -> Vec<String> {
        Vec::new()
    }
    fn pause_time(&self) -> Duration {
        Duration::from_millis(20)
    }
    fn is_temporary(&self) -> bool {
        self.temporary
    }
    fn start(&self) -> BoxFuture<'_, Result<(), NodeError>> {
        self.note("start")
    }
    fn kill(&self) -> BoxFuture<'_, Result<(), NodeError>> {
        self.note("kill")
    }
    fn pause(&self) -> BoxFuture<'_, Result<(), NodeError>> {
        self.note("pause")
    }
    fn resume(&self) -> BoxFuture<'_, Result<(), NodeError>> {
        self.note("resume")
    }
    fn check(&self) -> BoxFuture<'_, Result<(), NodeError>> {
        self.note("check")
    }
    fn stop(&self) -> BoxFuture<'_, Result<(), NodeError>> {
        self.note("stop")
    }
    fn last_words(&self) -> String {
        String::new()
    }
}

fn plan(faults: &[Fault]) -> Plan {
    Plan {
        version: PLAN_VERSION,
        schedule: 0,
        partitions: 1,
        clients: Vec::new(),
        rounds: vec![Round { faults: faults.to_vec(), steps: Vec::new() }],
    }
}

fn host(told: Told) -> (Arc<Told>, Host) {
    let told = Arc::new(told);
    (Arc::clone(&told), Host::new(told))
}

#[tokio::test]
async fn a_plan_with_faults_has_the_node_alone_and_all_are_let_in_in_order() {
    let (_, host) = host(Told::default());
    let one = host.enter(&plan(&[])).await.unwrap();
    let other = host.enter(&plan(&[])).now_or_never().expect("many share it").unwrap();
    let hurting = plan(&[Fault::Kill]);
    let mut alone = Box::pin(host.enter(&hurting));
    assert!(alone.as_mut().now_or_never().is_none(), "not while others are there");
    let gentle = plan(&[]);
    let mut late = Box::pin(host.enter(&gentle));
    assert!(late.as_mut().now_or_never().is_none(), "not before whoever waits longer");
    drop((one, other));
    let alone = alone.now_or_never().expect("all others left").unwrap();
    assert!(late.as_mut().now_or_never().is_none());
    drop(alone);
    assert!(late.now_or_never().is_some());
}

#[tokio::test]
async fn each_fault_is_over_when_the_node_answers_again() {
    let (told, host) = host(Told::default());
    let struck = Mutex::new(0);
    for fault in [Fault::Restart, Fault::Kill, Fault::Pause] {
        host.strike(fault, &|| *struck.lock().unwrap() += 1).await.unwrap();
        host.reachable().now_or_never().expect("it is well").unwrap();
    }
    assert_eq!(told.words(), "kill start kill start pause resume");
    assert_eq!(*struck.lock().unwrap(), 3);
}

#[tokio::test]
async fn a_node_that_was_left_hurt_is_mended_for_the_next() {
    let (told, host) = host(Told::default());
    // Given up in the middle of the pause.
    assert!(host.strike(Fault::Pause, &|| {}).now_or_never().is_none());
    drop(host.enter(&plan(&[])).await.unwrap());
    assert_eq!(told.words(), "pause start");
}

#[tokio::test]
async fn a_node_that_does_not_come_back_is_the_end_for_all() {
    let (_, host) = host(Told { broken: true, ..Told::default() });
    let error = host.strike(Fault::Restart, &|| {}).await.unwrap_err();
    assert_eq!(error.to_string(), "failed to start it: it is broken");
    assert_eq!(host.reachable().await.unwrap_err(), error);
    assert_eq!(host.enter(&plan(&[])).await.err(), Some(error));
}

#[tokio::test]
async fn only_data_that_stays_is_cleaned_up() {
    for (temporary, expected) in [(true, false), (false, true)] {
        let (told, host) = host(Told { temporary, ..Told::default() });
        let mut cleaned = false;
        host.close(async {
            cleaned = true;
            Ok(())
        })
        .await
        .unwrap();
        assert_eq!((cleaned, told.words()), (expected, "stop".to_owned()));
    }
}
