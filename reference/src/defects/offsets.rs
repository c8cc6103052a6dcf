//! Defects of groups and their positions.

use super::Defect;
use crate::wrongs::TransactionalPositions;

pub(super) const DEFECTS: &[Defect] = &[
    defect!(
        "txn-offsets-at-once",
        "positions saved in a transaction take effect before it commits",
        "inferred from the rules of KIP-98",
        ["position", "atomicity"],
        { wrong.offsets.transactional = TransactionalPositions::AtOnce }
    ),
    defect!(
        "txn-offsets-never",
        "positions saved in a transaction never take effect",
        "librdkafka's mock cluster",
        ["atomicity", "position", "exactly-once"],
        { wrong.offsets.transactional = TransactionalPositions::Never }
    ),
    defect!(
        "txn-offsets-after-completion",
        "a transaction is complete before its positions take effect, so that the next one's are taken along",
        "KAFKA-17507, KAFKA-15784",
        ["answers", "atomicity"],
        { wrong.offsets.completes_before = true }
    ),
    defect!(
        "unstable-positions-told",
        "whoever asks for stable positions is told those that a transaction may still change",
        "Tansu/Nisshi, which never answers 88",
        ["answers", "position"],
        { wrong.offsets.tells_unstable = true }
    ),
    defect!(
        "unstable-for-ever",
        "positions stay unstable after the transaction that saved them has ended",
        "redpanda#6423, redpanda#5543",
        ["progress"],
        { wrong.offsets.stays_unstable = true }
    ),
    defect!(
        "pending-positions-lost-on-restart",
        "a restart forgets positions whose transaction has not ended yet",
        "redpanda#31483; KAFKA-19163",
        ["atomicity", "position", "exactly-once"],
        { wrong.offsets.forgets_pending_on_restart = true }
    ),
    defect!(
        "positions-reordered-on-restart",
        "after a restart a position that was saved earlier, in a transaction that committed later, takes the place of a newer",
        "redpanda#31483 (CORE-17000)",
        ["answers"],
        { wrong.offsets.reorders_on_restart = true }
    ),
    defect!(
        "replaced-member-accepted",
        "a group member that was replaced may still save positions",
        "Tansu/Nisshi dynostore.rs; the reason for KIP-447",
        ["fencing"],
        { wrong.offsets.accepts_replaced_members = true }
    ),
    defect!(
        "positions-lost-on-restart",
        "a restart goes back to the position saved before the last one",
        "redpanda#31483",
        ["position", "consume-at-most-once"],
        { wrong.offsets.forgets_on_restart = true }
    ),
    defect!(
        "positions-expire-in-use",
        "a position is forgotten while its group is using it, once three others were saved since",
        "KAFKA-8069, KAFKA-13636",
        ["position"],
        { wrong.offsets.expires_in_use = true }
    ),
    defect!(
        "position-one-ahead",
        "the position is read back one too high",
        "the mirror image of committing the last offset instead of the next (KAFKA-6607's class)",
        ["position", "consume-at-least-once"],
        { wrong.offsets.one_ahead = true }
    ),
    defect!(
        "zero-for-no-position",
        "a group without a saved position is told zero",
        "spurious zero offsets in Jepsen's Bufstream 0.1.0",
        ["position"],
        { wrong.offsets.zero_for_none = true }
    ),
];
