//! The clauses and the properties agree on who judges what.

use onceness_properties::{PROPERTIES, Property, judges_of};
use onceness_reference::cells;
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

#[test]
fn what_only_the_second_judge_judges_is_at_stake_somewhere() {
    let at_stake = |id: &str| cells::all().any(|cell| cell.clauses().contains(&id));
    for clause in clauses::all() {
        let mut judges = judges_of(clause.id);
        if judges.next().is_some_and(Property::knows_cells) && judges.next().is_none() {
            assert!(at_stake(clause.id), "{}", clause.id);
        }
    }
}

#[test]
fn what_is_at_stake_is_judged_by_the_second_judge() {
    for cell in cells::all() {
        for id in cell.clauses() {
            assert!(judges_of(id).any(Property::knows_cells), "{}: {id}", cell.name());
        }
    }
}
