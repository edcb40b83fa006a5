//! Why a session is opened, as the person says it.

/// Why a session is opened; at most 256 characters (the limit of `StartSession.Reason`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReasonText(String);

impl ReasonText {
    /// The longest reason that `StartSession` takes, in characters.
    pub const MAX_CHARS: usize = 256;

    /// A reason, unless it is empty, too long or holds control characters.
    pub fn new(text: &str) -> Option<Self> {
        let text = text.trim();
        let fits = !text.is_empty() && text.chars().count() <= Self::MAX_CHARS;
        (fits && !text.chars().any(char::is_control)).then(|| Self(text.to_owned()))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}
