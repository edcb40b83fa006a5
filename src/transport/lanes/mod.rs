//! The lanes of one channel: Session Manager sessions, opened as they are needed, joined to the [`Link`], and replaced
//! where a reconnection may have damaged them.
//!
//! ```text
//!   client ◀─ deliveries ◀─┐           ┌◀─ out lane ◀─┐
//!                          ├─ Link ────┤              ├─ helper on the node
//!   client ─▶ data, control┘           └─▶ in lane ──▶┘
//! ```
//!
//! What is to be done about a lane is decided by two machines that hold no socket, no clock and no task; one loop carries
//! their decisions out.
//!
//! | file | what |
//! | --- | --- |
//! | `out_lane` | the out lane: the helper's first word, reconnections, replacement, ends |
//! | `in_lane` | the in lane: opened when there is something to say |
//! | `retry` | when a lane that could not be opened is tried again |
//! | `noise` | what a node says beside the records, the reason if something fails |
//! | `slot` | the session that a lane has just now, and the one on its way |
//! | `driver` | one task: client ⇄ link ⇄ lanes |
//! | `run` | from the first lane to the channel's end, down the ladder where a rung is silent |
//! | `end` | the one place where a channel ends |
//!
//! [`Link`]: crate::transport::helper::link::Link

mod driver;
mod end;
mod error;
mod in_lane;
mod noise;
mod out_lane;
mod retry;
mod run;
mod silence;
mod slot;

pub use error::LaneError;
pub(super) use run::run;
