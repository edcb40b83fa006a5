//! The realms that a configuration names, as every command reaches them.

use std::time::Duration;

use aws_credential_types::Credentials;
use futures_util::future::join_all;

use super::exit::{Exit, Failure};
use crate::app;
use crate::backend::aws::{AwsBackend, AwsOptions};
use crate::backend::{BackendError, Realm};
use crate::config::{self, Config, SeenAs};
use crate::model::{NodeRef, RealmName};
use crate::transport;

/// One of them.
#[derive(Clone, Debug)]
pub(super) struct Reached {
    pub(super) name: RealmName,
    pub(super) backend: AwsBackend,
    /// Whether sessions there are people's own.
    pub(super) identity: SeenAs,
    pub(super) evidence_replaces_logging: bool,
}

impl Reached {
    /// For what serves it.
    pub(super) fn realm(&self) -> Realm {
        Realm::new(self.name.clone(), self.backend.clone())
    }
}

/// Systems Manager as the configuration says of a realm; `credentials` take the place of the SDK's usual places. Nobody is called
/// yet, so what goes wrong here is written wrongly somewhere.
pub(super) async fn reach(realm: &config::Realm, credentials: Option<Credentials>) -> Result<Reached, Failure> {
    let name = app::realm_name(realm).map_err(|error| Failure::new(Exit::Config, error.to_string()))?;
    let config::Realm { endpoints, .. } = realm.clone();
    let options = AwsOptions {
        region: realm.region.clone(),
        profile: realm.profile.clone(),
        endpoint_ssm: endpoints.ssm,
        endpoint_sts: endpoints.sts,
        endpoint_tagging: endpoints.tagging,
        endpoint_iam: endpoints.iam,
        endpoint_ssmmessages: endpoints.ssmmessages,
        ca_bundle: realm.ca_bundle.clone(),
        proxy: realm.proxy.clone(),
        credentials,
        ..AwsOptions::default()
    };
    let wrong = |error: BackendError| Failure::new(Exit::Config, format!("realm {name}: {error}"));
    let backend = AwsBackend::new(name.clone(), options).await.map_err(wrong)?;
    let (identity, evidence_replaces_logging) = (realm.identity, realm.evidence_replaces_agent_logging);
    Ok(Reached { name, backend, identity, evidence_replaces_logging })
}

/// All of a configuration, side by side.
pub(super) async fn reach_all(config: &Config) -> Vec<Result<Reached, Failure>> {
    join_all(config.realms.iter().map(|realm| reach(realm, None))).await
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
pub(super) async fn may_start_itself(backend: &AwsBackend) -> Option<NodeRef> {
    let asked = backend.may_start_itself(transport::OUT_DOCUMENT);
    tokio::time::timeout(PATIENCE, asked).await.ok().flatten()
}
