//! Who somebody is, once that is proved.

/// The authenticated person or robot. Only this module makes one, from a proof that was verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    pub(super) person: String,
    pub(super) proof: String,
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
