//! What the configuration calls an account and region whose nodes are reached.

use std::fmt;
use std::sync::Arc;

/// A realm's name: one label of a host name (RFC 1123), in lower case, so that it can stand behind a node's name and a dot.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RealmName(Arc<str>);

/// What is no name of a realm.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a realm's name is 1 to 63 lower-case letters, digits and '-', and neither begins nor ends with '-'")]
pub struct RealmNameError;

impl RealmName {
    /// The longest, in bytes.
    const MAX_BYTES: usize = 63;

    /// Reads one.
    pub fn parse(text: &str) -> Result<Self, RealmNameError> {
        let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        let fine = (1..=Self::MAX_BYTES).contains(&text.len())
            && text.bytes().all(plain)
            && !text.starts_with('-')
            && !text.ends_with('-');
        if fine { Ok(Self(text.into())) } else { Err(RealmNameError) }
    }

    /// As it is written.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for RealmName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
impl RealmName {
    /// The realm of tests that know of one only.
    pub(crate) fn for_test() -> Self {
        Self::of_test("test")
    }

    /// A name that is one.
    pub(crate) fn of_test(text: &str) -> Self {
        Self::parse(text).unwrap()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_realm_is_called_by_one_label_of_a_host_name() {
        for name in ["prod", "a", "7", "eu-central-1", "x--y", &"x".repeat(63)] {
            assert_eq!(RealmName::parse(name).unwrap().as_str(), name);
        }
        for name in ["", "-", "-prod", "prod-", "Prod", "prod.eu", "prod_1", "pröd", "a b", "a\n", &"x".repeat(64)] {
            assert_eq!(RealmName::parse(name), Err(RealmNameError), "{name:?}");
        }
    }

    proptest! {
        #[test]
        fn what_is_taken_is_what_was_written(text in "[a-zA-Z0-9._-]{0,70}|\\PC{0,8}") {
            if let Ok(name) = RealmName::parse(&text) {
                prop_assert_eq!(name.as_str(), &text);
                prop_assert!(!text.is_empty() && !text.contains(|c: char| c == '.' || c.is_uppercase() || c.is_control()));
            }
        }
    }
}
