//! What the suite finds of its own zoo, rendered: for people, for programs, and as a page to be kept.

use crate::selftest::{Needed, Standing};

pub mod json;
pub mod page;
pub mod table;

/// The word that reports show.
fn word(standing: Standing) -> &'static str {
    match standing {
        Standing::Found => "found",
        Standing::Missed => "missed",
        Standing::Unfinished => "unfinished",
    }
}

/// "17", or "> 2,000" where a search had no more.
fn needed(cases: Option<Needed>, at_most: u64) -> String {
    match cases {
        Some(Needed::Cases(cases)) => super::style::thousands(cases),
        Some(Needed::More) => format!("> {}", super::style::thousands(at_most)),
        None => "-".to_owned(),
    }
}
