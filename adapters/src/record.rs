//! The recorder: one order of events for the whole case, whatever runs at once.

use std::sync::{Mutex, PoisonError};

use onceness_reference::history::Event;
use onceness_reference::ids::EventId;

/// Writes down what happens, in the order in which it hears of it.
#[derive(Debug, Default)]
pub(crate) struct Recorder {
    events: Mutex<Vec<Event>>,
}

impl Recorder {
    pub(crate) fn record(&self, event: Event) -> EventId {
        let mut events = self.events.lock().unwrap_or_else(PoisonError::into_inner);
        events.push(event);
        EventId(events.len() as u32 - 1)
    }

    /// What was written down last.
    pub(crate) fn last(&self) -> Option<EventId> {
        let events = self.events.lock().unwrap_or_else(PoisonError::into_inner);
        Some(EventId((events.len() as u32).checked_sub(1)?))
    }

    /// All that was written down. What comes later goes nowhere.
    pub(crate) fn take(&self) -> Vec<Event> {
        std::mem::take(&mut *self.events.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
