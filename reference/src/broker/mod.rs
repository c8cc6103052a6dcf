//! The model: a broker at the level of protocol requests. It answers one request at a time, and does work of its own (the
//! markers of ended transactions) when told to go on.
//!
//! Partitions (`partition`) keep the log and what is known of each producer; the transaction coordinator
//! (`coordinator`) keeps transactions; the group coordinator (`group`) keeps positions. Here they meet. The rules are
//! those of Apache Kafka's own code (`UnifiedLog`, `ProducerAppendInfo`, `TransactionCoordinator`,
//! `OffsetMetadataManager`), as far as a client can see them.

mod cells;
mod coordinator;
mod group;
mod membership;
mod partition;
mod producer;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::code::Code;
use crate::ids::{GroupId, Offset, Partition, TxnId};
use crate::plan::forge::Flaw;
use crate::plan::{Isolation, Protocol};
use crate::protocol::{Answer, Batch, Ending, FetchReply, Member, Request, Response, Session};
use crate::rules::Rules;
use crate::wrongs::TransactionalPositions;

pub use coordinator::{State, Transaction};
pub use membership::{Joined, Joining, Leaving, Membership, Waits};
pub use partition::Extent;

use coordinator::Coordinator;
pub(crate) use coordinator::{Marker, Place};
use group::Group;
use partition::Log;

/// All batches that there are.
const ALL: usize = usize::MAX;

/// A broker of one node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broker {
    rules: Rules,
    /// Shared with copies of this broker until one of them writes.
    logs: BTreeMap<Partition, Arc<Log>>,
    coordinator: Coordinator,
    groups: BTreeMap<GroupId, Arc<Group>>,
    /// Markers that ended transactions still have to write.
    markers: Vec<Marker>,
    /// How many requests were asked of a broker that refuses some for the moment.
    requests: u64,
}

impl Broker {
    /// An empty broker with a topic of so many partitions.
    pub fn new(rules: Rules, partitions: u8) -> Self {
        Broker {
            rules,
            logs: (0..partitions)
                .map(|number| (Partition(number.into()), Arc::default()))
                .collect(),
            coordinator: Coordinator::default(),
            groups: BTreeMap::new(),
            markers: Vec::new(),
            requests: 0,
        }
    }

    /// Answers a request.
    pub fn handle(&mut self, request: &Request) -> Answer {
        if let Some(every) = self.rules.refuses_every {
            self.requests += 1;
            if self.requests.is_multiple_of(every) {
                return self.refuse_for_now(request);
            }
        }
        match request {
            Request::InitProducer { txn, expected } => self.init_producer(*txn, *expected),
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
            Request::Malformed { flaw, partition, batch, txn } => {
                self.refuse_malformed(*flaw, *partition, batch, *txn)
            }
            Request::EndTxn { txn, session, ending, protocol } => {
                if self.rules.wrong.transactions.refuses_empty_commits
                    && *ending == Ending::Commit
                    && self.wrote_nothing(*txn, *session)
                {
                    return Err(Code::INVALID_TXN_STATE);
                }
                let ended =
                    (self.coordinator).end(&self.rules, *txn, *session, *ending, *protocol)?;
                self.schedule(ended.markers);
                Ok(Response::Ended(ended.session))
            }
            Request::SaveInTxn { txn, session, protocol, group, member, positions } => {
                // The transaction comes first, then the member (`scheduleTransactionalWriteOperation`). Who has saved in it
                // already is in it until its marker is written here, as for any other log (`UnifiedLog.hasOngoingTransaction`).
                let by_epoch = self.rules.asks_epoch(*protocol);
                if !self.group(*group).in_transaction(*session, by_epoch) {
                    self.admit_group(*txn, *session, *protocol, *group)?;
                }
                self.check_member(*group, member.as_ref(), true)?;
                let when = self.rules.wrong.offsets.transactional;
                let group = self.group(*group);
                match when {
                    TransactionalPositions::AtCommit => {
                        group.save_pending(*session, positions);
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
            Request::Positions { group, partitions, stable } => {
                let rules = self.rules;
                let found = self.group(*group).positions(&rules, partitions, *stable)?;
                Ok(Response::Positions(found))
            }
            Request::Join { group } => Ok(Response::Joined(self.group(*group).join())),
            Request::Fetch { partition, offset, isolation } => {
                self.fetch(*partition, *offset, *isolation, ALL).map(Response::Fetched)
            }
            Request::FetchByte { partition, offset, isolation } => {
                self.fetch(*partition, *offset, *isolation, 1).map(Response::Fetched)
            }
            Request::ListOffsets { partition, earliest, isolation } => {
                let extent = self.extent(*partition).ok_or(Code::UNKNOWN_TOPIC_OR_PARTITION)?;
                Ok(Response::Listed(match isolation {
                    _ if *earliest => 0,
                    Isolation::ReadCommitted => extent.last_stable,
                    Isolation::ReadUncommitted => extent.end,
                }))
            }
        }
    }

    /// Fetch, of so many batches at most.
    ///
    /// # Errors
    /// As the request is refused.
    pub fn fetch(
        &self,
        partition: Partition,
        offset: Offset,
        isolation: Isolation,
        batches_max: usize,
    ) -> Result<FetchReply, Code> {
        let log = self.logs.get(&partition).ok_or(Code::UNKNOWN_TOPIC_OR_PARTITION)?;
        log.fetch(&self.rules, offset, isolation, batches_max)
    }

    /// How much there is of a partition, if there is one of that number.
    pub fn extent(&self, partition: Partition) -> Option<Extent> {
        Some(self.logs.get(&partition)?.extent(&self.rules))
    }

    /// One more partition. A number that is taken stays as it is.
    pub fn add_partition(&mut self, partition: Partition) {
        self.logs.entry(partition).or_default();
    }

    /// One partition less. What transactions were to write there is written no more.
    pub fn remove_partition(&mut self, partition: Partition) {
        self.logs.remove(&partition);
    }

    /// What the coordinator knows of a transactional id.
    pub fn transaction(&self, txn: TxnId) -> Option<Transaction> {
        self.coordinator.describe(txn)
    }

    /// Aborts a transaction whose time is up, if it is still open, and fences its producer.
    pub fn time_out(&mut self, txn: TxnId) {
        let wrong = self.rules.wrong.transactions;
        if wrong.never_times_out {
            return;
        }
        let mut rules = self.rules;
        if wrong.times_out_unfenced {
            rules.fencing_bump = 0;
        }
        let markers = self.coordinator.fence(&rules, txn);
        if !wrong.forgets_fenced_markers {
            self.schedule(markers);
        }
    }

    /// Forgets a transactional id unless something is open of it. Whether it was forgotten.
    pub fn forget_txn(&mut self, txn: TxnId) -> bool {
        self.coordinator.forget(txn)
    }

    /// The members of a group.
    pub fn membership(&mut self, group: GroupId) -> &mut Membership {
        &mut self.group(group).membership
    }

    /// Where a group has a position, saved or pending.
    pub fn saved_partitions(&self, group: GroupId) -> BTreeSet<Partition> {
        self.groups.get(&group).map(|group| group.partitions()).unwrap_or_default()
    }

    /// DeleteGroups, of one.
    ///
    /// # Errors
    /// When there is none, or it has members.
    pub fn delete_group(&mut self, group: GroupId) -> Result<(), Code> {
        match self.groups.get(&group) {
            None => Err(Code::GROUP_ID_NOT_FOUND),
            Some(group) if !group.membership.is_empty() => Err(Code::NON_EMPTY_GROUP),
            Some(_) => {
                self.groups.remove(&group);
                Ok(())
            }
        }
    }

    /// Does what comes before a transactional write, and no more: the transaction is asked for, and TV2 adds to it.
    pub(crate) fn admit_alone(&mut self, request: &Request) {
        // That it is refused is for the whole request to say.
        let _ = match request {
            Request::Produce { partition, batch, txn: Some((txn, protocol)), .. }
            | Request::Malformed { partition, batch, txn: Some((txn, protocol)), .. } => {
                let Some(session) = batch.session else { return };
                let by_epoch = self.rules.asks_epoch(*protocol);
                let open = |log: &Arc<Log>| log.in_transaction(session, by_epoch);
                if self.logs.get(partition).is_none_or(open) {
                    return;
                }
                self.admit(*partition, session, batch.first_sequence, *txn, *protocol)
            }
            Request::SaveInTxn { txn, session, protocol, group, .. } => {
                let by_epoch = self.rules.asks_epoch(*protocol);
                if self.group(*group).in_transaction(*session, by_epoch) {
                    return;
                }
                self.admit_group(*txn, *session, *protocol, *group)
            }
            _ => Ok(()),
        };
    }

    /// The producer id that is given out next.
    pub(crate) fn give_next(&mut self, producer: i64) {
        self.coordinator.give_next(producer);
    }

    /// Whether the transactional id has that producer id, or gets it at completion.
    pub(crate) fn has_producer(&self, txn: TxnId, producer: i64) -> bool {
        self.coordinator.has_producer(txn, producer)
    }

    /// Where the transaction of that id is, if one is open or decided and not complete.
    pub(crate) fn places(&self, txn: TxnId) -> &[Place] {
        self.coordinator.places(txn)
    }

    /// How it behaves.
    pub(crate) fn rules(&self) -> &Rules {
        &self.rules
    }

    /// Markers of ended transactions that are yet to be written.
    pub(crate) fn owed(&self) -> &[Marker] {
        &self.markers
    }

    /// Writes these of them, in this order.
    pub(crate) fn write_owed(&mut self, places: &[usize]) {
        let owed: Vec<Marker> = places.iter().map(|place| self.markers[*place]).collect();
        self.markers.retain(|marker| !owed.contains(marker));
        owed.into_iter().for_each(|marker| self.write(marker));
    }

    /// Writes all that is owed of the transaction of that id, which is complete then.
    pub(crate) fn complete(&mut self, txn: TxnId) {
        let owed = (0..).zip(&self.markers).filter(|(_, marker)| marker.txn == txn);
        let owed: Vec<usize> = owed.map(|(place, _)| place).collect();
        self.write_owed(&owed);
    }

    /// How many pieces of its own work the broker has yet to do.
    pub fn work(&self) -> usize {
        self.markers.len() + self.logs.values().map(|log| log.unstored()).sum::<usize>()
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
        } else {
            self.store(place - self.markers.len());
        }
    }

    /// Behind the markers come the batches that a defective broker has not stored yet.
    fn store(&mut self, mut place: usize) {
        for log in self.logs.values_mut().map(Arc::make_mut) {
            if place < log.unstored() {
                return log.store(place);
            }
            place -= log.unstored();
        }
    }

    /// Is killed, and starts again from what is durable.
    ///
    /// Durable is the log, the coordinator's transactions and the groups' positions. What leaders know of producers and
    /// of aborted transactions is rebuilt from the log. Markers of decided transactions are sent again.
    pub fn restart(&mut self) {
        let wrong = self.rules.wrong.transactions;
        for log in self.logs.values_mut().map(Arc::make_mut) {
            log.restart(&self.rules);
        }
        for group in self.groups.values_mut().map(Arc::make_mut) {
            group.restart(&self.rules);
        }
        self.coordinator.restart(&self.rules);
        if self.rules.repeats_markers {
            self.markers = self.coordinator.all_markers(&self.rules);
        }
        if wrong.forgets_markers_on_restart {
            self.markers.clear();
        }
        if wrong.flips_on_restart {
            for marker in &mut self.markers {
                marker.ending = Ending::Abort;
            }
        }
    }

    /// Refuses a request that could be carried out, in the words that always pass.
    fn refuse_for_now(&mut self, request: &Request) -> Answer {
        let turn = self.requests as usize;
        let of = |codes: &[Code]| codes[turn % codes.len()];
        Err(match request {
            // With acks=0 the client is never told.
            Request::Produce { acks: false, .. } => return Ok(Response::Done),
            Request::Produce { partition, batch, .. } => {
                let rules = self.rules;
                if rules.wrong.dedup.remembers_refused {
                    self.log(*partition)?.remember_refused(&rules, batch);
                }
                of(&[Code::NOT_ENOUGH_REPLICAS, Code::NOT_LEADER_OR_FOLLOWER])
            }
            Request::Fetch { .. } => Code::NOT_LEADER_OR_FOLLOWER,
            Request::AddPartition { .. } | Request::AddGroup { .. } | Request::EndTxn { .. } => {
                of(&[
                    Code::CONCURRENT_TRANSACTIONS,
                    Code::COORDINATOR_LOAD_IN_PROGRESS,
                    Code::COORDINATOR_NOT_AVAILABLE,
                    Code::NOT_COORDINATOR,
                ])
            }
            _ => of(&[
                Code::COORDINATOR_LOAD_IN_PROGRESS,
                Code::COORDINATOR_NOT_AVAILABLE,
                Code::NOT_COORDINATOR,
            ]),
        })
    }

    /// Whether no partition has a record of the open transaction.
    fn wrote_nothing(&self, txn: TxnId, session: Session) -> bool {
        let open = self.coordinator.describe(txn);
        open.is_some_and(|open| open.state == State::Ongoing)
            && !self.logs.values().any(|log| log.in_transaction(session, true))
    }

    fn init_producer(&mut self, txn: Option<TxnId>, expected: Option<Session>) -> Answer {
        let Some(txn) = txn else {
            return Ok(Response::Producer(self.coordinator.fresh()));
        };
        let refused = match self.coordinator.init(&self.rules, txn, expected) {
            Ok(session) => return Ok(Response::Producer(session)),
            Err(refused) => refused,
        };
        if !self.rules.wrong.transactions.forgets_fenced_markers {
            self.schedule(refused.markers);
        }
        if !self.rules.init_waits || refused.code != Code::CONCURRENT_TRANSACTIONS {
            return Err(refused.code);
        }
        self.complete(txn);
        let opened = self.coordinator.init(&self.rules, txn, expected);
        opened.map(Response::Producer).map_err(|refused| refused.code)
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
        // Outside of a transaction even a duplicate is asked for first (`ReplicaManager.handleProduceAppend`). A batch without
        // producer is not, whatever else it claims.
        if let (Some((txn, protocol)), Some(session)) = (txn, batch.session)
            && !log.in_transaction(session, rules.asks_epoch(protocol))
        {
            self.admit(partition, session, batch.first_sequence, txn, protocol)?;
        }
        let log = self.log(partition)?;
        let duplicate = match rules.wrong.dedup.mixes_partitions {
            false => log.duplicate(&rules, batch),
            true => self
                .logs
                .values_mut()
                .map(Arc::make_mut)
                .find_map(|log| log.duplicate(&rules, batch)),
        };
        if duplicate.is_some() {
            return Ok(Response::Appended(duplicate));
        }
        let fresh_epochs = txn.is_some_and(|(_, protocol)| protocol == Protocol::Tv2);
        let log = self.log(partition)?;
        let base = log.append(&rules, batch, txn.is_some(), fresh_epochs, acks)?;
        Ok(Response::Appended(Some(base)))
    }

    /// What can be seen before a batch is looked into comes first; then the transaction is asked for, and opened; then the
    /// batch is looked into (`KafkaApis.handleProduceRequest`, `ReplicaManager.handleProduceAppend`, `UnifiedLog.append`).
    fn refuse_malformed(
        &mut self,
        flaw: Flaw,
        partition: Partition,
        batch: &Batch,
        txn: Option<(TxnId, Protocol)>,
    ) -> Answer {
        let rules = self.rules;
        let log = self.log(partition)?;
        match flaw {
            Flaw::Orphan => return Err(Code::TRANSACTIONAL_ID_AUTHORIZATION_FAILED),
            Flaw::Two => return Err(Code::INVALID_RECORD),
            _ => {}
        }
        if let (Some((txn, protocol)), Some(session)) = (txn, batch.session)
            && !log.in_transaction(session, rules.asks_epoch(protocol))
        {
            self.admit(partition, session, batch.first_sequence, txn, protocol)?;
        }
        Err(match flaw {
            Flaw::Checksum => Code::CORRUPT_MESSAGE,
            Flaw::Big => Code::MESSAGE_TOO_LARGE,
            Flaw::Acks => Code::INVALID_REQUIRED_ACKS,
            Flaw::Count | Flaw::Base | Flaw::Control | Flaw::Two | Flaw::Orphan => {
                Code::INVALID_RECORD
            }
        })
    }

    /// The first transactional write to a partition: TV2 adds the partition, TV1 has it verified.
    fn admit(
        &mut self,
        partition: Partition,
        session: Session,
        first_sequence: i32,
        txn: TxnId,
        protocol: Protocol,
    ) -> Result<(), Code> {
        let rules = self.rules;
        let place = Place::Partition(partition);
        let log = self.log(partition)?;
        if rules.epoch_first && log.is_fenced(&rules, session) {
            return Err(Code::INVALID_PRODUCER_EPOCH);
        }
        if rules.wrong.transactions.verifies_once && log.was_verified(session) {
            return Ok(());
        }
        if rules.verifies_writes {
            log.await_verification(session, first_sequence, protocol == Protocol::Tv2);
        }
        let admitted = match protocol {
            Protocol::Tv2 => self.coordinator.add(&rules, txn, session, place),
            Protocol::Tv1 if rules.verifies_writes => {
                self.coordinator.check_open(&rules, txn, session, place)
            }
            Protocol::Tv1 => Ok(()),
        };
        admitted.map_err(|code| match verified(code) {
            Code::CONCURRENT_TRANSACTIONS if protocol == Protocol::Tv1 => Code::NOT_ENOUGH_REPLICAS,
            other => other,
        })
    }

    /// The first save of a transaction in a group: TV2 adds the group, TV1 has it verified.
    fn admit_group(
        &mut self,
        txn: TxnId,
        session: Session,
        protocol: Protocol,
        group: GroupId,
    ) -> Result<(), Code> {
        let place = Place::Group(group);
        if protocol == Protocol::Tv2 {
            self.coordinator.add(&self.rules, txn, session, place).map_err(verified)?;
        }
        self.coordinator.check_open(&self.rules, txn, session, place).map_err(verified)
    }

    fn schedule(&mut self, mut markers: Vec<Marker>) {
        let wrong = self.rules.wrong;
        if wrong.isolation.shows_decided {
            self.show(&markers);
        }
        if wrong.offsets.completes_before {
            self.await_partitions_only(&mut markers);
        }
        if self.rules.markers_lag {
            self.markers.extend(markers);
        } else {
            for marker in markers {
                self.write(marker);
            }
        }
    }

    /// The transactions of these markers no longer hold readers back.
    fn show(&mut self, markers: &[Marker]) {
        for marker in markers {
            if let Some(Place::Partition(partition)) = marker.place
                && let Ok(log) = self.log(partition)
            {
                log.pass(marker.session);
            }
        }
    }

    /// The transaction of these markers is complete with the last one of a partition.
    fn await_partitions_only(&mut self, markers: &mut [Marker]) {
        for marker in markers {
            if !matches!(marker.place, Some(Place::Partition(_))) {
                marker.awaited = false;
                self.coordinator.marked(marker.txn);
            }
        }
    }

    fn write(&mut self, marker: Marker) {
        let rules = self.rules;
        let mut taken = true;
        match marker.place {
            Some(Place::Partition(partition)) => {
                if let Ok(log) = self.log(partition) {
                    taken = log.end_transaction(&rules, marker.session, marker.ending);
                }
            }
            Some(Place::Group(group)) => {
                let group = self.group(group);
                group.end_transaction(&rules, marker.session, marker.ending);
            }
            // The coordinator's own note, in its own log.
            None => {}
        }
        if marker.awaited && taken {
            self.coordinator.marked(marker.txn);
        }
        if rules.wrong.transactions.repeats_markers && marker.awaited {
            self.markers.push(Marker { awaited: false, ..marker });
        }
    }

    fn log(&mut self, partition: Partition) -> Result<&mut Log, Code> {
        let log = self.logs.get_mut(&partition).ok_or(Code::UNKNOWN_TOPIC_OR_PARTITION)?;
        Ok(Arc::make_mut(log))
    }

    fn group(&mut self, group: GroupId) -> &mut Group {
        Arc::make_mut(self.groups.entry(group).or_default())
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

/// Leaders translate the coordinator's answer for producers (`AddPartitionsToTxnManager`, `ReplicaManager`).
fn verified(code: Code) -> Code {
    match code {
        Code::PRODUCER_FENCED => Code::INVALID_PRODUCER_EPOCH,
        other => other,
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
        Marker { awaited: true, txn, session, ending, place }
    }
}
