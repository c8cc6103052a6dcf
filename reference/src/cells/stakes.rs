//! What is at stake in each cell: the clauses that an answer there can break.

use super::{
    Allowed, Found, From, Known, Landed, Listed, Member, Named, Retry, Sequence, Standing, Whose,
    Within,
};

type Ids = &'static [&'static str];

const NONE: Ids = &[];

const EMPTY: u8 = Standing::Empty as u8;
const ONGOING: u8 = Standing::Ongoing as u8;
const PREPARE_COMMIT: u8 = Standing::PrepareCommit as u8;
const PREPARE_ABORT: u8 = Standing::PrepareAbort as u8;
const COMPLETE_COMMIT: u8 = Standing::CompleteCommit as u8;
const COMPLETE_ABORT: u8 = Standing::CompleteAbort as u8;
const FURTHER: u8 = Standing::Further as u8;
const UNKNOWN: u8 = Standing::Unknown as u8;
const USED_UP: u8 = Standing::UsedUp as u8;

const PRESENT: u8 = Whose::Present as u8;
const OLDER: u8 = Whose::Older as u8;

pub(super) fn init(row: u8, column: u8) -> Ids {
    const NOBODY: u8 = Named::Nobody as u8;
    match (row, column) {
        (FURTHER, _) => &["DED-01"],
        (USED_UP, NOBODY) => &["TXN-01", "TXN-05"],
        (USED_UP, _) => &["TXN-03", "TXN-05"],
        (PREPARE_COMMIT | PREPARE_ABORT, NOBODY) => &["TXN-25"],
        (PREPARE_COMMIT | PREPARE_ABORT, _) => &["TXN-03", "TXN-25"],
        (ONGOING, NOBODY) => &["TXN-02"],
        (UNKNOWN, NOBODY) => NONE,
        (_, NOBODY) => &["TXN-01"],
        _ => &["TXN-03"],
    }
}

pub(super) fn add(row: u8, column: u8) -> Ids {
    match (row, column) {
        (PREPARE_COMMIT | PREPARE_ABORT, PRESENT) => &["TXN-06", "TXN-25"],
        (_, OLDER) => &["TXN-01", "TXN-06"],
        _ => &["TXN-06"],
    }
}

pub(super) fn join_partition(row: u8, column: u8) -> Ids {
    match (row, column) {
        (PREPARE_COMMIT | PREPARE_ABORT, PRESENT) => &["TXN-06", "TXN-07", "TXN-25"],
        (_, OLDER) => &["TXN-01", "TXN-07", "TXN-20"],
        _ => &["TXN-06", "TXN-07"],
    }
}

pub(super) fn verify_partition(row: u8, column: u8) -> Ids {
    match (row, column) {
        (PREPARE_COMMIT | PREPARE_ABORT, PRESENT) => &["TXN-07", "TXN-25"],
        (_, OLDER) => &["TXN-01", "TXN-07"],
        _ => &["TXN-07"],
    }
}

pub(super) fn admit_group(row: u8, column: u8) -> Ids {
    match (row, column) {
        (PREPARE_COMMIT | PREPARE_ABORT, PRESENT) => &["OFF-08", "TXN-25"],
        (_, OLDER) => &["OFF-08", "OFF-09", "TXN-01"],
        _ => &["OFF-08"],
    }
}

pub(super) fn end_tv1(row: u8, column: u8) -> Ids {
    const OF_OLDER: u8 = Whose::Older as u8 + 1;
    match (row, column) {
        (EMPTY, 0 | 1) => &["TXN-23"],
        (PREPARE_COMMIT | PREPARE_ABORT, 0 | 1) => &["TXN-10", "TXN-25"],
        (COMPLETE_COMMIT | COMPLETE_ABORT, 0 | 1) => &["TXN-10"],
        (_, OF_OLDER) => &["TXN-01"],
        _ => NONE,
    }
}

pub(super) fn end_tv2(row: u8, column: u8) -> Ids {
    const COMMIT: u8 = Retry::No as u8;
    const COMMIT_AGAIN: u8 = Retry::Yes as u8;
    const ABORT: u8 = Retry::No as u8 + 2;
    const ABORT_AGAIN: u8 = Retry::Yes as u8 + 2;
    const OTHER_EPOCH: u8 = Retry::OtherEpoch as u8;
    match (row, column) {
        (EMPTY | COMPLETE_COMMIT | COMPLETE_ABORT, COMMIT | ABORT) => &["TXN-20", "TXN-23"],
        (ONGOING, COMMIT | ABORT) => &["TXN-20"],
        (PREPARE_COMMIT | PREPARE_ABORT, COMMIT_AGAIN | ABORT_AGAIN) => &["TXN-10", "TXN-25"],
        (COMPLETE_COMMIT | COMPLETE_ABORT, COMMIT_AGAIN | ABORT_AGAIN) => &["TXN-10"],
        (EMPTY | ONGOING, COMMIT_AGAIN | ABORT_AGAIN) | (_, OTHER_EPOCH) => &["TXN-01", "TXN-20"],
        _ => NONE,
    }
}

const NEXT: u8 = Sequence::Next as u8;
const NEXT_ROUND: u8 = Sequence::NextRound as u8;
const DUPLICATE: u8 = Sequence::Duplicate as u8;
const OTHER_RECORDS: u8 = Sequence::OtherRecords as u8;
const OLD_DUPLICATE: u8 = Sequence::OldDuplicate as u8;
const OVERLAP: u8 = Sequence::Overlap as u8;
const GAP: u8 = Sequence::Gap as u8;
const NOTHING: u8 = Known::Nothing as u8;
const IN_TRANSACTION: u8 = Known::InTransaction as u8;
const OLDER_EPOCH: u8 = Known::OlderEpoch as u8;
const NEWER_EPOCH: u8 = Known::NewerEpoch as u8;
const NOBODY: u8 = Known::Nobody as u8;

pub(super) fn plain(row: u8, column: u8) -> Ids {
    match (row, column) {
        (NOBODY, _) => &["DED-18", "LOG-01", "LOG-25"],
        (NEWER_EPOCH, _) => &["DED-10"],
        (OLDER_EPOCH, NEXT) => &["DED-20", "LOG-01", "LOG-25"],
        (IN_TRANSACTION, NEXT | NEXT_ROUND) => &["TXN-08"],
        _ => sequence(row, column),
    }
}

pub(super) fn in_txn_tv1(row: u8, column: u8) -> Ids {
    match row {
        NEWER_EPOCH => &["DED-10", "TXN-01"],
        _ => sequence(row, column),
    }
}

pub(super) fn in_txn_tv2(row: u8, column: u8) -> Ids {
    match row {
        NEWER_EPOCH => &["DED-10", "TXN-01", "TXN-20"],
        _ => sequence(row, column),
    }
}

fn sequence(row: u8, column: u8) -> Ids {
    match (row, column) {
        (OLDER_EPOCH, GAP) => &["DED-09"],
        (NOTHING, GAP) => &["DED-02"],
        (NOTHING, NEXT_ROUND) => &["DED-02", "DED-08"],
        (_, NEXT) => &["LOG-01", "LOG-25"],
        (_, NEXT_ROUND) => &["DED-08", "LOG-01", "LOG-25"],
        (_, DUPLICATE) => &["DED-04", "DED-12", "LOG-25"],
        (_, OTHER_RECORDS) => &["DED-04", "DED-07"],
        (_, OLD_DUPLICATE) => &["DED-05"],
        (_, OVERLAP) => &["DED-03", "DED-06"],
        (_, GAP) => &["DED-03"],
        _ => NONE,
    }
}

pub(super) fn malformed(_: u8, column: u8) -> Ids {
    const ACKS: u8 = 6;
    match column {
        ACKS => &["LOG-13"],
        _ => &["LOG-22"],
    }
}

pub(super) fn save(_: u8, column: u8) -> Ids {
    const OTHER_GENERATION: u8 = Member::OtherGeneration as u8;
    const REPLACED: u8 = Member::Replaced as u8;
    const STRANGER: u8 = Member::Stranger as u8;
    match column {
        OTHER_GENERATION | REPLACED | STRANGER => &["OFF-10"],
        _ => NONE,
    }
}

pub(super) fn positions(row: u8, column: u8) -> Ids {
    const NOTHING: u8 = Found::Nothing as u8;
    const OVERTAKEN: u8 = Found::Overtaken as u8;
    const PENDING: u8 = Found::Pending as u8;
    const ANY: u8 = Allowed::Any as u8;
    match (row, column) {
        (NOTHING, _) => &["OFF-02"],
        (OVERTAKEN, _) => &["OFF-01", "OFF-06"],
        (PENDING, ANY) => &["OFF-01", "OFF-03"],
        (PENDING, _) => &["OFF-03"],
        _ => &["OFF-01"],
    }
}

pub(super) fn fetch(row: u8, column: u8) -> Ids {
    const BEFORE: u8 = Landed::Before as u8;
    const INSIDE: u8 = Landed::Inside as u8;
    const UNSTABLE: u8 = Landed::Unstable as u8;
    const END: u8 = Landed::End as u8;
    const BEYOND: u8 = Landed::Beyond as u8;
    const COMMITTED: u8 = From::Committed as u8;
    const ONE_BYTE: u8 = From::OneByte as u8;
    match (row, column) {
        (UNSTABLE, COMMITTED) => &["ISO-02", "LOG-16"],
        (BEFORE | BEYOND | END, _) => &["LOG-16"],
        (INSIDE, ONE_BYTE) => &["LOG-17", "LOG-18"],
        (_, ONE_BYTE) => &["LOG-18"],
        (INSIDE, _) => &["LOG-03", "LOG-04", "LOG-17"],
        _ => &["LOG-03", "LOG-04"],
    }
}

pub(super) fn content(row: u8, column: u8) -> Ids {
    const PLAIN: u8 = Within::Plain as u8;
    const ENDED: u8 = Within::Committed as u8;
    const OPEN: u8 = Within::Open as u8;
    const ABORTED: u8 = Within::Aborted as u8;
    const COMMITTED: u8 = From::Committed as u8;
    match (row, column) {
        (PLAIN, _) => &["LOG-04"],
        (ENDED, _) => &["TXN-13", "TXN-14"],
        (OPEN, COMMITTED) => &["ISO-02", "ISO-03", "ISO-07"],
        (OPEN, _) => &["ISO-04"],
        (ABORTED, COMMITTED) => &["ISO-06", "TXN-13", "TXN-14"],
        (ABORTED, _) => &["ISO-04", "TXN-13", "TXN-14"],
        (_, COMMITTED) => &["ISO-02", "ISO-03", "ISO-06", "ISO-07", "TXN-13", "TXN-24"],
        _ => &["ISO-04", "TXN-13", "TXN-24"],
    }
}

pub(super) fn list(row: u8, column: u8) -> Ids {
    const STABLE: u8 = Listed::Stable as u8;
    match (row, column) {
        (1, STABLE) => &["ISO-03", "ISO-13", "LOG-19"],
        (_, STABLE) => &["ISO-13", "LOG-19"],
        _ => &["LOG-19"],
    }
}
