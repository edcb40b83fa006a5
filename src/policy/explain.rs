//! What the policies would say to somebody, and why: for those who write them. It opens nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::SystemTime;

use cedar_policy::{ActionConstraint, Effect, EntityId, EntityTypeName, EntityUid};

use super::action::Action;
use super::asking::{Asking, ProofOf, SupposedProof};
use super::decision::{Asked, Permitted, Policy};
use super::denial::Denial;
use super::facts::Facts;
use super::judged_line::JudgedLine;
use super::obligations::Terms;
use super::scope::PolicyScope;
use crate::model::{NodeFacts, NodeName, ReasonText};

/// A question that nobody asks.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// Who.
    pub person: String,
    /// The groups they are in.
    pub groups: Vec<String>,
    /// How they would have proved it.
    pub proof: SupposedProof,
    /// Where they connect from.
    pub source: IpAddr,
    /// The node's name.
    pub node_name: NodeName,
    /// What is known of it.
    pub node: Arc<NodeFacts>,
    /// As whom; none means the agent's own user.
    pub os_user: Option<String>,
    /// Whether they have logged in with a second factor.
    pub second_factor: bool,
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
    /// What was said of a line's commands, where it is allowed.
    pub commands: Option<JudgedLine>,
}

impl Policy {
    /// What the policies say to it.
    pub fn explain(&self, scenario: &Scenario) -> Explanation {
        let found = self.outcome(scenario);
        let near = self.about(scenario).filter(|name| !found.policies.contains(name)).collect();
        Explanation { near, ..found }
    }

    /// What the policies say to it, without looking for others that are near.
    pub fn outcome(&self, scenario: &Scenario) -> Explanation {
        let asking = Asking {
            person: &scenario.person,
            groups: &scenario.groups,
            proof: ProofOf::Supposed(&scenario.proof),
            second_factor: scenario.second_factor.then(|| scenario.proof.second_factor()),
            source: scenario.source,
            node_name: &scenario.node_name,
            node: &scenario.node,
            os_user: scenario.os_user.as_deref(),
            reason: scenario.reason.as_ref(),
        };
        let facts = match Facts::of(&asking, self.actions()) {
            Ok(facts) => facts,
            Err(error) => return Explanation::of(Err(self.failed(&error.to_string()))),
        };
        let asked = Asked { asking, action: &scenario.action, facts: &facts, now: scenario.at };
        let (outcome, policies, commands) = match self.judge(&asked) {
            Ok(Permitted { terms, policies, commands }) => {
                (Ok(terms), policies.iter().map(ToString::to_string).collect(), commands)
            }
            Err(denial) => {
                let policies = BTreeSet::from([denial.policy.clone()]);
                (Err(denial), policies, None)
            }
        };
        Explanation { outcome, policies, near: BTreeSet::new(), commands }
    }

    /// The policies that permit, and are about this person and this action.
    fn about(&self, scenario: &Scenario) -> impl Iterator<Item = String> {
        let besides = scenario.os_user.as_ref().map(|_| "RunAs");
        let commands = matches!(scenario.action, Action::Exec { .. }).then_some("Command");
        let asked = [scenario.action.name()].into_iter().chain(besides).chain(commands);
        let asked: Vec<EntityUid> = asked.filter_map(uid).collect();
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

/// How one set of policies differs from another, by their names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Differences {
    /// Those that are new.
    pub added: Vec<String>,
    /// Those that are gone.
    pub removed: Vec<String>,
    /// Those that say something else.
    pub changed: Vec<String>,
}

impl Policy {
    /// What is other in `after`.
    pub fn differences(&self, after: &Self) -> Differences {
        let texts = |policy: &Self| -> BTreeMap<String, String> {
            policy.policies().map(|policy| (policy.id().to_string(), policy.to_string())).collect()
        };
        let (before, after) = (texts(self), texts(after));
        Differences::between(&before, &after)
    }
}

impl Differences {
    /// Of what two sets have by these names.
    pub fn between<T: PartialEq>(before: &BTreeMap<String, T>, after: &BTreeMap<String, T>) -> Self {
        let names = |names: &mut dyn Iterator<Item = &String>| names.cloned().collect();
        Self {
            added: names(&mut after.keys().filter(|name| !before.contains_key(*name))),
            removed: names(&mut before.keys().filter(|name| !after.contains_key(*name))),
            changed: names(
                &mut before
                    .iter()
                    .filter_map(|(name, what)| after.get(name).is_some_and(|other| other != what).then_some(name)),
            ),
        }
    }
}

impl Explanation {
    fn of(outcome: Result<Terms, Denial>) -> Self {
        Self { outcome, policies: BTreeSet::new(), near: BTreeSet::new(), commands: None }
    }
}

fn uid(action: &str) -> Option<EntityUid> {
    let of: EntityTypeName = "Action".parse().ok()?;
    Some(EntityUid::from_type_name_and_id(of, EntityId::new(action)))
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
            proof: SupposedProof::default(),
            source: std::net::Ipv4Addr::LOCALHOST.into(),
            node_name: NodeName::for_test("web-1"),
            node: NodeFacts::named("i-0123456789abcdef0", "web-1").into(),
            os_user: None,
            second_factor: false,
            reason: None,
            action: Action::Shell,
            at: SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(12 * 3600),
        };
        let names = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect::<BTreeSet<_>>();
        let found = policy.explain(&scenario);
        assert_eq!((found.policies, found.near), (names(&["web"]), names(&["night"])));
        assert_eq!(found.outcome.unwrap().max_duration, Some(std::time::Duration::from_secs(3600)));
        scenario.node_name = NodeName::for_test("db-1");
        scenario.node = NodeFacts::named("i-0123456789abcdef0", "db-1").into();
        let found = policy.explain(&scenario);
        assert_eq!((found.policies, found.near), (names(&["default"]), names(&["night", "web"])));
        assert_eq!(found.outcome.unwrap_err().code, RefusalCode::NoRule);
        scenario.at = SystemTime::UNIX_EPOCH;
        assert!(policy.explain(&scenario).outcome.is_ok(), "it is night");
    }
}
