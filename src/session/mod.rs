//! The story of one session, from a request to a way to the node. The one place where a decision is asked for.
//!
//! ```text
//!  who (Identity) + where (Login) + what (Action)
//!     ─▶ resolve the node ─▶ decide ─▶ open the record ─▶ open the transport ─▶ the gateway pumps ─▶ close the record
//!          Backend             Policy      evidence          NodeTransport
//! ```

mod open;

pub use open::{Caller, FileSession, Lookup, NodeTransport, Refused, RunningSession, Sessions, Wish};
