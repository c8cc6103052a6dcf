//! The tables of states and requests, and the names of their rows and columns.

use crate::features::Features;

use super::{Cell, Table, stakes};

/// Which table: its place among [`TABLES`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum In {
    Init,
    Add,
    JoinPartition,
    VerifyPartition,
    JoinGroup,
    VerifyGroup,
    EndTv1,
    EndTv2,
    Plain,
    Tv1,
    Tv2,
    Malformed,
    Save,
    SaveInTxn,
    Positions,
    Fetch,
    Content,
    List,
}

/// All tables.
pub const TABLES: &[Table] = &[
    Table {
        name: "InitProducerId",
        rows: STANDINGS_TO_OPEN,
        columns: &[
            "no session named",
            "the present session named",
            "the one before named",
            "another epoch named",
            "another producer id named",
        ],
        impossible: &[(0, 1), (0, 2), (0, 3), (7, 1), (7, 2), (7, 3), (7, 4)],
        remote: &[(0, 4), (8, 0), (8, 1), (8, 2), (8, 3), (8, 4)],
        needs: |_| true,
        stakes: stakes::init,
    },
    of_place("AddPartitionsToTxn or AddOffsetsToTxn", |features| features.tv1, stakes::add),
    of_place(
        "what a write adds to a transaction over TV2",
        |features| features.tv2,
        stakes::join_partition,
    ),
    of_place(
        "what a write needs of a transaction over TV1",
        |features| features.tv1,
        stakes::verify_partition,
    ),
    of_place(
        "what a save adds to a transaction over TV2",
        |features| features.tv2,
        stakes::admit_group,
    ),
    of_place(
        "what a save needs of a transaction over TV1",
        |features| features.tv1,
        stakes::admit_group,
    ),
    Table {
        name: "EndTxn over TV1",
        rows: STANDINGS,
        columns: &[
            "commit",
            "abort",
            "of an older epoch",
            "of a newer epoch",
            "of another producer id",
        ],
        impossible: &[(0, 0), (0, 1), (0, 2), (0, 3)],
        remote: &[(0, 4)],
        needs: |features| features.tv1,
        stakes: stakes::end_tv1,
    },
    Table {
        name: "EndTxn over TV2",
        rows: STANDINGS,
        columns: &[
            "commit",
            "commit of the epoch before",
            "abort",
            "abort of the epoch before",
            "of another epoch",
            "of another producer id",
        ],
        impossible: &[(0, 0), (0, 1), (0, 2), (0, 3), (0, 4)],
        remote: &[(0, 5)],
        needs: |features| features.tv2,
        stakes: stakes::end_tv2,
    },
    of_batch("Produce outside of transactions", NO_SEQUENCE, |_| true, stakes::plain),
    of_batch(
        "Produce in a transaction over TV1",
        NO_SEQUENCE_IN_TXN,
        |features| features.tv1,
        stakes::in_txn_tv1,
    ),
    of_batch(
        "Produce in a transaction over TV2",
        NO_SEQUENCE_IN_TXN,
        |features| features.tv2,
        stakes::in_txn_tv2,
    ),
    Table {
        name: "Produce of a malformed batch",
        rows: &["any state"],
        columns: &[
            "checksum",
            "count of records",
            "base offset",
            "control batch",
            "too big",
            "two batches",
            "acks=2",
            "no transactional id",
        ],
        impossible: &[],
        remote: &[],
        needs: |features| features.forging,
        stakes: stakes::malformed,
    },
    of_save("OffsetCommit", |_| true),
    of_save("TxnOffsetCommit", Features::transactions),
    Table {
        name: "OffsetFetch",
        rows: &[
            "no position",
            "a saved one",
            "a saved one, and an earlier save committed since",
            "one that waits for its transaction",
        ],
        columns: &["of what is stable", "of what there is"],
        impossible: &[],
        remote: &[],
        needs: |_| true,
        stakes: stakes::positions,
    },
    Table {
        name: "Fetch, where",
        rows: &[
            "before the start",
            "at the start of a batch",
            "inside a batch",
            "between the last stable offset and the end",
            "at the end",
            "beyond the end",
        ],
        columns: &["read_uncommitted", "read_committed", "of one byte"],
        impossible: &[],
        remote: &[],
        needs: |_| true,
        stakes: stakes::fetch,
    },
    Table {
        name: "Fetch, of what",
        rows: &[
            "no transaction",
            "committed transactions",
            "open transactions",
            "aborted transactions",
            "aborted and open transactions",
        ],
        columns: &["read_uncommitted", "read_committed"],
        impossible: &[],
        remote: &[],
        needs: |_| true,
        stakes: stakes::content,
    },
    Table {
        name: "ListOffsets",
        rows: &["no open transaction", "an open transaction"],
        columns: &["the start", "the end, read_uncommitted", "the end, read_committed"],
        impossible: &[],
        remote: &[],
        needs: |_| true,
        stakes: stakes::list,
    },
];

/// Whether a target can be asked something.
type Needs = fn(Features) -> bool;
/// The clauses at stake in a row and column.
type Stakes = fn(u8, u8) -> &'static [&'static str];

/// Of what adds a place to a transaction, or needs it there.
const fn of_place(name: &'static str, needs: Needs, stakes: Stakes) -> Table {
    Table {
        name,
        rows: STANDINGS_TO_ADD,
        columns: WHOSE,
        impossible: ONLY_STRANGERS_TO_ADD,
        remote: &[(0, 3)],
        needs,
        stakes,
    }
}

/// Of a batch that a leader looks into.
const fn of_batch(
    name: &'static str,
    impossible: &'static [(u8, u8)],
    needs: Needs,
    stakes: Stakes,
) -> Table {
    Table { name, rows: KNOWN, columns: SEQUENCES, impossible, remote: &[], needs, stakes }
}

/// Of saved positions.
const fn of_save(name: &'static str, needs: Needs) -> Table {
    Table {
        name,
        rows: MEMBERS,
        columns: MEMBER,
        impossible: NO_MEMBER,
        remote: &[],
        needs,
        stakes: stakes::save,
    }
}

/// Where a transactional id stands, as a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    Unknown,
    Empty,
    Ongoing,
    PrepareCommit,
    PrepareAbort,
    CompleteCommit,
    CompleteAbort,
    /// To whom something is added: open, and it is there already. To whom a producer comes: there is no transactional id.
    Further,
    /// Nothing is open, and the last epoch is given out.
    UsedUp,
}

const STANDINGS: &[&str] = &[
    "unknown id",
    "Empty",
    "Ongoing",
    "PrepareCommit",
    "PrepareAbort",
    "CompleteCommit",
    "CompleteAbort",
];
const STANDINGS_TO_OPEN: &[&str] = &[
    "unknown id",
    "Empty",
    "Ongoing",
    "PrepareCommit",
    "PrepareAbort",
    "CompleteCommit",
    "CompleteAbort",
    "no transactional id",
    "nothing open, and the epochs used up",
];
const STANDINGS_TO_ADD: &[&str] = &[
    "unknown id",
    "Empty",
    "Ongoing without it",
    "PrepareCommit",
    "PrepareAbort",
    "CompleteCommit",
    "CompleteAbort",
    "Ongoing with it",
];

/// Which session InitProducerId names, as a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Named {
    Nobody,
    Present,
    Before,
    OtherEpoch,
    OtherProducer,
}

/// Whose session a request shows, as a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Whose {
    Present,
    Older,
    Newer,
    Stranger,
}

const WHOSE: &[&str] =
    &["the present session", "an older epoch", "a newer epoch", "another producer id"];
/// Of an unknown id every producer id is another one.
const ONLY_STRANGERS_TO_ADD: &[(u8, u8)] = &[(0, 0), (0, 1), (0, 2)];

/// Whose transaction EndTxn of TV2 is about, as a column; of the first two, that of the commit, and behind it that of the abort.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Retry {
    No = 0,
    Yes = 1,
    OtherEpoch = 4,
    OtherProducer = 5,
}

/// What a leader knows of a producer, as a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Known {
    Nothing,
    Idle,
    InTransaction,
    OlderEpoch,
    NewerEpoch,
    /// The batch has no producer id.
    Nobody,
}

const KNOWN: &[&str] = &[
    "nothing known of the producer",
    "its epoch known",
    "its epoch known, and a transaction open",
    "an older epoch known",
    "a newer epoch known",
    "no producer id",
];

/// How a batch goes on from what is known, as a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sequence {
    Next,
    NextRound,
    Duplicate,
    OtherRecords,
    OldDuplicate,
    Overlap,
    Gap,
}

const SEQUENCES: &[&str] = &[
    "the next sequence number",
    "the next, round their end",
    "a duplicate of the last five",
    "such a one with other records",
    "an older duplicate",
    "an overlap",
    "a gap",
];
/// Of whom nothing is known, and in a new epoch, a batch is the first or it is not; what is fenced has no place at all.
const NO_SEQUENCE: &[(u8, u8)] = &[
    (0, 2),
    (0, 3),
    (0, 4),
    (0, 5),
    (3, 1),
    (3, 2),
    (3, 3),
    (3, 4),
    (3, 5),
    (4, 1),
    (4, 2),
    (4, 3),
    (4, 4),
    (4, 5),
    (4, 6),
    (5, 1),
    (5, 2),
    (5, 3),
    (5, 4),
    (5, 5),
    (5, 6),
];
/// The same, and who has no producer id has no transactions.
const NO_SEQUENCE_IN_TXN: &[(u8, u8)] = &[
    (0, 2),
    (0, 3),
    (0, 4),
    (0, 5),
    (3, 1),
    (3, 2),
    (3, 3),
    (3, 4),
    (3, 5),
    (4, 1),
    (4, 2),
    (4, 3),
    (4, 4),
    (4, 5),
    (4, 6),
    (5, 0),
    (5, 1),
    (5, 2),
    (5, 3),
    (5, 4),
    (5, 5),
    (5, 6),
];

/// Who is in a group, as a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Members {
    NoGroup,
    Nobody,
    Some,
}

const MEMBERS: &[&str] = &["no such group", "a group without members", "a group with members"];

/// Which member saves, as a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Member {
    Nobody,
    Present,
    OtherGeneration,
    Replaced,
    Stranger,
}

const MEMBER: &[&str] = &[
    "no member named",
    "a member",
    "of another generation",
    "one that was replaced",
    "a stranger",
];
/// Where nobody is, nobody is a member, and whoever names one is a stranger.
const NO_MEMBER: &[(u8, u8)] = &[(0, 1), (0, 2), (0, 3), (1, 1), (1, 2), (1, 3)];

/// What there is of a position, as a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    Nothing,
    Saved,
    Overtaken,
    Pending,
}

/// What position may be told, as a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Allowed {
    Stable,
    Any,
}

/// Where a fetch begins, as a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Landed {
    Before,
    Start,
    Inside,
    Unstable,
    End,
    Beyond,
}

/// How a fetch reads, as a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum From {
    Uncommitted,
    Committed,
    OneByte,
}

/// What lies before a fetch, as a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Within {
    Plain,
    Committed,
    Open,
    Aborted,
    AbortedAndOpen,
}

/// Which offset is listed, as a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Listed {
    Start,
    End,
    Stable,
}

impl In {
    /// Its cell in that row and column.
    pub(crate) fn cell(self, row: u8, column: u8) -> Cell {
        Cell { table: self as u8, row, column }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rows and columns are told by their place, so the last of each enum must be the last of its list.
    #[test]
    fn every_row_and_column_has_its_words() {
        let last = |table: In| {
            let table = &TABLES[table as usize];
            (table.rows.len() as u8 - 1, table.columns.len() as u8 - 1)
        };
        assert_eq!(TABLES.len(), In::List as usize + 1);
        assert_eq!(last(In::Init), (Standing::UsedUp as u8, Named::OtherProducer as u8));
        for table in
            [In::Add, In::JoinPartition, In::VerifyPartition, In::JoinGroup, In::VerifyGroup]
        {
            assert_eq!(last(table), (Standing::Further as u8, Whose::Stranger as u8));
        }
        assert_eq!(last(In::EndTv1), (Standing::CompleteAbort as u8, 1 + Whose::Stranger as u8));
        assert_eq!(last(In::EndTv2), (Standing::CompleteAbort as u8, Retry::OtherProducer as u8));
        for table in [In::Plain, In::Tv1, In::Tv2] {
            assert_eq!(last(table), (Known::Nobody as u8, Sequence::Gap as u8));
        }
        for table in [In::Save, In::SaveInTxn] {
            assert_eq!(last(table), (Members::Some as u8, Member::Stranger as u8));
        }
        assert_eq!(last(In::Positions), (Found::Pending as u8, Allowed::Any as u8));
        assert_eq!(last(In::Fetch), (Landed::Beyond as u8, From::OneByte as u8));
        assert_eq!(last(In::Content), (Within::AbortedAndOpen as u8, From::Committed as u8));
        assert_eq!(last(In::List), (1, Listed::Stable as u8));
    }

    #[test]
    fn what_cannot_be_is_a_cell() {
        for table in TABLES {
            for (row, column) in table.impossible.iter().chain(table.remote) {
                let (row, column) = (usize::from(*row), usize::from(*column));
                assert!(row < table.rows.len() && column < table.columns.len(), "{}", table.name);
            }
        }
    }
}
