//! How one SSH channel reaches the node: a command, a shell or a file service over Session Manager sessions (lanes).

mod channel;
pub mod files;
pub mod helper;
pub mod parameter;

pub use channel::{Input, OpenChannel, Out, Output, PtyRequest, Start, TransportError, What};
