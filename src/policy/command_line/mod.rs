//! What a command line runs, as far as it can be told without running it.
//!
//! ```text
//!  uptime; tar czf - /srv | gzip -c >/tmp/x        uptime ·  tar czf - /srv  ·  gzip -c  ·  > /tmp/x
//!     │ tokens, syntax (brush-parser)                 ▲
//!     ▼                                               │ names: is it one that runs others, or changes what they mean?
//!    lists, pipes, if, while, for … ──▶ words ────────┘ transfer: is it the far end of rsync or git?
//! ```
//!
//! The shell that is modelled is `/bin/sh`, whichever POSIX shell that is, and where commands are looked at that shell runs the
//! line. It errs on the side of not being sure: whatever two such shells might read differently is not taken apart.

mod line;
mod names;
#[cfg(test)]
mod tests;
mod transfer;
mod way_out;
mod word;

pub use line::Command;
#[cfg(test)]
use line::Unsure;
pub(super) use line::commands;
pub use transfer::Transfer;
pub use way_out::way_out;
