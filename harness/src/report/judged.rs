//! What the properties say of a single history: for `run`, `replay` and `check`.

use std::collections::BTreeMap;

use onceness_properties::{Judgement, Verdict, Violation};
use onceness_reference::history::History;
use serde_json::{Value, json};

use super::style::{BAD, GOOD, NOTE, count, paint};
use super::timeline;
use crate::exit::Exit;
use crate::options::Options;
use crate::trial::{Kind, deviations, violations};

/// Kinds of violations, each with the claims that it breaks.
type Kinds<'a> = BTreeMap<Kind, (Vec<&'static str>, &'a Violation)>;

/// A history and what the properties say of it.
#[derive(Debug)]
pub struct Judged {
    /// The history.
    pub history: History,
    /// What they say.
    pub judgements: Vec<Judgement>,
}

impl Judged {
    /// What it comes to: violated beyond what is accepted, held, or never put to the test at all.
    pub fn exit(&self, options: &Options) -> Exit {
        if !self.kinds(options, false).is_empty() {
            return Exit::Violated;
        }
        let chosen = (self.judgements.iter()).filter(|one| options.claims.has(one.claim));
        let mut asked =
            chosen.filter(|one| !matches!(one.verdict, Verdict::Untested | Verdict::Unsupported));
        match asked.next() {
            Some(_) => Exit::Holds,
            None => Exit::Inconclusive,
        }
    }

    /// The kinds of violations that are accepted, or those that are not.
    fn kinds(&self, options: &Options, accepted: bool) -> Kinds<'_> {
        let mut kinds: Kinds<'_> = BTreeMap::new();
        for (kind, claim, violation) in violations(&self.judgements, &options.claims) {
            let found = options.accept.find(kind.property, claim, violation);
            if found.is_some() == accepted {
                let (claims, _) = kinds.entry(kind).or_insert((Vec::new(), violation));
                claims.push(claim.name());
                claims.dedup();
            }
        }
        kinds
    }

    /// For people: what is violated, on the time line; the whole of it if wanted even where nothing is.
    pub fn render(&self, options: &Options, whole: bool) -> String {
        let failing = self.kinds(options, false);
        let mut text = String::new();
        if whole {
            let evidence = failing.values().flat_map(|(_, violation)| &violation.evidence);
            let evidence: Vec<_> = evidence.copied().collect();
            text += &timeline::render(&self.history, &evidence, true);
        }
        for (kind, (claims, violation)) in &failing {
            let title = format!("{kind} violated (for {})", claims.join(", "));
            text += &format!("{}\n", paint(BAD, title));
            if !whole {
                text += &timeline::render(&self.history, &violation.evidence, false);
            }
            text += &paint(BAD, format!("  => {}\n", violation.story));
        }
        for (kind, (_, violation)) in self.kinds(options, true) {
            let title = format!("{kind}, accepted: {}\n", violation.story);
            text += &paint(NOTE, title);
        }
        let deviations = deviations(&self.judgements, &options.claims);
        // What breaks a promise was told above.
        for (what, deviation) in deviations.into_iter().filter(|(_, one)| !one.breaks) {
            text += &paint(NOTE, format!("deviation: {what}\n"));
            if !whole {
                text += &timeline::render(&self.history, &deviation.evidence, false);
            }
            text += &paint(NOTE, format!("  => {}\n", deviation.story));
        }
        text + &self.sum(options)
    }

    fn sum(&self, options: &Options) -> String {
        let chosen = (self.judgements.iter()).filter(|one| options.claims.has(one.claim));
        let (mut holds, mut times, mut untested) = (0, 0, 0);
        for one in chosen {
            match one.verdict {
                Verdict::Holds { times: often } => (holds, times) = (holds + 1, times + often),
                Verdict::Untested | Verdict::Unsupported => untested += 1,
                Verdict::Violated(_) => {}
            }
        }
        let held =
            format!("{} kept, put to the test {}", count(holds, "promise"), count(times, "time"));
        let style = if self.exit(options) == Exit::Holds { GOOD } else { NOTE };
        format!("{}; {} not put to the test\n", paint(style, held), count(untested, "promise"))
    }

    /// For programs.
    pub fn json(&self, options: &Options) -> Value {
        let chosen = (self.judgements.iter()).filter(|one| options.claims.has(one.claim));
        let verdicts = chosen.map(|one| {
            json!({
                "property": one.property.name,
                "claim": one.claim.name(),
                "verdict": one.verdict,
            })
        });
        json!({
            "version": 1,
            "exit": self.exit(options).code(),
            "verdicts": verdicts.collect::<Vec<_>>(),
            "deviations": deviations(&self.judgements, &options.claims).values().collect::<Vec<_>>(),
        })
    }
}
