//! What is forged: drawn so that most of it is nearly right, for what is wrong in every way is refused at the first look.

use crate::ids::Partition;
use crate::plan::forge::{BACK_MAX, Flaw, Forge, From, Number, Pose, Shown};
use crate::plan::{Client, Delivery, Isolation, NewRecord, Protocol};
use crate::profile::Focus;

/// Every flaw of a batch that any client can forge.
const FLAWS: [Flaw; 7] =
    [Flaw::Checksum, Flaw::Count, Flaw::Base, Flaw::Control, Flaw::Big, Flaw::Two, Flaw::Acks];

/// Where those forge that need several requests to show something: everybody has that one.
pub(crate) const COMMON: Partition = Partition(0);

/// A forged request that this client can send, in a transaction or outside.
pub(crate) fn draw(
    dice: &mut fastrand::Rng,
    focus: Option<Focus>,
    client: &Client,
    in_transaction: bool,
    partition: Partition,
    records: Vec<NewRecord>,
) -> Forge {
    let transactional = client.txn().is_some();
    let grouped = client.consumer.is_some();
    if in_transaction && grouped && dice.u8(0..100) < 70 {
        return meddle(dice, client);
    }
    match focus.filter(|_| dice.u8(0..100) < 75) {
        Some(Focus::Positions) if in_transaction && grouped => return meddle(dice, client),
        Some(Focus::Positions) if grouped => return look(dice),
        Some(Focus::Reads) => return read(dice, COMMON),
        Some(Focus::Numbers) => return produce(dice, client, partition, records),
        Some(Focus::Sessions) if transactional => return session(dice, partition, grouped),
        _ => {}
    }
    match dice.u8(0..100) {
        45..=65 if transactional => session(dice, partition, grouped),
        66..=72 if client.delivery != Some(Delivery::AtLeastOnce) => init(dice),
        73..=82 if grouped => position(dice, transactional, partition),
        83..=99 => read(dice, partition),
        _ => produce(dice, client, partition, records),
    }
}

fn session(dice: &mut fastrand::Rng, partition: Partition, grouped: bool) -> Forge {
    match dice.u8(0..24) {
        0..=6 => Forge::AddPartition { partition, pose: pose_of_txn(dice) },
        7..=10 if grouped => Forge::AddGroup { pose: pose_of_txn(dice) },
        11..=14 => init(dice),
        _ => Forge::End {
            commit: dice.bool(),
            // Of an epoch that is not the client's own there are two kinds, and each needs an open transaction.
            pose: if dice.u8(0..4) == 0 { Pose::Ahead } else { pose_of_txn(dice) },
        },
    }
}

fn init(dice: &mut fastrand::Rng) -> Forge {
    Forge::Init {
        expecting: match dice.u8(0..4) {
            0 => Pose::Nobody,
            1 => Pose::Own,
            _ => pose_of_txn(dice),
        },
    }
}

fn position(dice: &mut fastrand::Rng, transactional: bool, partition: Partition) -> Forge {
    if dice.u8(0..10) < 3 {
        return Forge::Positions { partition, unstable: dice.bool() };
    }
    let members =
        [Shown::Own, Shown::Own, Shown::Stale, Shown::Future, Shown::Stranger, Shown::Nobody];
    Forge::Save {
        partition,
        in_transaction: transactional && dice.bool(),
        pose: pose_of_txn(dice),
        member: *pick(dice, &members),
    }
}

fn read(dice: &mut fastrand::Rng, partition: Partition) -> Forge {
    let isolation = isolation(dice);
    if dice.u8(0..3) == 0 {
        return Forge::List { partition, earliest: dice.u8(0..4) == 0, isolation };
    }
    let from = match dice.u8(0..8) {
        0 => From::Start,
        1 => From::Before,
        2 => From::End,
        3 => From::Beyond,
        _ => From::Inside,
    };
    Forge::Fetch { partition, from, isolation, byte: dice.bool() }
}

/// What a transaction saves and what is saved and read beside it, all of one partition. By chance alone they hardly meet.
fn meddle(dice: &mut fastrand::Rng, client: &Client) -> Forge {
    match dice.u8(0..10) {
        0..=1 if adds_groups(client) => Forge::AddGroup { pose: Pose::Own },
        0..=4 => save(true),
        5..=7 => save(false),
        _ => look(dice),
    }
}

/// Step by step what shows whether a broker knows which of two saves is the newer one: the transaction saves, somebody saves
/// beside it, and only then does the transaction end. None when it is to end.
pub(crate) fn saved_beside(client: &Client, step: u8) -> Option<Forge> {
    match step + u8::from(!adds_groups(client)) {
        1 => Some(Forge::AddGroup { pose: Pose::Own }),
        2 => Some(save(true)),
        3 => Some(save(false)),
        _ => None,
    }
}

/// Where a group stands, in the partition that is saved.
pub(crate) fn look(dice: &mut fastrand::Rng) -> Forge {
    Forge::Positions { partition: COMMON, unstable: dice.u8(0..4) == 0 }
}

/// Reads on from the middle of a batch.
pub(crate) fn peep(dice: &mut fastrand::Rng) -> Forge {
    let (partition, isolation, byte) = (COMMON, isolation(dice), dice.bool());
    Forge::Fetch { partition, from: From::Inside, isolation, byte }
}

/// Mostly the one at which there is something to hide.
fn isolation(dice: &mut fastrand::Rng) -> Isolation {
    match dice.u8(0..5) {
        0..=1 => Isolation::ReadUncommitted,
        _ => Isolation::ReadCommitted,
    }
}

fn save(in_transaction: bool) -> Forge {
    Forge::Save { partition: COMMON, in_transaction, pose: Pose::Own, member: Shown::Own }
}

/// Whether a group has to be added before a transaction saves in it.
fn adds_groups(client: &Client) -> bool {
    matches!(client.delivery, Some(Delivery::Transactional { protocol: Protocol::Tv1, .. }))
}

fn produce(
    dice: &mut fastrand::Rng,
    client: &Client,
    to: Partition,
    records: Vec<NewRecord>,
) -> Forge {
    let number = match dice.u8(0..20) {
        0..=4 => Number::Next,
        5..=10 => Number::Repeat { back: dice.u8(1..=BACK_MAX) },
        11..=13 => Number::Within { back: dice.u8(1..=3), shift: dice.u8(0..=2) },
        14..=15 => Number::Gap { by: dice.u8(1..=3) },
        16 => Number::Zero,
        _ => Number::Wrap { before: dice.u8(0..=2) },
    };
    let flaw = match (dice.u8(0..100), client.txn()) {
        (0..=17, _) => Some(*pick(dice, &FLAWS)),
        (18..=21, None) => Some(Flaw::Orphan),
        _ => None,
    };
    let plain = client.txn().is_some() && flaw.is_none() && dice.u8(0..100) < 15;
    Forge::Produce { to, records, pose: pose(dice), number, plain, flaw }
}

/// Mostly the client's own, for nothing is looked at behind a wrong one.
fn pose(dice: &mut fastrand::Rng) -> Pose {
    match dice.u8(0..20) {
        0..=2 => Pose::Behind { epochs: if dice.u8(0..4) > 0 { 1 } else { dice.u8(2..=3) } },
        3 => Pose::Ahead,
        4 => Pose::Stranger,
        5 => Pose::Nobody,
        _ => Pose::Own,
    }
}

/// To a coordinator, which looks at nothing but that and the state of the transaction.
fn pose_of_txn(dice: &mut fastrand::Rng) -> Pose {
    match dice.u8(0..20) {
        0..=3 => Pose::Behind { epochs: if dice.bool() { 1 } else { dice.u8(2..=3) } },
        4..=5 => Pose::Ahead,
        6..=7 => Pose::Stranger,
        8 => Pose::Nobody,
        _ => Pose::Own,
    }
}

fn pick<'a, T>(dice: &mut fastrand::Rng, of: &'a [T]) -> &'a T {
    &of[dice.usize(0..of.len())]
}
