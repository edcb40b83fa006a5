//! Roles for tokens of an OpenID provider: what is believed, by whose keys, and every way in which a token or a trust policy is not enough.

use std::time::{Duration, SystemTime};

use aws_credential_types::Credentials;
use aws_sdk_ssm::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_sts::operation::assume_role_with_web_identity::builders::AssumeRoleWithWebIdentityFluentBuilder;
use aws_sdk_sts::types::Tag;
use serde_json::{Value, json};

use super::callers::*;
use crate::emulator::*;
use crate::identity::Signer;

const ISSUER: &str = "https://id.example.com/realm";
const HOST: &str = "id.example.com/realm";
const PROVIDER: &str = "arn:aws:iam::123456789012:oidc-provider/id.example.com/realm";
const WEB: &str = "arn:aws:iam::123456789012:role/portcullis-web";
const NODES: &str = "arn:aws:iam::123456789012:role/portcullis-nodes";

/// A document of `deploy/iam`, for the account and the provider of these tests.
fn deployed(name: &str) -> String {
    let path = format!("{}/deploy/iam/{name}", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(path).unwrap();
    let replaced = [("${Account}", "123456789012"), ("${Issuer}", HOST), ("${ClientId}", "gate"), ("${First}", WEB)];
    replaced.iter().fold(text, |text, (name, value)| text.replace(name, value))
}

/// An account that knows a provider, and roles that trust it as `deploy/iam` says, or otherwise.
struct Account {
    callers: Callers,
    signer: Signer,
    directory: tempfile::TempDir,
}

impl Account {
    async fn start() -> Self {
        Self::trusting(deployed("web-identity-trust.json"), deployed("chained-trust.json")).await
    }

    async fn trusting(first: String, second: String) -> Self {
        let (signer, directory) = (Signer::new(), tempfile::tempdir().unwrap());
        let trail = directory.path().join("trail.jsonl");
        let callers = Callers::start_with(|config| {
            let (issuer, audiences) = (ISSUER.to_owned(), vec!["gate".to_owned(), "other".to_owned()]);
            config.identity_providers = vec![IdentityProvider { issuer, audiences, keys: signer.jwks().to_string() }];
            let policies = vec![deployed("web-identity-policy.json"), deployed("sessions-policy.json")];
            config.roles =
                vec![Role::new(WEB, first, policies), Role::new(NODES, second, vec![deployed("sessions-policy.json")])];
            config.keys.truncate(0);
            config.trail = Some(trail);
        })
        .await;
        Self { callers, signer, directory }
    }

    fn token(&self, changes: Value) -> String {
        token_of(&self.signer, "rsa", "RS256", changes)
    }

    fn exchange(&self, token: &str) -> AssumeRoleWithWebIdentityFluentBuilder {
        let nobody = Credentials::new("AKIDNOBODY", "x", None, None, "test");
        let asked = self.callers.sts(nobody).assume_role_with_web_identity();
        asked.role_arn(WEB).role_session_name("ada").web_identity_token(token)
    }

    /// Credentials for a token.
    async fn exchanged(&self, changes: Value) -> Credentials {
        let given = self.exchange(&self.token(changes)).send().await.unwrap().credentials.unwrap();
        Credentials::new(given.access_key_id, given.secret_access_key, Some(given.session_token), None, "test")
    }

    fn trail(&self) -> Vec<Value> {
        let text = std::fs::read_to_string(self.directory.path().join("trail.jsonl")).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

fn seconds() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs()
}

/// A token for ada, signed by that key, with these in the place of its usual claims.
fn token_of(signer: &Signer, key: &str, algorithm: &str, changes: Value) -> String {
    let mut claims = json!({ "iss": ISSUER, "aud": "gate", "sub": "ada-1", "iat": seconds(), "exp": seconds() + 600, "amr": ["pwd"] });
    claims.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
    signer.token(&json!({ "alg": algorithm, "kid": key }), &claims)
}

#[track_caller]
fn refused<T: std::fmt::Debug, E: ProvideErrorMetadata + std::fmt::Debug, R: std::fmt::Debug>(
    result: Result<T, SdkError<E, R>>,
) -> (String, String) {
    let error = result.expect_err("a refusal");
    (error.code().unwrap_or_default().to_owned(), error.message().unwrap_or_default().to_owned())
}

fn trust(statements: Value) -> String {
    json!({ "Version": "2012-10-17", "Statement": statements }).to_string()
}

fn says_all() -> Value {
    json!({
        "https://aws.amazon.com/source_identity": "ada",
        "https://aws.amazon.com/tags": {
            "principal_tags": { "portcullis:team": ["blue"], "cost": ["7"] }, "transitive_tag_keys": ["portcullis:team"],
        },
    })
}

#[tokio::test]
async fn a_token_of_a_known_provider_is_exchanged_for_a_role_that_trusts_it_and_nobody_signs_for_that() {
    let account = Account::start().await;
    for (key, algorithm) in [("rsa", "RS256"), ("ec", "ES256")] {
        let token = token_of(&account.signer, key, algorithm, says_all());
        let answer = account.exchange(&token).duration_seconds(900).send().await.unwrap();
        assert_eq!(answer.subject_from_web_identity_token(), Some("ada-1"));
        assert_eq!((answer.audience(), answer.provider()), (Some("gate"), Some(PROVIDER)));
        assert_eq!(answer.source_identity(), Some("ada"));
        let who = answer.assumed_role_user().unwrap().arn().to_owned();
        assert_eq!(who, "arn:aws:sts::123456789012:assumed-role/portcullis-web/ada");
        let given = answer.credentials.unwrap();
        let left = SystemTime::try_from(given.expiration).unwrap().duration_since(SystemTime::now()).unwrap();
        assert!(left <= Duration::from_secs(900) && left > Duration::from_secs(800), "{left:?}");
    }
    let ada = account.exchanged(says_all()).await;
    let who = account.callers.sts(ada.clone()).get_caller_identity().send().await.unwrap();
    assert!(who.arn().is_some_and(|arn| arn.ends_with(":assumed-role/portcullis-web/ada")));
    let trail = account.trail();
    let [record, ..] = &trail[..] else { panic!("{trail:?}") };
    assert_eq!(
        record["userIdentity"],
        json!({
            "type": "WebIdentityUser", "principalId": format!("{PROVIDER}:gate:ada-1"), "userName": "ada-1",
            "identityProvider": PROVIDER,
        })
    );
    assert_eq!(
        record["requestParameters"],
        json!({
            "roleArn": WEB, "roleSessionName": "ada", "durationSeconds": 900, "sourceIdentity": "ada",
            "principalTags": { "cost": "7", "portcullis:team": "blue" }, "transitiveTagKeys": ["portcullis:team"],
        })
    );
    let answered = &record["responseElements"];
    assert_eq!((&answered["provider"], &answered["audience"]), (&json!(PROVIDER), &json!("gate")));
    assert_eq!(
        (&answered["subjectFromWebIdentityToken"], &answered["sourceIdentity"]),
        (&json!("ada-1"), &json!("ada"))
    );
    assert_eq!((&record["eventName"], &record["readOnly"]), (&json!("AssumeRoleWithWebIdentity"), &json!(true)));
    let text = std::fs::read_to_string(account.directory.path().join("trail.jsonl")).unwrap();
    assert!(!text.contains("eyJ") && !text.contains(ada.session_token().unwrap()), "{text}");
}

#[tokio::test]
async fn z8_a_token_that_is_over_for_another_or_not_its_provider_s_is_exchanged_for_nothing() {
    let account = Account::start().await;
    let other = Signer::new();
    let parts = |token: String| token.split('.').map(str::to_owned).collect::<Vec<_>>();
    let (one, another) = (parts(account.token(json!({}))), parts(account.token(json!({ "sub": "eve" }))));
    let invalid = "InvalidIdentityToken";
    for (token, code, says) in [
        (account.token(json!({ "iss": "https://else.example.com" })), invalid, "No OpenIDConnect provider found"),
        (account.token(json!({ "iss": "http://id.example.com/realm" })), invalid, "No OpenIDConnect provider found"),
        (account.token(json!({ "aud": "nobody" })), invalid, "Incorrect token audience"),
        (account.token(json!({ "aud": ["gate"], "azp": "nobody" })), invalid, "Incorrect token audience"),
        (account.token(json!({ "aud": null })), invalid, "Incorrect token audience"),
        (account.token(json!({ "exp": seconds() - 1 })), "ExpiredTokenException", "must be before the expiration"),
        (account.token(json!({ "exp": null })), invalid, "Missing a required claim: exp"),
        (account.token(json!({ "sub": "" })), invalid, "Missing a required claim: sub"),
        // signed by somebody else, by no key of theirs, by what everybody knows, by nobody, or for other claims
        (token_of(&other, "rsa", "RS256", json!({})), invalid, "signature could not be verified"),
        (token_of(&account.signer, "new", "RS256", json!({})), invalid, "Couldn't retrieve verification key"),
        (token_of(&account.signer, "ec", "RS256", json!({})), invalid, "signature could not be verified"),
        (token_of(&account.signer, "rsa", "HS256", json!({})), invalid, "not supported"),
        (token_of(&account.signer, "ed", "EdDSA", json!({})), invalid, "not supported"),
        (token_of(&account.signer, "rsa", "none", json!({})), invalid, "not a valid JWT"),
        (format!("{}.{}.{}", one[0], another[1], one[2]), invalid, "signature could not be verified"),
        (format!("{}.{}.", one[0], one[1]), invalid, "signature could not be verified"),
        ("no token at all".to_owned(), invalid, "not a valid JWT"),
        (
            account.token(json!({ "https://aws.amazon.com/tags/principal_tags/a": ["b", "c"] })),
            invalid,
            "principal tags are no texts",
        ),
        (
            account.token(json!({ "https://aws.amazon.com/source_identity": "a b" })),
            "ValidationError",
            "sourceIdentity",
        ),
        ("x".repeat(20_001), "ValidationError", "webIdentityToken"),
    ] {
        let (found, told) = refused(account.exchange(&token).send().await);
        assert!(found == code && told.contains(says), "{found}: {told}");
        assert!(!told.contains("eyJ"), "{told}");
        let record = account.trail().pop().unwrap();
        assert_eq!(record["errorCode"], if code == "ValidationError" { "ValidationException" } else { code });
        assert!(!record.to_string().contains("eyJ"), "{record}");
        if code != "ValidationError" {
            assert_eq!(
                record["userIdentity"],
                json!({ "type": "WebIdentityUser" }),
                "nobody who was not verified is named"
            );
        }
    }
}

#[tokio::test]
async fn z8_a_role_is_given_to_whom_its_trust_policy_names_and_for_what_it_says() {
    let named = |provider: &str, actions: Value, condition: Value| {
        trust(json!({
            "Effect": "Allow", "Principal": { "Federated": provider }, "Action": actions, "Condition": condition,
        }))
    };
    let all = || json!(["sts:AssumeRoleWithWebIdentity", "sts:TagSession", "sts:SetSourceIdentity"]);
    let only = || json!("sts:AssumeRoleWithWebIdentity");
    let key = |name: &str| format!("{HOST}:{name}");
    let equal = |name: &str, value: &str| json!({ "StringEquals": { key(name): value } });
    let denying = |statement: Value| {
        let mut both = json!([{ "Effect": "Allow", "Principal": { "Federated": PROVIDER }, "Action": all() }]);
        both.as_array_mut().unwrap().push(statement);
        trust(both)
    };
    let (exchange, tag) = ("sts:AssumeRoleWithWebIdentity", "sts:TagSession");
    for (trusts, says, missing) in [
        (named(PROVIDER, all(), json!({})), says_all(), None),
        (named(PROVIDER, all(), equal("sub", "ada-1")), says_all(), None),
        (
            named(PROVIDER, only(), json!({ "ForAnyValue:StringEquals": { key("amr"): ["otp", "pwd"] } })),
            json!({}),
            None,
        ),
        (named(PROVIDER, all(), json!({ "Null": { "sts:SourceIdentity": "false" } })), says_all(), None),
        (named(PROVIDER, all(), equal("sub", "eve-1")), says_all(), Some(exchange)),
        (named(PROVIDER, all(), equal("aud", "other")), says_all(), Some(exchange)),
        (
            named(PROVIDER, all(), json!({ "ForAnyValue:StringEquals": { key("amr"): "otp" } })),
            json!({}),
            Some(exchange),
        ),
        (named(PROVIDER, all(), json!({ "Null": { "sts:SourceIdentity": "false" } })), json!({}), Some(exchange)),
        (
            named("arn:aws:iam::123456789012:oidc-provider/else.example.com", all(), json!({})),
            json!({}),
            Some(exchange),
        ),
        (
            named("arn:aws:iam::210987654321:oidc-provider/id.example.com/realm", all(), json!({})),
            json!({}),
            Some(exchange),
        ),
        // who is named otherwise is nobody with a token
        (trust(json!({ "Effect": "Allow", "Principal": "*", "Action": "sts:*" })), json!({}), Some(exchange)),
        (
            trust(json!({ "Effect": "Allow", "Principal": { "AWS": "123456789012" }, "Action": "sts:*" })),
            json!({}),
            Some(exchange),
        ),
        (
            trust(json!({ "Effect": "Allow", "NotPrincipal": { "AWS": ALICE }, "Action": "sts:*" })),
            json!({}),
            Some(exchange),
        ),
        (named(PROVIDER, json!("sts:AssumeRole"), json!({})), json!({}), Some(exchange)),
        // what the token says takes leave of its own
        (named(PROVIDER, only(), json!({})), json!({}), None),
        (named(PROVIDER, only(), json!({})), json!({ "https://aws.amazon.com/tags/principal_tags/a": "b" }), Some(tag)),
        (
            named(PROVIDER, only(), json!({})),
            json!({ "https://aws.amazon.com/source_identity": "ada" }),
            Some("sts:SetSourceIdentity"),
        ),
        (named(PROVIDER, all(), json!({ "StringEquals": { "aws:RequestTag/cost": "8" } })), says_all(), Some(exchange)),
        (denying(json!({ "Effect": "Deny", "Principal": "*", "Action": "sts:*" })), json!({}), Some(exchange)),
        (
            denying(json!({ "Effect": "Deny", "Principal": { "Federated": PROVIDER }, "Action": tag })),
            says_all(),
            Some(tag),
        ),
        (
            denying(json!({ "Effect": "Deny", "NotPrincipal": { "Federated": PROVIDER }, "Action": "sts:*" })),
            says_all(),
            None,
        ),
    ] {
        let account = Account::trusting(trusts.clone(), deployed("chained-trust.json")).await;
        let answer = account.exchange(&account.token(says)).send().await;
        match missing {
            None => assert!(answer.is_ok(), "{trusts}: {answer:?}"),
            Some(action) => {
                let told = refused(answer);
                let expected = ("AccessDenied".to_owned(), format!("Not authorized to perform {action}"));
                assert_eq!(told, expected, "{trusts}");
                let record = account.trail().pop().unwrap();
                assert_eq!(
                    record["userIdentity"]["userName"], "ada-1",
                    "of a token that was verified it is said whose"
                );
            }
        }
    }
    let account = Account::start().await;
    let unknown = account.exchange(&account.token(json!({}))).role_arn(format!("{WEB}x")).send().await;
    assert_eq!(refused(unknown).1, "Not authorized to perform sts:AssumeRoleWithWebIdentity");
    let long = account.exchange(&account.token(json!({}))).duration_seconds(3601).send().await;
    assert_eq!(refused(long).0, "ValidationError");
}

#[tokio::test]
async fn the_documents_of_deploy_let_a_second_role_be_assumed_from_the_first_and_by_nobody_else() {
    let account = Account::start().await;
    let person = || Tag::builder().key("portcullis:person").value("ada").build().unwrap();
    let second = |credentials: Credentials| {
        account.callers.sts(credentials).assume_role().role_arn(NODES).role_session_name("ada").tags(person())
    };
    // named by the gateway, or by the token; and nameless by nobody
    let nameless = account.exchanged(json!({})).await;
    assert!(second(nameless.clone()).source_identity("ada").send().await.is_ok());
    let (code, told) = refused(second(nameless).send().await);
    assert!(code == "AccessDenied" && told.contains("sts:AssumeRole on resource"), "{told}");
    let named = account.exchanged(says_all()).await;
    let answer = second(named.clone()).send().await.unwrap();
    assert_eq!(answer.source_identity(), Some("ada"));
    let (code, _) = refused(second(named.clone()).source_identity("eve").send().await);
    assert_eq!(code, "AccessDenied", "a source identity stays");
    // what has come along once is not said again, in whatever case
    let again = Tag::builder().key("portcullis:Team").value("red").build().unwrap();
    assert_eq!(refused(second(named.clone()).tags(again).send().await).0, "InvalidParameterValue");
    assert_eq!(refused(second(named.clone()).duration_seconds(3601).send().await).0, "ValidationError");
    let who = &account.trail().into_iter().filter(|record| record["eventName"] == "AssumeRole").nth(2).unwrap();
    let context = &who["userIdentity"]["sessionContext"];
    assert_eq!(
        (&context["sourceIdentity"], &context["webIdFederationData"]["federatedProvider"]),
        (&json!("ada"), &json!(PROVIDER))
    );
    // a second role without leave for tags, or one that trusts somebody else
    let says = |principal: &str, actions: Value| {
        trust(json!({ "Effect": "Allow", "Principal": { "AWS": principal }, "Action": actions }))
    };
    for (trusts, missing) in [
        (says(WEB, json!(["sts:AssumeRole", "sts:SetSourceIdentity"])), "sts:TagSession"),
        (says(WEB, json!(["sts:AssumeRole", "sts:TagSession"])), "sts:SetSourceIdentity"),
        (says(ALICE, json!("sts:*")), "sts:AssumeRole"),
        // another account, whose owner has no say here
        (says("210987654321", json!("sts:*")), "sts:AssumeRole"),
    ] {
        let account = Account::trusting(deployed("web-identity-trust.json"), trusts).await;
        let ada = account.exchanged(says_all()).await;
        let asked = account.callers.sts(ada).assume_role().role_arn(NODES).role_session_name("ada").tags(person());
        let (code, told) = refused(asked.send().await);
        assert!(code == "AccessDenied" && told.contains(&format!("{missing} on resource: {NODES}")), "{told}");
    }
}

#[tokio::test]
async fn keys_that_are_none_are_the_end_of_the_start() {
    let mut config = ServiceConfig::new("127.0.0.1:0".parse().unwrap());
    let keys = "<html>".to_owned();
    config.identity_providers = vec![IdentityProvider { issuer: ISSUER.to_owned(), audiences: Vec::new(), keys }];
    let error = Service::start(config).await.unwrap_err().to_string();
    assert_eq!(error, "the keys of the identity provider https://id.example.com/realm are no JWK set");
}
