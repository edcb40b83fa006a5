//! One node of all that there are: its id alone is Systems Manager's, and unique in an account and region by promise only there.

use std::fmt;

use super::{NodeId, RealmName};

/// A node, in its realm. Whatever is kept by node is kept by this, or one account's state would be another's.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NodeRef {
    /// The realm whose node it is.
    pub realm: RealmName,
    /// What `Target` wants there.
    pub id: NodeId,
}

impl NodeRef {
    /// That node of that realm.
    pub fn new(realm: &RealmName, id: impl Into<String>) -> Self {
        Self { realm: realm.clone(), id: NodeId(id.into()) }
    }
}

/// As a login may name it.
impl fmt::Display for NodeRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.id, self.realm)
    }
}

#[cfg(test)]
impl NodeRef {
    /// A node of the only realm that a test knows.
    pub(crate) fn for_test(id: &str) -> Self {
        Self::new(&RealmName::for_test(), id)
    }
}
