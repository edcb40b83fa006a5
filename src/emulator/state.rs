//! What every part of the service shares.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::documents::DocumentStore;
use super::http::keys::KeyStore;
use super::id_tokens::IdentityProviders;
use super::nodes::Nodes;
use super::relay::faults::FaultState;
use super::sessions::Sessions;
use super::ssh_keys::SshKeys;
use super::trail::Trail;

/// See the module.
pub(crate) struct Shared {
    pub(crate) region: String,
    pub(crate) account: String,
    /// `ws://…` or `wss://…`, without a path.
    pub(crate) websocket_url: String,
    pub(crate) minute: Duration,
    pub(crate) token_lifetime: Duration,
    pub(crate) require_signed_upgrade: bool,
    /// The longest websocket message.
    pub(crate) most_message: usize,
    pub(crate) keys: KeyStore,
    pub(crate) providers: IdentityProviders,
    pub(crate) ssh_keys: SshKeys,
    pub(crate) nodes: Arc<Nodes>,
    pub(crate) documents: DocumentStore,
    pub(crate) sessions: Arc<Sessions>,
    pub(crate) faults: Arc<FaultState>,
    /// Records of calls, if they are kept.
    pub(crate) trail: Option<Trail>,
    /// Cancelled when the service shuts down.
    pub(crate) stop: CancellationToken,
    /// Every task that outlives a request.
    pub(crate) tasks: TaskTracker,
}
