//! Looking at people's sessions, and ending them: who may, and that they did.

use std::collections::HashMap;
use std::sync::Arc;

use super::open::{Caller, SessionOpener};
use crate::evidence::{AlertRaised, Event, EvidenceError, EvidenceViewed};
use crate::model::{NodeFacts, NodeName, NodeRef};
use crate::policy::{Action, Decision, Denial, Grant, Request};

/// The nodes that there are, with what is known of each by now.
#[derive(Debug)]
pub struct KnownNodes(HashMap<NodeRef, Arc<NodeFacts>>);

/// Where a session was, or is.
#[derive(Clone, Copy, Debug)]
pub struct Overseen<'a> {
    /// The node.
    pub node: &'a NodeRef,
    /// What AWS called it then.
    pub called: Option<&'a str>,
}

impl SessionOpener {
    /// The nodes of all realms, as they were a few seconds ago at most. ECS tasks are not among them.
    pub async fn known_nodes(&self) -> KnownNodes {
        let listing = self.realms.nodes(self.realms.names()).await;
        KnownNodes(listing.nodes.into_iter().map(|node| (node.node_ref().clone(), node.facts)).collect())
    }

    /// Whether somebody may look at a session, or end it: [`Action::Review`], [`Action::EndSession`]. Of a node that is in no inventory
    /// any more the tags are not known, so that a policy that looks at them refuses.
    pub fn may_oversee(
        &self,
        caller: &Caller,
        nodes: &KnownNodes,
        of: Overseen<'_>,
        action: Action,
    ) -> Result<Grant, Denial> {
        let node = nodes.0.get(of.node).cloned().unwrap_or_else(|| {
            Arc::new(NodeFacts {
                node: of.node.clone(),
                called: of.called.map(str::to_owned),
                platform: None,
                address: None,
                tags: Err(format!("{} is in no inventory by now, so its tags are not known", of.node.id)),
            })
        });
        let node_name = NodeName::parse(&of.node.id.0);
        let node_name = node_name.map_err(|error| self.policies.current().failed(&error.to_string()))?;
        let decision = self.policies.decide(Request {
            identity: &caller.identity,
            source: caller.source.ip(),
            node_name: &node_name,
            node: &node,
            os_user: None,
            action,
            reason: caller.login.reason(),
        });
        match decision {
            Decision::Allow(grant) => Ok(grant),
            Decision::Deny(denial) => Err(denial),
        }
    }

    /// Tells what the policies want somebody to know at once of a look, or of an end.
    pub fn note_alerts(&self, caller: &Caller, grant: &Grant) {
        for (policy, text) in grant.take_alerts() {
            let raised = AlertRaised {
                policy: &policy,
                text: &text,
                person: caller.identity.person(),
                node: grant.node(),
                node_name: grant.node_name().as_str(),
                reason: grant.reason().map(|reason| reason.as_str()),
            };
            self.note(caller.connection, &Event::AlertRaised(raised));
        }
    }

    /// Somebody is about to look at evidence. When this returns, the event is written; where it can't be, nobody looks.
    pub async fn note_view(&self, caller: &Caller, event: EvidenceViewed<'_>) -> Result<(), EvidenceError> {
        self.log.record_view(caller.connection, &Event::EvidenceViewed(event)).await
    }
}
