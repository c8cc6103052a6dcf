//! A certification from start to end, as its user sees it.

use expect_test::expect;

use crate::onceness::Desk;

#[test]
fn a_failure_is_told_kept_and_replayed() {
    let desk = Desk::new();
    let done = desk.run("certify memory:no-dedup --seed 1 --cases 200 --fail-fast --jobs 1");
    assert_eq!(done.code, Some(1), "{done:?}");
    let summary: serde_json::Value =
        serde_json::from_str(&desk.read("onceness-report/summary.json")).expect("JSON");
    let failure = &summary["failures"][0];
    let replay = failure["replay"].as_str().expect("a command");
    assert!(done.stdout.contains(replay), "{done:?}");
    let case = failure["folder"].as_str().expect("a folder");
    for file in ["plan.json", "original.json", "history.jsonl", "report.txt", "case.json"] {
        assert!(!desk.read(&format!("{case}/{file}")).is_empty());
    }
    let junit = desk.read("onceness-report/junit.xml");
    assert!(junit.contains("<failure") && junit.contains(replay), "{junit}");
    let again = desk.run(replay.trim_start_matches("onceness "));
    assert_eq!(again.code, Some(1), "{again:?}");
    // The correct broker does not do that.
    let correct = desk.run(&format!("replay {case} memory"));
    assert!(matches!(correct.code, Some(0 | 3)), "{correct:?}");
    let checked = desk.run(&format!("check {case}/history.jsonl"));
    assert_eq!(checked.code, Some(1), "{checked:?}");
    let shrunk = desk.run(&format!("shrink {case}/original.json memory:no-dedup"));
    assert_eq!(shrunk.code, Some(1), "{shrunk:?}");
}

/// Two clients of one transactional id, a reader, and a bit of everything that can happen.
const BUSY: &str = r#"{
  "version": 1, "schedule": 0, "partitions": 2,
  "clients": [
    { "id": 0, "delivery": { "transactional": { "txn": 0, "protocol": "tv1" } } },
    { "id": 1, "delivery": { "transactional": { "txn": 0, "protocol": "tv2" } } },
    { "id": 2, "delivery": "at_most_once", "consumer": { "group": 0, "member": true, "inputs": [0, 1],
      "isolation": "read_uncommitted", "saving": "after_processing" } }
  ],
  "rounds": [
    { "steps": [{ "id": 0, "client": 0, "op": "open" }, { "id": 1, "client": 2, "op": "open" }] },
    { "steps": [{ "id": 2, "client": 0, "op": "begin" }] },
    { "steps": [{ "id": 3, "client": 0, "fate": "repeated", "op": { "send": { "partition": 0, "batches":
      [[{ "tag": 0, "key": 0 }, { "tag": 1, "key": 1 }], [{ "tag": 2, "key": 0 }]] } } }] },
    { "steps": [{ "id": 4, "client": 1, "op": "open" }] },
    { "steps": [{ "id": 5, "client": 0, "op": "commit" }, { "id": 6, "client": 2, "op": { "poll": { "max": 8 } } }] },
    { "faults": ["restart"], "steps": [{ "id": 7, "client": 2, "op": "process" }] },
    { "steps": [{ "id": 8, "client": 2, "op": "save", "fate": "reply_lost" }] },
    { "steps": [{ "id": 9, "client": 2, "op": { "send": { "partition": 1, "batches": [[{ "tag": 3, "key": 0 }]] } },
      "fate": { "held": { "rounds": 1 } }, "crash": true }, { "id": 10, "client": 1, "op": "close" }] }
  ]
}"#;

#[test]
fn the_time_line_reads_well() {
    let done = Desk::new().run_with("run - memory", BUSY);
    assert_eq!(done.code, Some(0), "{done:?}");
    // The last line counts what the properties tested, which is theirs to pin down.
    let line = done.stdout.trim_end().rsplit_once('\n').map_or("", |(line, _)| line);
    expect![[r#"
          memory with 2 partitions
          c0  sends in transactions of t0 (TV1)
          c1  sends in transactions of t0 (TV2)
          c2  sends without acknowledgement; reads p0, p1 at read_uncommitted as the member of group g0, processes, then saves
          e0       c2  starts
          e1-2     c0  starts -> producer 1 epoch 0
          e3       c2  learns of e0: p0 from the start p1 from the start
          e4-5     c0  begins a transaction -> done
          e6       c0  sends r0[k0] r1[k1] to p0 (producer 1 epoch 0 sequence 0)
          e7       c0  sends r2[k0] to p0 (producer 1 epoch 0 sequence 2)
          e8-9         the request of e6 is repeated by the network; one copy is answered: appended at 0 (2 times)
          e10      c0  learns of e6: appended at 0
          e11      c0  learns of e7: appended at 2
          e12      c1  starts
          e13          the request of e12 is answered: producer 1 epoch 2
          e14      c1  learns of e12: producer 1 epoch 2
          e15      c2  polls
          e16      c0  commits
          e17      c2  learns of e15: p0 from 0 to 4: r0@0 r1@1 r2@2
          e18      c0  learns of e16: refused with PRODUCER_FENCED (90)
          e19          the broker is killed and started again
          e20-21   c2  processes r0 r1 r2 -> done
          e22      c2  saves the position of g0: p0 at 4
          e23          the request of e22 arrives, the reply is lost: done
          e24          the request of e22 is answered: done
          e25      c2  learns of e22: done
          e26-27   c1  closes -> done
          e28-29   c2  sends r3[k0] to p1 -> unknown; it may have happened
          e30      c2  crashes
          e31          the request of e28 arrives late, held for 1 round: unknown; it may have happened
          e32          everything heals: held requests have arrived, fresh instances end what is open
          e33          a fresh reader reads p0 to its end 4, last stable 4 at read_uncommitted: r0@0 r1@1 r2@2
          e34          a fresh reader reads p0 to its end 4, last stable 4 at read_committed: nothing
          e35          a fresh reader reads p1 to its end 1, last stable 1 at read_uncommitted: r3@0
          e36          a fresh reader reads p1 to its end 1, last stable 1 at read_committed: r3@0
          e37          group g0 stands at 4 in p0
          e38          group g0 stands nowhere in p1
          e39          the application of g0 has r2 for k0 of p0
          e40          the application of g0 has r1 for k1 of p0
        (sum)
    "#]].assert_eq(&format!("{line}\n(sum)\n"));
}

#[test]
fn a_failure_reads_well() {
    let done =
        Desk::new().run_with("shrink - memory:aborted-list-empty --property isolation", BUSY);
    assert_eq!(done.code, Some(1), "{done:?}");
    expect![[r#"
        isolation violated
          promise: A read_committed reader sees records of committed transactions only and everything else that is in the log, and a read_uncommitted reader sees all of it.
          shrunk from 12 steps to 3 steps by 136 candidates; fails in 1 of 1 run

          memory:aborted-list-empty with 1 partition
          c0  sends in transactions of t0 (TV1)
          e0-1     c0  starts -> producer 1 epoch 0
        > e2-3     c0  begins a transaction -> done
        > e4-5     c0  sends r0[k0] to p0 (producer 1 epoch 0 sequence 0) -> appended at 0
          e6           everything heals: held requests have arrived, fresh instances end what is open
          e7           a fresh reader reads p0 to its end 2, last stable 2 at read_uncommitted: r0@0
        > e8           a fresh reader reads p0 to its end 2, last stable 2 at read_committed: r0@0
          => c0 left its transaction open, but its r0 in p0 at offset 0 was shown to the final reader at read_committed

          run it again:  onceness replay onceness-report/cases/1-isolation
    "#]].assert_eq(&done.stdout);
}

#[test]
fn the_same_seed_gives_the_same_summary() {
    let summary = |jobs: u32| {
        let desk = Desk::new();
        let done = desk.run(&format!("certify --seed 5 --cases 2000 --jobs {jobs} --json"));
        let mut summary = done.json();
        summary["seconds"] = 0.into();
        summary
    };
    assert_eq!(summary(1), summary(3));
}

#[test]
fn the_table_names_every_claim() {
    let done = Desk::new().run("certify --seed 5 --cases 3000");
    for claim in ["at-most-once", "at-least-once", "idempotent", "transactional", "exactly-once"] {
        assert!(done.stdout.contains(claim), "{done:?}");
    }
    assert_eq!(done.code, Some(0), "{done:?}");
    assert!(done.stdout.ends_with("all claims hold\n"), "{done:?}");
}

#[test]
fn what_a_run_came_to_is_told_clause_by_clause_and_state_by_state() {
    let done =
        Desk::new().run("certify memory:no-dedup --seed 1 --cases 200 --json --shrink-tries 0");
    let summary = done.json();
    let state = |id: &str| {
        let clauses = summary["clauses"].as_array().expect("clauses");
        let clause = clauses.iter().find(|one| one["clause"] == id).expect("a clause");
        clause["state"].as_str().expect("a state").to_owned()
    };
    assert_eq!(state("DED-04"), "violated");
    assert_eq!(state("LOG-19"), "holds");
    assert_eq!(state("TXN-05"), "untested");
    let states = summary["states"].as_array().expect("states");
    let reached = states.iter().filter(|one| one["times"].as_u64() > Some(0)).count();
    assert!(reached > 100 && reached < states.len(), "{reached} of {}", states.len());
}

#[test]
fn a_run_that_is_to_cover_all_says_what_it_has_not() {
    let done = Desk::new().run("certify memory --seed 1 --cases 50 --until-covered 2");
    assert_eq!(done.code, Some(3), "{done:?}");
    assert!(
        done.stdout.contains("states and requests were reached fewer than 2 times"),
        "{done:?}"
    );
    let mock = Desk::new().run("certify mock --until-covered");
    assert_eq!(mock.code, Some(2), "{mock:?}");
    assert!(mock.stderr.contains("--until-covered needs a client whose"), "{mock:?}");
}
