//! May they become that role: its trust policy first, then, unless that names the caller, their own policies. Who comes with a token has
//! none.
//!
//! ```text
//!   AssumeRole                      asks for sts:AssumeRole
//!   AssumeRoleWithWebIdentity       asks for sts:AssumeRoleWithWebIdentity
//!     with tags (or inherited ones)        and sts:TagSession
//!     with a source identity (or a set one) and sts:SetSourceIdentity
//! ```

use std::collections::BTreeMap;

use super::document::{Effect, Listed, Statement, TrustPolicy};
use super::evaluate::{Question, Says};
use super::facts::Facts;
use super::federated::Federated;
use super::principal::{Named, Naming, Principal};

/// A wish to become a role.
#[derive(Debug)]
pub(crate) struct Become<'a> {
    pub(crate) role_arn: &'a str,
    pub(crate) role_tags: &'a BTreeMap<String, String>,
    pub(crate) trust: &'a TrustPolicy,
    pub(crate) session_name: &'a str,
    pub(crate) external_id: Option<&'a str>,
    /// The one that is asked for.
    pub(crate) source_identity: Option<&'a str>,
    /// Those that are asked for, by name.
    pub(crate) tags: &'a BTreeMap<String, String>,
    pub(crate) transitive: &'a [String],
}

/// Which action is not allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NotAssumed {
    pub(crate) action: &'static str,
}

impl Become<'_> {
    /// Whether this caller may.
    pub(crate) fn allowed_for(&self, caller: &Principal, facts: Facts) -> Result<(), NotAssumed> {
        let facts = self.facts(facts);
        let inherited = caller.session();
        let tagged = !self.tags.is_empty() || inherited.is_some_and(|session| !session.transitive.is_empty());
        let named =
            self.source_identity.is_some() || inherited.is_some_and(|session| session.source_identity.is_some());
        let actions = [("sts:AssumeRole", true), ("sts:TagSession", tagged), ("sts:SetSourceIdentity", named)];
        for (action, _) in actions.into_iter().filter(|(_, asked)| *asked) {
            let question = Question { action, resource: self.role_arn, facts: &facts };
            if !self.one_allowed(caller, &question) {
                return Err(NotAssumed { action });
            }
        }
        Ok(())
    }

    /// Whether whoever comes with that token may.
    pub(crate) fn allowed_with_token(&self, who: &Federated, facts: Facts) -> Result<(), NotAssumed> {
        let facts = who.add_to(self.facts(facts));
        let (tagged, named) = (!self.tags.is_empty(), self.source_identity.is_some());
        let actions =
            [("sts:AssumeRoleWithWebIdentity", true), ("sts:TagSession", tagged), ("sts:SetSourceIdentity", named)];
        for (action, _) in actions.into_iter().filter(|(_, asked)| *asked) {
            let question = Question { action, resource: self.role_arn, facts: &facts };
            self.trust
                .says(|statement| naming_provider(statement, &who.provider), &question)
                .ok_or(NotAssumed { action })?;
        }
        Ok(())
    }

    fn one_allowed(&self, caller: &Principal, question: &Question<'_>) -> bool {
        let (identity, session) = (caller.identity_says(question), caller.session_says(question));
        let Some(naming) = self.trust.says(|statement| naming(statement, caller), question) else { return false };
        if identity == Says::Deny || session == Says::Deny {
            return false;
        }
        let same_account = caller.account() == self.role_arn.split(':').nth(4).unwrap_or_default();
        match naming {
            Naming::Caller if same_account => true,
            Naming::Role if same_account => session == Says::Allow,
            _ => identity == Says::Allow && session == Says::Allow,
        }
    }

    fn facts(&self, facts: Facts) -> Facts {
        let optional = |facts: Facts, key: &str, value: Option<&str>| match value {
            Some(value) => facts.with(key, value),
            None => facts,
        };
        let facts = facts
            .with("sts:RoleSessionName", self.session_name)
            .with_tags("aws:RequestTag", self.tags)
            .with_tags("aws:ResourceTag", self.role_tags)
            .with_tags("iam:ResourceTag", self.role_tags)
            .with_all("aws:TagKeys", self.tags.keys().cloned())
            .with_all("sts:TransitiveTagKeys", self.transitive.iter().cloned());
        let facts = optional(facts, "sts:ExternalId", self.external_id);
        optional(facts, "sts:SourceIdentity", self.source_identity)
    }
}

impl TrustPolicy {
    /// How it lets the caller do that, at its nearest; `None` where it does not, or says no.
    fn says(&self, naming: impl Fn(&Statement) -> Option<Naming>, question: &Question<'_>) -> Option<Naming> {
        let mut nearest = None;
        for statement in self.0.iter().filter(|statement| statement.concerns(question.action, question.facts)) {
            match (naming(statement), statement.effect) {
                (None, _) => {}
                (Some(_), Effect::Deny) => return None,
                (naming, Effect::Allow) => nearest = nearest.max(naming),
            }
        }
        nearest
    }
}

fn naming(statement: &Statement, caller: &Principal) -> Option<Naming> {
    match statement.principals.as_ref()? {
        Listed::Only(list) => caller.named_in(list),
        // everybody but those
        Listed::AllBut(list) => (!caller.left_out_by(list)).then_some(Naming::Role),
    }
}

/// IAM takes a provider in a trust policy by its name alone. What is said of everybody, or of all but some, denies at most.
fn naming_provider(statement: &Statement, provider: &str) -> Option<Naming> {
    let is_named = |list: &[Named]| list.iter().any(|named| matches!(named, Named::Federated(arn) if arn == provider));
    let denies = statement.effect == Effect::Deny;
    let named = match statement.principals.as_ref()? {
        Listed::Only(list) => is_named(list) || (denies && list.contains(&Named::Anybody)),
        Listed::AllBut(list) => denies && !is_named(list),
    };
    named.then_some(Naming::Caller)
}
