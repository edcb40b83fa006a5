//! Logs as Session Manager's agent would have written them, where the account's preferences ask for some.
//!
//! The agent (`agent/session/shell` and `agent/agentlogstocloudwatch` of github.com/aws/amazon-ssm-agent) puts what the terminal showed
//! through `script`, uploads it as `<s3KeyPrefix>/<session id>.log`, or sends it to a stream that is named by the session id: plain, or,
//! where streaming is on, as JSON with the lines in `sessionData`.

mod deliver;
mod escapes;
mod events;
mod render;

pub(crate) use deliver::deliver;
pub use escapes::strip;
pub use render::render;
