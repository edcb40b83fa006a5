//! Running something that lasts: the runtime, the ways to end it, and a word when a step takes long.

use std::future::Future;
use std::io::IsTerminal as _;
use std::pin::pin;
use std::time::Duration;

use tokio::io::AsyncReadExt as _;
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::exit::{Exit, Failure};
use super::output;

/// Runs a future to its end on a new runtime.
pub(super) fn block_on(future: impl Future<Output = Result<(), Failure>>) -> Result<(), Failure> {
    raise_file_limit();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::new(Exit::Failed, format!("the runtime can't start: {error}")))?;
    let result = runtime.block_on(future);
    // a task that will not end must not keep the process
    runtime.shutdown_timeout(Duration::from_secs(2));
    result
}

/// What asks the process to end.
pub(super) struct Ending {
    signals: [Signal; 2],
    /// None where it asks for something else.
    hangup: Option<Signal>,
    until_stdin_closes: bool,
}

impl Ending {
    /// Listens from now on: Ctrl-C, SIGTERM, a closed terminal and, if told so, the end of standard input.
    pub(super) fn new(until_stdin_closes: bool) -> Result<Self, Failure> {
        let signals = [listen(SignalKind::interrupt())?, listen(SignalKind::terminate())?];
        Ok(Self { signals, hangup: Some(listen(SignalKind::hangup())?), until_stdin_closes })
    }

    /// For a service: SIGHUP is handed out instead, to mean what it means to a service. Not where a person runs it on a
    /// terminal, whose closing must still end it.
    pub(super) fn of_service() -> Result<(Self, Option<Signal>), Failure> {
        let mut ending = Self::new(false)?;
        let hangup = if std::io::stdin().is_terminal() { None } else { ending.hangup.take() };
        Ok((ending, hangup))
    }

    /// Waits for the first of them.
    pub(super) async fn asked(&mut self) {
        let until_stdin_closes = self.until_stdin_closes;
        let [interrupt, terminate] = &mut self.signals;
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            () = next(&mut self.hangup) => {}
            () = stdin_closes(), if until_stdin_closes => {}
        }
    }

    /// Waits for the next signal, after the first has been heeded.
    pub(super) async fn again(&mut self) {
        self.until_stdin_closes = false;
        self.asked().await;
    }
}

fn listen(kind: SignalKind) -> Result<Signal, Failure> {
    signal(kind).map_err(|error| Failure::new(Exit::Failed, format!("signals can't be awaited: {error}")))
}

/// The next signal; none ever where there is nothing to wait for.
pub(super) async fn next(signal: &mut Option<Signal>) {
    match signal {
        Some(signal) => drop(signal.recv().await),
        None => std::future::pending().await,
    }
}

async fn stdin_closes() {
    let mut stdin = tokio::io::stdin();
    let mut sink = [0; 256];
    while let Ok(1..) = stdin.read(&mut sink).await {}
}

/// Waits for a step, and says so when it takes more than a second.
pub(super) async fn patiently<T>(what: &str, step: impl Future<Output = T>) -> T {
    let mut step = pin!(step);
    if let Ok(done) = tokio::time::timeout(Duration::from_secs(1), &mut step).await {
        return done;
    }
    output::note(&format!("{what} …"));
    step.await
}

/// Each channel takes several sockets: as many files as this user may have.
fn raise_file_limit() {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    if limit.current != limit.maximum {
        limit.current = limit.maximum;
        // where it can't be raised, what is there must do
        let _ = setrlimit(Resource::Nofile, limit);
    }
}
