//! `serve`: the reference broker on a port, right or with one seeded defect.

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use onceness::Exit;
use onceness::stop::Stop;
use onceness_adapters::serve::Server;
use onceness_reference::defects::Defect;
use onceness_reference::rules::Rules;
use tokio::signal::unix::{SignalKind, signal};

use super::{Refusal, complete, inconclusive, usage};
use crate::cli::ServeArgs;
use crate::signals;
use crate::terminal::{print, tell};

pub(crate) fn serve(args: &ServeArgs) -> Result<Exit, Refusal> {
    allow_many_connections();
    complete(async {
        let rules = args.defect.map_or_else(Rules::default, Defect::rules);
        let server = match &args.journal {
            None => Server::listen(rules, &args.listen).await,
            Some(path) => Server::listen_with_journal(rules, &args.listen, path).await,
        };
        let server = server.map_err(usage)?;
        let mut kill = signal(SignalKind::user_defined1())
            .map_err(|error| inconclusive(format!("failed to listen for SIGUSR1: {error}")))?;
        // Before it is told where to come: whoever knows that may send a signal.
        let stop = Stop::default();
        signals::listen_for(&stop, "stopping");
        let what = match args.defect {
            None => "a broker that is right".to_owned(),
            Some(defect) => format!("a broker in which {}", defect.summary),
        };
        print(&format!("listening on {} as {what}\n", server.address()));
        tell("give that address to your clients as bootstrap.servers; Ctrl-C ends it");
        loop {
            tokio::select! {
                () = stop.wait() => return Ok(Exit::Holds),
                why = server.failed() => return Err(inconclusive(why)),
                _ = kill.recv() => {
                    server.restart();
                    print("restarted\n");
                }
            }
        }
    })
}

/// Each connection is an open file, of which shells allow a thousand unless a program asks for more.
fn allow_many_connections() {
    if let Ok((_, most)) = getrlimit(Resource::RLIMIT_NOFILE) {
        // Where that is not allowed, those that are too many wait.
        let _ = setrlimit(Resource::RLIMIT_NOFILE, most, most);
    }
}
