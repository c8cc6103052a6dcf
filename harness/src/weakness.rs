//! Weaknesses of the protocol itself that are known by name. A broker that follows the protocol has them.

/// One of them.
#[derive(Clone, Copy, Debug)]
pub struct Weakness {
    /// Its name in the tracker of the project that found it.
    pub id: &'static str,
    /// What happens, in a sentence or two.
    pub explanation: &'static str,
}

/// All of them.
pub const WEAKNESSES: &[Weakness] = &[Weakness {
    id: "KAFKA-17754",
    explanation: "a late EndTxn of an earlier transaction ends the one that is open now",
}];

/// The weakness of that name.
pub fn find(id: &str) -> Option<&'static Weakness> {
    WEAKNESSES.iter().find(|weakness| weakness.id == id)
}
