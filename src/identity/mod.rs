//! Who is this, in IAM terms: from a verified proof and nothing less.
//!
//! ```text
//!  key signature ──verified by the gateway──▶ VerifiedKey ──────────People::identify──▶ Proved: Identity, with its role in AWS,
//!   and its authority's ──────────────────▶ VerifiedCertificate ──identify_certified──▶  or half of one, for which a code is asked
//!  ID token ──────verified by TokenRules────▶ VerifiedToken, SignedIn ──identify_signed_in──▶  or a sign-in
//!  SSH user name ──Login::parse──▶ Login: node, OS user, reason
//! ```

mod acting;
mod authenticated;
mod authority;
mod authorized_key;
mod aws_claims;
mod certificate;
mod certified;
mod enough;
mod fitting;
mod hop_login;
mod id_token;
mod key_options;
mod krl;
mod login;
mod passwords;
mod people;
mod proof;
mod public_key;
mod restrictions;
mod revocations;
mod roster;
mod second_factors;
mod sign_in;
mod source_list;
mod totp;
mod unproved;
mod user_keys;

pub use acting::{Acting, ActsAs, By, RealmRoles, Role, RoleOf, Roles};
pub use authenticated::{CertificateFacts, Identity, SecondFactorFacts};
pub use authority::{Authority, Principal};
pub use authorized_key::{KeyLineError, authority_of_line, key_of_line};
pub use certificate::{Certificate, CertificateError};
pub use certified::Purpose;
pub use enough::{Asker, Combination, EnoughFor, FirstProof, HalfProved, Proved, SecondProof, TotpFault};
pub use hop_login::Around;
#[cfg(test)]
pub(crate) use id_token::tests::Signer;
pub use id_token::{Expected, IdToken, KeySet, SignInFacts, TokenError, TokenRules, VerifiedToken};
pub use login::{Login, LoginError};
pub use passwords::{PasswordHash, password_is_usable};
pub use people::{LineFault, People, PeopleError, name_is_usable};
pub use proof::{KeyFingerprint, VerifiedCertificate, VerifiedKey};
pub use restrictions::Restrictions;
pub use revocations::Revocations;
pub use roster::Roster;
pub use second_factors::{SecondFactors, WrongCode};
#[cfg(test)]
pub(crate) use sign_in::tests::{signed_in_by, signed_in_saying, verified_by};
pub use sign_in::{SignIns, SignedIn};
pub use source_list::{SourceList, SourceListError};
pub use unproved::Unproved;
pub use user_keys::{KeysOfUser, KeysOfUsers, UserKey, UserKeyFault};
