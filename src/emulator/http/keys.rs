//! Who may call: the configured keys, and the temporary ones that `AssumeRole` gave out.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use http::request::Parts;
use time::{Duration, OffsetDateTime};
use uuid::Uuid;
use zeroize::Zeroizing;

use super::reply::ApiError;
use super::sigv4::{Claim, SignatureError};
use crate::emulator::config::{Allowed, ApiKey, Role};

/// A caller whose signature was verified. Only [`KeyStore::authenticate`] makes one.
#[derive(Clone, Debug)]
pub(crate) struct Caller {
    arn: String,
    allowed: Allowed,
}

impl Caller {
    pub(crate) fn arn(&self) -> &str {
        &self.arn
    }

    /// The last part of the ARN: the user's name, or the role session's. Session ids begin with it.
    pub(crate) fn short_name(&self) -> &str {
        self.arn.rsplit('/').next().unwrap_or_default()
    }

    /// The user id that `GetCallerIdentity` shows.
    pub(crate) fn user_id(&self) -> String {
        match self.arn.contains(":assumed-role/") {
            true => format!("AROA{:0>16}:{}", "EMBEDDED", self.short_name()),
            false => format!("AIDA{:0>16}", self.short_name().to_ascii_uppercase()),
        }
    }

    /// Whether the caller may do an action of a client, such as `ssm:StartSession`.
    pub(crate) fn may(&self, action: &str, resource: &str) -> Result<(), ApiError> {
        self.judge(self.allowed.client, action, resource)
    }

    /// Whether the caller may do an agent's action for that node.
    pub(crate) fn may_as_agent(&self, action: &str, node: &str) -> Result<(), ApiError> {
        let its_own = self.allowed.node.as_deref().is_none_or(|own| own == node);
        self.judge(self.allowed.agent && its_own, action, node)
    }

    /// The OS user that the principal's tag names.
    pub(crate) fn run_as(&self) -> Option<&str> {
        self.allowed.run_as.as_deref()
    }

    pub(crate) fn may_assume(&self, role: &str) -> bool {
        self.allowed.assume.iter().any(|arn| arn == role || arn == "*")
    }

    fn judge(&self, allowed: bool, action: &str, resource: &str) -> Result<(), ApiError> {
        let denied = self.allowed.denied.iter().any(|name| name == action);
        if allowed && !denied {
            return Ok(());
        }
        let why = if denied {
            "with an explicit deny in an identity-based policy".to_owned()
        } else {
            format!("because no identity-based policy allows the {action} action")
        };
        Err(ApiError::new(
            "AccessDeniedException",
            format!("User: {} is not authorized to perform: {action} on resource: {resource} {why}", self.arn),
        ))
    }
}

/// All keys. Secrets stay in here.
pub(crate) struct KeyStore {
    region: String,
    fixed: HashMap<String, ApiKey>,
    roles: Vec<Role>,
    temporary: Mutex<HashMap<String, Temporary>>,
}

struct Temporary {
    key: ApiKey,
    token: Zeroizing<String>,
    expires: OffsetDateTime,
}

/// Temporary keys, to be told to whoever assumed the role.
pub(crate) struct Issued {
    pub(crate) access_key_id: String,
    pub(crate) secret_access_key: Zeroizing<String>,
    pub(crate) session_token: Zeroizing<String>,
    pub(crate) expires: OffsetDateTime,
    pub(crate) arn: String,
}

impl KeyStore {
    pub(crate) fn new(region: &str, keys: &[ApiKey], roles: &[Role]) -> Self {
        Self {
            region: region.to_owned(),
            fixed: keys.iter().map(|key| (key.access_key_id.clone(), key.clone())).collect(),
            roles: roles.to_vec(),
            temporary: Mutex::default(),
        }
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
        claim.verify(parts, body, &key.secret_access_key, now)?;
        let scope = |what: &str, should: &str| {
            let text = format!("Credential should be scoped to {what}: '{should}'.");
            ApiError::new("InvalidSignatureException", text)
        };
        if claim.service != service {
            return Err(scope("correct service", service));
        }
        // STS's global endpoint belongs to us-east-1 wherever the caller is.
        if claim.region != self.region && !(service == "sts" && claim.region == "us-east-1") {
            return Err(scope("a valid region", &self.region));
        }
        if expires.is_some_and(|expires| expires <= now) {
            let text = "The security token included in the request is expired";
            return Err(ApiError::new("ExpiredTokenException", text));
        }
        Ok(Caller { arn: key.principal_arn, allowed: key.allowed })
    }

    /// Temporary keys for a role, if there is such a role.
    pub(crate) fn assume(
        &self,
        role: &str,
        session: &str,
        run_as: Option<String>,
        lifetime: Duration,
        now: OffsetDateTime,
    ) -> Option<Issued> {
        let role = self.roles.iter().find(|known| known.arn == role)?;
        let arn = role.arn.replacen(":iam:", ":sts:", 1).replacen(":role/", ":assumed-role/", 1);
        let random = || Uuid::new_v4().simple().to_string();
        let issued = Issued {
            access_key_id: format!("ASIA{}", random()[..16].to_ascii_uppercase()),
            secret_access_key: Zeroizing::new(format!("{}{}", random(), &random()[..8])),
            session_token: Zeroizing::new(format!("{}{}{}", random(), random(), random())),
            expires: now + lifetime,
            arn: format!("{arn}/{session}"),
        };
        let key = ApiKey {
            access_key_id: issued.access_key_id.clone(),
            secret_access_key: issued.secret_access_key.clone(),
            principal_arn: issued.arn.clone(),
            allowed: Allowed { run_as: run_as.or_else(|| role.allowed.run_as.clone()), ..role.allowed.clone() },
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
        Some(issued)
    }

    fn find(&self, id: &str) -> Option<(ApiKey, Option<Zeroizing<String>>, Option<OffsetDateTime>)> {
        if let Some(key) = self.fixed.get(id) {
            return Some((key.clone(), None, None));
        }
        let all = self.temporary.lock().unwrap_or_else(PoisonError::into_inner);
        all.get(id).map(|temporary| (temporary.key.clone(), Some(temporary.token.clone()), Some(temporary.expires)))
    }
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
