//! Why a proof proves nobody, or nobody any more. The sentences are for the log and for whoever has logged in by it; who has not
//! learns nothing.

use super::proof::KeyFingerprint;
use crate::model::{IamUser, RefusalCode};

/// Why.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unproved {
    /// Nobody has the key.
    #[error("nobody here has this key")]
    Unknown,
    /// It is somebody else's.
    #[error("the key is {owner}'s, and the login names {named}")]
    OfAnother {
        /// Whose it is.
        owner: String,
        /// Who was named.
        named: String,
    },
    /// It is another's now.
    #[error("the key {0} has become another's")]
    Changed(KeyFingerprint),
    /// Its time is over.
    #[error("the key's expiry-time has passed")]
    Expired,
    /// It counts from elsewhere.
    #[error("the key does not count from {0}")]
    Source(std::net::IpAddr),
    /// A security key that did not ask who touches it.
    #[error(
        "the key must be one that asks for a PIN or a finger (verify-required), and its signature does not say that it did"
    )]
    NotVerified,
    /// It is revoked.
    #[error("the key {0} is revoked")]
    Revoked(KeyFingerprint),
    /// Whether it is revoked can't be known.
    #[error("a list of what is revoked can't be read, so that it counts as if everything were")]
    RevocationsUnreadable,
    /// It is that of an IAM user, and whether it still counts there can't be known.
    #[error("IAM could not be asked for too long whether the key of its user {0} still counts")]
    IamUnanswered(IamUser),
    /// It is right, and not enough.
    #[error("{}", if *.rule { "none of the combinations that are enough for them begins with it" } else { "nothing is enough for them: no rule of [[proofs]] names them" })]
    NotEnough {
        /// A rule is for them.
        rule: bool,
    },
    /// It is right, and what has to come as well nobody could ask for.
    #[error("a code has to come as well, and they have no secret in second_factor.totp_secrets")]
    NoSecret,
    /// It is right, and nobody signs in here.
    #[error("a sign-in has to come as well, and there is no [oidc]")]
    NoProvider,
    /// A second factor that is none any more.
    #[error("a second factor has to be there, and there is none, or its secret is another now")]
    SecondFactorGone,
    /// A password of somebody's, and another one.
    #[error("the password is wrong")]
    PasswordWrong,
    /// A password of nobody's.
    #[error("the login names nobody who has a password (write whose it is in front, as in ada/web-1)")]
    NoPassword,
    /// A password that counts from elsewhere.
    #[error("the password does not count from {0}")]
    PasswordSource(std::net::IpAddr),
    /// A password that was right, and is none or another one now.
    #[error("the password is none any more, or another one now")]
    PasswordGone,
    /// A sign-in that proves nothing, or nobody.
    #[error("{why}")]
    SignIn {
        /// Why, for programs.
        code: RefusalCode,
        /// Why.
        why: String,
    },
    /// A certificate that proves nothing.
    #[error("{which}: {why}")]
    Certificate {
        /// Which one.
        which: String,
        /// Why, for programs.
        code: RefusalCode,
        /// Why.
        why: String,
    },
}

impl Unproved {
    /// The same for programs.
    pub fn code(&self) -> RefusalCode {
        match self {
            Self::Unknown => RefusalCode::KeyUnknown,
            Self::OfAnother { .. } | Self::Changed(_) => RefusalCode::KeyOfAnother,
            Self::Expired => RefusalCode::ProofExpired,
            Self::Source(_) => RefusalCode::SourceNotAllowed,
            Self::NotVerified => RefusalCode::UserNotVerified,
            Self::Revoked(_) => RefusalCode::Revoked,
            Self::RevocationsUnreadable => RefusalCode::RevocationsUnreadable,
            Self::IamUnanswered(_) => RefusalCode::IamUnanswered,
            Self::NotEnough { .. } | Self::NoSecret | Self::NoProvider => RefusalCode::ProofNotEnough,
            Self::PasswordWrong | Self::NoPassword | Self::PasswordGone => RefusalCode::PasswordWrong,
            Self::PasswordSource(_) => RefusalCode::SourceNotAllowed,
            Self::SecondFactorGone => RefusalCode::SecondFactorNeeded,
            Self::Certificate { code, .. } | Self::SignIn { code, .. } => *code,
        }
    }
}
