//! What is typed or read wrongly is refused with what, where and why.

use expect_test::{Expect, expect};

use crate::onceness::Desk;

fn check(arguments: &str, stdin: &str, code: i32, expected: &Expect) {
    let done = Desk::new().run_with(arguments, stdin);
    let first = done.stderr.lines().find(|line| line.starts_with("error"));
    expected.assert_eq(first.unwrap_or(&done.stderr));
    assert_eq!(done.code, Some(code), "{done:?}");
}

#[test]
fn unknown_names_meet_the_nearest() {
    check(
        "certify memory:no-dedupp",
        "",
        2,
        &expect![
            "error: invalid value 'memory:no-dedupp' for '[TARGET]': unknown defect 'no-dedupp'; did you mean 'no-dedup'?"
        ],
    );
    check(
        "certify kafak://localhost:9092",
        "",
        2,
        &expect![
            "error: invalid value 'kafak://localhost:9092' for '[TARGET]': unknown target 'kafak'; did you mean 'kafka'? (memory, memory:DEFECT, kafka://HOST:PORT, launch:NAME, container:IMAGE or mock)"
        ],
    );
    check(
        "certify localhost:9092",
        "",
        2,
        &expect![
            "error: invalid value 'localhost:9092' for '[TARGET]': 'localhost:9092' lacks a scheme; write kafka://localhost:9092"
        ],
    );
    check(
        "certify --claims idempotnt",
        "",
        2,
        &expect![
            "error: invalid value 'idempotnt' for '--claims <CLAIMS>': unknown claim 'idempotnt'; did you mean 'idempotent'?"
        ],
    );
    check(
        "certify --accept KAFKA-1775",
        "",
        2,
        &expect![
            "error: invalid value 'KAFKA-1775' for '--accept <IDS>': unknown weakness 'KAFKA-1775'; did you mean 'KAFKA-17754', 'KAFKA-14563' or 'KAFKA-15591'?"
        ],
    );
    check("certify --tiem 3s", "", 2, &expect!["error: unexpected argument '--tiem' found"]);
    check(
        "certify --confirm 3/2",
        "",
        2,
        &expect![
            "error: invalid value '3/2' for '--confirm <K/N>': '3/2' is not K/N with 1 <= K <= N, such as 2/5"
        ],
    );
    check(
        "certify --jobs 0",
        "",
        2,
        &expect!["error: invalid value '0' for '--jobs <JOBS>': 0 is not in 1..=4096"],
    );
    check(
        "shrink - --property no-los",
        "",
        2,
        &expect![
            "error: invalid value 'no-los' for '--property <PROPERTY>': unknown property 'no-los'; did you mean 'no-loss'?"
        ],
    );
    check("certyfy", "", 2, &expect!["error: unrecognized subcommand 'certyfy'"]);
}

#[test]
fn nothing_selected_is_told_apart() {
    check(
        "certify --cases 0",
        "",
        4,
        &expect!["error: nothing to certify: no cases were asked for"],
    );
    check(
        "certify --claims ,",
        "",
        4,
        &expect!["error: nothing to certify: no claims were selected"],
    );
}

#[test]
fn what_cannot_be_priced_is_told() {
    check(
        "price memory",
        "",
        2,
        &expect![
            "error: cannot price memory: it needs a broker that runs already and speaks Kafka, such as kafka://localhost:9092"
        ],
    );
    check(
        "price kafka://127.0.0.1:1 --time 0s",
        "",
        2,
        &expect![
            "error: invalid value '0s' for '--time <TIME>': in no time nothing can be measured"
        ],
    );
    check(
        "price kafka://127.0.0.1:1 --linger 2s",
        "",
        2,
        &expect!["error: invalid value '2s' for '--linger <TIME>': it is 1s at most"],
    );
    check(
        "price kafka://127.0.0.1:1 --record-size 8",
        "",
        2,
        &expect!["error: invalid value '8' for '--record-size <BYTES>': 8 is not in 16..=900000"],
    );
    check(
        "price kafka://127.0.0.1:1 --record-size 1000000",
        "",
        2,
        &expect![
            "error: invalid value '1000000' for '--record-size <BYTES>': 1000000 is not in 16..=900000"
        ],
    );
    check("price", "", 2, &expect!["error: the following required arguments were not provided:"]);
}

#[test]
fn a_plan_that_needs_another_client_is_refused() {
    let plan = r#"{
  "version": 1, "schedule": 0, "partitions": 1,
  "clients": [{ "id": 0, "consumer": { "group": 0, "member": true, "shared": true, "inputs": [0],
    "isolation": "read_committed", "saving": "after_processing" } }],
  "rounds": [{ "steps": [{ "id": 0, "client": 0, "op": "open" }] }]
}"#;
    check(
        "run -",
        plan,
        2,
        &expect![
            "error: the plan has consumers that share their group, which memory has not; librdkafka can (?client=rdkafka)"
        ],
    );
}

#[test]
fn damaged_plans_are_refused_with_line_and_field() {
    let plan = r#"{
  "version": 1, "schedule": 0, "partitions": 1,
  "clients": [{ "id": 0, "delivery": "idempotent" }],
  "rounds": [{ "steps": [{ "id": 0, "client": 0, "op": "opne" }] }]
}"#;
    check(
        "run -",
        plan,
        2,
        &expect![
            "error: failed to read -: line 4, field rounds[0].steps[0].op: unknown variant `opne`, expected one of `open`, `send`, `begin`, `commit`, `abort`, `poll`, `process`, `save`, `save_in_transaction`, `forward`, `rewind`, `stall`, `forge`, `crash`, `close` (column 61)"
        ],
    );
    check(
        "run -",
        "",
        2,
        &expect!["error: failed to read -: line 1: EOF while parsing a value (column 0)"],
    );
    check(
        "run -",
        &plan.replace("opne", "commit"),
        2,
        &expect![
            "error: failed to read -: line 4, field rounds[0].steps[0]: client c0 is not open"
        ],
    );
    check(
        "run -",
        &plan.replace("opne", "open").replace("\"version\": 1", "\"version\": 9"),
        2,
        &expect![
            "error: failed to read -: line 2, field version: is 9, but this build reads plans of version 1"
        ],
    );
    check(
        "run -",
        &plan[..60],
        2,
        &expect!["error: failed to read -: line 3: EOF while parsing a string (column 10)"],
    );
    check(
        "run nothing.json",
        "",
        2,
        &expect!["error: failed to read nothing.json: No such file or directory (os error 2)"],
    );
}

#[test]
fn damaged_histories_are_refused_with_line_and_field() {
    let header =
        r#"{"version":1,"target":"x","partitions":1,"clients":[{"id":0,"delivery":"idempotent"}]}"#;
    check(
        "check -",
        "",
        2,
        &expect![
            "error: failed to read -: line 1: the history is empty: its first line must be the header"
        ],
    );
    check(
        "check -",
        &format!("{header}\n{{\"return\":{{\"of\":5,\"outcome\":\"unknown\"}}}}\n"),
        2,
        &expect!["error: failed to read -: line 2, field return.of: e5 is not an earlier event"],
    );
    check(
        "check -",
        &format!("{header}\n{{\"call\":{{\"step\":0,\"client\":7,\"call\":\"open\"}}}}\n"),
        2,
        &expect![
            "error: failed to read -: line 2, field client: c7 is not among the clients of the header"
        ],
    );
    check(
        "check -",
        &format!("{header}\nnot json\n"),
        2,
        &expect!["error: failed to read -: line 2: expected value (column 1)"],
    );
    check(
        "check nothing.jsonl",
        "",
        2,
        &expect!["error: failed to read nothing.jsonl: No such file or directory (os error 2)"],
    );
}

#[test]
fn a_folder_that_cannot_be_written_is_told_before_the_first_case() {
    let desk = Desk::new();
    desk.write("file", "");
    let done = desk.run("certify --cases 1000000000 --out file/report");
    assert_eq!(done.code, Some(2), "{done:?}");
    expect![[r#"
        error: failed to write file/report: Not a directory (os error 20)
    "#]]
    .assert_eq(&done.stderr);
}

#[test]
fn a_report_that_cannot_be_written_does_not_lose_the_result() {
    let desk = Desk::new();
    let in_the_way = desk.path().join("onceness-report/summary.json");
    std::fs::create_dir_all(in_the_way).expect("a folder in the way");
    let done = desk.run("certify --cases 300 --seed 1");
    assert_eq!(done.code, Some(3), "{done:?}");
    assert!(done.stdout.contains("failed to write onceness-report/summary.json"), "{done:?}");
    assert!(done.stdout.contains("300 cases"), "{done:?}");
}

#[test]
fn nobody_at_the_other_end_is_inconclusive() {
    let done = Desk::new().run("certify kafka://127.0.0.1:1 --cases 5");
    assert_eq!(done.code, Some(3), "{done:?}");
    assert!(done.stderr.contains("127.0.0.1:1"), "{done:?}");
    let done = Desk::new().run("price kafka://127.0.0.1:1 --time 5s");
    assert_eq!(done.code, Some(3), "{done:?}");
    assert!(done.stderr.contains("failed to reach kafka://127.0.0.1:1"), "{done:?}");
}
