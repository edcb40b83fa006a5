//! Sinks against services that are not ours.

mod agent_log;
mod bucket;
mod child;
mod headers;
mod incomplete;
mod memory;
mod moto;
mod outage;
mod refusals;
mod syslog;
