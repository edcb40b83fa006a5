//! What evidence is kept with: the key that it is signed with, and what is left out of it.

use std::sync::{Arc, OnceLock};

use futures_util::future::BoxFuture;
use portcullis_folder::{DataKey, FolderKey, Keyring, KeyringError, SigningKey, VerifyingKey, WrappedKey, public_path};
use portcullis_index::{Location, Settings};
use uuid::Uuid;

use crate::audit::Archive;
use crate::backend::aws::{KmsKeys, KmsOptions};
use crate::config::{Config, Evidence};
use crate::evidence::{DataKeys, Encryption, EvidenceError, Redaction};

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

/// What was recorded, for whoever may look at it.
pub(super) fn archive(config: &Config) -> Archive {
    Archive {
        evidence: config.evidence.directory.clone(),
        location: index(config).location,
        keys: Some(public_path(&config.evidence.key_path())),
        is_kept: true,
        keyring: Arc::new(EvidenceKeyring::of(&config.evidence)),
    }
}

/// Where sessions are found. A database that is out of reach keeps nobody from working: what it misses is read from the
/// folders once it is there.
pub(super) fn index(config: &Config) -> Settings {
    let evidence = config.evidence.directory.clone();
    let location = Location::of(config.index.url.as_deref(), &evidence);
    Settings { location, evidence, gateway: evidence_key_name(&config.evidence) }
}

/// How sessions' folders are encrypted.
pub(super) fn encryption(config: &Evidence) -> Result<Encryption, EvidenceError> {
    if config.kms_key.is_none() {
        return Ok(Encryption::default());
    }
    let keys = KmsKeys::start(KmsOptions { key: config.kms_key.clone(), ..places(config) });
    let keys = keys.map_err(EvidenceError::Key)?;
    Ok(Encryption::by(Arc::new(NewKeys(keys))))
}

/// AWS KMS as evidence has it.
#[derive(Debug)]
struct NewKeys(KmsKeys);

impl DataKeys for NewKeys {
    fn generate<'a>(&'a self, session: Uuid, gateway: &'a str) -> BoxFuture<'a, Result<FolderKey, String>> {
        Box::pin(self.0.generate(session, gateway))
    }
}

/// The keys of folders that are there: AWS KMS is asked when the first of them is wanted.
#[derive(Debug, Default)]
pub struct EvidenceKeyring {
    options: KmsOptions,
    keys: OnceLock<Result<KmsKeys, String>>,
}

impl EvidenceKeyring {
    /// Where the configuration says that the service is; by default where the SDK's usual places do.
    pub fn of(config: &Evidence) -> Self {
        Self { options: places(config), keys: OnceLock::new() }
    }
}

impl Keyring for EvidenceKeyring {
    fn unwrap(&self, wrapped: &WrappedKey) -> Result<DataKey, KeyringError> {
        match self.keys.get_or_init(|| KmsKeys::start(self.options.clone())) {
            Ok(keys) => keys.unwrap(wrapped),
            Err(why) => Err(KeyringError(why.clone())),
        }
    }
}

fn places(config: &Evidence) -> KmsOptions {
    KmsOptions { region: config.kms_region.clone(), endpoint: config.kms_endpoint.clone(), ..KmsOptions::default() }
}

/// What is not kept.
pub(super) fn redaction(config: &Evidence) -> Result<Redaction, EvidenceError> {
    let redaction = Redaction::new(!config.keep_known_secrets, &config.redact);
    redaction.map_err(|error| EvidenceError::Pattern(error.to_string()))
}
