//! Defects of the log itself.

use super::Defect;

pub(super) const DEFECTS: &[Defect] = &[
    defect!(
        "ack-before-durable",
        "an acknowledged batch is lost by a restart",
        "redpanda#6018",
        ["no-loss"],
        { wrong.log.acks_before_durable = true }
    ),
    defect!(
        "offsets-reused",
        "after a restart the last offset is given out once more",
        "KAFKA-7866",
        ["stable-offsets", "no-loss"],
        { wrong.log.reuses_offsets = true }
    ),
    defect!(
        "damaged-long-batch",
        "the third and later records of a batch come back damaged",
        "the class of KAFKA-3810 and of client checksums' reason to be",
        ["no-phantom", "no-loss"],
        { wrong.log.damages_long_batches = true }
    ),
    defect!(
        "offset-before-record",
        "readers pass over offsets that were given out and whose records are not stored yet; a crash loses those",
        "Tansu/Nisshi dynostore.rs (the high watermark is raised before the object is written)",
        ["no-loss", "isolation"],
        { wrong.log.stores_late = true }
    ),
    defect!(
        "compaction-keeps-oldest",
        "of several upserts of a key a restart keeps the oldest",
        "the class of KAFKA-4497 (the log cleaner dropped the newer)",
        ["upserts", "no-loss", "stable-offsets"],
        { wrong.log.compacts_to_oldest = true }
    ),
    defect!(
        "compaction-drops-markers",
        "a restart compacts the markers of transactions away, and their records stay",
        "KAFKA-14055, KAFKA-8351, KAFKA-13727; redpanda#19931",
        ["progress", "isolation"],
        { wrong.log.compacts_markers = true }
    ),
];
