//! Commands that share a helper: each is a stream of a [relay](super::relay), behind which the node runs a process of its own for
//! it.
//!
//! ```text
//!   Commands (one SSH connection's) ─▶ relay ─┬─ stream ⇄ rider.py ⇄ command
//!                                             └─ stream ⇄ rider.py ⇄ command
//!   first command    its own helper; or this, where the client is known to have more
//!   further ones     this: no StartSession, no interpreter to start
//! ```
//!
//! On the stream go the records that otherwise go over lanes, plain: kind, length (4), payload. What the command reads is allowed
//! to it as over lanes, so that a size or a signal never waits behind data; its output is held up by the stream's own window.
//! docs/decisions/0046 says why.
//!
//! | file | what |
//! | --- | --- |
//! | `commands` | one connection's helpers: who may share one, and which commands do |
//! | `open` | a command on its way |
//! | `run` | the task between its stream and its client |

mod commands;
mod open;
mod run;

pub use commands::Commands;
pub(super) use commands::Place;
#[cfg(feature = "testing")]
pub use run::Said;
