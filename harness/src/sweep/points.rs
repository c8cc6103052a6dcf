//! The eleven points at which a read-process-write loop can be struck, and what has to come of each.
//!
//! The contestable decision: a point is only ever called visited by what the history shows. The two points that lie inside
//! the broker, between its answer and its markers, are exact on a broker that can be looked into and approximated elsewhere.

use std::fmt;

use onceness_reference::plan::{Client, Op, Plan, Protocol, Saving, Step};
use serde::Serialize;

use super::boundary::{Place, Stage, Which};

/// A point of the loop.
#[derive(Debug)]
pub struct Point {
    /// 1 to 11, in the order of the loop.
    pub number: u8,
    /// Where it is.
    pub name: &'static str,
    /// What has to come of a crash there.
    pub expected: Expected,
    /// Why.
    pub why: &'static str,
    /// Where that is written.
    pub source: &'static str,
}

/// What has to come of a crash at a point.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Expected {
    /// The transaction is undone: old position, its output never visible, its inputs processed once more.
    Undone,
    /// The transaction counts: new position, its output visible once, its inputs not processed again.
    Done,
}

const fn undone(number: u8, name: &'static str, why: &'static str, source: &'static str) -> Point {
    Point { number, name, expected: Expected::Undone, why, source }
}

const fn done(number: u8, name: &'static str, why: &'static str, source: &'static str) -> Point {
    Point { number, name, expected: Expected::Done, why, source }
}

/// All of them.
pub const POINTS: [Point; 11] = [
    undone(1, "after the poll", "reading changes nothing", "KIP-98, Using Transactions"),
    undone(2, "after the begin", "a begin sends nothing", "KIP-98, beginTransaction"),
    undone(
        3,
        "after AddPartitionsToTxn",
        "the successor's InitProducerId aborts what is open; in TV2 the first write adds the partition, so this is no point of its own",
        "KIP-98 4.1; KIP-890",
    ),
    undone(
        4,
        "after some outputs are appended",
        "what was appended gets an abort marker",
        "KIP-98 4.2; TransactionCoordinator.initTransactionalId",
    ),
    undone(
        5,
        "after AddOffsetsToTxn",
        "the group belongs to the transaction, and nothing is saved yet; in TV2 the save adds the group, so this is no point of its own",
        "KIP-98 4.3; KIP-890",
    ),
    undone(
        6,
        "after TxnOffsetCommit",
        "a saved position waits for the transaction, and an abort drops it",
        "KIP-98 4.4; OffsetMetadataManager",
    ),
    undone(
        7,
        "EndTxn sent, not applied",
        "a request that never arrives decides nothing",
        "KIP-98 5.1",
    ),
    done(
        8,
        "EndTxn applied, answer lost",
        "the coordinator's log decides, not the answer",
        "KIP-98 5.1; TransactionCoordinator.endTransaction",
    ),
    done(
        9,
        "after EndTxn's answer, before the markers",
        "a decided transaction is completed by whoever coordinates it next",
        "KIP-98 5.2; TransactionMarkerChannelManager",
    ),
    done(
        10,
        "between data marker and offset marker",
        "markers that are missing are sent again until all are there",
        "KIP-98 5.2; OffsetMetadataManager.completeTransaction",
    ),
    done(
        11,
        "after completion, before the next poll",
        "the successor starts from the position that the transaction saved",
        "KIP-98 5.3; KIP-447",
    ),
];

/// The point of that number.
pub fn point(number: u8) -> Option<&'static Point> {
    POINTS.iter().find(|point| point.number == number)
}

/// Which point a boundary of a loop is, by the step, and the step of the same client before it.
pub(super) fn number_of(
    client: &Client,
    before: Option<&Op>,
    step: &Step,
    place: Place,
    prepared: bool,
) -> Option<u8> {
    if !is_loop(client) {
        return None;
    }
    let writes = matches!(step.op, Op::Send { .. } | Op::Forward { .. });
    let saves = step.op == Op::SaveInTransaction;
    let commits = step.op == Op::Commit;
    let first_of_tv1 = prepared && client.protocol() == Some(Protocol::Tv1);
    match place {
        Place::Before => match before? {
            Op::Poll { .. } if step.op == Op::Begin => Some(1),
            Op::Begin => Some(2),
            Op::Send { .. } | Op::Forward { .. } => Some(4),
            Op::SaveInTransaction => Some(6),
            _ => None,
        },
        Place::Lost(Which::Main) if writes && first_of_tv1 => Some(3),
        Place::Lost(Which::Main) if saves && first_of_tv1 => Some(5),
        Place::Lost(Which::Main) if commits => Some(7),
        Place::Applied(Which::Main) if writes => Some(4),
        Place::Applied(Which::Main) if saves => Some(6),
        Place::Applied(Which::Main) if commits => Some(8),
        Place::After(Stage::Unmarked) => Some(9),
        Place::After(Stage::HalfMarked) => Some(10),
        Place::After(Stage::Complete) => Some(11),
        _ => None,
    }
}

/// Whether a point can be a boundary of its own in a plan.
pub(crate) fn exists(number: u8, plan: &Plan) -> bool {
    let loops: Vec<&Client> = plan.clients.iter().filter(|client| is_loop(client)).collect();
    let tv1 = loops.iter().any(|client| client.protocol() == Some(Protocol::Tv1));
    !loops.is_empty() && (tv1 || !matches!(number, 3 | 5))
}

/// Whether a client is an instance of a read-process-write loop.
pub(crate) fn is_loop(client: &Client) -> bool {
    client.consumer.as_ref().is_some_and(|consumer| consumer.saving == Saving::InTransaction)
}

impl fmt::Display for Expected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Expected::Undone => "old position, output hidden, inputs processed once more",
            Expected::Done => "new position, output visible once",
        })
    }
}
