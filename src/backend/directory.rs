//! The control plane: which nodes there are and what the account's documents say, asked with the gateway's own
//! credentials. Nothing here reaches into a node.

use super::{BackendError, BoxFuture};
use crate::model::{NodeId, NodeName};

/// A node that a name stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// What `Target` wants.
    pub id: NodeId,
    /// Its name, for people.
    pub name: String,
    /// What AWS calls it: its Name tag, or the name under which it was registered. Nobody on the node can choose it.
    pub called: Option<String>,
    /// Whether its agent is connected.
    pub online: bool,
    /// When its agent was last heard, seconds since the epoch.
    pub last_ping: Option<i64>,
}

/// What Portcullis asks of an account itself, whoever is connected.
pub trait Directory: Send + Sync + std::fmt::Debug {
    /// The node that a name stands for: an id, a Name, or `tag:Key=Value` that matches exactly one.
    fn resolve(&self, name: &NodeName) -> BoxFuture<'_, Result<Node, BackendError>>;
    /// A session document's content, JSON text; `None` where there is none of that name.
    fn document(&self, name: &str) -> BoxFuture<'_, Result<Option<String>, BackendError>>;
    /// Creates a session document or brings it up to date.
    fn put_document(&self, name: &str, content: &str) -> BoxFuture<'_, Result<(), BackendError>>;
}
