//! Who somebody is, once that is proved.

/// The authenticated person or robot. Only this module makes one, from a proof that was verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    pub(super) person: String,
    pub(super) groups: Vec<String>,
    pub(super) proof: String,
}

impl Identity {
    /// The person's name, as configured.
    pub fn person(&self) -> &str {
        &self.person
    }

    /// The groups they are in, each once.
    pub fn groups(&self) -> &[String] {
        &self.groups
    }

    /// The kind of proof, for policies: `publickey`.
    pub fn method(&self) -> &str {
        self.proof.split(' ').next().unwrap_or_default()
    }

    /// How they proved it, for evidence: `publickey SHA256:…`.
    pub fn proof(&self) -> &str {
        &self.proof
    }

    /// An identity out of nothing, for tests of what comes after it.
    #[cfg(test)]
    pub(crate) fn for_test(person: &str) -> Self {
        Self::for_test_in(person, &[])
    }

    /// The same of somebody in groups.
    #[cfg(test)]
    pub(crate) fn for_test_in(person: &str, groups: &[&str]) -> Self {
        let groups = groups.iter().map(|&group| group.to_owned()).collect();
        Self { person: person.to_owned(), groups, proof: "test".to_owned() }
    }
}
