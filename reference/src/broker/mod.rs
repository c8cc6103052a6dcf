//! The model: a broker at the level of protocol requests. It answers one request at a time, and does work of its own (the
//! markers of ended transactions) when told to go on.
//!
//! Partitions (`partition`) keep the log and what is known of each producer; the transaction coordinator
//! (`coordinator`) keeps transactions; the group coordinator (`group`) keeps positions. Here they meet. The rules are
//! those of Apache Kafka's own code (`UnifiedLog`, `ProducerAppendInfo`, `TransactionCoordinator`,
//! `OffsetMetadataManager`), as far as a client can see them.

mod coordinator;
mod group;
mod partition;

use std::collections::BTreeSet;

use crate::code::Code;
use crate::ids::{GroupId, Partition, TxnId};
use crate::plan::Protocol;
use crate::protocol::{Answer, Batch, Ending, Member, Request, Response, Session};
use crate::rules::{Rules, TransactionalPositions};

use coordinator::{Coordinator, Marker, Place};
use group::Group;
use partition::Log;

/// A broker of one node.
#[derive(Debug)]
pub struct Broker {
    rules: Rules,
    logs: Vec<Log>,
    coordinator: Coordinator,
    groups: Vec<Group>,
    /// Markers that ended transactions still have to write.
    markers: Vec<Marker>,
}

impl Broker {
    /// An empty broker with a topic of so many partitions.
    pub fn new(rules: Rules, partitions: u8) -> Self {
        Broker {
            rules,
            logs: (0..partitions).map(|_| Log::default()).collect(),
            coordinator: Coordinator::default(),
            groups: Vec::new(),
            markers: Vec::new(),
        }
    }

    /// Answers a request.
    pub fn handle(&mut self, request: &Request) -> Answer {
        match request {
            Request::InitProducer { txn } => self.init_producer(*txn),
            Request::AddPartition { txn, session, partition } => {
                self.log(*partition)?;
                (self.coordinator).add(
                    &self.rules,
                    *txn,
                    *session,
                    Place::Partition(*partition),
                )?;
                Ok(Response::Done)
            }
            Request::AddGroup { txn, session, group } => {
                (self.coordinator).add(&self.rules, *txn, *session, Place::Group(*group))?;
                Ok(Response::Done)
            }
            Request::Produce { partition, batch, acks, txn } => {
                let appended = self.produce(*partition, batch, *acks, *txn);
                // With acks=0 the client is never told.
                if *acks { appended } else { Ok(Response::Done) }
            }
            Request::EndTxn { txn, session, ending, protocol } => {
                let ended =
                    (self.coordinator).end(&self.rules, *txn, *session, *ending, *protocol)?;
                self.schedule(ended.markers);
                Ok(Response::Ended(ended.session))
            }
            Request::SaveInTxn { txn, session, protocol, group, member, positions } => {
                // The transaction comes first, then the member (`scheduleTransactionalWriteOperation`). Kafka skips the
                // transaction once the session has saved in it; asking always is stricter, and no client can tell.
                if *protocol == Protocol::Tv2 {
                    (self.coordinator).add(&self.rules, *txn, *session, Place::Group(*group))?;
                }
                (self.coordinator).check_open(&self.rules, *txn, *session, Place::Group(*group))?;
                self.check_member(*group, member.as_ref(), true)?;
                let when = self.rules.transactional_positions;
                let group = self.group(*group);
                match when {
                    TransactionalPositions::AtCommit => {
                        group.save_pending(session.producer, positions);
                    }
                    TransactionalPositions::AtOnce => group.save(positions),
                    TransactionalPositions::Never => {}
                }
                Ok(Response::Done)
            }
            Request::Save { group, member, positions } => {
                self.check_member(*group, member.as_ref(), false)?;
                self.group(*group).save(positions);
                Ok(Response::Done)
            }
            Request::Positions { group, partitions } => {
                let rules = self.rules;
                let found = self.group(*group).stable_positions(&rules, partitions)?;
                Ok(Response::Positions(found))
            }
            Request::Join { group } => Ok(Response::Joined(self.group(*group).join())),
            Request::Fetch { partition, offset, isolation } => {
                let rules = self.rules;
                let fetched = self.log(*partition)?.fetch(&rules, *offset, *isolation)?;
                Ok(Response::Fetched(fetched))
            }
        }
    }

    /// How many pieces of its own work the broker has yet to do.
    pub fn work(&self) -> usize {
        self.markers.len()
    }

    /// Where markers of ended transactions are yet to be written.
    pub fn unmarked(&self) -> (BTreeSet<Partition>, BTreeSet<GroupId>) {
        let places = self.markers.iter().filter_map(|marker| marker.place);
        let (mut partitions, mut groups) = (BTreeSet::new(), BTreeSet::new());
        for place in places {
            match place {
                Place::Partition(partition) => _ = partitions.insert(partition),
                Place::Group(group) => _ = groups.insert(group),
            }
        }
        (partitions, groups)
    }

    /// Does one piece of its own work: writes the marker at that place of the queue, and completes the transaction if
    /// it was the last.
    pub fn go_on(&mut self, place: usize) {
        if place < self.markers.len() {
            let marker = self.markers.swap_remove(place);
            self.write(marker);
        }
    }

    /// Is killed, and starts again from what is durable.
    ///
    /// Durable is the log, the coordinator's transactions and the groups' positions. What leaders know of producers and
    /// of aborted transactions is rebuilt from the log. Markers of decided transactions are sent again.
    pub fn restart(&mut self) {
        for log in &mut self.logs {
            log.restart(&self.rules);
        }
        if self.rules.forgets_positions_on_restart {
            for group in &mut self.groups {
                group.forget_last();
            }
        }
    }

    fn init_producer(&mut self, txn: Option<TxnId>) -> Answer {
        let Some(txn) = txn else {
            return Ok(Response::Producer(self.coordinator.fresh()));
        };
        match self.coordinator.init(&self.rules, txn) {
            Ok(session) => Ok(Response::Producer(session)),
            Err(fenced) => {
                if !self.rules.forgets_fenced_markers {
                    self.schedule(fenced);
                }
                Err(Code::CONCURRENT_TRANSACTIONS)
            }
        }
    }

    fn produce(
        &mut self,
        partition: Partition,
        batch: &Batch,
        acks: bool,
        txn: Option<(TxnId, Protocol)>,
    ) -> Answer {
        let rules = self.rules;
        let log = self.log(partition)?;
        if let Some(base) = log.duplicate(&rules, batch) {
            return Ok(Response::Appended(Some(base)));
        }
        if let (Some((txn, protocol)), Some(session)) = (txn, batch.session)
            && !log.in_transaction(session)
        {
            self.admit(partition, session, txn, protocol)?;
        }
        let fresh_epochs = txn.is_some_and(|(_, protocol)| protocol == Protocol::Tv2);
        let log = self.log(partition)?;
        let base = log.append(&rules, batch, txn.is_some(), fresh_epochs, acks)?;
        Ok(Response::Appended(Some(base)))
    }

    /// The first transactional write to a partition: TV2 adds the partition, TV1 has it verified.
    fn admit(
        &mut self,
        partition: Partition,
        session: Session,
        txn: TxnId,
        protocol: Protocol,
    ) -> Result<(), Code> {
        let rules = self.rules;
        let place = Place::Partition(partition);
        if self.log(partition)?.is_fenced(&rules, session) {
            return Err(Code::INVALID_PRODUCER_EPOCH);
        }
        let admitted = match protocol {
            Protocol::Tv2 => self.coordinator.add(&rules, txn, session, place),
            Protocol::Tv1 if rules.verifies_writes => {
                self.coordinator.check_open(&rules, txn, session, place)
            }
            Protocol::Tv1 => Ok(()),
        };
        // The leader translates the coordinator's answer for producers (AddPartitionsToTxnManager, ReplicaManager).
        admitted.map_err(|code| match code {
            Code::PRODUCER_FENCED => Code::INVALID_PRODUCER_EPOCH,
            Code::CONCURRENT_TRANSACTIONS if protocol == Protocol::Tv1 => Code::NOT_ENOUGH_REPLICAS,
            other => other,
        })
    }

    fn schedule(&mut self, markers: Vec<Marker>) {
        if self.rules.markers_lag {
            self.markers.extend(markers);
        } else {
            for marker in markers {
                self.write(marker);
            }
        }
    }

    fn write(&mut self, marker: Marker) {
        let rules = self.rules;
        match marker.place {
            Some(Place::Partition(partition)) => {
                if let Ok(log) = self.log(partition) {
                    log.end_transaction(&rules, marker.session, marker.ending);
                }
            }
            Some(Place::Group(group)) => {
                (self.group(group)).end_transaction(marker.session.producer, marker.ending);
            }
            // A transaction that nothing was added to has no marker to write.
            None => {}
        }
        self.coordinator.marked(marker.txn);
    }

    fn log(&mut self, partition: Partition) -> Result<&mut Log, Code> {
        (self.logs.get_mut(usize::from(partition.0))).ok_or(Code::UNKNOWN_TOPIC_OR_PARTITION)
    }

    fn group(&mut self, group: GroupId) -> &mut Group {
        let place = usize::from(group.0);
        if self.groups.len() <= place {
            self.groups.resize_with(place + 1, Group::default);
        }
        &mut self.groups[place]
    }

    fn check_member(
        &mut self,
        group: GroupId,
        member: Option<&Member>,
        in_transaction: bool,
    ) -> Result<(), Code> {
        let rules = self.rules;
        self.group(group).check_member(&rules, member, in_transaction)
    }
}

/// The session that commits and aborts are answered with, and the markers they cause.
#[derive(Debug)]
struct Ended {
    session: Session,
    markers: Vec<Marker>,
}

impl Marker {
    fn new(txn: TxnId, session: Session, ending: Ending, place: Option<Place>) -> Self {
        Marker { txn, session, ending, place }
    }
}
