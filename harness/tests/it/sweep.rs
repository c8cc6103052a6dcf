//! `certify --sweep`: one plan, struck at every boundary of it.

use expect_test::expect;
use serde_json::Value;

use crate::onceness::Desk;

/// A cell of a sweep, as `--json` tells it.
struct Cell {
    plan: usize,
    doing: String,
    at: String,
    mishap: String,
    verdict: String,
    broken: Vec<String>,
}

impl Cell {
    fn place(&self) -> String {
        format!("{} {}: {}: {}", ["TV1", "TV2"][self.plan], self.doing, self.at, self.mishap)
    }
}

fn cells(sweep: &Value) -> Vec<Cell> {
    let text = |value: &Value| value.as_str().expect("text").to_owned();
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let mut cells = Vec::new();
    for (plan, swept) in list(&sweep["plans"]).iter().enumerate() {
        for row in list(&swept["boundaries"]) {
            cells.extend(list(&row["cells"]).iter().map(|cell| Cell {
                plan,
                doing: text(&row["doing"]),
                at: text(&row["at"]),
                mishap: text(&cell["mishap"]),
                verdict: text(&cell["verdict"]),
                broken:
                    list(&cell["violated"]).iter().map(|kind| text(&kind["property"])).collect(),
            }));
        }
    }
    cells
}

fn swept(target: &str) -> Value {
    let done = Desk::new().run(&format!("certify {target} --sweep --json --shrink-tries 0"));
    done.json()
}

#[test]
fn the_embedded_broker_holds_at_every_boundary() {
    let sweep = swept("memory");
    assert_eq!(sweep["exit"], 0);
    let cells = cells(&sweep);
    assert!(cells.len() > 450, "{}", cells.len());
    let accepted = ["EndTxn lost: held"];
    for cell in &cells {
        // It has no clock, so it cannot stand still: never green, never red.
        if cell.mishap == "pause" {
            assert_eq!(cell.verdict, "impossible", "{}", cell.place());
            continue;
        }
        let late_end = accepted.iter().any(|end| cell.place().ends_with(end)) && cell.plan == 0;
        let fine = cell.verdict == "holds" || (late_end && cell.verdict == "accepted");
        assert!(fine, "{}: {}", cell.place(), cell.verdict);
    }
}

#[test]
fn every_point_of_the_loop_is_visited_and_comes_out_as_it_must() {
    let sweep = swept("memory");
    for (plan, own) in [(0, 11), (1, 9)] {
        let points = sweep["plans"][plan]["points"].as_array().expect("points");
        assert_eq!(points.len(), 11);
        let visited: Vec<&Value> =
            points.iter().filter(|point| point["visit"] == "exact").collect();
        assert_eq!(visited.len(), own, "{points:?}");
        for point in visited {
            assert!(point["crashes"].as_u64() >= Some(4), "{point}");
            assert_eq!(point["crashes"], point["as_expected"], "{point}");
            assert_eq!(point["violated"], 0, "{point}");
        }
        // What is no point of its own says so, and why.
        for point in points.iter().filter(|point| point["visit"] == "no") {
            assert_eq!(point["not_visited"], "no point of its own in TV2", "{point}");
        }
    }
}

/// Each defect with a place where the sweep must find it, and what is broken there.
#[test]
fn the_boundary_of_a_defect_is_named() {
    for (target, place, broken) in [
        ("torn-commit", "TV1 the whole plan: without any mishap: nothing", "atomicity"),
        ("txn-offsets-never", "TV2 the whole plan: without any mishap: nothing", "exactly-once"),
        ("late-end-txn", "TV2 c1 commits, txn 1: EndTxn lost: held", "exactly-once"),
        ("init-adopts-transaction", "TV1 c1 commits, txn 1: EndTxn lost: again", "progress"),
        ("stale-epoch-accepted", "TV2 c1 begins, txn 1: before: zombie", "fencing"),
        ("no-dedup", "TV1 c0 sends to p0: Produce applied, answer lost: retry", "no-duplicate"),
        (
            "fenced-transaction-stuck",
            "TV1 c1 writes to p1, txn 1: Produce lost: takeover",
            "progress",
        ),
        (
            "positions-lost-on-restart",
            "TV1 c1 commits, txn 1: answered and complete: restart",
            "exactly-once",
        ),
        ("aborted-list-lost-on-restart", "TV2 c1 begins, txn 3: before: restart", "isolation"),
    ] {
        let sweep = swept(&format!("memory:{target}"));
        assert_eq!(sweep["exit"], 1, "{target}");
        let cells = cells(&sweep);
        let cell = cells.iter().find(|cell| cell.place() == place).expect(place);
        assert!(cell.broken.iter().any(|one| one == broken), "{target}: {:?}", cell.broken);
    }
}

#[test]
fn what_a_restart_breaks_is_blamed_on_restarts_alone() {
    for target in ["ack-before-durable", "positions-lost-on-restart"] {
        for cell in cells(&swept(&format!("memory:{target}"))) {
            let restarts = ["restart", "kill"].contains(&cell.mishap.as_str())
                || cell.at.starts_with("answered, ");
            assert!(cell.verdict != "violated" || restarts, "{target}: {}", cell.place());
        }
    }
}

#[test]
fn positions_in_force_too_early_are_found_where_the_client_crashes_before_it_commits() {
    let sweep = swept("memory:txn-offsets-at-once");
    let points = sweep["plans"][1]["points"].as_array().expect("points");
    // The position is new although the transaction is undone.
    for number in [6, 7] {
        let point = &points[number - 1];
        assert_eq!(point["as_expected"], 0, "{point}");
        assert_eq!(point["violated"], point["visits"], "{point}");
    }
}

#[test]
fn the_same_sweep_gives_the_same_report() {
    let sweep = |jobs: u32| {
        let done =
            Desk::new().run(&format!("certify memory:no-dedup --sweep --json --jobs {jobs}"));
        let mut sweep = done.json();
        sweep["seconds"] = 0.into();
        sweep
    };
    assert_eq!(sweep(1), sweep(3));
}

#[test]
fn a_violated_cell_is_kept_shrunk_and_runs_again_by_its_command() {
    let desk = Desk::new();
    let done = desk.run("certify memory:late-end-txn --sweep");
    assert_eq!(done.code, Some(1), "{done:?}");
    let replays = done.stdout.lines().filter_map(|line| {
        line.trim().strip_prefix("run it again:")?.trim().strip_prefix("onceness ")
    });
    let replays: Vec<&str> = replays.collect();
    assert!(replays.iter().any(|replay| replay.contains("/sweep/")), "{replays:?}");
    assert!(replays.iter().any(|replay| replay.contains("/cases/")), "{replays:?}");
    for replay in replays {
        assert_eq!(desk.run(replay).code, Some(1), "{replay}");
    }
    let junit = desk.read("onceness-report/junit.xml");
    assert!(junit.contains("<failure") && junit.contains("EndTxn lost"), "{junit}");
    assert_eq!(desk.read("onceness-report/sweep.json").matches("\"violated\": [").count(), 1);
    // The next sweep leaves nothing of this one standing for its own.
    assert_eq!(desk.run("certify memory --sweep").code, Some(0));
    assert!(!desk.path().join("onceness-report/sweep").exists());
}

/// One loop, one transaction, and a reader of what it writes.
const SMALL: &str = r#"{
  "version": 1, "schedule": 0, "partitions": 2,
  "clients": [
    { "id": 0, "delivery": "idempotent" },
    { "id": 1, "delivery": { "transactional": { "txn": 0, "protocol": "tv2" } },
      "consumer": { "group": 0, "member": true, "inputs": [0], "isolation": "read_committed", "saving": "in_transaction" } }
  ],
  "rounds": [
    { "steps": [{ "id": 0, "client": 0, "op": "open" }, { "id": 1, "client": 1, "op": "open" }] },
    { "steps": [{ "id": 2, "client": 0, "op": { "send": { "partition": 0, "batches": [[{ "tag": 0, "key": 0 }]] } } }] },
    { "steps": [{ "id": 3, "client": 1, "op": { "poll": { "max": 1 } } }] },
    { "steps": [{ "id": 4, "client": 1, "op": "begin" }] },
    { "steps": [{ "id": 5, "client": 1, "op": { "forward": { "to": 1, "tag": 1, "limit": 1 } } }] },
    { "steps": [{ "id": 6, "client": 1, "op": "save_in_transaction" }] },
    { "steps": [{ "id": 7, "client": 1, "op": "commit" }] }
  ]
}"#;

#[test]
fn the_table_of_a_sweep_reads_well() {
    let desk = Desk::new();
    desk.write("plan.json", SMALL);
    let done = desk.run("certify memory:stale-epoch-accepted --sweep plan.json --shrink-tries 0");
    assert_eq!(done.code, Some(1), "{done:?}");
    let (_, table) = done.stdout.split_once("plan.json\n").expect("a table");
    let (table, _) = table.split_once(" runs on memory").expect("a last line");
    expect![[r#"
        without any mishap: holds
        point  step                    boundary                              again      takeover   zombie     retry      repeated   held       restart    kill       pause
               c0 starts               before                                                                                                  holds      holds      –
                                       InitProducerId lost                   holds      holds                 holds                 holds
                                       InitProducerId applied, answer lost   holds      holds                 holds      holds
               c1 starts               before                                                                                                  holds      holds      –
                                       InitProducerId lost                   holds      holds                 holds                 violated
                                       InitProducerId applied, answer lost   holds      holds                 holds      violated
               c0 sends to p0          before                                holds      holds                                                  holds      holds      –
                                       Produce lost                          untested   untested              holds                 holds
                                       Produce applied, answer lost          holds      holds                 holds      holds
               c1 polls                before                                holds      holds      violated                                    holds      holds      –
            1  c1 begins, txn 1        before                                holds      holds      violated                                    holds
            2  c1 writes to p1, txn 1  before                                holds      holds      violated                                    holds      holds      –
                                       Produce lost                          holds      holds                 holds                 violated
            4                          Produce applied, answer lost          holds      holds                 holds      holds
            4  c1 saves, txn 1         before                                holds      holds      violated                                    holds      holds      –
                                       TxnOffsetCommit lost                  holds      holds                 holds                 violated
            6                          TxnOffsetCommit applied, answer lost  holds      holds                 holds      holds
            6  c1 commits, txn 1       before                                holds      holds      holds                                       holds      holds      –
            7                          EndTxn lost                           holds      holds                 holds                 holds
            8                          EndTxn applied, answer lost           holds      holds                 holds      holds
            9                          answered, no marker written           holds      holds                                                  holds
           10                          answered, half the markers written    holds      holds                                                  holds
           11                          answered and complete                 holds      holds                                                  holds
        the points of the loop, when its client or the broker fails there
               expected: old position, output hidden, inputs processed once more
            1  after the poll                             visited by 3 runs; as expected after 2 of 2 crashes
            2  after the begin                            visited by 3 runs; as expected after 2 of 2 crashes
            3  after AddPartitionsToTxn                   not visited: no point of its own in TV2
            4  after some outputs are appended            visited by 5 runs; as expected after 4 of 4 crashes
            5  after AddOffsetsToTxn                      not visited: no point of its own in TV2
            6  after TxnOffsetCommit                      visited by 5 runs; as expected after 4 of 4 crashes
            7  EndTxn sent, not applied                   visited by 2 runs; as expected after 2 of 2 crashes
               expected: new position, output visible once
            8  EndTxn applied, answer lost                visited by 2 runs; as expected after 2 of 2 crashes
            9  after EndTxn's answer, before the markers  visited by 3 runs; as expected after 2 of 2 crashes
           10  between data marker and offset marker      visited by 3 runs; as expected after 2 of 2 crashes
           11  after completion, before the next poll     visited by 3 runs; as expected after 2 of 2 crashes

        again      the client crashes there and starts again
        takeover   the client crashes there and another instance takes over
        zombie     another instance takes over while the client lives and goes on
        retry      the client gets no answer and asks again
        repeated   the request arrives twice
        held       the request arrives five rounds later, after its retry
        restart    the broker is killed and started again
        kill       the broker is killed while the step is under way, and started again
        pause      the broker stands still while the step is under way, and goes on
        –          not tried: this broker cannot stand still

        violated at "c1 starts", InitProducerId lost, held: atomicity, exactly-once, answers
          run it again:  onceness replay onceness-report/sweep/1-6-held.json memory:stale-epoch-accepted

        violated at "c1 starts", InitProducerId applied, answer lost, repeated: fencing, answers
          run it again:  onceness replay onceness-report/sweep/1-7-repeated.json memory:stale-epoch-accepted

        violated at "c1 polls", before, zombie: fencing, answers
          run it again:  onceness replay onceness-report/sweep/1-11-zombie.json memory:stale-epoch-accepted

        violated at "c1 begins, txn 1", before, zombie: fencing, answers
          run it again:  onceness replay onceness-report/sweep/1-12-zombie.json memory:stale-epoch-accepted

        violated at "c1 writes to p1, txn 1", before, zombie: fencing, answers
          run it again:  onceness replay onceness-report/sweep/1-13-zombie.json memory:stale-epoch-accepted

        violated at "c1 writes to p1, txn 1", Produce lost, held: no-duplicate, stable-offsets, answers
          run it again:  onceness replay onceness-report/sweep/1-14-held.json memory:stale-epoch-accepted

        violated at "c1 saves, txn 1", before, zombie: answers
          run it again:  onceness replay onceness-report/sweep/1-16-zombie.json memory:stale-epoch-accepted

        violated at "c1 saves, txn 1", TxnOffsetCommit lost, held: answers
          run it again:  onceness replay onceness-report/sweep/1-17-held.json memory:stale-epoch-accepted

        untested at "c0 sends to p0", Produce lost, again: no input was accounted for

        untested at "c0 sends to p0", Produce lost, takeover: no input was accounted for

        90"#]].assert_eq(table);
}

#[test]
fn a_plan_without_a_loop_is_swept_too() {
    let desk = Desk::new();
    desk.write("plan.json", r#"{ "version": 1, "schedule": 0, "partitions": 1,
      "clients": [{ "id": 0, "delivery": "at_least_once" }],
      "rounds": [{ "steps": [{ "id": 0, "client": 0, "op": "open" }] },
        { "steps": [{ "id": 1, "client": 0, "op": { "send": { "partition": 0, "batches": [[{ "tag": 0, "key": 0 }]] } } }] }] }"#);
    let done = desk.run("certify --sweep plan.json --json");
    let sweep = done.json();
    assert_eq!(sweep["plans"][0]["points"].as_array().map(Vec::len), Some(0));
    let untested: Vec<String> =
        (cells(&sweep).iter()).filter(|cell| cell.verdict == "untested").map(Cell::place).collect();
    // Of a record that was never acknowledged nothing is promised, so nothing is green there.
    assert_eq!(untested, Vec::<String>::new());
}

#[test]
fn what_cannot_be_swept_is_refused_with_the_reason() {
    let desk = Desk::new();
    desk.write("plan.json", "{}");
    for (arguments, code, words) in [
        ("certify --sweep nothing.json", 2, "failed to read nothing.json"),
        ("certify --sweep plan.json", 2, "failed to read plan.json: line 1: missing field"),
        ("certify --sweep --cases 5", 2, "cannot be used with"),
        ("certify --sweep --time 5s", 2, "cannot be used with"),
        ("certify --sweep --claims ,", 4, "no claims were selected"),
        ("certify kafka://localhost:1 --sweep", 3, "failed to reach kafka://localhost:1"),
    ] {
        let done = desk.run(arguments);
        assert_eq!(done.code, Some(code), "{arguments}: {done:?}");
        assert!(done.stderr.contains(words), "{arguments}: {done:?}");
    }
    // The target may as well come last.
    let done = desk.run("certify --sweep memory:torn-commit --shrink-tries 0 --json");
    assert_eq!(done.json()["target"], "memory:torn-commit", "{done:?}");
}
