//! How properties look at a history: all of them in one sweep over the records, each then at the rest.
//!
//! The contestable decision: one sweep for all, though each property could well walk over the records by itself. There may
//! be a million of them, and what is known of one is scattered; to fetch it is dearer than all that is asked of it.

use crate::facts::Fact;
use crate::facts::Facts;
use crate::facts::calls::{Sent, Transaction, TxnFate};
use crate::findings::Findings;
use crate::verdict::Claim;

/// A record that was sent, and what belongs to it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sight<'f> {
    /// The record's place among all.
    pub(crate) place: u32,
    pub(crate) record: &'f Fact,
    pub(crate) send: &'f Sent,
    /// Its transaction, and what became of that.
    pub(crate) txn: Option<(&'f Transaction, TxnFate)>,
    /// The claim that its delivery is an instance of.
    pub(crate) claim: Claim,
}

/// One property at work.
pub(crate) trait Watch {
    /// Looks at some records: first come those that were seen, by partition and (first) offset, then those that were not.
    /// Records whose identity is in doubt are left out.
    fn records(&mut self, _: &Facts<'_>, _: &[Sight<'_>], _: &mut Findings) {}

    /// Looks at the rest, after all records.
    fn rest(&mut self, _: &Facts<'_>, _: &mut Findings) {}
}

/// Lets all of them look, each with its own findings.
pub(crate) fn watch(facts: &Facts<'_>, watches: &mut [(Box<dyn Watch>, Findings)]) {
    facts.for_sent(|sights| {
        for (watch, findings) in watches.iter_mut() {
            watch.records(facts, sights, findings);
        }
    });
    for (watch, findings) in watches {
        watch.rest(facts, findings);
    }
}
