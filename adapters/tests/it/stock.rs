//! librdkafka in full, on a real broker: what its requests meet, and what its groups do, as the history tells it.

use onceness_adapters::Adapter;
use onceness_adapters::stock::Stock;
use onceness_reference::history::{Call, Event, History, Outcome, Reply};
use onceness_reference::ids::{ClientId, EventId, Partition};
use onceness_reference::plan::Fate;
use onceness_reference::text::plan_from_json;

/// Runs a plan on the Kafka of `ONCENESS_KAFKA`.
async fn run(plan: &str) -> History {
    let address = std::env::var("ONCENESS_KAFKA").expect("ONCENESS_KAFKA=HOST:PORT");
    let plan = plan_from_json(plan).expect("a plan");
    assert_eq!(plan.check(), Ok(()));
    let stock = Stock::connect(&[address]).await.expect("a Kafka broker");
    let history = stock.run(&plan).await.expect("it answers");
    stock.clean().await.expect("nothing left behind");
    history
}

fn calls(history: &History, wanted: impl Fn(ClientId, &Call) -> bool) -> Vec<EventId> {
    let events = history.events.iter().enumerate();
    let found = events.filter(
        |(_, event)| matches!(event, Event::Call { client, call, .. } if wanted(*client, call)),
    );
    found.map(|(at, _)| EventId(at as u32)).collect()
}

fn returned(history: &History, call: EventId) -> &Outcome {
    let returns = history.events.iter().find_map(|event| match event {
        Event::Return { of, outcome } if *of == call => Some(outcome),
        _ => None,
    });
    returns.expect("it returned")
}

fn answers(history: &History, call: EventId) -> Vec<(Fate, &Outcome)> {
    let answers = history.events.iter().filter_map(|event| match event {
        Event::Answer { of, fate, outcome, .. } if *of == call => Some((*fate, outcome)),
        _ => None,
    });
    answers.collect()
}

fn is_done(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Done(_))
}

/// A producer meets each fate, and gets over it.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a broker that speaks Kafka: ONCENESS_KAFKA=HOST:PORT"]
async fn an_idempotent_producer_on_kafka_gets_over_every_fate() {
    let history = run(r#"{"version":1,"schedule":0,"partitions":1,
        "clients":[{"id":0,"delivery":"idempotent"}],
        "rounds":[
            {"steps":[{"id":0,"client":0,"op":"open"}]},
            {"steps":[{"id":1,"client":0,"op":{"send":{"partition":0,"batches":[[{"tag":1,"key":0}]]}},"fate":"request_lost"}]},
            {"steps":[{"id":2,"client":0,"op":{"send":{"partition":0,"batches":[[{"tag":2,"key":0}]]}},"fate":"reply_lost"}]},
            {"steps":[{"id":3,"client":0,"op":{"send":{"partition":0,"batches":[[{"tag":3,"key":0}]]}},"fate":"repeated"}]},
            {"steps":[{"id":4,"client":0,"op":{"send":{"partition":0,"batches":[[{"tag":4,"key":0}]]}},"fate":"busy"}]},
            {"steps":[{"id":5,"client":0,"op":{"send":{"partition":0,"batches":[[{"tag":5,"key":0}]]}},"fate":{"held":{"rounds":1}}}]},
            {"steps":[{"id":6,"client":0,"op":{"send":{"partition":0,"batches":[[{"tag":6,"key":0}]]}}}]}
        ]}"#)
    .await;
    let sends = calls(&history, |_, call| matches!(call, Call::Send { .. }));
    let appended = |offset| Outcome::Done(Reply::Appended { base: Some(offset) });
    for (offset, send) in sends.iter().enumerate() {
        assert_eq!(*returned(&history, *send), appended(offset as i64), "{history:?}");
    }
    let met: Vec<Vec<(Fate, &Outcome)>> =
        sends.iter().map(|send| answers(&history, *send)).collect();
    assert_eq!(met[0], [(Fate::RequestLost, &Outcome::Unknown)]);
    assert_eq!(met[1], [(Fate::ReplyLost, &appended(1))]);
    assert_eq!(met[2], [(Fate::Repeated, &appended(2)), (Fate::Repeated, &appended(2))]);
    assert!(matches!(met[3][..], [(Fate::Busy, Outcome::Refused(_))]), "{:?}", met[3]);
    assert_eq!(met[4], [(Fate::Held { rounds: 1 }, &appended(4))], "a late copy is known");
    assert!(met[5].is_empty());
}

/// A crash at the commit: the request left, and nobody in the client's name says any more.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a broker that speaks Kafka: ONCENESS_KAFKA=HOST:PORT"]
async fn a_crash_at_a_commit_on_kafka_leaves_the_client_in_the_dark_and_the_rig_informed() {
    let history = run(r#"{"version":1,"schedule":0,"partitions":1,
        "clients":[{"id":0,"delivery":{"transactional":{"txn":0,"protocol":"tv1"}}}],
        "rounds":[
            {"steps":[{"id":0,"client":0,"op":"open"}]},
            {"steps":[{"id":1,"client":0,"op":"begin"}]},
            {"steps":[{"id":2,"client":0,"op":{"send":{"partition":0,"batches":[[{"tag":1,"key":0}]]}}}]},
            {"steps":[{"id":3,"client":0,"op":"commit","crash":true}]}
        ]}"#)
    .await;
    let commit = calls(&history, |_, call| *call == Call::Commit)[0];
    assert_eq!(*returned(&history, commit), Outcome::Unknown);
    assert_eq!(
        answers(&history, commit),
        [(Fate::ReplyLost, &Outcome::Done(Reply::Nothing))],
        "one request, and no retry"
    );
    assert!(history.events.iter().any(|event| matches!(event, Event::Crashed { .. })));
    let shown = history.events.iter().any(|event| {
        matches!(event, Event::Read { last_stable: None, records, .. } if records.len() == 1)
    });
    assert!(shown, "it was committed: {history:?}");
}

/// A static member is replaced, and fenced.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a broker that speaks Kafka: ONCENESS_KAFKA=HOST:PORT"]
async fn a_static_member_that_was_replaced_may_not_save_on_kafka() {
    let consumer = r#"{"group":0,"member":true,"inputs":[0],"isolation":"read_committed","saving":"after_processing"}"#;
    let history = run(&format!(
        r#"{{"version":1,"schedule":0,"partitions":1,
        "clients":[{{"id":0,"delivery":"at_least_once"}},{{"id":1,"consumer":{consumer}}},{{"id":2,"consumer":{consumer}}}],
        "rounds":[
            {{"steps":[{{"id":0,"client":0,"op":"open"}}]}},
            {{"steps":[{{"id":1,"client":0,"op":{{"send":{{"partition":0,"batches":[[{{"tag":1,"key":0}}]]}}}}}},{{"id":2,"client":1,"op":"open"}}]}},
            {{"steps":[{{"id":3,"client":1,"op":{{"poll":{{"max":5}}}}}}]}},
            {{"steps":[{{"id":4,"client":1,"op":"process"}}]}},
            {{"steps":[{{"id":5,"client":2,"op":"open"}}]}},
            {{"steps":[{{"id":6,"client":1,"op":"save"}}]}}
        ]}}"#
    ))
    .await;
    let save =
        calls(&history, |client, call| client == ClientId(1) && matches!(call, Call::Save { .. }))
            [0];
    assert!(!is_done(returned(&history, save)), "{history:?}");
    let saved = Event::Committed {
        group: onceness_reference::ids::GroupId(0),
        partition: Partition(0),
        offset: None,
    };
    assert!(history.events.contains(&saved), "{history:?}");
}

/// Two members share two partitions; one stalls until it is expelled, the other takes over, and the zombie starts anew from
/// what that one saved.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a broker that speaks Kafka: ONCENESS_KAFKA=HOST:PORT"]
async fn members_on_kafka_share_a_group_and_take_over_from_one_that_stalls() {
    let consumer = r#"{"group":0,"member":true,"shared":true,"inputs":[0,1],"isolation":"read_committed","saving":"after_processing"}"#;
    let poll = |id: u32, client: u8| {
        format!(r#"{{"id":{id},"client":{client},"op":{{"poll":{{"max":9}}}}}}"#)
    };
    let (p1, p2, p3, p4) = (poll(10, 1), poll(11, 2), poll(12, 1), poll(13, 2));
    let (p5, p6, p7) = (poll(14, 2), poll(15, 2), poll(16, 1));
    let history = run(&format!(
        r#"{{"version":1,"schedule":0,"partitions":2,
        "clients":[{{"id":0,"delivery":"at_least_once"}},{{"id":1,"consumer":{consumer}}},{{"id":2,"consumer":{consumer}}}],
        "rounds":[
            {{"steps":[{{"id":0,"client":0,"op":"open"}},{{"id":1,"client":1,"op":"open"}}]}},
            {{"steps":[{{"id":2,"client":0,"op":{{"send":{{"partition":0,"batches":[[{{"tag":1,"key":0}}]]}}}}}}]}},
            {{"steps":[{{"id":3,"client":0,"op":{{"send":{{"partition":1,"batches":[[{{"tag":2,"key":0}}]]}}}}}}]}},
            {{"steps":[{{"id":4,"client":2,"op":"open"}}]}},
            {{"steps":[{p1},{p2}]}},
            {{"steps":[{p3},{p4}]}},
            {{"steps":[{{"id":5,"client":1,"op":"stall"}}]}},
            {{"steps":[{p5}]}},
            {{"steps":[{p6}]}},
            {{"steps":[{{"id":6,"client":2,"op":"process"}}]}},
            {{"steps":[{{"id":7,"client":2,"op":"save"}}]}},
            {{"steps":[{p7}]}}
        ]}}"#
    ))
    .await;
    let rewinds = |of: u8| {
        let at = calls(&history, |client, call| client.0 == of && *call == Call::Rewind);
        let told = at.into_iter().filter_map(|at| match returned(&history, at) {
            Outcome::Done(Reply::Positions(positions)) => Some(positions.clone()),
            _ => None,
        });
        told.collect::<Vec<_>>()
    };
    // The first had both, and gave one away when the second joined; then that one got both.
    assert!(rewinds(1).iter().any(|positions| positions.len() == 1), "{history:?}");
    assert!(rewinds(2).iter().any(|positions| positions.len() == 2), "{history:?}");
    let saves = calls(&history, |client, call| {
        client.0 == 2 && matches!(call, Call::Save { positions, .. } if positions.len() == 2)
    });
    assert!(saves.iter().any(|save| is_done(returned(&history, *save))), "{history:?}");
    // Back again, it goes on from there with what it is given now.
    let stalled = calls(&history, |_, call| *call == Call::Stall)[0];
    let back = calls(&history, |client, call| client.0 == 1 && *call == Call::Rewind);
    let back = back.into_iter().find(|call| *call > stalled).expect("it was given something");
    let Outcome::Done(Reply::Positions(last)) = returned(&history, back) else {
        panic!("it could not go back: {history:?}");
    };
    assert!(!last.is_empty(), "{history:?}");
    assert!(last.iter().all(|(_, position)| position.is_some()), "{history:?}");
}
