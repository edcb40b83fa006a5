//! The realm that a configuration names, as every command reaches it.

use aws_credential_types::Credentials;

use super::exit::{Exit, Failure};
use crate::backend::aws::{AwsBackend, AwsOptions};
use crate::config::Config;

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
