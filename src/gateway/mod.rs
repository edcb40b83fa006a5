//! The SSH front-end; the only code that names russh.
//!
//! ```text
//!  TCP ─▶ listener ─▶ server ─▶ PreauthStream ─▶ russh ─▶ handler ─▶ connection ─▶ channel ─▶ session
//!         caps, drain           deadline, byte cap │       answers      │            pump
//!                                                 auth    everything  inboxes
//! ```
//!
//! The handler runs in the one task that reads the connection's socket, so it decides and answers at once and leaves
//! whatever may wait to the channel's own tasks.

mod algorithms;
mod arrival;
mod attempts;
mod auth;
mod balanced;
mod channel;
mod channel_screen;
mod channel_stream;
mod client_channel;
pub mod client_files;
mod client_socket;
mod commands;
mod connection;
mod connection_limits;
mod ending;
mod environment;
mod foretell;
mod forward;
mod guesses;
mod handler;
mod home;
mod hop;
mod host_ca;
mod hostkeys;
mod inbox;
mod listener;
mod node_list;
mod penalties;
mod pick_list;
mod picker;
mod preauth_stream;
mod prompts;
pub mod proxy_header;
mod pump;
mod reason_prompt;
mod refusals;
mod review;
mod server;
mod settings;
mod shared;
mod shares;
mod stage;
mod strangers;
#[cfg(test)]
mod tests;

pub use arrival::SpokenWith;
pub use environment::never_passes;
pub use host_ca::HostCa;
pub use hostkeys::HostKeys;
pub use listener::{Gateway, GatewayError};
pub use settings::Settings;

/// What of the SSH library is logged when nobody says: nothing. Strangers choose its words and how many there are; the
/// gateway logs what matters itself.
pub const LOG_FILTER: &str = "russh=off";
