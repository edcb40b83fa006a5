//! Forwards: bytes between a client and a port that a node reaches, or a socket on it. Nobody but the node dials.
//!
//! ```text
//!   Grant ─▶ Ports::dial ─▶ the helper's relay    resolves on the node, tells, is judged, dials     (way: helper)
//!                        └▶ PortLane              a port session of the agent's for each destination (way: agent)
//!                        │      └─ smux: a stream for each connection ─▶ ForwardStream ─▶ whoever carries it
//!                        └▶ plain_port            for a tunnel: a port session of its own, without a multiplexer        (way: agent)
//! ```
//!
//! [`Ports`] is one SSH connection's: what it has opened is used again by its later forwards to the same place, as long as they are
//! the same person's and for the same reason, and nobody else's.

mod error;
mod lane;
mod ports;
mod relayed;
mod stream;
mod tunnel;

pub use error::DialError;
pub use ports::Ports;
#[cfg(test)]
pub(crate) use stream::Way;
pub use stream::{ForwardLimits, ForwardReader, ForwardStream, ForwardWriter};
