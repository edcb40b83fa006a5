//! Puts the parts together, in one place: configuration in, a gateway that has its addresses out.
//!
//! Nothing is global: what a part needs is given to it here, so a test can run the whole product with parts of its own.
//! The configuration is plain text and numbers, and its folder knows none of the parts: what a value must be for the part
//! that takes it is said here as well, so that a problem still has its place in the file.

mod agent_logs;
#[cfg(test)]
mod clients_tests;
mod configuration;
mod control;
mod evidence;
mod holds;
mod reload;
mod retention;
mod sign_in;
mod sinks;
mod start;
mod user_keys;

pub use configuration::{lint, policy_of, read, read_policies, realm_name};
pub use control::CONTROL_SOCKET;
pub use evidence::{EvidenceKeyring, evidence_key_name};
pub use reload::{Cause, Reloader, say_unusable};
pub use retention::HOLDS;
pub use sign_in::provider;
pub use sinks::{AnchorsFrom, SinksFault, fetch_anchors};
pub use start::{App, AppError, load};
pub use user_keys::{UserKeysFound, look_at_user_keys};
