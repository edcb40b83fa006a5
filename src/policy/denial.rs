//! A refusal of policy's, for a person and for programs.

use std::fmt;
use std::sync::Arc;

use crate::model::RefusalCode;

/// Why policy refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Denial {
    /// For programs; it stays what it is.
    pub code: RefusalCode,
    /// Which policies refused, or `default`.
    pub policy: String,
    /// Of which set.
    pub version: PolicyVersion,
    /// What the person reads.
    pub text: String,
    /// The reason that would make it another answer, in the policy's words: none was given, or another.
    pub wanted_reason: Option<String>,
}

/// Which policies were in force: the same hash means the same files.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct PolicyVersion(Arc<str>);

/// What somebody can do who is denied, where no policy says so itself. What would be permitted is not theirs to read.
pub(super) const ASK: &str = "ask whoever keeps the policies";

/// The policy of what no policy permits.
pub(super) const DEFAULT: &str = "default";

impl Denial {
    /// `denied by policy "…": ` and the rest of the sentence.
    pub(super) fn new(code: RefusalCode, policy: &str, version: &PolicyVersion, why: fmt::Arguments<'_>) -> Self {
        let text = format!("denied by policy \"{policy}\": {why}");
        Self { code, policy: policy.to_owned(), version: version.clone(), text, wanted_reason: None }
    }
}

impl PolicyVersion {
    /// The version that has this SHA-256, in hexadecimal digits.
    pub(super) fn new(sha256: &str) -> Self {
        Self(sha256.into())
    }

    /// The SHA-256 of all files, in hexadecimal digits.
    pub fn sha256(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for PolicyVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // as much as tells two apart
        write!(f, "PolicyVersion({}…)", self.0.get(..12).unwrap_or(&self.0))
    }
}
