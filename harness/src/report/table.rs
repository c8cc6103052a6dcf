//! The end of a certification on a terminal: failures first, then the table, then the verdict in a sentence.

use super::style::{BAD, DIM, GOOD, HEAD, NOTE, count, of, paint, thousands};
use super::{PropertyReport, Report, Word, failure};
use crate::exit::Exit;
use crate::search::Ended;

/// The whole report.
pub fn render(report: &Report) -> String {
    let mut text = String::new();
    for one in &report.failures {
        text += &failure::render(one);
        text.push('\n');
    }
    text += &table(report);
    text += &weaknesses(report);
    text += &troubles(report);
    text += &verdict(report);
    text
}

fn table(report: &Report) -> String {
    let claim_width = width(report.claims.iter().map(|claim| claim.claim.name()));
    let rows = report.claims.iter().flat_map(|claim| &claim.properties);
    let property_width = width(rows.map(|row| row.property));
    let mut text = paint(
        HEAD,
        format!(
            "{:claim_width$}  {:property_width$}  verdict      put to the test\n",
            "claim", "property"
        ),
    );
    for claim in &report.claims {
        let mut name = claim.claim.name();
        if claim.properties.is_empty() {
            let verdict = format!("{:11}", claim.verdict.text());
            text += &format!("{name:claim_width$}  {:property_width$}  {verdict}\n", "");
        }
        for row in &claim.properties {
            let word = paint(of(row.verdict), format!("{:11}", row.verdict.text()));
            text += format!(
                "{name:claim_width$}  {:property_width$}  {word}  {}",
                row.property,
                tested(row)
            )
            .trim_end();
            text.push('\n');
            name = "";
        }
    }
    text
}

fn tested(row: &PropertyReport) -> String {
    if row.verdict == Word::Unsupported {
        return String::new();
    }
    let mut text =
        format!("{:>13} times in {}", thousands(row.count.times), count(row.count.cases, "case"));
    if row.count.violated > 0 {
        text += &format!(", violated in {}", thousands(row.count.violated));
    }
    if row.count.accepted > 0 {
        text += &format!(", accepted in {}", thousands(row.count.accepted));
    }
    text
}

fn weaknesses(report: &Report) -> String {
    let mut text = String::new();
    for one in &report.accepted {
        let cases = count(one.cases, "case");
        let title = format!("accepted known weakness {} in {cases}", one.weakness);
        text += &format!("\n{}\n  {}\n", paint(NOTE, title), one.explanation);
    }
    text
}

fn troubles(report: &Report) -> String {
    let mut text = String::new();
    for broken in &report.broke {
        let seed = broken.seed;
        let words = format!("internal error in the case of seed {seed}: {}", broken.words);
        text += &format!("\n{}", paint(BAD, words));
    }
    if report.silent > 0 {
        let cases = count(report.silent, "case");
        let last = report.last_error.as_deref().unwrap_or("no word about it");
        text +=
            &paint(NOTE, format!("\nthe target did not answer in {cases}; the last time: {last}"));
    }
    for trouble in &report.troubles {
        text += &paint(NOTE, format!("\n{trouble}"));
    }
    match text.is_empty() {
        true => text,
        false => text + "\n",
    }
}

fn verdict(report: &Report) -> String {
    let run = format!(
        "{} on {}, seed {}, in {:.1} s ({} cases/s)",
        count(report.cases, "case"),
        report.driven,
        report.seed,
        report.seconds,
        thousands((report.cases as f64 / report.seconds.max(0.001)) as u64),
    );
    let names = |word: Word| {
        let claims = report.claims.iter().filter(|claim| claim.verdict == word);
        let names: Vec<&str> = claims.map(|claim| claim.claim.name()).collect();
        names.join(", ")
    };
    let sentence = match report.exit() {
        Exit::Holds => paint(GOOD, "all claims hold"),
        Exit::Violated => paint(BAD, format!("violated: {}", names(Word::Violated))),
        Exit::Internal => paint(BAD, "internal error: please report it with the seed above"),
        Exit::NothingSelected => paint(NOTE, "nothing was selected"),
        _ => paint(NOTE, format!("inconclusive: {}", why_inconclusive(report))),
    };
    let cut = match report.ended {
        Ended::Interrupted => paint(NOTE, " (interrupted)"),
        Ended::TimeUp => paint(NOTE, " (time was up)"),
        Ended::TargetGone => paint(NOTE, " (the target stopped answering)"),
        Ended::FailFast => paint(DIM, " (stopped at the first failure)"),
        Ended::Complete => String::new(),
    };
    format!("\n{run}{cut}\n{sentence}\n")
}

/// Why nothing can be concluded, the weightiest reason alone.
pub fn why_inconclusive(report: &Report) -> String {
    let untested = report.claims.iter().flat_map(|claim| {
        let open = (claim.properties.iter()).filter(|row| row.verdict == Word::Untested);
        let names = open.map(|row| format!("{} for {}", row.property, claim.claim.name()));
        names.collect::<Vec<_>>()
    });
    let untested: Vec<String> = untested.collect();
    match report.ended {
        Ended::Interrupted => return "it was interrupted".to_owned(),
        Ended::TargetGone => return "the target stopped answering".to_owned(),
        Ended::TimeUp => return "the time was up before all cases were run".to_owned(),
        Ended::Complete | Ended::FailFast => {}
    }
    if report.silent * 100 > report.cases {
        return "the target did not answer in more than one case of a hundred".to_owned();
    }
    if let Some((first, rest)) = untested.split_first() {
        return match rest.len() {
            0 => format!("untested: {first}"),
            more => format!("untested: {first}, and {more} more; run more cases"),
        };
    }
    if !report.troubles.is_empty() {
        return "not everything could be written or cleaned up".to_owned();
    }
    match report.claims.iter().all(|claim| claim.properties.is_empty()) {
        true => "no property was judged".to_owned(),
        false => "a claim that was asked for is unsupported by the target".to_owned(),
    }
}

fn width<'a>(names: impl Iterator<Item = &'a str>) -> usize {
    names.map(str::len).max().unwrap_or(0).max(8)
}
