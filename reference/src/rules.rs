//! Everything a broker may do differently, as one value. Some differences are permitted (versions, and what the protocol
//! leaves open); pushed further they are defects, which no correct broker has. So the model stays one, and a seeded bug is
//! a value of this type.

use crate::code::Code;

/// How a broker behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    // What differs between versions, or is left open.
    /// The leader asks the coordinator before it takes a transactional write (KIP-890 part 1, Kafka 3.6). Without it a
    /// late write can open a transaction that nobody ends.
    pub verifies_writes: bool,
    /// How many batches of a producer a restart remembers: a snapshot holds one, replaying the log more. At least 1.
    pub window_after_restart: usize,
    /// What a duplicate older than the window is answered: 45, or 46 as before KAFKA-6683.
    pub old_duplicate: Code,
    /// By how much fencing an open transaction raises the epoch: 1, or 2 in Kafka 4.0.0 (KAFKA-19367).
    pub fencing_bump: i16,
    /// Markers are written some time after EndTxn was answered, rather than at once.
    pub markers_lag: bool,
    /// Commits leave one more offset unused in every partition (as Redpanda's do).
    pub burns_offsets: bool,
    /// The highest epoch that a client may be given (Kafka: 32766). After it a new producer id begins.
    pub epoch_max: i16,

    // What no correct broker does. The values of a correct one are those of `Rules::default()`.
    /// How many batches per producer and partition are recognised as duplicates: 5.
    pub dedup_window: usize,
    /// Gaps in the sequence numbers are accepted.
    pub accepts_gaps: bool,
    /// Older epochs are accepted, by coordinators and by leaders.
    pub accepts_stale_epochs: bool,
    /// An acknowledged batch is durable only once the next one is.
    pub acks_before_durable: bool,
    /// A restart forgets the batches of all producers.
    pub forgets_batches_on_restart: bool,
    /// A duplicate is acknowledged with the end of the log instead of the original offset.
    pub acks_duplicates_at_end: bool,
    /// The first append after a restart gets the last offset once more.
    pub reuses_offsets: bool,
    /// The third and later records of a batch are damaged.
    pub damages_long_batches: bool,
    /// A restart keeps, of several records of one key, the oldest.
    pub compacts_to_oldest: bool,
    /// Fetches at read_committed list no aborted transactions.
    pub hides_aborted_list: bool,
    /// A restart loses the list of aborted transactions.
    pub forgets_aborted_on_restart: bool,
    /// The last stable offset is the high watermark.
    pub lso_is_high_watermark: bool,
    /// Fetches at read_uncommitted leave out aborted records.
    pub hides_aborted_records: bool,
    /// A commit commits the first partition, and aborts the others.
    pub tears_commits: bool,
    /// When transactional positions take effect: at the commit.
    pub transactional_positions: TransactionalPositions,
    /// InitProducerId leaves the transaction of the predecessor open, and the successor goes on with it.
    pub adopts_transactions: bool,
    /// An EndTxn of an earlier epoch ends the transaction that is open now.
    pub accepts_late_end: bool,
    /// The markers of a fenced transaction are never written.
    pub forgets_fenced_markers: bool,
    /// A member that was replaced may still save positions.
    pub accepts_replaced_members: bool,
    /// A restart forgets the last saved position of every group and partition, and goes back to the one before.
    pub forgets_positions_on_restart: bool,
    /// Saved positions are read back one too high.
    pub positions_one_ahead: bool,
    /// Positions are read back as zero where there are none.
    pub zero_for_no_position: bool,
}

/// When positions saved in a transaction take effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TransactionalPositions {
    /// When it commits. The only right one.
    AtCommit,
    /// At once.
    AtOnce,
    /// Never.
    Never,
}

impl Default for Rules {
    fn default() -> Self {
        Rules {
            verifies_writes: true,
            window_after_restart: 1,
            old_duplicate: Code::OUT_OF_ORDER_SEQUENCE_NUMBER,
            fencing_bump: 1,
            markers_lag: true,
            burns_offsets: false,
            epoch_max: i16::MAX - 1,
            dedup_window: 5,
            accepts_gaps: false,
            accepts_stale_epochs: false,
            acks_before_durable: false,
            forgets_batches_on_restart: false,
            acks_duplicates_at_end: false,
            reuses_offsets: false,
            damages_long_batches: false,
            compacts_to_oldest: false,
            hides_aborted_list: false,
            forgets_aborted_on_restart: false,
            lso_is_high_watermark: false,
            hides_aborted_records: false,
            tears_commits: false,
            transactional_positions: TransactionalPositions::AtCommit,
            adopts_transactions: false,
            accepts_late_end: false,
            forgets_fenced_markers: false,
            accepts_replaced_members: false,
            forgets_positions_on_restart: false,
            positions_one_ahead: false,
            zero_for_no_position: false,
        }
    }
}

impl Rules {
    /// Correct brokers that differ in everything that a broker may choose.
    pub fn permitted() -> Vec<Permitted> {
        let kafka = Rules::default();
        vec![
            Permitted { name: "as Kafka chooses", rules: kafka },
            Permitted {
                name: "a restart remembers five batches, markers come at once",
                rules: Rules { window_after_restart: 5, markers_lag: false, ..kafka },
            },
            Permitted {
                name: "old duplicates are answered 46, commits burn offsets",
                rules: Rules {
                    old_duplicate: Code::DUPLICATE_SEQUENCE_NUMBER,
                    burns_offsets: true,
                    ..kafka
                },
            },
            Permitted {
                name: "fencing raises the epoch by two, epochs end at two",
                rules: Rules { fencing_bump: 2, epoch_max: 2, ..kafka },
            },
        ]
    }
}

/// A correct broker.
#[derive(Clone, Copy, Debug)]
pub struct Permitted {
    /// What it chose, in a few words.
    pub name: &'static str,
    /// Its rules.
    pub rules: Rules,
}
