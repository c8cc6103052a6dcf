//! The report as JUnit XML, for dashboards: a suite is a claim, a test case a property.

use anstream::adapter::strip_str;
use junit_report::{Duration, ReportBuilder, TestCase, TestCaseBuilder, TestSuiteBuilder};

use super::style::count;
use super::table::why_inconclusive;
use super::{ClaimReport, Failure, PropertyReport, Report, Word, failure};
use crate::exit::Exit;

/// The report as XML.
pub fn render(report: &Report) -> String {
    let suites = report.claims.iter().map(|claim| {
        let mut suite = TestSuiteBuilder::new(claim.claim.name());
        suite.add_testcases(claim.properties.iter().map(|row| case(report, claim, row)));
        suite.set_system_out(&clean(&setting(report)));
        suite.build()
    });
    let mut junit = ReportBuilder::new();
    junit.add_testsuites(suites);
    if let Some(trouble) = trouble(report) {
        let mut suite = TestSuiteBuilder::new("onceness");
        suite.add_testcase(trouble);
        junit.add_testsuite(suite.build());
    }
    let mut xml = Vec::new();
    match junit.build().write_xml(&mut xml) {
        Ok(()) => String::from_utf8_lossy(&xml).into_owned() + "\n",
        // Writing to memory does not fail; if it did, an empty report says so best.
        Err(_) => String::new(),
    }
}

fn case(report: &Report, claim: &ClaimReport, row: &PropertyReport) -> TestCase {
    let time = Duration::seconds_f64(report.seconds);
    let mut case = match row.verdict {
        Word::Holds => TestCaseBuilder::success(row.property, time),
        Word::Accepted => match excuses(report, claim, row) {
            Some(excuses) => skipped(row, "accepted", &clean(&excuses)),
            None => TestCaseBuilder::success(row.property, time),
        },
        Word::Untested => skipped(row, "untested", "never put to the test; run more cases"),
        Word::Unsupported => skipped(row, "unsupported", "the target cannot be asked"),
        Word::Violated => {
            let failures: Vec<&Failure> =
                (report.failures.iter()).filter(|one| one.kind.property == row.property).collect();
            let story = failures.first().map(|one| one.shrunk.smallest.violation.story.as_str());
            let message = clean(story.unwrap_or("violated"));
            let mut case = TestCaseBuilder::failure(row.property, time, "violated", &message);
            let told: Vec<String> = failures.iter().map(|one| failure::render(one)).collect();
            case.set_trace(&clean(&told.join("\n")));
            case
        }
    };
    case.set_classname(claim.claim.name());
    if let Some(count) = counted(row) {
        case.set_system_out(&count);
    }
    case.build()
}

/// Why a broken property does not fail the run, where the target is to blame. Weaknesses of the protocol are no failures of it.
fn excuses(report: &Report, claim: &ClaimReport, row: &PropertyReport) -> Option<String> {
    let met = report.breaches.iter().filter(|one| {
        let breach = &one.breach;
        let here = breach.claim.is_none_or(|one| one == claim.claim);
        one.cases > 0 && breach.property == row.property && here
    });
    let told = met.map(|one| {
        let link = one.breach.link.iter().map(|link| format!(" ({link})")).collect::<String>();
        format!("accepted in {}: {}{link}", count(one.cases, "case"), one.breach.reason)
    });
    Some(told.collect::<Vec<_>>().join("; ")).filter(|told| !told.is_empty())
}

/// Stale breaches fail a run only if that was asked for; a dashboard then wants to know which.
fn stale(report: &Report) -> String {
    let stale = report.breaches.iter().filter(|one| one.stale);
    let told =
        stale.map(|one| format!("{} on {}: {}", one.breach, one.breach.target, one.breach.reason));
    format!("accepted breaches that no longer occur: {}", told.collect::<Vec<_>>().join("; "))
}

fn skipped(row: &PropertyReport, kind: &str, message: &str) -> TestCaseBuilder {
    TestCaseBuilder::skipped_with_cause(row.property, kind, message)
}

fn counted(row: &PropertyReport) -> Option<String> {
    let count = row.count;
    (count.times > 0).then(|| {
        format!(
            "put to the test {} times in {} cases; violated in {}, accepted in {}",
            count.times, count.cases, count.violated, count.accepted
        )
    })
}

/// JUnit has no word for a whole run that proves nothing; dashboards must not show it green.
fn trouble(report: &Report) -> Option<TestCase> {
    let message = match report.exit() {
        Exit::Inconclusive => why_inconclusive(report),
        Exit::Stale => stale(report),
        Exit::Internal => {
            let words = report.broke.iter().map(|one| format!("seed {}: {}", one.seed, one.words));
            words.collect::<Vec<_>>().join("; ")
        }
        _ => return None,
    };
    let kind = if report.exit() == Exit::Stale { "stale" } else { "inconclusive" };
    let mut case = TestCaseBuilder::error("run", Duration::ZERO, kind, &clean(&message));
    let details = report.last_error.iter().chain(&report.troubles);
    case.set_trace(&clean(&details.cloned().collect::<Vec<_>>().join("\n")));
    Some(case.build())
}

fn setting(report: &Report) -> String {
    format!(
        "onceness {} on {} ({}), seed {}, {} cases",
        env!("CARGO_PKG_VERSION"),
        report.target,
        report.driven,
        report.seed,
        report.cases
    )
}

/// Without styles, without what XML 1.0 does not allow, and without the end of a CDATA section.
pub(super) fn clean(text: &str) -> String {
    let plain = strip_str(text).to_string();
    let allowed = |c: char| matches!(c, '\t' | '\n' | '\r' | '\u{20}'..='\u{d7ff}' | '\u{e000}'..='\u{fffd}' | '\u{10000}'..);
    let kept = plain.replace("]]>", "]]\u{200b}>");
    kept.chars().filter(|c| allowed(*c)).collect()
}

#[cfg(test)]
mod tests {
    use super::clean;

    #[test]
    fn what_xml_does_not_allow_is_left_out() {
        assert_eq!(clean("a\u{0}b\u{1b}[31mc\u{fffe}d\te"), "abcd\te");
        assert!(!clean("x ]]> y").contains("]]>"));
    }
}
