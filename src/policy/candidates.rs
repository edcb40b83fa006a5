//! The policies that a question could be about, by what stands in their heads.
//!
//! ```text
//!  permit (principal in Group::"ops", action in Action::"Sessions", resource) when { … };
//!          └──────────────────── head ────────────────────────────────────┘
//!
//!  question ─▶ whose heads match: one bit each for principal, action, resource ─▶ those policies alone are evaluated
//! ```
//!
//! Cedar evaluates a policy as `principal && action && resource && conditions`, from the left, and nothing in a head can fail
//! to be evaluated. So one whose head does not match permits nothing, forbids nothing and is no error: with it or without
//! it the answer is the same, and has the same policies. Conditions are never looked at here, because they can fail, and what
//! can't be evaluated has to be seen.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use cedar_policy::{
    ActionConstraint, Entities, EntityUid, PolicySet, PrincipalConstraint, Request, ResourceConstraint,
};

/// All policies, and which of them could be about what.
#[derive(Debug)]
pub(super) struct Candidates {
    whole: Arc<PolicySet>,
    /// In the order of the marks.
    policies: Vec<cedar_policy::Policy>,
    principals: Heads,
    actions: Heads,
    resources: Heads,
    kept: Mutex<Kept>,
}

/// What one of the three places of a head says, in all policies.
#[derive(Debug, Default)]
struct Heads {
    /// Whatever it is.
    any: Marks,
    /// This very entity.
    equal: HashMap<EntityUid, Marks>,
    /// This entity, or one that is in it.
    within: HashMap<EntityUid, Marks>,
}

/// Some of the policies: a bit for each.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
struct Marks(Vec<u64>);

/// Sets that have been made, since to make one takes longer than to ask it.
#[derive(Debug, Default)]
struct Kept {
    sets: HashMap<Marks, Arc<PolicySet>>,
    /// In all of them.
    policies: usize,
}

/// How many policies may stand in the sets that are kept: some megabytes. Beyond, it begins anew.
const MOST_KEPT: usize = 4096;

impl Candidates {
    pub(super) fn of(whole: PolicySet) -> Self {
        let policies: Vec<_> = whole.policies().cloned().collect();
        let (mut principals, mut actions, mut resources) = (Heads::default(), Heads::default(), Heads::default());
        for (number, policy) in policies.iter().enumerate() {
            match policy.principal_constraint() {
                // the types are the schema's, and there is one for each place
                PrincipalConstraint::Any | PrincipalConstraint::Is(_) => principals.any.set(number),
                PrincipalConstraint::Eq(uid) => principals.equal.entry(uid).or_default().set(number),
                PrincipalConstraint::In(uid) | PrincipalConstraint::IsIn(_, uid) => {
                    principals.within.entry(uid).or_default().set(number);
                }
            }
            match policy.action_constraint() {
                ActionConstraint::Any => actions.any.set(number),
                ActionConstraint::Eq(uid) => actions.equal.entry(uid).or_default().set(number),
                ActionConstraint::In(uids) => {
                    uids.into_iter().for_each(|uid| actions.within.entry(uid).or_default().set(number));
                }
            }
            match policy.resource_constraint() {
                ResourceConstraint::Any | ResourceConstraint::Is(_) => resources.any.set(number),
                ResourceConstraint::Eq(uid) => resources.equal.entry(uid).or_default().set(number),
                ResourceConstraint::In(uid) | ResourceConstraint::IsIn(_, uid) => {
                    resources.within.entry(uid).or_default().set(number);
                }
            }
        }
        Self { whole: Arc::new(whole), policies, principals, actions, resources, kept: Mutex::default() }
    }

    /// All of them.
    pub(super) fn whole(&self) -> &PolicySet {
        &self.whole
    }

    /// Those that have to be asked: the answer is the one that all of them would give.
    pub(super) fn of_question(&self, question: &Request, entities: &Entities) -> Arc<PolicySet> {
        let (Some(principal), Some(action), Some(resource)) =
            (question.principal(), question.action(), question.resource())
        else {
            return self.whole.clone();
        };
        let mut marks = self.principals.matching(principal, entities);
        marks.keep(&self.actions.matching(action, entities));
        marks.keep(&self.resources.matching(resource, entities));
        let count = marks.count();
        // to make and to keep nearly the same once more is not worth it
        if count > self.policies.len() / 2 {
            return self.whole.clone();
        }
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(set) = kept.sets.get(&marks) {
            return set.clone();
        }
        let candidates = self.policies.iter().enumerate().filter(|(number, _)| marks.has(*number));
        // their names are different: they are in one set already
        let Ok(set) = PolicySet::from_policies(candidates.map(|(_, policy)| policy.clone())) else {
            return self.whole.clone();
        };
        let set = Arc::new(set);
        // a set without policies counts as well
        if kept.policies + count + 1 > MOST_KEPT {
            *kept = Kept::default();
        }
        kept.policies += count + 1;
        kept.sets.insert(marks, set.clone());
        set
    }
}

impl Heads {
    /// The policies whose heads match an entity here.
    fn matching(&self, uid: &EntityUid, entities: &Entities) -> Marks {
        let mut marks = self.any.clone();
        let themselves = [self.equal.get(uid), self.within.get(uid)];
        let within = entities.ancestors(uid).into_iter().flatten().map(|ancestor| self.within.get(ancestor));
        themselves.into_iter().chain(within).flatten().for_each(|more| marks.add(more));
        marks
    }
}

impl Marks {
    fn set(&mut self, number: usize) {
        let word = number / 64;
        if self.0.len() <= word {
            self.0.resize(word + 1, 0);
        }
        if let Some(bits) = self.0.get_mut(word) {
            *bits |= 1 << (number % 64);
        }
    }

    fn has(&self, number: usize) -> bool {
        self.0.get(number / 64).is_some_and(|bits| bits >> (number % 64) & 1 == 1)
    }

    fn add(&mut self, others: &Self) {
        if self.0.len() < others.0.len() {
            self.0.resize(others.0.len(), 0);
        }
        self.0.iter_mut().zip(&others.0).for_each(|(bits, more)| *bits |= more);
    }

    /// Those that are marked in both.
    fn keep(&mut self, others: &Self) {
        self.0.truncate(others.0.len());
        self.0.iter_mut().zip(&others.0).for_each(|(bits, also)| *bits &= also);
    }

    fn count(&self) -> usize {
        self.0.iter().map(|bits| bits.count_ones() as usize).sum()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use cedar_policy::Authorizer;
    use proptest::prelude::*;

    use super::super::asking::{Asking, ProofOf, SupposedProof};
    use super::super::facts::Facts;
    use super::super::{Action, FileAction, Policy};
    use super::*;
    use crate::model::{NodeFacts, NodeName, NodeRef};

    /// What stands in the places of a head, and in conditions: some match, some don't, and some can't be evaluated.
    const PRINCIPALS: [&str; 8] = [
        "principal",
        "principal == Person::\"ada\"",
        "principal == Person::\"bob\"",
        "principal in Person::\"ada\"",
        "principal in Group::\"ops\"",
        "principal in Group::\"dev\"",
        "principal is Person",
        "principal is Person in Group::\"ops\"",
    ];
    const ACTIONS: [&str; 7] = [
        "action",
        "action == Action::\"Shell\"",
        "action == Action::\"Upload\"",
        "action in Action::\"Sessions\"",
        "action in Action::\"Upload\"",
        "action in [Action::\"Commands\", Action::\"ReadFiles\"]",
        "action in []",
    ];
    const RESOURCES: [&str; 5] = [
        "resource",
        "resource == Node::\"i-1\"",
        "resource in Node::\"i-2\"",
        "resource is Node",
        "resource is Node in Node::\"i-1\"",
    ];
    const CONDITIONS: [&str; 8] = [
        "true",
        "false",
        "context.weekday + 9223372036854775807 > 0",
        "context.nothing == 1",
        "principal in Group::\"dev\"",
        "action in Action::\"Commands\"",
        "resource.name == \"web-1\"",
        "resource == Node::\"i-2\" && principal.nobody",
    ];

    fn policy() -> impl Strategy<Value = String> {
        let head = (0..PRINCIPALS.len(), 0..ACTIONS.len(), 0..RESOURCES.len());
        (head, any::<bool>(), any::<bool>(), 0..CONDITIONS.len()).prop_map(
            |((principal, action, resource), permits, when, condition)| {
                format!(
                    "{} ({}, {}, {}) {} {{ {} }};",
                    if permits { "permit" } else { "forbid" },
                    PRINCIPALS[principal],
                    ACTIONS[action],
                    RESOURCES[resource],
                    if when { "when" } else { "unless" },
                    CONDITIONS[condition],
                )
            },
        )
    }

    fn action() -> impl Strategy<Value = Action> {
        let file = |action| Action::File { action, path: b"/x".to_vec() };
        prop::sample::select(vec![
            Action::Shell,
            Action::Exec { command: b"id".to_vec() },
            Action::Command { line: b"id".to_vec(), command: None },
            Action::RunAs,
            Action::Files,
            file(FileAction::Upload),
            file(FileAction::Download),
        ])
    }

    /// All that Cedar says: the decision, the policies that decided, and those that could not be evaluated.
    fn said(question: &Request, set: &PolicySet, entities: &Entities) -> (bool, BTreeSet<String>, BTreeSet<String>) {
        let response = Authorizer::new().is_authorized(question, set, entities);
        let reasons = response.diagnostics().reason().map(ToString::to_string).collect();
        let errors = response.diagnostics().errors().map(ToString::to_string).collect();
        (response.decision() == cedar_policy::Decision::Allow, reasons, errors)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(512))]

        /// Several questions to the same policies, so that sets that were kept are among those that answer.
        #[test]
        fn the_candidates_say_what_all_policies_would(
            texts in prop::collection::vec(policy(), 0..24),
            asked in prop::collection::vec((
                prop::sample::select(vec!["ada", "bob", "eve"]),
                prop::sample::subsequence(vec!["ops", "dev", "others"], 0..=3),
                prop::sample::select(vec!["i-1", "i-2", "i-3"]),
                action(),
            ), 1..12),
        ) {
            let whole: PolicySet = texts.concat().parse().unwrap();
            let candidates = Candidates::of(whole.clone());
            let (policy, proof) = (Policy::for_test(""), SupposedProof::default());
            for (person, groups, node, action) in asked {
                let groups: Vec<String> = groups.into_iter().map(str::to_owned).collect();
                let asking = Asking {
                    person,
                    groups: &groups,
                    proof: ProofOf::Supposed(&proof),
                    second_factor: None,
                    source: std::net::Ipv4Addr::LOCALHOST.into(),
                    node_name: &NodeName::for_test("web-1"),
                    node: &Arc::new(NodeFacts::named(node, "web-1")),
                    os_user: None,
                    reason: None,
                };
                let facts = Facts::of(&asking, policy.actions()).unwrap();
                let question = facts.question(&action, std::time::SystemTime::now()).unwrap();
                let few = candidates.of_question(&question, facts.entities());
                prop_assert_eq!(
                    said(&question, &few, facts.entities()),
                    said(&question, &whole, facts.entities()),
                    "{} in {:?} {:?} {} of {:#?}: {} are candidates",
                    person, groups, action, node, &texts, few.num_of_policies()
                );
            }
        }
    }

    #[test]
    fn only_those_are_asked_whose_heads_match_and_what_is_kept_of_them_is_bounded() {
        let groups = 0..3000;
        let one = |n| format!("@id(\"p{n}\") permit (principal in Group::\"g{n}\", action, resource);\n");
        let candidates = Candidates::of(groups.clone().map(one).collect::<String>().parse().unwrap());
        let (policy, proof) = (Policy::for_test(""), SupposedProof::default());
        for n in groups {
            let groups = [format!("g{n}"), "g7".to_owned(), "of-nobody".to_owned()];
            let asking = Asking {
                person: "ada",
                groups: &groups,
                proof: ProofOf::Supposed(&proof),
                second_factor: None,
                source: std::net::Ipv4Addr::LOCALHOST.into(),
                node_name: &NodeName::for_test("web-1"),
                node: &Arc::new(NodeFacts::bare(NodeRef::for_test("i-1"))),
                os_user: None,
                reason: None,
            };
            let facts = Facts::of(&asking, policy.actions()).unwrap();
            let question = facts.question(&Action::Shell, std::time::SystemTime::UNIX_EPOCH).unwrap();
            let few = candidates.of_question(&question, facts.entities());
            assert_eq!(few.num_of_policies(), if n == 7 { 1 } else { 2 });
            let again = candidates.of_question(&question, facts.entities());
            assert!(Arc::ptr_eq(&few, &again), "made once");
            let kept = candidates.kept.lock().unwrap();
            assert!(kept.policies <= MOST_KEPT && kept.sets.len() <= MOST_KEPT, "{}", kept.policies);
        }
    }
}
