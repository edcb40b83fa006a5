//! `portcullis serve`: the gateway itself.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::signal::unix::Signal;
use tokio::time::timeout;

use super::args::ServeArgs;
use super::exit::Failure;
use super::failure::{app_failure, config_failure};
use super::realm::{self, Reached};
use super::runtime::{Ending, next, patiently};
use crate::app::{self, App, Cause, Reloader};
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
    let reached = patiently("reading the AWS configuration", realm::reach_all(&config)).await;
    let reached = reached.into_iter().collect::<Result<Vec<_>, _>>()?;
    let realms = reached.iter().map(Reached::realm).collect();
    let app = App::start(&config, &policies, &proofs, realms, DRAIN).await;
    let app = app.map_err(|error| app_failure(&error))?;
    let (addresses, log, reloader) = (app.addresses(), app.event_log(), app.reloader());
    tokio::select! {
        () = app.run(ending.asked()) => Ok(()),
        never = say_whether_ready(&addresses, &reached) => match never {},
        never = heed_hangups(args, &reloader, &log, hangup) => match never {},
        never = heed_changes(args, &reloader) => match never {},
    }
}

/// Says that the gateway is ready, or, in the same place, why nobody will get further than it; where it serves several realms, of
/// each that does not answer. It serves in any case: people learn there what is wrong, and credentials and networks may come later
/// than a service at a machine's start. Then it asks again, until it can say so.
async fn say_whether_ready(addresses: &[SocketAddr], realms: &[Reached]) -> Infallible {
    let asked = join_all(realms.iter().map(async |realm| (realm, realm::unanswered(&realm.backend).await))).await;
    let silent: Vec<(&Reached, String)> = asked.into_iter().filter_map(|(realm, why)| Some((realm, why?))).collect();
    let whys = match &silent[..] {
        [(_, why)] if realms.len() == 1 => why.clone(),
        silent => silent.iter().map(|(realm, why)| format!("{}: {why}", realm.name)).collect::<Vec<_>>().join("; "),
    };
    for address in addresses {
        match silent.len() {
            0 => tracing::info!(%address, "ready"),
            all if all == realms.len() => tracing::error!(%address, "listening, but no session can be opened: {whys}"),
            _ => {
                tracing::info!(%address, "ready");
                tracing::error!(%address, "but no session can be opened in realms that do not answer: {whys}");
            }
        }
    }
    join_all(silent.into_iter().map(|(realm, _)| say_when_ready(realm))).await;
    std::future::pending().await
}

async fn say_when_ready(realm: &Reached) {
    let mut pause = ASK_AGAIN;
    loop {
        tokio::time::sleep(pause).await;
        pause = ASK_AGAIN_AT_LAST.min(2 * pause);
        if realm::unanswered(&realm.backend).await.is_none() {
            return tracing::info!(realm = %realm.name, "Systems Manager answers now: ready");
        }
    }
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
