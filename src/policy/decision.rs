//! A request, its decision, and the [`Grant`] without which no transport opens.

use crate::config::Rule;
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
    policy: String,
    identity: Identity,
    node_name: String,
    node: NodeId,
    os_user: Option<String>,
    action: Action,
    reason: Option<ReasonText>,
}

impl Grant {
    /// The rule that allowed it.
    pub fn policy(&self) -> &str {
        &self.policy
    }
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

impl Policy {
    /// A policy of these rules and no other.
    pub fn new(rules: &[Rule]) -> Self {
        Self { rules: rules.to_vec() }
    }

    /// Whether any rule could be about this person and the node that a name may stand for.
    pub fn may_concern(&self, person: &str, node_name: &str) -> bool {
        let may = |node: &String| node == "*" || node == node_name || NodeId::is_like(node);
        self.rules.iter().any(|rule| listed(&rule.people, person) && rule.nodes.iter().any(may))
    }

    /// The refusal that stands whatever node a name turns out to be: whoever may do nothing there does not learn by the
    /// answer whether there is such a node, and nobody looks for one on their behalf.
    pub fn denies_unseen(&self, person: &str, node_name: &str, action: &Action) -> Option<Denial> {
        (!self.may_concern(person, node_name)).then(|| denial(person, action, node_name, None))
    }

    /// Decides.
    pub fn decide(&self, request: Request<'_>) -> Decision {
        let Some(rule) = self.rules.iter().find(|rule| allows(rule, &request)) else {
            // what is missing is the user where everything else would do
            let only_the_user = self.rules.iter().any(|rule| allows_but_for_the_user(rule, &request));
            let user = request.os_user.filter(|_| only_the_user);
            return Decision::Deny(denial(request.identity.person(), &request.action, request.node_name, user));
        };
        Decision::Allow(Grant {
            policy: rule.name.clone(),
            identity: request.identity.clone(),
            node_name: request.node_name.to_owned(),
            node: request.node.clone(),
            os_user: request.os_user.map(str::to_owned),
            action: request.action,
            reason: request.reason.cloned(),
        })
    }

    /// The nodes that rules name for a person, `*` for any, each once. Says nothing about what may be done there.
    pub fn nodes_of(&self, person: &str) -> Vec<String> {
        let theirs = self.rules.iter().filter(|rule| listed(&rule.people, person));
        let names: std::collections::BTreeSet<_> = theirs.flat_map(|rule| rule.nodes.iter().cloned()).collect();
        names.into_iter().collect()
    }
}

fn denial(person: &str, action: &Action, node: &str, os_user: Option<&str>) -> Denial {
    let action = action.name();
    let user = os_user.map(|user| format!(" as {user}")).unwrap_or_default();
    let text = format!("denied by policy \"default\": no rule lets {person} do {action} on {node}{user}");
    Denial { policy: "default".to_owned(), text }
}

fn allows(rule: &Rule, request: &Request<'_>) -> bool {
    // the agent's own user needs no line of its own
    allows_but_for_the_user(rule, request) && request.os_user.is_none_or(|user| listed(&rule.os_users, user))
}

fn allows_but_for_the_user(rule: &Rule, request: &Request<'_>) -> bool {
    listed(&rule.people, request.identity.person())
        && (listed(&rule.nodes, request.node_name) || listed(&rule.nodes, &request.node.0))
        && listed(&rule.actions, request.action.name())
}

fn listed(list: &[String], value: &str) -> bool {
    list.iter().any(|item| item == "*" || item == value)
}

/// A grant out of nothing, for tests of what comes after policy.
#[cfg(test)]
impl Grant {
    pub(crate) fn for_test(node: &str, action: Action) -> Self {
        Self {
            policy: "test".to_owned(),
            identity: Identity::for_test("tester"),
            node_name: node.to_owned(),
            node: NodeId(node.to_owned()),
            os_user: None,
            action,
            reason: None,
        }
    }

    /// The same for this reason.
    pub(crate) fn because(self, reason: ReasonText) -> Self {
        Self { reason: Some(reason), ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(people: &str, nodes: &str, users: &[&str], actions: &str) -> Rule {
        Rule {
            name: "r".to_owned(),
            people: vec![people.to_owned()],
            nodes: vec![nodes.to_owned()],
            os_users: users.iter().map(|&user| user.to_owned()).collect(),
            actions: vec![actions.to_owned()],
        }
    }

    fn decide(rules: &[Rule], user: Option<&str>, action: Action) -> Decision {
        let identity = Identity::for_test("ada");
        let node = NodeId("i-1".to_owned());
        Policy::new(rules).decide(Request {
            identity: &identity,
            node_name: "web-1",
            node: &node,
            os_user: user,
            action,
            reason: None,
        })
    }

    fn allowed(rules: &[Rule], user: Option<&str>, action: Action) -> bool {
        matches!(decide(rules, user, action), Decision::Allow(_))
    }

    #[test]
    fn nothing_is_allowed_that_is_not_listed() {
        assert!(!allowed(&[], None, Action::Shell));
        for (rules, yes) in [
            (rule("ada", "web-1", &[], "Shell"), true),
            (rule("*", "i-1", &[], "*"), true),
            (rule("bob", "web-1", &[], "Shell"), false),
            (rule("ada", "web-2", &[], "Shell"), false),
            (rule("ada", "web-1", &[], "Exec"), false),
        ] {
            assert_eq!(allowed(std::slice::from_ref(&rules), None, Action::Shell), yes, "{rules:?}");
        }
    }

    #[test]
    fn who_has_no_rule_for_a_name_is_denied_before_anybody_looks_for_it() {
        let unseen =
            |rules: &[Rule], name: &str| Policy::new(rules).denies_unseen("ada", name, &Action::Shell).is_some();
        assert!(unseen(&[], "web-1") && unseen(&[rule("bob", "*", &[], "*")], "web-1"));
        assert!(unseen(&[rule("ada", "web-2", &[], "*")], "web-1"));
        for nodes in ["web-1", "*", "i-0123456789abcdef0", "mi-0123456789abcdef0", "ecs:c_t_r"] {
            assert!(!unseen(&[rule("ada", nodes, &[], "*")], "web-1"), "{nodes} may be it");
        }
        // in the same words as after a look
        let Decision::Deny(seen) = decide(&[], None, Action::Shell) else { panic!("allowed") };
        assert_eq!(Policy::new(&[]).denies_unseen("ada", "web-1", &Action::Shell), Some(seen));
    }

    #[test]
    fn an_os_user_has_to_be_listed_even_where_all_else_is_allowed() {
        let rules = [rule("*", "*", &["deploy"], "*")];
        assert!(allowed(&rules, None, Action::Files));
        assert!(allowed(&rules, Some("deploy"), Action::Files));
        let Decision::Deny(denial) = decide(&rules, Some("root"), Action::Shell) else { panic!("allowed") };
        assert_eq!(denial.text, "denied by policy \"default\": no rule lets ada do Shell on web-1 as root");
        assert!(allowed(&[rule("*", "*", &["*"], "*")], Some("root"), Action::Shell));
    }

    #[test]
    fn two_rules_do_not_add_up() {
        let rules = [rule("ada", "web-1", &[], "Shell"), rule("ada", "web-2", &["root"], "*")];
        assert!(!allowed(&rules, Some("root"), Action::Shell));
    }
}
