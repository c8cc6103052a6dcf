//! The end of a sweep on a terminal: failures first, then for each plan its table and the points of its loop, then the
//! verdict in a sentence.

use std::collections::BTreeSet;

use super::super::style::{BAD, DIM, GOOD, HEAD, NOTE, count, paint};
use super::super::{Failure, failure};
use super::{Counts, NOT_IN_TV2, PointReport, SweepReport, SweptPlan};
use crate::exit::Exit;
use crate::search::Ended;
use crate::sweep::boundary::Place;
use crate::sweep::points::Expected;
use crate::sweep::{Cell, Mark, Mishap, Row, Visit};

/// So many violated cells are listed with their commands; the table shows all.
const LISTED_MAX: usize = 10;

/// What the word means, for whoever meets it in the points.
const APPROXIMATED: &str = "approximated: nobody can look into this broker, so how far it was with its markers is not known\n";

/// The whole report.
pub fn render(report: &SweepReport) -> String {
    let mut text = String::new();
    for (place, one) in report.failures.iter().enumerate() {
        let alike = |told: &&Failure| told.shrunk.smallest.plan == one.shrunk.smallest.plan;
        text += &match report.failures[..place].iter().find(alike) {
            Some(told) => failure::render_alike(one, told),
            None => failure::render(one),
        };
        text.push('\n');
    }
    for plan in &report.plans {
        text += &table(plan);
        text += &points(plan);
        text.push('\n');
    }
    text += &legend(report);
    text += &listed(report);
    text += &remarks(report);
    text += &verdict(report);
    text
}

/// The columns that mean something somewhere in a plan.
fn columns(plan: &SweptPlan) -> Vec<(usize, Mishap)> {
    let all = Mishap::ALL.into_iter().enumerate();
    let used =
        |column: usize| plan.rows.iter().any(|row| row.cells[column].mark != Mark::Meaningless);
    all.filter(|(column, mishap)| *mishap != Mishap::Nothing && used(*column)).collect()
}

fn table(plan: &SweptPlan) -> String {
    let columns = columns(plan);
    let doing = struck(plan).map(|row| row.boundary.doing.len()).max().unwrap_or(0).max(4);
    let at = struck(plan).map(|row| row.boundary.at.len()).max().unwrap_or(0).max(8);
    let mut text = paint(HEAD, format!("{}\n", plan.name));
    for row in plan.rows.iter().filter(|row| row.boundary.place == Place::Nowhere) {
        text += &format!("without any mishap: {}\n", cell(&row.cells[0]).trim());
    }
    let names = columns.iter().map(|(_, mishap)| format!("  {:9}", mishap.text()));
    let head = format!("point  {:doing$}  {:at$}{}", "step", "boundary", names.collect::<String>());
    text += &paint(HEAD, head.trim_end());
    text.push('\n');
    let mut last = None;
    for row in struck(plan) {
        let boundary = &row.boundary;
        let step = if last == Some(boundary.step) { "" } else { &boundary.doing };
        last = Some(boundary.step);
        let point = boundary.point.map_or(String::new(), |point| point.to_string());
        let cells: String = columns.iter().map(|(column, _)| cell(&row.cells[*column])).collect();
        text += format!("{point:>5}  {step:doing$}  {:at$}{cells}", boundary.at).trim_end();
        text.push('\n');
    }
    text
}

/// The boundaries at which something can go wrong.
fn struck(plan: &SweptPlan) -> impl Iterator<Item = &Row> {
    plan.rows.iter().filter(|row| row.boundary.place != Place::Nowhere)
}

fn cell(cell: &Cell) -> String {
    let style = match cell.mark {
        Mark::Holds => GOOD,
        Mark::Violated(_) | Mark::Broke(_) => BAD,
        Mark::Meaningless | Mark::Impossible(_) => DIM,
        _ => NOTE,
    };
    let word = cell.mark.text();
    match cell.mark {
        Mark::Meaningless => " ".repeat(11),
        _ => format!("  {}{}", paint(style, word), " ".repeat(9 - word.chars().count().min(9))),
    }
}

fn points(plan: &SweptPlan) -> String {
    if plan.points.is_empty() {
        return String::new();
    }
    let name = plan.points.iter().map(|point| point.name.len()).max().unwrap_or(0);
    let mut text =
        paint(HEAD, "the points of the loop, when its client or the broker fails there\n");
    let mut last: Option<Expected> = None;
    for point in &plan.points {
        if last != Some(point.expected) {
            text += &paint(DIM, format!("       expected: {}\n", point.expected));
            last = Some(point.expected);
        }
        text += &format!("{:>5}  {:name$}  {}\n", point.number, point.name, visited(point));
    }
    text
}

fn visited(point: &PointReport) -> String {
    let Some(why) = point.not_visited else {
        let how = match point.visit {
            Visit::Approximated => paint(NOTE, "approximated"),
            _ => "visited".to_owned(),
        };
        let crashes = match point.crashes {
            0 => String::new(),
            all => format!(
                "; as expected after {} of {}",
                point.as_expected,
                count(all as u64, "crash").replace("crashs", "crashes")
            ),
        };
        let broken = match point.violated {
            0 => String::new(),
            some => paint(BAD, format!("; violated in {some}")),
        };
        return format!("{how} by {}{crashes}{broken}", count(point.visits as u64, "run"));
    };
    paint(NOTE, format!("not visited: {why}"))
}

fn legend(report: &SweepReport) -> String {
    let mut text = String::new();
    for mishap in Mishap::ALL {
        let used = report.cells().any(|(_, one, cell)| {
            one == mishap && one != Mishap::Nothing && cell.mark != Mark::Meaningless
        });
        if used {
            text += &paint(DIM, format!("{:9}  {}\n", mishap.text(), mishap.meaning()));
        }
    }
    let mut points = report.plans.iter().flat_map(|plan| &plan.points);
    if points.any(|point| point.visit == Visit::Approximated) {
        text += &paint(DIM, APPROXIMATED);
    }
    let why: BTreeSet<&str> = report
        .cells()
        .filter_map(|(_, _, cell)| match cell.mark {
            Mark::Impossible(why) => Some(why),
            _ => None,
        })
        .collect();
    for why in why {
        text += &paint(DIM, format!("{:9}  not tried: {why}\n", "–"));
    }
    text
}

/// Where it is violated, or proves nothing.
fn listed(report: &SweepReport) -> String {
    let violated: Vec<(&Row, Mishap, &Cell)> =
        report.cells().filter(|(_, _, cell)| matches!(cell.mark, Mark::Violated(_))).collect();
    let mut text = String::new();
    for (row, mishap, cell) in violated.iter().take(LISTED_MAX) {
        let kinds = match &cell.mark {
            Mark::Violated(kinds) => kinds.iter().map(ToString::to_string).collect::<Vec<_>>(),
            _ => Vec::new(),
        };
        let place = tell_place(row, *mishap);
        text += &format!("\n{} at {place}: {}\n", paint(BAD, "violated"), kinds.join(", "));
        if let Some(replay) = &cell.replay {
            text += &format!("  run it again:  {replay}\n");
        }
    }
    if violated.len() > LISTED_MAX {
        let more = violated.len() - LISTED_MAX;
        text += &format!(
            "\nand {more} more, marked in the table; their plans are in the folder sweep of the report\n"
        );
    }
    let open = report.cells().filter_map(|(row, mishap, cell)| match &cell.mark {
        Mark::Untested(why) => Some((tell_place(row, mishap), "untested", (*why).to_owned())),
        Mark::NoAnswer(error) => Some((tell_place(row, mishap), "no answer", error.clone())),
        Mark::Broke(words) => Some((tell_place(row, mishap), "internal error", words.clone())),
        _ => None,
    });
    let open: Vec<_> = open.collect();
    for (place, what, why) in open.iter().take(LISTED_MAX) {
        text += &format!("\n{} at {place}: {why}\n", paint(NOTE, what));
    }
    if open.len() > LISTED_MAX {
        let more = open.len() - LISTED_MAX;
        text += &format!("\nand {more} more that prove nothing, marked in the table\n");
    }
    text
}

/// A cell in words.
pub(super) fn tell_place(row: &Row, mishap: Mishap) -> String {
    let place = format!("\"{}\", {}", row.boundary.doing, row.boundary.at);
    match mishap {
        Mishap::Nothing => place,
        _ => format!("{place}, {}", mishap.text()),
    }
}

fn remarks(report: &SweepReport) -> String {
    let mut text = String::new();
    for one in &report.accepted {
        let runs = count(one.cases, "run");
        let title = format!("accepted known weakness {} in {runs}", one.weakness);
        text += &format!("\n{}: {}\n", paint(NOTE, title), one.title);
        text += &paint(DIM, format!("  {}\n  source: {}\n", one.explanation, one.source));
    }
    for (breach, runs) in &report.breaches {
        let runs = count(*runs, "run");
        let title = format!("accepted breach of {breach} on {} in {runs}", breach.target);
        text += &format!("\n{}: {}\n", paint(NOTE, title), breach.reason);
    }
    for line in report.left_out.iter().chain(&report.troubles) {
        text += &paint(NOTE, format!("\n{line}\n"));
    }
    text
}

fn verdict(report: &SweepReport) -> String {
    let counts = report.counts();
    let run = format!(
        "{} on {} in {:.1} s: {}",
        count(runs(counts) as u64, "run"),
        report.driven,
        report.seconds,
        tell_counts(counts)
    );
    let boundaries = boundaries(report);
    let sentence = match report.exit() {
        Exit::Holds => paint(GOOD, format!("holds at all of {boundaries}{}", unvisited(report))),
        Exit::Violated => {
            let broken = rows_with(report, |mark| matches!(mark, Mark::Violated(_)));
            let (cut, left) = (cut_short(report), unvisited(report));
            paint(BAD, format!("violated at {broken} of {boundaries}{cut}{left}"))
        }
        Exit::Internal => paint(BAD, "internal error: please report it with the plan"),
        Exit::NothingSelected => paint(NOTE, "nothing was swept"),
        _ => paint(NOTE, format!("inconclusive: {}", why_inconclusive(report))),
    };
    format!("\n{run}\n{sentence}\n")
}

/// What a verdict of a sweep that did not come to its end has to say.
fn cut_short(report: &SweepReport) -> &'static str {
    match report.ended {
        Ended::Interrupted => "; it was interrupted",
        Ended::TargetGone => "; the target stopped answering",
        Ended::FailFast => "; it stopped at the first failure",
        _ => "",
    }
}

/// How many boundaries were struck, and how many were not: where no mishap was tried, nothing is known.
fn boundaries(report: &SweepReport) -> String {
    let judged = rows_with(report, Mark::is_judged);
    let rest = rows_with(report, |_| true) - judged;
    let struck = count(judged as u64, "boundary").replace("boundarys", "boundaries");
    match rest {
        0 => struck,
        _ => format!("{struck} ({rest} more were not struck)"),
    }
}

/// How many boundaries have a cell like this.
fn rows_with(report: &SweepReport, wanted: impl Fn(&Mark) -> bool) -> usize {
    let rows = report.plans.iter().flat_map(struck);
    rows.filter(|row| row.cells.iter().any(|cell| wanted(&cell.mark))).count()
}

/// What the verdict leaves unsaid: points that this target, driven this way, was not struck at.
fn unvisited(report: &SweepReport) -> String {
    let points = report.plans.iter().flat_map(|plan| &plan.points);
    let open = points.filter(|point| point.not_visited.is_some_and(|why| why != NOT_IN_TV2));
    let mut numbers: Vec<u8> = open.map(|point| point.number).collect();
    numbers.sort_unstable();
    numbers.dedup();
    let numbers: Vec<String> = numbers.iter().map(ToString::to_string).collect();
    match numbers.len() {
        0 => String::new(),
        1 => format!("; not visited: point {}", numbers.join(", ")),
        _ => format!("; not visited: points {}", numbers.join(", ")),
    }
}

fn runs(counts: Counts) -> usize {
    counts.holds
        + counts.accepted
        + counts.violated
        + counts.untested
        + counts.no_answer
        + counts.broke
}

fn tell_counts(counts: Counts) -> String {
    let parts = [
        (counts.violated, "violated"),
        (counts.holds, "hold"),
        (counts.accepted, "accepted"),
        (counts.untested, "untested"),
        (counts.no_answer, "without an answer"),
        (counts.broke, "broke"),
        (counts.not_run, "not run"),
        (counts.impossible, "impossible here"),
    ];
    let told = parts.into_iter().filter(|(number, _)| *number > 0);
    told.map(|(number, what)| format!("{number} {what}")).collect::<Vec<_>>().join(", ")
}

/// Why nothing can be concluded, the weightiest reason alone.
pub fn why_inconclusive(report: &SweepReport) -> String {
    let counts = report.counts();
    match report.ended {
        Ended::Interrupted => "it was interrupted".to_owned(),
        Ended::TargetGone => "the target stopped answering".to_owned(),
        _ if counts.no_answer > 0 => {
            format!("the target did not answer in {}", count(counts.no_answer as u64, "run"))
        }
        _ if counts.untested > 0 => format!("untested in {}", count(counts.untested as u64, "run")),
        _ => "not everything could be written or cleaned up".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use onceness_reference::features::Features;
    use onceness_reference::plan::Protocol;

    use super::*;
    use crate::options::{Claims, Confirm, Options, Shrinking};
    use crate::sweep::history::read_process_write;
    use crate::sweep::{Base, blank};
    use crate::trial::Kind;

    /// A sweep of a target that can do so much, in which every cell that can be run came to the mark.
    fn swept(features: Features, mark: &Mark) -> SweepReport {
        let options = Options {
            target: "kafka://localhost:9092".to_owned(),
            deterministic: false,
            seed: 0,
            cases: None,
            time: None,
            until_covered: None,
            jobs: 1,
            claims: Claims::all(),
            accept: [].into(),
            deny_stale: false,
            fail_fast: false,
            shrink: Shrinking {
                tries_max: 0,
                time_max: std::time::Duration::ZERO,
                confirm: Confirm::ONCE,
                final_runs: 0,
            },
        };
        let driven = options.target.clone();
        let mut report = SweepReport::new(driven, &options, Ended::Complete, &Default::default());
        let plan = read_process_write(Protocol::Tv2, features, 0);
        let base = Base { name: "the loop".to_owned(), plan };
        let mut rows = blank(&base, features);
        for cell in rows.iter_mut().flat_map(|row| &mut row.cells) {
            if cell.mark == Mark::NotRun {
                cell.mark = mark.clone();
                cell.visit = Visit::Exact;
            }
        }
        report.take(base, rows);
        report
    }

    fn last_line(report: &SweepReport) -> String {
        let text = anstream::adapter::strip_str(&render(report)).to_string();
        text.lines().last().unwrap_or_default().to_owned()
    }

    #[test]
    fn where_nothing_can_be_tried_nothing_holds() {
        let reachable = Features { restart: false, kill: false, pause: false, ..Features::ALL };
        let report = swept(reachable, &Mark::Holds);
        assert_eq!(report.exit(), Exit::Holds);
        assert_eq!(
            last_line(&report),
            "holds at all of 55 boundaries (7 more were not struck); not visited: points 9, 10"
        );
        let text = render(&report);
        assert!(text.contains("not tried: only a broker behind launch: or container: is killed"));
        assert_eq!(last_line(&swept(Features::ALL, &Mark::Holds)), "holds at all of 62 boundaries");
    }

    #[test]
    fn a_client_whose_requests_are_its_own_is_struck_between_them_only() {
        let report = swept(Features { fates: false, ..Features::ALL }, &Mark::Holds);
        let text = render(&report);
        assert!(text.contains("not tried: nothing can befall the requests of this client"));
        assert!(last_line(&report).ends_with("; not visited: points 7, 8"), "{text}");
    }

    #[test]
    fn of_many_cells_that_prove_nothing_some_are_told_and_all_are_counted() {
        let report = swept(Features::ALL, &Mark::Untested("for a reason"));
        assert_eq!(report.exit(), Exit::Inconclusive);
        let text = anstream::adapter::strip_str(&render(&report)).to_string();
        let untested = report.counts().untested;
        assert_eq!(text.matches(": for a reason").count(), LISTED_MAX);
        let more = format!("and {} more that prove nothing", untested - LISTED_MAX);
        assert!(text.contains(&more), "{text}");
        assert_eq!(last_line(&report), format!("inconclusive: untested in {untested} runs"));
    }

    #[test]
    fn a_sweep_that_was_cut_short_says_so_and_blames_nobody_for_it() {
        let mut report = swept(Features { restart: false, ..Features::ALL }, &Mark::NotRun);
        let broken = Mark::Violated(vec![Kind { property: "order", weakness: None }]);
        report.plans[0].rows[0].cells[0].mark = broken.clone();
        report.plans[0].rows[2].cells[1].mark = broken;
        report.ended = Ended::Interrupted;
        let line = last_line(&report);
        assert!(line.starts_with(
            "violated at 1 of 1 boundary (61 more were not struck); it was interrupted"
        ));
        let why = |number: usize| report.plans[0].points[number - 1].not_visited;
        // Its client could have crashed there, had there been time; the broker could not.
        assert_eq!(why(1), Some("the sweep ended before"));
        assert_eq!(why(9), Some("only a broker behind launch: or container: is killed or paused"));
        assert_eq!(why(3), Some("no point of its own in TV2"));
    }

    #[test]
    fn a_word_that_is_not_plain_is_explained() {
        let mut report = swept(Features::ALL, &Mark::Holds);
        assert!(!render(&report).contains(APPROXIMATED.trim_end()));
        report.plans[0].points[8].visit = Visit::Approximated;
        assert!(render(&report).contains(APPROXIMATED.trim_end()));
    }
}
