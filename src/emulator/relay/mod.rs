//! Joining the two websockets of a session.
//!
//! ```text
//!            ┌ socket task (client) ┐                    ┌ socket task (agent) ┐
//!  client ──▶│ read ── input, ack ──┼──▶ to_agent ──────▶│ write               │──▶ agent
//!         ◀──│ write ◀──────────────┼── to_client ◀──────┼─ output, ack ─ read │◀──
//!            └──────────────────────┘    mailboxes       └─────────────────────┘
//! ```
//!
//! One task owns one websocket and does both directions of it, so that a blocked write never stops the reads of the same
//! socket. A full mailbox stops the reading of the other socket. Frames pass as they came: nothing but the message type in
//! the header is looked at, and the payload is not copied.

pub(crate) mod faults;
pub(crate) mod frame;
pub(crate) mod mailbox;
pub(crate) mod socket;
