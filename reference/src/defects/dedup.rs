//! Defects of what a partition's leader knows of producers.

use super::Defect;

pub(super) const DEFECTS: &[Defect] = &[
    defect!(
        "no-dedup",
        "a resent batch is appended again",
        "redpanda#3039; librdkafka's mock cluster for producers without transactions",
        ["no-duplicate", "resend"],
        { wrong.dedup.window = Some(0), wrong.dedup.accepts_gaps = true }
    ),
    defect!(
        "dedup-window-of-one",
        "only the last batch of a producer is recognised when it is resent, not the last five",
        "KAFKA-5494 (before 1.0); redpanda#3038; redpanda#3077",
        ["resend"],
        { wrong.dedup.window = Some(1) }
    ),
    defect!(
        "dedup-across-epochs",
        "a batch is taken for a duplicate of one that an older epoch of its producer sent",
        "inferred from ProducerStateEntry.java:134 (a window that does not look at the epoch)",
        ["isolation", "no-loss", "atomicity"],
        { wrong.dedup.mixes_epochs = true }
    ),
    defect!(
        "dedup-across-partitions",
        "a batch is taken for a duplicate of one that its producer sent to another partition",
        "inferred from ProducerStateManager.java:86 (state that is kept by producer alone)",
        ["no-loss", "stable-offsets"],
        { wrong.dedup.mixes_partitions = true }
    ),
    defect!(
        "old-duplicate-appended",
        "a batch that is resent after five others is appended again",
        "inferred from ProducerAppendInfo.java:126 (only what the window holds is known to be old)",
        ["no-duplicate"],
        { wrong.dedup.appends_old_duplicates = true }
    ),
    defect!(
        "overlap-called-duplicate",
        "a batch that begins with what is known and ends with what is new is called a duplicate, and its end is lost",
        "Tansu/Nisshi sql.rs:460, dynostore.rs:861",
        ["answers"],
        { wrong.dedup.calls_overlaps_duplicates = true }
    ),
    defect!(
        "duplicate-acked-at-end",
        "a resent batch is acknowledged with the end of the log, not where it stands",
        "librdkafka's mock cluster (no offset at all)",
        ["stable-offsets", "resend"],
        { wrong.dedup.acks_at_end = true }
    ),
    defect!(
        "duplicate-rewinds-sequence",
        "after a resent batch the one after it is expected once more, and the producer's next one refused",
        "librdkafka's mock cluster (rdkafka_mock.c:540)",
        ["answers"],
        { wrong.dedup.rewinds_on_duplicates = true }
    ),
    defect!(
        "duplicate-overwrites",
        "a resent batch with other records replaces those of the first",
        "the reading of idempotence by which existing messages are overwritten",
        ["answers"],
        { wrong.dedup.overwrites = true }
    ),
    defect!(
        "gap-accepted",
        "a batch is appended although the one before it never arrived",
        "redpanda#16706 (the one before it failed in replication)",
        ["order"],
        { wrong.dedup.accepts_gaps = true }
    ),
    defect!(
        "sequence-goes-negative",
        "after sequence number 2147483647 a negative one is expected instead of 0",
        "KAFKA-7692, KAFKA-7693; Tansu/Nisshi dynostore.rs:869",
        ["answers"],
        { wrong.dedup.goes_negative = true }
    ),
    defect!(
        "epoch-starts-anywhere",
        "the first batch of a newer epoch is appended whatever its sequence number",
        "inferred from ProducerAppendInfo.java:118",
        ["answers"],
        { wrong.dedup.starts_epochs_anywhere = true }
    ),
    defect!(
        "own-epoch-refused",
        "an idempotent producer that raises its own epoch is refused",
        "redpanda#22687; what KAFKA-8805 permits",
        ["answers"],
        { wrong.dedup.refuses_own_epochs = true }
    ),
    defect!(
        "stale-epoch-accepted",
        "an instance that was fenced may go on writing and committing",
        "librdkafka's mock cluster; the reason for KIP-98's epochs",
        ["fencing"],
        { wrong.dedup.accepts_stale_epochs = true }
    ),
    defect!(
        "refused-batch-remembered",
        "a batch that was refused for the moment is acknowledged as a duplicate when it comes again",
        "KAFKA-6683; Tansu/Nisshi dynostore.rs:828 (what is known of producers runs ahead of the log)",
        ["no-loss"],
        { refuses_every = Some(5), wrong.dedup.remembers_refused = true }
    ),
    defect!(
        "dedup-lost-on-restart",
        "a restart forgets what producers have sent, so that a resend is appended again",
        "kop#915; the class of KAFKA-9892",
        ["no-duplicate", "order"],
        { wrong.dedup.forgets_on_restart = true }
    ),
    defect!(
        "last-batch-lost-on-restart",
        "a restart forgets the last batch of every producer, so that a resend of it is appended again",
        "KAFKA-5490, KAFKA-8335 (the log cleaner dropped a producer's last batch)",
        ["no-duplicate"],
        { wrong.dedup.forgets_last_on_restart = true }
    ),
    defect!(
        "producer-ids-repeated",
        "a restart gives out producer ids once more, so that a new producer's batches are taken for an old one's",
        "KAFKA-15552 (the same block of ids was given out twice)",
        ["no-loss", "answers"],
        { wrong.dedup.repeats_ids_on_restart = true }
    ),
];
