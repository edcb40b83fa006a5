//! What one connection tried in order to log in, for the event that is left when it ends without having done so.
//!
//! All of it is the client's to choose, so there is an end to how much is kept; and a password is never seen here.

use std::net::SocketAddr;

use crate::config::Algorithms;
use crate::evidence::{LoginRefused, MethodTried};
use crate::identity::KeyFingerprint;
use crate::model::{RefusalCode, plain_text_up_to};

/// Keys that one event names: more than a client that means well tries.
const MAX_KEYS: usize = 16;

/// Methods, and names of algorithms, that one event tells apart; RFC 4252 and its like know about eight.
const MAX_NAMES: usize = 12;

/// The longest name of a method or an algorithm that is kept whole: RFC 4250, section 4.6.1, has names of at most 64.
const MAX_NAME: usize = 64;

/// Users that one event names beside the last one.
const MAX_LOGINS: usize = 8;

/// What all methods together are called that are too many to be told apart.
const OTHERS: &str = "others";

/// The attempts of one connection.
#[derive(Debug, Default)]
pub(super) struct Attempts {
    login: Option<String>,
    earlier_logins: Vec<String>,
    methods: Vec<MethodTried>,
    keys: Vec<KeyFingerprint>,
    algorithms: Vec<String>,
    refusal: Option<(RefusalCode, String)>,
}

impl Attempts {
    /// A method was asked for, under this name of a user.
    pub(super) fn request(&mut self, login: &str, method: &str) {
        if let Some(earlier) = self.login.replace(login.to_owned())
            && earlier != login
            && self.earlier_logins.len() < MAX_LOGINS
            && !self.earlier_logins.contains(&earlier)
        {
            self.earlier_logins.push(earlier);
        }
        let method = plain_text_up_to(MAX_NAME, method);
        // what comes of that one says whoever asks
        if !matches!(method.as_str(), "none" | "publickey" | "password" | "keyboard-interactive") {
            self.refuse(RefusalCode::MethodNotTaken, "only a public key proves here who somebody is");
        }
        let known = self.methods.iter().position(|tried| tried.method == method);
        let index = match known {
            Some(index) => index,
            None => {
                let name = if self.methods.len() < MAX_NAMES { method } else { OTHERS.to_owned() };
                if self.methods.last().is_none_or(|last| last.method != name) {
                    self.methods.push(MethodTried { method: name, requests: 0 });
                }
                self.methods.len() - 1
            }
        };
        if let Some(tried) = self.methods.get_mut(index) {
            tried.requests = tried.requests.saturating_add(1);
        }
    }

    /// This key was offered.
    pub(super) fn offer(&mut self, key: KeyFingerprint) {
        if self.keys.len() < MAX_KEYS && !self.keys.contains(&key) {
            self.keys.push(key);
        }
    }

    /// A key was offered that can't be read.
    pub(super) fn unreadable(&mut self, algorithm: &str) {
        let algorithm = plain_text_up_to(MAX_NAME, algorithm);
        if self.algorithms.len() < MAX_NAMES && !self.algorithms.contains(&algorithm) {
            self.algorithms.push(algorithm);
        }
        self.refuse(RefusalCode::KeyUnreadable, "the key is damaged, or its algorithm is not known here");
    }

    /// A key was offered that somebody here has; nothing is proved yet.
    pub(super) fn known_key(&mut self) {
        self.refuse(RefusalCode::NoProof, "somebody here has the key that was offered, and no signature proved it");
    }

    /// Why the last attempt failed; the client learns nothing.
    pub(super) fn refuse(&mut self, code: RefusalCode, why: impl Into<String>) {
        self.refusal = Some((code, why.into()));
    }

    /// The user's name as it was sent last.
    pub(super) fn login(&self) -> &str {
        self.login.as_deref().unwrap_or_default()
    }

    /// The event of a connection that ended without a login; none of one that did not try, and was not refused before it could.
    pub(super) fn refused(&self, source: SocketAddr, profile: Algorithms) -> Option<LoginRefused<'_>> {
        let login = match (&self.login, &self.refusal) {
            (None, None) => return None,
            (login, _) => login.as_deref().unwrap_or_default(),
        };
        let (code, reason) = match &self.refusal {
            Some((code, reason)) => (*code, reason.as_str()),
            None => (RefusalCode::NoProof, "no proof was given"),
        };
        Some(LoginRefused {
            source,
            login,
            earlier_logins: &self.earlier_logins,
            methods: &self.methods,
            keys: self.keys.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "),
            algorithms: &self.algorithms,
            profile: profile.name(),
            code,
            reason,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(attempts: &Attempts) -> Vec<(&str, u32)> {
        attempts.methods.iter().map(|tried| (tried.method.as_str(), tried.requests)).collect()
    }

    #[test]
    fn each_method_is_counted_and_the_last_reason_told() {
        let mut attempts = Attempts::default();
        assert!(attempts.refused("192.0.2.1:5".parse().unwrap(), Algorithms::Modern).is_none());
        attempts.request("ada", "none");
        for _ in 0..30 {
            attempts.request("root", "password");
        }
        attempts.request("root", "publickey");
        attempts.unreadable("ssh-none\n-such");
        assert_eq!(told(&attempts), [("none", 1), ("password", 30), ("publickey", 1)]);
        let event = attempts.refused("192.0.2.1:5".parse().unwrap(), Algorithms::Modern).unwrap();
        assert_eq!((event.login, event.earlier_logins), ("root", &["ada".to_owned()][..]));
        assert_eq!((event.code, event.algorithms), (RefusalCode::KeyUnreadable, &["ssh-none -such".to_owned()][..]));
    }

    #[test]
    fn there_is_an_end_to_what_is_kept() {
        let mut attempts = Attempts::default();
        for n in 0..10_000 {
            attempts.request(&format!("user-{n}"), &format!("method-{n}{}", "x".repeat(1000)));
            attempts.unreadable(&format!("algorithm-{n}"));
            attempts.offer(KeyFingerprint::of(&[u8::try_from(n % 251).unwrap()]));
        }
        assert_eq!(attempts.methods.len(), MAX_NAMES + 1);
        assert_eq!(told(&attempts).last(), Some(&(OTHERS, 10_000 - u32::try_from(MAX_NAMES).unwrap())));
        assert_eq!((attempts.keys.len(), attempts.algorithms.len()), (MAX_KEYS, MAX_NAMES));
        assert_eq!(attempts.earlier_logins.len(), MAX_LOGINS);
    }
}
