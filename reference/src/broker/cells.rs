//! Which cells of the tables of states and requests a request finds ([`crate::cells`]).

use std::sync::Arc;

use crate::cells::{Cells, In};
use crate::ids::{GroupId, Partition, TxnId};
use crate::plan::Protocol;
use crate::protocol::{Batch, Request, Session};

use super::coordinator::Place;
use super::{Broker, Group, Log};

impl Broker {
    /// The cells that the request finds, if it is carried out now.
    pub fn cells(&self, request: &Request) -> Cells {
        match request {
            Request::InitProducer { txn, expected } => {
                Cells::one(self.coordinator.cell_of_init(&self.rules, *txn, *expected))
            }
            Request::AddPartition { txn, session, partition } => {
                let place = Place::Partition(*partition);
                Cells::one(self.coordinator.cell_of_place(In::Add, *txn, *session, place))
            }
            Request::AddGroup { txn, session, group } => {
                let place = Place::Group(*group);
                Cells::one(self.coordinator.cell_of_place(In::Add, *txn, *session, place))
            }
            Request::Produce { partition, batch, txn, .. } => {
                self.cells_of_produce(*partition, batch, *txn)
            }
            Request::Malformed { flaw, .. } => Cells::one(In::Malformed.cell(0, *flaw as u8)),
            Request::EndTxn { txn, session, ending, protocol } => {
                Cells::one(self.coordinator.cell_of_end(*txn, *session, *ending, *protocol))
            }
            Request::SaveInTxn { txn, session, protocol, group, member, .. } => {
                let save = |group: &Group| group.cell_of_save(In::SaveInTxn, member.as_ref());
                let in_transaction = |group: &Group| group.in_transaction(*session);
                if self.group_or_none(*group, in_transaction) {
                    return Cells::one(self.group_or_none(*group, save));
                }
                let (table, place) = match protocol {
                    Protocol::Tv1 => (In::VerifyGroup, Place::Group(*group)),
                    Protocol::Tv2 => (In::JoinGroup, Place::Group(*group)),
                };
                let admission = self.coordinator.cell_of_place(table, *txn, *session, place);
                match self.coordinator.admits(*txn, *session, place, *protocol) {
                    true => Cells::two(admission, self.group_or_none(*group, save)),
                    false => Cells::one(admission),
                }
            }
            Request::Save { group, member, .. } => {
                let save = |group: &Group| group.cell_of_save(In::Save, member.as_ref());
                Cells::one(self.group_or_none(*group, save))
            }
            Request::Positions { group, partitions, stable } => {
                let positions = |group: &Group| group.cell_of_positions(partitions, *stable);
                Cells::one(self.group_or_none(*group, positions))
            }
            // Membership has no table: clients of this suite are alone in their groups where answers are judged.
            Request::Join { .. } => Cells::default(),
            Request::Fetch { partition, offset, isolation } => self
                .cells_of_log(*partition, |log| {
                    log.cells_of_fetch(&self.rules, *offset, *isolation, false)
                }),
            Request::FetchByte { partition, offset, isolation } => self
                .cells_of_log(*partition, |log| {
                    log.cells_of_fetch(&self.rules, *offset, *isolation, true)
                }),
            Request::ListOffsets { partition, earliest, isolation } => {
                self.cells_of_log(*partition, |log| (log.cell_of_list(*earliest, *isolation), None))
            }
        }
    }

    /// First whoever admits it, unless the transaction is open there or the leader refuses at once; then the leader.
    fn cells_of_produce(
        &self,
        partition: Partition,
        batch: &Batch,
        txn: Option<(TxnId, Protocol)>,
    ) -> Cells {
        let Some(log) = self.logs.get(&partition) else { return Cells::default() };
        let landed = log.cell_of_batch(batch, txn.map(|(_, protocol)| protocol));
        let (Some((txn, protocol)), Some(session)) = (txn, batch.session) else {
            return Cells::one(landed);
        };
        if log.in_transaction(session) || log.is_fenced(&self.rules, session) {
            return Cells::one(landed);
        }
        self.admitted(txn, session, protocol, partition, landed)
    }

    fn admitted(
        &self,
        txn: TxnId,
        session: Session,
        protocol: Protocol,
        partition: Partition,
        landed: crate::cells::Cell,
    ) -> Cells {
        let place = Place::Partition(partition);
        let table = match protocol {
            Protocol::Tv1 => In::VerifyPartition,
            Protocol::Tv2 => In::JoinPartition,
        };
        let admission = self.coordinator.cell_of_place(table, txn, session, place);
        match self.coordinator.admits(txn, session, place, protocol) {
            true => Cells::two(admission, landed),
            false => Cells::one(admission),
        }
    }

    fn cells_of_log(
        &self,
        partition: Partition,
        cells: impl Fn(&Log) -> (crate::cells::Cell, Option<crate::cells::Cell>),
    ) -> Cells {
        match self.logs.get(&partition).map(|log| cells(log)) {
            None => Cells::default(),
            Some((first, None)) => Cells::one(first),
            Some((first, Some(second))) => Cells::two(first, second),
        }
    }

    fn group_or_none<T>(&self, group: GroupId, ask: impl Fn(&Group) -> T) -> T {
        match self.groups.get(&group) {
            Some(group) => ask(Arc::as_ref(group)),
            None => ask(&Group::default()),
        }
    }
}
