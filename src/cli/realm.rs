//! The realm that a configuration names, as every command reaches it.

use std::time::Duration;

use aws_credential_types::Credentials;

use super::exit::{Exit, Failure};
use crate::backend::aws::{AwsBackend, AwsOptions};
use crate::config::Config;
use crate::model::NodeId;
use crate::transport;

/// Systems Manager as the configuration says; `credentials` take the place of the SDK's usual places. Nobody is called
/// yet, so what goes wrong here is written wrongly somewhere.
pub(super) async fn backend(config: &Config, credentials: Option<Credentials>) -> Result<AwsBackend, Failure> {
    let realm = config.realm.clone();
    let options = AwsOptions {
        region: realm.region,
        profile: realm.profile,
        endpoint_ssm: realm.endpoints.ssm,
        endpoint_sts: realm.endpoints.sts,
        endpoint_tagging: realm.endpoints.tagging,
        endpoint_ssmmessages: realm.endpoints.ssmmessages,
        ca_bundle: realm.ca_bundle,
        proxy: realm.proxy,
        credentials,
        ..AwsOptions::default()
    };
    AwsBackend::new(options).await.map_err(|error| Failure::new(Exit::Config, error.to_string()))
}

/// How long the service may take to say whether it answers the gateway; longer than an instance takes to give credentials.
const PATIENCE: Duration = Duration::from_secs(10);

/// Why no session could be opened now, for whoever runs the gateway.
pub(super) async fn unanswered(backend: &AwsBackend) -> Option<String> {
    match tokio::time::timeout(PATIENCE, backend.answers()).await {
        Ok(Ok(())) => None,
        Ok(Err(error)) => Some(error.for_operator()),
        Err(_) => Some(format!("Systems Manager has not answered in {} s", PATIENCE.as_secs())),
    }
}

/// Why the tags of nodes can't be read, for whoever runs the gateway.
pub(super) async fn tags_unreadable(backend: &AwsBackend) -> Option<String> {
    backend.tags_answer().await.err().map(|error| error.for_operator())
}

/// A node on which the gateway's own role may start sessions, as far as that can be found out in time.
pub(super) async fn may_start_itself(backend: &AwsBackend) -> Option<NodeId> {
    let asked = backend.may_start_itself(transport::OUT_DOCUMENT);
    tokio::time::timeout(PATIENCE, asked).await.ok().flatten()
}
