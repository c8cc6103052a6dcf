//! The catalogue of clauses agrees with itself.

use std::collections::BTreeSet;

use onceness_reference::clauses::{self, SECTIONS};

#[test]
fn clauses_are_numbered_in_order_and_found() {
    let mut sections = BTreeSet::new();
    for clauses in SECTIONS {
        let (section, _) = clauses[0].id.split_once('-').expect("a section");
        assert!(sections.insert(section), "{section} appears twice");
        for (place, clause) in clauses.iter().enumerate() {
            assert_eq!(clause.id, format!("{section}-{:02}", place + 1));
            let found = clauses::find(clause.id).map(|found| found.statement);
            assert_eq!(found, Some(clause.statement));
            assert!(clauses::is_id(clause.id));
        }
    }
    assert!(clauses::find("LOG-99").is_none() && clauses::is_id("LOG-99"));
    assert!(!clauses::is_id("KIP-98") && !clauses::is_id("LOG"));
}

#[test]
fn clauses_are_one_sentence_with_a_source() {
    let mut statements = BTreeSet::new();
    for clause in clauses::all() {
        let (id, statement) = (clause.id, clause.statement);
        assert!(statement.ends_with('.') && !statement.contains(". "), "{id}");
        assert!(statements.insert(statement), "{id} says what another one says");
        assert!(!clause.source.is_empty(), "{id}");
        assert_ne!(clause.observed.reason(), Some(""), "{id}");
    }
}

#[test]
fn clauses_that_are_judged_can_be_broken_under_what_the_rig_can_cause() {
    for clause in clauses::all().filter(|clause| clause.observed.is_judged()) {
        let caused = clause.hazards.iter().any(|hazard| hazard.is_caused());
        assert!(caused || clause.hazards.is_empty(), "{}", clause.id);
    }
}
