//! Policies tried from outside: what property tests and the fuzz target ask of texts that may be anything.

use std::collections::BTreeMap;
use std::sync::Arc;

use time::OffsetDateTime;

use super::assume::Become;
use super::document::{IdentityPolicy, TrustPolicy};
use super::evaluate::Question;
use super::facts::Facts;
use super::principal::{Kind, Principal, RoleSession, unique_id};

/// A request, as far as policies look at it.
#[derive(Clone, Debug)]
pub struct Trial<'a> {
    /// Such as `ssm:StartSession`.
    pub action: &'a str,
    /// An ARN.
    pub resource: &'a str,
    /// Condition keys and their values.
    pub facts: &'a [(&'a str, &'a str)],
}

impl Trial<'_> {
    /// Whether these policies of a role allow it, cut down by the session policy. `None` where one of them is no policy.
    pub fn allowed(&self, identity: &[&str], session: Option<&str>) -> Option<bool> {
        let policies: Arc<[IdentityPolicy]> =
            identity.iter().map(|text| IdentityPolicy::parse(text).ok()).collect::<Option<_>>()?;
        let session = session.map(IdentityPolicy::parse).transpose().ok()?;
        let principal = principal(policies, session);
        let facts = self.facts(&principal);
        let question = Question { action: self.action, resource: self.resource, facts: &facts };
        Some(principal.may(&question).is_ok())
    }

    /// Whether this trust policy lets an administrator of the account become the role. `None` where it is no policy.
    pub fn trusted(&self, trust: &str) -> Option<bool> {
        let trust = TrustPolicy::parse(trust).ok()?;
        let all = r#"{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"*","Resource":"*"}}"#;
        let caller = principal([IdentityPolicy::parse(all).ok()?].into(), None);
        let none = BTreeMap::new();
        let asked = Become {
            role_arn: ROLE,
            role_tags: &none,
            trust: &trust,
            session_name: "ann",
            external_id: None,
            source_identity: None,
            tags: &none,
            transitive: &[],
        };
        Some(asked.allowed_for(&caller, self.facts(&caller)).is_ok())
    }

    fn facts(&self, principal: &Principal) -> Facts {
        let facts = principal.facts(OffsetDateTime::UNIX_EPOCH);
        self.facts.iter().fold(facts, |facts, (key, value)| facts.with(key, *value))
    }
}

fn principal(policies: Arc<[IdentityPolicy]>, policy: Option<IdentityPolicy>) -> Principal {
    let role_id = unique_id("AROA", ROLE);
    Principal {
        arn: "arn:aws:sts::123456789012:assumed-role/operators/ann".to_owned(),
        user_id: format!("{role_id}:ann"),
        policies,
        tags: BTreeMap::from([("team".to_owned(), "blue".to_owned())]),
        kind: Kind::Session(RoleSession {
            role_arn: ROLE.to_owned(),
            role_id,
            policy,
            source_identity: None,
            transitive: Default::default(),
            issued: OffsetDateTime::UNIX_EPOCH,
            federated_by: None,
        }),
    }
}

const ROLE: &str = "arn:aws:iam::123456789012:role/operators";
