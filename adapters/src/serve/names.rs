//! Names on the wire, numbers in the model: topics and their partitions, groups, transactional ids.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use onceness_reference::code::Code;
use onceness_reference::ids::Partition;

/// So many partitions there may be, of all topics: each costs memory.
const PARTITIONS_MAX: usize = 200_000;
/// So many names there may be, of one kind.
const NAMES_MAX: usize = 1_000_000;
/// The longest name that a topic can have.
const TOPIC_NAME_MAX: usize = 249;

/// The topics.
#[derive(Default)]
pub(super) struct Topics {
    topics: BTreeMap<Arc<str>, Vec<Partition>>,
    places: HashMap<Partition, (Arc<str>, i32)>,
    next: u32,
}

impl Topics {
    /// The partitions of a topic, in order.
    pub(super) fn find(&self, topic: &str) -> Option<&[Partition]> {
        self.topics.get(topic).map(Vec::as_slice)
    }

    pub(super) fn partition(&self, topic: &str, index: i32) -> Result<Partition, Code> {
        let found = self.find(topic).and_then(|all| all.get(usize::try_from(index).ok()?));
        found.copied().ok_or(Code::UNKNOWN_TOPIC_OR_PARTITION)
    }

    /// The topic of a partition, and its index there. None if it was deleted.
    pub(super) fn place(&self, partition: Partition) -> Option<(&Arc<str>, i32)> {
        self.places.get(&partition).map(|(topic, index)| (topic, *index))
    }

    pub(super) fn all(&self) -> impl Iterator<Item = (&Arc<str>, &[Partition])> {
        self.topics.iter().map(|(name, partitions)| (name, partitions.as_slice()))
    }

    /// A new topic, with partitions of new numbers: one that was deleted never comes back.
    pub(super) fn create(&mut self, name: &str, partitions: i32) -> Result<Vec<Partition>, Code> {
        self.check(name, partitions)?;
        let name: Arc<str> = name.into();
        let made: Vec<Partition> = (self.next..).take(partitions as usize).map(Partition).collect();
        self.next += partitions as u32;
        self.places.extend(made.iter().zip(0..).map(|(one, index)| (*one, (name.clone(), index))));
        self.topics.insert(name, made.clone());
        Ok(made)
    }

    /// Whether there could be such a topic.
    pub(super) fn check(&self, name: &str, partitions: i32) -> Result<(), Code> {
        let plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
        if name.is_empty()
            || name.len() > TOPIC_NAME_MAX
            || name == "."
            || name == ".."
            || !name.chars().all(plain)
        {
            return Err(Code::INVALID_TOPIC_EXCEPTION);
        }
        if self.topics.contains_key(name) {
            return Err(Code::TOPIC_ALREADY_EXISTS);
        }
        let left =
            PARTITIONS_MAX.saturating_sub(self.places.len()).min((u32::MAX - self.next) as usize);
        match usize::try_from(partitions) {
            Ok(partitions) if (1..=left).contains(&partitions) => Ok(()),
            _ => Err(Code::INVALID_PARTITIONS),
        }
    }

    pub(super) fn delete(&mut self, name: &str) -> Option<Vec<Partition>> {
        let gone = self.topics.remove(name)?;
        for partition in &gone {
            self.places.remove(partition);
        }
        Some(gone)
    }
}

/// The names of one kind, each with its number.
#[derive(Default)]
pub(super) struct Names {
    numbers: HashMap<Arc<str>, u32>,
    names: BTreeMap<u32, Arc<str>>,
    next: u32,
}

impl Names {
    pub(super) fn find(&self, name: &str) -> Option<u32> {
        self.numbers.get(name).copied()
    }

    /// The number of a name, a new one if it has none. None if there are too many.
    pub(super) fn number(&mut self, name: &str) -> Option<u32> {
        if let Some(number) = self.find(name) {
            return Some(number);
        }
        if self.names.len() >= NAMES_MAX || self.next == u32::MAX {
            return None;
        }
        let (name, number): (Arc<str>, u32) = (name.into(), self.next);
        self.next += 1;
        self.numbers.insert(name.clone(), number);
        self.names.insert(number, name);
        Some(number)
    }

    /// Forgets a name. Its number is not given out again.
    pub(super) fn forget(&mut self, number: u32) {
        if let Some(name) = self.names.remove(&number) {
            self.numbers.remove(&name);
        }
    }

    pub(super) fn all(&self) -> impl Iterator<Item = (u32, &Arc<str>)> {
        self.names.iter().map(|(number, name)| (*number, name))
    }

    pub(super) fn len(&self) -> usize {
        self.names.len()
    }
}
