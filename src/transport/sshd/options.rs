//! What the configuration says of nodes' own sshds.

use std::sync::Arc;

use super::credential::Credential;
use super::host_key::HostKeyRules;

/// How nodes' own sshds are reached.
#[derive(Clone, Debug)]
pub struct SshdOptions {
    /// What is logged in with. Without it there is no such way.
    pub credential: Option<Credential>,
    /// As whom, where the login does not say.
    pub user: Option<String>,
    /// The port that it listens on, on the node itself.
    pub port: u16,
    /// By what nodes are known.
    pub host_keys: Arc<HostKeyRules>,
}

impl Default for SshdOptions {
    fn default() -> Self {
        Self { credential: None, user: None, port: 22, host_keys: Arc::new(HostKeyRules::new(Vec::new(), None)) }
    }
}
