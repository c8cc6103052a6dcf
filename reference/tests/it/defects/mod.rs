//! The zoo: that the catalogue is in order, and for each defect the fewest requests that show it.

use std::collections::BTreeSet;
use std::fmt::Debug;

use onceness_reference::code::Code;
use onceness_reference::defects::{self, NOT_MODELLED, find};
use onceness_reference::protocol::{Ending, Session};
use onceness_reference::rules::{Permitted, Rules};
use onceness_reference::wrongs::client::ClientWrongs;

use crate::talk::{P0, Talk, Tv1, Tv2};

mod dedup;
mod isolation;
mod log;
mod offsets;
mod transactions;

const ORDER: Result<i64, Code> = Err(Code::OUT_OF_ORDER_SEQUENCE_NUMBER);

#[test]
fn names_are_unique_and_easily_typed() {
    let names: BTreeSet<&str> = defects::all().map(|defect| defect.name).collect();
    assert_eq!(names.len(), defects::all().count());
    for defect in defects::all() {
        assert!(is_kebab_case(defect.name), "{}", defect.name);
        assert_eq!(find(defect.name).unwrap().summary, defect.summary);
    }
    assert!(find("no-such-defect").is_none());
}

#[test]
fn every_entry_says_what_it_is() {
    for defect in defects::all() {
        let name = defect.name;
        assert!(!defect.breaks.is_empty(), "{name} breaks nothing");
        assert!(defect.breaks.iter().all(|broken| is_kebab_case(broken)), "{name}");
        assert!(!defect.copies.is_empty(), "{name} copies nothing");
        assert!(defect.summary.len() > 20 && !defect.summary.ends_with('.'), "{name}");
    }
}

#[test]
fn every_defect_is_one_and_no_two_are_the_same() {
    let correct: Vec<Rules> = Rules::permitted().iter().map(|broker| broker.rules).collect();
    assert!(correct.contains(&Rules::default()));
    for (i, defect) in defects::all().enumerate() {
        let wrong = (defect.rules(), defect.client());
        let right = correct.contains(&wrong.0) && wrong.1 == ClientWrongs::default();
        assert!(!right, "{}", defect.name);
        assert_eq!(defect.is_of_broker(), wrong.1 == ClientWrongs::default(), "{}", defect.name);
        let twin = defects::all().take(i).find(|other| (other.rules(), other.client()) == wrong);
        assert!(twin.is_none(), "{} is {}", defect.name, twin.unwrap().name);
    }
}

#[test]
fn what_is_not_modelled_is_named_with_a_reason_and_never_a_defect_too() {
    for missing in NOT_MODELLED {
        let name = missing.name;
        assert!(is_kebab_case(name) && find(name).is_none(), "{name}");
        assert!(!missing.source.is_empty() && !missing.reason.ends_with('.'), "{name}");
    }
}

fn is_kebab_case(name: &str) -> bool {
    !name.is_empty()
        && name
            .split('-')
            .all(|word| !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_lowercase()))
}

/// The same requests, to every correct broker and to the defective one.
fn shows<T: PartialEq + Debug>(name: &str, ask: fn(&mut Talk) -> T, correct: T, defective: T) {
    for Permitted { rules, .. } in Rules::permitted() {
        assert_eq!(ask(&mut Talk::by(rules)), correct, "{name} in {rules:?}");
    }
    let rules = find(name).unwrap().rules();
    assert_eq!(ask(&mut Talk::by(rules)), defective, "{name}");
}

/// Three batches of one record each, and who sent them.
fn three(talk: &mut Talk) -> Session {
    let session = talk.fresh();
    for first in 0..3 {
        talk.send(session, first, 1).unwrap();
    }
    session
}

/// One record written in a transaction, and the session that goes on once it ended, if it did.
fn written(talk: &mut Talk, ending: Option<Ending>) -> Session {
    let session = talk.init().unwrap();
    talk.send_in(Tv2, P0, session, 0, 1).unwrap();
    let Some(ending) = ending else { return session };
    let next = talk.end(Tv2, session, ending).unwrap();
    talk.finish();
    next
}

/// One record written in a transaction of TV1 that is open.
fn opened(talk: &mut Talk) -> Session {
    let session = talk.init().unwrap();
    talk.add(session, P0).unwrap();
    talk.send_in(Tv1, P0, session, 0, 1).unwrap();
    session
}
