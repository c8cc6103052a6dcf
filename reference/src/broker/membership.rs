//! Who the members of a group are: classic membership, with its rebalances (`ClassicGroup`, `GroupMetadataManager`;
//! KIP-345 for static members, KIP-394 for ids that are asked for first).
//!
//! Pure: the time is told, in milliseconds, and nothing waits here. A join or sync that has to wait for others says so, and
//! is asked again when something has changed, by the id that it was given.

use std::collections::{BTreeMap, BTreeSet};

use crate::code::Code;
use crate::protocol::Member;

/// How long a session may be without a heartbeat, in milliseconds (`group.min.session.timeout.ms` and its like).
const SESSION_MS: std::ops::RangeInclusive<i64> = 6_000..=1_800_000;
/// A group has no more members than this; Kafka sets no bound by default.
const MEMBERS_MAX: usize = 10_000;

/// The members of one group.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Membership {
    phase: Phase,
    generation: i32,
    kind: String,
    protocol: String,
    leader: Option<String>,
    members: BTreeMap<String, Known>,
    statics: BTreeMap<String, String>,
    /// Ids that were given out and not come back yet, and when they lapse.
    promised: BTreeMap<String, i64>,
    ids: u64,
}

/// Where a rebalance stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Phase {
    #[default]
    Empty,
    /// Until all members have joined, or until then.
    Preparing {
        until: i64,
    },
    /// Until the leader has told who gets what, or until then.
    Completing {
        until: i64,
    },
    Stable,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Known {
    instance: Option<String>,
    client: String,
    session_ms: i64,
    rebalance_ms: i64,
    protocols: Vec<(String, Vec<u8>)>,
    assignment: Vec<u8>,
    heard: i64,
    /// Whether it takes part in the rebalance that is under way.
    joined: bool,
}

/// JoinGroup.
#[derive(Clone, Debug, Default)]
pub struct Joining {
    /// The id that it has; empty if none.
    pub member: String,
    /// The name of a static member.
    pub instance: Option<String>,
    /// What its client calls itself: the start of its id.
    pub client: String,
    /// How long it may be silent.
    pub session_ms: i64,
    /// How long a rebalance may wait for it.
    pub rebalance_ms: i64,
    /// The kind of group (`consumer`).
    pub kind: String,
    /// The protocols that it speaks, the best first, each with its metadata.
    pub protocols: Vec<(String, Vec<u8>)>,
    /// Whether it can be asked to come again with an id (since version 4).
    pub asks_twice: bool,
    /// Whether it can be told to leave the assignment as it is (since version 9).
    pub skips: bool,
}

/// The answer to [`Joining`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Joined {
    /// The generation that it is in.
    pub generation: i32,
    /// The kind of group.
    pub kind: String,
    /// The protocol that all speak.
    pub protocol: String,
    /// The id of the leader.
    pub leader: String,
    /// Its own id.
    pub member: String,
    /// Whether it leads, but must not assign anew.
    pub skip_assignment: bool,
    /// All members with their instance and metadata, if it leads.
    pub members: Vec<(String, Option<String>, Vec<u8>)>,
}

/// Whether an answer is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Waits<T> {
    /// It is.
    No(T),
    /// Others must move first; to be asked again, by this member id.
    For(String),
}

/// One member that leaves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leaving {
    /// Its id; may be empty for a static one.
    pub member: String,
    /// Its name, if it is a static one.
    pub instance: Option<String>,
}

impl Membership {
    /// Whether nobody is in it.
    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// Whether anybody ever was in it.
    pub(super) fn was_joined(&self) -> bool {
        self.generation > 0
    }

    /// Whether time can change nothing of it.
    pub fn is_idle(&self) -> bool {
        self.members.is_empty() && self.promised.is_empty()
    }

    /// Whether a rebalance waits for its leader.
    pub(super) fn is_completing(&self) -> bool {
        matches!(self.phase, Phase::Completing { .. })
    }

    /// Kafka's name of where it stands.
    pub fn state(&self) -> &'static str {
        match self.phase {
            Phase::Empty => "Empty",
            Phase::Preparing { .. } => "PreparingRebalance",
            Phase::Completing { .. } => "CompletingRebalance",
            Phase::Stable => "Stable",
        }
    }

    /// The kind of group, and the protocol that its members speak; empty where there is none.
    pub fn protocol(&self) -> (&str, &str) {
        (&self.kind, &self.protocol)
    }

    /// Its members: id, instance, client, metadata and assignment.
    pub fn members(&self) -> impl Iterator<Item = (&str, Option<&str>, &str, Vec<u8>, &[u8])> {
        self.members.iter().map(|(id, known)| {
            let metadata = known.metadata(&self.protocol);
            (&**id, known.instance.as_deref(), &*known.client, metadata, &*known.assignment)
        })
    }

    /// JoinGroup.
    ///
    /// # Errors
    /// As it is refused; with [`Code::MEMBER_ID_REQUIRED`] comes the id in [`Membership::promise`].
    pub fn join(&mut self, now: i64, joining: &Joining) -> Result<Waits<Joined>, Code> {
        if !SESSION_MS.contains(&joining.session_ms) {
            return Err(Code::INVALID_SESSION_TIMEOUT);
        }
        self.check_protocols(joining)?;
        if !joining.member.is_empty() {
            return self.join_again(now, joining);
        }
        if self.members.len() + self.promised.len() >= MEMBERS_MAX {
            return Err(Code::GROUP_MAX_SIZE_REACHED);
        }
        match &joining.instance {
            Some(instance) => match self.statics.get(instance).cloned() {
                Some(predecessor) => Ok(self.replace(now, joining, &predecessor)),
                None => {
                    let id = self.next_id(instance);
                    Ok(self.enter(now, joining, id))
                }
            },
            None if joining.asks_twice => Err(Code::MEMBER_ID_REQUIRED),
            None => {
                let id = self.next_id(&joining.client);
                Ok(self.enter(now, joining, id))
            }
        }
    }

    /// An id for a member that was refused with [`Code::MEMBER_ID_REQUIRED`].
    pub fn promise(&mut self, now: i64, joining: &Joining) -> String {
        let id = self.next_id(&joining.client);
        self.promised.insert(id.clone(), now + joining.session_ms);
        id
    }

    /// SyncGroup, with what everybody gets if it leads.
    ///
    /// # Errors
    /// As it is refused.
    pub fn sync(
        &mut self,
        now: i64,
        member: &Member,
        protocol: Option<(&str, &str)>,
        assignments: &[(String, Vec<u8>)],
    ) -> Result<Waits<Vec<u8>>, Code> {
        self.check(member)?;
        if protocol.is_some_and(|(kind, name)| kind != self.kind || name != self.protocol) {
            return Err(Code::INCONSISTENT_GROUP_PROTOCOL);
        }
        self.heard(now, &member.id);
        match self.phase {
            Phase::Empty => return Err(Code::UNKNOWN_MEMBER_ID),
            Phase::Preparing { .. } => return Err(Code::REBALANCE_IN_PROGRESS),
            Phase::Completing { .. } if self.leader.as_ref() != Some(&member.id) => {
                return Ok(Waits::For(member.id.clone()));
            }
            Phase::Completing { .. } => {
                for known in self.members.values_mut() {
                    known.assignment.clear();
                    // Whoever waited for the leader was not silent.
                    known.heard = now;
                }
                for (id, assignment) in assignments {
                    if let Some(known) = self.members.get_mut(id) {
                        known.assignment.clone_from(assignment);
                    }
                }
                self.phase = Phase::Stable;
            }
            Phase::Stable => {}
        }
        let known = self.members.get(&member.id).ok_or(Code::UNKNOWN_MEMBER_ID)?;
        Ok(Waits::No(known.assignment.clone()))
    }

    /// Heartbeat.
    ///
    /// # Errors
    /// As it is refused, or told of a rebalance.
    pub fn heartbeat(&mut self, now: i64, member: &Member) -> Result<(), Code> {
        self.check(member)?;
        self.heard(now, &member.id);
        match self.phase {
            Phase::Preparing { .. } => Err(Code::REBALANCE_IN_PROGRESS),
            _ => Ok(()),
        }
    }

    /// LeaveGroup, of one member.
    ///
    /// # Errors
    /// When it is none.
    pub fn leave(&mut self, now: i64, leaving: &Leaving) -> Result<(), Code> {
        let id = match &leaving.instance {
            Some(instance) => {
                let id = self.statics.get(instance).ok_or(Code::UNKNOWN_MEMBER_ID)?.clone();
                if !leaving.member.is_empty() && leaving.member != id {
                    return Err(Code::FENCED_INSTANCE_ID);
                }
                id
            }
            None => leaving.member.clone(),
        };
        if self.promised.remove(&id).is_some() {
            self.settle(now);
            return Ok(());
        }
        if !self.members.contains_key(&id) {
            return Err(Code::UNKNOWN_MEMBER_ID);
        }
        self.remove(now, &BTreeSet::from([id]));
        Ok(())
    }

    /// Lets time do its work: members that were silent for too long go, and so do those that a rebalance waited for in
    /// vain. Whether anything changed.
    pub fn pass(&mut self, now: i64) -> bool {
        let promised = self.promised.len();
        self.promised.retain(|_, until| *until > now);
        let lapsed = self.promised.len() < promised;
        let waits = |known: &Known| match self.phase {
            Phase::Preparing { .. } => known.joined,
            _ => false,
        };
        let silent: BTreeSet<String> = (self.members.iter())
            .filter(|(_, known)| !waits(known) && known.heard + known.session_ms <= now)
            .map(|(id, _)| id.clone())
            .collect();
        if !silent.is_empty() {
            self.remove(now, &silent);
        } else if lapsed {
            self.settle(now);
        }
        match self.phase {
            Phase::Preparing { until } if until <= now => self.complete(now),
            Phase::Completing { until } if until <= now => self.prepare(now),
            _ => return !silent.is_empty() || lapsed,
        }
        true
    }

    /// All members have been heard of just now: their coordinator starts again, and does not know how long they were silent.
    pub fn hear_all(&mut self, now: i64) {
        for known in self.members.values_mut() {
            known.heard = now;
        }
        match &mut self.phase {
            Phase::Preparing { until } | Phase::Completing { until } => {
                let longest = self.members.values().map(|known| known.rebalance_ms).max();
                *until = now + longest.unwrap_or(0).max(1);
            }
            Phase::Empty | Phase::Stable => {}
        }
    }

    /// Whether that is a member as it should be (`ClassicGroup.validateMember`).
    pub(super) fn check(&self, member: &Member) -> Result<(), Code> {
        if let Some(instance) = &member.instance {
            match self.statics.get(instance) {
                None => return Err(Code::UNKNOWN_MEMBER_ID),
                Some(current) if *current != member.id => return Err(Code::FENCED_INSTANCE_ID),
                Some(_) => {}
            }
        }
        match self.members.contains_key(&member.id) {
            false => Err(Code::UNKNOWN_MEMBER_ID),
            true if member.generation != self.generation => Err(Code::ILLEGAL_GENERATION),
            true => Ok(()),
        }
    }

    /// JoinGroup and SyncGroup of a group's only member, a static one that replaces its predecessor.
    pub(super) fn join_alone(&mut self) -> Member {
        const ONLY: &str = "onceness";
        let joining = Joining {
            instance: Some(ONLY.to_owned()),
            session_ms: *SESSION_MS.end(),
            kind: "consumer".to_owned(),
            protocols: vec![("range".to_owned(), Vec::new())],
            ..Joining::default()
        };
        // Nothing of this is refused, and it waits for nobody.
        let _ = self.join(0, &joining);
        let id = self.statics.get(ONLY).cloned().unwrap_or_default();
        let member = Member { generation: self.generation, id, instance: Some(ONLY.to_owned()) };
        let _ = self.sync(0, &member, None, &[]);
        member
    }

    /// The same as it was done elsewhere: the only member is this one, whatever it was called here.
    pub(crate) fn adopt(&mut self, member: &Member) {
        let known = std::mem::take(&mut self.members).into_values().next();
        self.members.extend(known.map(|known| (member.id.clone(), known)));
        let instance = member.instance.clone().map(|instance| (instance, member.id.clone()));
        self.statics = instance.into_iter().collect();
        self.generation = member.generation;
    }

    fn check_protocols(&self, joining: &Joining) -> Result<(), Code> {
        if joining.kind.is_empty() || joining.protocols.is_empty() {
            return Err(Code::INCONSISTENT_GROUP_PROTOCOL);
        }
        let others = || {
            let replaced = joining.instance.as_ref().and_then(|name| self.statics.get(name));
            self.members
                .iter()
                .filter(move |(id, _)| **id != joining.member && Some(*id) != replaced)
        };
        let alike = joining.kind == self.kind;
        let common = |name: &String| others().all(|(_, known)| known.speaks(name));
        match others().next().is_none()
            || (alike && joining.protocols.iter().any(|(name, _)| common(name)))
        {
            true => Ok(()),
            false => Err(Code::INCONSISTENT_GROUP_PROTOCOL),
        }
    }

    /// A member that comes with an id.
    fn join_again(&mut self, now: i64, joining: &Joining) -> Result<Waits<Joined>, Code> {
        if self.promised.remove(&joining.member).is_some() {
            return Ok(self.enter(now, joining, joining.member.clone()));
        }
        if let Some(instance) = &joining.instance {
            match self.statics.get(instance) {
                Some(current) if *current != joining.member => {
                    return Err(Code::FENCED_INSTANCE_ID);
                }
                Some(_) => {}
                None => return Err(Code::UNKNOWN_MEMBER_ID),
            }
        }
        let known = self.members.get_mut(&joining.member).ok_or(Code::UNKNOWN_MEMBER_ID)?;
        let changed = known.protocols != joining.protocols;
        known.update(now, joining);
        let leads = self.leader.as_ref() == Some(&joining.member);
        match self.phase {
            // Asked again for an answer that it may have missed.
            Phase::Completing { .. } if !changed => {}
            Phase::Stable if !changed && !leads => {}
            Phase::Preparing { .. } => {
                known.joined = true;
                self.settle(now);
            }
            _ => {
                self.prepare(now);
                self.take_part(now, &joining.member);
            }
        }
        Ok(self.told(&joining.member))
    }

    /// A new member.
    fn enter(&mut self, now: i64, joining: &Joining, id: String) -> Waits<Joined> {
        self.kind.clone_from(&joining.kind);
        if let Some(instance) = &joining.instance {
            self.statics.insert(instance.clone(), id.clone());
        }
        self.members.insert(id.clone(), Known::new(now, joining));
        if !matches!(self.phase, Phase::Preparing { .. }) {
            self.prepare(now);
        }
        self.take_part(now, &id);
        self.told(&id)
    }

    /// A static member that starts again: it takes the place of its predecessor, and only if it speaks otherwise than that
    /// the group has to be balanced anew.
    fn replace(&mut self, now: i64, joining: &Joining, predecessor: &str) -> Waits<Joined> {
        let instance = joining.instance.clone().unwrap_or_default();
        let id = self.next_id(&instance);
        self.statics.insert(instance, id.clone());
        let leads = self.leader.as_deref() == Some(predecessor);
        let Some(mut known) = self.members.remove(predecessor) else {
            return self.enter(now, joining, id);
        };
        let changed = known.protocols != joining.protocols;
        known.update(now, joining);
        self.members.insert(id.clone(), known);
        if leads {
            self.leader = Some(id.clone());
        }
        match self.phase {
            Phase::Stable if !changed => {
                let mut joined = self.joined(&id);
                // Its predecessor's assignment stands, so it must not make another.
                if leads && joining.skips {
                    joined.skip_assignment = true;
                } else if leads {
                    joined.leader = predecessor.to_owned();
                    joined.members.clear();
                }
                return Waits::No(joined);
            }
            Phase::Preparing { .. } => {}
            _ => self.prepare(now),
        }
        self.take_part(now, &id);
        self.told(&id)
    }

    fn take_part(&mut self, now: i64, id: &str) {
        if let Some(known) = self.members.get_mut(id) {
            known.joined = true;
        }
        self.settle(now);
    }

    /// A rebalance begins.
    fn prepare(&mut self, now: i64) {
        let longest = self.members.values().map(|known| known.rebalance_ms).max().unwrap_or(0);
        for known in self.members.values_mut() {
            known.joined = false;
        }
        self.phase = Phase::Preparing { until: now + longest };
    }

    /// Ends the first half of a rebalance if nobody is waited for.
    fn settle(&mut self, now: i64) {
        let all = self.members.values().all(|known| known.joined) && self.promised.is_empty();
        if all && matches!(self.phase, Phase::Preparing { .. }) {
            self.complete(now);
        }
    }

    /// The members are those that have joined; static ones may be late.
    fn complete(&mut self, now: i64) {
        self.members.retain(|_, known| known.joined || known.instance.is_some());
        self.generation = self.generation.wrapping_add(1).max(1);
        let stays = |leader: &String| self.members.get(leader).is_some_and(|known| known.joined);
        if !self.leader.as_ref().is_some_and(stays) {
            let first = self.members.iter().find(|(_, known)| known.joined);
            self.leader = first.map(|(id, _)| id.clone());
        }
        if self.leader.is_none() {
            self.protocol.clear();
            // Static members that are late may come back to a group that waits for none.
            self.phase = Phase::Empty;
            return;
        }
        self.protocol = self.elect();
        let longest = self.members.values().map(|known| known.rebalance_ms).max().unwrap_or(0);
        for known in self.members.values_mut().filter(|known| known.joined) {
            known.heard = now;
        }
        self.phase = Phase::Completing { until: now + longest.max(1) };
    }

    /// Each member votes for the first of its protocols that all speak.
    fn elect(&self) -> String {
        let mut votes: BTreeMap<&str, usize> = BTreeMap::new();
        for known in self.members.values() {
            let common = |name: &String| self.members.values().all(|other| other.speaks(name));
            if let Some((name, _)) = known.protocols.iter().find(|(name, _)| common(name)) {
                *votes.entry(name).or_default() += 1;
            }
        }
        let elected = votes.into_iter().max_by_key(|(_, count)| *count);
        elected.map(|(name, _)| name.to_owned()).unwrap_or_default()
    }

    fn remove(&mut self, now: i64, gone: &BTreeSet<String>) {
        self.members.retain(|id, _| !gone.contains(id));
        self.statics.retain(|_, id| !gone.contains(id));
        match self.phase {
            _ if self.members.is_empty() => {
                self.leader = None;
                self.protocol.clear();
                // A new generation, so that nobody of the old one is taken for a member.
                self.generation = self.generation.wrapping_add(1).max(1);
                self.phase = Phase::Empty;
            }
            Phase::Preparing { .. } => self.settle(now),
            _ => self.prepare(now),
        }
    }

    fn heard(&mut self, now: i64, id: &str) {
        if let Some(known) = self.members.get_mut(id) {
            known.heard = now;
        }
    }

    fn told(&self, id: &str) -> Waits<Joined> {
        match self.phase {
            Phase::Preparing { .. } | Phase::Empty => Waits::For(id.to_owned()),
            Phase::Completing { .. } | Phase::Stable => Waits::No(self.joined(id)),
        }
    }

    fn joined(&self, id: &str) -> Joined {
        let leader = self.leader.clone().unwrap_or_default();
        let all = |(id, known): (&String, &Known)| {
            (id.clone(), known.instance.clone(), known.metadata(&self.protocol))
        };
        Joined {
            generation: self.generation,
            kind: self.kind.clone(),
            protocol: self.protocol.clone(),
            member: id.to_owned(),
            skip_assignment: false,
            members: match leader == id {
                true => self.members.iter().map(all).collect(),
                false => Vec::new(),
            },
            leader,
        }
    }

    fn next_id(&mut self, stem: &str) -> String {
        self.ids += 1;
        format!("{stem}-{}", self.ids)
    }
}

impl Known {
    fn new(now: i64, joining: &Joining) -> Self {
        Known {
            instance: joining.instance.clone(),
            client: joining.client.clone(),
            session_ms: joining.session_ms,
            rebalance_ms: joining.rebalance_ms,
            protocols: joining.protocols.clone(),
            assignment: Vec::new(),
            heard: now,
            joined: false,
        }
    }

    fn update(&mut self, now: i64, joining: &Joining) {
        self.client.clone_from(&joining.client);
        self.session_ms = joining.session_ms;
        self.rebalance_ms = joining.rebalance_ms;
        self.protocols.clone_from(&joining.protocols);
        self.heard = now;
    }

    fn speaks(&self, protocol: &str) -> bool {
        self.protocols.iter().any(|(name, _)| name == protocol)
    }

    fn metadata(&self, protocol: &str) -> Vec<u8> {
        let spoken = self.protocols.iter().find(|(name, _)| name == protocol);
        spoken.map(|(_, metadata)| metadata.clone()).unwrap_or_default()
    }
}
