//! ID tokens of an OpenID provider (OpenID Connect Core 1.0): the one place where such a token is looked at, and the only one that
//! makes a [`VerifiedToken`].
//!
//! ```text
//!  text ─▶ header: algorithm, key ─▶ signature ─▶ iss, aud, azp, exp, iat, nonce, auth_time ─▶ name, groups ─▶ VerifiedToken
//!            │ none, HMAC, another type: refused before anything else is read
//! ```
//!
//! Nothing of a token is in an error, but for names of claims.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header};
use serde_json::{Map, Value};
use zeroize::Zeroizing;

use super::aws_claims::AwsClaims;
use super::people::name_is_usable;
use crate::model::plain_text_up_to;

/// What a token must say, and which of it says who somebody is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TokenRules {
    /// Who has made it, exactly.
    pub issuer: String,
    /// For whom.
    pub client_id: String,
    /// The claim that is the person's name.
    pub name_claim: String,
    /// The claim that has their groups.
    pub groups_claim: Option<String>,
    /// Claims that must say this, or have it among others.
    pub required_claims: BTreeMap<String, String>,
}

/// What the token of one sign-in must say besides.
#[derive(Clone, Copy, Debug)]
pub struct Expected<'a> {
    /// What was sent along, where it was.
    pub nonce: Option<&'a str>,
    /// When the provider was asked: nothing older answers that.
    pub since: SystemTime,
    /// How long ago the person may have been asked by the provider who they are.
    pub max_age: Option<Duration>,
}

/// A token whose signature, times and claims were all checked. Only [`TokenRules::verify`] makes one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifiedToken {
    facts: SignInFacts,
    name: String,
    groups: Vec<String>,
    aws: AwsClaims,
    expires: SystemTime,
    /// Until the sign-in takes it, which knows when it is over.
    text: Option<Arc<IdToken>>,
}

/// The text of a token that was verified, by which AWS gives its person a role. Whoever has it is that person there: it is wiped when it
/// is dropped, and in no debug text.
#[derive(PartialEq, Eq)]
pub struct IdToken {
    text: Zeroizing<String>,
    expires: SystemTime,
}

/// What evidence and policies are told of a sign-in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignInFacts {
    /// The provider.
    pub issuer: String,
    /// Who, as the provider knows them and nobody else is ever called there.
    pub subject: String,
    /// When the provider asked them who they are; when it made the token, where it does not say.
    pub at: SystemTime,
    /// The class of that authentication (`acr`), as the provider calls it.
    pub acr: Option<String>,
    /// What they showed (`amr`: `pwd`, `otp`, `hwk`, …).
    pub amr: Vec<String>,
}

/// The provider's public keys.
#[derive(Clone, Default)]
pub struct KeySet(Vec<Jwk>);

/// Why a token proves nothing. No sentence has anything of it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// Longer than any.
    #[error("the ID token is longer than 64 KiB")]
    TooLong,
    /// No token.
    #[error("the ID token can't be read")]
    Unreadable,
    /// A token of another kind, such as an access token.
    #[error("what came as the ID token says that it is a token of another type")]
    Type,
    /// One of those that prove nothing here.
    #[error(
        "the ID token is signed by an algorithm that is not taken (taken are RS256 to RS512, PS256 to PS512, ES256, ES384 and EdDSA)"
    )]
    Algorithm,
    /// None of the provider's keys.
    #[error("the ID token is signed by a key that is none of the provider's (its jwks_uri)")]
    UnknownKey,
    /// It could be any of them.
    #[error("the ID token does not say by which of the provider's keys it is signed (kid)")]
    WhichKey,
    /// Somebody else's, or changed.
    #[error("the signature of the ID token is wrong")]
    Signature,
    /// A claim that has to be there.
    #[error("the ID token's claim `{0}` is missing, or not of its type")]
    Claim(String),
    /// Another provider's.
    #[error("the ID token is another provider's (iss)")]
    Issuer,
    /// For somebody else.
    #[error("the ID token is not for this client alone (aud, azp)")]
    Audience,
    /// Its time is over.
    #[error("the ID token's time is over (exp)")]
    Expired,
    /// Of another time than this sign-in.
    #[error("the ID token was not issued for this sign-in (iat), or the clocks here and at the provider differ")]
    Issued,
    /// It answers another question.
    #[error("the ID token does not say what was sent along (nonce)")]
    Nonce,
    /// The person was asked too long ago.
    #[error("the provider has asked who that is longer ago than oidc.max_age_minutes (auth_time)")]
    AuthTime,
    /// An address that nobody has looked at.
    #[error("the provider has not verified the email address that is the name here (email_verified)")]
    EmailUnverified,
    /// Nobody can be called so.
    #[error(
        "what the ID token has as `{0}` is no name of a person here: 1 to 64 letters, digits, '.', '-', '_' or '@'"
    )]
    Name(String),
    /// Groups that can't be known.
    #[error("the groups in the ID token's `{0}` can't be used: they are too many, elsewhere, or no texts")]
    Groups(String),
    /// Something that has to be said.
    #[error("the ID token's claim `{0}` does not say what oidc.required_claims wants")]
    Required(String),
}

/// Longer than a token with a few hundred groups.
const LONGEST_TOKEN: usize = 64 * 1024;

/// How far clocks may differ.
const LEEWAY: Duration = Duration::from_secs(60);

/// The most keys of a provider; those that change them often have some ten.
const MOST_KEYS: usize = 64;

/// The most groups of somebody, and the longest name of one.
const MOST_GROUPS: usize = 512;
const LONGEST_GROUP: usize = 256;

/// OpenID Connect Core, section 2: a subject has at most 255 characters.
const LONGEST_SUBJECT: usize = 255;

/// The longest `acr`, and how many of `amr` are kept.
const LONGEST_FACT: usize = 256;
const MOST_METHODS: usize = 16;

impl KeySet {
    /// Those of a JWK set (RFC 7517, section 5). One that is not understood is none, and the others are there.
    pub fn parse(json: &[u8]) -> Option<Self> {
        let set: Value = serde_json::from_slice(json).ok()?;
        let keys = set.get("keys")?.as_array()?.iter().take(MOST_KEYS);
        let read = |key: &Value| serde_json::from_value::<Jwk>(key.clone()).ok().filter(is_for_signatures);
        Some(Self(keys.filter_map(read).collect()))
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// By which of them such a token may be signed.
    fn candidates(&self, algorithm: Algorithm, id: Option<&str>) -> Result<Vec<&Jwk>, TokenError> {
        let fits = |key: &&Jwk| {
            let named = id.is_none_or(|id| key.common.key_id.as_deref() == Some(id));
            let own = key.common.key_algorithm.as_ref().is_none_or(|own| own.to_string() == format!("{algorithm:?}"));
            named && own && is_kind_of(&key.algorithm, algorithm)
        };
        let found: Vec<&Jwk> = self.0.iter().filter(fits).collect();
        match found.as_slice() {
            [] => Err(TokenError::UnknownKey),
            // OpenID Connect Core, section 10.1: with several keys the token names its own
            [_, _, ..] if id.is_none() => Err(TokenError::WhichKey),
            _ => Ok(found),
        }
    }
}

impl fmt::Debug for KeySet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeySet({} keys)", self.0.len())
    }
}

/// Whether it is a public key of a kind that is known, and not one for something else.
fn is_for_signatures(key: &Jwk) -> bool {
    let is_public = matches!(
        key.algorithm,
        AlgorithmParameters::RSA(_) | AlgorithmParameters::EllipticCurve(_) | AlgorithmParameters::OctetKeyPair(_)
    );
    is_public && key.common.public_key_use.as_ref().is_none_or(|of| *of == PublicKeyUse::Signature)
}

/// Whether a key is of the kind that an algorithm signs with. Of symmetric keys none is: whoever has a public one could sign.
fn is_kind_of(key: &AlgorithmParameters, algorithm: Algorithm) -> bool {
    match (algorithm, key) {
        (
            Algorithm::RS256
            | Algorithm::RS384
            | Algorithm::RS512
            | Algorithm::PS256
            | Algorithm::PS384
            | Algorithm::PS512,
            AlgorithmParameters::RSA(_),
        ) => true,
        (Algorithm::ES256, AlgorithmParameters::EllipticCurve(key)) => key.curve == EllipticCurve::P256,
        (Algorithm::ES384, AlgorithmParameters::EllipticCurve(key)) => key.curve == EllipticCurve::P384,
        (Algorithm::EdDSA, AlgorithmParameters::OctetKeyPair(key)) => key.curve == EllipticCurve::Ed25519,
        _ => false,
    }
}

/// The algorithms that are taken; whatever another one is, it is not.
const TAKEN: [Algorithm; 9] = [
    Algorithm::RS256,
    Algorithm::RS384,
    Algorithm::RS512,
    Algorithm::PS256,
    Algorithm::PS384,
    Algorithm::PS512,
    Algorithm::ES256,
    Algorithm::ES384,
    Algorithm::EdDSA,
];

impl TokenRules {
    /// Who somebody is by a token that came in answer to what was asked, now.
    pub fn verify(
        &self,
        keys: &KeySet,
        token: &str,
        expected: Expected<'_>,
        now: SystemTime,
    ) -> Result<VerifiedToken, TokenError> {
        let claims = self.signed(keys, token)?;
        if text(&claims, "iss")? != self.issuer {
            return Err(TokenError::Issuer);
        }
        self.is_for_us(&claims)?;
        let (issued, expires) = (time(&claims, "iat")?, time(&claims, "exp")?);
        if now >= expires + LEEWAY {
            return Err(TokenError::Expired);
        }
        if issued > now + LEEWAY || issued + LEEWAY < expected.since {
            return Err(TokenError::Issued);
        }
        if expected.nonce.is_some_and(|sent| claims.get("nonce").and_then(Value::as_str) != Some(sent)) {
            return Err(TokenError::Nonce);
        }
        let asked = claims.get("auth_time").map(|_| time(&claims, "auth_time")).transpose()?;
        if let Some(longest) = expected.max_age {
            let asked = asked.ok_or_else(|| TokenError::Claim("auth_time".to_owned()))?;
            if asked > now + LEEWAY || asked + longest + LEEWAY < now {
                return Err(TokenError::AuthTime);
            }
        }
        let subject = text(&claims, "sub")?;
        if subject.is_empty() || subject.len() > LONGEST_SUBJECT || subject.contains(char::is_control) {
            return Err(TokenError::Claim("sub".to_owned()));
        }
        for (name, wanted) in &self.required_claims {
            if !says(claims.get(name), wanted) {
                return Err(TokenError::Required(name.clone()));
            }
        }
        let acr = claims.get("acr").and_then(Value::as_str).map(|acr| plain_text_up_to(LONGEST_FACT, acr));
        let amr = claims.get("amr").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str);
        let amr = amr.take(MOST_METHODS).map(|method| plain_text_up_to(LONGEST_FACT, method)).collect();
        let facts = SignInFacts {
            issuer: self.issuer.clone(),
            subject: subject.to_owned(),
            at: asked.unwrap_or(issued),
            acr,
            amr,
        };
        let (name, groups, aws) = (self.name(&claims)?, self.groups(&claims)?, AwsClaims::of(&claims));
        let text = IdToken { text: Zeroizing::new(token.to_owned()), expires };
        Ok(VerifiedToken { facts, name, groups, aws, expires, text: Some(Arc::new(text)) })
    }

    /// The claims, once it is known that the provider has signed them.
    fn signed(&self, keys: &KeySet, token: &str) -> Result<Map<String, Value>, TokenError> {
        if token.len() > LONGEST_TOKEN {
            return Err(TokenError::TooLong);
        }
        // an algorithm that is not known, `none` among them, can't be read
        let header = decode_header(token).map_err(|_| TokenError::Unreadable)?;
        if header.typ.is_some_and(|of| !of.eq_ignore_ascii_case("JWT")) {
            return Err(TokenError::Type);
        }
        if !TAKEN.contains(&header.alg) {
            return Err(TokenError::Algorithm);
        }
        // what the claims must say is checked here, on what is given back, and by nobody else's idea of it
        let mut only = Validation::new(header.alg);
        only.required_spec_claims.clear();
        (only.validate_exp, only.validate_nbf, only.validate_aud) = (false, false, false);
        let candidates = keys.candidates(header.alg, header.kid.as_deref())?;
        let claims = candidates.into_iter().find_map(|key| {
            let key = DecodingKey::from_jwk(key).ok()?;
            Some(decode::<Map<String, Value>>(token, &key, &only).ok()?.claims)
        });
        claims.ok_or(TokenError::Signature)
    }

    /// Core, section 3.1.3.7, 3 to 5. Who else is in the audience could be shown the token, and show it here.
    fn is_for_us(&self, claims: &Map<String, Value>) -> Result<(), TokenError> {
        let ours = |value: &Value| value.as_str() == Some(&self.client_id);
        let audience = match claims.get("aud") {
            Some(Value::Array(several)) => several.len() == 1 && several.iter().all(ours),
            Some(one) => ours(one),
            None => false,
        };
        let authorized = claims.get("azp").is_none_or(ours);
        if audience && authorized { Ok(()) } else { Err(TokenError::Audience) }
    }

    fn name(&self, claims: &Map<String, Value>) -> Result<String, TokenError> {
        let name = text(claims, &self.name_claim)?;
        // an address that anybody may have typed in at the provider is whoever's
        if self.name_claim == "email" && claims.get("email_verified") != Some(&Value::Bool(true)) {
            return Err(TokenError::EmailUnverified);
        }
        match name_is_usable(name) {
            Ok(()) => Ok(name.to_owned()),
            Err(_) => Err(TokenError::Name(self.name_claim.clone())),
        }
    }

    fn groups(&self, claims: &Map<String, Value>) -> Result<Vec<String>, TokenError> {
        let Some(claim) = &self.groups_claim else { return Ok(Vec::new()) };
        let wrong = || TokenError::Groups(claim.clone());
        // a provider that has them elsewhere does not say here which they are (Core, section 5.6.2), and policies may forbid some
        if claims.get("_claim_names").is_some_and(|elsewhere| elsewhere.get(claim).is_some()) {
            return Err(wrong());
        }
        let several = match claims.get(claim) {
            None => &[],
            Some(Value::Array(several)) => several.as_slice(),
            Some(one) => std::slice::from_ref(one),
        };
        if several.len() > MOST_GROUPS {
            return Err(wrong());
        }
        let fine = |group: &&str| (1..=LONGEST_GROUP).contains(&group.len()) && !group.contains(char::is_control);
        let group = |value: &Value| value.as_str().filter(fine).map(str::to_owned).ok_or_else(wrong);
        let groups: BTreeSet<String> = several.iter().map(group).collect::<Result<_, _>>()?;
        Ok(groups.into_iter().collect())
    }
}

fn text<'a>(claims: &'a Map<String, Value>, name: &str) -> Result<&'a str, TokenError> {
    claims.get(name).and_then(Value::as_str).ok_or_else(|| TokenError::Claim(name.to_owned()))
}

/// A number of seconds since 1970 (RFC 7519, section 2), which may have a fraction. No time is later than year 9999.
fn time(claims: &Map<String, Value>, name: &str) -> Result<SystemTime, TokenError> {
    let seconds = claims.get(name).and_then(|value| value.as_u64().or_else(|| Some(value.as_f64()?.trunc() as u64)));
    let seconds = seconds.filter(|seconds| (1..=253_402_300_799).contains(seconds));
    seconds.map(|seconds| UNIX_EPOCH + Duration::from_secs(seconds)).ok_or_else(|| TokenError::Claim(name.to_owned()))
}

/// Whether a claim is this, or has it among others.
fn says(claim: Option<&Value>, wanted: &str) -> bool {
    match claim {
        Some(Value::String(text)) => text == wanted,
        Some(value @ (Value::Bool(_) | Value::Number(_))) => {
            let written = value.to_string();
            written == wanted
        }
        Some(Value::Array(several)) => several.iter().any(|one| !one.is_array() && says(Some(one), wanted)),
        Some(Value::Null | Value::Object(_)) | None => false,
    }
}

impl VerifiedToken {
    /// What is told of it.
    pub fn facts(&self) -> &SignInFacts {
        &self.facts
    }

    /// From when on it counts no more.
    pub fn expires(&self) -> SystemTime {
        self.expires
    }

    /// Whether it says the same of the same person, later.
    pub fn says_the_same(&self, other: &Self) -> bool {
        let who = |token: &Self| (token.facts.issuer.clone(), token.facts.subject.clone(), token.name.clone());
        who(self) == who(other) && self.groups == other.groups && self.aws == other.aws
    }

    /// What AWS takes of it.
    pub fn aws(&self) -> &AwsClaims {
        &self.aws
    }

    /// Its text, which it has no more then.
    pub(super) fn take_text(&mut self) -> Option<Arc<IdToken>> {
        self.text.take()
    }

    /// The person's name, as the claim says.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// The groups of the claim, each once.
    pub(super) fn groups(&self) -> &[String] {
        &self.groups
    }
}

impl IdToken {
    /// All of it.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// From when on AWS takes it no more.
    pub fn expires(&self) -> SystemTime {
        self.expires
    }
}

/// Nothing of what it is.
impl fmt::Debug for IdToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("IdToken(hidden)")
    }
}

#[cfg(test)]
#[path = "id_token_tests.rs"]
pub(crate) mod tests;
