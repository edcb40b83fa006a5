//! What AWS knows of a node, and policies may look at. Nothing of it is what the node says of itself, but for its platform and its address.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::NodeRef;

/// A node as policies see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeFacts {
    /// Which it is, and in which realm.
    pub node: NodeRef,
    /// What AWS calls it: its Name tag, or the name under which it was registered. Nobody on the node can choose it.
    pub called: Option<String>,
    /// `Linux`, `Windows` or `MacOS`, where the inventory has it.
    pub platform: Option<String>,
    /// Its address on its network, as its agent says: no policy looks at it, but a way there is a way to the node itself.
    pub address: Option<IpAddr>,
    /// Its tags; or, where they could not be read, why: a sentence. No tags and tags that are not known are two things, or
    /// a policy that forbids by a tag would not while nobody can read it.
    pub tags: Result<NodeTags, String>,
}

/// Tags, by their keys.
pub type NodeTags = BTreeMap<String, String>;

impl NodeFacts {
    /// Of a node of which the id is known, and that it has no name and no tags.
    pub fn bare(node: NodeRef) -> Self {
        Self { node, called: None, platform: None, address: None, tags: Ok(NodeTags::new()) }
    }

    /// What policies know it by: its name, or its id where it has none.
    pub fn name(&self) -> &str {
        self.called.as_deref().unwrap_or(&self.node.id.0)
    }

    /// Whether an address, seen from the node, is the node itself.
    pub fn is_at(&self, address: IpAddr) -> bool {
        address.is_loopback() || self.address == Some(address)
    }

    /// Whether [`Self::name`] is what it is called: who has no name that is known may have one among tags that are not.
    pub fn is_name_known(&self) -> bool {
        self.called.is_some() || self.tags.is_ok()
    }
}

#[cfg(test)]
impl NodeFacts {
    /// One with a name, in the only realm that a test knows.
    pub(crate) fn named(id: &str, name: &str) -> Self {
        Self { called: Some(name.to_owned()), ..Self::bare(NodeRef::for_test(id)) }
    }

    /// The same in another realm.
    pub(crate) fn within(self, realm: &str) -> Self {
        Self { node: NodeRef { realm: super::RealmName::of_test(realm), ..self.node }, ..self }
    }

    /// The same node with one more tag.
    pub(crate) fn tagged(mut self, key: &str, value: &str) -> Self {
        if let Ok(tags) = &mut self.tags {
            tags.insert(key.to_owned(), value.to_owned());
        }
        self
    }
}
