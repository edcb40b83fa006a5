//! Who has the keys: a service that unwraps them for whom it allows to, in the product AWS's.

use super::data_key::DataKey;
use super::wrapped::WrappedKey;

/// Unwraps the keys of sessions.
pub trait Keyring: Send + Sync {
    /// The key that was wrapped so.
    ///
    /// # Errors
    /// Why it is not to be had.
    fn unwrap(&self, wrapped: &WrappedKey) -> Result<DataKey, KeyringError>;
}

/// Why a key is not to be had: a sentence, with what to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct KeyringError(pub String);

/// No keys at all.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoKeyring;

impl Keyring for NoKeyring {
    fn unwrap(&self, wrapped: &WrappedKey) -> Result<DataKey, KeyringError> {
        Err(KeyringError(format!("nobody was asked for it; it is wrapped by {}", wrapped.shown_key())))
    }
}
