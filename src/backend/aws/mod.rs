//! Systems Manager through the AWS SDK: the real service, a private endpoint, or the embedded one on loopback. Nothing
//! here knows which.
//!
//! ```text
//!   open ─▶ AssumeRole, if need be ─▶ turn of the throttle ─▶ StartSession ─▶ stream URL checked ─▶ signed upgrade ─▶ open message ─▶ driver
//!             (one attempt: a second one might start a second session)                                               │
//!                                              lost: ResumeSession, the same way again ◀─────────────────────────────┤
//!                                              let go of: TerminateSession             ◀─────────────────────────────┘
//! ```

mod assume;
mod clients;
mod connector;
mod documents;
#[cfg(test)]
mod embedded_tests;
mod error;
mod inventory;
mod kms;
#[cfg(test)]
mod moto_tests;
mod node_arn;
mod own_permissions;
mod persons;
#[cfg(test)]
mod persons_tests;
mod refusals;
mod service;
mod session_policy;
mod sessions;
mod shared;
mod sign;
mod sinks;
mod stream_url;
mod tags;
mod targets;
#[cfg(test)]
mod tests;
mod throttle;
mod user_keys;
#[cfg(test)]
mod user_keys_tests;
#[cfg(test)]
mod web_identity_tests;

pub use clients::{AwsOptions, LOG_FILTER, LOG_FILTER_OF_TOOLS};
pub use kms::{KmsKeys, KmsOptions};
pub use service::AwsBackend;
pub use sinks::{Place, source};
