//! `key.json`: the session's key, as it was wrapped by a service of keys, and what that needs to unwrap it.
//!
//! ```json
//! {"v":1,"enc":"A256GCM","kms_key":"arn:aws:kms:…","encryption_context":{"portcullis:gateway":"…","portcullis:session":"…"},"wrapped":"…"}
//! ```

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// The encryption of lines, by its name in JOSE (RFC 7518, section 5.1).
pub const ENCRYPTION: &str = "A256GCM";

/// A wrapped key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WrappedKey {
    /// The version of this format.
    pub v: u32,
    /// How lines are encrypted.
    pub enc: String,
    /// The key that it is wrapped by, as the service calls it: the ARN of a key of AWS KMS.
    pub kms_key: String,
    /// What the service was told of it, and must be told again.
    pub encryption_context: BTreeMap<String, String>,
    /// The key as the service gave it out, in base64.
    pub wrapped: String,
}

/// Why a `key.json` is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WrappedKeyError {
    /// It is not the JSON that it should be.
    #[error("it is no wrapped key: {0}")]
    Malformed(String),
    /// It is of a version, or an encryption, that this program does not know.
    #[error("it is of another version than this program reads")]
    Version,
    /// It is of another session.
    #[error("it is the key of another session")]
    Session,
}

/// Names of an encryption context.
const SESSION: &str = "portcullis:session";
const GATEWAY: &str = "portcullis:gateway";

/// The version.
const VERSION: u32 = 1;

/// A wrapped key of KMS has some 200 bytes; a file with more than this is none.
pub(crate) const MAX_KEY_BYTES: u64 = 64 << 10;

/// How much of a key's name is shown.
const SHOWN: usize = 200;

impl WrappedKey {
    /// What a service is told of a session's key: it unwraps it for nobody who does not tell it the same.
    pub fn context(session: Uuid, gateway: &str) -> BTreeMap<String, String> {
        let session = session.hyphenated().to_string();
        BTreeMap::from([(GATEWAY.to_owned(), gateway.to_owned()), (SESSION.to_owned(), session)])
    }

    /// One that a service gave out.
    pub fn new(session: Uuid, gateway: &str, kms_key: &str, wrapped: &[u8]) -> Self {
        Self {
            v: VERSION,
            enc: ENCRYPTION.to_owned(),
            kms_key: kms_key.to_owned(),
            encryption_context: Self::context(session, gateway),
            wrapped: STANDARD.encode(wrapped),
        }
    }

    /// The session whose key it is.
    pub fn session(&self) -> Option<Uuid> {
        self.encryption_context.get(SESSION).and_then(|session| Uuid::parse_str(session).ok())
    }

    /// The gateway that it was made by, where that is none of these.
    pub(crate) fn foreign_gateway(&self, is_known: impl Fn(&str) -> bool) -> Option<&str> {
        let name = self.encryption_context.get(GATEWAY).map(String::as_str).unwrap_or_default();
        (!is_known(name)).then_some(name)
    }

    /// What the service gave out.
    pub fn bytes(&self) -> Option<Vec<u8>> {
        STANDARD.decode(&self.wrapped).ok()
    }

    /// As it stands in `key.json`.
    ///
    /// # Errors
    /// Nothing that was made here.
    pub fn to_line(&self) -> Result<Vec<u8>, serde_json::Error> {
        let mut line = serde_json::to_vec(self)?;
        line.push(b'\n');
        Ok(line)
    }

    /// Reads a `key.json`, which must be of this session where that is known.
    ///
    /// # Errors
    /// Why it is none.
    pub fn parse(bytes: &[u8], session: Option<Uuid>) -> Result<Self, WrappedKeyError> {
        let key: Self = serde_json::from_slice(bytes).map_err(|error| WrappedKeyError::Malformed(error.to_string()))?;
        if key.v != VERSION || key.enc != ENCRYPTION {
            return Err(WrappedKeyError::Version);
        }
        let of = key.session().ok_or_else(|| WrappedKeyError::Malformed("it names no session".to_owned()))?;
        if key.bytes().is_none() {
            return Err(WrappedKeyError::Malformed("its key is not base64".to_owned()));
        }
        match session {
            Some(session) if session != of => Err(WrappedKeyError::Session),
            _ => Ok(key),
        }
    }

    /// The name of the key that it is wrapped by, without anything that a terminal would obey.
    pub fn shown_key(&self) -> String {
        self.kms_key.chars().filter(|c| !c.is_control()).take(SHOWN).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_read_as_it_was_written_and_only_for_its_session() {
        let session = Uuid::from_u128(7);
        let key =
            WrappedKey::new(session, "portcullis/gate-1", "arn:aws:kms:eu-west-1:111122223333:key/1", b"\x01\xff");
        let line = key.to_line().unwrap();
        assert_eq!(
            String::from_utf8(line.clone()).unwrap(),
            concat!(
                r#"{"v":1,"enc":"A256GCM","kms_key":"arn:aws:kms:eu-west-1:111122223333:key/1","encryption_context":"#,
                r#"{"portcullis:gateway":"portcullis/gate-1","portcullis:session":"00000000-0000-0000-0000-000000000007"},"wrapped":"Af8="}"#,
                "\n"
            )
        );
        assert_eq!(WrappedKey::parse(&line, Some(session)), Ok(key.clone()));
        assert_eq!(WrappedKey::parse(&line, None).unwrap().bytes().unwrap(), b"\x01\xff");
        assert_eq!(WrappedKey::parse(&line, Some(Uuid::nil())), Err(WrappedKeyError::Session));
        let other = WrappedKey { v: 2, ..key.clone() }.to_line().unwrap();
        assert_eq!(WrappedKey::parse(&other, None), Err(WrappedKeyError::Version));
        for bad in [
            WrappedKey { wrapped: "?".to_owned(), ..key.clone() },
            WrappedKey { encryption_context: BTreeMap::new(), ..key.clone() },
        ] {
            let bad = WrappedKey::parse(&bad.to_line().unwrap(), None);
            assert!(matches!(bad, Err(WrappedKeyError::Malformed(_))), "{bad:?}");
        }
        assert!(matches!(WrappedKey::parse(b"{", None), Err(WrappedKeyError::Malformed(_))));
    }
}
