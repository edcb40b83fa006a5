//! Why a text is no policy.

/// Why a text is no policy; each is a sentence that names the place.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PolicyError {
    /// Not JSON.
    #[error("the policy is no JSON (line {line}, column {column})")]
    Json {
        /// From 1.
        line: usize,
        /// From 1.
        column: usize,
    },
    /// Longer than IAM takes.
    #[error("the policy is longer than {most} characters")]
    TooLong {
        /// The limit.
        most: usize,
    },
    /// Something that must be there is not.
    #[error("{place}: {what} is missing")]
    Missing {
        /// Which statement.
        place: String,
        /// Which element.
        what: &'static str,
    },
    /// Something is there that does not belong there.
    #[error("{place}: {what} does not belong here")]
    Unexpected {
        /// Which statement.
        place: String,
        /// Which element.
        what: String,
    },
    /// A value that is none of its kind.
    #[error("{place}: {what}")]
    Value {
        /// Which statement, and which element of it.
        place: String,
        /// What is wrong.
        what: String,
    },
}

impl PolicyError {
    pub(super) fn value(place: &str, what: impl Into<String>) -> Self {
        Self::Value { place: place.to_owned(), what: what.into() }
    }
}
