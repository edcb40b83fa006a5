//! What evidence is kept with: the key that it is signed with, and what is left out of it.

use portcullis_folder::{SigningKey, VerifyingKey, public_path};
use portcullis_index::{Location, Settings};

use crate::config::{Config, Evidence};
use crate::evidence::{EvidenceError, Redaction};

/// What names of keys begin with.
const PREFIX: &str = "portcullis/";

/// The key of the configuration; it is made where there is none.
pub(super) fn evidence_key(config: &Evidence) -> Result<SigningKey, EvidenceError> {
    let key = SigningKey::load_or_create(&config.key_path(), &evidence_key_name(config));
    key.map_err(|error| EvidenceError::Key(error.to_string()))
}

/// The public halves of the keys that it was signed with so far.
pub(super) fn published_keys(config: &Evidence) -> Result<Vec<VerifyingKey>, EvidenceError> {
    let keys = VerifyingKey::load_all(&public_path(&config.key_path()));
    keys.map_err(|error| EvidenceError::Key(error.to_string()))
}

/// What the key is called that this gateway signs with.
pub fn evidence_key_name(config: &Evidence) -> String {
    format!("{PREFIX}{}", evidence_name(config))
}

/// What this gateway is called in evidence.
pub(super) fn evidence_name(config: &Evidence) -> String {
    config.name.clone().unwrap_or_else(|| {
        let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
        let fits = |c: char| if c.is_ascii_alphanumeric() || ".-_".contains(c) { c } else { '-' };
        host.chars().map(fits).take(64).collect()
    })
}

/// Where sessions are found. A database that is out of reach keeps nobody from working: what it misses is read from the
/// folders once it is there.
pub(super) fn index(config: &Config) -> Settings {
    let evidence = config.evidence.directory.clone();
    let location = Location::of(config.index.url.as_deref(), &evidence);
    Settings { location, evidence, gateway: evidence_key_name(&config.evidence) }
}

/// What is not kept.
pub(super) fn redaction(config: &Evidence) -> Result<Redaction, EvidenceError> {
    let redaction = Redaction::new(!config.keep_known_secrets, &config.redact);
    redaction.map_err(|error| EvidenceError::Pattern(error.to_string()))
}
