//! The control plane of one realm: which nodes there are and what the account's documents say, asked with the gateway's own
//! credentials. Nothing here reaches into a node.

use std::sync::Arc;

use super::{BackendError, BoxFuture};
use crate::model::{NodeFacts, NodeName, NodeRef, RealmName};

/// A node that a name stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// What is known of it.
    pub facts: Arc<NodeFacts>,
    /// Its name, for people.
    pub name: String,
    /// What its computer calls itself: the node's own word, which decides nothing.
    pub computer_name: Option<String>,
    /// Whether its agent is connected.
    pub online: bool,
    /// When its agent was last heard, seconds since the epoch.
    pub last_ping: Option<i64>,
}

/// The nodes of an account and region.
#[derive(Debug, Default)]
pub struct NodeList {
    /// In no order.
    pub nodes: Vec<Node>,
    /// Whether these are all.
    pub is_whole: bool,
}

impl Node {
    /// Which it is, and in which realm.
    pub fn node_ref(&self) -> &NodeRef {
        &self.facts.node
    }

    /// The realm that it is in.
    pub fn realm(&self) -> &RealmName {
        &self.facts.node.realm
    }
}

/// What Portcullis asks of an account itself, whoever is connected. [`super::Realms`] has one of each realm.
pub trait Directory: Send + Sync + std::fmt::Debug {
    /// The node that a name stands for: an id, a Name, or `tag:Key=Value` that matches exactly one.
    fn resolve(&self, name: &NodeName) -> BoxFuture<'_, Result<Node, BackendError>>;
    /// All nodes of the inventory, as they were a few seconds ago at most. ECS tasks are not in it.
    fn nodes(&self) -> BoxFuture<'_, Result<Arc<NodeList>, BackendError>>;
    /// A session document's content, JSON text; `None` where there is none of that name.
    fn document(&self, name: &str) -> BoxFuture<'_, Result<Option<String>, BackendError>>;
    /// Creates a session document or brings it up to date.
    fn put_document(&self, name: &str, content: &str) -> BoxFuture<'_, Result<(), BackendError>>;
}
