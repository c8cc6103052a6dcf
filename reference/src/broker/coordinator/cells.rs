//! Which cell a request finds, of the states that a transactional id can be in.

use crate::cells::{Cell, In, Named, Retry, Standing, Whose};
use crate::ids::TxnId;
use crate::plan::Protocol;
use crate::protocol::{Ending, Session};
use crate::rules::Rules;

use super::{Coordinator, Place, State, Txn};

impl Coordinator {
    /// Of InitProducerId.
    pub(in super::super) fn cell_of_init(
        &self,
        rules: &Rules,
        id: Option<TxnId>,
        expected: Option<Session>,
    ) -> Cell {
        let cell = |row: Standing, column: Named| In::Init.cell(row as u8, column as u8);
        let Some(id) = id else { return cell(Standing::Further, Named::Nobody) };
        let txn = self.txns.get(&id).filter(|txn| txn.session.epoch != -1);
        let (Some(txn), Some(expected)) = (txn, expected) else {
            let named = expected.map_or(Named::Nobody, |_| Named::OtherProducer);
            return cell(txn.map_or(Standing::Unknown, |txn| txn.standing_to_open(rules)), named);
        };
        let named = match () {
            () if expected == txn.session => Named::Present,
            () if Some(expected) == txn.told || Some(expected) == txn.previous => Named::Before,
            () if expected.producer == txn.session.producer => Named::OtherEpoch,
            () => Named::OtherProducer,
        };
        cell(txn.standing_to_open(rules), named)
    }

    /// Of a request that adds a place to a transaction, or needs it there.
    pub(in super::super) fn cell_of_place(
        &self,
        table: In,
        id: TxnId,
        session: Session,
        place: Place,
    ) -> Cell {
        let Some(txn) = self.txns.get(&id) else {
            return table.cell(Standing::Unknown as u8, Whose::Stranger as u8);
        };
        let standing = match txn.standing() {
            Standing::Ongoing if txn.places.contains(&place) => Standing::Further,
            standing => standing,
        };
        table.cell(standing as u8, txn.whose(session) as u8)
    }

    /// Of EndTxn.
    pub(in super::super) fn cell_of_end(
        &self,
        id: TxnId,
        session: Session,
        ending: Ending,
        protocol: Protocol,
    ) -> Cell {
        let txn = self.txns.get(&id);
        let standing = txn.map_or(Standing::Unknown, Txn::standing) as u8;
        match protocol {
            Protocol::Tv1 => {
                let whose = txn.map_or(Whose::Stranger, |txn| txn.whose(session));
                let column = match (whose, ending) {
                    (Whose::Present, Ending::Commit) => 0,
                    // Commits and aborts of others are refused alike.
                    (whose, _) => 1 + whose as u8,
                };
                In::EndTv1.cell(standing, column)
            }
            Protocol::Tv2 => {
                let column = match txn.map_or(Retry::OtherProducer, |txn| txn.retry(session)) {
                    retry @ (Retry::No | Retry::Yes) => match ending {
                        Ending::Commit => retry as u8,
                        Ending::Abort => retry as u8 + 2,
                    },
                    other => other as u8,
                };
                In::EndTv2.cell(standing, column)
            }
        }
    }

    /// Whether the place is admitted to the transaction of that session.
    pub(in super::super) fn admits(
        &self,
        rules: &Rules,
        id: TxnId,
        session: Session,
        place: Place,
        protocol: Protocol,
    ) -> bool {
        match protocol {
            Protocol::Tv1 => self.check_open(rules, id, session, place).is_ok(),
            Protocol::Tv2 => self.check(rules, id, session).is_ok(),
        }
    }
}

impl Txn {
    fn standing(&self) -> Standing {
        match self.state {
            State::Empty => Standing::Empty,
            State::Ongoing => Standing::Ongoing,
            State::Prepare(Ending::Commit) => Standing::PrepareCommit,
            State::Prepare(Ending::Abort) => Standing::PrepareAbort,
            State::Complete(Ending::Commit) => Standing::CompleteCommit,
            State::Complete(Ending::Abort) => Standing::CompleteAbort,
        }
    }

    fn standing_to_open(&self, rules: &Rules) -> Standing {
        match self.state {
            State::Empty | State::Complete(_) if self.session.epoch >= rules.epoch_max => {
                Standing::UsedUp
            }
            _ => self.standing(),
        }
    }

    fn whose(&self, session: Session) -> Whose {
        match () {
            () if session.producer != self.session.producer => Whose::Stranger,
            () if session.epoch < self.session.epoch => Whose::Older,
            () if session.epoch > self.session.epoch => Whose::Newer,
            () => Whose::Present,
        }
    }

    fn retry(&self, session: Session) -> Retry {
        match () {
            () if session == self.session => Retry::No,
            () if self.is_retry_of(session) => Retry::Yes,
            () if session.producer == self.session.producer => Retry::OtherEpoch,
            () => Retry::OtherProducer,
        }
    }
}
