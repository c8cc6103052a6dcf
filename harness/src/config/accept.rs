//! `[[accept]]`: a known breach of a target, and why it is accepted.

use onceness_properties::{Claim, PROPERTIES, Property, property as property_named};
use serde::Deserialize;
use serde::de::{self, Deserializer};

use crate::accept::{Breach, Targets};
use crate::nearest::unknown;
use crate::weakness::{self, WEAKNESSES, Weakness};

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct AcceptSection {
    #[serde(deserialize_with = "targets")]
    pub(super) target: Targets,
    #[serde(deserialize_with = "property")]
    property: &'static Property,
    #[serde(default, deserialize_with = "claim")]
    claim: Option<Claim>,
    #[serde(default, deserialize_with = "weakness")]
    weakness: Option<&'static Weakness>,
    #[serde(deserialize_with = "something")]
    reason: String,
    #[serde(default)]
    link: Option<String>,
}

impl AcceptSection {
    pub(super) fn check(&self) -> Result<(), String> {
        let judged = self.property.claims;
        match self.claim {
            Some(claim) if !judged.contains(&claim) => {
                let (name, property) = (claim.name(), self.property.name);
                let claims: Vec<&str> = judged.iter().map(|claim| claim.name()).collect();
                Err(format!(
                    "property '{property}' says nothing of claim '{name}'; it does of {}",
                    claims.join(", ")
                ))
            }
            _ => Ok(()),
        }
    }

    pub(super) fn breach(&self) -> Breach {
        Breach {
            target: self.target.clone(),
            property: self.property.name,
            claim: self.claim,
            weakness: self.weakness.map(|weakness| weakness.id),
            reason: self.reason.clone(),
            link: self.link.clone(),
        }
    }
}

fn targets<'de, D: Deserializer<'de>>(from: D) -> Result<Targets, D::Error> {
    String::deserialize(from)?.parse().map_err(de::Error::custom)
}

fn property<'de, D: Deserializer<'de>>(from: D) -> Result<&'static Property, D::Error> {
    let text = String::deserialize(from)?;
    let found = property_named(&text);
    let names = PROPERTIES.iter().map(|property| property.name);
    found.ok_or_else(|| de::Error::custom(unknown("property", &text, names)))
}

fn claim<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Claim>, D::Error> {
    let text = String::deserialize(from)?;
    let found = Claim::ALL.into_iter().find(|claim| claim.name() == text);
    let names = Claim::ALL.map(Claim::name);
    found.map(Some).ok_or_else(|| de::Error::custom(unknown("claim", &text, names)))
}

fn weakness<'de, D: Deserializer<'de>>(from: D) -> Result<Option<&'static Weakness>, D::Error> {
    let text = String::deserialize(from)?;
    let found = weakness::find(&text);
    let ids = WEAKNESSES.iter().map(|weakness| weakness.id);
    found.map(Some).ok_or_else(|| de::Error::custom(unknown("weakness", &text, ids)))
}

fn something<'de, D: Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    let text = String::deserialize(from)?;
    match text.trim().is_empty() {
        true => Err(de::Error::custom("it is empty; write why this is accepted")),
        false => Ok(text),
    }
}
