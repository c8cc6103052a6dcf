//! What went through `onceness proxy`: a line for each request that is shown, and the counts in the end.

use std::fmt::Write as _;
use std::time::Duration;

use onceness_adapters::proxy::{ConnectionId, CopyNumber, Exchange, api_name};
use onceness_reference::code::Code;

use super::style::{DIM, HEAD, NOTE, count, paint, thousands};
use crate::faults::{Counts, FaultName, FaultRule, Faults, Shown};

/// One line.
pub fn line(since: Duration, shown: Shown<'_>) -> String {
    match shown {
        Shown::Exchange(exchange, rule) => exchange_line(since, exchange, rule),
        Shown::Trouble(connection, words) => {
            let start = start(since, connection);
            format!("{start}  {}\n", paint(NOTE, format!("closed: {}", words.escape_debug())))
        }
    }
}

fn exchange_line(since: Duration, exchange: &Exchange, rule: Option<&FaultRule>) -> String {
    let what = format!("{} {}", api_name(exchange.start.api), exchange.start.version);
    // Whatever a client calls itself, it gets one line.
    let client = exchange.start.client.escape_debug().to_string();
    let fate = fate(exchange, rule);
    let style = if rule.is_some() { NOTE } else { DIM };
    let start = start(since, exchange.connection);
    format!(
        "{start}  {client:<12}  {what:<22}  {}  {}\n",
        paint(style, format!("{fate:<14}")),
        said(exchange)
    )
}

fn start(since: Duration, connection: ConnectionId) -> String {
    let connection = format!("#{}", connection.0);
    format!("{:>9.3}s  {connection:<4}", since.as_secs_f64())
}

fn fate(exchange: &Exchange, rule: Option<&FaultRule>) -> String {
    let name = FaultName::of(exchange.fate).name();
    match (exchange.copy, rule.and_then(|rule| rule.hold)) {
        (CopyNumber::Second, _) => "second copy".to_owned(),
        (CopyNumber::Late, _) => "arrives late".to_owned(),
        (CopyNumber::First, Some(hold)) if exchange.held.is_some() => {
            format!("held {}", humantime::format_duration(hold))
        }
        _ => name.to_owned(),
    }
}

fn said(exchange: &Exchange) -> String {
    if let Some(trouble) = &exchange.trouble {
        return trouble.clone();
    }
    let Some(answer) = &exchange.answer else {
        let none = match (FaultName::of(exchange.fate), exchange.start.answered) {
            (FaultName::RequestLost, _) => "never arrived",
            (FaultName::Held, _) if exchange.copy == CopyNumber::First => "kept",
            (_, false) => "is not answered",
            _ => "no answer",
        };
        return none.to_owned();
    };
    match exchange.codes() {
        None => format!("answered by {}", count(answer.len() as u64, "byte")),
        Some(codes) => {
            let codes: Vec<String> = codes
                .iter()
                .map(|code| if *code == Code(0) { "no error".to_owned() } else { code.to_string() })
                .collect();
            if codes.is_empty() { "no error".to_owned() } else { codes.join(", ") }
        }
    }
}

/// What it all came to.
pub fn summary(faults: &Faults, counts: &Counts, dropped: u64) -> String {
    let mut text = String::new();
    let all: u64 = counts.requests.values().map(|(requests, _)| requests).sum();
    let _ = writeln!(text, "\n{}", paint(HEAD, count(all, "request")));
    for (api, (requests, fates)) in &counts.requests {
        let fates: Vec<String> =
            fates.iter().map(|(fate, times)| format!("{} {fate}", thousands(*times))).collect();
        let line = format!("  {:<22} {:>9}", api_name(*api), thousands(*requests));
        let _ = match fates.is_empty() {
            true => writeln!(text, "{line}"),
            false => writeln!(text, "{line}  {}", paint(NOTE, fates.join(", "))),
        };
    }
    if !faults.rules.is_empty() {
        let _ = writeln!(text, "{}", paint(HEAD, count(faults.rules.len() as u64, "rule")));
    }
    for (rule, (fits, struck)) in faults.rules.iter().zip(&counts.rules) {
        let came = match (fits, struck) {
            (0, _) => paint(NOTE, "never applied: no such request came"),
            (_, 0) => paint(NOTE, format!("never applied: {} came", count(*fits, "such request"))),
            _ => format!("applied to {} of {}", thousands(*struck), thousands(*fits)),
        };
        let _ = writeln!(text, "  {rule}: {came}");
    }
    if counts.troubles > 0 {
        let troubles = count(counts.troubles, "connection");
        let _ = writeln!(text, "{troubles} closed over a fault");
    }
    if dropped > 0 {
        let held = count(dropped, "held request");
        let _ = writeln!(text, "{held} never arrived: the proxy ended before");
    }
    text
}
