//! The name that Systems Manager gives a node.

use std::fmt;

/// A managed node as Session Manager wants it in `Target`: `i-…`, `mi-…` or `ecs:…`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NodeId(pub String);

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
