//! Who may call: the configured keys, and the temporary ones that a role was given out with.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use http::request::Parts;
use time::{Duration, OffsetDateTime};
use uuid::Uuid;
use zeroize::Zeroizing;

use super::caller::Caller;
use super::reply::ApiError;
use super::sigv4::{Claim, SignatureError};
use crate::emulator::config::{ApiKey, EmulatorError, Role, SpeaksFor};
use crate::emulator::iam::{IdentityPolicy, Kind, PolicyError, Principal, TrustPolicy, unique_id};

/// All keys and roles. Secrets stay in here.
pub(crate) struct KeyStore {
    region: String,
    fixed: HashMap<String, Key>,
    roles: HashMap<String, KnownRole>,
    temporary: Mutex<HashMap<String, Temporary>>,
}

#[derive(Clone)]
struct Key {
    secret: Zeroizing<String>,
    principal: Arc<Principal>,
    speaks_for: SpeaksFor,
}

#[derive(Clone)]
struct Temporary {
    key: Key,
    token: Zeroizing<String>,
    expires: OffsetDateTime,
}

/// A role whose policies were read.
pub(crate) struct KnownRole {
    pub(crate) arn: String,
    /// `AROA…`
    pub(crate) id: String,
    pub(crate) trust: TrustPolicy,
    pub(crate) policies: Arc<[IdentityPolicy]>,
    pub(crate) tags: BTreeMap<String, String>,
    pub(crate) longest: Duration,
}

/// Temporary keys, to be told to whoever assumed the role.
pub(crate) struct Issued {
    pub(crate) access_key_id: String,
    pub(crate) secret_access_key: Zeroizing<String>,
    pub(crate) session_token: Zeroizing<String>,
    pub(crate) expires: OffsetDateTime,
}

impl KeyStore {
    /// Reads every policy: one that can't be read is the end of the start.
    pub(crate) fn new(region: &str, keys: Vec<ApiKey>, roles: Vec<Role>) -> Result<Self, EmulatorError> {
        let fixed = keys.into_iter().map(|key| Ok((key.access_key_id.clone(), Key::read(key)?)));
        let roles = roles.into_iter().map(|role| Ok((role.arn.clone(), KnownRole::read(role)?)));
        Ok(Self {
            region: region.to_owned(),
            fixed: fixed.collect::<Result<_, EmulatorError>>()?,
            roles: roles.collect::<Result<_, EmulatorError>>()?,
            temporary: Mutex::default(),
        })
    }

    /// The caller of a request, if its signature is right for one of these services.
    pub(crate) fn authenticate(
        &self,
        parts: &Parts,
        body: &[u8],
        service: &str,
        now: OffsetDateTime,
    ) -> Result<Caller, ApiError> {
        let claim = Claim::read(parts).map_err(ApiError::from)?;
        let claim = claim
            .ok_or_else(|| ApiError::new("MissingAuthenticationTokenException", "Missing Authentication Token"))?;
        let (key, token, expires) = self.find(&claim.access_key_id).ok_or_else(unrecognized)?;
        let claimed = claim.session_token.as_deref().unwrap_or_default();
        if !same(claimed, token.as_deref().map_or("", String::as_str)) {
            return Err(unrecognized());
        }
        claim.verify(parts, body, &key.secret, now)?;
        let scope = |what: &str, should: &str| {
            let text = format!("Credential should be scoped to {what}: '{should}'.");
            ApiError::new("InvalidSignatureException", text)
        };
        if claim.service != service {
            return Err(scope("correct service", service));
        }
        // STS's global endpoint belongs to us-east-1 wherever the caller is, and IAM has no other.
        if claim.region != self.region && !(matches!(service, "sts" | "iam") && claim.region == "us-east-1") {
            return Err(scope("a valid region", &self.region));
        }
        if expires.is_some_and(|expires| expires <= now) {
            let text = "The security token included in the request is expired";
            return Err(ApiError::new("ExpiredTokenException", text));
        }
        let facts = Caller::facts_of(&key.principal, &claim.region, parts);
        let Key { principal, speaks_for, .. } = key;
        Ok(Caller { principal, speaks_for, access_key_id: claim.access_key_id, facts })
    }

    /// A role by its ARN.
    pub(crate) fn role(&self, arn: &str) -> Option<&KnownRole> {
        self.roles.get(arn)
    }

    /// Temporary keys for a session of a role.
    pub(crate) fn issue(&self, session: Principal, lifetime: Duration, now: OffsetDateTime) -> Issued {
        let random = || Uuid::new_v4().simple().to_string();
        let issued = Issued {
            access_key_id: format!("ASIA{}", random()[..16].to_ascii_uppercase()),
            secret_access_key: Zeroizing::new(format!("{}{}", random(), &random()[..8])),
            session_token: Zeroizing::new(format!("{}{}{}", random(), random(), random())),
            expires: now + lifetime,
        };
        let key = Key {
            secret: issued.secret_access_key.clone(),
            principal: Arc::new(session),
            speaks_for: SpeaksFor::Nobody,
        };
        let temporary = Temporary { key, token: issued.session_token.clone(), expires: issued.expires };
        let mut all = self.temporary.lock().unwrap_or_else(PoisonError::into_inner);
        // An expired key is remembered for an hour, so that its owner learns that it has expired.
        all.retain(|_, old| old.expires + Duration::HOUR > now);
        if all.len() >= MAX_TEMPORARY
            && let Some(first) = all.iter().min_by_key(|(_, old)| old.expires).map(|(id, _)| id.clone())
        {
            all.remove(&first);
        }
        all.insert(issued.access_key_id.clone(), temporary);
        issued
    }

    fn find(&self, id: &str) -> Option<(Key, Option<Zeroizing<String>>, Option<OffsetDateTime>)> {
        if let Some(key) = self.fixed.get(id) {
            return Some((key.clone(), None, None));
        }
        let all = self.temporary.lock().unwrap_or_else(PoisonError::into_inner);
        let Temporary { key, token, expires } = all.get(id)?.clone();
        Some((key, Some(token), Some(expires)))
    }
}

impl Key {
    fn read(key: ApiKey) -> Result<Self, EmulatorError> {
        let principal = Principal {
            user_id: unique_id("AIDA", &key.principal_arn),
            kind: Kind::User,
            policies: policies(&key.principal_arn, &key.policies)?,
            tags: key.tags,
            arn: key.principal_arn,
        };
        Ok(Self { secret: key.secret_access_key, principal: Arc::new(principal), speaks_for: key.speaks_for })
    }
}

impl KnownRole {
    fn read(role: Role) -> Result<Self, EmulatorError> {
        let trust = TrustPolicy::parse(&role.trust).map_err(|why| unusable(&role.arn, why))?;
        Ok(Self {
            id: unique_id("AROA", &role.arn),
            trust,
            policies: policies(&role.arn, &role.policies)?,
            tags: role.tags,
            longest: Duration::try_from(role.longest).unwrap_or(Duration::HOUR),
            arn: role.arn,
        })
    }
}

fn policies(of: &str, texts: &[String]) -> Result<Arc<[IdentityPolicy]>, EmulatorError> {
    texts.iter().map(|text| IdentityPolicy::parse(text).map_err(|why| unusable(of, why))).collect()
}

fn unusable(of: &str, why: PolicyError) -> EmulatorError {
    EmulatorError::Policy { of: of.to_owned(), why }
}

impl From<SignatureError> for ApiError {
    fn from(error: SignatureError) -> Self {
        match error {
            SignatureError::Incomplete(text) => Self::new("IncompleteSignatureException", text),
            SignatureError::Invalid(text) => Self::new("InvalidSignatureException", text),
        }
    }
}

/// Equal, in a time that depends on the lengths only.
pub(crate) fn same(left: &str, right: &str) -> bool {
    let differing = left.bytes().zip(right.bytes()).fold(0_u8, |sum, (a, b)| sum | (a ^ b));
    std::hint::black_box(differing) == 0 && left.len() == right.len()
}

fn unrecognized() -> ApiError {
    ApiError::new("UnrecognizedClientException", "The security token included in the request is invalid.")
}

const MAX_TEMPORARY: usize = 10_000;
