//! `proxy`: stands between somebody's application and a cluster, and deals out fates.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use onceness::Exit;
use onceness::faults::{Faults, Follower, Shown};
use onceness::report::requests;
use onceness::stop::Stop;
use onceness_adapters::proxy::{CopyNumber, HeldId, Proxy};
use tokio::sync::mpsc;

use super::certify::random_seed;
use super::{Refusal, complete, usage};
use crate::cli::ProxyArgs;
use crate::signals;
use crate::terminal::{print, tell};

/// So many lines may wait for a slow reader; more are left out, and counted.
const LINES_WAITING_MAX: usize = 10_000;

pub(crate) fn proxy(args: ProxyArgs) -> Result<Exit, Refusal> {
    let faults = match &args.plan {
        Some(path) => Faults::read(path).map_err(usage)?,
        None => Faults::default(),
    };
    let seed = args.seed.unwrap_or_else(random_seed);
    complete(serve(args, faults, seed))
}

/// What the owner of the proxy hands over to whoever prints and releases.
enum Handed {
    Line(String),
    Held(HeldId, Duration),
}

async fn serve(args: ProxyArgs, faults: Faults, seed: u64) -> Result<Exit, Refusal> {
    let started = Instant::now();
    let (hand, mut handed) = mpsc::channel(LINES_WAITING_MAX);
    let left_out = Arc::new(AtomicU64::new(0));
    let counts_left_out = left_out.clone();
    let follower = Follower::new(faults, seed, args.verbose, move |shown| {
        let line = Handed::Line(requests::line(started.elapsed(), shown));
        if hand.try_send(line).is_err() {
            counts_left_out.fetch_add(1, Ordering::Relaxed);
        }
        if let Some((held, hold)) = to_be_released(shown) {
            // A lost release shows in the summary: the request never arrived.
            let _ = hand.try_send(Handed::Held(held, hold));
        }
    });
    let follower = Arc::new(follower);
    let proxy = Proxy::listen(&args.to.0, &args.listen, follower.clone()).await.map_err(usage)?;
    let proxy = Arc::new(proxy);
    print(&format!("listening on {} for {}\n", proxy.address(), args.to.0.join(",")));
    tell(&format!(
        "seed {seed}; give that address to your clients as bootstrap.servers; Ctrl-C ends it"
    ));
    let stop = Stop::default();
    signals::listen_for(&stop, "stopping");
    loop {
        tokio::select! {
            biased;
            () = stop.wait() => break,
            Some(one) = handed.recv() => match one {
                Handed::Line(line) => print(&line),
                Handed::Held(held, hold) => {
                    let proxy = proxy.clone();
                    tokio::spawn(async move {
                        tokio::time::sleep(hold).await;
                        proxy.release(held).await;
                    });
                }
            },
        }
    }
    while let Ok(Handed::Line(line)) = handed.try_recv() {
        print(&line);
    }
    let held = proxy.held().len() as u64;
    print(&requests::summary(follower.faults(), &follower.counts(), held));
    match left_out.load(Ordering::Relaxed) {
        0 => {}
        lines => tell(&format!("{lines} lines were left out: standard output is slow")),
    }
    Ok(Exit::Holds)
}

fn to_be_released(shown: Shown<'_>) -> Option<(HeldId, Duration)> {
    match shown {
        Shown::Exchange(exchange, rule) if exchange.copy == CopyNumber::First => {
            Some((exchange.held?, rule?.hold?))
        }
        _ => None,
    }
}
