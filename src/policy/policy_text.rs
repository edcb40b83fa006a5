//! Policies as somebody wrote them down.

/// One file of policies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyText {
    /// The file's name, for messages.
    pub file: String,
    /// What is in it.
    pub text: String,
}
