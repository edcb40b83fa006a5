//! SCP: what `scp -O` and older clients speak with a `scp -t` or `scp -f` that they start by exec. Here the gateway is
//! that program; the protocol has no document but OpenSSH's `scp.c`, whose behaviour and messages this follows.
//!
//! ```text
//!   scp -t DIR (sink): the client sends            scp -f PATH (source): the gateway sends
//!     T1763781960 0 1763781960 0\n      times of the next file, with -p
//!     D0755 0 name\n … E\n              a directory and its end, with -r
//!     C0644 1234 name\n bytes \0        a file
//!   and the other side answers each with \0, \x01 message\n (goes on) or \x02 message\n (ends)
//! ```
//!
//! A client that sends an exec line of this form gets it answered here; whatever else begins with `scp` stays an exec.

mod braces;
mod command;
mod glob;
mod pattern;
mod serve;
mod session;
mod sink;
mod source;
#[cfg(test)]
mod tests;
mod wire;

#[cfg(feature = "testing")]
pub use braces::{TooMany, expand_braces};
pub use command::{ScpCommand, parse_scp_command};
pub use serve::serve_scp;
#[cfg(feature = "testing")]
pub use wire::{Record, parse_record};
