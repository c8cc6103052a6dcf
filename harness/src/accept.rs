//! Breaches that are known and accepted: reported, counted, and no reason to fail.
//!
//! Two kinds in one list: weaknesses of the protocol, by id, whatever they break (`--accept`), and breaches of a target, by
//! property (`[[accept]]` of `onceness.toml`). Of the latter it is also told when they no longer occur, for a list of
//! excuses that nobody weeds soon excuses everything. They are counted and not shrunk: who wants to see one in full runs
//! without the file (`--config /dev/null`).

use std::fmt;

use onceness_properties::{Claim, Violation};
use onceness_reference::features::Features;
use serde::Serialize;

use crate::nearest::unknown;
use crate::tally::Tally;
use crate::target::{SCHEMES, Target};

/// All that is accepted in a run. What comes first counts, if several fit.
#[derive(Clone, Debug, Default)]
pub struct Accepts {
    all: Vec<Accept>,
}

/// One thing that is accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Accept {
    /// A known weakness of the protocol, by id, whatever it breaks.
    Weakness(&'static str),
    /// A known breach of a target.
    Breach(Breach),
}

/// A known breach of a target.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Breach {
    /// The targets that have it.
    pub target: Targets,
    /// The property that is broken.
    pub property: &'static str,
    /// For this claim alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub claim: Option<Claim>,
    /// Only as far as this weakness of the protocol explains it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weakness: Option<&'static str>,
    /// Why it is accepted.
    pub reason: String,
    /// Where more is to be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub link: Option<String>,
}

/// A target as users type it, or the start of it and a star: `memory:no-dedup`, `kafka://*`, `*`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Targets(String);

impl Accepts {
    /// Everything, in order.
    pub fn iter(&self) -> impl Iterator<Item = &Accept> {
        self.all.iter()
    }

    /// Which of all accepts a violation of this property for this claim; none: nothing does.
    pub fn find(&self, property: &str, claim: Claim, violation: &Violation) -> Option<usize> {
        self.all.iter().position(|one| one.covers(property, claim, violation))
    }
}

impl FromIterator<Accept> for Accepts {
    fn from_iter<T: IntoIterator<Item = Accept>>(all: T) -> Self {
        Accepts { all: all.into_iter().collect() }
    }
}

impl FromIterator<&'static str> for Accepts {
    /// Weaknesses, by id.
    fn from_iter<T: IntoIterator<Item = &'static str>>(ids: T) -> Self {
        Accepts { all: ids.into_iter().map(Accept::Weakness).collect() }
    }
}

impl<const N: usize> From<[&'static str; N]> for Accepts {
    /// Weaknesses, by id.
    fn from(ids: [&'static str; N]) -> Self {
        ids.into_iter().collect()
    }
}

impl Accept {
    fn covers(&self, property: &str, claim: Claim, violation: &Violation) -> bool {
        match self {
            Accept::Weakness(id) => violation.weakness == Some(*id),
            Accept::Breach(breach) => {
                breach.property == property
                    && breach.claim.is_none_or(|one| one == claim)
                    && breach.weakness.is_none_or(|one| violation.weakness == Some(one))
            }
        }
    }
}

impl Breach {
    /// How often what it excuses was put to the test, for each claim at least. A run that leaves out a claim proves nothing:
    /// the breach may be of that one.
    pub fn tested(&self, tally: &Tally, features: Features) -> u64 {
        let excused = tally.rows().iter().filter(|row| {
            row.property.name == self.property
                && self.claim.is_none_or(|claim| row.claim == claim)
                && row.property.is_supported(row.claim, features)
        });
        excused.map(|row| row.count.times).min().unwrap_or(0)
    }
}

/// "no-loss", "no-loss for idempotent (KAFKA-17754)".
impl fmt::Display for Breach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.property)?;
        if let Some(claim) = self.claim {
            write!(f, " for {}", claim.name())?;
        }
        match self.weakness {
            Some(weakness) => write!(f, " ({weakness})"),
            None => Ok(()),
        }
    }
}

impl Targets {
    /// Whether a target is among them.
    pub fn have(&self, target: &Target) -> bool {
        let target = target.to_string();
        match self.0.strip_suffix('*') {
            Some(start) => target.starts_with(start),
            None => target == self.0,
        }
    }
}

impl std::str::FromStr for Targets {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let Some(start) = text.strip_suffix('*') else {
            // As it is shown, so that two ways to write one target are one.
            let target: Target = text.parse().map_err(|error| format!("{error}"))?;
            return Ok(Targets(target.to_string()));
        };
        match start.split_once(':') {
            Some((scheme, _)) if !SCHEMES.contains(&scheme) => {
                Err(unknown("target", scheme, SCHEMES))
            }
            None if !SCHEMES.iter().any(|scheme| scheme.starts_with(start)) => {
                Err(unknown("target", start, SCHEMES))
            }
            _ => Ok(Targets(text.to_owned())),
        }
    }
}

impl fmt::Display for Targets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn violation(weakness: Option<&'static str>) -> Violation {
        Violation { evidence: Vec::new(), story: String::new(), weakness }
    }

    fn breach(claim: Option<Claim>, weakness: Option<&'static str>) -> Breach {
        Breach {
            target: Targets("*".to_owned()),
            property: "isolation",
            claim,
            weakness,
            reason: "known".to_owned(),
            link: None,
        }
    }

    #[test]
    fn a_breach_is_accepted_as_narrowly_as_it_is_written() {
        let covers = |breach: Breach, property, claim, weakness| {
            Accept::Breach(breach).covers(property, claim, &violation(weakness))
        };
        let claim = Claim::Transactional;
        assert!(covers(breach(None, None), "isolation", claim, None));
        assert!(covers(breach(None, None), "isolation", claim, Some("KAFKA-17754")));
        assert!(!covers(breach(None, None), "atomicity", claim, None));
        assert!(covers(breach(Some(claim), None), "isolation", claim, None));
        assert!(!covers(breach(Some(Claim::ExactlyOnce), None), "isolation", claim, None));
        assert!(!covers(breach(None, Some("KAFKA-17754")), "isolation", claim, None));
    }

    #[test]
    fn weaknesses_are_accepted_whatever_they_break() {
        let accepts = Accepts::from(["KAFKA-17754"]);
        let find = |weakness| accepts.find("order", Claim::Idempotent, &violation(weakness));
        assert_eq!((find(Some("KAFKA-17754")), find(Some("X")), find(None)), (Some(0), None, None));
    }

    #[test]
    fn targets_are_one_or_all_that_start_alike() {
        let have = |targets: &str, target: &str| {
            let targets: Targets = targets.parse().expect(targets);
            targets.have(&target.parse().expect(target))
        };
        assert!(have("memory:no-dedup", "memory:no-dedup"));
        assert!(!have("memory", "memory:no-dedup"));
        assert!(have("kafka://a:1/?client=wire", "kafka://a:1"));
        assert!(have("kafka://*", "kafka://b:2?client=both"));
        assert!(!have("kafka://a:*", "kafka://b:2"));
        assert!(have("*", "memory"));
        let refused = |targets: &str| targets.parse::<Targets>().expect_err(targets);
        assert_eq!(refused("kafak://*"), "unknown target 'kafak'; did you mean 'kafka'?");
        assert_eq!(refused("kafak*"), "unknown target 'kafak'; did you mean 'kafka'?");
        assert_eq!(
            refused("memory:no-dedupp"),
            "unknown defect 'no-dedupp'; did you mean 'no-dedup'?"
        );
    }
}
