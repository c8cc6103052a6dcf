//! Standard output for results, standard error for people. Styles are stripped where nobody wants them, and a reader who
//! went away (`| head`) is no reason to fail.

use std::io::{IsTerminal as _, Write as _};

/// Prints a result.
pub(crate) fn print(text: &str) {
    let _ = anstream::stdout().write_all(text.as_bytes());
}

/// Tells people something, on a line of its own.
pub(crate) fn tell(text: &str) {
    let _ = writeln!(anstream::stderr(), "{text}");
}

/// Whether somebody watches standard error.
pub(crate) fn is_watched() -> bool {
    std::io::stderr().is_terminal()
}
