//! What is revoked: key revocation lists, and plain lists of keys as sshd's `RevokedKeys` takes them.

use std::collections::HashSet;

use super::authorized_key::{KeyLineError, key_of_line, lines};
use super::certificate::Certificate;
use super::krl::{Krl, KrlError};

/// The lists of everybody, or of one authority. One that can't be read revokes everything: what it says is not known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Revocations(Vec<List>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum List {
    Krl(Box<Krl>),
    Keys(HashSet<Vec<u8>>),
    Unreadable,
}

/// What is wrong with a list.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RevocationError {
    /// A key revocation list.
    #[error("this key revocation list can't be read: {0}")]
    Krl(#[from] KrlError),
    /// A line of a list of keys.
    #[error("{why}")]
    Line {
        /// Which, from 1.
        line: usize,
        /// What is wrong with it.
        why: KeyLineError,
    },
}

impl RevocationError {
    /// Which line it is about, from 1.
    pub fn line(&self) -> Option<usize> {
        match self {
            Self::Krl(_) => None,
            Self::Line { line, .. } => Some(*line),
        }
    }

    /// What to do about it.
    pub fn help(&self) -> String {
        match self {
            Self::Krl(_) => {
                "until it is mended it counts as if it revoked everything; make it with: ssh-keygen -k".to_owned()
            }
            Self::Line { .. } => {
                "until it is mended the list counts as if it revoked everything; it has the line of a .pub file for \
                                  each key, or is made by ssh-keygen -k"
                    .to_owned()
            }
        }
    }
}

/// Why something does not count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Revocation {
    /// A list has it.
    Revoked,
    /// There is a list that can't be read.
    Unknown,
}

impl Revocations {
    /// Adds a file; without a content, it is one that can't be read.
    pub fn add_file(&mut self, content: Option<&[u8]>) -> Result<(), RevocationError> {
        let read = match content {
            None => Ok(List::Unreadable),
            Some(file) if Krl::is_one(file) => Krl::parse(file).map(|krl| List::Krl(Box::new(krl))).map_err(Into::into),
            Some(file) => keys(file).map(List::Keys),
        };
        let (list, said) = match read {
            Ok(list) => (list, Ok(())),
            Err(error) => (List::Unreadable, Err(error)),
        };
        self.0.push(list);
        said
    }

    /// Whether a key counts, given in its wire form.
    pub(super) fn of_key(&self, wire: &[u8]) -> Option<Revocation> {
        self.any(|list| match list {
            List::Krl(krl) => krl.revokes_key(wire),
            List::Keys(keys) => keys.contains(wire),
            List::Unreadable => false,
        })
    }

    /// Whether a certificate does; the plain lists may have its key, or its authority's.
    pub(super) fn of_certificate(&self, certificate: &Certificate) -> Option<Revocation> {
        self.any(|list| match list {
            List::Krl(krl) => krl.revokes_certificate(certificate),
            List::Keys(keys) => keys.contains(&certificate.key) || keys.contains(&certificate.authority),
            List::Unreadable => false,
        })
    }

    fn any(&self, revokes: impl Fn(&List) -> bool) -> Option<Revocation> {
        if self.0.iter().any(revokes) {
            return Some(Revocation::Revoked);
        }
        self.0.contains(&List::Unreadable).then_some(Revocation::Unknown)
    }
}

/// A list of keys. A key that is too weak to log in anyway may be there; what is no key may have been one.
fn keys(file: &[u8]) -> Result<HashSet<Vec<u8>>, RevocationError> {
    let mut keys = HashSet::new();
    for (line, text) in lines(file) {
        match text.and_then(key_of_line) {
            Ok(key) => drop(keys.insert(key)),
            Err(KeyLineError::Bits) => {}
            Err(why) => return Err(RevocationError::Line { line, why }),
        }
    }
    Ok(keys)
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJdD7y3aLq454yWBdwLWbieU1ebz9/cu7/QEXn9OIeZJ";

    fn of(files: &[Option<&[u8]>], key: &str) -> Option<Revocation> {
        let mut revocations = Revocations::default();
        for file in files {
            let _ = revocations.add_file(*file);
        }
        revocations.of_key(&key_of_line(key).unwrap())
    }

    #[test]
    fn a_list_revokes_its_keys_and_one_that_can_t_be_read_everything() {
        let list = format!("# gone\n{KEY} ada\n");
        assert_eq!(of(&[Some(list.as_bytes())], KEY), Some(Revocation::Revoked));
        assert_eq!(of(&[Some(b"# nobody\n")], KEY), None);
        assert_eq!(of(&[], KEY), None);
        for unreadable in [None, Some(&b"ssh-ed25519 AAAA\n"[..]), Some(b"nonsense"), Some(b"SSHKRL\n\0\0\0\0\x01")] {
            assert_eq!(of(&[unreadable], KEY), Some(Revocation::Unknown), "{unreadable:?}");
            assert_eq!(of(&[unreadable, Some(list.as_bytes())], KEY), Some(Revocation::Revoked));
        }
        let error = Revocations::default().add_file(Some(b"\n\nssh-ed25519 AAAA\n")).unwrap_err();
        assert!(error.line() == Some(3) && error.to_string().contains("damaged"), "{error}");
    }
}
