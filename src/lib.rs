//! Portcullis: an SSH server in front of AWS Session Manager.
//!
//! ```text
//!  ssh client ─▶ gateway ─▶ session ─▶ transport ─▶ backend + data_channel ─wss─▶ Session Manager ─▶ agent
//!                   │         │ ▲
//!               identity   policy │
//!                             ▼   │
//!                          evidence
//! ```
//!
//! Every channel takes the one way through: login → identity → action → decision → evidence open → lanes → pump →
//! evidence close. A transport opens only with a [`policy::Grant`], which only [`policy`] can make.

pub mod app;
pub mod backend;
pub mod cli;
pub mod config;
pub mod data_channel;
pub mod emulator;
pub mod evidence;
pub mod files;
pub mod gateway;
pub mod identity;
pub mod model;
pub mod policy;
pub mod session;
pub mod telemetry;
pub mod transport;
