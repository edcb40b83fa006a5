//! Why a sign-in came to nothing.

use crate::identity::TokenError;
use crate::model::RefusalCode;

/// Why. The sentences are for the log; none has anything of a token.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignInError {
    /// The person, or somebody else at the provider, said no.
    #[error("the sign-in was denied at the provider")]
    Denied,
    /// The code's time is over.
    #[error("nobody signed in in time")]
    Expired,
    /// It does not answer.
    #[error("the provider can't be asked: {0}")]
    Unreachable(String),
    /// It answers something that is of no use.
    #[error("the provider's answer can't be used: {0}")]
    Unusable(String),
    /// As many go on as may.
    #[error("as many sign in at once, or have begun to in this minute, as may")]
    TooMany,
    /// What it says of the person proves nothing.
    #[error(transparent)]
    Token(#[from] TokenError),
}

impl SignInError {
    /// The same for programs.
    pub fn code(&self) -> RefusalCode {
        match self {
            Self::Denied | Self::Expired | Self::Token(_) => RefusalCode::SignInFailed,
            Self::Unreachable(_) | Self::Unusable(_) | Self::TooMany => RefusalCode::SignInUnavailable,
        }
    }

    /// What the person is told who has proved nothing: nothing of the provider, and nothing of who is known here.
    pub fn told(&self) -> &'static str {
        match self {
            Self::Denied => "The sign-in was denied at the provider.",
            Self::Expired => "The time for the sign-in is over. Connect again for another code.",
            Self::Unreachable(_) | Self::Unusable(_) => {
                "Nobody can sign in now: the provider can't be asked, and the gateway's log says why. Try again later."
            }
            Self::TooMany => "Too many people sign in at once. Try again in a minute.",
            Self::Token(_) => "What the provider says of you can't be verified, and the gateway's log says why.",
        }
    }
}
