//! What no correct broker does, a switch for each misdeed, by the part of the broker that does it. A correct broker has
//! all of them off: [`Wrongs::default`]. What no correct [`client`] does, likewise.
//!
//! One switch is one obvious `if` in the model, at the place where a correct broker does the opposite. Which real brokers
//! did so, is told by the catalogue ([`crate::defects`]).

pub mod client;

/// All misdeeds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Wrongs {
    /// Of the log itself.
    pub log: LogWrongs,
    /// Of what a partition's leader knows of producers.
    pub dedup: DedupWrongs,
    /// Of the transaction coordinator, and of the markers that it has written.
    pub transactions: TransactionWrongs,
    /// Of what readers are told.
    pub isolation: IsolationWrongs,
    /// Of groups and their positions.
    pub offsets: OffsetWrongs,
}

/// Of the log itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct LogWrongs {
    /// An acknowledged batch is durable only once the next one is.
    pub acks_before_durable: bool,
    /// The first append after a restart gets the last offset once more.
    pub reuses_offsets: bool,
    /// The third and later records of a batch are damaged.
    pub damages_long_batches: bool,
    /// Offsets are given out, and passed over by readers, before their records are stored.
    pub stores_late: bool,
    /// A restart keeps, of several records of one key, the oldest.
    pub compacts_to_oldest: bool,
    /// A restart drops the markers of transactions, as if they were records of one key.
    pub compacts_markers: bool,
}

/// Of what a partition's leader knows of producers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct DedupWrongs {
    /// How many batches of a producer are recognised as duplicates, where it is not five.
    pub window: Option<usize>,
    /// Batches of all epochs of a producer are taken for those of one.
    pub mixes_epochs: bool,
    /// Batches to all partitions are taken for those to one.
    pub mixes_partitions: bool,
    /// A duplicate that is older than the window is appended.
    pub appends_old_duplicates: bool,
    /// A batch that begins below the expected sequence is called a duplicate, be its end new or not.
    pub calls_overlaps_duplicates: bool,
    /// A duplicate is acknowledged with the end of the log instead of the original offset.
    pub acks_at_end: bool,
    /// A duplicate sets the expected sequence back to the one after it.
    pub rewinds_on_duplicates: bool,
    /// A duplicate replaces the records of the original.
    pub overwrites: bool,
    /// Gaps in the sequence numbers are accepted.
    pub accepts_gaps: bool,
    /// Sequence numbers go on below zero after the last one.
    pub goes_negative: bool,
    /// The first batch of a newer epoch may have any sequence number.
    pub starts_epochs_anywhere: bool,
    /// An idempotent producer may not raise its own epoch.
    pub refuses_own_epochs: bool,
    /// Older epochs are accepted, by coordinators and by leaders.
    pub accepts_stale_epochs: bool,
    /// A batch that is refused for now is remembered as if it were appended.
    pub remembers_refused: bool,
    /// A restart forgets the batches of all producers.
    pub forgets_on_restart: bool,
    /// A restart forgets the last batch of every producer.
    pub forgets_last_on_restart: bool,
    /// A restart gives out producer ids once more.
    pub repeats_ids_on_restart: bool,
}

/// Of the transaction coordinator, and of the markers that it has written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct TransactionWrongs {
    /// InitProducerId leaves the transaction of the predecessor open, and the successor goes on with it.
    pub adopts: bool,
    /// After the highest epoch comes the first one of the same producer id.
    pub repeats_epochs: bool,
    /// An EndTxn of an earlier epoch ends the transaction that is open now.
    pub accepts_late_end: bool,
    /// An EndTxn of a later epoch ends the transaction that is open now.
    pub accepts_early_end: bool,
    /// EndTxn, sent again while the transaction is being completed, is refused for good.
    pub refuses_end_again: bool,
    /// A transaction that no record was written in cannot be committed.
    pub refuses_empty_commits: bool,
    /// A transaction may begin while the one before is being completed, and ends with it.
    pub begins_early: bool,
    /// A leader that once had a write verified does not ask again.
    pub verifies_once: bool,
    /// A transaction is never aborted because its time is up.
    pub never_times_out: bool,
    /// A transaction whose time is up is aborted, and its producer not fenced.
    pub times_out_unfenced: bool,
    /// A commit commits the first partition, and aborts the others.
    pub tears_commits: bool,
    /// The markers of a fenced transaction are never written.
    pub forgets_fenced_markers: bool,
    /// Every marker is written once more, some time later.
    pub repeats_markers: bool,
    /// A restart forgets the markers that are still to be written.
    pub forgets_markers_on_restart: bool,
    /// After a restart all markers of a transaction are sent again, and those that stand already are refused.
    pub refuses_markers_again: bool,
    /// A restart forgets what open transactions have begun.
    pub forgets_open_on_restart: bool,
    /// A restart aborts transactions whose commit was answered.
    pub flips_on_restart: bool,
}

/// Of what readers are told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct IsolationWrongs {
    /// The last stable offset is the high watermark.
    pub shows_open: bool,
    /// The last stable offset is one too high while a transaction is open.
    pub shows_first_open: bool,
    /// A transaction holds the last stable offset back until it is decided, not until its marker stands.
    pub shows_decided: bool,
    /// A transaction that stays open while three more batches come holds the last stable offset back no longer.
    pub expires_open: bool,
    /// A restart forgets which transactions are open in a partition.
    pub forgets_open_on_restart: bool,
    /// Fetches at read_committed list no aborted transactions.
    pub hides_aborted_list: bool,
    /// Fetches list no aborted transaction that began before their offset.
    pub lists_from_offset: bool,
    /// Fetches list aborted transactions that ended before their offset.
    pub lists_older: bool,
    /// A restart loses the list of aborted transactions.
    pub forgets_aborted_on_restart: bool,
    /// Fetches at read_uncommitted leave out aborted records.
    pub hides_aborted_records: bool,
    /// The end of a partition is the same for all readers (ListOffsets).
    pub lists_end_to_all: bool,
}

/// Of groups and their positions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct OffsetWrongs {
    /// When transactional positions take effect, where it is not at the commit.
    pub transactional: TransactionalPositions,
    /// A transaction is complete before the positions saved in it take effect.
    pub completes_before: bool,
    /// Positions that a transaction may still change are told to who asks for stable ones.
    pub tells_unstable: bool,
    /// Positions stay unstable after the transaction has ended.
    pub stays_unstable: bool,
    /// A member that was replaced may still save positions.
    pub accepts_replaced_members: bool,
    /// Saved positions are read back one too high.
    pub one_ahead: bool,
    /// Positions are read back as zero where there are none.
    pub zero_for_none: bool,
    /// A position is forgotten, for all that its group is in use, once three others were saved since.
    pub expires_in_use: bool,
    /// A restart forgets the last saved position of every group and partition, and goes back to the one before.
    pub forgets_on_restart: bool,
    /// A restart forgets the positions that are pending in transactions.
    pub forgets_pending_on_restart: bool,
    /// After a restart the position that took effect last wins, not the one that was saved last.
    pub reorders_on_restart: bool,
}

/// When positions saved in a transaction take effect.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum TransactionalPositions {
    /// When it commits. The only right one.
    #[default]
    AtCommit,
    /// At once.
    AtOnce,
    /// Never.
    Never,
}
