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
use crate::app::{self, App};
use crate::backend::aws::AwsBackend;
use crate::config::{Config, Loaded, PolicyFile, Trust};
use crate::evidence::EventLog;

/// How long open channels may go on after SIGTERM.
const DRAIN: Duration = Duration::from_secs(20);
/// When Systems Manager is asked again that did not answer, at first; each time twice as long, up to the longest.
const ASK_AGAIN: Duration = Duration::from_secs(2);
const ASK_AGAIN_AT_LAST: Duration = Duration::from_secs(60);
/// When the event log is opened again after it could not be.
const REOPEN_AGAIN: Duration = Duration::from_secs(5);

pub(super) async fn run(args: &ServeArgs) -> Result<(), Failure> {
    // first of all: until somebody listens, a SIGHUP ends the process
    let (mut ending, hangup) = Ending::of_service()?;
    let file = &args.config.config;
    let loaded = app::read(file, Trust::Ours, &args.config.overrides)
        .map_err(|error| config_failure(file, &error, "; the gateway was not started"))?;
    let Loaded { config, policies, warnings } = loaded;
    for warning in warnings {
        tracing::warn!(help = warning.help, "{warning}");
    }
    let backend = Arc::new(patiently("reading the AWS configuration", realm::backend(&config, None)).await?);
    let app = App::start(&config, &policies, backend.clone(), backend.clone(), DRAIN).await;
    let app = app.map_err(|error| app_failure(&error))?;
    let (addresses, log) = (app.addresses(), app.event_log());
    tokio::select! {
        () = app.run(ending.asked()) => Ok(()),
        never = say_whether_ready(&addresses, &backend) => match never {},
        never = heed_hangups(&log, hangup, args, &config, &policies) => match never {},
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

/// Opens the event log anew at each SIGHUP. Where that can't be done yet it tries until it can, or the log would grow in
/// a file that is about to be compressed and deleted. The configuration stays as it was read at the start, which is said,
/// since other services read theirs again.
async fn heed_hangups(
    log: &EventLog,
    mut hangup: Option<Signal>,
    args: &ServeArgs,
    config: &Config,
    policies: &[PolicyFile],
) -> Infallible {
    loop {
        next(&mut hangup).await;
        say_what_a_restart_would_change(args, config, policies);
        while let Err(error) = log.reopen().await {
            tracing::error!(%error, "the event log goes on where it was, until a new one can be opened");
            // or sooner, if told again
            let _ = timeout(REOPEN_AGAIN, next(&mut hangup)).await;
        }
        tracing::info!("the event log was opened again");
    }
}

/// Somebody who was taken out of the file can still log in: that must not be found out by surprise.
fn say_what_a_restart_would_change(args: &ServeArgs, in_force: &Config, policies: &[PolicyFile]) {
    match app::read(&args.config.config, Trust::Ours, &args.config.overrides) {
        Ok(loaded) => {
            let mut sections = in_force.differing(&loaded.config);
            if loaded.policies != policies {
                sections.push("policies".to_owned());
            }
            if sections.is_empty() {
                return tracing::info!("the configuration is what it was at the start");
            }
            let sections = sections.join(", ");
            tracing::warn!(
                %sections,
                "the configuration has changed, and is read at the start only: people, policies and all else stay as they \
                 were; restart the gateway to apply it"
            );
        }
        Err(error) => {
            tracing::error!(%error, "the configuration has changed, and a restart would refuse it; what was read at the start stays");
        }
    }
}
