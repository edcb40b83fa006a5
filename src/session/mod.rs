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
mod coming_end;
mod forward;
mod guard;
mod hop;
mod marks;
mod nodes;
mod open;
mod oversight;
mod reasons;
mod refused;
mod registry;
mod request;
mod running;
mod tunnel;

pub use close::{Outcome, SessionEnd};
pub use coming_end::{ComingEnd, EndOf, Left};
pub use forward::{Dialer, ForwardError, ForwardInput, ForwardOutput, RunningForward};
pub use hop::HopSession;
pub use nodes::Lookup;
#[cfg(test)]
pub(crate) use open::NodeTransport;
pub use open::{Caller, Destination, SessionOpener};
pub use oversight::{KnownNodes, Overseen};
pub use reasons::{Answered, AsksWhy, Reasons};
pub use refused::Refused;
pub use registry::{Registry, Running};
pub use request::{ChannelRequest, RequestKind};
pub use running::{AttachedFiles, InputError, Out, RunningSession, SessionInput, SessionOutput};
