//! The few styles of the reports. Text is rendered with them always; whoever prints it strips them where nobody wants them.

use std::fmt::Display;

use anstyle::{AnsiColor, Style};

use super::Word;

/// Evidence, and what is violated.
pub const BAD: Style = AnsiColor::Red.on_default().bold();
/// What holds.
pub const GOOD: Style = AnsiColor::Green.on_default();
/// What a reader should notice.
pub const NOTE: Style = AnsiColor::Yellow.on_default();
/// What most readers pass over.
pub const DIM: Style = Style::new().dimmed();
/// Headings.
pub const HEAD: Style = Style::new().bold();

/// Text in a style.
pub fn paint(style: Style, text: impl Display) -> String {
    format!("{style}{text}{style:#}")
}

/// The style of a verdict.
pub fn of(word: Word) -> Style {
    match word {
        Word::Holds => GOOD,
        Word::Violated => BAD,
        Word::Untested | Word::Accepted => NOTE,
        Word::Unsupported => DIM,
    }
}

/// A number with separators of thousands.
pub fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// "1 step", "2 steps".
pub fn count(number: u64, what: &str) -> String {
    match number {
        1 => format!("1 {what}"),
        _ => format!("{} {what}s", thousands(number)),
    }
}
