//! The key that this gateway's evidence is signed with.

use portcullis_folder::SigningKey;

use crate::config::Evidence;
use crate::evidence::EvidenceError;

/// What names of keys begin with.
const PREFIX: &str = "portcullis/";

/// The key of the configuration; it is made where there is none.
pub(super) fn evidence_key(config: &Evidence) -> Result<SigningKey, EvidenceError> {
    let name = format!("{PREFIX}{}", evidence_name(config));
    let key = SigningKey::load_or_create(&config.key_path(), &name);
    let key = key.map_err(|error| EvidenceError::Key(error.to_string()))?;
    tracing::info!(key = %key.verifying_key(), "evidence is signed; this is the public half of its key");
    Ok(key)
}

/// What this gateway is called in evidence.
pub fn evidence_name(config: &Evidence) -> String {
    config.name.clone().unwrap_or_else(|| {
        let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
        let fits = |c: char| if c.is_ascii_alphanumeric() || ".-_".contains(c) { c } else { '-' };
        host.chars().map(fits).take(64).collect()
    })
}
