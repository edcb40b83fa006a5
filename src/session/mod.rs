//! The story of one session, from a request to a way to the node. The one place where a decision is asked for.
//!
//! ```text
//!  who (Identity) + where (Destination) + what (ChannelRequest)
//!     ─▶ resolve the node ─▶ decide ─▶ open the record ─▶ open the transport ─▶ the gateway pumps ─▶ close the record
//!          Directory           Policy      evidence          NodeTransport
//! ```

mod open;
mod request;

pub use open::{Caller, Destination, FileSession, Lookup, NodeTransport, Refused, RunningSession, Sessions};
pub use request::{ChannelRequest, RequestKind};
