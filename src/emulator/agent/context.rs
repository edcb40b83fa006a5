//! What every part of the agent shares.

use super::config::AgentConfig;
use super::endpoint::Endpoint;
use super::manner::Manner;

/// What this agent says its version is: that of the agent it behaves like. Clients want four components.
pub(super) const VERSION: &str = "3.3.0.0";

/// What every part of the agent shares.
pub(super) struct Context {
    pub(super) config: AgentConfig,
    pub(super) endpoint: Endpoint,
    pub(super) manner: Manner,
}
