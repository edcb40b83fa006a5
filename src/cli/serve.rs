//! `portcullis serve`: the gateway itself.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use aws_credential_types::Credentials;
use tokio::signal::unix::Signal;
use tokio::time::timeout;

use super::args::ServeArgs;
use super::check::config_failure;
use super::exit::{Exit, Failure};
use super::runtime::{Ending, next, patiently};
use crate::app::{self, App, AppError};
use crate::backend::aws::{AwsBackend, AwsOptions};
use crate::config::Config;
use crate::evidence::EventLog;
use crate::gateway::GatewayError;

/// How long open channels may go on after SIGTERM.
const DRAIN: Duration = Duration::from_secs(20);
/// When the event log is opened again after it could not be.
const REOPEN_AGAIN: Duration = Duration::from_secs(5);

pub(super) async fn run(args: &ServeArgs) -> Result<(), Failure> {
    // first of all: until somebody listens, a SIGHUP ends the process
    let (mut ending, hangup) = Ending::of_service()?;
    let file = &args.config.config;
    let config = app::read(file, &args.config.overrides).map_err(|error| config_failure(file, &error, true))?;
    let backend = Arc::new(patiently("reading the AWS configuration", backend(&config, None)).await?);
    let app = App::start(&config, backend.clone(), backend, DRAIN).await.map_err(|error| app_failure(&error))?;
    for address in app.addresses() {
        tracing::info!(%address, "ready");
    }
    let journal = app.journal();
    tokio::select! {
        () = app.run(ending.asked()) => Ok(()),
        never = reopen_when_told(&journal, hangup) => match never {},
    }
}

/// Opens the event log anew at each SIGHUP. Where that can't be done yet it tries until it can, or the log would grow in
/// a file that is about to be compressed and deleted.
async fn reopen_when_told(journal: &EventLog, mut hangup: Option<Signal>) -> Infallible {
    loop {
        next(&mut hangup).await;
        while let Err(error) = journal.reopen() {
            tracing::error!(%error, "the event log goes on where it was, until a new one can be opened");
            // or sooner, if told again
            let _ = timeout(REOPEN_AGAIN, next(&mut hangup)).await;
        }
        tracing::info!("the event log was opened again");
    }
}

/// Systems Manager as the configuration says; `credentials` take the place of the SDK's usual places. Nobody is called
/// yet, so what goes wrong here is written wrongly somewhere.
pub(super) async fn backend(config: &Config, credentials: Option<Credentials>) -> Result<AwsBackend, Failure> {
    let realm = config.realm.clone();
    let options = AwsOptions {
        region: realm.region,
        profile: realm.profile,
        endpoint_ssm: realm.endpoints.ssm,
        endpoint_ssmmessages: realm.endpoints.ssmmessages,
        ca_bundle: realm.ca_bundle,
        proxy: realm.proxy,
        credentials,
        ..AwsOptions::default()
    };
    AwsBackend::new(options).await.map_err(|error| Failure::new(Exit::Config, error.to_string()))
}

pub(super) fn app_failure(error: &AppError) -> Failure {
    let exit = match error {
        AppError::HostKey(_) | AppError::People(_) | AppError::Rule(_) | AppError::Gateway(GatewayError::NoHostKey) => {
            Exit::Config
        }
        AppError::Evidence(_) => Exit::Directory,
        AppError::Gateway(GatewayError::Listen { .. }) => Exit::Listen,
    };
    Failure::new(exit, error.to_string())
}
