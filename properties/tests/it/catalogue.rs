//! The catalogue agrees with itself and with the files.

use onceness_properties::{Claim, PROPERTIES, Property, Verdict, property};
use onceness_reference::features::Features;

/// The file of a property.
pub(crate) fn text_of(property: &Property) -> String {
    let file = format!("{}/src/{}.rs", env!("CARGO_MANIFEST_DIR"), property.name.replace('-', "_"));
    std::fs::read_to_string(&file).unwrap_or_else(|error| panic!("failed to read {file}: {error}"))
}

#[test]
fn a_file_bears_the_name_of_its_property_and_opens_with_its_promise() {
    for property in PROPERTIES {
        let (file, text) = (property.name, text_of(property));
        let header: Vec<&str> = text.lines().map_while(|line| line.strip_prefix("//!")).collect();
        let paragraph = header.split(|line| line.trim().is_empty()).next().unwrap_or_default();
        assert_eq!(paragraph.join("").trim(), property.promise, "{file}");
        for part in ["Source: ", "Witness: ", "Not claimed: "] {
            assert!(header.iter().any(|line| line.trim().starts_with(part)), "{file} lacks {part}");
        }
    }
}

#[test]
fn names_are_unique_and_found() {
    for one in PROPERTIES {
        let found = property(one.name).map(|found| found.promise);
        assert_eq!(found, Some(one.promise));
        assert!(!one.claims.is_empty() && one.promise.ends_with('.'), "{}", one.name);
    }
}

#[test]
fn a_claim_needs_what_its_target_cannot_do() {
    let poor = Features::NONE;
    let supported = |name: &str, claim, features| {
        property(name).is_some_and(|one| one.is_supported(claim, features))
    };
    assert!(supported("no-loss", Claim::Idempotent, poor));
    assert!(!supported("no-loss", Claim::Transactional, poor));
    assert!(!supported("resend", Claim::Idempotent, poor));
    assert!(!supported("fencing", Claim::AtMostOnce, poor));
    assert!(
        PROPERTIES
            .iter()
            .all(|one| one.claims.iter().all(|claim| one.is_supported(*claim, Features::ALL)))
    );
}

#[test]
fn violations_are_bounded() {
    use onceness_reference::plan::Delivery;
    let mut story = crate::story::Story::of([crate::story::producer(Delivery::Idempotent)]);
    for tag in 0..100 {
        story.sent(0, 0, &[tag], i64::from(tag));
    }
    story.healed();
    story.read(0, 100, &[]);
    for judgement in onceness_properties::judge(&story.history) {
        if let Verdict::Violated(violations) = judgement.verdict {
            assert!(violations.len() <= onceness_properties::VIOLATIONS_MAX);
        }
    }
}
