//! Many streams over one data channel: smux, protocol version 1, as port sessions use it.
//!
//! The agent multiplexes a port session whose document has the type `LocalPortForwarding`
//! (agent/session/plugins/port/port.go, GetSession; the client's end is
//! src/sessionmanagerplugin/session/portsession/muxportforwarding.go). The client opens a stream for each
//! connection, the agent dials the port for each. The bytes of the multiplexer travel as ordinary data, cut anywhere:
//!
//! ```text
//!   connection ─ write ─▶ ┌─────┐ poll_output ─▶ DataChannel::write(Output)
//!   connection ─ write ─▶ │ Mux │
//!   connection ◀─ read ── └─────┘ ◀ handle_input ─ Event::Data { kind: Output, .. }
//! ```
//!
//! Version 1 has no window per stream (that is UPD, in smux's frame.go of version 2), only one budget for everything
//! received and not yet read. Once it is spent, [`Mux::wants_input`] is false and the whole channel waits, so a
//! connection that does not read holds up the others when it has the budget to itself: read promptly, or [`Mux::reset`]
//! it.
//!
//! The other programs that speak it know no half-close: to them FIN is the end of both directions, and what they have
//! not delivered then is discarded (handleDataTransfer in the agent's port_mux.go; Close in smux's stream.go). This one
//! delivers everything that came before a FIN, and can go on sending after one.

mod frame;
mod session;
mod stream;

pub use frame::{Command, FrameError, Header};
pub use session::{Keepalive, Mux, MuxError, MuxEvent, MuxLimits, MuxRole, MuxStats};
pub use stream::{Read, StreamId};

#[cfg(test)]
mod tests;
