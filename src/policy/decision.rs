//! A request and its decision by the rules. Deny is the default and the error path.

use std::collections::BTreeSet;

use super::action::Action;
use super::denial::Denial;
use super::grant::{Grant, Terms};
use super::rule::Rule;
use crate::identity::Identity;
use crate::model::{NodeId, NodeName, ReasonText};

/// Everything a decision is made from.
#[derive(Clone, Debug)]
pub struct Request<'a> {
    /// Who asks.
    pub identity: &'a Identity,
    /// The node's name as the person wrote it.
    pub node_name: &'a NodeName,
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

/// Allows what the configuration lists, denies the rest.
#[derive(Clone, Debug, Default)]
pub struct Policy {
    rules: Vec<Rule>,
}

/// The nodes that rules name for somebody.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedNodes {
    /// Each once.
    pub names: BTreeSet<NodeName>,
    /// Whether a rule lets them name any.
    pub any: bool,
}

impl Policy {
    /// A policy of these rules and no other.
    pub fn new(rules: Vec<Rule>) -> Self {
        Self { rules }
    }

    /// Whether any rule is about this person.
    pub fn has_rules(&self, person: &str) -> bool {
        self.rules_of(person).next().is_some()
    }

    /// Whether any rule could be about this person and the node that a name may stand for.
    pub fn may_concern(&self, person: &str, node_name: &NodeName) -> bool {
        let mut theirs = self.rules_of(person);
        theirs.any(|rule| rule.nodes.has(|node| node == node_name || node.may_be_an_id()))
    }

    /// Whether any rule lets this person use a node by that very name, if there is one.
    pub fn names(&self, person: &str, node_name: &NodeName) -> bool {
        self.rules_of(person).any(|rule| rule.nodes.has(|node| node == node_name))
    }

    /// The refusal of a name that is no node's, for whom no rule lets use it by that name: the same as for a node of others,
    /// or whoever has a rule for one node could ask for the names of all.
    pub fn denies_unnamed(&self, person: &str, node_name: &NodeName, action: &Action) -> Option<Denial> {
        (!self.names(person, node_name)).then(|| Denial::of_default(person, action.name(), node_name, None))
    }

    /// The refusal that stands whatever node a name turns out to be: whoever may do nothing there does not learn by the
    /// answer whether there is such a node, and nobody looks for one on their behalf.
    pub fn denies_unseen(&self, person: &str, node_name: &NodeName, action: &Action) -> Option<Denial> {
        (!self.may_concern(person, node_name)).then(|| Denial::of_default(person, action.name(), node_name, None))
    }

    /// Decides.
    pub fn decide(&self, request: Request<'_>) -> Decision {
        let Some(rule) = self.rules.iter().find(|rule| allows(rule, &request)) else {
            // what is missing is the user where everything else would do
            let only_the_user = self.rules.iter().any(|rule| allows_but_for_the_user(rule, &request));
            let user = request.os_user.filter(|_| only_the_user);
            let (person, action) = (request.identity.person(), request.action.name());
            return Decision::Deny(Denial::of_default(person, action, request.node_name, user));
        };
        Decision::Allow(Grant {
            policy: rule.name.clone(),
            identity: request.identity.clone(),
            node_name: request.node_name.clone(),
            node: request.node.clone(),
            os_user: request.os_user.map(str::to_owned),
            terms: Terms::of(&request.action),
            action: request.action,
            reason: request.reason.cloned(),
        })
    }

    /// The nodes that rules name for a person. Says nothing about what may be done there.
    pub fn nodes_of(&self, person: &str) -> NamedNodes {
        let names = self.rules_of(person).flat_map(|rule| rule.nodes.values().cloned()).collect();
        NamedNodes { names, any: self.rules_of(person).any(|rule| rule.nodes.is_any()) }
    }

    fn rules_of(&self, person: &str) -> impl Iterator<Item = &Rule> {
        self.rules.iter().filter(move |rule| rule.people.has(|name| name == person))
    }
}

fn allows(rule: &Rule, request: &Request<'_>) -> bool {
    // the agent's own user needs no line of its own
    allows_but_for_the_user(rule, request)
        && request.os_user.is_none_or(|user| rule.os_users.has(|allowed| allowed == user))
}

fn allows_but_for_the_user(rule: &Rule, request: &Request<'_>) -> bool {
    rule.people.has(|name| name == request.identity.person())
        && rule.nodes.has(|node| node == request.node_name || node.as_str() == request.node.0)
        && rule.actions.has(|kind| *kind == request.action.kind())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::RefusalCode;

    fn rule(people: &str, nodes: &str, users: &[&str], actions: &str) -> Rule {
        let list = |items: &[&str]| items.iter().map(|&item| item.to_owned()).collect::<Vec<_>>();
        Rule {
            name: "r".to_owned(),
            people: Rule::names(&list(&[people])),
            nodes: Rule::nodes(&list(&[nodes])).unwrap(),
            os_users: Rule::names(&list(users)),
            actions: Rule::actions(&list(&[actions])).unwrap(),
        }
    }

    fn decide(rules: &[Rule], user: Option<&str>, action: Action) -> Decision {
        let identity = Identity::for_test("ada");
        let node = NodeId("i-1".to_owned());
        Policy::new(rules.to_vec()).decide(Request {
            identity: &identity,
            node_name: &NodeName::for_test("web-1"),
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
        let unseen = |rules: &[Rule], name: &str| {
            let name = NodeName::for_test(name);
            Policy::new(rules.to_vec()).denies_unseen("ada", &name, &Action::Shell).is_some()
        };
        assert!(unseen(&[], "web-1") && unseen(&[rule("bob", "*", &[], "*")], "web-1"));
        assert!(unseen(&[rule("ada", "web-2", &[], "*")], "web-1"));
        for nodes in ["web-1", "*", "i-0123456789abcdef0", "mi-0123456789abcdef0", "ecs:c_t_r"] {
            assert!(!unseen(&[rule("ada", nodes, &[], "*")], "web-1"), "{nodes} may be it");
        }
        // in the same words as after a look
        let Decision::Deny(seen) = decide(&[], None, Action::Shell) else { panic!("allowed") };
        assert_eq!(seen.code, RefusalCode::NoRule);
        assert_eq!(
            Policy::new(Vec::new()).denies_unseen("ada", &NodeName::for_test("web-1"), &Action::Shell),
            Some(seen)
        );
    }

    #[test]
    fn a_name_that_is_no_node_s_is_denied_like_another_s_node_unless_a_rule_has_it() {
        let unnamed = |nodes: &str| {
            let name = NodeName::for_test("web-1");
            Policy::new(vec![rule("ada", nodes, &[], "*")]).denies_unnamed("ada", &name, &Action::Shell)
        };
        assert!(unnamed("web-1").is_none() && unnamed("*").is_none());
        let Decision::Deny(denial) = decide(&[rule("ada", "i-0123456789abcdef0", &[], "*")], None, Action::Shell)
        else {
            panic!("allowed")
        };
        assert_eq!(unnamed("i-0123456789abcdef0"), Some(denial), "in the same words");
    }

    #[test]
    fn an_os_user_has_to_be_listed_even_where_all_else_is_allowed() {
        let rules = [rule("*", "*", &["deploy"], "*")];
        assert!(allowed(&rules, None, Action::Files));
        assert!(allowed(&rules, Some("deploy"), Action::Files));
        let Decision::Deny(denial) = decide(&rules, Some("root"), Action::Shell) else { panic!("allowed") };
        assert_eq!(denial.text, "denied by policy \"default\": no rule lets ada do Shell on web-1 as root");
        assert_eq!(denial.code, RefusalCode::OsUserNotListed);
        assert!(allowed(&[rule("*", "*", &["*"], "*")], Some("root"), Action::Shell));
    }

    #[test]
    fn two_rules_do_not_add_up() {
        let rules = [rule("ada", "web-1", &[], "Shell"), rule("ada", "web-2", &["root"], "*")];
        assert!(!allowed(&rules, Some("root"), Action::Shell));
    }
}
