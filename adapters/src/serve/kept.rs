//! The state, and the journal in which what changes it is written down, if there is one.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;

use bytes::Bytes;
use kafka_protocol::messages::ApiKey;
use onceness_reference::rules::Rules;

use super::apis;
use super::call::{Call, Handled, Place, Reply};
use super::journal::{Entry, Journal};
use super::state::State;
use crate::wire::fields::Malformed;

/// Everything that the broker knows.
pub(super) struct Kept {
    state: State,
    journal: Option<Journal>,
    /// Why nothing more can be written down. Then nothing more is answered.
    failure: Option<String>,
}

/// A request that was carried out.
pub(super) struct Done {
    pub(super) api: ApiKey,
    pub(super) reply: Reply,
}

impl Kept {
    /// In memory alone.
    pub(super) fn new(rules: Rules) -> Kept {
        Kept { state: State::new(rules, fastrand::u64(..)), journal: None, failure: None }
    }

    /// With a journal, from which it comes back as after a kill.
    pub(super) fn open(rules: Rules, path: &Path, now: i64) -> std::io::Result<Kept> {
        let checksum = crc32c::crc32c(format!("{rules:?}").as_bytes());
        let mut found: Option<State> = None;
        let journal = Journal::open(path, checksum, fastrand::u64(..), |seed, entry| {
            let state = found.get_or_insert_with(|| State::new(rules, seed));
            replay(state, entry);
        })?;
        let began = found.is_some();
        let state = found.unwrap_or_else(|| State::new(rules, journal.seed));
        let mut kept = Kept { state, journal: Some(journal), failure: None };
        if began {
            kept.restart(now);
        }
        match kept.failure.take() {
            None => Ok(kept),
            Some(failure) => Err(std::io::Error::other(failure)),
        }
    }

    /// Carries out a request. None if it is of no API at all, or the broker has failed.
    pub(super) fn carry_out(
        &mut self,
        frame: &Bytes,
        place: Place,
        memo: &mut Option<String>,
    ) -> Result<Option<Done>, Malformed> {
        let before = memo.clone();
        let Some(mut call) = Call::read(frame.clone(), place, memo)? else { return Ok(None) };
        let api = call.api;
        let handled = apis::handle(&mut self.state, &mut call);
        if self.journal.is_some() && apis::changes(api) {
            let Place { came, now, .. } = place;
            self.write(&Entry::Request { frame: frame.clone(), came, now, memo: before });
        }
        match self.failure {
            Some(_) => Ok(None),
            None => Ok(Some(Done { api, reply: handled? })),
        }
    }

    /// Whether markers are to be written.
    pub(super) fn works(&self) -> bool {
        self.state.works()
    }

    pub(super) fn write_markers(&mut self) {
        self.state.write_markers();
        self.write(&Entry::Markers);
    }

    /// Lets time do its work. Whether anything changed.
    pub(super) fn pass(&mut self, now: i64) -> bool {
        let changed = self.state.pass(now);
        if changed {
            self.write(&Entry::Passed { now });
        }
        changed
    }

    pub(super) fn restart(&mut self, now: i64) {
        self.state.restart(now);
        self.write(&Entry::Restarted { now });
    }

    /// Why it had to stop, if it had.
    pub(super) fn failure(&self) -> Option<&str> {
        self.failure.as_deref()
    }

    fn write(&mut self, entry: &Entry) {
        if let Some(journal) = &mut self.journal
            && let Err(error) = journal.write(entry)
        {
            self.failure.get_or_insert_with(|| format!("failed to write the journal: {error}"));
        }
    }
}

fn replay(state: &mut State, entry: Entry) {
    match entry {
        Entry::Request { frame, came, now, mut memo } => {
            // Where it came to matters only to its answer, which was given long ago.
            let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
            let place = Place { address, now, came };
            if let Ok(Some(mut call)) = Call::read(frame, place, &mut memo) {
                let _: Handled = apis::handle(state, &mut call);
            }
        }
        Entry::Markers => state.write_markers(),
        Entry::Passed { now } => _ = state.pass(now),
        Entry::Restarted { now } => state.restart(now),
    }
}
