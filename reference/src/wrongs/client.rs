//! What no correct client and no correct application does, a switch for each misdeed, by the part that does it. A correct
//! one has all of them off: [`ClientWrongs::default`].
//!
//! Like those of brokers, one switch is one obvious `if` in the test client, at the place where a correct one does the
//! opposite. Which real ones did so, is told by the catalogue ([`crate::defects`]).

use crate::ids::TxnId;
use crate::plan::{Client, Delivery};

/// All misdeeds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct ClientWrongs {
    /// Of a client library, as a producer.
    pub producer: ProducerWrongs,
    /// Of a client library, as a consumer.
    pub consumer: ConsumerWrongs,
    /// Of the application that uses both.
    pub application: ApplicationWrongs,
}

/// Of a client library, as a producer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct ProducerWrongs {
    /// After a batch that was refused for the moment the sequence numbers of its partition begin again at zero.
    pub restarts_sequences: bool,
    /// Outside transactions, a batch that times out is sent again in the next epoch.
    pub resends_in_new_epoch: bool,
    /// In transactions, a batch that times out is given up, and the transaction goes on.
    pub commits_without_failed: bool,
    /// In transactions, a batch that was refused for the moment is sent again by a new session, and the transaction goes on.
    pub renews_in_transaction: bool,
    /// Batches that are sent again together are numbered and sent from the last one to the first.
    pub resends_backwards: bool,
    /// A commit that times out is followed by an abort, which is taken to be done whatever it is answered.
    pub aborts_after_commit: bool,
    /// An instance that is fenced takes a new session, and sends again.
    pub outlives_fencing: bool,
}

/// Of a client library, as a consumer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct ConsumerWrongs {
    /// Records of aborted transactions are handed out.
    pub shows_aborted: bool,
    /// Aborted transactions are taken to begin in the order in which they are listed, which is that of their ends.
    pub takes_aborted_as_listed: bool,
}

/// Of the application that uses both.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct ApplicationWrongs {
    /// What is polled is saved at once, by consumers that are to process it before.
    pub saves_before_processing: bool,
    /// Nobody goes back to the saved position after an abort.
    pub never_rewinds: bool,
    /// The last offset is saved, not the one after it.
    pub saves_last: bool,
    /// Positions that belong into a transaction are saved at once.
    pub saves_outside: bool,
    /// Whoever is to read what is committed reads everything.
    pub reads_uncommitted: bool,
    /// What is processed is added to what there is of its key, instead of taking its place.
    pub appends: bool,
    /// Each instance has a transactional id of its own, and is no member of its group.
    pub fences_nobody: bool,
}

/// How far the transactional ids of instances are from the one that they should share. No plan has as many.
const IDS_APART: u32 = 1 << 16;

impl ClientWrongs {
    /// Who a client of a plan really is.
    #[must_use]
    pub fn disguise(&self, mut client: Client) -> Client {
        if self.application.fences_nobody {
            if let Some(Delivery::Transactional { txn, .. }) = &mut client.delivery {
                *txn = TxnId(txn.0.wrapping_add(IDS_APART * (u32::from(client.id.0) + 1)));
            }
            if let Some(consumer) = &mut client.consumer {
                consumer.member = false;
            }
        }
        client
    }
}
