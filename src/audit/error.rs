//! Why nothing more is shown.

use portcullis_index::IndexError;

use super::shown::shown;

/// What kind of trouble it is, for exit codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It was asked wrongly.
    Usage,
    /// It did not work.
    Failed,
    /// A directory, a file or the index can't be used.
    Directory,
    /// It is not theirs to see.
    Denied,
    /// Whoever looks is gone.
    Gone,
}

/// A sentence, and its kind.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{text}")]
pub struct Trouble {
    /// What kind of trouble it is.
    pub kind: Kind,
    /// What the person reads.
    pub text: String,
}

impl Trouble {
    /// A sentence of a kind.
    pub fn new(kind: Kind, text: impl Into<String>) -> Self {
        Self { kind, text: text.into() }
    }
}

impl From<IndexError> for Trouble {
    /// Why the index did not answer.
    fn from(error: IndexError) -> Self {
        let kind = match error {
            IndexError::TooShort { .. } | IndexError::TooMuch { .. } | IndexError::NoId(_) => Kind::Usage,
            IndexError::Unreachable { .. }
            | IndexError::Damaged { .. }
            | IndexError::Newer { .. }
            | IndexError::Folder { .. } => Kind::Directory,
            _ => Kind::Failed,
        };
        Self::new(kind, shown(&error.to_string()))
    }
}
