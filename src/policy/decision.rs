//! A request, its decision, and the [`Grant`] without which no transport opens.

use crate::identity::Identity;
use crate::model::{NodeId, ReasonText};

/// What somebody wants to do on a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// An interactive or piped login shell.
    Shell,
    /// One command line, as the client sent it.
    Exec {
        /// The bytes of the command; not always UTF-8.
        command: Vec<u8>,
    },
    /// File operations (the sftp subsystem, `scp` in both its modes).
    Files,
}

impl Action {
    /// The action's name in policies, events and messages.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Shell => "Shell",
            Self::Exec { .. } => "Exec",
            Self::Files => "Files",
        }
    }
}

/// Everything a decision is made from.
#[derive(Clone, Debug)]
pub struct Request<'a> {
    /// Who asks.
    pub identity: &'a Identity,
    /// The node's name as the person wrote it.
    pub node_name: &'a str,
    /// The node that name stands for.
    pub node: &'a NodeId,
    /// The operating-system user asked for; none means the agent's own.
    pub os_user: Option<&'a str>,
    /// What they want to do.
    pub action: Action,
    /// Why.
    pub reason: Option<&'a ReasonText>,
}

/// The answer to a [`Request`].
#[must_use]
#[derive(Debug)]
pub enum Decision {
    /// Go on, with this grant and no other.
    Allow(Grant),
    /// Refused.
    Deny(Denial),
}

/// A refusal: the policy's name and a sentence for the person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Denial {
    /// Which rule refused, or `default`.
    pub policy: String,
    /// What the person reads.
    pub text: String,
}

/// Proof that policy allowed one action, for one identity, on one node. Only this module makes one; it can't be cloned,
/// and opening a transport consumes it.
#[derive(Debug)]
pub struct Grant {
    identity: Identity,
    node_name: String,
    node: NodeId,
    os_user: Option<String>,
    action: Action,
    reason: Option<ReasonText>,
}

impl Grant {
    /// Who may.
    pub fn identity(&self) -> &Identity {
        &self.identity
    }
    /// The node's name as the person wrote it.
    pub fn node_name(&self) -> &str {
        &self.node_name
    }
    /// The node.
    pub fn node(&self) -> &NodeId {
        &self.node
    }
    /// The operating-system user; none means the agent's own.
    pub fn os_user(&self) -> Option<&str> {
        self.os_user.as_deref()
    }
    /// What was allowed.
    pub fn action(&self) -> &Action {
        &self.action
    }
    /// Why.
    pub fn reason(&self) -> Option<&ReasonText> {
        self.reason.as_ref()
    }
}

/// Allows what the configuration lists, denies the rest.
#[derive(Clone, Debug, Default)]
pub struct Policy {
    rules: Vec<Rule>,
}

/// One line of the configuration: these people may do these actions on these nodes as these users.
#[derive(Clone, Debug)]
struct Rule {
    name: String,
    people: Vec<String>,
    nodes: Vec<String>,
    os_users: Vec<String>,
    actions: Vec<String>,
}

impl Policy {
    /// Decides.
    pub fn decide(&self, request: Request<'_>) -> Decision {
        let allowed = self.rules.iter().any(|rule| rule.allows(&request));
        if !allowed {
            return Decision::Deny(Denial {
                policy: "default".to_owned(),
                text: format!(
                    "denied by policy \"default\": no rule lets {} do {} on {}",
                    request.identity.person,
                    request.action.name(),
                    request.node_name
                ),
            });
        }
        Decision::Allow(Grant {
            identity: request.identity.clone(),
            node_name: request.node_name.to_owned(),
            node: request.node.clone(),
            os_user: request.os_user.map(str::to_owned),
            action: request.action,
            reason: request.reason.cloned(),
        })
    }
}

impl Rule {
    fn allows(&self, request: &Request<'_>) -> bool {
        let _ = &self.name;
        let listed = |list: &[String], value: &str| list.iter().any(|item| item == "*" || item == value);
        listed(&self.people, &request.identity.person)
            && (listed(&self.nodes, request.node_name) || listed(&self.nodes, &request.node.0))
            && listed(&self.actions, request.action.name())
            && request.os_user.is_none_or(|user| listed(&self.os_users, user))
    }
}
