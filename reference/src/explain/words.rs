//! Requests and answers in words, for people who know the protocol.

use crate::ids::{Offset, Partition};
use crate::plan::{Isolation, Protocol};
use crate::protocol::{Answer, Batch, Body, Ending, LogBatch, Member, Request, Response, Session};

/// A request, such as "Produce to p0: producer 7 epoch 0 sequence 3, 2 records".
pub fn request(request: &Request) -> String {
    let name = request.name();
    match request {
        Request::InitProducer { txn: None, .. } => name.to_owned(),
        Request::InitProducer { txn: Some(txn), expected: None } => format!("{name} of {txn}"),
        Request::InitProducer { txn: Some(txn), expected: Some(session) } => {
            format!("{name} of {txn}, as {}", of(session))
        }
        Request::AddPartition { txn, session, partition } => {
            format!("{name}: {partition} to {txn}, by {}", of(session))
        }
        Request::AddGroup { txn, session, group } => {
            format!("{name}: {group} to {txn}, by {}", of(session))
        }
        Request::Produce { partition, batch, acks, txn } => {
            let acks = if *acks { "" } else { ", acks=0" };
            let txn = txn.map(|(txn, protocol)| format!(", in {txn} ({})", version(protocol)));
            format!("{name} to {partition}: {}{}{acks}", batch_of(batch), txn.unwrap_or_default())
        }
        Request::Malformed { flaw, partition, batch, .. } => {
            format!("{name} to {partition}, spoilt ({flaw:?}): {}", batch_of(batch))
        }
        Request::EndTxn { txn, session, ending, protocol } => {
            let ending = self::ending(*ending);
            format!("{name} of {txn} ({}): {ending}, by {}", version(*protocol), of(session))
        }
        Request::SaveInTxn { txn, session, group, member, positions, .. } => format!(
            "{name} of {group} in {txn}: {}, by {}{}",
            positions_of(positions.iter().map(|(partition, offset)| (*partition, Some(*offset)))),
            of(session),
            member_of(member.as_ref())
        ),
        Request::Save { group, member, positions } => format!(
            "{name} of {group}: {}{}",
            positions_of(positions.iter().map(|(partition, offset)| (*partition, Some(*offset)))),
            member_of(member.as_ref())
        ),
        Request::Positions { group, stable, .. } => {
            format!("{name} of {group}{}", if *stable { ", stable" } else { "" })
        }
        Request::Join { group } => format!("{name} of {group}"),
        Request::Fetch { partition, offset, isolation } => {
            format!("{name} of {partition} from {offset} at {}", level(*isolation))
        }
        Request::FetchByte { partition, offset, isolation } => {
            format!("{name} of {partition} from {offset} at {}, of one byte", level(*isolation))
        }
        Request::ListOffsets { partition, earliest, isolation } => {
            let which = if *earliest { "first" } else { "last" };
            format!("{name} of {partition}: the {which} at {}", level(*isolation))
        }
    }
}

/// An answer, such as "appended at 3" or "refused with OUT_OF_ORDER_SEQUENCE_NUMBER (45)".
pub fn answer(answer: &Answer) -> String {
    match answer {
        Err(code) => format!("refused with {code}"),
        Ok(Response::Producer(session)) => of(session),
        Ok(Response::Ended(session)) => format!("ended, {} goes on", of(session)),
        Ok(Response::Appended(Some(offset))) => format!("appended at {offset}"),
        Ok(Response::Appended(None)) => "appended, without an offset".to_owned(),
        Ok(Response::Positions(positions)) => positions_of(positions.iter().copied()),
        Ok(Response::Joined(member)) => format!("joined, generation {}", member.generation),
        Ok(Response::Listed(offset)) => format!("offset {offset}"),
        Ok(Response::Fetched(reply)) => {
            let batches = reply.batches.iter().map(stored);
            let batches: Vec<String> = batches.collect();
            let aborted = reply.aborted.iter().map(|(one, first)| format!("{one} from {first}"));
            let aborted: Vec<String> = aborted.collect();
            format!(
                "[{}], high watermark {}, last stable offset {}, aborted [{}]",
                batches.join(", "),
                reply.high_watermark,
                reply.last_stable,
                aborted.join(", ")
            )
        }
        Ok(Response::Done) => "done".to_owned(),
    }
}

/// A batch of the log: `3 r5 r6 of 7/0` is by producer 7 in epoch 0, `4 commit of 7/0` a marker.
fn stored(batch: &LogBatch) -> String {
    let mut words = batch.base.to_string();
    match &batch.body {
        Body::Marker(Ending::Commit) => words += " commit",
        Body::Marker(Ending::Abort) => words += " abort",
        Body::Records(records) => {
            for (_, record) in records {
                let tag = record.as_ref().map(|record| record.tag.to_string());
                words += &format!(" {}", tag.as_deref().unwrap_or("?"));
            }
        }
    }
    if let Some(session) = batch.session {
        words += &format!(" of {}/{}", session.producer, session.epoch);
    }
    words
}

fn of(session: &Session) -> String {
    format!("producer {} epoch {}", session.producer, session.epoch)
}

fn batch_of(batch: &Batch) -> String {
    let records = match batch.records.len() {
        1 => "1 record".to_owned(),
        several => format!("{several} records"),
    };
    match batch.session {
        Some(session) => format!("{} sequence {}, {records}", of(&session), batch.first_sequence),
        None => records,
    }
}

fn positions_of(positions: impl Iterator<Item = (Partition, Option<Offset>)>) -> String {
    let told = positions.map(|(partition, offset)| match offset {
        Some(offset) => format!("{partition} at {offset}"),
        None => format!("{partition} nowhere"),
    });
    told.collect::<Vec<_>>().join(", ")
}

fn member_of(member: Option<&Member>) -> String {
    member.map_or_else(String::new, |member| {
        format!(", as a member of generation {}", member.generation)
    })
}

fn ending(ending: Ending) -> &'static str {
    match ending {
        Ending::Commit => "commit",
        Ending::Abort => "abort",
    }
}

fn version(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Tv1 => "TV1",
        Protocol::Tv2 => "TV2",
    }
}

fn level(isolation: Isolation) -> &'static str {
    match isolation {
        Isolation::ReadCommitted => "read_committed",
        Isolation::ReadUncommitted => "read_uncommitted",
    }
}
