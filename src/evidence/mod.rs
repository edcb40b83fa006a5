//! Everything kept about a session: for now one log of events, `events.jsonl`, one JSON object a line.
//!
//! ```text
//!  refused login, refused channel ───────────────────note──┐
//!                                                          ▼
//!  Grant ──open──▶ SessionRecord (the session's): close ─▶ EventLog ─queue─▶ Writer ─write(2)─▶ events.jsonl
//!                    ├─▶ InputRecord, OutputRecord: bytes,  ▲
//!                    │     exit ────────────────────────────┤
//!                    ├─▶ LaneRecord (the transport's) ──────┤
//!                    └─▶ FileRecord (the file ledger's) ────┘
//! ```
//!
//! Streams are counted and hashed, not kept. A log that can't be written to ends the sessions it should describe, and who
//! needs to know that a line is written waits for that; who holds a socket does not.

mod configuration_event;
mod decision_event;
mod encryption;
mod error;
mod event;
mod event_log;
mod fields;
mod file_event;
mod folder;
mod kept;
mod kept_folder;
mod live;
mod log_file;
mod ocsf;
mod outlet;
mod progress;
mod proof;
mod questions;
mod record;
mod redaction;
mod share;
mod tally;
#[cfg(test)]
mod tests;
mod variables;
mod views;
mod writer;

pub use configuration_event::{ConfigurationLoaded, ConfigurationRefused};
pub use decision_event::{AlertRaised, ChannelRefused, DecidedOn, ReasonAsked, SessionJudged};
pub use encryption::{DataKeys, Encryption};
pub use error::EvidenceError;
pub use event::{
    ByHop, Event, EvidenceViewed, ForwardInside, GatewayAsked, HoldsChanged, LoginAccepted, LoginRefused, MethodTried,
    RefusalSum, RefusalsSummed, SessionDeleted, SessionSshd,
};
pub use file_event::{FileAsked, FileClosed, FileDigest, FileOpened, FileOperation, FileOutcome, Paths};

#[cfg(test)]
pub(crate) use event::SessionLane;
pub use event_log::{Bounds, EventLog, Keeping, Place};
pub use kept::{
    KeptPeople, KeptPerson, KeptPolicies, keep_holds, keep_people, keep_policies, kept_people, kept_policies,
};
pub use outlet::{Outlet, ToldEvent};
pub use proof::{Recorded, Unrecorded};
pub use record::{Opening, Outcome, SessionRecord};
pub use redaction::Redaction;
pub use share::Shares;
pub use views::{FileRecord, ForwardRecord, InputRecord, LaneRecord, OutputRecord, Stream, Taken};
