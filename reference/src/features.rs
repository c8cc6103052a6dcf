//! What a target, driven in a certain way, can do. Plans are drawn from what it can; a claim that needs more is unsupported.

/// What a target can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Features {
    /// Transactions by the protocol before KIP-890 part 2.
    pub tv1: bool,
    /// Transactions by the protocol of KIP-890 part 2.
    pub tv2: bool,
    /// Requests can be lost, repeated, held and put off.
    pub fates: bool,
    /// The broker can be restarted.
    pub restart: bool,
    /// Consumers can be members of their group, and so be fenced.
    pub members: bool,
}

impl Features {
    /// Everything.
    pub const ALL: Features =
        Features { tv1: true, tv2: true, fates: true, restart: true, members: true };

    /// Whether transactions can be had at all.
    pub fn transactions(self) -> bool {
        self.tv1 || self.tv2
    }
}
