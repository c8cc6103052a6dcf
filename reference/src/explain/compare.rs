//! What the model answers beside what the broker answered: the same, odd or different.

use super::Oddity;
use crate::code::Code;
use crate::plan::Isolation;
use crate::protocol::{Answer, Body, FetchReply, LogBatch, Request, Response};

/// How an answer fits the model's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fit {
    /// It is what the model says.
    Same,
    /// It keeps what is promised in another way than Kafka does: another error code, or less told than there is.
    Odd(Oddity),
    /// It breaks what is promised.
    Differs,
}

/// Compares the answers to a request.
pub(super) fn compare(request: &Request, model: &Answer, seen: &Answer) -> Fit {
    match (model, seen) {
        (Err(model), Err(seen)) if alike(*model) == alike(*seen) => Fit::Same,
        // Clients take it for a success: the whole batch is in the log (KAFKA-6683).
        (Err(_), Err(Code::DUPLICATE_SEQUENCE_NUMBER)) => Fit::Differs,
        (Err(model), Err(_)) => Fit::Odd(Oddity::Refused(*model)),
        (Ok(_), Err(_)) | (Err(_), Ok(_)) => Fit::Differs,
        // Who the members are called is the broker's choice.
        (Ok(Response::Joined(_)), Ok(Response::Joined(_))) => Fit::Same,
        (Ok(Response::Fetched(model)), Ok(Response::Fetched(seen))) => {
            fetched(request, model, seen)
        }
        (Ok(model), Ok(seen)) if model == seen => Fit::Same,
        (Ok(_), Ok(_)) => Fit::Differs,
    }
}

/// A broker may return less than there is, but nothing else, and must say of all of it what was aborted.
fn fetched(request: &Request, model: &FetchReply, seen: &FetchReply) -> Fit {
    let (Request::Fetch { isolation, .. } | Request::FetchByte { isolation, .. }) = request else {
        return Fit::Differs;
    };
    let too_far = seen.high_watermark > model.high_watermark
        || (seen.last_stable >= 0 && seen.last_stable > model.last_stable);
    let pairs = || seen.batches.iter().zip(&model.batches);
    let prefix = seen.batches.len() <= model.batches.len() && pairs().all(|(a, b)| is_same(a, b));
    if too_far || !prefix || !tells_aborted(*isolation, model, seen) {
        return Fit::Differs;
    }
    // Kafka takes the high watermark before it reads (`Partition.readRecords`): while somebody writes it may be behind what it tells.
    let behind = seen.high_watermark < model.high_watermark
        || (seen.last_stable >= 0 && seen.last_stable < model.last_stable);
    if seen.batches.is_empty() != model.batches.is_empty() {
        Fit::Odd(Oddity::Nothing)
    } else if behind {
        Fit::Odd(Oddity::Behind)
    } else if pairs().any(|(a, b)| a.session != b.session) {
        Fit::Odd(Oddity::Marker)
    } else {
        Fit::Same
    }
}

/// Of a marker that leaves offsets unused some brokers tell the last one, some do not; and its epoch is told to no client.
fn is_same(seen: &LogBatch, model: &LogBatch) -> bool {
    let producer = |batch: &LogBatch| batch.session.map(|session| session.producer);
    match (&seen.body, &model.body) {
        (Body::Marker(one), Body::Marker(other)) => {
            (seen.base, producer(seen), one) == (model.base, producer(model), other)
        }
        _ => seen == model,
    }
}

/// All aborted transactions that overlap what was returned must be listed (else aborted records are shown), and none that ended
/// before (else committed records of the same producer are hidden). Those that begin behind it do no harm.
fn tells_aborted(isolation: Isolation, model: &FetchReply, seen: &FetchReply) -> bool {
    if isolation == Isolation::ReadUncommitted {
        return true;
    }
    // Of nothing nothing has to be told.
    let last = seen.batches.last().map_or(-1, |batch| batch.last);
    let needed = model.aborted.iter().filter(|(_, first)| *first <= last);
    needed.clone().all(|one| seen.aborted.contains(one))
        && (seen.aborted.iter()).all(|one| one.1 > last || model.aborted.contains(one))
}

/// Newer clients are told in a word of its own that a partition is outside of the transaction (KIP-890).
fn alike(code: Code) -> Code {
    match code {
        Code::TRANSACTION_ABORTABLE => Code::INVALID_TXN_STATE,
        code => code,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::Partition;
    use crate::protocol::{Ending, Session};

    /// Batches of one record, and markers.
    fn log(batches: &[(i64, Body)]) -> Vec<LogBatch> {
        let batch = |(base, body): &(i64, Body)| LogBatch {
            base: *base,
            last: *base,
            session: Some(Session { producer: 7, epoch: 0 }),
            first_sequence: 0,
            transactional: true,
            body: body.clone(),
        };
        batches.iter().map(batch).collect()
    }

    fn records() -> Body {
        Body::Records(Vec::new())
    }

    /// What is the end of everything, what is the end of what is stable, how many batches, and what was aborted.
    fn reply(
        high_watermark: i64,
        last_stable: i64,
        batches: i64,
        aborted: &[(i64, i64)],
    ) -> FetchReply {
        let batches: Vec<(i64, Body)> = (0..batches).map(|base| (base, records())).collect();
        FetchReply {
            high_watermark,
            last_stable,
            aborted: aborted.to_vec(),
            batches: log(&batches),
        }
    }

    fn fit(isolation: Isolation, model: FetchReply, seen: FetchReply) -> Fit {
        let request = Request::Fetch { partition: Partition(0), offset: 0, isolation };
        compare(&request, &Ok(Response::Fetched(model)), &Ok(Response::Fetched(seen)))
    }

    #[test]
    fn a_fetch_may_return_less_and_be_behind_but_never_ahead() {
        let model = || reply(4, 3, 2, &[]);
        for (seen, wanted) in [
            (reply(4, 3, 2, &[]), Fit::Same),
            (reply(4, 3, 1, &[]), Fit::Same),
            (reply(4, -1, 2, &[]), Fit::Same),
            (reply(4, 3, 0, &[]), Fit::Odd(Oddity::Nothing)),
            (reply(3, 3, 2, &[]), Fit::Odd(Oddity::Behind)),
            (reply(4, 2, 2, &[]), Fit::Odd(Oddity::Behind)),
            (reply(5, 3, 2, &[]), Fit::Differs),
            (reply(4, 4, 2, &[]), Fit::Differs),
            (reply(4, 3, 3, &[]), Fit::Differs),
        ] {
            let story = format!("{seen:?}");
            assert_eq!(fit(Isolation::ReadUncommitted, model(), seen), wanted, "{story}");
        }
    }

    #[test]
    fn what_it_returns_is_what_there_is() {
        let reply = |batches: &[(i64, Body)]| FetchReply {
            high_watermark: 2,
            last_stable: 2,
            aborted: Vec::new(),
            batches: log(batches),
        };
        let marker = |ending| vec![(0, records()), (1, Body::Marker(ending))];
        let model = || reply(&marker(Ending::Commit));
        let differs = |seen| fit(Isolation::ReadCommitted, model(), seen) == Fit::Differs;
        assert!(differs(reply(&marker(Ending::Abort))));
        assert!(differs(reply(&[(0, records()), (1, records())])));
        assert!(differs(reply(&[(1, records())])));
        let mut burned = model();
        burned.batches[1].last = 2;
        assert!(!differs(burned));
        let mut other_epoch = model();
        other_epoch.batches[1].session = Some(Session { producer: 7, epoch: 1 });
        let odd = fit(Isolation::ReadCommitted, model(), other_epoch);
        assert_eq!(odd, Fit::Odd(Oddity::Marker));
        let mut other_producer = model();
        other_producer.batches[1].session = Some(Session { producer: 8, epoch: 0 });
        assert!(differs(other_producer));
        let mut longer = model();
        longer.batches[0].last = 1;
        assert!(differs(longer));
    }

    /// Told is what overlaps with what is returned, at least of that, and of what ended before nothing.
    #[test]
    fn a_fetch_tells_what_was_aborted() {
        let mine = (7, 0);
        let (inside, behind, before, at_last) = ((8, 1), (8, 2), (9, 0), (9, 1));
        for (batches, told, wanted) in [
            (2, vec![mine, inside], Fit::Same),
            (2, vec![mine, inside, behind], Fit::Same),
            (2, vec![mine], Fit::Differs),
            (2, vec![], Fit::Differs),
            (2, vec![mine, inside, before], Fit::Differs),
            (2, vec![mine, inside, at_last], Fit::Differs),
            (1, vec![mine], Fit::Same),
            (1, vec![mine, inside], Fit::Same),
            (1, vec![mine, (8, 7)], Fit::Same),
            (0, vec![], Fit::Odd(Oddity::Nothing)),
        ] {
            let model = reply(3, 3, 2, &[mine, inside]);
            let seen = reply(3, 3, batches, &told);
            let story = format!("{batches} batches, {told:?}");
            let fits = fit(Isolation::ReadCommitted, model, seen);
            assert_eq!(fits, wanted, "{story}");
        }
        let ignored = fit(Isolation::ReadUncommitted, reply(3, 3, 2, &[mine]), reply(3, 3, 2, &[]));
        assert_eq!(ignored, Fit::Same);
    }
}
