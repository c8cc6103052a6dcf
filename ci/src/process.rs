//! Child processes that end when we do, and the wish to stop.

use std::fmt;
use std::io;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, ExitCode, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Context;
use nix::sys::signal::Signal;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

use crate::undertaker::{Mortal, Undertaker};

/// How often a waiting loop looks again.
pub(crate) const POLL: Duration = Duration::from_millis(10);

/// How long a child may take to wind up after a signal, before it is killed.
const GRACE: Duration = Duration::from_secs(5);

/// The last signal that asked this process to stop.
#[derive(Clone)]
pub(crate) struct Interrupt(Arc<AtomicUsize>);

impl Interrupt {
    /// Catches SIGINT, SIGTERM and SIGHUP from now on.
    pub(crate) fn listen() -> anyhow::Result<Interrupt> {
        let received = Arc::new(AtomicUsize::new(0));
        for signal in [SIGINT, SIGTERM, SIGHUP] {
            signal_hook::flag::register_usize(signal, Arc::clone(&received), signal as usize)
                .with_context(|| format!("failed to catch signal {signal}"))?;
        }
        Ok(Interrupt(received))
    }

    /// An error once a signal has come.
    pub(crate) fn check(&self) -> Result<(), Interrupted> {
        match self.0.load(Ordering::Relaxed) {
            0 => Ok(()),
            signal => Err(Interrupted { signal: signal as i32 }),
        }
    }
}

/// A signal asked us to stop.
#[derive(Debug)]
pub(crate) struct Interrupted {
    signal: i32,
}

impl Interrupted {
    /// What a shell reports for a program ended by this signal.
    pub(crate) fn exit_code(&self) -> ExitCode {
        ExitCode::from(128 + self.signal as u8)
    }
}

impl fmt::Display for Interrupted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "interrupted by signal {}", self.signal)
    }
}

impl std::error::Error for Interrupted {}

/// A running child. Dropping it kills it and waits until it is gone.
pub(crate) struct Process<'a> {
    child: Child,
    mortal: Mortal,
    undertaker: &'a Undertaker,
    status: Option<ExitStatus>,
}

impl<'a> Process<'a> {
    /// Starts a command in the background: in a process group of its own, which ends as a whole, and without input.
    pub(crate) fn background(
        command: &Command,
        undertaker: &'a Undertaker,
        out: Output,
    ) -> anyhow::Result<Process<'a>> {
        let mut child = gated(command, out)?
            .process_group(0)
            .spawn()
            .with_context(|| format!("failed to start {}", program(command)))?;
        let mortal = Mortal::Group(child.id() as i32);
        let go = child.stdin.take();
        let process = Process { child, mortal, undertaker, status: None };
        undertaker.register(&process.mortal)?;
        if let Some(mut go) = go {
            io::Write::write_all(&mut go, b"go\n")
                .with_context(|| format!("failed to start {}", program(command)))?;
        }
        Ok(process)
    }

    /// Starts a command in the foreground: it owns the terminal, and the terminal's Ctrl-C reaches it directly.
    pub(crate) fn foreground(
        command: &mut Command,
        undertaker: &'a Undertaker,
    ) -> anyhow::Result<Process<'a>> {
        let child =
            command.spawn().with_context(|| format!("failed to start {}", program(command)))?;
        let mortal = Mortal::Process(child.id() as i32);
        let process = Process { child, mortal, undertaker, status: None };
        undertaker.register(&process.mortal)?;
        Ok(process)
    }

    /// What the child writes, if it was started with [`Output::Piped`].
    pub(crate) fn take_stdout(&mut self) -> Option<std::process::ChildStdout> {
        self.child.stdout.take()
    }

    /// The exit status, if the child has ended.
    pub(crate) fn ended(&mut self) -> anyhow::Result<Option<ExitStatus>> {
        if self.status.is_none() {
            self.status = self.child.try_wait().context("failed to wait for a child")?;
        }
        Ok(self.status)
    }

    /// Waits for the end. After a signal to us the child is asked to stop, and has a few seconds to do so.
    ///
    /// A foreground child that stops tells its own exit status, whoever asked it to; anything else that we had to stop
    /// did not do its work, which is an error.
    pub(crate) fn wait(&mut self) -> anyhow::Result<ExitStatus> {
        while self.ended()?.is_none() {
            if let Err(interrupted) = self.undertaker.interrupt.check() {
                self.wind_up(&interrupted)?;
                break;
            }
            thread::sleep(POLL);
        }
        let interrupted = self.undertaker.interrupt.check();
        match (self.status, interrupted) {
            (Some(status), Ok(())) => Ok(status),
            (Some(status), Err(_)) if self.is_foreground() => Ok(status),
            (_, Err(interrupted)) => Err(interrupted.into()),
            (None, Ok(())) => unreachable!("only an interrupt ends the loop before the child"),
        }
    }

    /// Sends SIGTERM and waits at most `patience`.
    pub(crate) fn terminate(&mut self, patience: Duration) -> anyhow::Result<Option<ExitStatus>> {
        self.mortal.signal(Signal::SIGTERM);
        self.ended_within(patience)
    }

    fn wind_up(&mut self, interrupted: &Interrupted) -> anyhow::Result<()> {
        // Ctrl-C has reached a foreground child already; a second SIGINT often means "at once", so SIGTERM only if it lingers.
        let from_terminal = interrupted.signal != SIGTERM && self.is_foreground();
        if from_terminal && self.ended_within(GRACE)?.is_some() {
            return Ok(());
        }
        self.terminate(GRACE).map(drop)
    }

    fn is_foreground(&self) -> bool {
        matches!(self.mortal, Mortal::Process(_))
    }

    fn ended_within(&mut self, patience: Duration) -> anyhow::Result<Option<ExitStatus>> {
        let started = Instant::now();
        while self.ended()?.is_none() && started.elapsed() < patience {
            thread::sleep(POLL);
        }
        self.ended()
    }
}

impl Drop for Process<'_> {
    fn drop(&mut self) {
        // A group may outlive its leader; a single process that was waited for is gone, and its number may be reused.
        if self.status.is_none() || matches!(self.mortal, Mortal::Group(_)) {
            self.mortal.signal(Signal::SIGKILL);
        }
        if self.status.is_none() {
            let _ = self.child.wait();
        }
        self.undertaker.forget(&self.mortal);
    }
}

/// Where the output of a background child goes.
pub(crate) enum Output {
    /// To our own.
    Inherited,
    /// Standard output to a pipe, errors to our own.
    Piped,
    /// Both to a file.
    File(std::fs::File),
}

/// The command behind a shell that waits for a line: killed between our `spawn` and the undertaker's notice, we leave
/// a shell that sees its input end and exits, not a broker.
fn gated(command: &Command, out: Output) -> anyhow::Result<Command> {
    let mut shell = Command::new("sh");
    shell
        .args(["-c", "read -r go && exec \"$@\" </dev/null", "sh"])
        .arg(command.get_program())
        .args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => shell.env(name, value),
            None => shell.env_remove(name),
        };
    }
    if let Some(folder) = command.get_current_dir() {
        shell.current_dir(folder);
    }
    shell.stdin(Stdio::piped());
    match out {
        Output::Inherited => {}
        Output::Piped => {
            shell.stdout(Stdio::piped());
        }
        Output::File(file) => {
            let copy = file.try_clone().context("failed to share a log file")?;
            shell.stdout(file).stderr(copy);
        }
    }
    Ok(shell)
}

fn program(command: &Command) -> String {
    command.get_program().to_string_lossy().into_owned()
}

/// The exit code a shell would report.
pub(crate) fn exit_code(status: ExitStatus) -> u8 {
    let code = status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0));
    u8::try_from(code).unwrap_or(1)
}
