//! The story of one session, from its task to its outcome.
//!
//! ```text
//!   open the data channel ─▶ Connected ─▶ handshake (ports, commands) ─▶ run ─▶ wait for acks ─▶ close ─▶ outcome
//! ```

use std::sync::Arc;
use std::time::Duration;

use portcullis_protocol::payload::SessionType;
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use super::document::{Kind, PortProperties, ShellProperties, Task};
use super::wire::{Arrivals, Opening, Wire};
use super::{Context, command, port, shell};

/// How a session ended, for `agent_task_complete`. A command's own status is not in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Outcome {
    pub(super) failure: Option<String>,
}

impl Outcome {
    pub(super) const SUCCESS: Self = Self { failure: None };

    pub(super) fn failed(why: impl Into<String>) -> Self {
        Self { failure: Some(why.into()) }
    }

    pub(super) fn status(&self) -> &'static str {
        if self.failure.is_some() { "Failed" } else { "Success" }
    }
}

/// What the parts of a running session share.
pub(super) struct Running<'a> {
    pub(super) context: &'a Arc<Context>,
    pub(super) task: &'a Task,
    pub(super) wire: &'a Wire,
    /// The service has closed the session, or the agent stops.
    pub(super) cancel: &'a CancellationToken,
    /// The client's version, if there was a handshake.
    pub(super) client_version: Option<String>,
}

/// How the part that ran the session came to its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum End {
    Outcome(Outcome),
    /// Where the real agent's worker process crashes: the data channel is cut at once, and the outcome comes when
    /// somebody misses the worker.
    Crash,
}

impl From<Outcome> for End {
    fn from(outcome: Outcome) -> Self {
        Self::Outcome(outcome)
    }
}

/// Runs a session to its end.
pub(super) async fn run(context: Arc<Context>, task: Task, cancel: CancellationToken) -> Outcome {
    if let Kind::Unknown(name) = &task.kind {
        return Outcome::failed(format!("Plugin with name {name} not found"));
    }
    if !task.kms_key.is_empty() && task.kind != Kind::Port {
        // nothing is sent in the clear where encryption was asked for
        return Outcome::failed(
            "the embedded agent cannot encrypt sessions; take kmsKeyId out of the session document",
        );
    }
    let opening = match opening(&task, &cancel) {
        Ok(opening) => opening,
        Err(why) => return Outcome::failed(why),
    };
    let opened = tokio::select! {
        opened = Wire::open(&context, opening) => opened,
        () = cancel.cancelled() => return Outcome::SUCCESS,
    };
    let (wire, arrivals) = match opened {
        Ok(opened) => opened,
        Err(error) => {
            let id = &task.session_id;
            return Outcome::failed(format!("Setting up data channel with id {id} failed: {error}"));
        }
    };
    match serve(&context, &task, &wire, arrivals, &cancel).await {
        End::Outcome(outcome) => {
            wire.drain().await;
            match wire.fault() {
                Some(fault) if outcome == Outcome::SUCCESS => Outcome::failed(fault),
                _ => outcome,
            }
        }
        End::Crash => {
            drop(wire);
            tokio::select! {
                () = tokio::time::sleep(context.manner.crash_delay) => {}
                () = cancel.cancelled() => tokio::time::sleep(Duration::ZERO).await,
            }
            Outcome::failed("document process failed unexpectedly, check [ssm-document-worker] log for crash reason")
        }
    }
}

fn opening(task: &Task, cancel: &CancellationToken) -> Result<Opening, String> {
    let handshake = match task.kind {
        Kind::Port => Some(task.properties.clone()),
        Kind::NonInteractiveCommands => Some(Value::Null),
        _ => None,
    };
    let separate_streams =
        task.kind == Kind::NonInteractiveCommands && ShellProperties::new(&task.properties)?.separate_streams;
    Ok(Opening {
        session_id: task.session_id.clone(),
        handshake: handshake.map(|properties| SessionType { name: task.kind.name().to_owned(), properties }),
        separate_streams,
        ready: task.kind == Kind::NonInteractiveCommands,
        cancel: cancel.clone(),
    })
}

async fn serve(
    context: &Arc<Context>,
    task: &Task,
    wire: &Wire,
    arrivals: Arrivals,
    cancel: &CancellationToken,
) -> End {
    let established = tokio::select! {
        established = wire.established() => established,
        () = cancel.cancelled() => match wire.fault() {
            Some(fault) => Err(fault),
            None => return Outcome::SUCCESS.into(),
        },
    };
    let client_version = match established {
        Ok(version) => version,
        Err(why) if why.starts_with(HANDSHAKE) => return Outcome::failed(why).into(),
        Err(why) => return Outcome::failed(format!("{HANDSHAKE}. {why}")).into(),
    };
    let running = Running { context, task, wire, cancel, client_version };
    match task.kind {
        Kind::Port => match PortProperties::new(&task.properties) {
            Ok(properties) => port::run(&running, properties, arrivals).await,
            Err(why) => Outcome::failed(why).into(),
        },
        Kind::StandardStream => shell::run(&running, &ShellProperties::default(), arrivals).await,
        _ => match ShellProperties::new(&task.properties) {
            Ok(properties) if properties.commands.trim().is_empty() => {
                let name = task.kind.name();
                Outcome::failed(format!("Commands cannot be empty for session type {name}")).into()
            }
            Ok(properties) if task.kind == Kind::InteractiveCommands => {
                shell::run(&running, &properties, arrivals).await
            }
            Ok(properties) => command::run(&running, &properties, arrivals).await,
            Err(why) => Outcome::failed(why).into(),
        },
    }
}

const HANDSHAKE: &str = "Encountered error while initiating handshake";
