//! The wish to stop: asked once, seen by everything that runs long.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::Notify;

/// A wish to stop early, shared by clones. Whatever runs finishes what it has begun, cleans up and reports what was done.
#[derive(Clone, Debug, Default)]
pub struct Stop {
    inner: Arc<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    asked: AtomicBool,
    bell: Notify,
}

impl Stop {
    /// Asks to stop.
    pub fn ask(&self) {
        self.inner.asked.store(true, Ordering::SeqCst);
        self.inner.bell.notify_waiters();
    }

    /// Whether somebody asked.
    pub fn asked(&self) -> bool {
        self.inner.asked.load(Ordering::SeqCst)
    }

    /// Waits until somebody asks.
    pub async fn wait(&self) {
        loop {
            // Registered before the flag is read, or a wish between the two would be missed.
            let bell = self.inner.bell.notified();
            tokio::pin!(bell);
            bell.as_mut().enable();
            if self.asked() {
                return;
            }
            bell.await;
        }
    }
}
