//! Counting searches, on detections made by hand.

use onceness_properties::Claim;
use onceness_reference::defects;

use super::*;
use crate::trial::Kind;

/// A defect that searches found after so many cases, each by a property.
pub(crate) fn detection(hits: &[(u64, &'static str)], missed: u64, unfinished: u64) -> Detection {
    let hits = hits.iter().map(|(cases, property)| Hit {
        seed: 7,
        cases: *cases,
        kind: Kind { property, weakness: None },
        claims: vec![Claim::Idempotent],
    });
    let hits: Vec<Hit> = hits.collect();
    let smallest =
        (!hits.is_empty()).then_some(Smallest { steps_original: 33, steps: 3, tries: 70 });
    Detection {
        defect: defects::find("no-dedup").expect("a defect"),
        hits,
        missed,
        unfinished,
        smallest,
        troubles: Vec::new(),
        seconds: 0.25,
    }
}

/// A correct broker that nobody accused.
pub(crate) fn acquitted() -> Correct {
    Correct {
        name: "as Kafka chooses",
        cases: 5_000,
        accusations: Vec::new(),
        accepted: Vec::new(),
        finished: true,
        troubles: Vec::new(),
        seconds: 0.5,
    }
}

/// A test that came to these.
pub(crate) fn came_to(detections: Vec<Detection>, correct: Vec<Correct>) -> SelfTest {
    let options = SelfTestOptions {
        seed: 1,
        defects: vec![defects::find("no-dedup").expect("a defect")],
        left_out: Vec::new(),
        repeats: 3,
        cases: 2_000,
        correct_cases: 5_000,
        jobs: 2,
    };
    SelfTest { options, detections, correct, seconds: 1.25 }
}

fn exit(detection: Detection) -> Exit {
    came_to(vec![detection], vec![acquitted()]).exit()
}

const RESEND: &str = "resend";
const ORDER: &str = "order";

#[test]
fn a_defect_is_found_if_every_search_found_it() {
    assert_eq!(exit(detection(&[(4, RESEND), (1, RESEND), (9, ORDER)], 0, 0)), Exit::Holds);
    assert_eq!(exit(detection(&[(4, RESEND), (1, RESEND)], 1, 0)), Exit::Violated);
    assert_eq!(exit(detection(&[(4, RESEND)], 0, 2)), Exit::Inconclusive);
    // What was missed stays missed, whatever else was left undone.
    assert_eq!(exit(detection(&[], 1, 2)), Exit::Violated);
}

#[test]
fn a_find_that_was_not_shrunk_is_inconclusive() {
    let unshrunk = Detection { smallest: None, ..detection(&[(4, RESEND)], 0, 0) };
    assert_eq!(exit(unshrunk), Exit::Inconclusive);
}

#[test]
fn a_bug_of_ours_is_no_success() {
    let broke = Detection { troubles: vec!["x".to_owned()], ..detection(&[(4, RESEND)], 0, 0) };
    assert_eq!(exit(broke), Exit::Internal);
}

#[test]
fn cases_needed_count_searches_that_missed_as_the_longest() {
    let numbers = |hits: &[(u64, &'static str)], missed| {
        let one = detection(hits, missed, 0);
        (one.median(), one.worst())
    };
    let cases = |number| Some(Needed::Cases(number));
    assert_eq!(numbers(&[(9, RESEND), (1, RESEND), (4, RESEND)], 0), (cases(4), cases(9)));
    assert_eq!(numbers(&[(9, RESEND), (1, RESEND)], 0), (cases(1), cases(9)));
    assert_eq!(numbers(&[(9, RESEND)], 1), (cases(9), Some(Needed::More)));
    assert_eq!(numbers(&[(9, RESEND)], 2), (Some(Needed::More), Some(Needed::More)));
    assert_eq!(numbers(&[], 0), (None, None));
}

#[test]
fn the_property_of_most_searches_comes_first() {
    let found = detection(&[(4, RESEND), (1, ORDER), (9, ORDER)], 0, 0).found_by();
    let told: Vec<_> = found.iter().map(|one| (one.property, one.searches)).collect();
    assert_eq!(told, [(ORDER, 2), (RESEND, 1)]);
    assert_eq!(found[0].claims, [Claim::Idempotent]);
}

#[test]
fn searches_share_no_case() {
    let cases = |number| (0..1_000).map(move |case| case_seed(search_seed(1, number), case));
    let all: std::collections::BTreeSet<u64> = (0..10).flat_map(cases).collect();
    assert_eq!(all.len(), 10_000);
}
