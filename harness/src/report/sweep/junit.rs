//! A sweep as JUnit XML, for dashboards: a suite is a plan, a test case a boundary.

use junit_report::{Duration, ReportBuilder, TestCase, TestCaseBuilder, TestSuiteBuilder};

use super::super::junit::clean;
use super::table::{tell_place, why_inconclusive};
use super::{SweepReport, SweptPlan};
use crate::exit::Exit;
use crate::sweep::{Cell, Mark, Mishap, Row};

/// The report as XML.
pub fn render(report: &SweepReport) -> String {
    let suites = report.plans.iter().map(|plan| {
        let mut suite = TestSuiteBuilder::new(&plan.name);
        suite
            .add_testcases(plan.rows.iter().enumerate().map(|(place, row)| case(plan, place, row)));
        suite.set_system_out(&clean(&format!(
            "onceness {} on {} ({})",
            env!("CARGO_PKG_VERSION"),
            report.target,
            report.driven
        )));
        suite.build()
    });
    let mut junit = ReportBuilder::new();
    junit.add_testsuites(suites);
    if report.exit() == Exit::Inconclusive {
        // JUnit has no word for a whole run that proves nothing; dashboards must not show it green.
        let why = clean(&why_inconclusive(report));
        let mut case = TestCaseBuilder::error("run", Duration::ZERO, "inconclusive", &why);
        case.set_trace(&clean(&report.troubles.join("\n")));
        let mut suite = TestSuiteBuilder::new("onceness");
        suite.add_testcase(case.build());
        junit.add_testsuite(suite.build());
    }
    let mut xml = Vec::new();
    match junit.build().write_xml(&mut xml) {
        Ok(()) => String::from_utf8_lossy(&xml).into_owned() + "\n",
        // Writing to memory does not fail; if it did, an empty report says so best.
        Err(_) => String::new(),
    }
}

fn case(plan: &SweptPlan, place: usize, row: &Row) -> TestCase {
    // Two rows may read alike, so the place makes them two.
    let name = format!("{} {}: {}", place + 1, row.boundary.doing, row.boundary.at);
    let cells = || Mishap::ALL.into_iter().zip(&row.cells);
    let told = |wanted: fn(&Mark) -> bool| {
        let found = cells().filter(|(_, cell)| wanted(&cell.mark));
        found.map(|(mishap, cell)| tell(row, mishap, cell)).collect::<Vec<_>>().join("\n")
    };
    let violated = told(|mark| matches!(mark, Mark::Violated(_)));
    let broken = told(|mark| matches!(mark, Mark::Broke(_) | Mark::NoAnswer(_)));
    let open = told(|mark| matches!(mark, Mark::Untested(_) | Mark::NotRun));
    let judged = cells().any(|(_, cell)| cell.mark.is_judged());
    let mut case = if !violated.is_empty() {
        TestCaseBuilder::failure(&name, Duration::ZERO, "violated", &clean(&violated))
    } else if !broken.is_empty() {
        TestCaseBuilder::error(&name, Duration::ZERO, "inconclusive", &clean(&broken))
    } else if !open.is_empty() {
        TestCaseBuilder::skipped_with_cause(&name, "untested", &clean(&open))
    } else if !judged {
        let why = "the target, driven this way, cannot have any mishap there";
        TestCaseBuilder::skipped_with_cause(&name, "unsupported", why)
    } else {
        TestCaseBuilder::success(&name, Duration::ZERO)
    };
    case.set_classname(&plan.name);
    let all = told(|mark| *mark != Mark::Meaningless);
    case.set_system_out(&clean(&all));
    case.build()
}

fn tell(row: &Row, mishap: Mishap, cell: &Cell) -> String {
    let what = match &cell.mark {
        Mark::Violated(kinds) => {
            let kinds: Vec<String> = kinds.iter().map(ToString::to_string).collect();
            format!("violated: {}", kinds.join(", "))
        }
        Mark::Untested(why) => format!("untested: {why}"),
        Mark::NoAnswer(why) | Mark::Broke(why) => format!("{}: {why}", cell.mark.text()),
        Mark::Impossible(why) => format!("impossible here: {why}"),
        mark => mark.text().to_owned(),
    };
    let replay = cell.replay.as_ref().map_or(String::new(), |replay| format!("; {replay}"));
    format!("{}: {what}{replay}", tell_place(row, mishap))
}
