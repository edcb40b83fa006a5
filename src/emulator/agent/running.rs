//! What the parts of a running session share.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::context::Context;
use super::document::Task;
use super::wire::Wire;

/// What the parts of a running session share.
pub(super) struct Running<'a> {
    pub(super) context: &'a Arc<Context>,
    pub(super) task: &'a Task,
    pub(super) wire: &'a Wire,
    /// The service has closed the session, or the agent stops.
    pub(super) cancel: &'a CancellationToken,
    /// The client's version, if there was a handshake.
    pub(super) client_version: Option<String>,
}
