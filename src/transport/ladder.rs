//! The ladder: which sessions carry a channel, best first, and what is known of each node.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use crate::model::NodeId;

/// Which sessions carry a channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize, serde::Serialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Rung {
    /// An out lane (`NonInteractiveCommands`, separate streams), and an in lane when there is something to say.
    TwoLanes,
    /// One raw terminal for both directions, over AWS's own document: slower, and works wherever Session Manager does.
    OneLane,
}

/// What is known of the nodes. Clones share it.
#[derive(Clone, Debug)]
pub(super) struct Ladder {
    fixed: Option<Rung>,
    seen: Arc<Mutex<HashMap<NodeId, Rung>>>,
}

impl Ladder {
    /// Nothing known yet; `fixed` allows one rung only.
    pub(super) fn new(fixed: Option<Rung>) -> Self {
        Self { fixed, seen: Arc::default() }
    }

    /// Where to start with a node.
    pub(super) fn rung(&self, node: &NodeId) -> Rung {
        let seen = || self.seen.lock().unwrap_or_else(PoisonError::into_inner).get(node).copied();
        self.fixed.or_else(seen).unwrap_or(Rung::TwoLanes)
    }

    /// The rung to try after one that did not answer.
    pub(super) fn below(&self, failed: Rung) -> Option<Rung> {
        match (self.fixed, failed) {
            (None, Rung::TwoLanes) => Some(Rung::OneLane),
            _ => None,
        }
    }

    /// A rung worked on a node.
    pub(super) fn stands(&self, node: &NodeId, rung: Rung) {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).insert(node.clone(), rung);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_worked_is_where_the_next_channel_starts() {
        let ladder = Ladder::new(None);
        let node = NodeId("i-0123".into());
        assert_eq!(ladder.rung(&node), Rung::TwoLanes);
        assert_eq!(ladder.below(Rung::TwoLanes), Some(Rung::OneLane));
        ladder.stands(&node, Rung::OneLane);
        assert_eq!(ladder.rung(&node), Rung::OneLane);
        assert_eq!(ladder.below(Rung::OneLane), None);
        assert_eq!(Ladder::new(Some(Rung::TwoLanes)).below(Rung::TwoLanes), None);
    }
}
