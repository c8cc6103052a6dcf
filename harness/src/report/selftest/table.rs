//! The detection matrix on a terminal: a line a defect, a line a correct broker, then what went wrong in full.

use super::super::style::{BAD, DIM, GOOD, HEAD, NOTE, count, paint, thousands};
use super::super::{Failure, timeline};
use super::{needed, word};
use crate::exit::Exit;
use crate::selftest::{Correct, Detection, SelfTest, Standing};

/// The whole report.
pub fn render(test: &SelfTest) -> String {
    let mut text = detections(test);
    if !test.correct.is_empty() {
        text += &correct(test);
    }
    for one in &test.correct {
        for accusation in &one.accusations {
            text += &accused(one, accusation);
        }
    }
    for trouble in test.troubles() {
        text += &paint(BAD, format!("\ninternal error with {trouble}\n"));
    }
    text + &verdict(test)
}

fn detections(test: &SelfTest) -> String {
    let name = width(test.detections.iter().map(|one| one.defect.name), "defect");
    let found: Vec<String> = test.detections.iter().map(found_by).collect();
    let by = width(found.iter().map(String::as_str), "found by");
    let head = format!(
        "{:name$}  {:10}  {:by$}  {:>8}  {:>8}  {:>6}  {:>7}  {:>6}\n",
        "defect", "verdict", "found by", "searches", "median", "worst", "steps", "time"
    );
    let mut text = paint(HEAD, head);
    for (one, found) in test.detections.iter().zip(found) {
        let verdict = paint(style(one), format!("{:10}", word(one.standing())));
        let of = |cases| needed(cases, test.options.cases);
        text += &format!(
            "{:name$}  {verdict}  {found:by$}  {:>8}  {:>8}  {:>6}  {:>7}  {:>4.2} s\n",
            one.defect.name,
            format!("{} of {}", one.hits.len(), test.options.repeats),
            of(one.median()),
            of(one.worst()),
            one.smallest
                .map_or("-".to_owned(), |one| format!("{} of {}", one.steps, one.steps_original)),
            one.seconds,
        );
    }
    text + &paint(
        DIM,
        "searches: those that found it. median, worst: cases until the first that fails. steps: of the first find, after \
         shrinking.\n",
    )
}

/// "order 4, resend 1".
fn found_by(one: &Detection) -> String {
    let all = one.found_by();
    let told = all.iter().map(|by| match all.len() {
        1 => by.property.to_owned(),
        _ => format!("{} {}", by.property, by.searches),
    });
    told.collect::<Vec<_>>().join(", ")
}

fn style(one: &Detection) -> anstyle::Style {
    match one.standing() {
        Standing::Found => GOOD,
        Standing::Missed => BAD,
        Standing::Unfinished => NOTE,
    }
}

fn correct(test: &SelfTest) -> String {
    let name = width(test.correct.iter().map(|one| one.name), "correct broker");
    let head =
        format!("\n{:name$}  {:12}  {:>7}  {:>6}\n", "correct broker", "verdict", "cases", "time");
    let mut text = paint(HEAD, head);
    for one in &test.correct {
        let (style, word) = match (one.accusations.is_empty(), one.finished) {
            (false, _) => (BAD, "accused"),
            (true, false) => (NOTE, "unfinished"),
            (true, true) => (GOOD, "not accused"),
        };
        let verdict = paint(style, format!("{word:12}"));
        let cases = thousands(one.cases);
        let met =
            one.accepted.iter().map(|met| format!("{} in {}", met.weakness, thousands(met.cases)));
        let met: Vec<String> = met.collect();
        let met = match met.is_empty() {
            true => String::new(),
            false => paint(DIM, format!("  accepted: {}", met.join(", "))),
        };
        text +=
            &format!("{:name$}  {verdict}  {cases:>7}  {:>4.1} s{met}\n", one.name, one.seconds);
    }
    text
}

/// A false accusation is a bug of the suite, or of the model: its finder wants to see what happened.
fn accused(one: &Correct, accusation: &Failure) -> String {
    let kind = accusation.kind;
    let title = format!("{kind} violated by a correct broker ({})", one.name);
    let seen = match &accusation.drawn {
        Some((seed, _)) => {
            format!("  in {}, the first of seed {seed}\n", count(accusation.cases, "case"))
        }
        None => String::new(),
    };
    let smallest = &accusation.shrunk.smallest;
    let evidence = &smallest.violation.evidence;
    let line = timeline::render(&smallest.history, evidence, false);
    let story = paint(BAD, format!("  => {}\n", smallest.violation.story));
    format!("\n{}\n{seen}{line}{story}", paint(BAD, title))
}

fn verdict(test: &SelfTest) -> String {
    let found = test.detections.iter().filter(|one| one.standing() == Standing::Found).count();
    let accused = test.correct.iter().filter(|one| !one.accusations.is_empty()).count();
    let (detections, correct) = (test.detections.len(), test.correct.len());
    let run = format!(
        "{} of {} found by every search, {accused} of {} accused, seed {}, in {:.1} s",
        thousands(found as u64),
        count(detections as u64, "defect"),
        count(correct as u64, "correct broker"),
        test.options.seed,
        test.seconds,
    );
    let left_out: Vec<&str> = test.options.left_out.iter().map(|defect| defect.name).collect();
    let left_out = match left_out.is_empty() {
        true => String::new(),
        false => paint(DIM, format!("not searched for yet: {}\n", left_out.join(", "))),
    };
    let missed = test.detections.iter().filter(|one| one.standing() == Standing::Missed);
    let missed: Vec<&str> = missed.map(|one| one.defect.name).collect();
    let sentence = match test.exit() {
        Exit::Holds if test.correct.is_empty() => {
            paint(GOOD, "every defect that was searched for was found")
        }
        Exit::Holds => paint(
            GOOD,
            "every defect that was searched for was found, and no correct broker accused",
        ),
        Exit::Violated if missed.is_empty() => paint(BAD, "a correct broker was accused"),
        Exit::Violated => paint(BAD, format!("missed: {}", missed.join(", "))),
        Exit::Internal => paint(BAD, "internal error: please report it with the seed above"),
        _ => paint(NOTE, "inconclusive: it was interrupted"),
    };
    format!("\n{run}\n{left_out}{sentence}\n")
}

fn width<'a>(names: impl Iterator<Item = &'a str>, head: &str) -> usize {
    names.map(str::len).max().unwrap_or(0).max(head.len())
}

#[cfg(test)]
mod tests {
    use anstream::adapter::strip_str;
    use expect_test::expect;

    use super::render;
    use crate::selftest::tests::{acquitted, came_to, detection};

    #[test]
    fn the_table_says_what_was_found_and_what_was_not() {
        let found = [(4, "resend"), (1_234, "order"), (9, "order")];
        let detections = vec![
            detection(&found, 0, 0),
            detection(&found[..2], 1, 0),
            detection(&found[2..], 0, 2),
            detection(&[], 0, 3),
        ];
        let mut unfinished = acquitted();
        (unfinished.name, unfinished.finished, unfinished.cases) = ("in haste", false, 17);
        let mut test = came_to(detections, vec![acquitted(), unfinished]);
        test.options.left_out =
            vec![onceness_reference::defects::find("timeout-never").expect("a defect")];
        expect![[r#"
            defect    verdict     found by           searches    median   worst    steps    time
            no-dedup  found       order 2, resend 1    3 of 3         9   1,234  3 of 33  0.25 s
            no-dedup  missed      order 1, resend 1    2 of 3     1,234  > 2,000  3 of 33  0.25 s
            no-dedup  unfinished  order                1 of 3         9       9  3 of 33  0.25 s
            no-dedup  unfinished                       0 of 3         -       -        -  0.25 s
            searches: those that found it. median, worst: cases until the first that fails. steps: of the first find, after shrinking.

            correct broker    verdict         cases    time
            as Kafka chooses  not accused     5,000   0.5 s
            in haste          unfinished         17   0.5 s

            1 of 4 defects found by every search, 0 of 2 correct brokers accused, seed 1, in 1.2 s
            not searched for yet: timeout-never
            missed: no-dedup
        "#]].assert_eq(&strip_str(&render(&test)).to_string());
    }
}
