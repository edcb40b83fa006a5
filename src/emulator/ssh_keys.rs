//! The SSH public keys of IAM users, as they are uploaded for CodeCommit. The users are those who have an access key here.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use time::OffsetDateTime;
use uuid::Uuid;

use super::config::ApiKey;

/// All of them.
pub(crate) struct SshKeys {
    users: Mutex<BTreeMap<String, User>>,
}

struct User {
    arn: String,
    keys: Vec<SshKey>,
}

/// One.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SshKey {
    /// `APKA…`
    pub(crate) id: String,
    pub(crate) body: String,
    pub(crate) active: bool,
    pub(crate) uploaded: OffsetDateTime,
}

/// Why a key is not taken, or not there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum KeyRefusal {
    NoUser,
    NoKey,
    /// It is no RSA key, or none of 2048 bits and more.
    Invalid,
    Duplicate,
    TooMany,
}

impl SshKeys {
    /// None yet, of the users who have these access keys.
    pub(crate) fn of_users(keys: &[ApiKey]) -> Self {
        let users = keys.iter().filter_map(|key| {
            let (_, path) = key.principal_arn.split_once(":user/")?;
            let user = User { arn: key.principal_arn.clone(), keys: Vec::new() };
            Some((path.rsplit('/').next()?.to_owned(), user))
        });
        Self { users: Mutex::new(users.collect()) }
    }

    /// What policies call a user.
    pub(crate) fn arn(&self, user: &str) -> Option<String> {
        self.users.lock().unwrap_or_else(PoisonError::into_inner).get(user).map(|user| user.arn.clone())
    }

    /// Those of a user, in the order of their ids.
    pub(crate) fn list(&self, user: &str) -> Result<Vec<SshKey>, KeyRefusal> {
        self.of(user, |keys| Ok(keys.clone()))
    }

    pub(crate) fn get(&self, user: &str, id: &str) -> Result<SshKey, KeyRefusal> {
        self.of(user, |keys| keys.iter().find(|key| key.id == id).cloned().ok_or(KeyRefusal::NoKey))
    }

    pub(crate) fn upload(&self, user: &str, body: &str, now: OffsetDateTime) -> Result<SshKey, KeyRefusal> {
        let body = body.trim();
        self.of(user, |keys| {
            if !is_taken(body) {
                return Err(KeyRefusal::Invalid);
            }
            if keys.iter().any(|key| words(&key.body) == words(body)) {
                return Err(KeyRefusal::Duplicate);
            }
            if keys.len() >= MOST {
                return Err(KeyRefusal::TooMany);
            }
            let id = format!("APKA{}", &Uuid::new_v4().simple().to_string()[..16].to_ascii_uppercase());
            let key = SshKey { id, body: body.to_owned(), active: true, uploaded: now };
            keys.push(key.clone());
            keys.sort_by(|a, b| a.id.cmp(&b.id));
            Ok(key)
        })
    }

    pub(crate) fn set_active(&self, user: &str, id: &str, active: bool) -> Result<(), KeyRefusal> {
        self.of(user, |keys| {
            let key = keys.iter_mut().find(|key| key.id == id).ok_or(KeyRefusal::NoKey)?;
            key.active = active;
            Ok(())
        })
    }

    pub(crate) fn delete(&self, user: &str, id: &str) -> Result<(), KeyRefusal> {
        self.of(user, |keys| {
            let before = keys.len();
            keys.retain(|key| key.id != id);
            if keys.len() < before { Ok(()) } else { Err(KeyRefusal::NoKey) }
        })
    }

    fn of<T>(&self, user: &str, what: impl FnOnce(&mut Vec<SshKey>) -> Result<T, KeyRefusal>) -> Result<T, KeyRefusal> {
        let mut users = self.users.lock().unwrap_or_else(PoisonError::into_inner);
        what(&mut users.get_mut(user).ok_or(KeyRefusal::NoUser)?.keys)
    }
}

/// Kind and key, without what is written behind them.
fn words(body: &str) -> Vec<&str> {
    body.split_ascii_whitespace().take(2).collect()
}

/// IAM takes RSA keys of 2048 bits and more, as `ssh-rsa` (PEM, which it takes as well, is none of this service's).
fn is_taken(body: &str) -> bool {
    let ["ssh-rsa", key] = words(body)[..] else { return false };
    let Ok(wire) = STANDARD.decode(key) else { return false };
    body.len() <= LONGEST && wire.starts_with(HEAD) && wire.len() >= LEAST_WIRE && !body.contains(['\n', '\r'])
}

/// A user's.
const MOST: usize = 5;
const LONGEST: usize = 16_384;
/// The algorithm's name, as a `string` of RFC 4251.
const HEAD: &[u8] = b"\0\0\0\x07ssh-rsa";
/// That, an exponent and a modulus of 2048 bits.
const LEAST_WIRE: usize = 11 + 4 + 1 + 4 + 257;

#[cfg(test)]
mod tests {
    use super::*;

    fn body(bytes: usize, fill: u8) -> String {
        let modulus = [&[0][..], &vec![fill; bytes]].concat();
        let mut wire = Vec::new();
        for part in [&b"ssh-rsa"[..], &[1, 0, 1], &modulus] {
            wire.extend((part.len() as u32).to_be_bytes());
            wire.extend(part);
        }
        format!("ssh-rsa {} ada@laptop", STANDARD.encode(wire))
    }

    #[test]
    fn a_user_has_five_keys_at_most_and_each_once() {
        let keys = SshKeys::of_users(&[ApiKey::new("A", "s", "arn:aws:iam::1:user/team/ada", Vec::new())]);
        let now = OffsetDateTime::UNIX_EPOCH;
        assert_eq!(keys.list("bob"), Err(KeyRefusal::NoUser));
        let first = keys.upload("ada", &body(256, 0xff), now).unwrap();
        assert_eq!(keys.upload("ada", &body(256, 0xff).replace("laptop", "home"), now), Err(KeyRefusal::Duplicate));
        for bad in [body(128, 0xff), "ssh-ed25519 AAAA".to_owned(), String::new(), body(256, 0xfe) + "\nssh-rsa A"] {
            assert_eq!(keys.upload("ada", &bad, now), Err(KeyRefusal::Invalid), "{bad}");
        }
        for fill in 0xf0..0xf4 {
            keys.upload("ada", &body(256, fill), now).unwrap();
        }
        assert_eq!(keys.upload("ada", &body(256, 0xf4), now), Err(KeyRefusal::TooMany));
        keys.set_active("ada", &first.id, false).unwrap();
        assert_eq!(keys.get("ada", &first.id), Ok(SshKey { active: false, ..first.clone() }));
        assert_eq!(keys.delete("ada", &first.id), Ok(()));
        assert_eq!((keys.delete("ada", &first.id), keys.list("ada").unwrap().len()), (Err(KeyRefusal::NoKey), 4));
    }
}
