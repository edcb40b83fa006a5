//! The helper: a small program on the node that owns one command, terminal, file service or relay, and the gateway's end of the
//! conversation with it.

pub(in crate::transport) mod codec;
pub(crate) mod deflate;
pub mod link;
pub mod output_window;
pub mod program;
pub mod pulse;
pub mod record;
mod source;

#[cfg(test)]
mod node_tests;
