//! A forged request in words: what was asked, in the numbers that it had, and what is odd about it.

use onceness_reference::history::Forged;
use onceness_reference::plan::forge::{Flaw, Forge, From, Number, Pose, Shown};

use super::style::{DIM, paint};
use super::timeline::{isolation, tell_records};

/// The request, as a client's line of the time line has it.
pub(super) fn tell(forged: &Forged) -> String {
    let offset = forged.offset.unwrap_or_default();
    let (what, odd): (String, Vec<Option<String>>) = match &forged.forge {
        Forge::Produce { to, pose, number, plain, flaw, .. } => {
            let what = format!("Produce of {} to {to}", tell_records(&forged.records));
            let plain = plain.then(|| "outside of transactions".to_owned());
            (what, vec![tell_pose(*pose), tell_number(*number), plain, flaw.map(tell_flaw)])
        }
        Forge::AddPartition { partition, pose } => {
            (format!("AddPartitionsToTxn of {partition}"), vec![tell_pose(*pose)])
        }
        Forge::AddGroup { pose } => ("AddOffsetsToTxn".to_owned(), vec![tell_pose(*pose)]),
        Forge::End { commit, pose } => {
            let what = if *commit { "EndTxn (commit)" } else { "EndTxn (abort)" };
            (what.to_owned(), vec![tell_pose(*pose)])
        }
        Forge::Init { expecting: Pose::Nobody } => ("InitProducerId".to_owned(), Vec::new()),
        Forge::Init { expecting } => {
            ("InitProducerId with a session".to_owned(), vec![tell_pose(*expecting)])
        }
        Forge::Save { partition, in_transaction, pose, member } => {
            let name = if *in_transaction { "TxnOffsetCommit" } else { "OffsetCommit" };
            let pose = in_transaction.then(|| tell_pose(*pose)).flatten();
            (format!("{name} of {partition} at {offset}"), vec![pose, tell_member(*member, forged)])
        }
        Forge::Fetch { partition, from, isolation: level, byte } => {
            let what = format!("Fetch of {partition} from {offset} at {}", isolation(*level));
            (what, vec![tell_from(*from), byte.then(|| "one byte at most".to_owned())])
        }
        Forge::List { partition, earliest, isolation: level } => {
            let place = if *earliest { "start" } else { "end" };
            (
                format!("ListOffsets of the {place} of {partition} at {}", isolation(*level)),
                Vec::new(),
            )
        }
        Forge::Positions { partition, unstable } => {
            let unstable = unstable.then(|| "also of what is not stable".to_owned());
            (format!("OffsetFetch of {partition}"), vec![unstable])
        }
    };
    let odd: Vec<String> = odd.into_iter().flatten().collect();
    let odd = if odd.is_empty() { String::new() } else { format!(": {}", odd.join(", ")) };
    format!("forges {what}{}{odd}", numbers(forged))
}

fn numbers(forged: &Forged) -> String {
    let session = forged.session.map(|(producer, epoch)| match forged.first {
        Some(first) => format!(" (producer {producer} epoch {epoch} sequence {first})"),
        None => format!(" (producer {producer} epoch {epoch})"),
    });
    session.map_or_else(String::new, |numbers| paint(DIM, numbers))
}

fn tell_pose(pose: Pose) -> Option<String> {
    match pose {
        Pose::Own => None,
        Pose::Behind { epochs: 1 } => Some("of the epoch before".to_owned()),
        Pose::Behind { epochs } => Some(format!("{epochs} epochs behind")),
        Pose::Ahead => Some("of the next epoch".to_owned()),
        Pose::Stranger => Some("of a producer that nobody knows".to_owned()),
        Pose::Nobody => Some("without a producer".to_owned()),
    }
}

fn tell_number(number: Number) -> Option<String> {
    match number {
        Number::Next => None,
        Number::Repeat { back: 1 } => Some("the last batch once more".to_owned()),
        Number::Repeat { back } => Some(format!("the batch {back} back once more")),
        Number::Within { back, shift } => {
            Some(format!("other records from record {shift} of the batch {back} back on"))
        }
        Number::Gap { by } => Some(format!("a gap of {by}")),
        Number::Zero => Some("from the first number on".to_owned()),
        Number::Wrap { .. } => Some("near the last number of all".to_owned()),
    }
}

fn tell_flaw(flaw: Flaw) -> String {
    let flaw = match flaw {
        Flaw::Checksum => "a wrong checksum",
        Flaw::Count => "a wrong number of records",
        Flaw::Base => "a base offset that is not 0",
        Flaw::Control => "a control batch",
        Flaw::Big => "too big",
        Flaw::Two => "two batches at once",
        Flaw::Acks => "acks=2",
        Flaw::Orphan => "transactional, without a transactional id",
    };
    flaw.to_owned()
}

fn tell_member(member: Shown, forged: &Forged) -> Option<String> {
    let generation = forged.generation.unwrap_or(-1);
    match member {
        Shown::Own => forged.generation.map(|generation| format!("generation {generation}")),
        Shown::Stale => Some(format!("generation {generation}, which is over")),
        Shown::Future => Some(format!("generation {generation}, which is to come")),
        Shown::Stranger => Some("of a member that nobody knows".to_owned()),
        Shown::Nobody => None,
    }
}

fn tell_from(from: From) -> Option<String> {
    match from {
        From::Start | From::End => None,
        From::Before => Some("before the start".to_owned()),
        From::Inside => Some("inside a batch".to_owned()),
        From::Beyond => Some("beyond the end".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use onceness_reference::history::Record;
    use onceness_reference::ids::{Key, Partition, Tag};

    use super::*;

    #[test]
    fn a_forged_request_is_told_in_the_words_of_the_protocol() {
        let forged = |forge: Forge| Forged {
            forge,
            session: Some((7, 0)),
            first: None,
            records: Vec::new(),
            offset: Some(4),
            generation: None,
        };
        let produce = |number, pose, flaw| Forged {
            first: Some(3),
            records: vec![Record { tag: Tag(1), key: Key(0), from: None }],
            ..forged(Forge::Produce {
                to: Partition(0),
                records: Vec::new(),
                pose,
                number,
                plain: false,
                flaw,
            })
        };
        let all = [
            produce(Number::Gap { by: 2 }, Pose::Own, None),
            produce(Number::Repeat { back: 3 }, Pose::Behind { epochs: 1 }, Some(Flaw::Control)),
            forged(Forge::End { commit: false, pose: Pose::Ahead }),
            Forged {
                session: None,
                ..forged(Forge::Save {
                    partition: Partition(1),
                    in_transaction: false,
                    pose: Pose::Own,
                    member: Shown::Stranger,
                })
            },
        ];
        let told: String = all.iter().map(|one| tell(one) + "\n").collect();
        let told = anstream::adapter::strip_str(&told).to_string();
        expect_test::expect![[r#"
            forges Produce of r1[k0] to p0 (producer 7 epoch 0 sequence 3): a gap of 2
            forges Produce of r1[k0] to p0 (producer 7 epoch 0 sequence 3): of the epoch before, the batch 3 back once more, a control batch
            forges EndTxn (abort) (producer 7 epoch 0): of the next epoch
            forges OffsetCommit of p1 at 4: of a member that nobody knows
        "#]].assert_eq(&told);
    }
}
