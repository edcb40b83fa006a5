//! What the tests of several rooms stand on. What only one room's tests use is in that room's `tests` folder.
//!
//! ```text
//!   EmbeddedTransport ── lanes ──▶ AwsBackend ── as in the cloud ──▶ EmbeddedService (with its agent)
//! ```

mod embedded_service;
mod embedded_transport;

pub(crate) use crate::transport::tests::node_end;
pub(crate) use embedded_service::{EmbeddedService, NODE, PATIENCE};
pub(crate) use embedded_transport::EmbeddedTransport;
