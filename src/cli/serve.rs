//! `portcullis serve`: the gateway itself.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use tokio::signal::unix::Signal;
use tokio::time::timeout;

use super::args::ServeArgs;
use super::exit::Failure;
use super::failure::{app_failure, config_failure};
use super::realm;
use super::runtime::{Ending, next, patiently};
use crate::app::{self, App};
use crate::config::{Loaded, Trust};
use crate::evidence::EventLog;

/// How long open channels may go on after SIGTERM.
const DRAIN: Duration = Duration::from_secs(20);
/// When the event log is opened again after it could not be.
const REOPEN_AGAIN: Duration = Duration::from_secs(5);

pub(super) async fn run(args: &ServeArgs) -> Result<(), Failure> {
    // first of all: until somebody listens, a SIGHUP ends the process
    let (mut ending, hangup) = Ending::of_service()?;
    let file = &args.config.config;
    let loaded = app::read(file, Trust::Ours, &args.config.overrides)
        .map_err(|error| config_failure(file, &error, "; the gateway was not started"))?;
    let Loaded { config, warnings } = loaded;
    for warning in warnings {
        tracing::warn!(help = warning.help, "{warning}");
    }
    let backend = Arc::new(patiently("reading the AWS configuration", realm::backend(&config, None)).await?);
    let app = App::start(&config, backend.clone(), backend, DRAIN).await.map_err(|error| app_failure(&error))?;
    for address in app.addresses() {
        tracing::info!(%address, "ready");
    }
    let log = app.event_log();
    tokio::select! {
        () = app.run(ending.asked()) => Ok(()),
        never = reopen_when_told(&log, hangup) => match never {},
    }
}

/// Opens the event log anew at each SIGHUP. Where that can't be done yet it tries until it can, or the log would grow in
/// a file that is about to be compressed and deleted.
async fn reopen_when_told(log: &EventLog, mut hangup: Option<Signal>) -> Infallible {
    loop {
        next(&mut hangup).await;
        while let Err(error) = log.reopen().await {
            tracing::error!(%error, "the event log goes on where it was, until a new one can be opened");
            // or sooner, if told again
            let _ = timeout(REOPEN_AGAIN, next(&mut hangup)).await;
        }
        tracing::info!("the event log was opened again");
    }
}
