//! What somebody may have meant who typed a name that we do not know.

/// The known names that are nearest to a wrong one, best first, three at most. None if nothing is near.
pub fn nearest<'a>(wrong: &str, known: impl IntoIterator<Item = &'a str>) -> Vec<&'a str> {
    let wrong = wrong.to_lowercase();
    let mut near: Vec<(f64, &str)> = (known.into_iter())
        .map(|name| (likeness(&wrong, name), name))
        .filter(|(likeness, _)| *likeness > 0.72)
        .collect();
    near.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(b.1)));
    near.into_iter().map(|(_, name)| name).take(3).collect()
}

/// The sentence that refuses an unknown name: with the nearest ones if there are any, else with all.
pub fn unknown<'a>(
    what: &str,
    wrong: &str,
    known: impl IntoIterator<Item = &'a str> + Clone,
) -> String {
    let near = nearest(wrong, known.clone());
    if near.is_empty() {
        let all: Vec<&str> = known.into_iter().collect();
        return format!("unknown {what} '{wrong}'; known: {}", all.join(", "));
    }
    format!("unknown {what} '{wrong}'; did you mean {}?", choice(&near))
}

/// Names are typed from memory: a part of the name, or its words, is as near as a slip of the finger.
fn likeness(wrong: &str, name: &str) -> f64 {
    let lower = name.to_lowercase();
    if wrong.len() >= 3 && (lower.contains(wrong) || wrong.contains(&lower)) {
        return 0.95;
    }
    strsim::jaro_winkler(wrong, &lower)
}

fn choice(names: &[&str]) -> String {
    let quoted: Vec<String> = names.iter().map(|name| format!("'{name}'")).collect();
    match quoted.split_last() {
        Some((last, [])) => last.clone(),
        Some((last, rest)) => format!("{} or {last}", rest.join(", ")),
        None => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::unknown;

    #[test]
    fn the_nearest_come_first() {
        let known = ["no-dedup", "gap-accepted", "dedup-window-of-one"];
        assert_eq!(
            unknown("defect", "no-dedupe", known),
            "unknown defect 'no-dedupe'; did you mean 'no-dedup'?"
        );
        assert_eq!(
            unknown("defect", "dedup", known),
            "unknown defect 'dedup'; did you mean 'dedup-window-of-one' or 'no-dedup'?"
        );
        assert_eq!(
            unknown("defect", "xyzzy", known),
            "unknown defect 'xyzzy'; known: no-dedup, gap-accepted, dedup-window-of-one"
        );
    }
}
