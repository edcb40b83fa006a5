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

use super::context::Context;
use super::document::{Kind, PortProperties, ShellProperties, Task};
use super::outcome::{SessionEnd, TaskOutcome};
use super::running::Running;
use super::wire::{Arrivals, Opening, Wire};
use super::{command, port, shell};

/// Runs a session to its end.
pub(super) async fn run(context: Arc<Context>, task: Task, cancel: CancellationToken) -> TaskOutcome {
    if let Kind::Unknown(name) = &task.kind {
        return TaskOutcome::failed(format!("Plugin with name {name} not found"));
    }
    if !task.kms_key.is_empty() && task.kind != Kind::Port {
        // nothing is sent in the clear where encryption was asked for
        return TaskOutcome::failed(
            "the embedded agent cannot encrypt sessions; take kmsKeyId out of the session document",
        );
    }
    let opening = match opening(&task, &cancel) {
        Ok(opening) => opening,
        Err(why) => return TaskOutcome::failed(why),
    };
    let opened = tokio::select! {
        opened = Wire::open(&context, opening) => opened,
        () = cancel.cancelled() => return TaskOutcome::SUCCESS,
    };
    let (wire, arrivals) = match opened {
        Ok(opened) => opened,
        Err(error) => {
            let id = &task.session_id;
            return TaskOutcome::failed(format!("Setting up data channel with id {id} failed: {error}"));
        }
    };
    match serve(&context, &task, &wire, arrivals, &cancel).await {
        SessionEnd::Outcome(outcome) => {
            wire.drain().await;
            match wire.fault() {
                Some(fault) if outcome == TaskOutcome::SUCCESS => TaskOutcome::failed(fault),
                _ => outcome,
            }
        }
        SessionEnd::Crash => {
            drop(wire);
            tokio::select! {
                () = tokio::time::sleep(context.manner.crash_delay) => {}
                () = cancel.cancelled() => tokio::time::sleep(Duration::ZERO).await,
            }
            TaskOutcome::failed(
                "document process failed unexpectedly, check [ssm-document-worker] log for crash reason",
            )
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
    mut arrivals: Arrivals,
    cancel: &CancellationToken,
) -> SessionEnd {
    let established = tokio::select! {
        established = arrivals.established() => established,
        () = cancel.cancelled() => match wire.fault() {
            Some(fault) => Err(fault),
            None => return TaskOutcome::SUCCESS.into(),
        },
    };
    let client_version = match established {
        Ok(version) => version,
        Err(why) if why.starts_with(HANDSHAKE) => return TaskOutcome::failed(why).into(),
        Err(why) => return TaskOutcome::failed(format!("{HANDSHAKE}. {why}")).into(),
    };
    let running = Running { context, task, wire, cancel, client_version };
    match task.kind {
        Kind::Port => match PortProperties::new(&task.properties) {
            Ok(properties) => port::run(&running, properties, arrivals).await,
            Err(why) => TaskOutcome::failed(why).into(),
        },
        Kind::StandardStream => shell::run(&running, &ShellProperties::default(), arrivals).await,
        _ => match ShellProperties::new(&task.properties) {
            Ok(properties) if properties.commands.trim().is_empty() => {
                let name = task.kind.name();
                TaskOutcome::failed(format!("Commands cannot be empty for session type {name}")).into()
            }
            Ok(properties) if task.kind == Kind::InteractiveCommands => {
                shell::run(&running, &properties, arrivals).await
            }
            Ok(properties) => command::run(&running, &properties, arrivals).await,
            Err(why) => TaskOutcome::failed(why).into(),
        },
    }
}

const HANDSHAKE: &str = "Encountered error while initiating handshake";
