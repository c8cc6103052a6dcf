//! The end of a certification on a terminal: failures first, then the table, then the verdict in a sentence.

use anstyle::Style;
use onceness_reference::choices::CHOICES;

use super::style::{BAD, DIM, GOOD, HEAD, NOTE, count, of, paint, thousands};
use super::{Deviated, Failure, PropertyReport, Report, Word, failure};
use crate::exit::Exit;
use crate::search::Ended;

/// The whole report.
pub fn render(report: &Report) -> String {
    let mut text = String::new();
    for (place, one) in report.failures.iter().enumerate() {
        let alike = |told: &&Failure| told.shrunk.smallest.plan == one.shrunk.smallest.plan;
        let told = report.failures[..place].iter().find(alike);
        text += &match told {
            Some(told) => failure::render_alike(one, told),
            None => failure::render(one),
        };
        text.push('\n');
    }
    text += &table(report);
    text += &report.covered.render();
    text += &choices(report);
    text += &deviations(report);
    text += &weaknesses(report);
    text += &breaches(report);
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
    if matches!(row.verdict, Word::Unsupported | Word::Untested) {
        return String::new();
    }
    let mut text =
        format!("{:>13} times in {}", thousands(row.count.times), count(row.count.cases, "case"));
    for (what, times) in row.notes.iter().filter(|(what, _)| !is_choice(what)) {
        text += &format!("; {what}: {}", thousands(*times));
    }
    if row.count.violated > 0 {
        text += &format!(", violated in {}", thousands(row.count.violated));
    }
    if row.count.accepted > 0 {
        text += &format!(", accepted in {}", thousands(row.count.accepted));
    }
    text
}

fn is_choice(note: &str) -> bool {
    CHOICES.iter().flat_map(|choice| choice.values).any(|value| value.words == note)
}

/// Which of the brokers that are right it seems to be: what it chose that the default does not.
fn choices(report: &Report) -> String {
    let rows = report.claims.iter().flat_map(|claim| &claim.properties);
    let chosen = rows.flat_map(|row| &row.notes).filter(|(what, _)| is_choice(what));
    let lines = chosen.map(|(what, cases)| format!("  {what}: {}\n", count(*cases, "case")));
    let lines: String = lines.collect();
    match lines.is_empty() {
        true => lines,
        false => format!("\n{}\n{lines}", paint(NOTE, "by its answers a broker that")),
    }
}

fn deviations(report: &Report) -> String {
    let (broken, odd): (Vec<&Deviated>, Vec<&Deviated>) =
        report.deviations.iter().partition(|one| one.breaks);
    // Where there is one kind alone its failure tells it, smaller.
    let broken = if broken.len() > 1 { broken } else { Vec::new() };
    told("answers that no correct broker gives, by kind", BAD, &broken)
        + &told("breaks no promise, and is not as it should be", NOTE, &odd)
}

fn told(title: &str, style: Style, deviations: &[&Deviated]) -> String {
    let mut text = match deviations.is_empty() {
        true => String::new(),
        false => format!("\n{}\n", paint(style, title)),
    };
    for Deviated { what, cases, first_case, seed, story, look, .. } in deviations {
        let (cases, first) = (count(*cases, "case"), thousands(*first_case));
        text += &format!("  {what}: {cases}, first in case {first} (seed {seed})\n");
        text += &paint(DIM, format!("    {story}\n    look at it:  {look}\n"));
    }
    text
}

fn weaknesses(report: &Report) -> String {
    let mut text = String::new();
    for one in &report.accepted {
        let cases = count(one.cases, "case");
        let title = format!("accepted known weakness {} in {cases}", one.weakness);
        let (explanation, source) = (one.explanation, one.source);
        text += &format!("\n{}: {}\n", paint(NOTE, title), one.title);
        text += &paint(DIM, format!("  {explanation}\n  source: {source}\n"));
    }
    text
}

fn breaches(report: &Report) -> String {
    let mut text = String::new();
    for one in report.breaches.iter().filter(|one| one.cases > 0 || one.stale) {
        let (breach, target) = (&one.breach, &one.breach.target);
        text += &match one.stale {
            false => {
                let title = format!(
                    "accepted breach of {breach} on {target} in {}",
                    count(one.cases, "case")
                );
                format!("\n{}: {}\n", paint(NOTE, title), breach.reason)
            }
            true => {
                let title = format!("stale: breach of {breach} on {target}");
                let (title, tested) = (paint(NOTE, title), thousands(one.tested));
                let reason = &breach.reason;
                format!(
                    "\n{title}, put to the test {tested} times and not met; if it is mended, take it out of the file: {reason}\n"
                )
            }
        };
        if let Some(link) = &breach.link {
            text += &paint(DIM, format!("  link: {link}\n"));
        }
    }
    text
}

/// What a green run must not conceal.
fn but_for(report: &Report) -> String {
    match report.breaches.iter().filter(|one| one.cases > 0).count() as u64 {
        0 => String::new(),
        1 => " but for 1 accepted breach".to_owned(),
        more => format!(" but for {more} accepted breaches"),
    }
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
        "{}{} on {}, seed {}, in {:.1} s ({})",
        count(report.cases, "case"),
        faults(report),
        report.driven,
        report.seed,
        report.seconds,
        rate(report),
    );
    let names = |word: Word| {
        let claims = report.claims.iter().filter(|claim| claim.verdict == word);
        let names: Vec<&str> = claims.map(|claim| claim.claim.name()).collect();
        names.join(", ")
    };
    let sentence = match report.exit() {
        Exit::Holds => paint(GOOD, format!("all claims hold{}", but_for(report))),
        Exit::Stale => paint(
            NOTE,
            format!("all claims hold{}, and a breach is accepted that is stale", but_for(report)),
        ),
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

/// Behind the number of cases: how often the broker was struck.
fn faults(report: &Report) -> String {
    let struck = report.faults.iter().map(|(fault, times)| count(*times, fault.name()));
    let struck: Vec<String> = struck.collect();
    match struck.is_empty() {
        true => String::new(),
        false => format!(" with {} of the broker", struck.join(", ")),
    }
}

fn rate(report: &Report) -> String {
    let rate = report.cases as f64 / report.seconds.max(0.001);
    match rate < 10.0 {
        true => format!("{} cases/min", thousands((rate * 60.0) as u64)),
        false => format!("{} cases/s", thousands(rate as u64)),
    }
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

#[cfg(test)]
mod tests {
    use anstream::adapter::strip_str;
    use expect_test::expect;
    use onceness_properties::Claim;
    use onceness_reference::choices::CHOICES;
    use onceness_reference::plan::Fault;

    use super::super::covered::Covered;
    use super::super::{
        Accepted, AcceptedBreach, ClaimReport, Deviated, PropertyReport, Report, Word,
    };
    use super::render;
    use crate::accept::Breach;
    use crate::search::Ended;
    use crate::tally::Count;

    #[test]
    fn the_table_says_what_was_tested_and_what_came_of_it() {
        let row = |property, verdict, times, accepted| PropertyReport {
            property,
            verdict,
            count: Count { times, cases: times / 10, accepted, ..Count::default() },
            notes: [("losses", times / 100), (CHOICES[2].values[1].words, times / 5_000)]
                .into_iter()
                .filter(|(_, n)| *n > 0)
                .collect(),
        };
        let breach = |target: &str, claim, cases| AcceptedBreach {
            breach: Breach {
                target: target.parse().expect("a target"),
                property: "isolation",
                claim,
                weakness: None,
                reason: "mended in the next release".to_owned(),
                link: claim.map(|_| "https://example.org/1".to_owned()),
            },
            cases,
            tested: 50,
            stale: cases == 0,
        };
        let deviated = |number: u64, what: &str, breaks| Deviated {
            what: what.to_owned(),
            breaks,
            cases: number,
            first_case: 1_000 * number,
            seed: 9,
            evidence: Vec::new(),
            story: "c0 asked it: it was answered \"refused with NOPE (1)\"".to_owned(),
            look: format!("onceness check report/deviations/{number}/history.jsonl"),
        };
        let claim = |claim, verdict, properties| ClaimReport { claim, verdict, properties };
        let report = Report {
            target: "kafka://localhost:9092".to_owned(),
            driven: "Apache Kafka".to_owned(),
            seed: 7,
            cases: 2_000,
            failing: 0,
            faults: [(Fault::Restart, 1_031), (Fault::Kill, 1)].into(),
            silent: 1,
            last_error: Some("Produce to localhost:9092: closed".to_owned()),
            seconds: 10.0,
            ended: Ended::Complete,
            claims: vec![
                claim(Claim::AtMostOnce, Word::Holds, vec![row("order", Word::Holds, 12_345, 0)]),
                claim(
                    Claim::Transactional,
                    Word::Untested,
                    vec![
                        row("isolation", Word::Accepted, 50, 2),
                        row("fencing", Word::Untested, 0, 0),
                        row("resend", Word::Unsupported, 0, 0),
                    ],
                ),
            ],
            covered: Covered::default(),
            failures: Vec::new(),
            deviations: vec![
                deviated(1, "EndTxn refused with NOPE (1)", true),
                deviated(2, "EndTxn refused with NOPE (1) where Kafka refuses with NO (2)", false),
                deviated(3, "Produce refused with NOPE (1)", true),
            ],
            accepted: vec![Accepted {
                weakness: "KAFKA-1",
                title: "something",
                explanation: "It happens.",
                source: "somewhere",
                cases: 2,
            }],
            breaches: vec![
                breach("memory:no-dedup", Some(Claim::Transactional), 2),
                breach("memory:*", None, 0),
            ],
            deny_stale: false,
            broke: Vec::new(),
            troubles: vec!["failed to write x: disk full".to_owned()],
            claims_named: false,
        };
        expect![[r#"
            claim          property   verdict      put to the test
            at-most-once   order      holds               12,345 times in 1,234 cases; losses: 123
            transactional  isolation  accepted                50 times in 5 cases, accepted in 2
                           fencing    untested   
                           resend     unsupported

            by its answers a broker that
              raises the epoch by two when it fences a transaction (as Kafka 4.0.0): 2 cases

            answers that no correct broker gives, by kind
              EndTxn refused with NOPE (1): 1 case, first in case 1,000 (seed 9)
                c0 asked it: it was answered "refused with NOPE (1)"
                look at it:  onceness check report/deviations/1/history.jsonl
              Produce refused with NOPE (1): 3 cases, first in case 3,000 (seed 9)
                c0 asked it: it was answered "refused with NOPE (1)"
                look at it:  onceness check report/deviations/3/history.jsonl

            breaks no promise, and is not as it should be
              EndTxn refused with NOPE (1) where Kafka refuses with NO (2): 2 cases, first in case 2,000 (seed 9)
                c0 asked it: it was answered "refused with NOPE (1)"
                look at it:  onceness check report/deviations/2/history.jsonl

            accepted known weakness KAFKA-1 in 2 cases: something
              It happens.
              source: somewhere

            accepted breach of isolation for transactional on memory:no-dedup in 2 cases: mended in the next release
              link: https://example.org/1

            stale: breach of isolation on memory:*, put to the test 50 times and not met; if it is mended, take it out of the file: mended in the next release

            the target did not answer in 1 case; the last time: Produce to localhost:9092: closed
            failed to write x: disk full

            2,000 cases with 1,031 restarts, 1 kill of the broker on Apache Kafka, seed 7, in 10.0 s (200 cases/s)
            inconclusive: untested: fencing for transactional
        "#]]
        .assert_eq(&strip_str(&render(&report)).to_string());
    }
}
