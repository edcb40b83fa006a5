//! ID tokens as STS reads them: by the keys of a provider that IAM knows, and by no trust in whoever brings one
//! (<https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRoleWithWebIdentity.html>). The gateway has a reader of its own; this one
//! shares nothing with it but the library that checks signatures.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header};
use serde_json::{Map, Value};
use time::OffsetDateTime;

use super::config::{EmulatorError, IdentityProvider};
use super::http::reply::{ApiError, EXPIRED_ID_TOKEN};
use super::iam::Federated;

/// The providers that IAM knows in this account.
pub(crate) struct IdentityProviders(Vec<Known>);

struct Known {
    arn: String,
    host: String,
    issuer: String,
    audiences: Vec<String>,
    keys: Vec<Jwk>,
}

/// What a token says, once it is known that its provider has signed it for somebody here, and that it is not over.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) who: Federated,
    pub(crate) source_identity: Option<String>,
    pub(crate) tags: Vec<(String, String)>,
    pub(crate) transitive: Vec<String>,
}

type Claims = Map<String, Value>;

impl IdentityProviders {
    /// Those of an account; keys that can't be read are the end of the start.
    pub(crate) fn new(account: &str, providers: Vec<IdentityProvider>) -> Result<Self, EmulatorError> {
        let known = providers.into_iter().map(|provider| {
            let IdentityProvider { issuer, audiences, keys } = provider;
            let Some(keys) = read_keys(&keys) else { return Err(EmulatorError::Keys { issuer }) };
            let host = issuer.split_once("://").map_or(issuer.as_str(), |(_, host)| host).to_owned();
            let arn = format!("arn:aws:iam::{account}:oidc-provider/{host}");
            Ok(Known { arn, host, issuer, audiences, keys })
        });
        Ok(Self(known.collect::<Result<_, _>>()?))
    }

    /// What a token says, if it is one of these.
    pub(crate) fn verify(&self, token: &str, now: OffsetDateTime) -> Result<Said, ApiError> {
        let unread = claims_of(token).ok_or_else(no_token)?;
        let issuer = text(&unread, "iss")?;
        let known = self.0.iter().find(|known| known.issuer == issuer);
        let known =
            known.ok_or_else(|| invalid(format!("No OpenIDConnect provider found in your account for {issuer}")))?;
        // from here on only what is signed is looked at
        let claims = known.signed(token)?;
        let (audience, subject) = (known.audience(&claims)?, text(&claims, "sub")?);
        let seconds = |name: &str| claims.get(name).and_then(Value::as_f64).ok_or_else(|| missing(name));
        let (expires, time) = (seconds("exp")?, now.unix_timestamp());
        if expires <= time as f64 {
            let told =
                format!("Token expired: current date/time {time} must be before the expiration date/time {expires}");
            return Err(ApiError::new(EXPIRED_ID_TOKEN, told));
        }
        seconds("iat")?;
        let methods = claims.get("amr").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str);
        let who = Federated {
            provider: known.arn.clone(),
            host: known.host.clone(),
            subject: subject.to_owned(),
            audience,
            methods: methods.map(str::to_owned).collect(),
        };
        let source_identity = claims.get(SOURCE_IDENTITY).map(|_| text(&claims, SOURCE_IDENTITY)).transpose()?;
        let (tags, transitive) = tags(&claims)?;
        Ok(Said { who, source_identity: source_identity.map(str::to_owned), tags, transitive })
    }
}

impl Known {
    /// The claims, if one of the provider's keys has signed them.
    fn signed(&self, token: &str) -> Result<Claims, ApiError> {
        let header = decode_header(token).map_err(|_| no_token())?;
        if !TAKEN.contains(&header.alg) {
            return Err(invalid("The ID Token is signed by an algorithm that is not supported"));
        }
        let key = match (&header.kid, self.keys.as_slice()) {
            (Some(id), keys) => keys.iter().find(|key| key.common.key_id.as_ref() == Some(id)),
            (None, [only]) => Some(only),
            (None, _) => None,
        };
        let no_key = "Couldn't retrieve verification key from your identity provider, please reference \
                      AssumeRoleWithWebIdentity documentation for requirements";
        verified(token, key.ok_or_else(|| invalid(no_key))?, header.alg)
            .ok_or_else(|| invalid("The ID Token's signature could not be verified"))
    }

    /// For whom it is; where it says who has asked for it, that is who.
    fn audience(&self, claims: &Claims) -> Result<String, ApiError> {
        let several = match claims.get("aud") {
            Some(Value::Array(several)) => several.as_slice(),
            Some(one) => std::slice::from_ref(one),
            None => &[],
        };
        let all: Vec<&str> = several.iter().filter_map(Value::as_str).collect();
        let asked_by = claims.get("azp").and_then(Value::as_str);
        let audience =
            asked_by.or(all.first().copied()).filter(|audience| self.audiences.iter().any(|one| one == audience));
        audience.map(str::to_owned).ok_or_else(|| invalid("Incorrect token audience"))
    }
}

/// Those of a set. One of a kind that is not known here signs nothing that is taken.
fn read_keys(text: &str) -> Option<Vec<Jwk>> {
    let set: Value = serde_json::from_str(text).ok()?;
    let keys = set.get("keys")?.as_array()?.iter();
    Some(keys.filter_map(|key| serde_json::from_value(key.clone()).ok()).collect())
}

fn verified(token: &str, key: &Jwk, algorithm: Algorithm) -> Option<Claims> {
    let mut signature = Validation::new(algorithm);
    signature.required_spec_claims.clear();
    (signature.validate_exp, signature.validate_aud, signature.validate_nbf) = (false, false, false);
    let key = DecodingKey::from_jwk(key).ok()?;
    Some(decode::<Claims>(token, &key, &signature).ok()?.claims)
}

/// Names and values.
type Tags = Vec<(String, String)>;

/// Both of AWS's ways of saying them, and which of them stay along a chain of roles
/// (<https://docs.aws.amazon.com/IAM/latest/UserGuide/id_session-tags.html#id_session-tags_adding-assume-role-idp>).
fn tags(claims: &Claims) -> Result<(Tags, Vec<String>), ApiError> {
    let nested = claims.get(TAGS).and_then(Value::as_object);
    let mut tags = BTreeMap::new();
    for (key, value) in
        nested.and_then(|tags| tags.get("principal_tags")).and_then(Value::as_object).into_iter().flatten()
    {
        tags.insert(key.clone(), value);
    }
    tags.extend(claims.iter().filter_map(|(name, value)| Some((name.strip_prefix(TAG)?.to_owned(), value))));
    let one = |value: &Value| match value {
        Value::String(one) => Some(one.clone()),
        Value::Array(list) => match list.as_slice() {
            [Value::String(one)] => Some(one.clone()),
            _ => None,
        },
        _ => None,
    };
    let wrong = || invalid("The ID Token's principal tags are no texts, one each");
    let tags = tags.into_iter().map(|(key, value)| Ok((key, one(value).ok_or_else(wrong)?)));
    let keys = nested.and_then(|tags| tags.get("transitive_tag_keys")).or_else(|| claims.get(TRANSITIVE));
    let keys = keys.and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str);
    Ok((tags.collect::<Result<_, ApiError>>()?, keys.map(str::to_owned).collect()))
}

/// What a token claims, before anybody knows whether it is true.
fn claims_of(token: &str) -> Option<Claims> {
    let [_, claims, _] = token.split('.').collect::<Vec<_>>()[..] else { return None };
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims).ok()?).ok()
}

fn text<'a>(claims: &'a Claims, name: &str) -> Result<&'a str, ApiError> {
    claims.get(name).and_then(Value::as_str).filter(|text| !text.is_empty()).ok_or_else(|| missing(name))
}

fn missing(name: &str) -> ApiError {
    invalid(format!("Missing a required claim: {name}"))
}

fn no_token() -> ApiError {
    invalid("The ID Token provided is not a valid JWT. (You may see this error if you sent an Access Token)")
}

fn invalid(why: impl Into<String>) -> ApiError {
    ApiError::new("InvalidIdentityToken", why)
}

/// Those that STS takes, but for ES512, which the library does not know.
const TAKEN: [Algorithm; 5] =
    [Algorithm::RS256, Algorithm::RS384, Algorithm::RS512, Algorithm::ES256, Algorithm::ES384];

const SOURCE_IDENTITY: &str = "https://aws.amazon.com/source_identity";
const TAGS: &str = "https://aws.amazon.com/tags";
const TAG: &str = "https://aws.amazon.com/tags/principal_tags/";
const TRANSITIVE: &str = "https://aws.amazon.com/tags/transitive_tag_keys";
