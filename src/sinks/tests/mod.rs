//! Sinks against services that are not ours.

mod agent_log;
mod moto;
mod outage;
mod refusals;
mod syslog;
