//! Syslog: RFC 5424 messages, counted as RFC 5425 says, over TLS. Syslog acknowledges nothing: what was written in the last
//! seconds before a connection broke is written again.

mod connection;
mod message;

pub(crate) use connection::{Connection, Connector};
pub(crate) use message::{Header, anchor_text, frame, messages};
