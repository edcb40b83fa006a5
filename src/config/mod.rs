//! What an operator writes down: one TOML file, a short list of environment variables over it, flags over both.
//!
//! ```text
//!  gateway.toml ──▶ file ──▶ overrides (PORTCULLIS_…, then flags) ──▶ check ──▶ Config
//!                    │                                                  │
//!                    └── a problem always names the file, line and column ┘
//! ```
//!
//! What people may do is in files of its own, in Cedar, which the TOML file names; they are read and checked along with it. So are
//! files of keys, but for one difference: what is wrong with a line there proves nothing, and all else is in force.
//!
//! Every key, with its default and the reason for it, is in `config/gateway.toml`; the JSON schema of the same types is
//! `config/gateway.schema.json`.

mod check;
mod clients;
mod file;
mod iam_keys;
mod lanes;
mod load;
mod oidc;
mod ownership;
mod password;
mod policy_files;
mod problem;
mod proof_files;
mod retired;
mod schema;
mod signature;
mod sinks;
mod sshd;
mod warn;
mod words;

pub use check::{Checks, Fault, PolicyFault, PolicyFindings, ProofFault, ProofPlace};
pub use clients::{Algorithms, AlgorithmsFor, ProxyProtocol};
pub use file::{
    CertificateAuthority, Combination, Config, Endpoints, EnoughProofs, Environment, Evidence, Gateway, Limits, Person,
    Principal, Realm, RecordingWish, RoleOfPeople, SeenAs,
};
pub use iam_keys::IamKeys;
pub use lanes::{ForwardTransport, Helper, Lanes, Rung, ShellTransport};
pub use load::{Loaded, Overrides, Trust, client_secret, load, load_policies, load_proofs, odd};
pub use oidc::Oidc;
pub use password::Password;
pub use policy_files::PolicyFile;
pub use problem::{ConfigError, Problem, render};
pub use proof_files::{KeyFile, ProofFiles, Whose};
pub use schema::schema;
pub use signature::Signature;
pub use sshd::{Sshd, SshdCredential};
