//! One failure, for people: what is broken, where it came from, its smallest form as a time line, and how to run it again.

use onceness_properties::PROPERTIES;

use super::style::{BAD, DIM, HEAD, NOTE, count, paint, thousands};
use super::{Failure, timeline};
use crate::shrink::{ShrinkEnded, Shrunk};

/// The whole story of a failure.
pub fn render(failure: &Failure) -> String {
    let mut text = title(failure);
    let property = failure.kind.property;
    if let Some(known) = PROPERTIES.iter().find(|known| known.name == property) {
        text += &format!("  promise: {}\n", known.promise);
    }
    if let Some(known) = failure.kind.weakness.and_then(crate::weakness::find) {
        let (explanation, source) = (known.explanation, known.source);
        text += &paint(NOTE, format!("  known weakness: {}\n", known.title));
        text += &format!("  {explanation}\n  source: {source}\n");
        text += &format!("  accept it with --accept {}\n", known.id);
    }
    if let Some(seen) = &seen(failure) {
        text += &format!("  {seen}\n");
    }
    text += &format!("  {}\n\n", smallest(failure));
    let smallest = &failure.shrunk.smallest;
    text += &timeline::render(&smallest.history, &smallest.violation.evidence, false);
    text += &story(failure);
    text += &format!("\n  run it again:  {}\n", paint(HEAD, &failure.replay));
    if let Some((_, profile)) = &failure.drawn {
        // Profiles are plain data, which always serializes.
        let profile = serde_json::to_string(profile).unwrap_or_default();
        text += &paint(DIM, format!("  profile: {profile}\n"));
    }
    text
}

/// The story of a failure whose smallest form is that of another one, told before.
pub fn render_alike(failure: &Failure, told: &Failure) -> String {
    let alike = format!("  the same steps break {}, above\n", told.kind);
    let replay = format!("  run it again:  {}\n", paint(HEAD, &failure.replay));
    title(failure) + &alike + &story(failure) + &replay
}

fn title(failure: &Failure) -> String {
    let property = failure.kind.property;
    let title = match failure.kind.weakness {
        Some(weakness) => format!("{weakness}: {property} violated"),
        None => format!("{property} violated"),
    };
    let claims: Vec<&str> = failure.claims.iter().map(|claim| claim.name()).collect();
    let claims = match claims.is_empty() {
        true => String::new(),
        false => format!(" (for {})", claims.join(", ")),
    };
    format!("{}{claims}\n", paint(BAD, title))
}

fn story(failure: &Failure) -> String {
    let story = &failure.shrunk.smallest.violation.story;
    paint(BAD, format!("  => {story}")) + "\n"
}

fn seen(failure: &Failure) -> Option<String> {
    let (seed, _) = failure.drawn.as_ref()?;
    let cases = count(failure.cases, "case");
    let number = failure.index.map(|index| thousands(index + 1))?;
    Some(format!("seen in {cases}, first in case {number} (seed {seed})"))
}

fn smallest(failure: &Failure) -> String {
    let Shrunk { smallest, tries, ended, hits, runs } = &failure.shrunk;
    if *ended == ShrinkEnded::Unrepeatable {
        let runs = count(u64::from(*runs), "run");
        return format!(
            "did not fail again in {runs} of the same plan, so it is told as it was seen"
        );
    }
    let from = count(failure.original.size() as u64, "step");
    let to = count(smallest.plan.size() as u64, "step");
    let tries = count(*tries, "candidate");
    let how = match ended {
        ShrinkEnded::Minimal | ShrinkEnded::Unrepeatable => "",
        ShrinkEnded::BudgetSpent => "; stopped by the budget",
        ShrinkEnded::Interrupted => "; interrupted",
        ShrinkEnded::TargetGone => "; the target stopped answering",
    };
    let rate = match (hits, runs) {
        (_, 0) => String::new(),
        (hits, runs) => format!("; fails in {hits} of {}", count(u64::from(*runs), "run")),
    };
    format!("shrunk from {from} to {to} by {tries}{how}{rate}")
}
