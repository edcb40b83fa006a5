//! The Session Manager data channel as state machines.
//!
//! AWS Session Manager carries a session over two websockets that the service joins: one from the client, one from the
//! agent on the node. On top of them runs a small reliable protocol of its own: framed messages with sequence numbers,
//! selective acknowledgements, retransmission, a handshake and a way to continue after either websocket was lost.
//! This crate is that protocol for both ends, and nothing else.
//!
//! ```text
//!   ssh, sftp, ...      │ Bytes                                        Bytes │  shell, command, port
//!                       ▼                                                    ▼
//!                 ┌─────────────┐  websocket   ┌─────────┐  websocket  ┌─────────────┐
//!  (mux::Mux) ───▶│ DataChannel │◀────────────▶│ service │◀───────────▶│ DataChannel │◀─── (mux::Mux)
//!                 │ Role::Client│  one binary  └─────────┘             │ Role::Agent │
//!                 └─────────────┘  message = one Message               └─────────────┘
//! ```
//!
//! It opens no socket, reads no clock and draws no random number: the time and a seed are arguments, what must be sent
//! is asked for with `poll_*`, and what came in is told with `handle_*`. The same inputs always give the same outputs,
//! so that the tests run hours of loss and reconnection in milliseconds (see `testing`, with the feature of that name).
//!
//! | module | what is in it |
//! | --- | --- |
//! | [`message`] | the frame around everything: header, digest, payload |
//! | [`payload`] | what a frame can carry: data, sizes, flags, acknowledgements, the handshake's JSON |
//! | [`mux`] | many streams over one channel, for port sessions |
//! | [`open`] | the text message that opens a websocket |
//! | [`channel`] | one end of a data channel: order, acknowledgement, retransmission, handshake |
//! | [`control`] | the agent's control channel: tasks, completions |
//! | [`version`] | agent and client versions, compared as both ends do |
//!
//! # Driving it
//!
//! Here the two ends are joined by hand, where otherwise two websockets and the service are. A message that one gives is
//! a message that the other is told; what came of it is polled; and when nothing moves any more, the clock does:
//!
//! ```
//! use bytes::Bytes;
//! use portcullis_protocol::{AgentRole, ChannelError, ClientRole, DataChannel, Event, Limits, PayloadType, Role, Time};
//!
//! fn pass(now: Time, from: &mut DataChannel, to: &mut DataChannel) -> Result<(), ChannelError> {
//!     while let Some(message) = from.poll_transmit(now) {
//!         to.handle_message(now, message)?;
//!     }
//!     Ok(())
//! }
//!
//! # fn main() -> Result<(), ChannelError> {
//! let mut now = Time::from_secs(1_700_000_000);
//! let role = Role::Client(ClientRole { version: "1.2.764.0".to_owned() });
//! let mut client = DataChannel::new(role, Limits::default(), 1, now);
//! let mut agent = DataChannel::new(Role::Agent(AgentRole::default()), Limits::default(), 2, now);
//! client.handle_connected(now);
//! agent.handle_connected(now);
//!
//! let mut output = Bytes::from_static(b"$ ");
//! assert_eq!(agent.write(now, PayloadType::Output, &mut output), 2);
//! pass(now, &mut agent, &mut client)?;
//! assert!(matches!(client.poll_event(), Some(Event::Established { handshake: false, .. })));
//! let data = Event::Data { kind: PayloadType::Output, bytes: Bytes::from_static(b"$ ") };
//! assert_eq!(client.poll_event(), Some(data));
//!
//! // A lone acknowledgement waits a moment for others: the core says until when, and whoever has the clock comes back.
//! assert!(!agent.is_drained());
//! now = client.poll_timeout().expect("an acknowledgement is owed");
//! client.handle_timeout(now)?;
//! pass(now, &mut client, &mut agent)?;
//! assert!(agent.is_drained());
//! # Ok(())
//! # }
//! ```
//!
//! # Sources
//!
//! AWS does not document the protocol; its two public programs do. Comments name their files: a path that begins with
//! `agent/` is one of [amazon-ssm-agent](https://github.com/aws/amazon-ssm-agent) 3.3.0.0, a path that begins with
//! `src/` is one of [session-manager-plugin](https://github.com/aws/session-manager-plugin) 1.2.0.0, and `smux` is
//! [smux](https://github.com/xtaci/smux), 1.5.15 in the agent, which both use. RFCs are cited by section. A constant
//! without a source is a choice of this crate.
//!
//! Where a comment says *observed*, the behaviour was recorded from the same versions of both through an independent
//! relay.

pub mod channel;
pub mod control;
mod handshake;
pub mod message;
pub mod mux;
pub mod open;
pub mod payload;
mod payload_type;
mod rng;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
pub mod version;

pub use channel::{AgentRole, ChannelError, ClientRole, DataChannel, Event, Limits, Resends, Role, Stats};
pub use message::{Message, MessageError, MessageType};
pub use payload::{Flag, PayloadType, Size};

/// A point in time: how long after the Unix epoch, as the caller's clock has it.
///
/// The caller supplies it with every call and never lets it go back. Frames carry it as their creation date, in
/// milliseconds.
pub type Time = core::time::Duration;
