//! Standard output for results, standard error for people. Styles are stripped where nobody wants them, and a reader who
//! went away (`| head`) is no reason to fail.

use std::io::{ErrorKind, IsTerminal as _, Write as _};

use onceness::Exit;

/// Prints a result.
pub(crate) fn print(text: &str) {
    let mut out = anstream::stdout();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            tell(&format!("error: failed to write to standard output: {error}"));
            // Everything else was done and cleaned up by now; only the result is lost, which must not look like success.
            std::process::exit(Exit::Internal.code().into());
        }
        _ => {}
    }
}

/// Tells people something, on a line of its own.
pub(crate) fn tell(text: &str) {
    let _ = writeln!(anstream::stderr(), "{text}");
}

/// Whether somebody watches standard error.
pub(crate) fn is_watched() -> bool {
    std::io::stderr().is_terminal()
}
