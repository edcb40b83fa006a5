//! The people of the configuration and their keys.

use std::collections::{BTreeSet, HashMap};

use super::proof::{KeyFingerprint, VerifiedKey};
use super::public_key::{KeyLineError, wire_form};
use super::{Identity, Login};

/// Everybody who may log in, by key.
#[derive(Clone, Debug, Default)]
pub struct People {
    by_key: HashMap<Vec<u8>, String>,
    /// The same by what is kept of a proof.
    by_fingerprint: HashMap<String, String>,
    groups: HashMap<String, Vec<String>>,
}

/// How a proof by a key begins.
const PUBLIC_KEY: &str = "publickey ";

/// What is wrong with the configured people.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum PeopleError {
    /// A name that a login could not carry.
    #[error("person {0:?}: a name is 1 to 64 letters, digits, '.', '-', '_' or '@'")]
    Name(String),
    /// Not a line of `authorized_keys`.
    #[error("person {person:?}, key {number}: {why}; {}", why.help())]
    Key {
        /// Whose.
        person: String,
        /// Which, from 1.
        number: usize,
        /// What is wrong with it.
        why: KeyLineError,
    },
    /// One key can't stand for two people.
    #[error("the key {fingerprint} is listed for \"{first}\" and for \"{second}\"; a key stands for one person")]
    Shared {
        /// The key.
        fingerprint: KeyFingerprint,
        /// Who had it first.
        first: String,
        /// Who has it too.
        second: String,
    },
}

impl People {
    /// Everybody by name, with their keys as lines of `authorized_keys`.
    pub fn new<'a>(people: impl IntoIterator<Item = (&'a str, &'a [String])>) -> Result<Self, PeopleError> {
        let (mut by_key, mut by_fingerprint) = (HashMap::new(), HashMap::new());
        for (name, keys) in people {
            name_is_usable(name)?;
            for (index, line) in keys.iter().enumerate() {
                let wire = wire_form(line).map_err(|why| {
                    let person = name.to_owned();
                    PeopleError::Key { person, number: index + 1, why }
                })?;
                let fingerprint = KeyFingerprint::of(&wire);
                by_fingerprint.insert(fingerprint.to_string(), name.to_owned());
                let before = by_key.insert(wire, name.to_owned());
                if let Some(first) = before.filter(|first| first != name) {
                    return Err(PeopleError::Shared { fingerprint, first, second: name.to_owned() });
                }
            }
        }
        Ok(Self { by_key, by_fingerprint, groups: HashMap::new() })
    }

    /// The same, some of them in groups.
    #[must_use]
    pub fn in_groups<'a>(mut self, groups: impl IntoIterator<Item = (&'a str, &'a [String])>) -> Self {
        for (person, groups) in groups {
            let theirs: BTreeSet<&String> = groups.iter().collect();
            self.groups.insert(person.to_owned(), theirs.into_iter().cloned().collect());
        }
        self
    }

    /// Whether anybody has this key: worth asking for a signature. Proves nothing.
    pub fn knows(&self, wire: &[u8]) -> bool {
        self.by_key.contains_key(wire)
    }

    /// Who that is. A login that names a person (`ada/web-1`) must name the key's owner.
    pub fn identify(&self, key: &VerifiedKey, login: Option<&Login>) -> Option<Identity> {
        let person = self.by_key.get(key.wire())?;
        if login.and_then(Login::person).is_some_and(|named| named != person) {
            return None;
        }
        let proof = format!("{PUBLIC_KEY}{}", KeyFingerprint::of(key.wire()));
        Some(self.as_they_are(person, proof))
    }

    /// Somebody who proved who they are a while ago, as they are now; nobody, where that key is theirs no more.
    pub fn renew(&self, identity: &Identity) -> Option<Identity> {
        let fingerprint = identity.proof.strip_prefix(PUBLIC_KEY)?;
        let owner = self.by_fingerprint.get(fingerprint).filter(|owner| **owner == identity.person)?;
        Some(self.as_they_are(owner, identity.proof.clone()))
    }

    fn as_they_are(&self, person: &str, proof: String) -> Identity {
        let groups = self.groups.get(person).cloned().unwrap_or_default();
        Identity { person: person.to_owned(), groups, proof }
    }
}

/// Whether somebody may be called so: a login name may say who it is.
pub fn name_is_usable(name: &str) -> Result<(), PeopleError> {
    if super::login::is_person(name) { Ok(()) } else { Err(PeopleError::Name(name.to_owned())) }
}

/// Keys that no configuration may have, for tests of what a login makes of them.
#[cfg(test)]
impl People {
    pub(crate) fn with_any_key(mut self, person: &str, wire: Vec<u8>) -> Self {
        self.by_fingerprint.insert(KeyFingerprint::of(&wire).to_string(), person.to_owned());
        self.by_key.insert(wire, person.to_owned());
        self
    }
}

#[cfg(test)]
mod tests {
    use super::super::Roster;
    use super::*;

    const ADA: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJdD7y3aLq454yWBdwLWbieU1ebz9/cu7/QEXn9OIeZJ ada@laptop";

    fn people(of: &[(&str, &str)]) -> Result<People, PeopleError> {
        let owned: Vec<_> = of.iter().map(|(name, key)| (*name, vec![(*key).to_owned()])).collect();
        People::new(owned.iter().map(|(name, keys)| (*name, keys.as_slice())))
    }

    #[test]
    fn a_key_stands_for_its_owner_only() {
        let people = people(&[("ada", ADA)]).unwrap();
        let wire = wire_form(ADA).unwrap();
        assert!(people.knows(&wire));
        let key = VerifiedKey::signature_checked(wire);
        let login = |text| Login::parse(text).unwrap();
        let identity = people.identify(&key, Some(&login("web-1"))).unwrap();
        assert_eq!(identity.person(), "ada");
        assert!(identity.proof().starts_with("publickey SHA256:"));
        assert!(people.identify(&key, Some(&login("ada/web-1"))).is_some());
        assert!(people.identify(&key, Some(&login("bob/web-1"))).is_none(), "another person's name");
        let other = VerifiedKey::signature_checked(b"something else".to_vec());
        assert!(people.identify(&other, None).is_none());
    }

    #[test]
    fn somebody_is_in_their_groups_and_in_no_others() {
        let groups = ["ops", "dev", "ops"].map(str::to_owned);
        let people = people(&[("ada", ADA)]).unwrap().in_groups([("ada", &groups[..]), ("bob", &groups[..1])]);
        let key = VerifiedKey::signature_checked(wire_form(ADA).unwrap());
        let identity = people.identify(&key, None).unwrap();
        assert_eq!((identity.groups(), identity.method()), (&["dev", "ops"].map(str::to_owned)[..], "publickey"));
    }

    #[test]
    fn who_logged_in_is_renewed_as_they_are_now_and_not_without_their_key() {
        let ops = ["ops".to_owned()];
        let before = people(&[("ada", ADA)]).unwrap();
        let ada = before.identify(&VerifiedKey::signature_checked(wire_form(ADA).unwrap()), None).unwrap();
        let roster = Roster::from(before);
        assert_eq!(roster.current().renew(&ada), Some(ada.clone()));
        roster.replace(people(&[("ada", ADA)]).unwrap().in_groups([("ada", &ops[..])]));
        assert_eq!(roster.current().renew(&ada).unwrap().groups(), ops);
        // the key is another's, or nobody's
        for others in [&[("bob", ADA)][..], &[]] {
            roster.replace(people(others).unwrap());
            assert_eq!(roster.current().renew(&ada), None);
        }
    }

    #[test]
    fn mistakes_in_the_configuration_are_sentences() {
        let shared = people(&[("ada", ADA), ("bob", ADA)]).unwrap_err().to_string();
        assert!(shared.contains("\"ada\" and for \"bob\""), "{shared}");
        let damaged = people(&[("ada", "ssh-ed25519 !!!")]).unwrap_err();
        assert!(
            damaged.to_string().starts_with("person \"ada\", key 1: this public key is damaged; copy"),
            "{damaged}"
        );
        assert_eq!(people(&[("a b", ADA)]).unwrap_err(), PeopleError::Name("a b".to_owned()));
    }
}
