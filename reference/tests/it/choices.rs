//! The choices of correct brokers: that the list is complete, and that it is made of choices.

use std::collections::BTreeSet;

use onceness_reference::choices::CHOICES;
use onceness_reference::rules::Rules;
use onceness_reference::wrongs::Wrongs;

#[test]
fn the_first_value_of_every_choice_is_that_of_kafka() {
    for choice in CHOICES {
        assert!(choice.values[0].is_chosen_by(&Rules::default()), "{}", choice.name);
        assert!(choice.values.len() > 1 && !choice.source.is_empty(), "{}", choice.name);
    }
}

#[test]
fn every_value_makes_another_broker_and_only_one_is_chosen() {
    for choice in CHOICES {
        for value in choice.values {
            let mut rules = Rules::default();
            (value.set)(&mut rules);
            assert_eq!(rules.wrong, Wrongs::default(), "{}", value.words);
            let chosen = choice.values.iter().filter(|other| other.is_chosen_by(&rules));
            assert_eq!(chosen.map(|one| one.words).collect::<Vec<_>>(), [value.words]);
        }
    }
    let words = CHOICES.iter().flat_map(|choice| choice.values).map(|value| value.words);
    let all: Vec<&str> = words.collect();
    assert_eq!(all.iter().collect::<BTreeSet<_>>().len(), all.len());
}

#[test]
fn the_permitted_brokers_together_choose_everything() {
    for choice in CHOICES {
        for value in choice.values {
            let chosen = Rules::permitted().iter().any(|broker| value.is_chosen_by(&broker.rules));
            assert!(chosen, "no broker {}", value.words);
        }
    }
}

#[test]
fn the_permitted_brokers_differ_in_choices_only() {
    for broker in Rules::permitted() {
        let mut rules = broker.rules;
        for choice in CHOICES {
            (choice.values[0].set)(&mut rules);
        }
        assert_eq!(rules, Rules::default(), "{}", broker.name);
    }
}
