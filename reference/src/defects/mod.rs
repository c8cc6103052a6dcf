//! The zoo: seeded defects, each a value of [`Rules`], a copy of a bug that a real broker had. A suite that cannot show what
//! it detects proves nothing.

use crate::rules::Rules;

/// A defect: its name, what it is, what it copies, what it breaks, and what of the rules makes it.
macro_rules! defect {
    ($name:literal, $summary:literal, $copies:literal, $breaks:expr, { $($($field:ident).+ = $value:expr),+ $(,)? }) => {
        $crate::defects::Defect {
            name: $name,
            summary: $summary,
            copies: $copies,
            breaks: &$breaks,
            needs: None,
            rules: || {
                let mut rules = $crate::rules::Rules::default();
                $(rules.$($field).+ = $value;)+
                rules
            },
        }
    };
}

mod dedup;
mod isolation;
mod log;
mod not_modelled;
mod offsets;
mod transactions;

pub use not_modelled::{NOT_MODELLED, NotModelled};

/// One seeded defect.
#[derive(Debug)]
pub struct Defect {
    /// The name that users type: `memory:NAME`.
    pub name: &'static str,
    /// What the broker does wrong, in one sentence.
    pub summary: &'static str,
    /// The real bug that it copies.
    pub copies: &'static str,
    /// The properties that it breaks, the one that owns it first.
    pub breaks: &'static [&'static str],
    /// What no plan does yet, and without which nobody sees it.
    pub needs: Option<&'static str>,
    /// The rules of a broker that has it.
    pub rules: fn() -> Rules,
}

/// All chapters, in order: those of the clauses that are broken.
pub const CHAPTERS: [&[Defect]; 5] =
    [log::DEFECTS, dedup::DEFECTS, transactions::DEFECTS, isolation::DEFECTS, offsets::DEFECTS];

/// All of them, in order.
pub fn all() -> impl Iterator<Item = &'static Defect> + Clone {
    CHAPTERS.iter().copied().flatten()
}

/// The defect of that name.
pub fn find(name: &str) -> Option<&'static Defect> {
    all().find(|defect| defect.name == name)
}
