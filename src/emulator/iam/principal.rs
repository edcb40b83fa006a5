//! Who calls, and whom a trust policy names.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use sha2::{Digest as _, Sha256};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::document::IdentityPolicy;
use super::error::PolicyError;
use super::facts::Facts;

/// Who calls: a user, or a session of a role.
#[derive(Clone, Debug)]
pub(crate) struct Principal {
    /// `arn:aws:iam::123456789012:user/alice`, `arn:aws:sts::123456789012:assumed-role/operators/ann`.
    pub(crate) arn: String,
    /// What `aws:userid` says: `AIDA…`, `AROA…:ann`.
    pub(crate) user_id: String,
    pub(crate) kind: Kind,
    /// Of the user, or of the role.
    pub(crate) policies: Arc<[IdentityPolicy]>,
    /// `aws:PrincipalTag`.
    pub(crate) tags: BTreeMap<String, String>,
}

/// What kind of principal.
#[derive(Clone, Debug)]
pub(crate) enum Kind {
    User,
    Session(RoleSession),
}

/// A session of a role.
#[derive(Clone, Debug)]
pub(crate) struct RoleSession {
    pub(crate) role_arn: String,
    /// `AROA…`
    pub(crate) role_id: String,
    /// The session policy, which the role's own are cut down to.
    pub(crate) policy: Option<IdentityPolicy>,
    pub(crate) source_identity: Option<String>,
    /// Tags that go along when a further role is assumed, by lower-case name.
    pub(crate) transitive: BTreeSet<String>,
    pub(crate) issued: OffsetDateTime,
    /// The OpenID provider whose token it was got by, by ARN.
    pub(crate) federated_by: Option<String>,
}

/// Whom a trust policy names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Named {
    /// `*`
    Anybody,
    /// An account: its own administrators decide who of it.
    Account(String),
    /// A user, a role, or a session of one.
    Arn(String),
    /// An identity provider, for whoever comes with a token of its.
    Federated(String),
    /// A service, which never calls here.
    Other,
}

/// How a trust policy names a caller: what else must allow it depends on that.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Naming {
    /// The account only: the caller's own policies must allow it as well.
    Account,
    /// The role that the caller has assumed, or everybody: its session policy must allow it as well.
    Role,
    /// The caller.
    Caller,
}

impl Principal {
    /// The account's twelve digits.
    pub(crate) fn account(&self) -> &str {
        self.arn.split(':').nth(4).unwrap_or_default()
    }

    /// The user's name, or the session's. Ids of Session Manager's sessions begin with it.
    pub(crate) fn short_name(&self) -> &str {
        self.arn.rsplit('/').next().unwrap_or_default()
    }

    pub(crate) fn session(&self) -> Option<&RoleSession> {
        match &self.kind {
            Kind::User => None,
            Kind::Session(session) => Some(session),
        }
    }

    /// What every request of this caller has:
    /// <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_condition-keys.html>.
    pub(crate) fn facts(&self, now: OffsetDateTime) -> Facts {
        let time = |time: OffsetDateTime| time.format(&Rfc3339).unwrap_or_default();
        let facts = Facts::at(now)
            .with("aws:PrincipalAccount", self.account())
            .with("aws:userid", self.user_id.as_str())
            .with_tags("aws:PrincipalTag", &self.tags);
        match &self.kind {
            Kind::User => facts
                .with("aws:PrincipalArn", self.arn.as_str())
                .with("aws:PrincipalType", "User")
                .with("aws:username", self.short_name()),
            Kind::Session(session) => {
                let facts = facts
                    // of a session it is the role's
                    .with("aws:PrincipalArn", session.role_arn.as_str())
                    .with("aws:PrincipalType", "AssumedRole")
                    .with("aws:TokenIssueTime", time(session.issued))
                    .with("aws:MultiFactorAuthPresent", "false");
                let optional = |facts: Facts, key: &str, value: &Option<String>| match value {
                    Some(value) => facts.with(key, value.as_str()),
                    None => facts,
                };
                let facts = optional(facts, "aws:SourceIdentity", &session.source_identity);
                optional(facts, "aws:FederatedProvider", &session.federated_by)
            }
        }
    }

    fn naming(&self, named: &Named) -> Option<Naming> {
        match named {
            Named::Anybody => Some(Naming::Role),
            Named::Account(account) if account == self.account() => Some(Naming::Account),
            Named::Arn(arn) if *arn == self.arn => Some(Naming::Caller),
            Named::Arn(arn) if self.session().is_some_and(|session| session.role_arn == *arn) => Some(Naming::Role),
            _ => None,
        }
    }

    /// How `Principal` names this caller, at its nearest.
    pub(super) fn named_in(&self, all: &[Named]) -> Option<Naming> {
        all.iter().filter_map(|named| self.naming(named)).max()
    }

    /// Whether `NotPrincipal` leaves this caller out: it has to name the account and the role beside the session.
    pub(super) fn left_out_by(&self, all: &[Named]) -> bool {
        let named = |naming| all.iter().any(|named| self.naming(named) == Some(naming));
        let role = self.session().is_none() || named(Naming::Role);
        all.contains(&Named::Anybody) || (named(Naming::Caller) && named(Naming::Account) && role)
    }
}

impl Named {
    pub(super) fn parse(kind: &str, text: &str, place: &str) -> Result<Self, PolicyError> {
        match kind {
            "AWS" if text == "*" => Ok(Self::Anybody),
            "AWS" => Self::of_aws(text)
                .ok_or_else(|| PolicyError::value(place, format!("{text:?} is no account and no ARN of a principal"))),
            "Federated" => Ok(Self::Federated(text.to_owned())),
            "Service" | "CanonicalUser" => Ok(Self::Other),
            _ => Err(PolicyError::value(place, "a principal is AWS, Service, Federated or CanonicalUser")),
        }
    }

    fn of_aws(text: &str) -> Option<Self> {
        let account = |text: &str| text.len() == 12 && text.bytes().all(|b| b.is_ascii_digit());
        if account(text) {
            return Some(Self::Account(text.to_owned()));
        }
        let parts: Vec<&str> = text.splitn(6, ':').collect();
        let ["arn", _, service @ ("iam" | "sts"), "", owner, resource] = parts[..] else { return None };
        // a wildcard stands alone or not at all
        if !account(owner) || resource.contains(['*', '?']) {
            return None;
        }
        match resource.split_once('/') {
            None if service == "iam" && resource == "root" => Some(Self::Account(owner.to_owned())),
            Some(("user" | "role", _)) if service == "iam" => Some(Self::Arn(text.to_owned())),
            Some(("assumed-role" | "federated-user", _)) if service == "sts" => Some(Self::Arn(text.to_owned())),
            _ => None,
        }
    }
}

/// The id that IAM gives a user (`AIDA`) or a role (`AROA`): the same for the same ARN.
pub(crate) fn unique_id(prefix: &str, arn: &str) -> String {
    const ALPHABET: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
    let digest = Sha256::digest(arn.as_bytes());
    let letters = digest.iter().take(UNIQUE_LETTERS).map(|byte| char::from(ALPHABET[usize::from(byte & 31)]));
    prefix.chars().chain(letters).collect()
}

/// Twenty-one with the prefix, as in IAM.
const UNIQUE_LETTERS: usize = 17;
