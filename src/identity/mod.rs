//! Who is this, in IAM terms: from a verified proof and nothing less.
//!
//! ```text
//!  key signature ──verified by the gateway──▶ VerifiedKey ──People::identify──▶ Identity
//!  SSH user name ──Login::parse──▶ Login: node, OS user, reason
//! ```

mod authenticated;
mod login;
mod people;
mod proof;
mod public_key;
mod roster;

pub use authenticated::Identity;
pub use login::{Login, LoginError};
pub use people::{People, PeopleError, name_is_usable};
pub use proof::{KeyFingerprint, VerifiedKey};
pub use public_key::wire_form;
pub use roster::Roster;
