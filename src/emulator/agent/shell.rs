//! Sessions on a terminal: Standard_Stream and InteractiveCommands.
//!
//! ```text
//!   arrivals ─▶ data, as it is      ─▶ ┌─────┐
//!               size, to 16 bits    ─▶ │ pty │ sh, or sh -c '<commands>'
//!   wire     ◀─ utf8 ◀─ from 1 s on ◀─ └─────┘
//! ```
//!
//! There is no exit status and no end of input. A program that does not read blocks the writes to its terminal, and with
//! them everything that the client sends. Whoever ends the session kills the direct child; the kernel hangs up the
//! foreground process group when the terminal goes.

use std::ffi::OsString;

use bytes::{Bytes, BytesMut};
use futures_util::FutureExt as _;
use pty_process::{OwnedWritePty, Size};
use tokio::io::AsyncWriteExt as _;

use super::document::{Kind, ShellProperties};
use super::lexer;
use super::outcome::{SessionEnd, TaskOutcome};
use super::process::{Launch, Process};
use super::pump::pump_text;
use super::running::Running;
use super::user::Account;
use super::wire::{Arrival, Arrivals};

/// Runs the session's program on a terminal until either of them ends.
pub(super) async fn run(running: &Running<'_>, properties: &ShellProperties, arrivals: Arrivals) -> SessionEnd {
    let (config, manner) = (&running.context.config, &running.context.manner);
    let words = match words(running, properties) {
        Ok(words) if words.is_empty() => return SessionEnd::Crash,
        words => words,
    };
    let started = async {
        let account = Account::choose(config, running.task.run_as.as_deref(), properties.elevated).await?;
        let launch = Launch { config, account: &account, words: words? };
        launch.on_terminal().map_err(|error| format!("Failed to start pty: {error}\n"))
    };
    let (process, pty) = match started.await {
        Ok(started) => started,
        Err(error) => {
            tokio::time::sleep(manner.build_failure_delay).await;
            return TaskOutcome::failed(format!("Unable to start command: {error}\n")).into();
        }
    };
    let (reader, mut writer) = pty.into_split();
    running.wire.ready();

    let output = async {
        tokio::time::sleep(manner.terminal_delay).await;
        pump_text(reader, running.wire, manner).await
    };
    let profile = &running.task.shell_profile;
    let input = async {
        if running.task.kind == Kind::StandardStream && !profile.trim().is_empty() {
            let _ = writer.write_all(format!("{profile}\n").as_bytes()).await;
        }
        type_in(&mut writer, arrivals).await
    };
    let ended_itself = tokio::select! {
        _ = output => true,
        () = running.cancel.cancelled() => false,
        never = input => match never {},
    };
    if ended_itself {
        running.wire.drain().await;
        running.wire.terminating();
    } else {
        process.kill().await;
    }
    drop(writer);
    reap(&process, running).await;
    TaskOutcome::SUCCESS.into()
}

/// What the program is; nothing at all if a command line is only a comment.
fn words(running: &Running<'_>, properties: &ShellProperties) -> Result<Vec<OsString>, String> {
    if running.task.kind == Kind::StandardStream {
        return Ok(vec!["sh".into()]);
    }
    if !running.context.config.container_mode {
        return Ok(vec!["sh".into(), "-c".into(), properties.commands.clone().into()]);
    }
    match lexer::split(&properties.commands) {
        Ok(words) => Ok(words.into_iter().map(OsString::from).collect()),
        Err(error) => Err(format!("Failed to parse commands input: {error}\n")),
    }
}

/// Types what arrives. Never ends: input that nobody can take any more is dropped, and its end is not told.
async fn type_in(writer: &mut OwnedWritePty, mut arrivals: Arrivals) -> std::convert::Infallible {
    let mut held = None;
    while let Some(arrival) = next(&mut held, &mut arrivals).await {
        match arrival {
            Arrival::Data(bytes) => {
                let bytes = gather(bytes, &mut arrivals, &mut held);
                if let Err(error) = writer.write_all(&bytes).await {
                    tracing::debug!("the terminal takes no more input: {error}");
                    break;
                }
            }
            Arrival::Size(size) => {
                let cell = |cells: u32| (cells & 0xFFFF) as u16;
                if let Err(error) = writer.resize(Size::new(cell(size.rows), cell(size.cols))) {
                    tracing::debug!("the terminal cannot be resized: {error}");
                }
            }
            Arrival::Flag(_) => {}
        }
    }
    std::future::pending().await
}

async fn next(held: &mut Option<Arrival>, arrivals: &mut Arrivals) -> Option<Arrival> {
    match held.take() {
        Some(arrival) => Some(arrival),
        None => arrivals.recv().await,
    }
}

/// Adds the data that is here already: a terminal's reader is woken for every write. What is no data is held for the
/// next turn.
fn gather(first: Bytes, arrivals: &mut Arrivals, held: &mut Option<Arrival>) -> Bytes {
    let mut all = BytesMut::from(first);
    while all.len() < TERMINAL_WRITE {
        match arrivals.recv().now_or_never().flatten() {
            Some(Arrival::Data(more)) => all.extend_from_slice(&more),
            other => {
                *held = other;
                break;
            }
        }
    }
    all.freeze()
}

/// About what Linux takes at once for a terminal whose program reads.
const TERMINAL_WRITE: usize = 8192;

/// The program may have closed its terminal and live on: then only the service ends the session.
async fn reap(process: &Process, running: &Running<'_>) {
    tokio::select! {
        _ = process.wait() => {}
        () = running.cancel.cancelled() => {
            process.kill().await;
            process.wait().await;
        }
    }
}
