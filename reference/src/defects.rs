//! The zoo: seeded defects, each a value of [`Rules`], a copy of a bug that a real broker had. A suite that cannot show what
//! it detects proves nothing.

use crate::rules::{Rules, TransactionalPositions};

/// One seeded defect.
#[derive(Debug)]
pub struct Defect {
    /// The name that users type: `memory:NAME`.
    pub name: &'static str,
    /// What the broker does wrong, in one sentence.
    pub summary: &'static str,
    /// The real bug that it copies.
    pub copies: &'static str,
    /// The properties that it breaks, the one that owns it first.
    pub breaks: &'static [&'static str],
    /// The rules of a broker that has it.
    pub rules: fn() -> Rules,
}

/// The defect of that name.
pub fn find(name: &str) -> Option<&'static Defect> {
    DEFECTS.iter().find(|defect| defect.name == name)
}

macro_rules! defect {
    ($name:literal, $summary:literal, $copies:literal, $breaks:expr, { $($field:ident: $value:expr),* $(,)? }) => {
        Defect {
            name: $name,
            summary: $summary,
            copies: $copies,
            breaks: &$breaks,
            rules: || Rules { $($field: $value,)* ..Rules::default() },
        }
    };
}

/// All of them.
pub const DEFECTS: &[Defect] = &[
    defect!(
        "no-dedup",
        "a resent batch is appended again",
        "redpanda#3039; librdkafka's mock cluster for producers without transactions",
        ["no-duplicate", "resend"],
        { dedup_window: 0, accepts_gaps: true }
    ),
    defect!(
        "dedup-window-of-one",
        "only the last batch of a producer is recognised when it is resent, not the last five",
        "KAFKA-5494 (before 1.0); redpanda#3038",
        ["resend"],
        { dedup_window: 1 }
    ),
    defect!(
        "gap-accepted",
        "a batch is appended although the one before it never arrived",
        "redpanda#16706",
        ["order"],
        { accepts_gaps: true }
    ),
    defect!(
        "stale-epoch-accepted",
        "an instance that was fenced may go on writing and committing",
        "librdkafka's mock cluster; the reason for KIP-98's epochs",
        ["fencing"],
        { accepts_stale_epochs: true }
    ),
    defect!(
        "ack-before-durable",
        "an acknowledged batch is lost by a restart",
        "redpanda#6018",
        ["no-loss"],
        { acks_before_durable: true }
    ),
    defect!(
        "dedup-lost-on-restart",
        "a restart forgets what producers have sent, so that a resend is appended again",
        "kop#915; the class of KAFKA-9892",
        ["no-duplicate", "order"],
        { forgets_batches_on_restart: true }
    ),
    defect!(
        "duplicate-acked-at-end",
        "a resent batch is acknowledged with the end of the log, not where it stands",
        "librdkafka's mock cluster (no offset at all)",
        ["stable-offsets", "resend"],
        { acks_duplicates_at_end: true }
    ),
    defect!(
        "offsets-reused",
        "after a restart the last offset is given out once more",
        "KAFKA-7866",
        ["stable-offsets", "no-loss"],
        { reuses_offsets: true }
    ),
    defect!(
        "damaged-long-batch",
        "the third and later records of a batch come back damaged",
        "the class of KAFKA-3810 and of client checksums' reason to be",
        ["no-phantom", "no-loss"],
        { damages_long_batches: true }
    ),
    defect!(
        "compaction-keeps-oldest",
        "of several upserts of a key a restart keeps the oldest",
        "the class of KAFKA-4497 (the log cleaner dropped the newer)",
        ["upserts", "no-loss", "stable-offsets"],
        { compacts_to_oldest: true }
    ),
    defect!(
        "aborted-list-empty",
        "fetches do not tell which transactions were aborted",
        "Tansu/Nisshi service/fetch.rs; librdkafka's mock cluster",
        ["isolation"],
        { hides_aborted_list: true }
    ),
    defect!(
        "aborted-list-lost-on-restart",
        "a restart forgets which transactions were aborted",
        "kop#1700; the class of KAFKA-13727",
        ["isolation"],
        { forgets_aborted_on_restart: true }
    ),
    defect!(
        "lso-is-high-watermark",
        "read_committed shows open transactions",
        "librdkafka's mock cluster; aborted reads in Jepsen's Redpanda 21.10.1",
        ["isolation"],
        { lso_is_high_watermark: true }
    ),
    defect!(
        "aborted-hidden",
        "read_uncommitted leaves out aborted records",
        "redpanda#6630",
        ["isolation", "stable-offsets"],
        { hides_aborted_records: true }
    ),
    defect!(
        "torn-commit",
        "a commit reaches only the first partition, the others are aborted",
        "torn transactions in Jepsen's Bufstream 0.1.0",
        ["atomicity"],
        { tears_commits: true }
    ),
    defect!(
        "txn-offsets-at-once",
        "positions saved in a transaction take effect before it commits",
        "inferred from the rules of KIP-98",
        ["position", "atomicity"],
        { transactional_positions: TransactionalPositions::AtOnce }
    ),
    defect!(
        "txn-offsets-never",
        "positions saved in a transaction never take effect",
        "librdkafka's mock cluster",
        ["atomicity", "position", "exactly-once"],
        { transactional_positions: TransactionalPositions::Never }
    ),
    defect!(
        "init-adopts-transaction",
        "a new instance goes on with its predecessor's open transaction instead of aborting it",
        "kfake (franz-go), when InitProducerId comes without a producer id",
        ["isolation", "progress"],
        { adopts_transactions: true }
    ),
    defect!(
        "late-end-txn",
        "a late EndTxn of an earlier transaction ends the one that is open now, also over TV2",
        "KAFKA-17754 (Jepsen's Bufstream 0.1.0, section 5.4)",
        ["isolation", "atomicity"],
        { accepts_late_end: true }
    ),
    defect!(
        "fenced-transaction-stuck",
        "the transaction of a fenced instance never completes",
        "redpanda#5543; the class of KAFKA-9749",
        ["progress"],
        { forgets_fenced_markers: true }
    ),
    defect!(
        "replaced-member-accepted",
        "a group member that was replaced may still save positions",
        "Tansu/Nisshi dynostore.rs; the reason for KIP-447",
        ["fencing"],
        { accepts_replaced_members: true }
    ),
    defect!(
        "positions-lost-on-restart",
        "a restart goes back to the position saved before the last one",
        "redpanda#31483",
        ["position", "consume-at-most-once"],
        { forgets_positions_on_restart: true }
    ),
    defect!(
        "position-one-ahead",
        "the position is read back one too high",
        "the mirror image of committing the last offset instead of the next (KAFKA-6607's class)",
        ["position", "consume-at-least-once"],
        { positions_one_ahead: true }
    ),
    defect!(
        "zero-for-no-position",
        "a group without a saved position is told zero",
        "spurious zero offsets in Jepsen's Bufstream 0.1.0",
        ["position"],
        { zero_for_no_position: true }
    ),
];
