//! May they: <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_evaluation-logic.html>.
//!
//! An explicit Deny in any policy ends it. Then a policy of the identity must allow it, and where there is a session policy,
//! that as well.

use std::fmt;

use super::document::{Effect, IdentityPolicy, Listed, Statement};
use super::facts::Facts;
use super::principal::Principal;

/// What is asked: an action on a resource, and what else is known of the request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Question<'a> {
    pub(crate) action: &'a str,
    pub(crate) resource: &'a str,
    pub(crate) facts: &'a Facts,
}

/// What a policy says to a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Says {
    Nothing,
    Allow,
    Deny,
}

/// Which policy stands in the way, in AWS's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Denial {
    pub(super) explicit: bool,
    pub(super) kind: PolicyKind,
}

/// A kind of policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PolicyKind {
    Identity,
    Session,
}

impl Statement {
    /// Whether it is about this action and these facts; who and where is asked apart.
    pub(super) fn concerns(&self, action: &str, facts: &Facts) -> bool {
        let action = action.to_ascii_lowercase();
        // names of actions are the same in every case
        let named = self.actions.covers(|pattern| {
            pattern.resolve(facts).is_some_and(|wanted| wanted.matches(&action, super::pattern::same_but_for_case))
        });
        named && self.conditions.iter().all(|condition| condition.holds(facts))
    }

    fn covers(&self, resource: &str, facts: &Facts) -> bool {
        match &self.resources {
            None => false,
            Some(Listed::Only(list)) => list.iter().any(|pattern| pattern.matches(resource, facts)),
            // a variable without a value makes the statement say nothing
            Some(Listed::AllBut(list)) => list
                .iter()
                .map(|pattern| pattern.resolve(facts).map(|wanted| wanted.matches(resource, super::pattern::same)))
                .all(|matched| matched == Some(false)),
        }
    }
}

impl IdentityPolicy {
    pub(super) fn says(&self, question: &Question<'_>) -> Says {
        let Question { action, resource, facts } = *question;
        let said = self.0.iter().filter(|statement| statement.concerns(action, facts));
        let said = said.filter(|statement| statement.covers(resource, facts)).map(|statement| match statement.effect {
            Effect::Allow => Says::Allow,
            Effect::Deny => Says::Deny,
        });
        said.max().unwrap_or(Says::Nothing)
    }
}

impl Principal {
    pub(super) fn identity_says(&self, question: &Question<'_>) -> Says {
        self.policies.iter().map(|policy| policy.says(question)).max().unwrap_or(Says::Nothing)
    }

    /// Without a session policy there is nothing that cuts down.
    pub(super) fn session_says(&self, question: &Question<'_>) -> Says {
        let policy = self.session().and_then(|session| session.policy.as_ref());
        policy.map_or(Says::Allow, |policy| policy.says(question))
    }

    /// Whether this caller may.
    pub(crate) fn may(&self, question: &Question<'_>) -> Result<(), Denial> {
        let said =
            [(PolicyKind::Identity, self.identity_says(question)), (PolicyKind::Session, self.session_says(question))];
        for (explicit, wanted) in [(true, Says::Deny), (false, Says::Nothing)] {
            if let Some((kind, _)) = said.iter().find(|(_, says)| *says == wanted) {
                return Err(Denial { explicit, kind: *kind });
            }
        }
        Ok(())
    }
}

impl Denial {
    /// Whether a policy says no, rather than none yes.
    pub(crate) fn is_explicit(self) -> bool {
        self.explicit
    }

    /// The end of AWS's sentence.
    pub(crate) fn because(self, action: &str) -> String {
        let Self { explicit, kind } = self;
        match (explicit, kind) {
            (true, PolicyKind::Identity) => "with an explicit deny in an identity-based policy".to_owned(),
            (true, PolicyKind::Session) => "with an explicit deny in a session policy".to_owned(),
            (false, kind) => format!("because no {kind} policy allows the {action} action"),
        }
    }
}

impl fmt::Display for PolicyKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Identity => "identity-based",
            Self::Session => "session",
        })
    }
}
