//! A person's password, as the configuration has it: its hash, and where it counts from.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize, Serializer};
use sha2::{Digest as _, Sha256};

/// A password.
#[derive(Clone, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Password {
    /// Its hash by argon2id, as `portcullis password` makes it.
    #[serde(serialize_with = "digest")]
    pub hash: String,
    /// The addresses and networks that it counts from, such as `192.0.2.0/24`: at least one, and not all there are.
    #[serde(default)]
    #[schemars(length(min = 1))]
    pub from: Vec<String>,
}

/// Whoever reads a log must have nothing to try passwords on.
impl std::fmt::Debug for Password {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Password").field("from", &self.from).finish_non_exhaustive()
    }
}

/// What `check --json` shows, and what two configurations are compared by: another hash is another text, and no hash is in it.
fn digest<S: Serializer>(hash: &str, serializer: S) -> Result<S::Ok, S::Error> {
    let digest = hex::encode(Sha256::digest(hash));
    let (beginning, _) = digest.split_at_checked(16).unwrap_or((&digest, ""));
    serializer.serialize_str(&format!("argon2id, not shown; {beginning}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_hash_is_shown_and_another_one_is_seen() {
        let password = |hash: &str| Password { hash: hash.to_owned(), from: vec!["192.0.2.0/24".to_owned()] };
        let (one, other) = (password("$argon2id$v=19$one"), password("$argon2id$v=19$other"));
        let shown = |password: &Password| serde_json::to_string(password).unwrap();
        assert!(shown(&one) != shown(&other) && !shown(&one).contains("$one"), "{}", shown(&one));
        assert!(!format!("{one:?}").contains("argon2id"), "{one:?}");
    }
}
