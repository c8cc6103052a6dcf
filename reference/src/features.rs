//! What a target, driven in a certain way, can do. Plans are drawn from what it can; a claim that needs more is unsupported.

use crate::plan::Fault;

/// What a target can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Features {
    /// Transactions by the protocol before KIP-890 part 2.
    pub tv1: bool,
    /// Transactions by the protocol of KIP-890 part 2.
    pub tv2: bool,
    /// Requests can be lost, repeated, held and put off.
    pub fates: bool,
    /// The broker can be killed between rounds and started again.
    pub restart: bool,
    /// The broker can be killed while requests are under way, and started again.
    pub kill: bool,
    /// The broker can be stopped for a while.
    pub pause: bool,
    /// Faults of the broker take seconds: a plan gets few of them.
    pub dear: bool,
    /// Consumers can be members of their group, and so be fenced.
    pub members: bool,
    /// Consumers can share the inputs of their group, and stall until they are expelled from it.
    pub shared: bool,
    /// Clients can send requests that no client library sends.
    pub forging: bool,
}

impl Features {
    /// Nothing but the plainest producing and consuming.
    pub const NONE: Features = Features {
        tv1: false,
        tv2: false,
        fates: false,
        restart: false,
        kill: false,
        pause: false,
        dear: false,
        members: false,
        shared: false,
        forging: false,
    };

    /// Everything, and cheaply.
    pub const ALL: Features = Features {
        tv1: true,
        tv2: true,
        fates: true,
        restart: true,
        kill: true,
        pause: true,
        dear: false,
        members: true,
        shared: true,
        forging: true,
    };

    /// What the embedded broker can do: all but pauses, for it has no clock, and groups that share.
    pub const EMBEDDED: Features = Features { pause: false, shared: false, ..Features::ALL };

    /// Whether the broker can be struck so.
    pub fn can(self, fault: Fault) -> bool {
        match fault {
            Fault::Restart => self.restart,
            Fault::Kill => self.kill,
            Fault::Pause => self.pause,
        }
    }

    /// Whether transactions can be had at all.
    pub fn transactions(self) -> bool {
        self.tv1 || self.tv2
    }
}
