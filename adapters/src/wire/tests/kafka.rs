//! Against a real broker, whose address is in `ONCENESS_KAFKA` (`cargo ci kafka` gives it one), and all the same against the
//! reference broker, served here.

use std::collections::BTreeSet;

use kafka_protocol::messages::{
    DeleteGroupsRequest, GroupId as GroupName, MetadataRequest, ProduceRequest,
};
use kafka_protocol::protocol::StrBytes;
use onceness_reference::code::Code;
use onceness_reference::history::Record;
use onceness_reference::ids::{ClientId, GroupId, Key, Offset, Partition, Tag, TxnId};
use onceness_reference::plan::{Isolation, Protocol};
use onceness_reference::protocol::{
    Answer, Batch, Body, Ending, FetchReply, Member, Request, Response, Session,
};
use onceness_reference::rules::Rules;

use super::super::Kafka;
use super::super::cluster::Kind;
use super::super::way::Way;
use crate::Adapter;
use crate::serve::Server;
use crate::transport::{Lane, Transport};

const P0: Partition = Partition(0);
const T0: TxnId = TxnId(0);
const G0: GroupId = GroupId(0);
const ME: Lane = Lane::Client(ClientId(0));
const OTHER: Lane = Lane::Client(ClientId(1));

async fn connect() -> Kafka {
    let address = std::env::var("ONCENESS_KAFKA");
    let address =
        address.expect("set ONCENESS_KAFKA to HOST:PORT of a broker (cargo ci kafka -- … does)");
    Kafka::connect(&[address]).await.expect("a broker answers there")
}

macro_rules! holds_on_both {
    ($($body:ident: $on_kafka:ident, $on_ours:ident;)*) => {
        $(
            #[tokio::test(flavor = "multi_thread")]
            #[ignore = "needs a broker that speaks Kafka: ONCENESS_KAFKA=HOST:PORT"]
            async fn $on_kafka() {
                $body(connect().await).await;
            }

            #[tokio::test(flavor = "multi_thread")]
            async fn $on_ours() {
                let server = Server::listen(Rules::default(), "127.0.0.1:0").await;
                let server = server.expect("a free port");
                let kafka = Kafka::connect(&[server.address().to_string()]).await;
                $body(kafka.expect("it answers")).await;
            }
        )*
    };
}

holds_on_both! {
    takes_batches_once: kafka_takes_batches_once, ours_takes_batches_once;
    does_transactions: kafka_does_transactions_by_either_protocol, ours_does_transactions_by_either_protocol;
    fences_the_predecessor_in_a_group: kafka_fences_the_predecessor_in_a_group, ours_fences_the_predecessor_in_a_group;
    lends_rooms: kafka_lends_rooms_in_bulk_and_connections_again, ours_lends_rooms_in_bulk_and_connections_again;
}

async fn room(kafka: &Kafka) -> Way {
    let room = kafka.rooms.take(&kafka.cluster).await.expect("a topic can be made");
    Way::new(kafka.cluster.clone(), kafka.rooms.clone(), room, None)
}

/// Asks on a lane of one's own, again and again while the answer is "not now".
async fn ask(way: &Way, lane: Lane, request: Request) -> Answer {
    for retry in 1.. {
        let answer = way.call(lane, &request).await.expect("the broker answers");
        let passes = [
            Code::CONCURRENT_TRANSACTIONS,
            Code::COORDINATOR_LOAD_IN_PROGRESS,
            Code::UNSTABLE_OFFSET_COMMIT,
        ];
        match answer {
            Err(code) if passes.contains(&code) => {
                assert!(way.back_off(retry).await, "{code} lasts")
            }
            answer => return answer,
        }
    }
    unreachable!("the loop has no end")
}

async fn init(way: &Way, lane: Lane, txn: Option<TxnId>) -> Session {
    match ask(way, lane, Request::InitProducer { txn, expected: None }).await {
        Ok(Response::Producer(session)) => session,
        other => panic!("{other:?}"),
    }
}

fn record(tag: u32) -> Record {
    Record { tag: Tag(tag), key: Key(1), from: None }
}

fn batch(session: Option<Session>, first_sequence: i32, tags: &[u32]) -> Batch {
    Batch { session, first_sequence, records: tags.iter().copied().map(record).collect() }
}

async fn produce(way: &Way, lane: Lane, batch: Batch, txn: Option<(TxnId, Protocol)>) -> Answer {
    ask(way, lane, Request::Produce { partition: P0, batch, acks: true, txn }).await
}

async fn fetch(way: &Way, offset: Offset, isolation: Isolation) -> FetchReply {
    match ask(way, Lane::Rig, Request::Fetch { partition: P0, offset, isolation }).await {
        Ok(Response::Fetched(reply)) => reply,
        other => panic!("{other:?}"),
    }
}

/// Offsets and tags of everything fetched; markers by how they end.
fn shape(reply: &FetchReply) -> String {
    let batch = |batch: &onceness_reference::protocol::LogBatch| match &batch.body {
        Body::Marker(ending) => format!("{}:{ending:?}", batch.base),
        Body::Records(records) => {
            let one = |(offset, record): &(Offset, Option<Record>)| {
                format!(
                    "{offset}:{}",
                    record.map_or_else(|| "?".to_owned(), |record| record.tag.to_string())
                )
            };
            records.iter().map(one).collect::<Vec<_>>().join(" ")
        }
    };
    reply.batches.iter().map(batch).collect::<Vec<_>>().join(" | ")
}

async fn takes_batches_once(kafka: Kafka) {
    let way = room(&kafka).await;
    let session = init(&way, ME, None).await;
    let first = produce(&way, ME, batch(Some(session), 0, &[1, 2, 3]), None).await;
    assert_eq!(first, Ok(Response::Appended(Some(0))));
    let again = produce(&way, OTHER, batch(Some(session), 0, &[1, 2, 3]), None).await;
    assert_eq!(
        again,
        Ok(Response::Appended(Some(0))),
        "a duplicate is acknowledged with its first offset"
    );
    let gap = produce(&way, ME, batch(Some(session), 7, &[4]), None).await;
    assert_eq!(gap, Err(Code::OUT_OF_ORDER_SEQUENCE_NUMBER));
    let plain = produce(&way, ME, batch(None, -1, &[5, 6]), None).await;
    assert_eq!(plain, Ok(Response::Appended(Some(3))));
    let unacknowledged =
        Request::Produce { partition: P0, batch: batch(None, -1, &[7]), acks: false, txn: None };
    assert_eq!(ask(&way, ME, unacknowledged).await, Ok(Response::Done));
    way.cut(ME);
    // The rig waits until the broker has taken what it does not acknowledge.
    let reply = fetch(&way, 0, Isolation::ReadUncommitted).await;
    assert_eq!(shape(&reply), "0:r1 1:r2 2:r3 | 3:r5 4:r6 | 5:r7");
    assert_eq!((reply.high_watermark, reply.batches[0].last), (6, 2));
    assert_eq!(reply.batches[0].session, Some(session));
    let beyond = ask(
        &way,
        ME,
        Request::Fetch { partition: P0, offset: 9, isolation: Isolation::ReadUncommitted },
    );
    assert_eq!(beyond.await, Err(Code::OFFSET_OUT_OF_RANGE));
    drop(way);
    clean(&kafka).await;
}

async fn transactions(kafka: &Kafka, protocol: Protocol) {
    let way = room(kafka).await;
    let txn = Some((T0, protocol));
    let add = |session| Request::AddPartition { txn: T0, session, partition: P0 };
    let end = |session, ending| Request::EndTxn { txn: T0, session, ending, protocol };

    let session = init(&way, ME, Some(T0)).await;
    // Brokers check since 3.6, and say so in this way since 3.8.
    let checks = kafka.cluster.version::<ProduceRequest>((11, 11)).is_ok();
    if protocol == Protocol::Tv1 && checks {
        let early = produce(&way, ME, batch(Some(session), 0, &[1]), txn).await;
        assert_eq!(early, Err(Code::TRANSACTION_ABORTABLE), "TV1 adds partitions first");
    }
    if protocol == Protocol::Tv1 {
        assert_eq!(ask(&way, ME, add(session)).await, Ok(Response::Done));
    }
    assert_eq!(
        produce(&way, ME, batch(Some(session), 0, &[1]), txn).await,
        Ok(Response::Appended(Some(0)))
    );
    let open = fetch(&way, 0, Isolation::ReadCommitted).await;
    assert_eq!((shape(&open), open.last_stable, open.high_watermark), (String::new(), 0, 1));
    let aborted = ask(&way, ME, end(session, Ending::Abort)).await;
    let Ok(Response::Ended(next)) = aborted else { panic!("{aborted:?}") };
    assert_eq!(next.epoch > session.epoch, protocol == Protocol::Tv2, "{session:?} then {next:?}");

    let sequence = if protocol == Protocol::Tv2 { 0 } else { 1 };
    if protocol == Protocol::Tv1 {
        assert_eq!(ask(&way, ME, add(next)).await, Ok(Response::Done));
    }
    assert_eq!(
        produce(&way, ME, batch(Some(next), sequence, &[2, 3]), txn).await,
        Ok(Response::Appended(Some(2)))
    );

    // The positions of a group in the same transaction.
    let positions =
        Request::Positions { group: G0, partitions: vec![P0, Partition(1)], stable: true };
    let nowhere = vec![(P0, None), (Partition(1), None)];
    assert_eq!(ask(&way, ME, positions.clone()).await, Ok(Response::Positions(nowhere)));
    if protocol == Protocol::Tv1 {
        let add = Request::AddGroup { txn: T0, session: next, group: G0 };
        assert_eq!(ask(&way, ME, add).await, Ok(Response::Done));
    }
    let save = Request::SaveInTxn {
        txn: T0,
        session: next,
        protocol,
        group: G0,
        member: None,
        positions: vec![(P0, 17)],
    };
    assert_eq!(ask(&way, ME, save).await, Ok(Response::Done));
    let unstable = way.call(OTHER, &positions).await.expect("the broker answers");
    assert_eq!(unstable, Err(Code::UNSTABLE_OFFSET_COMMIT));
    let committed = ask(&way, ME, end(next, Ending::Commit)).await;
    let Ok(Response::Ended(last)) = committed else { panic!("{committed:?}") };
    let there = vec![(P0, Some(17)), (Partition(1), None)];
    assert_eq!(ask(&way, ME, positions).await, Ok(Response::Positions(there)));

    // The successor fences, and its start waits until the markers are written.
    let successor = init(&way, OTHER, Some(T0)).await;
    assert!(successor.producer == last.producer && successor.epoch > last.epoch);
    let zombie = ask(&way, ME, end(last, Ending::Commit)).await;
    assert!(
        matches!(zombie, Err(Code::PRODUCER_FENCED | Code::INVALID_PRODUCER_EPOCH)),
        "{zombie:?}"
    );
    let all = fetch(&way, 0, Isolation::ReadUncommitted).await;
    assert_eq!(shape(&all), "0:r1 | 1:Abort | 2:r2 3:r3 | 4:Commit");
    let visible = fetch(&way, 0, Isolation::ReadCommitted).await;
    assert_eq!(
        visible.aborted,
        vec![(session.producer, 0)],
        "the reader leaves out what was aborted"
    );
    assert_eq!((visible.last_stable, visible.high_watermark), (5, 5));
    drop(way);
}

async fn does_transactions(kafka: Kafka) {
    transactions(&kafka, Protocol::Tv1).await;
    if kafka.features().tv2 {
        transactions(&kafka, Protocol::Tv2).await;
    }
    clean(&kafka).await;
}

async fn fences_the_predecessor_in_a_group(kafka: Kafka) {
    let way = room(&kafka).await;
    let join = |lane| ask(&way, lane, Request::Join { group: G0 });
    let member = |joined: Answer| -> Member {
        match joined {
            Ok(Response::Joined(member)) => member,
            other => panic!("{other:?}"),
        }
    };
    let save = |lane, member: Option<&Member>, offset| {
        let positions = vec![(P0, offset)];
        ask(&way, lane, Request::Save { group: G0, member: member.cloned(), positions })
    };
    let first = member(join(ME).await);
    assert_eq!(save(ME, Some(&first), 3).await, Ok(Response::Done));
    let second = member(join(OTHER).await);
    assert_eq!(save(ME, Some(&first), 4).await, Err(Code::FENCED_INSTANCE_ID));
    assert_eq!(save(OTHER, Some(&second), 5).await, Ok(Response::Done));
    let positions = Request::Positions { group: G0, partitions: vec![P0], stable: true };
    assert_eq!(ask(&way, OTHER, positions).await, Ok(Response::Positions(vec![(P0, Some(5))])));

    let session = init(&way, ME, Some(T0)).await;
    let add = Request::AddGroup { txn: T0, session, group: G0 };
    assert_eq!(ask(&way, ME, add).await, Ok(Response::Done));
    let zombie = Request::SaveInTxn {
        txn: T0,
        session,
        protocol: Protocol::Tv1,
        group: G0,
        member: Some(first),
        positions: vec![(P0, 6)],
    };
    assert_eq!(ask(&way, ME, zombie).await, Err(Code::FENCED_INSTANCE_ID));
    drop(way);
    clean(&kafka).await;
}

async fn lends_rooms(kafka: Kafka) {
    kafka.prepare(100).await.expect("topics can be made");
    for _ in 0..100 {
        let way = room(&kafka).await;
        // Ready at once: nothing refuses because its leader does not know that it leads.
        let request =
            Request::Produce { partition: P0, batch: batch(None, -1, &[1]), acks: true, txn: None };
        assert_eq!(way.call(ME, &request).await, Ok(Ok(Response::Appended(Some(0)))));
    }
    let idle = kafka.cluster.idle_connections();
    assert!(idle < 10, "cases one after another share connections, but there are {idle}");
    clean(&kafka).await;
}

/// Cleans, and sees to it that nothing of the run is left.
async fn clean(kafka: &Kafka) {
    let groups = kafka.rooms.groups_noted();
    kafka.clean().await.expect("topics and groups can be deleted");
    for retry in 1.. {
        let request = MetadataRequest::default().with_topics(None);
        let all = kafka
            .cluster
            .ask(&kafka.cluster.any_broker(), &request)
            .await
            .expect("the broker answers");
        let names: BTreeSet<String> = all.topics.into_iter().map(|topic| topic.name).collect();
        let left: Vec<_> =
            names.iter().filter(|name| name.starts_with(kafka.rooms.prefix())).collect();
        if left.is_empty() {
            break;
        }
        // A broker hears of a deletion a little later than it answers.
        assert!(retry < 1_000, "left: {left:?}");
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    for group in groups {
        let name = GroupName(StrBytes::from_string(group.clone()));
        let request = DeleteGroupsRequest::default().with_groups_names(vec![name]);
        let home = match kafka.cluster.coordinator(Kind::Group, &group).await {
            Ok(Ok(node)) => kafka.cluster.broker(node).expect("a coordinator is a broker"),
            other => panic!("{other:?}"),
        };
        let again = kafka.cluster.ask(&home, &request).await.expect("the broker answers");
        assert_eq!(Code(again[0].code), Code::GROUP_ID_NOT_FOUND, "{group}");
    }
}
