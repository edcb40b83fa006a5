//! What the policies would say to somebody, and why: for those who write them. It opens nothing.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::SystemTime;

use cedar_policy::{ActionConstraint, Effect, EntityId, EntityTypeName, EntityUid};

use super::action::Action;
use super::asking::Asking;
use super::decision::{Asked, Policy};
use super::denial::Denial;
use super::facts::Facts;
use super::obligations::Terms;
use super::scope::PolicyScope;
use crate::model::{NodeId, NodeName, ReasonText};

/// A question that nobody asks.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// Who.
    pub person: String,
    /// The groups they are in.
    pub groups: Vec<String>,
    /// Where they connect from.
    pub source: IpAddr,
    /// The node's name.
    pub node_name: NodeName,
    /// Its id.
    pub node: NodeId,
    /// As whom; none means the agent's own user.
    pub os_user: Option<String>,
    /// Why.
    pub reason: Option<ReasonText>,
    /// What.
    pub action: Action,
    /// When.
    pub at: SystemTime,
}

/// The answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explanation {
    /// What those would be obliged to who carried it out; or the refusal.
    pub outcome: Result<Terms, Denial>,
    /// The policies that decided.
    pub policies: BTreeSet<String>,
    /// Policies that are about this person and this action, and whose conditions do not hold.
    pub near: BTreeSet<String>,
}

impl Policy {
    /// What the policies say to it.
    pub fn explain(&self, scenario: &Scenario) -> Explanation {
        let asking = Asking {
            person: &scenario.person,
            groups: &scenario.groups,
            proof: "publickey",
            identity: None,
            source: scenario.source,
            node_name: &scenario.node_name,
            node: &scenario.node,
            called: Some(scenario.node_name.as_str()),
            os_user: scenario.os_user.as_deref(),
            reason: scenario.reason.as_ref(),
        };
        let facts = match Facts::of(&asking, self.actions()) {
            Ok(facts) => facts,
            Err(error) => return Explanation::of(Err(self.failed(&error.to_string()))),
        };
        let asked = Asked { asking, action: &scenario.action, facts: &facts, now: scenario.at };
        let decided = self.judge(&asked);
        let policies = match &decided {
            Ok((_, policies)) => policies.iter().map(ToString::to_string).collect(),
            Err(denial) => BTreeSet::from([denial.policy.clone()]),
        };
        let near = self.about(scenario).filter(|name| !policies.contains(name)).collect();
        Explanation { outcome: decided.map(|(terms, _)| terms), policies, near }
    }

    /// The policies that permit, and are about this person and this action.
    fn about(&self, scenario: &Scenario) -> impl Iterator<Item = String> {
        let asked: Vec<EntityUid> = [&scenario.action]
            .into_iter()
            .chain(scenario.os_user.as_ref().map(|_| &Action::RunAs))
            .filter_map(uid)
            .collect();
        self.policies()
            .filter(move |policy| {
                let named = match policy.action_constraint() {
                    ActionConstraint::Any => true,
                    ActionConstraint::Eq(action) => asked.contains(&action),
                    ActionConstraint::In(groups) => {
                        let within = |action| {
                            groups.iter().any(|group| group == action || self.actions().is_ancestor_of(group, action))
                        };
                        asked.iter().any(within)
                    }
                };
                let scope = policy.to_pst().map(|policy| PolicyScope::of(policy.body()));
                let theirs = scope.is_ok_and(|scope| scope.concerns(&scenario.person, &scenario.groups));
                policy.effect() == Effect::Permit && named && theirs
            })
            .map(|policy| policy.id().to_string())
    }
}

impl Explanation {
    fn of(outcome: Result<Terms, Denial>) -> Self {
        Self { outcome, policies: BTreeSet::new(), near: BTreeSet::new() }
    }
}

fn uid(action: &Action) -> Option<EntityUid> {
    let of: EntityTypeName = "Action".parse().ok()?;
    Some(EntityUid::from_type_name_and_id(of, EntityId::new(action.name())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::RefusalCode;

    #[test]
    fn it_says_who_decided_and_which_others_were_near() {
        let policy = Policy::for_test(
            "@id(\"web\") @max_duration(\"1h\") permit (principal, action in Action::\"Sessions\", resource)\n\
             when { resource.name == \"web-1\" };\n\
             @id(\"night\") permit (principal, action, resource) when { context.time.toTime() < duration(\"6h\") };\n\
             @id(\"bobs\") permit (principal == Person::\"bob\", action, resource);\n\
             @id(\"files\") permit (principal, action in Action::\"ReadFiles\", resource);",
        );
        let mut scenario = Scenario {
            person: "ada".to_owned(),
            groups: Vec::new(),
            source: std::net::Ipv4Addr::LOCALHOST.into(),
            node_name: NodeName::for_test("web-1"),
            node: NodeId("i-0123456789abcdef0".to_owned()),
            os_user: None,
            reason: None,
            action: Action::Shell,
            at: SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(12 * 3600),
        };
        let names = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect::<BTreeSet<_>>();
        let found = policy.explain(&scenario);
        assert_eq!((found.policies, found.near), (names(&["web"]), names(&["night"])));
        assert_eq!(found.outcome.unwrap().max_duration, Some(std::time::Duration::from_secs(3600)));
        scenario.node_name = NodeName::for_test("db-1");
        let found = policy.explain(&scenario);
        assert_eq!((found.policies, found.near), (names(&["default"]), names(&["night", "web"])));
        assert_eq!(found.outcome.unwrap_err().code, RefusalCode::NoRule);
        scenario.at = SystemTime::UNIX_EPOCH;
        assert!(policy.explain(&scenario).outcome.is_ok(), "it is night");
    }
}
