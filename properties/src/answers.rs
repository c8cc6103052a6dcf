//! Every answer is one that some correct broker gives to what it was asked, after all that it was asked before.
//!
//! This is the second judge, who asks the model.
//!
//! All other properties know the history alone and never the model, so that two judges who share no code must both be wrong
//! before a broken broker is believed. This one is the model at work (`onceness_reference::explain`): it sees every request and
//! answer, those of forgers too, and is exact where the others must be patient.
//!
//! Source: LOG-01, LOG-03, LOG-04, LOG-13, LOG-16, LOG-17, LOG-18, LOG-19, LOG-22, LOG-25, DED-01, DED-02, DED-03, DED-04,
//! DED-05, DED-06, DED-07, DED-08, DED-09, DED-10, DED-11, DED-12, DED-14, DED-18, DED-20, TXN-01, TXN-02, TXN-03, TXN-05,
//! TXN-06, TXN-07, TXN-08, TXN-10, TXN-13, TXN-14, TXN-16, TXN-20, TXN-23, TXN-24, TXN-25, ISO-02, ISO-03, ISO-04, ISO-06,
//! ISO-07, ISO-13, OFF-01, OFF-02, OFF-03, OFF-04, OFF-05, OFF-06, OFF-08, OFF-09, OFF-10.
//!
//! Witness: every answer to a request of the protocol, also one that was hidden from the client.
//!
//! Not claimed: anything after so much was lost that too much is possible; other error codes than Kafka's for what is refused
//! (a deviation, as is the breach of a clause that is a SHOULD); that refusals for the moment end. Nor that a broker chooses as
//! Kafka's latest does: what it chooses otherwise is noted, in the words of `onceness_reference::choices`.

use onceness_reference::cells::Cell;
use onceness_reference::choices::unlike_default;
use onceness_reference::clauses::{self, Clause, Level};
use onceness_reference::exchanges::{Exchange, Lane};
use onceness_reference::explain::{Accusation, Odd, Oddity, explain, words};
use onceness_reference::features::Features;
use onceness_reference::history::{Event, History};
use onceness_reference::ids::ClientId;
use onceness_reference::plan::Isolation;
use onceness_reference::protocol::{Answer, FetchReply, Request, Response};
use onceness_reference::rules::Rules;

use crate::facts::{At, Facts, NEVER};
use crate::watch::Watch;
use crate::{Claim, Findings, Property};

/// No story tells more different answers of correct brokers than this.
const INSTEAD_MAX: usize = 3;

pub(crate) const PROPERTY: Property = Property {
    name: "answers",
    claims: &[Claim::AtLeastOnce, Claim::Idempotent, Claim::Transactional],
    promise: "Every answer is one that some correct broker gives to what it was asked, after all that it was asked before.",
    source: "LOG-01, LOG-03, LOG-04, LOG-13, LOG-16, LOG-17, LOG-18, LOG-19, LOG-22, LOG-25, DED-01, DED-02, \
             DED-03, DED-04, DED-05, DED-06, DED-07, DED-08, DED-09, DED-10, DED-11, DED-12, DED-14, DED-18, \
             DED-20, TXN-01, TXN-02, TXN-03, TXN-05, TXN-06, TXN-07, TXN-08, TXN-10, TXN-13, TXN-14, TXN-16, \
             TXN-20, TXN-23, TXN-24, TXN-25, ISO-02, ISO-03, ISO-04, ISO-06, ISO-07, ISO-13, OFF-01, OFF-02, \
             OFF-03, OFF-04, OFF-05, OFF-06, OFF-08, OFF-09, OFF-10",
    witness: "every answer to a request of the protocol, also one that was hidden from the client",
    not_claimed: "anything after too much was lost; other codes than Kafka's for what is refused; that refusals for the moment end",
    needs: |_, features: Features| features.forging,
    watch: || Box::new(Answers),
};

struct Answers;

impl Watch for Answers {
    fn rest(&mut self, facts: &Facts<'_>, findings: &mut Findings) {
        let history = facts.history;
        if history.exchanges.is_empty() {
            return;
        }
        let explained = explain(history, Rules::default());
        let claim_of = |request: u32| asked(history, request).map_or(Claim::AtLeastOnce, claim);
        for request in &explained.judged {
            findings.tested(claim_of(*request));
        }
        for (request, cell) in &explained.cells {
            findings.kept_in(claim_of(*request), *cell);
        }
        findings.note(Claim::Transactional, "answers not judged", explained.unjudged);
        for odd in &explained.odd {
            deviate(history, odd, findings);
        }
        for choice in unlike_default(&explained.rules) {
            findings.note(Claim::Transactional, choice, 1);
        }
        if let Some(accusation) = &explained.accusation {
            accuse(history, accusation, findings);
        }
    }
}

fn accuse(history: &History, accusation: &Accusation, findings: &mut Findings) {
    let Some(request) = asked(history, accusation.request) else { return };
    let proof = |but: &str| {
        let instead = accusation.instead.iter().take(INSTEAD_MAX).map(words::answer);
        let instead = instead.collect::<Vec<_>>().join("\" or \"");
        let story =
            format!("{}, but {but} \"{instead}\"", exchanged(history, accusation.request, request));
        (evidence(history, accusation.request), story)
    };
    match should(&accusation.cells) {
        Some(clause) => {
            let what = format!(
                "{}, a SHOULD, is not kept: {}",
                clause.id,
                clause.statement.trim_end_matches('.')
            );
            findings.deviate(claim(request), what, false, || proof("should be"));
        }
        None => {
            findings.broken_in(claim(request), &accusation.cells);
            findings.accuse(claim(request), None, || proof("a correct broker answers"));
            let what = wrong(request, answer(history, accusation.request), &accusation.instead);
            findings.deviate(claim(request), what, true, || proof("a correct broker answers"));
        }
    }
}

/// The kind of answer that no correct broker gives.
fn wrong(request: &Request, seen: Option<&Answer>, instead: &[Answer]) -> String {
    let name = request.name();
    match (seen, instead) {
        (Some(Err(code)), _) => format!("{name} refused with {code}"),
        (_, [Err(code)]) => format!("{name} done where a correct broker refuses with {code}"),
        _ => format!("{name} answered with what is not so"),
    }
}

/// The clause that was at stake, if nothing else was, and it is one that brokers should keep and need not.
fn should(cells: &[Cell]) -> Option<&'static Clause> {
    let mut at_stake = cells.iter().flat_map(|cell| cell.clauses());
    let first = clauses::find(at_stake.next()?)?;
    let alone = cells.iter().all(|cell| cell.clauses() == [first.id]);
    (alone && first.level == Level::Should).then_some(first)
}

fn deviate(history: &History, odd: &Odd, findings: &mut Findings) {
    let (Some(request), Some(seen)) = (asked(history, odd.request), answer(history, odd.request))
    else {
        return;
    };
    let name = request.name();
    let (what, instead) = match (odd.how, seen) {
        (Oddity::Refused(kafka), Err(code)) => {
            let kafka = format!("Kafka refuses with {kafka}");
            (format!("{name} refused with {code} where {kafka}"), format!("; {kafka}"))
        }
        (Oddity::Behind, Ok(Response::Fetched(reply))) if is_behind_itself(reply) => {
            (format!("{name} whose high watermark is behind what it returns"), String::new())
        }
        (Oddity::Behind | Oddity::Refused(_), _) => {
            (format!("{name} whose end of all, or of what is stable, is too low"), String::new())
        }
        (Oddity::Nothing, _) => {
            (format!("{name} that returns nothing where there is something"), String::new())
        }
        (Oddity::Marker, _) => {
            (format!("{name} of a marker with another epoch than Kafka's"), String::new())
        }
    };
    findings.deviate(claim(request), what, false, || {
        let story = exchanged(history, odd.request, request) + &instead;
        (evidence(history, odd.request), story)
    });
}

/// Kafka takes the watermark before it reads (`Partition.readRecords`), so that it may be older than what was read.
fn is_behind_itself(reply: &FetchReply) -> bool {
    reply.batches.last().is_some_and(|batch| batch.last >= reply.high_watermark)
}

/// Who asked what, and was answered what.
fn exchanged(history: &History, place: u32, request: &Request) -> String {
    let who = match lane(history, place) {
        Some(Lane::Client(client)) => client.to_string(),
        Some(Lane::Held(_)) => "a client, late,".to_owned(),
        Some(Lane::Rig) | None => "the final reader".to_owned(),
    };
    let seen = answer(history, place).map_or_else(String::new, words::answer);
    format!("{who} asked {}: it was answered \"{seen}\"", words::request(request))
}

/// The call that the request belongs to, or what was written down last before it.
fn evidence(history: &History, request: u32) -> Vec<At> {
    let Some(Exchange::Asked { after, lane, .. }) = history.exchanges.get(request as usize) else {
        return Vec::new();
    };
    let after = after.map_or(NEVER, |after| after.0);
    let call = match lane {
        Lane::Client(client) => call_of(history, *client, after),
        Lane::Held(_) | Lane::Rig => None,
    };
    vec![call.unwrap_or(after)]
}

fn call_of(history: &History, client: ClientId, until: At) -> Option<At> {
    let events = history.events.get(..=until as usize)?;
    let call = events
        .iter()
        .rposition(|event| matches!(event, Event::Call { client: other, .. } if *other == client));
    call.map(|at| at as At)
}

/// The weakest claim that cannot do without the answer.
fn claim(request: &Request) -> Claim {
    match request {
        Request::InitProducer { txn: None, .. } => Claim::Idempotent,
        Request::InitProducer { .. }
        | Request::AddPartition { .. }
        | Request::AddGroup { .. }
        | Request::EndTxn { .. }
        | Request::SaveInTxn { .. }
        | Request::Produce { txn: Some(_), .. }
        | Request::Malformed { txn: Some(_), .. } => Claim::Transactional,
        Request::Fetch { isolation, .. }
        | Request::FetchByte { isolation, .. }
        | Request::ListOffsets { isolation, .. } => match isolation {
            Isolation::ReadCommitted => Claim::Transactional,
            Isolation::ReadUncommitted => Claim::AtLeastOnce,
        },
        Request::Produce { batch, .. } | Request::Malformed { batch, .. } => {
            match batch.session.is_some() {
                true => Claim::Idempotent,
                false => Claim::AtLeastOnce,
            }
        }
        Request::Save { .. } | Request::Positions { .. } | Request::Join { .. } => {
            Claim::AtLeastOnce
        }
    }
}

fn asked(history: &History, place: u32) -> Option<&Request> {
    match history.exchanges.get(place as usize) {
        Some(Exchange::Asked { request, .. }) => Some(request),
        _ => None,
    }
}

fn lane(history: &History, place: u32) -> Option<Lane> {
    match history.exchanges.get(place as usize) {
        Some(Exchange::Asked { lane, .. }) => Some(*lane),
        _ => None,
    }
}

fn answer(history: &History, place: u32) -> Option<&Answer> {
    history.exchanges.iter().find_map(|exchange| match exchange {
        Exchange::Answered { of, answer } if *of == place => Some(answer),
        _ => None,
    })
}
