//! What a request touches: requests that touch nothing in common are answered alike in either order.

use std::borrow::Cow;

use crate::broker::{Marker, Place};
use crate::ids::TxnId;
use crate::protocol::Request;

/// The parts of a broker that a request reads or changes.
#[derive(Clone, Debug, Default)]
pub(super) struct Touches {
    places: Vec<Place>,
    txn: Option<TxnId>,
    /// It decides a transaction, whose markers then come wherever that was.
    decides: bool,
    changes: bool,
    /// A marker is owed where it looks.
    awaited: bool,
}

impl Touches {
    pub(super) fn of(request: &Request) -> Touches {
        let place = match request {
            Request::InitProducer { .. }
            | Request::EndTxn { .. }
            | Request::AddPartition { .. }
            | Request::AddGroup { .. } => None,
            Request::Produce { partition, .. }
            | Request::Malformed { partition, .. }
            | Request::Fetch { partition, .. }
            | Request::FetchByte { partition, .. }
            | Request::ListOffsets { partition, .. } => Some(Place::Partition(*partition)),
            Request::SaveInTxn { group, .. }
            | Request::Save { group, .. }
            | Request::Join { group }
            | Request::Positions { group, .. } => Some(Place::Group(*group)),
        };
        Touches {
            places: place.into_iter().collect(),
            txn: request.txn(),
            decides: matches!(request, Request::InitProducer { .. } | Request::EndTxn { .. }),
            changes: !matches!(
                request,
                Request::Positions { .. }
                    | Request::Fetch { .. }
                    | Request::FetchByte { .. }
                    | Request::ListOffsets { .. }
            ),
            awaited: false,
        }
    }

    /// The partitions where markers are owed.
    pub(super) fn of_partitions(owed: &[Marker]) -> Touches {
        let places = owed.iter().filter_map(|marker| marker.place);
        let places = places.filter(|place| matches!(place, Place::Partition(_))).collect();
        Touches { places, ..Touches::default() }
    }

    /// Whether it changes anything for others.
    pub(super) fn changes(&self) -> bool {
        self.changes
    }

    /// Of these it waits for some, and so comes after whatever was at their places before; others may come between it and who
    /// looks where it does.
    pub(super) fn reckon_with(&mut self, owed: &[Marker]) {
        self.awaited |= owed.iter().any(|marker| self.sees(marker));
        let awaited = owed.iter().filter(|marker| self.txn == Some(marker.txn));
        let places: Vec<Place> = awaited.filter_map(|marker| marker.place).collect();
        self.places.extend(places);
    }

    /// The transaction that the other one may decide, so that this one waits for its markers.
    pub(super) fn may_wait_for(&self, other: &Touches) -> Option<TxnId> {
        self.txn.filter(|_| other.decides && self.txn == other.txn)
    }

    /// What it decides may be marked where the other one looks: then whoever else looks there came before or after.
    pub(super) fn mark_for(&mut self, other: &Touches) {
        if self.decides {
            self.places.extend(&other.places);
        }
    }

    /// The same request, where it touches these places, too: mostly there are none.
    pub(super) fn reaching(&self, places: &[Place]) -> Cow<'_, Touches> {
        let mut touches = Cow::Borrowed(self);
        if !places.is_empty() {
            touches.to_mut().reach(places);
        }
        touches
    }

    /// It comes after whatever was at these places before.
    pub(super) fn reach(&mut self, places: &[Place]) {
        self.places.extend(places);
    }

    /// Whether it can matter to this request whether the other one came before. One that decides a transaction writes nothing
    /// by itself, so it meets only what the transaction is asked for; but its markers may be met anywhere.
    pub(super) fn meets(&self, other: &Touches) -> bool {
        let same_txn = self.txn.is_some() && self.txn == other.txn;
        let same_place = self.places.iter().any(|place| other.places.contains(place));
        let marked = other.decides && other.txn.is_some() && !self.places.is_empty();
        (self.changes || other.changes || self.awaited) && (same_txn || same_place || marked)
    }

    /// Whether the marker is written where the request looks.
    pub(super) fn sees(&self, marker: &Marker) -> bool {
        marker.place.is_some_and(|place| self.places.contains(&place))
    }

    /// Whether the request asks the coordinator of the marker's transaction, who knows when all are written.
    pub(super) fn completes(&self, marker: &Marker) -> bool {
        self.txn == Some(marker.txn)
    }
}
