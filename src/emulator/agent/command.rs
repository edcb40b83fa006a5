//! NonInteractiveCommands: a command without a terminal, split by the agent and not by a shell, with no stdin.
//!
//! ```text
//!   separate streams   stdout ─▶ pipe ─▶ utf8 ─▶ type 1       live; then type 12 with the exit code
//!                      stderr ─▶ pipe ─▶ utf8 ─▶ type 11
//!   else               both ─▶ file, and after the end: ─▶ utf8 ─▶ type 1; the exit code is told to nobody
//! ```
//!
//! A pause of publication kills a separate stream for good: its pipe is neither read nor closed any more. An exit code
//! may still follow, and it is true, although output is missing.

use std::ffi::OsString;
use std::path::PathBuf;

use portcullis_protocol::PayloadType;
use portcullis_protocol::payload::ExitCode;
use rustix::process::Signal;
use tokio::process::{ChildStderr, ChildStdout};
use tokio_util::sync::CancellationToken;

use super::document::ShellProperties;
use super::lexer;
use super::outcome::{SessionEnd, TaskOutcome};
use super::process::{Launch, Output, Process, WorkerGroup};
use super::pump::{PipeEnd, pump_pipe, pump_text};
use super::running::Running;
use super::user::Account;
use super::wire::{Arrival, Arrivals};

/// Runs the command to its end.
pub(super) async fn run(running: &Running<'_>, properties: &ShellProperties, arrivals: Arrivals) -> SessionEnd {
    let (config, manner) = (&running.context.config, &running.context.manner);
    if properties.separate_streams
        && let Err(why) = properties.check_prefixes()
    {
        return TaskOutcome::failed(why).into();
    }
    let built = async {
        let words =
            lexer::split(&properties.commands).map_err(|error| format!("Failed to parse commands input: {error}\n"))?;
        let account = Account::choose(config, running.task.run_as.as_deref(), properties.elevated).await?;
        Ok::<_, String>((words, account))
    };
    let (words, account) = match built.await {
        Ok((words, _)) if words.is_empty() => return SessionEnd::Crash,
        Ok(built) => built,
        Err(error) => {
            let error = format!("Unable to start command: {error}\n");
            tokio::time::sleep(manner.build_failure_delay).await;
            tell(running, &error).await;
            return TaskOutcome::failed(error).into();
        }
    };
    let group = match WorkerGroup::start() {
        Ok(group) => group,
        Err(error) => {
            return TaskOutcome::failed(format!("cannot run cat, which holds a command's process group: {error}"))
                .into();
        }
    };
    let words = words.into_iter().map(OsString::from).collect();
    let launch = Launch { config, account: &account, words };
    let outcome = if properties.separate_streams {
        separate(running, properties, &launch, &group, arrivals).await
    } else {
        through_a_file(running, &launch, &group, arrivals).await
    };
    running.wire.drain().await;
    running.wire.terminating();
    outcome.into()
}

/// Two pipes, live.
async fn separate(
    running: &Running<'_>,
    properties: &ShellProperties,
    launch: &Launch<'_>,
    group: &WorkerGroup,
    arrivals: Arrivals,
) -> TaskOutcome {
    let (process, (mut stdout, mut stderr)) = match launch.without_terminal(group, Output::Separate) {
        Ok((process, Some(pipes))) => (process, pipes),
        Ok((_, None)) => return TaskOutcome::failed("the command has no pipes"),
        Err(error) => {
            let _ = running.wire.send(PayloadType::ExitCode, ExitCode(1).encode()).await;
            tell(running, &error).await;
            return TaskOutcome::failed(format!("Error occurred starting the command: {error}\n"));
        }
    };
    let signalled = Signalled::default();
    let run = async {
        let ends = pipes(running, properties, &mut stdout, &mut stderr, &signalled.reaped).await;
        let code = process.wait().await;
        // who sent the signal has waited for the command already, and its status is lost
        (ends, if signalled.sent.is_cancelled() { 1 } else { code })
    };
    let ended = tokio::select! {
        ended = run => Some(ended),
        () = running.cancel.cancelled() => None,
        never = signals(&process, arrivals, &signalled) => match never {},
    };
    let Some((ends, code)) = ended else {
        process.kill().await;
        return TaskOutcome::SUCCESS;
    };
    if !running.wire.is_paused() {
        let _ = running.wire.send(PayloadType::ExitCode, ExitCode(code).encode()).await;
    }
    if ends == [PipeEnd::Eof; 2] { TaskOutcome::SUCCESS } else { TaskOutcome::failed("") }
}

/// Pumps both pipes to their ends. A signalled command's pipes are closed when it is dead, read or not.
async fn pipes(
    running: &Running<'_>,
    properties: &ShellProperties,
    stdout: &mut ChildStdout,
    stderr: &mut ChildStderr,
    reaped: &CancellationToken,
) -> [PipeEnd; 2] {
    let (wire, manner) = (running.wire, &running.context.manner);
    let out = pump_pipe(stdout, PayloadType::Output, &properties.stdout_prefix, wire, manner);
    let err = pump_pipe(stderr, PayloadType::StdErr, &properties.stderr_prefix, wire, manner);
    tokio::join!(until(out, reaped), until(err, reaped)).into()
}

async fn until(pump: impl Future<Output = PipeEnd>, reaped: &CancellationToken) -> PipeEnd {
    tokio::select! {
        end = pump => end,
        () = reaped.cancelled() => PipeEnd::Broken,
    }
}

/// A file, and its contents when the command has ended.
async fn through_a_file(
    running: &Running<'_>,
    launch: &Launch<'_>,
    group: &WorkerGroup,
    arrivals: Arrivals,
) -> TaskOutcome {
    let file = match OutputFile::make(running) {
        Ok(file) => file,
        Err(error) => {
            let error =
                format!("Unable to start command: Failed to open file for writing command output. error: {error}\n");
            tell(running, &error).await;
            return TaskOutcome::failed(error);
        }
    };
    let started = match file.open() {
        Ok(handle) => launch.without_terminal(group, Output::File(handle)),
        Err(error) => Err(error.to_string()),
    };
    let process = match started {
        Ok((process, _)) => process,
        Err(error) => {
            tell(running, &error).await;
            return TaskOutcome::failed(format!("Error occurred starting the command: {error}\n"));
        }
    };
    let unused = Signalled::default();
    tokio::select! {
        _ = process.wait() => {}
        () = running.cancel.cancelled() => process.kill().await,
        never = signals(&process, arrivals, &unused) => match never {},
    }
    // whatever happened, what was written is sent
    match tokio::fs::File::open(&file.path).await {
        Ok(source) => {
            let _ = pump_text(source, running.wire, &running.context.manner).await;
            TaskOutcome::SUCCESS
        }
        Err(error) => TaskOutcome::failed(format!("the output of the command cannot be read: {error}")),
    }
}

/// What has happened since a control character came.
#[derive(Default)]
struct Signalled {
    sent: CancellationToken,
    reaped: CancellationToken,
}

/// Looks for control characters in what arrives; everything else in it is lost. Waits for the command it has
/// signalled, so that nothing more is taken until then.
async fn signals(process: &Process, mut arrivals: Arrivals, signalled: &Signalled) -> std::convert::Infallible {
    while let Some(arrival) = arrivals.recv().await {
        let Arrival::Data(bytes) = arrival else { continue };
        let signal = bytes.iter().find_map(|byte| match byte {
            0x03 => Some(Signal::INT),
            0x1C => Some(Signal::QUIT),
            _ => None,
        });
        if let Some(signal) = signal {
            signalled.sent.cancel();
            process.signal(signal).await;
            process.wait().await;
            signalled.reaped.cancel();
        }
    }
    std::future::pending().await
}

/// An error text for the client, on its standard error.
async fn tell(running: &Running<'_>, error: &str) {
    tokio::time::sleep(running.context.manner.error_delay).await;
    let _ = running.wire.send(PayloadType::StdErr, error.as_bytes().to_vec().into()).await;
}

/// A file of one session, removed with its directory when the session ends.
struct OutputFile {
    directory: PathBuf,
    path: PathBuf,
}

impl OutputFile {
    fn make(running: &Running<'_>) -> std::io::Result<Self> {
        use std::os::unix::fs::DirBuilderExt as _;
        let directory = running.context.config.work_dir.join(&running.task.session_id);
        std::fs::DirBuilder::new().mode(0o700).create(&directory)?;
        let path = directory.join("output");
        Ok(Self { directory, path })
    }

    fn open(&self) -> std::io::Result<std::fs::File> {
        use std::os::unix::fs::OpenOptionsExt as _;
        std::fs::OpenOptions::new().append(true).create(true).mode(0o600).open(&self.path)
    }
}

impl Drop for OutputFile {
    fn drop(&mut self) {
        let removed = std::fs::remove_dir_all(&self.directory);
        if let Err(error) = removed {
            tracing::debug!("{} stays behind: {error}", self.directory.display());
        }
    }
}
