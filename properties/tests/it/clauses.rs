//! The clauses and the properties agree on who judges what.

use onceness_properties::{PROPERTIES, judges_of};
use onceness_reference::clauses;

#[test]
fn clauses_that_sources_name_exist() {
    for property in PROPERTIES {
        assert!(property.clauses().next().is_some(), "{} judges nothing", property.name);
        for id in property.clauses() {
            assert!(clauses::find(id).is_some(), "{} names {id}", property.name);
        }
    }
}

#[test]
fn clauses_are_judged_if_and_only_if_a_property_names_them() {
    for clause in clauses::all() {
        let named = judges_of(clause.id).next().is_some();
        assert_eq!(clause.observed.is_judged(), named, "{}", clause.id);
    }
}

#[test]
fn the_head_of_a_file_names_the_clauses_of_its_property() {
    for property in PROPERTIES {
        let text = crate::catalogue::text_of(property);
        let header: Vec<&str> = text.lines().map_while(|line| line.strip_prefix("//!")).collect();
        let mut paragraphs = header.split(|line| line.trim().is_empty());
        let source = paragraphs.find(|lines| lines[0].trim().starts_with("Source: "));
        let source = source.expect("a paragraph of sources").join(" ");
        let words = source.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '-');
        let mut said: Vec<&str> = words.filter(|word| clauses::is_id(word)).collect();
        let mut named: Vec<&str> = property.clauses().collect();
        said.sort_unstable();
        named.sort_unstable();
        assert_eq!(said, named, "{}", property.name);
    }
}
