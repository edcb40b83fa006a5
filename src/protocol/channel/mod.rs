//! One end of a data channel: [`DataChannel`].
//!
//! It is driven like this, by whoever owns the websocket, the clock and the application's ends:
//!
//! ```text
//!                 handle_connected / handle_disconnected              write, send_size, send_flag
//!   websocket ──▶ handle_message ───────────┐               ┌──────── (commands)  ◀── application
//!                                           ▼               ▼
//!                                        ┌─────────────────────┐
//!                                        │     DataChannel     │
//!                                        └─────────────────────┘
//!   websocket ◀── poll_transmit ────────────┘    │          └────────  poll_event ──▶ application
//!                                  clock ◀── poll_timeout
//!                                  clock ──▶ handle_timeout
//! ```
//!
//! After anything was handled or commanded: call [`DataChannel::poll_transmit`] until it has nothing more (or the socket
//! is full), then [`DataChannel::poll_event`] likewise, then sleep until [`DataChannel::poll_timeout`] or the next
//! message. Stop reading the socket while [`DataChannel::wants_input`] is false.
//!
//! The parts, each with one mechanism:
//!
//! | file | mechanism |
//! | --- | --- |
//! | `data_channel` | the public calls, and which mechanism gets which frame |
//! | `handshake` | who may send what before the session's type is known |
//! | `inbound` | order, duplicates, acknowledgements owed |
//! | `outbound` | cutting data in frames, numbering them |
//! | `flight` | frames on their way: acknowledged, overtaken, sent again |
//! | `window` | how many bytes may be on their way |
//! | `tick` | the clock by which AWS's agent sends again |
//! | `rtt` | the round trip, and when to lose patience |
//! | `stall` | signs that the channel is worse than slow |

mod config;
mod data_channel;
mod error;
mod event;
mod flight;
mod handshake;
mod inbound;
mod outbound;
mod rtt;
mod stall;
mod tick;
mod window;

pub use config::{AgentRole, ClientRole, Limits, Resends, Role};
pub use data_channel::DataChannel;
pub use error::{ChannelError, Lost, Misuse, PeerIncompatible, PeerMisbehaved};
pub use event::{Event, Stats};
pub use stall::Stall;

#[cfg(test)]
mod tests;
