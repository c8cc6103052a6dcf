//! The zoo: seeded defects, each a copy of a bug that a real broker, client or application had: a value of [`Rules`] that no
//! correct broker has, or of [`ClientWrongs`]. A suite that cannot show what it detects proves nothing.

use crate::rules::Rules;
use crate::wrongs::client::ClientWrongs;

/// A defect: its name, what it is, what it copies, what it breaks, and what of the rules makes it.
macro_rules! defect {
    ($name:literal, $summary:literal, $copies:literal, $breaks:expr, { $($($field:ident).+ = $value:expr),+ $(,)? }) => {
        $crate::defects::Defect {
            name: $name,
            summary: $summary,
            copies: $copies,
            breaks: &$breaks,
            needs: None,
            culprit: $crate::defects::Culprit::Broker(|| {
                let mut rules = $crate::rules::Rules::default();
                $(rules.$($field).+ = $value;)+
                rules
            }),
        }
    };
}

/// The same for a misdeed of a [`Culprit::Client`] or [`Culprit::Application`].
macro_rules! misdeed {
    ($culprit:ident: $name:literal, $summary:literal, $copies:expr, $breaks:expr, $part:ident.$switch:ident) => {
        $crate::defects::Defect {
            name: $name,
            summary: $summary,
            copies: $copies,
            breaks: &$breaks,
            needs: None,
            culprit: $crate::defects::Culprit::$culprit(|| {
                let mut wrongs = $crate::wrongs::client::ClientWrongs::default();
                wrongs.$part.$switch = true;
                wrongs
            }),
        }
    };
}

mod application;
mod client;
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
    /// What is done wrong, in one sentence.
    pub summary: &'static str,
    /// The real bug that it copies.
    pub copies: &'static str,
    /// The properties that it breaks, the one that owns it first.
    pub breaks: &'static [&'static str],
    /// What no plan does yet, and without which nobody sees it.
    pub needs: Option<&'static str>,
    /// Who has it.
    pub culprit: Culprit,
}

/// Who is wrong, and how.
#[derive(Clone, Copy, Debug)]
pub enum Culprit {
    /// The broker, by these rules.
    Broker(fn() -> Rules),
    /// The client library.
    Client(fn() -> ClientWrongs),
    /// The application.
    Application(fn() -> ClientWrongs),
}

impl Culprit {
    /// Who it is, in a word.
    pub fn name(self) -> &'static str {
        match self {
            Culprit::Broker(_) => "broker",
            Culprit::Client(_) => "client",
            Culprit::Application(_) => "application",
        }
    }
}

impl Defect {
    /// The rules of the broker: correct ones, if it is not to blame.
    pub fn rules(&self) -> Rules {
        match self.culprit {
            Culprit::Broker(rules) => rules(),
            Culprit::Client(_) | Culprit::Application(_) => Rules::default(),
        }
    }

    /// What client and application do wrong: nothing, if they are not to blame.
    pub fn client(&self) -> ClientWrongs {
        match self.culprit {
            Culprit::Broker(_) => ClientWrongs::default(),
            Culprit::Client(wrongs) | Culprit::Application(wrongs) => wrongs(),
        }
    }

    /// Whether a broker has it.
    pub fn is_of_broker(&self) -> bool {
        matches!(self.culprit, Culprit::Broker(_))
    }
}

/// All chapters, in order: for brokers, those of the clauses that are broken.
pub const CHAPTERS: [&[Defect]; 7] = [
    log::DEFECTS,
    dedup::DEFECTS,
    transactions::DEFECTS,
    isolation::DEFECTS,
    offsets::DEFECTS,
    client::DEFECTS,
    application::DEFECTS,
];

/// All of them, in order.
pub fn all() -> impl Iterator<Item = &'static Defect> + Clone {
    CHAPTERS.iter().copied().flatten()
}

/// The defect of that name.
pub fn find(name: &str) -> Option<&'static Defect> {
    all().find(|defect| defect.name == name)
}
