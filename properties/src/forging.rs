//! Who forges requests can expect nothing of a broker, and no property judges it: neither what it was answered, nor what
//! became of its records and positions. What is left of a history without it is judged as ever: it must harm nobody else.
//!
//! Whoever shares a transactional id or a group with a forger is one, too. Events keep their places, so that evidence does.

use std::borrow::Cow;
use std::collections::BTreeSet;

use onceness_reference::history::{Call, Event, Fetched, History, Outcome, Reply, Seen, Skip};
use onceness_reference::ids::{ClientId, GroupId, StepId, Tag};
use onceness_reference::plan::Client;
use rustc_hash::FxHashSet;

/// The history, as if nobody in it had forged anything.
pub(crate) fn without_forgers(history: &History) -> Cow<'_, History> {
    let forgers = forgers(history);
    if forgers.is_empty() {
        return Cow::Borrowed(history);
    }
    let mut honest = history.clone();
    let records = records(history, &forgers);
    let groups = groups(history, &forgers);
    honest.header.clients.retain(|client| !forgers.contains(&client.id));
    let mut left_out = vec![None; history.events.len()];
    for (place, event) in honest.events.iter_mut().enumerate() {
        let forger = match event {
            Event::Call { client, .. } | Event::Crashed { client, .. } => Some(*client),
            Event::Return { of, .. } | Event::Answer { of, .. } => {
                left_out.get(of.0 as usize).copied().flatten()
            }
            _ => None,
        };
        let forger = forger.filter(|client| forgers.contains(client));
        left_out[place] = forger;
        match (forger, &mut *event) {
            (Some(_), _) => *event = NOTHING,
            (None, Event::Committed { group, .. } | Event::View { group, .. })
                if groups.contains(group) =>
            {
                *event = NOTHING;
            }
            (None, Event::Read { records: seen, .. }) => forget(seen, &records),
            (None, Event::Return { outcome: Outcome::Done(Reply::Polled(polled)), .. }) => {
                polled.iter_mut().for_each(|Fetched { records: seen, .. }| forget(seen, &records));
            }
            _ => {}
        }
    }
    Cow::Owned(honest)
}

/// In the place of an event that is left out: it says nothing.
const NOTHING: Event =
    Event::Skipped { step: StepId(0), client: ClientId(0), why: Skip::NothingToDo };

fn forget(seen: &mut Vec<Seen>, forged: &FxHashSet<Tag>) {
    seen.retain(|seen| seen.tag.is_none_or(|tag| !forged.contains(&tag)));
}

fn forgers(history: &History) -> BTreeSet<ClientId> {
    let calls = history.events.iter().filter_map(|event| match event {
        Event::Call { client, call: Call::Forge(_), .. } => Some(*client),
        _ => None,
    });
    let mut forgers: BTreeSet<ClientId> = calls.collect();
    let group = |client: &Client| client.consumer.as_ref().map(|consumer| consumer.group);
    // Whoever shares a name with one that shares a name with one.
    loop {
        let clients = &history.header.clients;
        let known: Vec<&Client> =
            clients.iter().filter(|client| forgers.contains(&client.id)).collect();
        let shares = |client: &&Client| {
            known.iter().any(|known| {
                let txn = known.txn().is_some() && known.txn() == client.txn();
                txn || (group(known).is_some() && group(known) == group(client))
            })
        };
        let before = forgers.len();
        forgers.extend(clients.iter().filter(shares).map(|client| client.id));
        if forgers.len() == before {
            return forgers;
        }
    }
}

/// All records that forgers sent, or tried to.
fn records(history: &History, forgers: &BTreeSet<ClientId>) -> FxHashSet<Tag> {
    let sent = history.events.iter().filter_map(|event| match event {
        Event::Call { client, call, .. } if forgers.contains(client) => match call {
            Call::Send { records, .. } => Some(records),
            Call::Forge(forged) => Some(&forged.records),
            _ => None,
        },
        _ => None,
    });
    sent.flatten().map(|record| record.tag).collect()
}

fn groups(history: &History, forgers: &BTreeSet<ClientId>) -> BTreeSet<GroupId> {
    let clients = history.header.clients.iter().filter(|client| forgers.contains(&client.id));
    clients.filter_map(|client| client.consumer.as_ref()).map(|consumer| consumer.group).collect()
}
