//! Events of a session in OCSF 1.8.0 (<https://schema.ocsf.io>), as `events.jsonl` of its folder has them.
//!
//! ```text
//!  Event ──▶ class and activity ──▶ members of the class (actor, device, file, process …)
//!       └──▶ "unmapped": the event's own fields, as the journal has them ──▶ Body ──▶ the disk adds time, sequence, fingerprint
//! ```
//!
//! What OCSF has a place for stands there; all of it stands in `unmapped` as well, under the names of `docs/formats.md`, so that one
//! reader serves the journal and the folders.

mod body;
mod classes;
mod context;

pub(super) use body::Body;
pub(super) use context::Context;
