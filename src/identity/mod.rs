//! Who is this, in IAM terms: from a verified proof and nothing less.
//!
//! ```text
//!  key signature ──verified by the gateway──▶ VerifiedKey ──People::identify──▶ Identity
//!  SSH user name ──Login::parse──▶ Login: node, OS user, reason
//! ```

mod login;
mod people;
mod proof;
mod public_key;

pub use login::{Login, LoginError};
pub use people::{People, PeopleError, name_is_usable};
pub use proof::{KeyFingerprint, VerifiedKey};
pub use public_key::wire_form;

/// The authenticated person or robot. Only this module makes one, from a proof that was verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    person: String,
    proof: String,
}

impl Identity {
    /// The person's name, as configured.
    pub fn person(&self) -> &str {
        &self.person
    }

    /// How they proved it, for evidence: `publickey SHA256:…`.
    pub fn proof(&self) -> &str {
        &self.proof
    }

    /// An identity out of nothing, for tests of what comes after it.
    #[cfg(test)]
    pub(crate) fn for_test(person: &str) -> Self {
        Self { person: person.to_owned(), proof: "test".to_owned() }
    }
}
