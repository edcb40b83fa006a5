//! Session Manager on one machine, with no AWS account: the service and a node, for demos and tests.
//!
//! ```text
//!            ssm, sts, iam: JSON and form calls          ssmmessages: websockets
//!   client ─────────────▶ http ──▶ api              client ⇄ relay ⇄ agent
//!                          │ sigv4, keys               ▲
//!                          └──▶ channels ──────────────┘
//!                                  control channel ⇄ agent
//! ```
//!
//! [`Service`] is the service: it knows clients and agents by the wire alone, and AWS's own plugin, command line and agent
//! work with it. [`agent`] is a node. Both are separate on purpose.

pub mod agent;
mod api;
mod channels;
mod config;
mod documents;
mod end;
mod fault;
#[cfg(test)]
pub(crate) mod faults;
mod http;
mod iam;
mod id_tokens;
mod nodes;
mod relay;
mod service;
mod session;
mod sessions;
mod ssh_keys;
mod state;
mod tokens;
mod trail;

#[cfg(test)]
pub(crate) use config::IdentityProvider;
pub use config::{ApiKey, EmulatorError, NodeConfig, Role, SelfMadeTls, ServiceConfig};
pub(crate) use fault::Fault;

#[cfg(test)]
pub(crate) use faults::{Cut, Effect, End, FrameFault, Frames};
#[cfg(feature = "testing")]
pub use iam::Trial;
pub use service::Service;
#[cfg(test)]
pub(crate) use {config::SpeaksFor, session::LiveSession};

#[cfg(test)]
mod tests;
