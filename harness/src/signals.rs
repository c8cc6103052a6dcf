//! Ctrl-C once: stop, clean up, report. Twice: abort. `SIGTERM`, which CI systems send, counts as Ctrl-C.

use onceness::stop::Stop;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::terminal::tell;

/// What shells report for a process that Ctrl-C ended.
const ABORTED: i32 = 130;

/// Listens in the background.
pub(crate) fn listen(stop: &Stop) {
    listen_for(stop, "stopping: running cases end, then the target is cleaned up");
}

/// The same, for a command that has something else to do before it ends.
pub(crate) fn listen_for(stop: &Stop, what: &'static str) {
    let stop = stop.clone();
    let (interrupt, terminate) = (signal(SignalKind::interrupt()), signal(SignalKind::terminate()));
    // Where no signals can be had, the system's own handling stays: the process just ends.
    if let (Ok(interrupt), Ok(terminate)) = (interrupt, terminate) {
        tokio::spawn(wait(stop, what, interrupt, terminate));
    }
}

async fn wait(stop: Stop, what: &str, mut interrupt: Signal, mut terminate: Signal) {
    loop {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        if stop.asked() {
            std::process::exit(ABORTED);
        }
        tell(&format!("{what}; once more to abort"));
        stop.ask();
    }
}
