//! Which cells of the tables of states and requests a request finds ([`crate::cells`]).

use crate::cells::{Cell, Cells, In};
use crate::ids::{GroupId, Partition, TxnId};
use crate::plan::Protocol;
use crate::protocol::{Batch, Request, Session};

use super::coordinator::Place;
use super::{Broker, Group, Log};

/// The transaction that a batch belongs to, and the protocol of its client.
type InTxn = Option<(TxnId, Protocol)>;

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
                self.of_log(*partition, |log| self.cells_of_produce(log, *partition, batch, *txn))
            }
            Request::Malformed { flaw, .. } => Cells::one(In::Malformed.cell(0, *flaw as u8)),
            Request::EndTxn { txn, session, ending, protocol } => {
                Cells::one(self.coordinator.cell_of_end(*txn, *session, *ending, *protocol))
            }
            Request::SaveInTxn { txn, session, protocol, group, member, .. } => {
                let save = |group: &Group| group.cell_of_save(In::SaveInTxn, member.as_ref());
                let landed = self.group_or_none(*group, save);
                let by_epoch = self.rules.asks_epoch(*protocol);
                let open = |group: &Group| group.in_transaction(*session, by_epoch);
                match self.group_or_none(*group, open) {
                    true => Cells::one(landed),
                    false => {
                        self.admitted((*txn, *protocol), *session, Place::Group(*group), landed)
                    }
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
            Request::Fetch { partition, offset, isolation } => self.of_log(*partition, |log| {
                log.cells_of_fetch(&self.rules, *offset, *isolation, false)
            }),
            Request::FetchByte { partition, offset, isolation } => self.of_log(*partition, |log| {
                log.cells_of_fetch(&self.rules, *offset, *isolation, true)
            }),
            Request::ListOffsets { partition, earliest, isolation } => {
                self.of_log(*partition, |log| Cells::one(log.cell_of_list(*earliest, *isolation)))
            }
        }
    }

    /// A leader where the transaction is open, or who refuses at once, asks nobody else.
    fn cells_of_produce(
        &self,
        log: &Log,
        partition: Partition,
        batch: &Batch,
        txn: InTxn,
    ) -> Cells {
        let landed = log.cell_of_batch(batch, txn.map(|(_, protocol)| protocol));
        let (Some((txn, protocol)), Some(session)) = (txn, batch.session) else {
            return Cells::one(landed);
        };
        let open = log.in_transaction(session, self.rules.asks_epoch(protocol));
        match open || self.rules.epoch_first && log.is_fenced(&self.rules, session) {
            true => Cells::one(landed),
            false => self.admitted((txn, protocol), session, Place::Partition(partition), landed),
        }
    }

    /// First whoever admits it to the transaction, and then, if it is admitted, whoever carries it out.
    fn admitted(
        &self,
        (txn, protocol): (TxnId, Protocol),
        session: Session,
        place: Place,
        landed: Cell,
    ) -> Cells {
        let table = match (protocol, place) {
            (Protocol::Tv1, Place::Partition(_)) => In::VerifyPartition,
            (Protocol::Tv2, Place::Partition(_)) => In::JoinPartition,
            (Protocol::Tv1, Place::Group(_)) => In::VerifyGroup,
            (Protocol::Tv2, Place::Group(_)) => In::JoinGroup,
        };
        let admission = self.coordinator.cell_of_place(table, txn, session, place);
        match self.coordinator.admits(&self.rules, txn, session, place, protocol) {
            true => Cells::two(admission, landed),
            false => Cells::one(admission),
        }
    }

    fn of_log(&self, partition: Partition, cells: impl Fn(&Log) -> Cells) -> Cells {
        self.logs.get(&partition).map_or_else(Cells::default, |log| cells(log))
    }

    fn group_or_none<T>(&self, group: GroupId, ask: impl Fn(&Group) -> T) -> T {
        match self.groups.get(&group) {
            Some(group) => ask(group),
            None => ask(&Group::default()),
        }
    }
}
