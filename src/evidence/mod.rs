//! Everything kept about a session: for now one log of events, `events.jsonl`, one JSON object a line.
//!
//! ```text
//!  refused login, refused channel ─────────────────────────┐
//!                                                          ▼
//!  Grant ──open──▶ Recorder (field of the open channel) ─▶ EventLog ──write(2)──▶ events.jsonl
//!           │        output, exit                           ▲
//!           │        └─▶ LaneLog (the transport's): lanes ──┤
//!           └─────▶ Ledger (kept by the session): input, close
//! ```
//!
//! Streams are counted and hashed, not kept. A journal that can't be written to ends the sessions it should describe.

mod event;
mod event_log;
mod recorder;

pub use event::{Event, EventCode, Opening, Refusal};
pub use event_log::{EventLog, EvidenceError};
pub use recorder::{LaneLog, Ledger, Outcome, Recorder, Stream, open};
