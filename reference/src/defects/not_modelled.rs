//! Bugs of real brokers that the zoo has no copy of, and why: mostly because the model is one node.

/// A bug that no defect copies.
#[derive(Debug)]
pub struct NotModelled {
    /// What a defect of it would be called.
    pub name: &'static str,
    /// What the broker does wrong.
    pub summary: &'static str,
    /// The real bug.
    pub source: &'static str,
    /// Why there is none.
    pub reason: &'static str,
}

/// All of them.
pub const NOT_MODELLED: &[NotModelled] = &[
    NotModelled {
        name: "ack-before-replication",
        summary: "a batch is acknowledged before all replicas in sync have it",
        source: "redpanda#6018",
        reason: "the model is one node; its like there is ack-before-durable",
    },
    NotModelled {
        name: "duplicate-acked-before-replication",
        summary: "a resent batch is acknowledged before all replicas in sync have the first",
        source: "inferred from ReplicaManager.scala:961",
        reason: "the model is one node, where what is in the log is replicated",
    },
    NotModelled {
        name: "dedup-lost-on-new-leader",
        summary: "a new leader does not know what producers have sent",
        source: "automq#437",
        reason: "the model is one node; its like there is dedup-lost-on-restart",
    },
    NotModelled {
        name: "high-watermark-goes-back",
        summary: "after two changes of leader the same offset holds another record",
        source: "KIP-101, KIP-279, KIP-320",
        reason: "the model is one node; its like there is offsets-reused",
    },
    NotModelled {
        name: "marker-before-high-watermark",
        summary: "the outcome of a transaction is shown before all replicas in sync have its marker",
        source: "apache/kafka pull request 2910",
        reason: "the model is one node, where what is in the log is replicated",
    },
    NotModelled {
        name: "waiting-fetch-lists-no-aborted",
        summary: "a fetch that had to wait does not tell which transactions were aborted",
        source: "KAFKA-5376",
        reason: "fetches of the model never wait; its like is aborted-list-empty",
    },
    NotModelled {
        name: "session-on-full-fetch",
        summary: "a fetch for everything is answered with what is new to its session only",
        source: "franz-go#1222",
        reason: "fetches of the model have no sessions",
    },
    NotModelled {
        name: "completion-waits-for-others",
        summary: "a transaction is completed only when those are that overlap with it",
        source: "Tansu/Nisshi dynostore.rs:2559",
        reason: "it breaks no promise but progress, and goes on when the others have ended",
    },
    NotModelled {
        name: "abort-while-completing-fences",
        summary: "an abort right after a commit over TV2 fences its own producer",
        source: "KAFKA-18464",
        reason: "a correct broker may do so: it looks at the epoch before it looks whether it must wait",
    },
    NotModelled {
        name: "indeterminate-taken-for-failed",
        summary: "a request whose outcome is unknown is taken for one that did nothing",
        source: "the codes 7 and 20 of Errors.java",
        reason: "a mistake of a judge, not of a broker",
    },
];
