//! What is forged: drawn so that most of it is nearly right, for what is wrong in every way is refused at the first look.

use crate::ids::Partition;
use crate::plan::forge::{BACK_MAX, Flaw, Forge, From, Number, Pose, Shown};
use crate::plan::{Client, Delivery, Isolation, NewRecord, Protocol};

/// Every flaw of a batch that any client can forge.
const FLAWS: [Flaw; 7] =
    [Flaw::Checksum, Flaw::Count, Flaw::Base, Flaw::Control, Flaw::Big, Flaw::Two, Flaw::Acks];

/// A forged request that this client can send, in a transaction or outside.
pub(crate) fn draw(
    dice: &mut fastrand::Rng,
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
    match dice.u8(0..100) {
        0..=44 => produce(dice, client, partition, records),
        45..=51 if transactional => Forge::AddPartition { partition, pose: pose_of_txn(dice) },
        52..=55 if transactional && grouped => Forge::AddGroup { pose: pose_of_txn(dice) },
        56..=65 if transactional => Forge::End {
            commit: dice.bool(),
            // Of an epoch that is not the client's own there are two kinds, and each needs an open transaction.
            pose: if dice.u8(0..4) == 0 { Pose::Ahead } else { pose_of_txn(dice) },
        },
        66..=72 if client.delivery != Some(Delivery::AtLeastOnce) => Forge::Init {
            expecting: match dice.u8(0..4) {
                0 => Pose::Nobody,
                1 => Pose::Own,
                _ => pose_of_txn(dice),
            },
        },
        73..=75 if grouped => Forge::Positions { partition, unstable: dice.bool() },
        76..=82 if grouped => Forge::Save {
            partition,
            in_transaction: transactional && dice.bool(),
            pose: pose_of_txn(dice),
            member: *pick(
                dice,
                &[
                    Shown::Own,
                    Shown::Own,
                    Shown::Stale,
                    Shown::Future,
                    Shown::Stranger,
                    Shown::Nobody,
                ],
            ),
        },
        83..=91 => {
            Forge::List { partition, earliest: dice.u8(0..4) == 0, isolation: isolation(dice) }
        }
        92..=99 => Forge::Fetch {
            partition,
            from: *pick(
                dice,
                &[From::Start, From::Before, From::Inside, From::Inside, From::End, From::Beyond],
            ),
            isolation: isolation(dice),
            byte: dice.bool(),
        },
        _ => produce(dice, client, partition, records),
    }
}

/// What a transaction saves and what is saved and read beside it, all of one partition. By chance alone they hardly meet.
fn meddle(dice: &mut fastrand::Rng, client: &Client) -> Forge {
    let partition = Partition(0);
    let save = |in_transaction| Forge::Save {
        partition,
        in_transaction,
        pose: Pose::Own,
        member: Shown::Own,
    };
    let adds =
        matches!(client.delivery, Some(Delivery::Transactional { protocol: Protocol::Tv1, .. }));
    match dice.u8(0..8) {
        0..=1 if adds => Forge::AddGroup { pose: Pose::Own },
        0..=3 => save(true),
        4..=6 => save(false),
        _ => Forge::Positions { partition, unstable: dice.u8(0..4) == 0 },
    }
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

fn isolation(dice: &mut fastrand::Rng) -> Isolation {
    *pick(dice, &[Isolation::ReadCommitted, Isolation::ReadUncommitted])
}

fn pick<'a, T>(dice: &mut fastrand::Rng, of: &'a [T]) -> &'a T {
    &of[dice.usize(0..of.len())]
}
