//! Where evidence goes besides the disk: buckets, groups of CloudWatch Logs, syslog servers. It knows folders of sessions, and nothing of
//! the gateway, which starts it and tells it what happens.
//!
//! ```text
//!  event, anchor, sealed ──▶ live log ──┬─▶ CloudWatch Logs      at its own pace each; what is acknowledged is
//!                           (on disk)   ├─▶ syslog               remembered, and the log forgets what all have
//!                                       └─▶ S3 (anchors)
//!  sealed ─────────────────▶ pending ─────▶ S3 (folders)         a pointer to the folder, until there is a receipt
//!  agent_log ──────────────▶ pending ─────▶ where the account's preferences say
//! ```
//!
//! Everything is delivered at least once. Nothing waits in memory: a sink that is down costs disk, up to a bound.
//! `docs/formats.md`, "Where evidence goes", has the layouts, and `docs/decisions/0038-sinks-and-the-spool.md` the reasons.

mod agent_log;
mod anchors;
mod aws;
mod backoff;
mod clock;
mod config;
mod error;
mod health;
mod logs;
mod names;
pub mod retention;
mod running;
mod s3;
mod spool;
mod syslog;
mod worker;

#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;

pub use agent_log::{render, strip};
pub use anchors::{LONGEST_NOTE, Range, fetch_anchors};
pub use aws::{AwsFor, AwsSource};
pub use config::{LockMode, LogsConfig, ObjectLock, S3Config, SinkConfig, SinksConfig, SpoolConfig, SyslogConfig};
pub use error::{Failure, SinkError};
pub use health::{SinkHealth, SinksState};
pub use running::{Options, Sinks, look_at};
pub use spool::{AgentLog, AgentTarget, Item, ObjectEntry, Receipt, Record, SessionName, SpoolPlace, read_records};

/// The name, in health and in the spool, of what delivers logs where accounts' preferences ask for them.
pub const AGENT_LOGS: &str = "agent-logs";
