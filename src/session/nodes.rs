//! Which nodes somebody may mean: by what they asked for, ahead of time, and for a list.

use tokio::task::JoinHandle;

use super::open::SessionOpener;
use super::refused::Refused;
use crate::backend::{BackendError, Listing, Node, Resolved};
use crate::identity::Identity;
use crate::model::{NodeAsked, NodeForm, NodeName, RealmName};
use crate::policy::Action;

/// A node that is being looked up ahead of time.
#[derive(Debug)]
pub struct Lookup(pub(super) JoinHandle<Resolved>);

impl SessionOpener {
    /// What somebody asks for by a name of a node.
    pub fn asked(&self, name: &NodeName) -> NodeAsked {
        NodeAsked::of(name, self.realms.names())
    }

    /// Whether a name is, or may be, one that a node has which this person could be permitted something on.
    pub async fn may_be_a_node(&self, identity: &Identity, node: &NodeAsked) -> bool {
        let policy = self.policies.current();
        if !policy.may_concern(identity, node) {
            return false;
        }
        let within = policy.realms_for(identity, node.realms());
        !matches!(self.realms.resolve(node.name(), &within).await.node, Err(BackendError::Target(_)))
    }

    /// The realms whose nodes are reached.
    pub fn realms(&self) -> &[RealmName] {
        self.realms.names()
    }

    /// The task that a policy names for somebody, where there is one.
    async fn task(&self, identity: &Identity, name: &NodeName) -> Option<Node> {
        let asked = self.asked(name);
        let within = self.policies.current().realms_for(identity, asked.realms());
        self.realms.resolve(asked.name(), &within).await.node.ok()
    }

    /// Begins to look a node up, while the client is still asking for a channel; not for somebody who may do nothing there.
    pub fn look_up(&self, identity: &Identity, node: &NodeAsked) -> Option<Lookup> {
        let policy = self.policies.current();
        if !policy.may_concern(identity, node) {
            return None;
        }
        let within = policy.realms_for(identity, node.realms());
        let (realms, name) = (self.realms.clone(), node.name().clone());
        Some(Lookup(tokio::spawn(async move { realms.resolve(&name, &within).await })))
    }

    /// Why a name is not one node's: with those that it could be, of which this person may know.
    pub(super) async fn no_one_node(
        &self,
        identity: &Identity,
        asked: &NodeAsked,
        within: &[RealmName],
        action: &Action,
        error: BackendError,
    ) -> Refused {
        let name = asked.written();
        let policy = self.policies.current();
        match error {
            BackendError::Several { nodes, .. } => {
                let usable = policy.usable_nodes(identity);
                let nodes = nodes.iter().filter(|node| usable.has(&node.facts)).map(Node::node_ref);
                // with its realm it is that one, whatever there is elsewhere
                let called =
                    nodes.map(|node| if self.has_one_realm() { node.id.to_string() } else { node.to_string() });
                match several(name, &called.collect::<Vec<_>>()) {
                    Some(text) => Refused::NoSuchNode(BackendError::Target(text)),
                    None => Refused::NotConcerned(policy.nothing_permits(identity.person(), action, name, None)),
                }
            }
            BackendError::Target(why) => match policy.denies_unnamed(identity, asked, within, action) {
                Some(denial) => Refused::NotConcerned(denial),
                None => Refused::NoSuchNode(BackendError::Target(match self.near(identity, asked, within).await {
                    Some(near) => format!("{why}; did you mean {near}?"),
                    None => why,
                })),
            },
            error => Refused::Node(error),
        }
    }

    /// The name of a node of this person's in these realms that is nearly this one. Nobody is asked for nodes by their ids or tags.
    async fn near(&self, identity: &Identity, asked: &NodeAsked, within: &[RealmName]) -> Option<String> {
        let NodeForm::Word(word) = asked.name().form() else { return None };
        let nodes = self.nodes_in(identity, within).await.nodes;
        let near = nodes.into_iter().map(|node| {
            let far = strsim::levenshtein(word, &node.name);
            if self.has_one_realm() {
                return (far, node.name);
            }
            let name = format!("{}.{}", node.name, node.realm());
            (far.min(strsim::levenshtein(asked.written().as_str(), &name)), name)
        });
        let (far, near) = near.min_by_key(|(far, _)| *far)?;
        (far <= word.chars().count().div_ceil(3)).then_some(near)
    }

    fn has_one_realm(&self) -> bool {
        self.realms.names().len() < 2
    }

    /// The nodes of these realms that a person could be permitted to use, by their names.
    async fn nodes_in(&self, identity: &Identity, within: &[RealmName]) -> Listing {
        let mut listing = self.realms.nodes(within).await;
        let policy = self.policies.current();
        let usable = policy.usable_nodes(identity);
        listing.nodes.retain(|node| usable.has(&node.facts));
        listing.nodes.sort_by(|a, b| (&a.name, a.node_ref()).cmp(&(&b.name, b.node_ref())));
        listing
    }

    /// The nodes that a person could be permitted to use, by their names, and the ECS tasks that policies name for them, so many at most:
    /// those are in no inventory, and looked up one by one.
    pub async fn nodes(&self, identity: &Identity, most_tasks: usize) -> Listing {
        let policy = self.policies.current();
        let mut listing = self.nodes_in(identity, &policy.realms_for(identity, self.realms.names())).await;
        for task in policy.tasks_named_for(identity).iter().take(most_tasks) {
            listing.nodes.extend(self.task(identity, task).await);
        }
        listing
    }
}

/// Of a name that several nodes have, those that somebody may know of; nothing where that is none.
fn several(name: &NodeName, ids: &[String]) -> Option<String> {
    let more = if ids.len() > MAX_SHOWN { ", …" } else { "" };
    let shown = ids.iter().take(MAX_SHOWN).cloned().collect::<Vec<_>>().join(", ");
    match ids {
        [] => None,
        // the others are not theirs to know of, and it is not decided by that which one a name means
        [one] => Some(format!("{name} is not the name of one node alone; use {one}")),
        ids => Some(format!("{} nodes are called {name}; use one of {shown}{more}", ids.len())),
    }
}

/// Of several nodes by one name, so many are named.
const MAX_SHOWN: usize = 8;
