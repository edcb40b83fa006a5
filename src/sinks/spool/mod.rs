//! What waits on disk.
//!
//! ```text
//!  <spool>/live/0000000000000007.log    events and anchors, one JSON a line, for all sinks; segments
//!  <spool>/cursors/<sink>.json          how far a sink has taken them
//!  <spool>/pending/<sink>/….json        a folder that waits for a sink: a pointer, no copy
//!  <spool>/receipts/<sink>/<day>/<session>.json    what was delivered, and when
//!  <spool>/incomplete/<sink>/<session>             of which a sink did not take every event
//!  <spool>/quarantine/<sink>/….json     what will never be delivered by itself, with why
//! ```

mod disk;
mod folders;
mod incomplete;
mod live;
mod live_reader;
mod quarantine;
mod receipts;
mod record;

pub(crate) use disk::Spool;
pub use disk::SpoolPlace;
pub(crate) use disk::write_whole_for_owner;
pub use folders::{AgentLog, AgentTarget, Item};
pub(crate) use folders::{FolderQueue, quarantined, queued, session_of};
pub(crate) use incomplete::{forget_incomplete, is_incomplete, note_incomplete};
pub(crate) use live::{LiveLog, LiveWriter, Room};
pub use live_reader::read_records;
pub(crate) use live_reader::{Cursor, read_batch};
pub(crate) use quarantine::quarantine_record;
pub use receipts::{ObjectEntry, Receipt};
pub use record::{Record, SessionName};
