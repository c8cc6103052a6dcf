//! The cells: every state of a broker that makes a difference to a request, crossed with that request. A suite that never
//! came to one says nothing of it, so it is counted how often each was reached.
//!
//! The states are the model's, and so is the word which cell a request finds ([`crate::broker::Broker`] has a file `cells`
//! beside each part that keeps a state); that a real broker was in it too follows from its answers, as far as
//! [`crate::explain`] can tell. A cell also says which clauses are at stake there ([`Cell::clauses`]).
//!
//! Source: `TransactionCoordinator`, `TransactionMetadata`, `ProducerAppendInfo`, `UnifiedLog`, `OffsetMetadataManager`.

mod stakes;
mod tables;

use crate::features::Features;

pub use tables::TABLES;
pub(crate) use tables::{
    Allowed, Found, From, In, Known, Landed, Listed, Member, Members, Named, Retry, Sequence,
    Standing, Whose, Within,
};

/// States, in rows, crossed with what is asked in them, in columns.
#[derive(Debug)]
pub struct Table {
    /// What is asked, by whom and of whom.
    pub name: &'static str,
    /// The states.
    pub rows: &'static [&'static str],
    /// What is asked in them.
    pub columns: &'static [&'static str],
    /// Row and column of what cannot be.
    pub impossible: &'static [(u8, u8)],
    /// Row and column of what no plan leads to: clients open their ids before they do anything else, and no case is long
    /// enough to use up the epochs of one.
    pub remote: &'static [(u8, u8)],
    /// Whether a target that can do so much can be asked that.
    pub needs: fn(Features) -> bool,
    /// The ids of the clauses that are at stake in that row and column.
    pub stakes: fn(u8, u8) -> &'static [&'static str],
}

/// One state and what is asked in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Cell {
    /// Which of [`TABLES`].
    pub table: u8,
    /// Which of its rows.
    pub row: u8,
    /// Which of its columns.
    pub column: u8,
}

impl Cell {
    /// Its table.
    pub fn table(self) -> &'static Table {
        &TABLES[usize::from(self.table)]
    }

    /// What is asked, in which state, in words.
    pub fn name(self) -> String {
        let table = self.table();
        let (row, column) = (usize::from(self.row), usize::from(self.column));
        format!("{}: {}, {}", table.name, table.rows[row], table.columns[column])
    }

    /// The ids of the clauses that an answer in this cell can break.
    pub fn clauses(self) -> &'static [&'static str] {
        (self.table().stakes)(self.row, self.column)
    }

    fn can_be(self) -> bool {
        !self.table().impossible.contains(&(self.row, self.column))
    }
}

/// All cells that can be, in the order of the tables.
pub fn all() -> impl Iterator<Item = Cell> {
    (0..).zip(TABLES).flat_map(|(number, table): (u8, &'static Table)| {
        let rows = 0..table.rows.len() as u8;
        let columns = move || 0..table.columns.len() as u8;
        let cells = rows
            .flat_map(move |row| columns().map(move |column| Cell { table: number, row, column }));
        cells.filter(|cell| cell.can_be())
    })
}

/// Those that a target that can do so much can be brought to.
pub fn within_reach(features: Features) -> impl Iterator<Item = Cell> {
    all().filter(move |cell| {
        let table = cell.table();
        (table.needs)(features) && !table.remote.contains(&(cell.row, cell.column))
    })
}

/// The cells that one request finds: one of whoever admits it, and one of whoever carries it out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cells([Option<Cell>; 2]);

impl Cells {
    /// One cell.
    pub(crate) fn one(cell: Cell) -> Cells {
        Cells([Some(cell), None])
    }

    /// First one, then another.
    pub(crate) fn two(first: Cell, second: Cell) -> Cells {
        Cells([Some(first), Some(second)])
    }

    /// Those that are also among the others.
    pub(crate) fn common(self, others: Cells) -> Cells {
        Cells(self.0.map(|one| one.filter(|one| others.0.contains(&Some(*one)))))
    }

    /// Each of them.
    pub fn iter(self) -> impl Iterator<Item = Cell> {
        self.0.into_iter().flatten()
    }
}
