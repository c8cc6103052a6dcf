//! Breaches that `onceness.toml` accepts: told, counted, and no failure; stale when they no longer occur.

use expect_test::expect;

use crate::onceness::{Desk, Done};

/// What an embedded broker without dedup breaks for idempotent producers.
const KNOWN: &str = "\
[[accept]]
target = 'memory:no-dedup'
property = 'no-duplicate'
reason = 'this broker does not dedup yet'
link = 'https://example.org/dedup/1'

[[accept]]
target = 'memory:*'
property = 'resend'
claim = 'idempotent'
reason = 'nor does it know what a resend is'

[[accept]]
target = 'memory:no-dedup'
property = 'order'
reason = 'a resend may be late'

[[accept]]
target = 'memory:no-dedup'
property = 'stable-offsets'
reason = 'one record, two offsets'

[[accept]]
target = 'memory:no-dedup'
property = 'answers'
reason = 'so the second offset is told'
";

const RUN: &str = "--claims idempotent --seed 1 --cases 1000 --jobs 2";

fn certify(config: &str, arguments: &str) -> (Desk, Done) {
    let desk = Desk::new();
    desk.write("onceness.toml", config);
    let done = desk.run(&format!("certify {arguments}"));
    (desk, done)
}

/// With every number as #: how many cases meet a breach depends on how cases are drawn, which is not what is tested here.
fn numberless(text: &str) -> String {
    let mut shown = String::new();
    let mut rest = text.chars().peekable();
    while let Some(c) = rest.next() {
        let inside = c == ',' && rest.peek().is_some_and(char::is_ascii_digit);
        match shown.ends_with('#') {
            true if c.is_ascii_digit() || inside => {}
            false if c.is_ascii_digit() => shown.push('#'),
            _ => shown.push(c),
        }
    }
    shown
}

#[test]
fn known_breaches_are_told_and_do_not_fail_the_run() {
    let (desk, done) = certify(KNOWN, &format!("memory:no-dedup {RUN}"));
    assert_eq!(done.code, Some(0), "{done:?}");
    let told = numberless(&done.stdout);
    let (_, after) = told.split_once("\n\naccepted").expect("more than the table");
    expect![[r#"
         breach of no-duplicate on memory:no-dedup in # cases: this broker does not dedup yet
          link: https://example.org/dedup/#

        accepted breach of resend for idempotent on memory:* in # cases: nor does it know what a resend is

        accepted breach of order on memory:no-dedup in # cases: a resend may be late

        accepted breach of stable-offsets on memory:no-dedup in # cases: one record, two offsets

        accepted breach of answers on memory:no-dedup in # cases: so the second offset is told

        # cases with # restarts, # kills of the broker on memory:no-dedup, seed #, in #.# s (# cases/s)
        all claims hold but for # accepted breaches
    "#]].assert_eq(after);
    let summary: serde_json::Value =
        serde_json::from_str(&desk.read("onceness-report/summary.json")).expect("JSON");
    assert_eq!(summary["failures"].as_array().map(Vec::len), Some(0));
    expect![[r#"
        [
          {
            "cases": #,
            "link": "https://example.org/dedup/#",
            "property": "no-duplicate",
            "reason": "this broker does not dedup yet",
            "stale": false,
            "target": "memory:no-dedup",
            "tested": #
          },
          {
            "cases": #,
            "claim": "idempotent",
            "property": "resend",
            "reason": "nor does it know what a resend is",
            "stale": false,
            "target": "memory:*",
            "tested": #
          },
          {
            "cases": #,
            "property": "order",
            "reason": "a resend may be late",
            "stale": false,
            "target": "memory:no-dedup",
            "tested": #
          },
          {
            "cases": #,
            "property": "stable-offsets",
            "reason": "one record, two offsets",
            "stale": false,
            "target": "memory:no-dedup",
            "tested": #
          },
          {
            "cases": #,
            "property": "answers",
            "reason": "so the second offset is told",
            "stale": false,
            "target": "memory:no-dedup",
            "tested": #
          }
        ]"#]]
    .assert_eq(&numberless(&format!("{:#}", summary["accepted_breaches"])));
    let junit = desk.read("onceness-report/junit.xml");
    let (_, case) = junit.split_once("<testcase name=\"no-duplicate\"").expect("it is there");
    let (case, _) = case.split_once("</testcase>").expect("it ends");
    expect![[r##" time="#" classname="idempotent"><skipped type="accepted" message="accepted in # cases: this broker does not dedup yet (https://example.org/dedup/#)"/><system-out><![CDATA[put to the test # times in # cases; violated in #, accepted in #]]></system-out>"##]].assert_eq(&numberless(case));
}

#[test]
fn the_rest_of_what_is_broken_still_fails() {
    let broken = |config: &str, arguments: &str, known: bool| {
        let (_, done) = certify(config, &format!("memory:no-dedup {arguments}"));
        assert_eq!(done.code, Some(1), "{done:?}");
        assert!(done.stdout.contains("order violated"), "{done:?}");
        assert_eq!(done.stdout.contains("no-duplicate violated"), !known, "{done:?}");
    };
    let (only_one, _) = KNOWN.split_once("\n\n").expect("the first of some");
    broken(only_one, RUN, true);
    // Narrower than what is broken, and without the file.
    broken(&only_one.replace("link", "claim = 'transactional'\nlink"), RUN, false);
    broken(KNOWN, &format!("{RUN} --config /dev/null"), false);
}

#[test]
fn a_breach_that_no_longer_occurs_is_stale() {
    let mended = KNOWN.replace("memory:no-dedup", "memory");
    let (_, done) = certify(&mended, "memory --seed 1 --cases 1000");
    assert_eq!(done.code, Some(0), "{done:?}");
    let (_, after) = done.stdout.split_once("stale:").expect("it is told");
    expect![[r#"
         breach of no-duplicate on memory, put to the test # times and not met; if it is mended, take it out of the file: this broker does not dedup yet
          link: https://example.org/dedup/#

        stale: breach of order on memory, put to the test # times and not met; if it is mended, take it out of the file: a resend may be late

        stale: breach of stable-offsets on memory, put to the test # times and not met; if it is mended, take it out of the file: one record, two offsets

        stale: breach of answers on memory, put to the test # times and not met; if it is mended, take it out of the file: so the second offset is told

    "#]].assert_eq(&numberless(after.split("1,000 cases").next().unwrap_or(after)));
    let (desk, done) = certify(&mended, "memory --seed 1 --cases 1000 --deny-stale");
    assert_eq!(done.code, Some(5), "{done:?}");
    assert!(done.stdout.ends_with("a breach is accepted that is stale\n"), "{done:?}");
    assert!(desk.read("onceness-report/junit.xml").contains("that no longer occur"), "{done:?}");
    // Not for all claims that it may be broken for.
    let (_, done) = certify(&mended, &format!("memory {RUN} --deny-stale"));
    assert_eq!(done.code, Some(0), "{done:?}");
    assert!(!done.stdout.contains("stale:"), "{done:?}");
    // Of another target.
    let (_, done) = certify(KNOWN, "memory --seed 1 --cases 1000 --deny-stale");
    assert_eq!(done.code, Some(0), "{done:?}");
}

#[test]
fn a_file_that_is_wrong_is_refused_before_the_first_case() {
    let (_, done) = certify(&KNOWN.replace("resend", "resent"), "memory");
    assert_eq!(done.code, Some(2), "{done:?}");
    assert!(done.stderr.contains("did you mean 'resend'?"), "{done:?}");
}
