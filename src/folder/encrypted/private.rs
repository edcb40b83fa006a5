//! What of a manifest is nobody's who has no key: what was run, what passed, and the sentence about its end. Who, where, when and by whose
//! leave stay as they are, so that a folder can be found, kept and deleted without its key.

use serde::{Deserialize, Serialize};

use super::data_key::{DataKey, EncryptError, NotOpened};
use super::wrapped::WrappedKey;
use crate::layout::File;
use crate::manifest::{Manifest, Streams};

/// What a manifest says in its member `private`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Private {
    /// The command line.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub command: Option<String>,
    /// The sentence that the person got at the end: it may have a command in it, or a path.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// The streams: who has the hash of a short text can guess at it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub streams: Option<Streams>,
}

impl Manifest {
    /// Encrypts what is private in it, and says under which key.
    ///
    /// # Errors
    /// It can't be encrypted; the manifest has nothing private then either.
    pub fn hide(&mut self, key: &DataKey, wrapped: &WrappedKey) -> Result<(), EncryptError> {
        let why = self.ended.as_mut().and_then(|ended| ended.why.take());
        let private = Private { command: self.command.take(), why, streams: self.streams.take() };
        self.encryption = Some(Box::new(wrapped.clone()));
        let text = serde_json::to_vec(&private).map_err(|_| EncryptError::Cipher)?;
        let line = key.encrypt(File::Manifest.name(), 1, &text)?;
        self.private = Some(String::from_utf8_lossy(&line).trim_end().to_owned());
        Ok(())
    }

    /// Puts what is private in it where it belongs.
    ///
    /// # Errors
    /// It is not what this key has encrypted.
    pub fn reveal(&mut self, key: &DataKey) -> Result<(), NotOpened> {
        let Some(line) = &self.private else { return Ok(()) };
        let text = key.decrypt(File::Manifest.name(), 1, line.as_bytes())?;
        let private: Private = serde_json::from_slice(&text).map_err(|_| NotOpened)?;
        (self.command, self.streams, self.private) = (private.command, private.streams, None);
        if let Some(ended) = &mut self.ended {
            ended.why = private.why;
        }
        Ok(())
    }
}
