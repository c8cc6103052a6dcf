//! Plans and histories as text: what is written is read back, what is damaged is told by line and field.

use std::fmt::Debug;

use expect_test::{expect, expect_file};
use onceness_reference::code::Code;
use onceness_reference::exchanges::{Exchange, Lane};
use onceness_reference::features::Features;
use onceness_reference::generate::plans;
use onceness_reference::history::{
    Call, Event, Fetched, Forged, HISTORY_VERSION, Header, History, Outcome, Record, Reply, Seen,
    Sequence, Skip,
};
use onceness_reference::ids::{ClientId, EventId, GroupId, Key, Partition, StepId, Tag};
use onceness_reference::plan::forge::{Flaw, Forge, Number, Pose};
use onceness_reference::plan::{Client, Delivery, Fate, Fault, Isolation, NewRecord};
use onceness_reference::protocol::{Request, Response};
use onceness_reference::text::{
    HistoryReader, TextError, history_to_lines, plan_from_json, plan_to_json, schemas,
};
use proptest::prelude::*;

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_plan_reads_as_it_was_written(plan in plans(Features::ALL)) {
        let text = plan_to_json(&plan);
        let read = plan_from_json(&text);
        prop_assert_eq!(read.as_ref(), Ok(&plan));
        prop_assert_eq!(read.map(|read| plan_to_json(&read)), Ok(text));
    }
}

/// What is said of a good text with one thing replaced at a time.
fn said<T: Debug>(
    good: &str,
    read: fn(&str) -> Result<T, TextError>,
    damages: &[(&str, &str)],
) -> String {
    let mut told = String::new();
    for (old, new) in damages {
        assert!(good.contains(old), "{old:?} is not in it");
        let error = read(&good.replacen(old, new, 1)).unwrap_err();
        assert!((1..=good.lines().count() + 1).contains(&error.line), "{error}");
        told += &format!("{error}\n");
    }
    told
}

const PLAN: &str = r#"{
  "version": 1,
  "schedule": 7,
  "partitions": 2,
  "clients": [
    { "id": 0, "delivery": { "transactional": { "txn": 0, "protocol": "tv1" } } },
    { "id": 1, "delivery": "idempotent" }
  ],
  "rounds": [
    { "faults": ["restart"], "steps": [
      { "id": 0, "client": 0, "op": "open" },
      { "id": 1, "client": 1, "op": "open" }
    ] },
    { "steps": [{ "id": 2, "client": 0, "op": "begin" }] },
    { "steps": [
      { "id": 3, "client": 0, "op": { "send": { "partition": 1, "batches": [[{ "tag": 0, "key": 0 }]] } } },
      { "id": 4, "client": 1, "op": { "send": { "partition": 0, "batches": [[{ "tag": 1, "key": 0 }]] } } }
    ] },
    { "steps": [{ "id": 5, "client": 0, "op": "commit", "fate": { "held": { "rounds": 2 } } }] }
  ]
}
"#;

#[test]
fn a_plan_may_be_written_by_hand() {
    let plan = plan_from_json(PLAN).unwrap();
    assert_eq!((plan.size(), plan.rounds.len()), (7, 4));
}

#[test]
fn damaged_plans_not_json() {
    let damages = [
        (PLAN, ""),
        ("] }\n  ]\n}\n", ""),
        ("\n}\n", "\n}\n}\n"),
        ("\"schedule\": 7,", "\"schedule\": 7"),
    ];
    let told = said(PLAN, plan_from_json, &damages);
    expect![[r#"
        line 1: EOF while parsing a value (column 0)
        line 19, field rounds[3].steps: EOF while parsing a list (column 93)
        line 22: trailing characters (column 1)
        line 4: expected `,` or `}` (column 3)
    "#]]
    .assert_eq(&told);
}

#[test]
fn damaged_plans_of_another_form() {
    let damages = [
        ("\"tag\": 1", "\"tag\": \"r1\""),
        ("\"id\": 2", "\"id\": -2"),
        ("\"key\": 0", "\"key\": 0, \"value\": 1"),
        ("\"begin\"", "\"bgin\""),
        ("{ \"rounds\": 2 }", "{ \"round\": 2 }"),
        ("  \"partitions\": 2,\n", ""),
        ("tv1", "tv3"),
    ];
    let told = said(PLAN, plan_from_json, &damages);
    expect![[r#"
        line 17, field rounds[2].steps[1].op.send.batches[0][0].tag: invalid type: string "r1", expected u32 (column 90)
        line 14, field rounds[1].steps[0].id: invalid value: integer `-2`, expected u32 (column 26)
        line 16, field rounds[2].steps[0].op.send.batches[0][0].value: unknown field `value`, expected `tag` or `key` (column 106)
        line 14, field rounds[1].steps[0].op: unknown variant `bgin`, expected one of `open`, `send`, `begin`, `commit`, `abort`, `poll`, `process`, `save`, `save_in_transaction`, `forward`, `rewind`, `stall`, `forge`, `crash`, `close` (column 52)
        line 19, field rounds[3].steps[0].fate.held.round: unknown field `round`, expected `rounds` (column 83)
        line 20: missing field `partitions` (column 1)
        line 6, field clients[0].delivery.transactional.protocol: unknown variant `tv3`, expected `tv1` or `tv2` (column 75)
    "#]].assert_eq(&told);
}

#[test]
fn damaged_plans_of_another_version() {
    let damages = [("\"version\": 1", "\"version\": 2")];
    let told = said(PLAN, plan_from_json, &damages);
    expect![[r#"
        line 2, field version: is 2, but this build reads plans of version 1
    "#]]
    .assert_eq(&told);
}

#[test]
fn damaged_plans_without_meaning() {
    let damages = [
        ("\"id\": 4", "\"id\": 3"),
        ("\"id\": 1, \"client\": 1", "\"id\": 1, \"client\": 0"),
        ("\"begin\"", "\"commit\""),
        ("\"partition\": 1", "\"partition\": 2"),
        ("\"partitions\": 2", "\"partitions\": 0"),
        ("\"id\": 5, \"client\": 0", "\"id\": 5, \"client\": 9"),
        ("\"tag\": 1", "\"tag\": 0"),
        ("[[{ \"tag\": 0, \"key\": 0 }]]", "[]"),
        ("{ \"rounds\": 2 }", "{ \"rounds\": 99 }"),
    ];
    let told = said(PLAN, plan_from_json, &damages);
    expect![[r#"
        line 17, field rounds[2].steps[1]: appears twice
        line 12, field rounds[0].steps[1]: c0 has another step in this round
        line 14, field rounds[1].steps[0]: ends a transaction that it did not begin
        line 16, field rounds[2].steps[0]: partition p2 does not exist
        line 4, field partitions: has 0 partitions, not 1 to 3
        line 19, field rounds[3].steps[0]: client c9 does not exist
        line 17, field rounds[2].steps[1]: record r0 appears twice
        line 16, field rounds[2].steps[0]: has 0 batches, not 1 to 5
        line 19, field rounds[3].steps[0]: this fate cannot befall this step
    "#]]
    .assert_eq(&told);
}

fn history(text: &str) -> Result<History, TextError> {
    let mut reader = HistoryReader::new();
    for line in text.lines() {
        reader.line(line)?;
    }
    reader.finish()
}

/// One of every event, call, reply, outcome and skip.
fn everything() -> History {
    let client = ClientId(0);
    let delivery = Some(Delivery::Idempotent);
    let record = Record { tag: Tag(1), key: Key(2), from: Some(Tag(0)) };
    let seen = vec![Seen { offset: 3, tag: Some(Tag(1)) }, Seen { offset: 4, tag: None }];
    let positions = vec![(Partition(0), 3), (Partition(1), 0)];
    let maybe = vec![(Partition(0), Some(3)), (Partition(1), None)];
    let forge = Forge::Produce {
        to: Partition(0),
        records: vec![NewRecord { tag: Tag(2), key: Key(0) }],
        pose: Pose::Behind { epochs: 1 },
        number: Number::Gap { by: 2 },
        plain: true,
        flaw: Some(Flaw::Control),
    };
    let (session, first, generation) = (Some((7, 0)), Some(5), Some(1));
    let (records, offset) = (vec![record], Some(4));
    let forged = Forged { forge, session, first, records, offset, generation };
    let mut events = Vec::new();
    let calls = [
        (
            Call::Open,
            Outcome::Done(Reply::Opened { session: Some((7, 0)), positions: maybe.clone() }),
        ),
        (
            Call::Send {
                partition: Partition(0),
                records: vec![record, Record { from: None, ..record }],
                sequence: Some(Sequence { producer: 7, epoch: 0, first: i32::MAX }),
            },
            Outcome::Done(Reply::Appended { base: Some(3) }),
        ),
        (
            Call::Send { partition: Partition(0), records: vec![record], sequence: None },
            Outcome::Done(Reply::Appended { base: None }),
        ),
        (Call::Begin, Outcome::Done(Reply::Nothing)),
        (Call::Commit, Outcome::Refused(Code::PRODUCER_FENCED)),
        (Call::Abort, Outcome::Unknown),
        (
            Call::Poll,
            Outcome::Done(Reply::Polled(vec![Fetched {
                partition: Partition(0),
                from: 3,
                to: 5,
                records: seen.clone(),
            }])),
        ),
        (Call::Process { records: vec![Tag(1)] }, Outcome::Done(Reply::Nothing)),
        (
            Call::Save { group: GroupId(0), positions, in_transaction: true },
            Outcome::Refused(Code(9999)),
        ),
        (Call::Rewind, Outcome::Done(Reply::Positions(maybe))),
        (Call::Stall, Outcome::Done(Reply::Nothing)),
        (Call::Forge(forged), Outcome::Refused(Code(45))),
        (Call::Close, Outcome::Done(Reply::Opened { session: None, positions: vec![] })),
    ];
    for (step, (call, outcome)) in calls.into_iter().enumerate() {
        let of = EventId(events.len() as u32);
        events.push(Event::Call { step: StepId(step as u32), client, call });
        events.push(Event::Return { of, outcome });
    }
    let fates = [
        Fate::Delivered,
        Fate::RequestLost,
        Fate::ReplyLost,
        Fate::Repeated,
        Fate::Busy,
        Fate::Held { rounds: 3 },
    ];
    for (i, fate) in fates.into_iter().enumerate() {
        let (of, outcome) = (EventId(0), Outcome::Unknown);
        events.push(Event::Answer { of, preparation: i % 2 == 0, fate, outcome });
    }
    let skips = [
        Skip::NotOpen,
        Skip::Fenced,
        Skip::InDoubt,
        Skip::NoTransaction,
        Skip::TransactionOpen,
        Skip::MustAbort,
        Skip::Unsaved,
        Skip::MustRewind,
        Skip::NothingToDo,
        Skip::Unsupported,
    ];
    let step = StepId(20);
    events.extend(skips.map(|why| Event::Skipped { step, client, why }));
    events.push(Event::Crashed { step, client });
    events.extend([true, false].map(|happened| Event::Fault { fault: Fault::Restart, happened }));
    events.extend([Fault::Kill, Fault::Pause].map(|fault| Event::Fault { fault, happened: true }));
    let (partitions, groups) = (vec![Partition(1)], vec![GroupId(0)]);
    events.push(Event::Unmarked { partitions, groups });
    events.push(Event::Healed);
    let partition = Partition(0);
    for (isolation, last_stable) in
        [(Isolation::ReadCommitted, Some(4)), (Isolation::ReadUncommitted, None)]
    {
        let (high_watermark, records) = (5, seen.clone());
        events.push(Event::Read { partition, isolation, high_watermark, last_stable, records });
    }
    for offset in [Some(3), None] {
        events.push(Event::Committed { group: GroupId(0), partition, offset });
    }
    let (key, records) = (Key(255), vec![Tag(0), Tag(1)]);
    events.push(Event::View { group: GroupId(0), partition, key, records });
    events.push(Event::Stuck { what: "the \"last\"\nstable offset – of p0".to_owned() });
    let clients = vec![Client { id: client, delivery, consumer: None }];
    let (version, target) = (HISTORY_VERSION, "memory".to_owned());
    let request =
        Request::Positions { group: GroupId(0), partitions: vec![partition], stable: true };
    let exchanges = vec![
        Exchange::Asked { after: None, lane: Lane::Client(client), request: request.clone() },
        Exchange::Answered { of: 0, answer: Ok(Response::Positions(vec![(partition, Some(3))])) },
        Exchange::Asked { after: Some(EventId(0)), lane: Lane::Held(1), request: request.clone() },
        Exchange::Answered { of: 2, answer: Err(Code::UNSTABLE_OFFSET_COMMIT) },
        Exchange::Asked { after: Some(EventId(0)), lane: Lane::Rig, request },
        Exchange::Unanswered { of: 4 },
        Exchange::Cut { lane: Lane::Rig },
        Exchange::Restarted,
        Exchange::Paused,
    ];
    History { header: Header { version, target, partitions: 2, clients }, events, exchanges }
}

#[test]
fn a_history_reads_as_it_was_written() {
    let whole = everything();
    let text = history_to_lines(&whole);
    assert_eq!(text.lines().count(), 1 + whole.events.len() + whole.exchanges.len());
    assert_eq!(history(&text).as_ref(), Ok(&whole));
    assert_eq!(history(&text.replace('\n', "\r\n\n")), Ok(whole), "blank lines are passed over");
}

/// So that a run that was stopped can be judged up to there.
#[test]
fn the_beginning_of_a_history_is_a_history() {
    let whole = everything();
    let text = history_to_lines(&whole);
    let lines: Vec<&str> = text.lines().collect();
    for count in 1..lines.len() {
        let read = history(&lines[..count].join("\n")).unwrap();
        let events = whole.events.len().min(count - 1);
        assert_eq!(read.events, whole.events[..events]);
        assert_eq!(read.exchanges, whole.exchanges[..count - 1 - events]);
    }
}

const HISTORY: &str = r#"{"version":1,"target":"memory","partitions":1,"clients":[{"id":0,"delivery":"idempotent"}]}
{"call":{"step":0,"client":0,"call":"open"}}
{"return":{"of":0,"outcome":{"done":{"opened":{"session":[1,0],"positions":[]}}}}}
{"fault":{"fault":"restart","happened":true}}
{"call":{"step":1,"client":0,"call":{"send":{"partition":0,"records":[{"tag":0,"key":0}]}}}}
{"return":{"of":3,"outcome":{"refused":45}}}
"#;

#[test]
fn a_history_may_be_written_by_hand() {
    assert_eq!(history(HISTORY).unwrap().events.len(), 5);
}

#[test]
fn damaged_histories_not_json() {
    let damages = [(HISTORY, ""), (HISTORY, "\n\n"), (":45}}}\n", ":45"), ("true}}\n", "true}}")];
    let told = said(HISTORY, history, &damages);
    expect![[r#"
        line 1: the history is empty: its first line must be the header
        line 2: the history is empty: its first line must be the header
        line 6, field return.outcome: EOF while parsing an object (column 41)
        line 4: trailing characters (column 46)
    "#]]
    .assert_eq(&told);
}

#[test]
fn damaged_histories_of_another_form() {
    let damages = [
        ("\"refused\":45", "\"refused\":\"45\""),
        ("\"happened\"", "\"hapened\""),
        ("{\"fault\":{", "{\"faults\":{"),
        ("\"key\":0", "\"key\":256"),
        ("\"target\":\"memory\",", ""),
        ("\"positions\":[]", "\"positions\":[[0]]"),
    ];
    let told = said(HISTORY, history, &damages);
    expect![[r#"
        line 6, field return.outcome.refused: invalid type: string "45", expected i16 (column 43)
        line 4, field fault.hapened: unknown field `hapened`, expected `fault` or `happened` (column 37)
        line 4: unknown variant `faults`, expected one of `call`, `answer`, `return`, `skipped`, `crashed`, `fault`, `unmarked`, `healed`, `read`, `committed`, `view`, `stuck` (column 9)
        line 5, field call.call.send.records[0].key: invalid value: integer `256`, expected u8 (column 88)
        line 1: missing field `target` (column 73)
        line 3, field return.outcome.done.opened.positions[0]: invalid length 1, expected a tuple of size 2 (column 79)
    "#]].assert_eq(&told);
}

#[test]
fn damaged_histories_of_another_version() {
    let damages = [("\"version\":1", "\"version\":0")];
    let told = said(HISTORY, history, &damages);
    expect![[r#"
        line 1, field version: is 0, but this build reads histories of version 1
    "#]]
    .assert_eq(&told);
}

#[test]
fn damaged_histories_without_meaning() {
    let damages = [
        ("\"of\":3", "\"of\":4"),
        ("\"of\":3", "\"of\":2"),
        ("\"step\":1,\"client\":0", "\"step\":1,\"client\":3"),
    ];
    let told = said(HISTORY, history, &damages);
    expect![[r#"
        line 6, field return.of: e4 is not an earlier event
        line 6, field return.of: e2 is not a call
        line 5, field client: c3 is not among the clients of the header
    "#]]
    .assert_eq(&told);
}

#[test]
fn damaged_exchanges() {
    let good = format!(
        "{HISTORY}{}\n{}\n",
        r#"{"exchange":{"asked":{"lane":"rig","request":{"join":{"group":0}}}}}"#,
        r#"{"exchange":{"answered":{"of":0,"answer":{"refused":16}}}}"#
    );
    let again = "{\"exchange\":{\"unanswered\":{\"of\":0}}}\n{\"exchange\":{\"answered\"";
    let damages = [
        ("{\"exchange\":{\"answered\"", again),
        ("\"answered\":{\"of\":0", "\"answered\":{\"of\":1"),
        ("{\"refused\":16}", "{\"refused\":\"busy\"}"),
        ("\"lane\":\"rig\"", "\"lane\":\"rail\""),
    ];
    expect![[r#"
        line 9, field exchange.of: exchange 0 has its answer already
        line 8, field exchange.of: exchange 1 is no earlier request
        line 8, field exchange.answered.answer.refused: invalid type: string "busy", expected i16 (column 58)
        line 7, field exchange.asked.lane: unknown variant `rail`, expected one of `client`, `held`, `rig` (column 35)
    "#]].assert_eq(&said(&good, history, &damages));
}

/// The schemas are kept in the repository, for editors and for other languages. `UPDATE_EXPECT=1` rewrites them.
#[test]
fn the_schemas_are_those_in_the_repository() {
    for (name, text) in schemas() {
        expect_file![format!("../../schema/{name}")].assert_eq(&text);
    }
}
