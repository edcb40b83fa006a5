//! Who is this, in IAM terms: from a verified proof and nothing less.
//!
//! ```text
//!  key signature ──verified by the gateway──▶ VerifiedKey ──────────People::identify──▶ Identity, with its role in AWS
//!   and its authority's ──────────────────▶ VerifiedCertificate ──identify_certified──▶
//!  SSH user name ──Login::parse──▶ Login: node, OS user, reason
//! ```

mod acting;
mod authenticated;
mod authority;
mod authorized_key;
mod certificate;
mod certified;
mod fitting;
mod key_options;
mod krl;
mod login;
mod people;
mod proof;
mod public_key;
mod restrictions;
mod revocations;
mod roster;
mod source_list;
mod unproved;

pub use acting::{Acting, ActsAs, Role, RoleOf, Roles};
pub use authenticated::{CertificateFacts, Identity};
pub use authority::{Authority, Principal};
pub use authorized_key::{KeyLineError, authority_of_line, key_of_line};
pub use certificate::{Certificate, CertificateError};
pub use certified::Purpose;
pub use login::{Login, LoginError};
pub use people::{LineFault, People, PeopleError, name_is_usable};
pub use proof::{KeyFingerprint, VerifiedCertificate, VerifiedKey};
pub use restrictions::Restrictions;
pub use revocations::Revocations;
pub use roster::Roster;
pub use unproved::Unproved;
