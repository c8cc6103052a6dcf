//! What a request touches: requests that touch nothing in common are answered alike in either order.

use crate::broker::{Marker, Place};
use crate::ids::{GroupId, Partition, TxnId};
use crate::protocol::Request;

/// The parts of a broker that a request reads or changes.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Touches {
    partition: Option<Partition>,
    txn: Option<TxnId>,
    group: Option<GroupId>,
    /// It decides a transaction, and so reaches every part of it.
    all: bool,
    changes: bool,
}

impl Touches {
    pub(super) fn of(request: &Request) -> Touches {
        let none = Touches { changes: true, ..Touches::default() };
        match request {
            Request::InitProducer { txn, .. } => Touches { txn: *txn, all: txn.is_some(), ..none },
            Request::EndTxn { txn, .. } => Touches { txn: Some(*txn), all: true, ..none },
            Request::AddPartition { txn, .. } | Request::AddGroup { txn, .. } => {
                Touches { txn: Some(*txn), ..none }
            }
            Request::Produce { partition, txn, .. } | Request::Malformed { partition, txn, .. } => {
                Touches { partition: Some(*partition), txn: txn.map(|(txn, _)| txn), ..none }
            }
            Request::SaveInTxn { txn, group, .. } => {
                Touches { txn: Some(*txn), group: Some(*group), ..none }
            }
            Request::Save { group, .. } | Request::Join { group } => {
                Touches { group: Some(*group), ..none }
            }
            Request::Positions { group, .. } => {
                Touches { group: Some(*group), changes: false, ..none }
            }
            Request::Fetch { partition, .. }
            | Request::FetchByte { partition, .. }
            | Request::ListOffsets { partition, .. } => {
                Touches { partition: Some(*partition), changes: false, ..none }
            }
        }
    }

    /// Whether it changes anything for others.
    pub(super) fn changes(self) -> bool {
        self.changes
    }

    /// It waits for markers, and so reaches wherever they are written.
    pub(super) fn reach_all(&mut self) {
        self.all = true;
    }

    /// Whether the order of the two can matter.
    pub(super) fn meets(self, other: Touches) -> bool {
        let same = shared(self.partition, other.partition)
            || shared(self.txn, other.txn)
            || shared(self.group, other.group);
        (self.changes || other.changes) && (same || self.all || other.all)
    }

    /// Whether the marker is written where the request looks.
    pub(super) fn sees(self, marker: &Marker) -> bool {
        match marker.place {
            Some(Place::Partition(partition)) => self.partition == Some(partition),
            Some(Place::Group(group)) => self.group == Some(group),
            None => false,
        }
    }

    /// Whether the request asks the coordinator of the marker's transaction, who knows when all are written.
    pub(super) fn completes(self, marker: &Marker) -> bool {
        self.txn == Some(marker.txn)
    }
}

fn shared<T: PartialEq>(one: Option<T>, other: Option<T>) -> bool {
    one.is_some() && one == other
}
