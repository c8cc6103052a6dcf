//! Defects of the transaction coordinator, and of the markers that it has written.

use super::Defect;

/// What no plan does: time does not pass in them.
const TIMEOUT: Option<&str> =
    Some("a transaction that runs into its timeout; `onceness serve` has timeouts");

pub(super) const DEFECTS: &[Defect] = &[
    defect!(
        "init-adopts-transaction",
        "a new instance goes on with its predecessor's open transaction instead of aborting it",
        "kfake (franz-go), when InitProducerId comes without a producer id",
        ["isolation", "progress"],
        { wrong.transactions.adopts = true }
    ),
    defect!(
        "abort-without-fencing",
        "opening a transactional id again aborts the open transaction in the epoch of its old instance, whose late writes hang",
        "KAFKA-5231, KAFKA-6119, before writes were verified",
        ["progress", "fencing"],
        { fencing_bump = 0, verifies_writes = false }
    ),
    defect!(
        "epochs-repeated",
        "after the last epoch comes the first one of the same producer id, which partitions refuse",
        "KAFKA-18660, KAFKA-20090, KAFKA-20357; ydb#16091",
        ["fencing"],
        { epoch_max = 2, wrong.transactions.repeats_epochs = true }
    ),
    Defect {
        needs: TIMEOUT,
        ..defect!(
            "timeout-without-fencing",
            "a transaction whose time is up is aborted, and its producer goes on as if nothing had been",
            "KAFKA-6119",
            ["answers"],
            { wrong.transactions.times_out_unfenced = true }
        )
    },
    Defect {
        needs: TIMEOUT,
        ..defect!(
            "timeout-never",
            "a transaction that its producer left open is never aborted, and holds readers back for ever",
            "Tansu/Nisshi dynostore.rs:2679",
            ["progress"],
            { wrong.transactions.never_times_out = true }
        )
    },
    defect!(
        "write-unverified",
        "a transactional write outside a transaction is appended, and hangs there",
        "KAFKA-14561, KIP-890 (Kafka before 3.6)",
        ["answers", "fencing", "upserts"],
        { verifies_writes = false }
    ),
    defect!(
        "write-verified-once",
        "a partition that once had a write verified takes later ones on trust, also after the transaction has ended",
        "KAFKA-14884 (a verification that was overtaken by the marker)",
        ["answers", "fencing", "upserts"],
        { wrong.transactions.verifies_once = true }
    ),
    defect!(
        "late-end-txn",
        "a late EndTxn of an earlier transaction ends the one that is open now, also over TV2",
        "KAFKA-17754 (Jepsen's Bufstream 0.1.0, section 5.4)",
        ["isolation", "atomicity"],
        { wrong.transactions.accepts_late_end = true }
    ),
    defect!(
        "early-end-txn",
        "an EndTxn of an epoch that was never given out ends the transaction that is open",
        "KAFKA-9600",
        ["answers"],
        { wrong.transactions.accepts_early_end = true }
    ),
    defect!(
        "begin-while-completing",
        "a transaction that begins while the one before is being completed is called done with it, and its records are lost",
        "ydb#52731",
        ["progress", "atomicity", "answers"],
        { wrong.transactions.begins_early = true }
    ),
    defect!(
        "end-retry-refused",
        "EndTxn, sent again while the transaction is being completed, is refused for good",
        "ydb#52530; redpanda#17921",
        ["resend"],
        { wrong.transactions.refuses_end_again = true }
    ),
    defect!(
        "empty-commit-refused",
        "a transaction that no record was written in cannot be committed",
        "ydb#51053; librdkafka CHANGELOG.md",
        ["answers", "resend"],
        { wrong.transactions.refuses_empty_commits = true }
    ),
    defect!(
        "torn-commit",
        "a commit reaches only the first partition, the others are aborted",
        "torn transactions in Jepsen's Bufstream 0.1.0",
        ["atomicity"],
        { wrong.transactions.tears_commits = true }
    ),
    defect!(
        "fenced-transaction-stuck",
        "the transaction of a fenced instance never completes",
        "redpanda#5543; the class of KAFKA-9749",
        ["progress"],
        { wrong.transactions.forgets_fenced_markers = true }
    ),
    defect!(
        "marker-repeated",
        "every marker is written once more some time later, and ends the transaction that is open by then",
        "KAFKA-10080, KAFKA-16352",
        ["isolation", "atomicity", "answers"],
        { wrong.transactions.repeats_markers = true }
    ),
    defect!(
        "markers-lost-on-restart",
        "markers that cannot be written because of a restart are not tried again, so the transaction never completes",
        "KAFKA-9749, KAFKA-5610; redpanda#5543",
        ["progress"],
        { wrong.transactions.forgets_markers_on_restart = true }
    ),
    defect!(
        "marker-retry-refused",
        "a marker that is sent again after a restart is refused where it stands already, so the transaction never completes",
        "KAFKA-19999",
        ["progress"],
        { wrong.transactions.refuses_markers_again = true }
    ),
    defect!(
        "open-lost-on-restart",
        "a restart forgets which partitions open transactions have, and ends them without those",
        "redpanda#6018, redpanda#6019",
        ["progress", "atomicity"],
        { wrong.transactions.forgets_open_on_restart = true }
    ),
    defect!(
        "outcome-flips-on-restart",
        "a restart aborts transactions whose commit was answered and whose markers are still to be written",
        "the class of pulsar#20150",
        ["atomicity", "no-loss"],
        { wrong.transactions.flips_on_restart = true }
    ),
];
