//! Tokens that are right, and every way in which one is not.

use std::time::{Duration, SystemTime};

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _, RSA_PKCS1_SHA256, RSA_PSS_SHA256,
    RsaKeyPair,
};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use proptest::prelude::*;
use serde_json::{Value, json};
use sha2::Sha256;

use super::*;

/// A provider with a key of each kind.
pub(crate) struct Signer {
    rsa: RsaKeyPair,
    ec: EcdsaKeyPair,
    ed: Ed25519KeyPair,
}

pub(crate) const ISSUER: &str = "https://id.example.com";

fn encoded(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

impl Signer {
    pub(crate) fn new() -> Self {
        let rsa = RsaKeyPair::generate(aws_lc_rs::rsa::KeySize::Rsa2048).unwrap();
        Self {
            rsa,
            ec: EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap(),
            ed: Ed25519KeyPair::generate().unwrap(),
        }
    }

    /// Its keys, called `rsa`, `ec` and `ed`.
    pub(crate) fn jwks(&self) -> Value {
        let point = self.ec.public_key().as_ref();
        json!({ "keys": [
            { "kty": "RSA", "kid": "rsa", "use": "sig", "n": encoded(self.modulus()), "e": "AQAB" },
            { "kty": "EC", "kid": "ec", "crv": "P-256", "x": encoded(&point[1..33]), "y": encoded(&point[33..]) },
            { "kty": "OKP", "kid": "ed", "crv": "Ed25519", "alg": "EdDSA", "x": encoded(self.ed.public_key().as_ref()) },
        ] })
    }

    fn modulus(&self) -> Vec<u8> {
        self.rsa.public_key().modulus().big_endian_without_leading_zero().to_vec()
    }

    fn keys(&self) -> KeySet {
        KeySet::parse(self.jwks().to_string().as_bytes()).unwrap()
    }

    /// A token with this header, signed by the algorithm that it names, whatever that is.
    pub(crate) fn token(&self, header: &Value, claims: &Value) -> String {
        let message = format!("{}.{}", encoded(header.to_string()), encoded(claims.to_string()));
        let (random, bytes) = (SystemRandom::new(), message.as_bytes());
        let rsa = |padding| {
            let mut signature = vec![0; self.rsa.public_modulus_len()];
            self.rsa.sign(padding, &random, bytes, &mut signature).unwrap();
            signature
        };
        let signature = match header["alg"].as_str().unwrap_or_default() {
            "RS256" => rsa(&RSA_PKCS1_SHA256),
            "PS256" => rsa(&RSA_PSS_SHA256),
            "ES256" => self.ec.sign(&random, bytes).unwrap().as_ref().to_vec(),
            "EdDSA" => self.ed.sign(bytes).as_ref().to_vec(),
            // by what everybody knows
            "HS256" => {
                let mut mac = Hmac::<Sha256>::new_from_slice(&self.modulus()).unwrap();
                mac.update(bytes);
                mac.finalize().into_bytes().to_vec()
            }
            _ => Vec::new(),
        };
        format!("{message}.{}", encoded(signature))
    }

    fn usual(&self, claims: &Value) -> String {
        self.token(&json!({ "alg": "RS256", "kid": "rsa", "typ": "JWT" }), claims)
    }
}

/// The second of all these tokens.
const NOW: u64 = 1_795_982_735;

fn now() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(NOW)
}

pub(crate) fn rules() -> TokenRules {
    TokenRules {
        issuer: ISSUER.to_owned(),
        client_id: "gate".to_owned(),
        name_claim: "preferred_username".to_owned(),
        groups_claim: Some("groups".to_owned()),
        required_claims: BTreeMap::new(),
    }
}

fn expected() -> Expected<'static> {
    Expected { nonce: None, since: now() - Duration::from_secs(5), max_age: None }
}

fn claims() -> Value {
    json!({
        "iss": ISSUER, "aud": "gate", "sub": "248289761001", "iat": NOW, "exp": NOW + 600,
        "preferred_username": "ada", "groups": ["ops", "dev", "ops"], "acr": "mfa", "amr": ["pwd", "otp"],
    })
}

/// The same with these in the place of those; `null` takes one out.
fn but(changes: Value) -> Value {
    let mut claims = claims();
    for (name, value) in changes.as_object().unwrap() {
        match value {
            Value::Null => drop(claims.as_object_mut().unwrap().remove(name)),
            value => claims[name] = value.clone(),
        }
    }
    claims
}

#[test]
fn a_token_by_each_kind_of_key_says_who_and_in_which_groups() {
    let signer = Signer::new();
    for (algorithm, key) in [("RS256", "rsa"), ("PS256", "rsa"), ("ES256", "ec"), ("EdDSA", "ed")] {
        let token = signer.token(&json!({ "alg": algorithm, "kid": key }), &claims());
        let verified = rules().verify(&signer.keys(), &token, expected(), now()).unwrap();
        assert_eq!(
            (verified.name(), verified.groups()),
            ("ada", &["dev", "ops"].map(str::to_owned)[..]),
            "{algorithm}"
        );
        let facts = verified.facts();
        assert_eq!((facts.subject.as_str(), facts.acr.as_deref(), facts.at), ("248289761001", Some("mfa"), now()));
        assert_eq!((verified.expires(), facts.amr.len()), (now() + Duration::from_secs(600), 2));
        assert!(!format!("{verified:?}").contains(&token[..20]));
    }
}

#[test]
fn au5_no_algorithm_no_key_and_no_signature_but_the_provider_s_is_taken() {
    let signer = Signer::new();
    let verify = |token: &str| rules().verify(&signer.keys(), token, expected(), now()).map(drop);
    let of = |header: Value| verify(&signer.token(&header, &claims()));
    assert_eq!(of(json!({ "alg": "none" })), Err(TokenError::Unreadable));
    assert_eq!(of(json!({ "alg": "none", "kid": "rsa" })), Err(TokenError::Unreadable));
    // the public key, which everybody has, as a secret
    assert_eq!(of(json!({ "alg": "HS256", "kid": "rsa" })), Err(TokenError::Algorithm));
    assert_eq!(of(json!({ "alg": "RS256", "kid": "other" })), Err(TokenError::UnknownKey));
    assert_eq!(of(json!({ "alg": "RS256", "kid": "ec" })), Err(TokenError::UnknownKey), "a key of another kind");
    assert_eq!(of(json!({ "alg": "RS256", "kid": "rsa", "typ": "at+jwt" })), Err(TokenError::Type));
    assert_eq!(of(json!({ "alg": "RS256", "kid": "rsa", "crit": ["exp"] })), Err(TokenError::Signature));
    assert_eq!(of(json!({ "alg": "RS256" })), Ok(()), "the only one of its kind");
    // another provider, by the same name of a key
    let other = Signer::new();
    assert_eq!(verify(&other.usual(&claims())), Err(TokenError::Signature));
    // a key that comes along in the token is nobody's
    let own = other.token(&json!({ "alg": "RS256", "kid": "rsa", "jwk": other.jwks()["keys"][0] }), &claims());
    assert_eq!(verify(&own), Err(TokenError::Signature));
    // what was changed after it was signed
    let token = signer.usual(&claims());
    let parts: Vec<&str> = token.split('.').collect();
    let forged = encoded(but(json!({ "preferred_username": "bob" })).to_string());
    assert_eq!(verify(&format!("{}.{forged}.{}", parts[0], parts[2])), Err(TokenError::Signature));
    assert_eq!(verify(&format!("{}.{}.", parts[0], parts[1])), Err(TokenError::Signature));
    for no_token in ["", ".", "..", "a.b", "a.b.c", "a.b.c.d"] {
        assert_eq!(verify(no_token), Err(TokenError::Unreadable), "{no_token}");
    }
    assert_eq!(verify(&"x".repeat(LONGEST_TOKEN + 1)), Err(TokenError::TooLong));
}

#[test]
fn what_a_token_must_say_is_all_looked_at() {
    let signer = Signer::new();
    let missing = |name: &str| TokenError::Claim(name.to_owned());
    for (changes, error) in [
        (json!({ "iss": "https://id.example.com/" }), TokenError::Issuer),
        (json!({ "iss": null }), missing("iss")),
        (json!({ "aud": "other" }), TokenError::Audience),
        (json!({ "aud": null }), TokenError::Audience),
        (json!({ "aud": [] }), TokenError::Audience),
        (json!({ "aud": ["gate", "other"], "azp": "gate" }), TokenError::Audience),
        (json!({ "azp": "other" }), TokenError::Audience),
        (json!({ "exp": NOW - 60 }), TokenError::Expired),
        (json!({ "exp": null }), missing("exp")),
        (json!({ "exp": "2027" }), missing("exp")),
        (json!({ "exp": -1 }), missing("exp")),
        (json!({ "exp": 1e300 }), missing("exp")),
        (json!({ "iat": NOW + 61 }), TokenError::Issued),
        (json!({ "iat": NOW - 66 }), TokenError::Issued),
        (json!({ "iat": null }), missing("iat")),
        (json!({ "sub": "" }), missing("sub")),
        (json!({ "sub": null }), missing("sub")),
        (json!({ "sub": 7 }), missing("sub")),
        (json!({ "sub": "a\u{1b}[2J" }), missing("sub")),
        (json!({ "sub": "x".repeat(256) }), missing("sub")),
        (json!({ "preferred_username": null }), missing("preferred_username")),
        (json!({ "preferred_username": "a/b" }), TokenError::Name("preferred_username".to_owned())),
        (json!({ "preferred_username": "*" }), TokenError::Name("preferred_username".to_owned())),
        (json!({ "groups": [1] }), TokenError::Groups("groups".to_owned())),
        (json!({ "groups": {} }), TokenError::Groups("groups".to_owned())),
        (json!({ "groups": ["a\n"] }), TokenError::Groups("groups".to_owned())),
        (json!({ "groups": vec!["g"; MOST_GROUPS + 1] }), TokenError::Groups("groups".to_owned())),
        (json!({ "groups": null, "_claim_names": { "groups": "src1" } }), TokenError::Groups("groups".to_owned())),
    ] {
        let verified = rules().verify(&signer.keys(), &signer.usual(&but(changes.clone())), expected(), now());
        assert_eq!(verified.map(drop), Err(error), "{changes}");
    }
    for changes in [
        json!({ "aud": ["gate"], "azp": "gate" }),
        json!({ "exp": NOW - 59 }),
        json!({ "iat": NOW + 60, "exp": NOW as f64 + 900.5 }),
        json!({ "groups": null }),
        json!({ "groups": "ops" }),
    ] {
        let verified = rules().verify(&signer.keys(), &signer.usual(&but(changes.clone())), expected(), now());
        assert!(verified.is_ok(), "{changes}: {verified:?}");
    }
}

#[test]
fn what_was_sent_along_and_the_age_of_the_sign_in_are_held_to() {
    let signer = Signer::new();
    let verify =
        |changes: Value, expected| rules().verify(&signer.keys(), &signer.usual(&but(changes)), expected, now());
    let sent = Expected { nonce: Some("n"), ..expected() };
    assert!(verify(json!({ "nonce": "n" }), sent).is_ok());
    assert_eq!(verify(json!({ "nonce": "m" }), sent), Err(TokenError::Nonce));
    assert_eq!(verify(json!({}), sent), Err(TokenError::Nonce));
    let fresh = Expected { max_age: Some(Duration::from_secs(300)), ..expected() };
    assert!(verify(json!({ "auth_time": NOW - 300 }), fresh).is_ok_and(|token| token.facts().at < now()));
    assert_eq!(verify(json!({ "auth_time": NOW - 361 }), fresh), Err(TokenError::AuthTime));
    assert_eq!(verify(json!({ "auth_time": NOW + 61 }), fresh), Err(TokenError::AuthTime));
    assert_eq!(verify(json!({}), fresh), Err(TokenError::Claim("auth_time".to_owned())));
}

#[test]
fn an_address_counts_where_it_is_verified_and_required_claims_say_what_they_must() {
    let signer = Signer::new();
    let mut rules = rules();
    rules.name_claim = "email".to_owned();
    let verify = |rules: &TokenRules, changes: Value| {
        let token = signer.usual(&but(changes));
        rules.verify(&signer.keys(), &token, expected(), now()).map(|verified| verified.name().to_owned())
    };
    let email = "ada@example.com";
    assert_eq!(verify(&rules, json!({ "email": email, "email_verified": true })).unwrap(), email);
    for verified in [json!(false), json!("true"), json!(1), Value::Null] {
        let said = verify(&rules, json!({ "email": email, "email_verified": verified }));
        assert_eq!(said, Err(TokenError::EmailUnverified));
    }
    rules.name_claim = "preferred_username".to_owned();
    rules.required_claims = [("hd", "example.com"), ("acr", "mfa")].map(|(a, b)| (a.to_owned(), b.to_owned())).into();
    for (hd, fine) in [
        (json!("example.com"), true),
        (json!(["x", "example.com"]), true),
        (json!("example.com.evil"), false),
        (Value::Null, false),
    ] {
        assert_eq!(verify(&rules, json!({ "hd": hd })).is_ok(), fine, "{hd}");
    }
    assert_eq!(
        verify(&rules, json!({ "hd": "example.com", "acr": "pwd" })),
        Err(TokenError::Required("acr".to_owned()))
    );
}

#[test]
fn of_a_set_of_keys_those_that_sign_are_kept() {
    let keys = |text: &str| KeySet::parse(text.as_bytes()).map(|keys| keys.0.len());
    assert_eq!((keys("{}"), keys("[]"), keys("{\"keys\":{}}"), keys("<html>")), (None, None, None, None));
    let signer = Signer::new();
    let mut set = signer.jwks();
    set["keys"][0]["use"] = json!("enc");
    set["keys"].as_array_mut().unwrap().push(json!({ "kty": "RSA" }));
    assert_eq!(keys(&set.to_string()), Some(2));
    // two of a kind, and a token that does not say which
    let mut set = signer.jwks();
    let second = Signer::new().jwks()["keys"][0].clone();
    set["keys"].as_array_mut().unwrap().push(second);
    let token = signer.token(&json!({ "alg": "RS256" }), &claims());
    let verified = rules().verify(&KeySet::parse(set.to_string().as_bytes()).unwrap(), &token, expected(), now());
    assert_eq!(verified, Err(TokenError::WhichKey));
}

proptest! {
    /// Whatever comes as a token: it is refused in a sentence that has nothing of it.
    #[test]
    fn whatever_comes_as_a_token_proves_nothing(token in "\\PC{0,200}|[A-Za-z0-9_-]{0,80}\\.[A-Za-z0-9_-]{0,80}\\.[A-Za-z0-9_-]{0,80}") {
        let error = rules().verify(&KeySet::default(), &token, expected(), now()).unwrap_err();
        prop_assert!(token.len() < 24 || !error.to_string().contains(&token[..token.floor_char_boundary(24)]));
    }

    #[test]
    fn whatever_comes_as_keys_is_read_or_not(json in "\\PC{0,200}|\\{\"keys\":\\[(\\{\"kty\":\"[A-Z]{2,3}\",\"[a-z]\":\"[A-Za-z0-9_-]{0,9}\"\\},?){0,3}\\]\\}") {
        let _ = KeySet::parse(json.as_bytes());
    }
}
