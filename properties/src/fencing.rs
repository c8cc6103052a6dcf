//! Once a successor of the same transactional id or group membership is open, nothing that the predecessor begins is done or becomes visible.
//!
//! Source: DED-10, TXN-01, TXN-02, TXN-18, OFF-09, OFF-10, E2E-10; KIP-98 (epochs), KIP-447 and KIP-345 (group members).
//!
//! Witness: calls of a predecessor that begin after the opening of its successor returned (or, by a hidden answer, was
//! done): sends, ends of transactions that have something in them, and saves must not be done; what they wrote, and
//! transactions that were open then, must not be shown to read_committed.
//!
//! Not claimed: calls that overlap the opening; clients that are not members of their group; transactions that sent nothing.

use onceness_reference::features::Features;
use onceness_reference::plan::Saving;

use crate::facts::calls::{Known, Life, TxnFate};
use crate::facts::{At, Facts, Init, NEVER, claim_of_saving};
use crate::watch::{Sight, Watch};
use crate::{Claim, Findings, Property};

pub(crate) const PROPERTY: Property = Property {
    name: "fencing",
    claims: &[Claim::AtMostOnce, Claim::AtLeastOnce, Claim::Transactional, Claim::ExactlyOnce],
    promise: "Once a successor of the same transactional id or group membership is open, nothing that the predecessor begins is done or becomes visible.",
    source: "DED-10, TXN-01, TXN-02, TXN-18, OFF-09, OFF-10, E2E-10; KIP-98, KIP-345, KIP-447",
    witness: "calls of a predecessor that begin after its successor was open, and the final read_committed reads",
    not_claimed: "calls that overlap the opening; clients that are not members; transactions with nothing in them",
    needs: |claim, features: Features| claim == Claim::Transactional || features.members,
    watch: || Box::<Fencing>::default(),
};

#[derive(Default)]
struct Fencing {
    by_txn: Option<Fences>,
}

impl Watch for Fencing {
    fn records(&mut self, facts: &Facts<'_>, sights: &[Sight<'_>], findings: &mut Findings) {
        sights.iter().for_each(|sight| self.record(facts, sight, findings));
    }

    fn rest(&mut self, facts: &Facts<'_>, findings: &mut Findings) {
        let by_txn = self.by_txn.take().unwrap_or_else(|| Fences::of_transactional_ids(facts));
        let by_group = Fences::of_members(facts);
        if by_txn.has_any() {
            check_sends(facts, &by_txn, findings);
            check_transactions(facts, &by_txn, findings);
        }
        check_saves(facts, &by_txn, &by_group, findings);
    }
}

impl Fencing {
    fn record(&mut self, facts: &Facts<'_>, sight: &Sight<'_>, findings: &mut Findings) {
        if sight.claim == Claim::Transactional && sight.record.last[1] {
            let fences = self.by_txn.get_or_insert_with(|| Fences::of_transactional_ids(facts));
            check_record(facts, fences, sight, findings);
        }
    }
}

/// By life: when it is known to be superseded, and by the opening of which life.
struct Fences(Vec<(At, u32)>);

impl Fences {
    fn of(&self, life: u32) -> (At, u32) {
        self.0.get(life as usize).copied().unwrap_or((NEVER, 0))
    }

    fn has_any(&self) -> bool {
        self.0.iter().any(|(fence, _)| *fence != NEVER)
    }

    fn of_transactional_ids(facts: &Facts<'_>) -> Self {
        let mut fences = vec![(NEVER, 0); facts.lives.len()];
        for inits in &facts.inits {
            let mut inits: Vec<&Init> = inits.iter().filter(|init| init.proof != NEVER).collect();
            inits.sort_unstable_by_key(|init| std::cmp::Reverse(init.asked));
            let by_time = best(&inits);
            let mut by_epoch: Vec<&Init> =
                inits.iter().copied().filter(|init| init.session.is_some()).collect();
            by_epoch.sort_unstable_by_key(|init| std::cmp::Reverse(init.session));
            let epochs = best(&by_epoch);
            let mut lives: Vec<u32> = inits.iter().map(|init| init.life).collect();
            lives.dedup();
            for place in lives {
                let life = &facts.lives[place as usize];
                if life.open.known != Known::Done {
                    continue;
                }
                let later = inits.partition_point(|init| init.asked > life.open.returned);
                let higher = by_epoch.partition_point(|init| init.session > life.session);
                let same_id =
                    by_epoch[..higher].iter().all(|init| ids(init.session) == ids(life.session));
                let mut fence = if later > 0 { by_time[later - 1] } else { (NEVER, 0) };
                if higher > 0 && same_id && life.session.is_some() {
                    let (proof, by) = epochs[higher - 1];
                    fence = fence.min((proof.max(life.open.returned), by));
                }
                fences[place as usize] = fence;
            }
        }
        Fences(fences)
    }

    /// A member is superseded by the next one of its group.
    fn of_members(facts: &Facts<'_>) -> Self {
        let mut fences = vec![(NEVER, 0); facts.lives.len()];
        for group in &facts.groups {
            let is_member = |life: &Life| {
                let consumer = facts.parties[usize::from(life.party)].consumer;
                let member = consumer.is_some_and(|consumer| {
                    consumer.group == group.id && consumer.member && !consumer.shared
                });
                member && life.open.known == Known::Done
            };
            let members = facts.lives.iter().enumerate().filter(|(_, life)| is_member(life));
            let mut members: Vec<(usize, &Life)> = members.collect();
            members.sort_unstable_by_key(|(_, life)| std::cmp::Reverse(life.open.at));
            let mut best = Vec::with_capacity(members.len());
            for (place, life) in &members {
                let before = best.last().copied().unwrap_or((NEVER, 0));
                best.push(before.min((life.open.returned, *place as u32)));
            }
            for (place, life) in &members {
                let later =
                    members.partition_point(|(_, other)| other.open.at > life.open.returned);
                if later > 0 {
                    fences[*place] = best[later - 1];
                }
            }
        }
        Fences(fences)
    }
}

fn ids(session: Option<(i64, i16)>) -> Option<i64> {
    session.map(|(producer, _)| producer)
}

/// The earliest proof among the first so many.
fn best(inits: &[&Init]) -> Vec<(At, u32)> {
    let mut best = (NEVER, 0);
    let so_far = inits.iter().map(|init| {
        best = best.min((init.proof, init.life));
        best
    });
    so_far.collect()
}

fn check_sends(facts: &Facts<'_>, fences: &Fences, findings: &mut Findings) {
    for send in &facts.sends {
        let (fence, by) = fences.of(send.life);
        if send.asked.at <= fence || facts.parties[usize::from(send.party)].txn_id().is_none() {
            continue;
        }
        findings.tested(Claim::Transactional);
        if send.asked.is_done() {
            findings.accuse(Claim::Transactional, None, || {
                let story = format!(
                    "{}, but its send to {} was acknowledged",
                    superseded(facts, send.party, by),
                    send.partition
                );
                (vec![opened(facts, by), fence, send.asked.at, send.asked.done_by], story)
            });
        }
    }
}

/// What it wrote before it was superseded counts too, if the commit came after.
fn check_record(facts: &Facts<'_>, fences: &Fences, sight: &Sight<'_>, findings: &mut Findings) {
    let (record, send) = (sight.record, sight.send);
    let (fence, by) = fences.of(send.life);
    let end = sight.txn.map_or(NEVER, |(txn, _)| txn.end.at);
    if fence != NEVER && (send.asked.at > fence || (end != NEVER && end > fence)) {
        findings.accuse(Claim::Transactional, facts.weaknesses.of_transaction(send.txn), || {
            let (tag, to, at) = (record.tag, send.partition, record.at);
            let who = superseded(facts, send.party, by);
            let story =
                format!("{who}, but its {tag} is shown to read_committed in {to} at offset {at}");
            (vec![opened(facts, by), fence, send.asked.at, end, record.first[1]], story)
        });
    }
}

fn check_transactions(facts: &Facts<'_>, fences: &Fences, findings: &mut Findings) {
    for txn in &facts.transactions {
        let (fence, by) = fences.of(txn.life);
        if txn.end.at == NEVER || txn.end.at <= fence || txn.work == 0 {
            continue;
        }
        let quiet_close = txn.fate() == TxnFate::NotCommitted
            && txn.end.answers == 0
            && is_close(facts, txn.end.at);
        for claim in claims_of_transactions(facts, txn.party) {
            findings.tested(claim);
            if txn.end.is_done() && !quiet_close {
                findings.accuse(claim, None, || {
                    let what = if txn.commits { "commit" } else { "abort" };
                    let story =
                        format!("{}, but its {what} was done", superseded(facts, txn.party, by));
                    (vec![txn.begin, opened(facts, by), fence, txn.end.at, txn.end.done_by], story)
                });
            }
        }
    }
}

/// A read-process-write loop rests on its fencing for exactly once, too.
fn claims_of_transactions(facts: &Facts<'_>, party: u16) -> impl Iterator<Item = Claim> {
    let consumer = facts.parties[usize::from(party)].consumer;
    let loops = consumer.is_some_and(|consumer| consumer.saving == Saving::InTransaction);
    [Some(Claim::Transactional), loops.then_some(Claim::ExactlyOnce)].into_iter().flatten()
}

/// A fenced client may close without asking anyone.
fn is_close(facts: &Facts<'_>, at: At) -> bool {
    use onceness_reference::history::{Call, Event};
    matches!(facts.history.events.get(at as usize), Some(Event::Call { call: Call::Close, .. }))
}

fn check_saves(facts: &Facts<'_>, by_txn: &Fences, by_group: &Fences, findings: &mut Findings) {
    for save in &facts.saves {
        let Some(consumer) = facts.parties[usize::from(save.party)].consumer else { continue };
        let of_txn = if save.in_transaction { by_txn.of(save.life) } else { (NEVER, 0) };
        let of_group = by_group.of(save.life);
        let claim = claim_of_saving(consumer.saving);
        for (fence, by) in [of_txn, of_group] {
            if save.asked.at <= fence {
                continue;
            }
            findings.tested(claim);
            if save.asked.is_done() {
                findings.accuse(claim, None, || {
                    let story = format!(
                        "{}, but it saved positions of {}",
                        superseded(facts, save.party, by),
                        save.group
                    );
                    (vec![opened(facts, by), fence, save.asked.at, save.asked.done_by], story)
                });
            }
        }
    }
}

fn opened(facts: &Facts<'_>, life: u32) -> At {
    facts.lives[life as usize].open.at
}

fn superseded(facts: &Facts<'_>, party: u16, by: u32) -> String {
    let successor = facts.client(facts.lives[by as usize].party);
    let client = facts.client(party);
    match successor == client {
        true => format!("{client} was superseded by a late copy of its own opening"),
        false => format!("{client} was superseded by {successor}"),
    }
}
