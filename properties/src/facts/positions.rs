//! What a group may be told of a position: a register that several writers write and whose writes may overlap.
//!
//! A value may be read if a write of it may have taken effect before the read ended, and no other write is known to have
//! come wholly after that write and wholly before the read. A save in a transaction is written when the transaction
//! commits. An earlier read counts as a write of what it told. Positions are read as `require_stable` has it (KIP-447):
//! a transaction that was committed before the read began is in force.

use onceness_reference::ids::{GroupId, Offset, Partition};

use super::calls::{Register, Told, TxnFate};
use super::tags::NONE;
use super::{At, Facts, NEVER};

/// A group was told a position that nothing explains.
#[derive(Clone, Debug)]
pub(crate) struct Mismatch {
    pub(crate) group: GroupId,
    pub(crate) partition: Partition,
    /// The event that told.
    pub(crate) at: At,
    pub(crate) got: Option<Offset>,
    /// What it might have been told instead. Few.
    pub(crate) expected: Vec<Option<Offset>>,
    /// The saves behind what was told and what should have been.
    pub(crate) saves: Vec<u32>,
}

/// A write of the register, or an earlier read of it.
#[derive(Clone, Copy, Debug)]
struct Write {
    position: Option<Offset>,
    /// Takes effect after this.
    start: At,
    /// Is in force by then; [`NEVER`] if that is not known.
    done_by: At,
    /// Has no effect after this.
    end: At,
    /// The save; [`NONE`] for a read.
    save: u32,
    is_read: bool,
}

pub(super) fn mismatches(facts: &Facts<'_>) -> Vec<Mismatch> {
    let ends = DoubtEnds::of(facts);
    let mut found = Vec::new();
    for ((group, partition), register) in &facts.registers {
        let writes = writes(facts, &ends, register);
        for mut mismatch in wrong_reads(&writes, &register.told) {
            (mismatch.group, mismatch.partition) = (*group, *partition);
            let told = |(position, _): &&(Offset, u32)| Some(*position) == mismatch.got;
            mismatch
                .saves
                .extend(register.saved.iter().filter(told).map(|(_, save)| *save).take(2));
            found.push(mismatch);
        }
    }
    found
}

/// When a commit in doubt was settled: its transactional id was opened again.
struct DoubtEnds {
    /// By transactional id, latest first: when an opening was called, and of it and all later ones the first that is
    /// known to be done: proof and call.
    opens: Vec<Vec<(At, (At, At))>>,
}

impl DoubtEnds {
    fn of(facts: &Facts<'_>) -> Self {
        let opens = facts.inits.iter().map(|inits| {
            let mut opens: Vec<_> =
                inits.iter().map(|init| (init.asked, (init.proof, init.asked))).collect();
            opens.sort_unstable_by(|a, b| b.cmp(a));
            let mut best = (NEVER, NEVER);
            for (_, proof) in &mut opens {
                best = best.min(*proof);
                *proof = best;
            }
            opens
        });
        DoubtEnds { opens: opens.collect() }
    }

    /// The first opening after an event that is known to be done: its proof and its call.
    fn after(&self, facts: &Facts<'_>, party: u16, at: At) -> Option<(At, At)> {
        let id = facts.parties[usize::from(party)].txn_id()?;
        let opens = &self.opens[id.0 as usize];
        let later = opens.partition_point(|(asked, _)| *asked > at);
        let (_, first) = opens[..later].last()?;
        (first.0 != NEVER).then_some(*first)
    }
}

fn writes(facts: &Facts<'_>, ends: &DoubtEnds, register: &Register) -> Vec<Write> {
    let mut writes: Vec<Write> = Vec::with_capacity(register.saved.len() + register.told.len());
    for (position, place) in &register.saved {
        let save = &facts.saves[*place as usize];
        if save.asked.is_refused() {
            continue;
        }
        let plain = Write {
            position: Some(*position),
            start: save.asked.at,
            done_by: save.asked.done_by,
            end: save.asked.end(),
            save: *place,
            is_read: false,
        };
        if !save.in_transaction {
            writes.push(plain);
            continue;
        }
        let Some(txn) = facts.transactions.get(save.txn as usize) else { continue };
        if let Some(committed) = committed(facts, ends, txn, plain) {
            // Of two saves in one transaction the later one stands, unless a copy of the earlier one came after it.
            let earlier = writes.last().filter(|last| {
                last.save != NONE && {
                    let earlier = &facts.saves[last.save as usize];
                    earlier.txn == save.txn
                        && earlier.asked.end() < save.asked.at
                        && save.asked.is_done()
                }
            });
            if earlier.is_some() {
                writes.pop();
            }
            writes.push(committed);
        }
    }
    writes.extend(register.told.iter().map(|told| Write {
        position: told.position,
        start: told.asked,
        done_by: told.at,
        end: told.at,
        save: NONE,
        is_read: true,
    }));
    writes
}

/// When a save in a transaction takes effect, if it may.
fn committed(
    facts: &Facts<'_>,
    ends: &DoubtEnds,
    txn: &super::calls::Transaction,
    save: Write,
) -> Option<Write> {
    let sure = save.done_by != NEVER && !txn.muddled;
    match txn.fate() {
        TxnFate::NotCommitted => None,
        TxnFate::Committed => Some(Write {
            start: txn.end.at,
            done_by: if sure { txn.end.done_by } else { NEVER },
            end: txn.end.done_by,
            ..save
        }),
        TxnFate::InDoubt if txn.expected > 0 && txn.visible == 0 => None,
        TxnFate::InDoubt => {
            let settled = ends.after(facts, txn.party, txn.end.at);
            // An opening reads the positions after it has settled what was in doubt.
            let visible = settled.filter(|_| txn.visible > 0 && sure);
            Some(Write {
                start: txn.end.at,
                done_by: visible.map_or(NEVER, |(_, asked)| asked.saturating_sub(1)),
                end: settled.map_or(NEVER, |(proof, _)| proof),
                ..save
            })
        }
    }
}

fn wrong_reads(writes: &[Write], told: &[Told]) -> Vec<Mismatch> {
    let mut by_end: Vec<&Write> = writes.iter().collect();
    by_end.sort_by_key(|write| write.end);
    let mut definite: Vec<(At, At)> = writes
        .iter()
        .filter(|write| write.done_by != NEVER)
        .map(|write| (write.done_by, write.start))
        .collect();
    definite.sort_unstable();
    let mut latest_start = 0;
    for (_, start) in &mut definite {
        latest_start = latest_start.max(*start);
        *start = latest_start;
    }
    told.iter().filter_map(|told| wrong_read(&by_end, &definite, told)).collect()
}

fn wrong_read(by_end: &[&Write], definite: &[(At, At)], told: &Told) -> Option<Mismatch> {
    let before = definite.partition_point(|(done_by, _)| *done_by < told.asked);
    let overwritten = definite[..before].last().map(|(_, start)| *start);
    let first = by_end.partition_point(|write| overwritten.is_some_and(|start| write.end < start));
    let in_time = |write: &&&Write| match write.is_read {
        true => write.end < told.asked,
        false => write.start < told.at,
    };
    let candidates = || by_end[first..].iter().filter(in_time);
    let unsaved = overwritten.is_none() && told.position.is_none();
    if unsaved || candidates().any(|write| write.position == told.position) {
        return None;
    }
    let mut expected: Vec<Option<Offset>> = candidates().map(|write| write.position).collect();
    if overwritten.is_none() {
        expected.push(None);
    }
    expected.sort_unstable();
    expected.dedup();
    let saves = candidates().filter(|write| write.save != NONE).map(|write| write.save);
    Some(Mismatch {
        group: GroupId(0),
        partition: Partition(0),
        at: told.at,
        got: told.position,
        expected,
        saves: saves.take(4).collect(),
    })
}
