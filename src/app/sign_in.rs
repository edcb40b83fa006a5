//! The provider at which people sign in, as the configuration says.

use std::time::Duration;

use crate::config::{self, Config, ConfigError, Oidc, Trust};
use crate::identity::TokenRules;
use crate::oidc::{Provider, ProviderOptions, SignInError};

/// Why there can be none.
#[derive(Debug, thiserror::Error)]
pub enum ProviderFault {
    /// A file.
    #[error(transparent)]
    File(#[from] ConfigError),
    /// The certificate authorities can't be read.
    #[error("oidc.ca_bundle {path} can't be read: {error}")]
    CaBundle {
        /// Where they are.
        path: String,
        /// Why.
        error: std::io::Error,
    },
    /// Something that it is reached by.
    #[error("[oidc]: {0}")]
    Provider(#[from] SignInError),
}

/// The provider, where there is one; nobody is asked for anything.
pub fn provider(config: &Config) -> Result<Option<Provider>, ProviderFault> {
    let Some(oidc) = &config.oidc else { return Ok(None) };
    let secret = config::client_secret(config, Trust::Ours)?;
    let Oidc { issuer, client_id, scopes, name_claim, groups_claim, required_claims, .. } = oidc.clone();
    let read = |path: &std::path::PathBuf| {
        std::fs::read(path).map_err(|error| ProviderFault::CaBundle { path: path.display().to_string(), error })
    };
    let minutes = |minutes: u32| Duration::from_secs(60 * u64::from(minutes));
    let size = |number: u32| usize::try_from(number).unwrap_or(usize::MAX);
    // strangers who sign in must not take all places from those who don't
    let places = (config.limits.unauthenticated / 2).max(1);
    Ok(Some(Provider::new(ProviderOptions {
        rules: TokenRules { issuer, client_id, name_claim, groups_claim, required_claims },
        secret,
        scopes,
        max_age: oidc.max_age_minutes.map(minutes),
        nonce: oidc.nonce,
        counts: oidc.counts_minutes.map(minutes),
        recheck: minutes(oidc.recheck_minutes),
        ca_bundle: oidc.ca_bundle.as_ref().map(read).transpose()?,
        proxy: oidc.proxy.clone(),
        pending: size(oidc.pending.min(places)),
        pending_per_address: size(oidc.pending_per_address),
        starts_a_minute: oidc.starts_a_minute,
    })?))
}
