//! The detection matrix as a page of Markdown to be kept. Nothing in it depends on the machine: the same seed, the same page.

use super::super::style::{count, thousands};
use super::{needed, word};
use crate::selftest::{Correct, Detection, SelfTest, unsearched};

/// The whole page.
pub fn render(test: &SelfTest) -> String {
    let mut text = head(test);
    text += "| defect | what is done wrong | verdict | found by | median | worst | steps |\n";
    text += "|---|---|---|---|---:|---:|---:|\n";
    for one in &test.detections {
        text += &detection(one, test.options.cases);
    }
    if !test.options.left_out.is_empty() {
        text += &left_out(test);
    }
    if !test.correct.is_empty() {
        text += &correct(test);
    }
    text
}

fn left_out(test: &SelfTest) -> String {
    let mut text = "
## Not searched for yet

The other defects, and what is missing before a search could find them. Each is shown by a few requests in the tests of the
reference.

| defect | what the broker does wrong | needs |
|---|---|---|
"
    .to_owned();
    for defect in &test.options.left_out {
        let needs = unsearched(defect).unwrap_or_default();
        text += &format!("| `{}` | {} | {needs} |\n", defect.name, defect.summary);
    }
    text
}

fn head(test: &SelfTest) -> String {
    let options = &test.options;
    let (seed, repeats) = (options.seed, options.repeats);
    format!(
        "# Detection

What the suite finds of its own zoo. All is right here but for one seeded defect, of the broker, of its client or of an
application, a copy of a bug that a real one had (`onceness defects` says of which). Written by a command, and by it alone:

```
onceness selftest --seed {seed} --repeats {repeats} --cases {} --correct-cases {} --page FILE
```

Each defect was searched for {}, each time with random cases of its own, {} at most. \"Found\" is what every
search found. Median and worst are the cases until the first that fails, that one included. \"Found by\" is what that case
breaks, and for which claims: of several properties, the one that the catalogue names first. Steps are those of the first
find, before and after shrinking.

",
        options.cases,
        options.correct_cases,
        count(repeats, "time"),
        count(options.cases, "case"),
    )
}

fn detection(one: &Detection, cases: u64) -> String {
    let by = one.found_by().into_iter().map(|by| {
        let claims: Vec<&str> = by.claims.iter().map(|claim| claim.name()).collect();
        let times = match by.searches == one.hits.len() as u64 {
            true => String::new(),
            false => format!(" in {}", by.searches),
        };
        format!("{}{times} ({})", by.property, claims.join(", "))
    });
    let steps = one.smallest.map(|one| format!("{} → {}", one.steps_original, one.steps));
    format!(
        "| `{}` | {} | {} | {} | {} | {} | {} |\n",
        one.defect.name,
        one.defect.summary,
        word(one.standing()),
        by.collect::<Vec<_>>().join("; "),
        needed(one.median(), cases),
        needed(one.worst(), cases),
        steps.unwrap_or_default(),
    )
}

fn correct(test: &SelfTest) -> String {
    let mut text = "
## No false alarms

Brokers that are right, each with other choices of those that the protocol leaves open. Known weaknesses of the protocol are
accepted by name, for whoever follows the protocol has them.

| correct broker | cases | false accusations |
|---|---:|---:|
"
    .to_owned();
    for Correct { name, cases, accusations, .. } in &test.correct {
        text += &format!("| {name} | {} | {} |\n", thousands(*cases), accusations.len());
    }
    text
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::render;
    use crate::selftest::tests::{acquitted, came_to, detection};

    #[test]
    fn the_page_has_no_timings() {
        let found = [(4, "resend"), (1_234, "order"), (9, "order")];
        let detections = vec![detection(&found, 0, 0), detection(&found[..1], 2, 0)];
        let mut test = came_to(detections, vec![acquitted()]);
        test.options.left_out =
            vec![onceness_reference::defects::find("timeout-never").expect("a defect")];
        expect![[r##"
            # Detection

            What the suite finds of its own zoo. All is right here but for one seeded defect, of the broker, of its client or of an
            application, a copy of a bug that a real one had (`onceness defects` says of which). Written by a command, and by it alone:

            ```
            onceness selftest --seed 1 --repeats 3 --cases 2000 --correct-cases 5000 --page FILE
            ```

            Each defect was searched for 3 times, each time with random cases of its own, 2,000 cases at most. "Found" is what every
            search found. Median and worst are the cases until the first that fails, that one included. "Found by" is what that case
            breaks, and for which claims: of several properties, the one that the catalogue names first. Steps are those of the first
            find, before and after shrinking.

            | defect | what is done wrong | verdict | found by | median | worst | steps |
            |---|---|---|---|---:|---:|---:|
            | `no-dedup` | a resent batch is appended again | found | order in 2 (idempotent); resend in 1 (idempotent) | 9 | 1,234 | 33 → 3 |
            | `no-dedup` | a resent batch is appended again | missed | resend (idempotent) | > 2,000 | > 2,000 | 33 → 3 |

            ## Not searched for yet

            The other defects, and what is missing before a search could find them. Each is shown by a few requests in the tests of the
            reference.

            | defect | what the broker does wrong | needs |
            |---|---|---|
            | `timeout-never` | a transaction that its producer left open is never aborted, and holds readers back for ever | a transaction that runs into its timeout; `onceness serve` has timeouts |

            ## No false alarms

            Brokers that are right, each with other choices of those that the protocol leaves open. Known weaknesses of the protocol are
            accepted by name, for whoever follows the protocol has them.

            | correct broker | cases | false accusations |
            |---|---:|---:|
            | as Kafka chooses | 5,000 | 0 |
        "##]].assert_eq(&render(&test));
    }
}
