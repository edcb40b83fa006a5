//! The story of one session, from a request to its end. The one place where a decision is asked for, where bytes are
//! recorded, and where it is known what runs.
//!
//! ```text
//!  who (Identity) + where (Destination) + what (ChannelRequest)
//!   open      ─▶ resolve the node ─▶ decide ─▶ open the record ─▶ open the transport
//!                  Directory          Policy    evidence           NodeTransport
//!   running   ─▶ both directions pass the record          registry  who runs what, and ends it
//!   close     ─▶ the exit, the end
//! ```

mod close;
mod open;
mod registry;
mod request;
mod running;

pub use close::{Outcome, SessionEnd};
pub use open::{Caller, Destination, Lookup, NodeTransport, Refused, SessionOpener};
pub use registry::{Changes, Registry, Running};
pub use request::{ChannelRequest, RequestKind};
pub use running::{
    AttachedFiles, FileSession, InputError, Out, RecordedStream, RunningSession, SessionInput, SessionOutput,
};
