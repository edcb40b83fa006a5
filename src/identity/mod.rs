//! Who is this, in IAM terms.

/// The authenticated person or robot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The person's name, as configured.
    pub person: String,
    /// How they proved it, for evidence: `publickey SHA256:…`.
    pub proof: String,
}
