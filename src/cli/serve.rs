//! `portcullis serve`: the gateway itself.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::signal::unix::Signal;
use tokio::time::timeout;

use super::args::ServeArgs;
use super::exit::Failure;
use super::failure::{app_failure, config_failure};
use super::realm;
use super::runtime::{Ending, next, patiently};
use crate::app::{self, App, Cause, Reloader};
use crate::backend::aws::AwsBackend;
use crate::config::{Loaded, Trust};
use crate::evidence::EventLog;

/// How long open channels may go on after SIGTERM.
const DRAIN: Duration = Duration::from_secs(20);
/// When Systems Manager is asked again that did not answer, at first; each time twice as long, up to the longest.
const ASK_AGAIN: Duration = Duration::from_secs(2);
const ASK_AGAIN_AT_LAST: Duration = Duration::from_secs(60);
/// How often the configuration's files are looked at: a change is in force after the second look that sees it.
const LOOK: Duration = Duration::from_secs(1);
/// When the event log is opened again after it could not be.
const REOPEN_AGAIN: Duration = Duration::from_secs(5);

pub(super) async fn run(args: &ServeArgs) -> Result<(), Failure> {
    // first of all: until somebody listens, a SIGHUP ends the process
    let (mut ending, hangup) = Ending::of_service()?;
    let file = &args.config.config;
    let loaded = app::read(file, Trust::Ours, &args.config.overrides)
        .map_err(|error| config_failure(file, &error, "; the gateway was not started"))?;
    let Loaded { config, policies, proofs, warnings, unusable } = loaded;
    for warning in warnings {
        tracing::warn!(help = warning.help, "{warning}");
    }
    app::say_unusable(&unusable);
    let backend = Arc::new(patiently("reading the AWS configuration", realm::backend(&config, None)).await?);
    let app = App::start(&config, &policies, &proofs, backend.clone(), backend.clone(), DRAIN).await;
    let app = app.map_err(|error| app_failure(&error))?;
    let (addresses, log, reloader) = (app.addresses(), app.event_log(), app.reloader());
    tokio::select! {
        () = app.run(ending.asked()) => Ok(()),
        never = say_whether_ready(&addresses, &backend) => match never {},
        never = heed_hangups(args, &reloader, &log, hangup) => match never {},
        never = heed_changes(args, &reloader) => match never {},
    }
}

/// Says that the gateway is ready, or, in the same place, why nobody will get further than it. It serves in either case: people
/// learn there what is wrong, and credentials and networks may come later than a service at a machine's start. Then it asks
/// again, until it can say so.
async fn say_whether_ready(addresses: &[SocketAddr], backend: &AwsBackend) -> Infallible {
    let mut unanswered = realm::unanswered(backend).await;
    for address in addresses {
        match &unanswered {
            None => tracing::info!(%address, "ready"),
            Some(why) => tracing::error!(%address, "listening, but no session can be opened: {why}"),
        }
    }
    let mut pause = ASK_AGAIN;
    while unanswered.is_some() {
        tokio::time::sleep(pause).await;
        pause = ASK_AGAIN_AT_LAST.min(2 * pause);
        unanswered = realm::unanswered(backend).await;
        if unanswered.is_none() {
            tracing::info!("Systems Manager answers now: ready");
        }
    }
    std::future::pending().await
}

/// At each SIGHUP reads the configuration again and opens the event log anew. Where that can't be done yet it tries until it
/// can, or the log would grow in a file that is about to be compressed and deleted.
async fn heed_hangups(args: &ServeArgs, reloader: &Reloader, log: &EventLog, mut hangup: Option<Signal>) -> Infallible {
    loop {
        next(&mut hangup).await;
        reload(args, reloader, Cause::Signal);
        while let Err(error) = log.reopen().await {
            tracing::error!(%error, "the event log goes on where it was, until a new one can be opened");
            // or sooner, if told again
            let _ = timeout(REOPEN_AGAIN, next(&mut hangup)).await;
        }
        tracing::info!("the event log was opened again");
    }
}

/// Reads the configuration again when its files have changed, and stayed the same since the look before: a file that is being
/// written is let be. It looks instead of being told, since that is the same for an editor that renames, a link that is turned
/// and a file system that tells nothing.
async fn heed_changes(args: &ServeArgs, reloader: &Reloader) -> Infallible {
    let file = &args.config.config;
    let mut in_force = reloader.signature(file);
    let mut last = in_force.clone();
    loop {
        tokio::time::sleep(LOOK).await;
        reloader.end_expired();
        let now = reloader.signature(file);
        if now == last && now != in_force {
            in_force = now.clone();
            reload(args, reloader, Cause::Change);
        }
        last = now;
    }
}

fn reload(args: &ServeArgs, reloader: &Reloader, cause: Cause) {
    reloader.reload(app::read(&args.config.config, Trust::Ours, &args.config.overrides), cause);
}
