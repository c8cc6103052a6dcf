//! What the applications of a case have in the end: of each group that processes before it saves, the value of each key. It
//! outlives the consumers, as a database does.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use onceness_reference::history::{Event, Record};
use onceness_reference::ids::{GroupId, Key, Partition, Tag};

use crate::record::Recorder;

/// By group, input and key: the records that a value is made of.
type Values = BTreeMap<(GroupId, Partition, Key), Vec<Tag>>;

/// What all groups have.
#[derive(Default)]
pub(crate) struct Views(Mutex<Values>);

/// What one group has, and how it takes more.
pub(crate) struct View<'a> {
    group: GroupId,
    appends: bool,
    values: MutexGuard<'a, Values>,
}

impl Views {
    /// What a group has. Right applications upsert; a wrong one appends.
    pub(crate) fn of(&self, group: GroupId, appends: bool) -> View<'_> {
        View { group, appends, values: self.lock() }
    }

    /// Tells the history what there is.
    pub(crate) fn tell(self, recorder: &Recorder) {
        for ((group, partition, key), records) in std::mem::take(&mut *self.lock()) {
            recorder.record(Event::View { group, partition, key, records });
        }
    }

    fn lock(&self) -> MutexGuard<'_, Values> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl View<'_> {
    /// The application processes a record.
    pub(crate) fn take(&mut self, input: Partition, record: &Record) {
        let value = self.values.entry((self.group, input, record.key)).or_default();
        if !self.appends {
            value.clear();
        }
        value.push(record.tag);
    }
}
