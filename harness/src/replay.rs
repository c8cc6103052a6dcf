//! Commands that people run to see again what was seen.

use crate::options::Options;

/// The command that runs that case again.
pub(crate) fn once_more(seed: u64, options: &Options) -> String {
    format!("onceness certify {} --seed {seed} --cases 1", options.target)
}

/// As a shell wants to have it.
pub(crate) fn quoted(path: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+:@".contains(c);
    match !path.is_empty() && path.chars().all(plain) {
        true => path.to_owned(),
        false => format!("'{}'", path.replace('\'', r"'\''")),
    }
}
