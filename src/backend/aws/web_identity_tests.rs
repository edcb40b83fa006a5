//! People in roles that are got by their own ID tokens, through the SDK against the embedded service, which verifies the tokens and
//! evaluates what roles trust.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use aws_credential_types::Credentials;
use serde_json::{Value, json};
use tokio::time::timeout;

use super::persons_tests::{Account, DOCUMENT, GATEWAY, OTHER_NODE, denied, deployed, ends, request, to};
use super::*;
use crate::backend::BackendError;
use crate::backend::lanes::Lanes as _;
use crate::emulator::{IdentityProvider, Role as IamRole, ServiceConfig};
use crate::identity::{Identity, Role, SignedIn, Signer, signed_in_by, verified_by};
use crate::model::{RealmName, RoleArn};
use crate::testing::PATIENCE;

const WEB: &str = "arn:aws:iam::123456789012:role/portcullis-web";
const NODES: &str = "arn:aws:iam::123456789012:role/portcullis-nodes";
const PROVIDER: &str = "arn:aws:iam::123456789012:oidc-provider/id.example.com";

/// A document of `deploy/iam`, for the provider of these tests.
fn of_provider(name: &str) -> String {
    let replaced = [("${Issuer}", "id.example.com"), ("${ClientId}", "gate"), ("${First}", WEB)];
    replaced.iter().fold(deployed(name), |text, (name, value)| text.replace(name, value))
}

/// An account that knows the provider, whose keys these are.
async fn account(signer: &Signer, change: impl FnOnce(&mut ServiceConfig)) -> Account {
    Account::with(|config| {
        config.identity_providers = vec![IdentityProvider {
            issuer: "https://id.example.com".to_owned(),
            audiences: vec!["gate".to_owned()],
            keys: signer.jwks().to_string(),
        }];
        let sessions = || deployed("sessions-policy.json");
        config.roles = vec![
            IamRole::new(
                WEB,
                of_provider("web-identity-trust.json"),
                vec![of_provider("web-identity-policy.json"), sessions()],
            ),
            IamRole::new(NODES, of_provider("chained-trust.json"), vec![sessions()]),
        ];
        change(config);
    })
    .await
}

/// Ada in a role that is got by her token.
fn ada(role: &str, signed_in: &Arc<SignedIn>) -> Identity {
    let [arn, first] = [role, WEB].map(|arn| RoleArn::parse(arn).unwrap());
    let role = Role { arn, external_id: None, duration: Duration::from_secs(900), web_identity: Some(first) };
    Identity::for_test_in("ada", &["dev"]).in_role(Arc::new(role)).by_sign_in(signed_in)
}

fn says_who() -> Value {
    json!({ "https://aws.amazon.com/source_identity": "ada.l", "https://aws.amazon.com/tags/principal_tags/team": "blue" })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_is_ada_s_by_her_own_token_and_the_gateway_assumes_nothing() {
    let signer = Signer::new();
    let account = account(&signer, |_| {}).await;
    let signed_in = signed_in_by(&signer, "ada", says_who());
    let grant = to(ada(WEB, &signed_in));
    for code in [3, 4] {
        let line = format!("sh -c 'exit {code}'");
        assert_eq!(ends(account.open(&grant, &line).await.unwrap()).await, Some(code));
    }
    let records = account.records("AssumeRoleWithWebIdentity");
    let [exchanged] = &records[..] else { panic!("once for both: {records:?}") };
    assert_eq!(
        exchanged["userIdentity"],
        json!({
            "type": "WebIdentityUser", "principalId": format!("{PROVIDER}:gate:sub of ada"), "userName": "sub of ada",
            "identityProvider": PROVIDER,
        })
    );
    let asked = &exchanged["requestParameters"];
    assert_eq!((&asked["roleSessionName"], &asked["sourceIdentity"]), (&json!("ada"), &json!("ada.l")));
    assert_eq!((&asked["durationSeconds"], &asked["principalTags"]), (&json!(900), &json!({ "team": "blue" })));
    assert!(account.records("AssumeRole").is_empty());
    let who = "arn:aws:sts::123456789012:assumed-role/portcullis-web/ada";
    let started = account.records("StartSession");
    assert_eq!(started.len(), 2);
    for record in started {
        let identity = &record["userIdentity"];
        assert_eq!((&identity["arn"], &record["errorCode"]), (&json!(who), &Value::Null), "{record}");
        let context = &identity["sessionContext"];
        assert_eq!(context["sourceIdentity"], "ada.l");
        assert_eq!(context["webIdFederationData"]["federatedProvider"], PROVIDER);
    }
    // cut down to that node all the same
    let ssm = account.ssm(&account.credentials(&grant).await);
    let told = denied(ssm.start_session().target(OTHER_NODE).document_name(DOCUMENT).send().await);
    assert!(told.contains("because no session policy"), "{told}");
    denied(ssm.describe_sessions().state("Active".into()).send().await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_role_is_assumed_from_the_first_which_is_for_nothing_else() {
    let signer = Signer::new();
    let account = account(&signer, |_| {}).await;
    let transitive = json!({
        "https://aws.amazon.com/tags": { "principal_tags": { "portcullis:person": ["ada"] }, "transitive_tag_keys": ["portcullis:person"] },
    });
    for (says, source, tags) in [
        (json!({}), "ada", &["portcullis:person", "portcullis:node", "portcullis:groups"][..]),
        (says_who(), "ada.l", &["portcullis:person", "portcullis:node", "portcullis:groups"]),
        (transitive, "ada", &["portcullis:node", "portcullis:groups"]),
    ] {
        let signed_in = signed_in_by(&signer, "ada", says);
        assert_eq!(ends(account.open(&to(ada(NODES, &signed_in)), "true").await.unwrap()).await, Some(0));
        let exchanged = account.records("AssumeRoleWithWebIdentity").pop().unwrap();
        let asked = &exchanged["requestParameters"];
        assert_eq!((&asked["roleArn"], &asked["durationSeconds"]), (&json!(WEB), &json!(900)));
        let policy: Value = serde_json::from_str(asked["policy"].as_str().unwrap()).unwrap();
        let only = json!({
            "Effect": "Allow", "Action": ["sts:AssumeRole", "sts:TagSession", "sts:SetSourceIdentity"], "Resource": NODES,
        });
        assert_eq!(policy["Statement"], json!([only]));
        let assumed = account.records("AssumeRole").pop().unwrap();
        assert_eq!(assumed["userIdentity"]["arn"], "arn:aws:sts::123456789012:assumed-role/portcullis-web/ada");
        assert_eq!(assumed["errorCode"], Value::Null);
        let asked: Vec<&str> = assumed["requestParameters"]["tags"]
            .as_array()
            .unwrap()
            .iter()
            .map(|tag| tag["key"].as_str().unwrap())
            .collect();
        assert_eq!(asked, tags);
        let started = account.records("StartSession").pop().unwrap();
        assert_eq!(started["userIdentity"]["arn"], "arn:aws:sts::123456789012:assumed-role/portcullis-nodes/ada");
        assert_eq!(started["userIdentity"]["sessionContext"]["sourceIdentity"], source);
    }
    assert!(account.records("AssumeRole").iter().all(|record| record["userIdentity"]["arn"] != GATEWAY));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whose_gateway_has_no_credentials_that_work_is_in_their_role_all_the_same() {
    let signer = Signer::new();
    let account = account(&signer, |_| {}).await;
    let unknown = Credentials::new("AKIDUNKNOWN", "x", None, None, "test");
    let options = AwsOptions { credentials: Some(unknown), ..account.service.aws_options() };
    let backend = AwsBackend::new(RealmName::for_test(), options).await.unwrap();
    let signed_in = signed_in_by(&signer, "ada", json!({}));
    for role in [WEB, NODES] {
        let lane = backend.open(&to(ada(role, &signed_in)), request("true")).await.unwrap();
        assert_eq!(ends(lane).await, Some(0), "{role}");
    }
    // and the gateway can be nobody
    let arn = RoleArn::parse(NODES).unwrap();
    let role = Role { arn, external_id: None, duration: Duration::from_secs(900), web_identity: None };
    let refused = backend.open(&to(Identity::for_test("ada").in_role(Arc::new(role))), request("true")).await;
    assert!(matches!(refused, Err(BackendError::Credentials { .. })), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn z9_what_is_got_by_a_sign_in_is_that_sign_in_s_and_not_kept_past_it() {
    let signer = Signer::new();
    let account = account(&signer, |_| {}).await;
    let [one, other] = [(); 2].map(|()| signed_in_by(&signer, "ada", json!({})));
    let person = |signed_in: &Arc<SignedIn>| account.person(&to(ada(WEB, signed_in)), &request("true"));
    assert!(Arc::ptr_eq(&person(&one), &person(&one)));
    assert!(!Arc::ptr_eq(&person(&one), &person(&other)), "the same person, and another connection");
    for signed_in in [&one, &other] {
        account.credentials(&to(ada(WEB, signed_in))).await;
    }
    assert_eq!(account.records("AssumeRoleWithWebIdentity").len(), 2);
    let persons = &account.backend.inner().persons;
    assert_eq!(persons.count(), 2);
    drop(one);
    person(&other);
    assert_eq!(persons.count(), 1);
    // no part of a token is in what is printed
    let printed = format!("{:?} {:?} {:?}", account.backend, person(&other), to(ada(WEB, &other)));
    assert!(!printed.contains("eyJ"), "{printed}");
    // once it has ended, nothing new comes of it
    other.end("the provider does not stand to it", SystemTime::now());
    account.backend.forget();
    let error = account.open(&to(ada(WEB, &other)), "true").await.unwrap_err().to_string();
    assert!(error.starts_with("the ID token of your sign-in is over"), "{error}");
    assert_eq!(account.records("AssumeRoleWithWebIdentity").len(), 2, "AWS is not asked");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn z9_whoever_has_not_signed_in_is_nobody_in_such_a_role() {
    let signer = Signer::new();
    let account = account(&signer, |_| {}).await;
    let [arn, first] = [NODES, WEB].map(|arn| RoleArn::parse(arn).unwrap());
    let role = Role { arn, external_id: None, duration: Duration::from_secs(900), web_identity: Some(first) };
    let refused = account.open(&to(Identity::for_test("ada").in_role(Arc::new(role))), "true").await;
    assert!(matches!(refused, Err(BackendError::Refused(_))), "{refused:?}");
    for call in ["AssumeRole", "AssumeRoleWithWebIdentity", "StartSession"] {
        assert!(account.records(call).is_empty(), "{call}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn z5_a_newer_token_renews_what_a_sign_in_got_and_without_one_its_end_is_told() {
    let signer = Signer::new();
    // a quarter of an hour is four seconds
    let account = account(&signer, |config| config.minute = Duration::from_millis(267)).await;
    let soon = |seconds: u64| {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
        json!({ "exp": now + seconds })
    };
    let signed_in =
        Arc::new(SignedIn::new(verified_by(&signer, "ada", soon(3)), SystemTime::now() + Duration::from_secs(3600)));
    let line = "sh -c 'while :; do echo x; sleep 0.2; done'";
    let mut lane = account.open(&to(ada(NODES, &signed_in)), line).await.unwrap();
    signed_in.renewed(verified_by(&signer, "ada", soon(7)));
    account.until_records("AssumeRole", 2).await;
    let why = timeout(PATIENCE, lane.lapse.told()).await.expect("it is told").to_string();
    assert!(
        why.starts_with("the session ends, because what you are in AWS has ended and could not be renewed"),
        "{why}"
    );
    assert!(
        why.contains("the ID token of your sign-in is over") && why.contains("connect again, and sign in"),
        "{why}"
    );
    lane.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_missing_in_iam_is_said_to_whoever_looks_after_it() {
    let signer = Signer::new();
    let other = Signer::new();
    let trust = |principal: Value, actions: Value| {
        let statement = json!({ "Effect": "Allow", "Principal": principal, "Action": actions });
        json!({ "Version": "2012-10-17", "Statement": statement }).to_string()
    };
    let all = || json!("sts:*");
    for (role, change, signs, call, missing) in [
        (WEB, Some((0, trust(json!({ "AWS": GATEWAY }), all()))), &signer, "AssumeRoleWithWebIdentity", "Federated"),
        (
            WEB,
            Some((0, trust(json!({ "Federated": PROVIDER }), json!("sts:AssumeRoleWithWebIdentity")))),
            &signer,
            "AssumeRoleWithWebIdentity",
            "Not authorized to perform sts:TagSession",
        ),
        (NODES, Some((1, trust(json!({ "AWS": GATEWAY }), all()))), &signer, "AssumeRole", "must let the role"),
        (
            NODES,
            Some((1, trust(json!({ "AWS": WEB }), json!(["sts:AssumeRole", "sts:SetSourceIdentity"])))),
            &signer,
            "AssumeRole",
            "sts:TagSession",
        ),
        (WEB, None, &other, "AssumeRoleWithWebIdentity", "oidc.client_id among its audiences"),
    ] {
        let account = account(&signer, |config| {
            if let Some((place, trust)) = change {
                let role: &mut IamRole = &mut config.roles[place];
                role.trust = trust;
            }
        })
        .await;
        let signed_in = signed_in_by(signs, "ada", says_who());
        let error = account.open(&to(ada(role, &signed_in)), "true").await.unwrap_err();
        let told = error.to_string();
        assert!(told.contains(&format!("(sts:{call})")) && !told.contains("123456789012"), "{told}");
        let operator = error.for_operator();
        assert!(operator.contains(missing) && !operator.contains("eyJ"), "{missing}: {operator}");
        assert!(account.records("StartSession").is_empty());
    }
    let account = account(&signer, |_| {}).await;
    account.service.faults().add("fail AssumeRoleWithWebIdentity with 503 100 times".parse().unwrap());
    let signed_in = signed_in_by(&signer, "ada", json!({}));
    let error = account.open(&to(ada(NODES, &signed_in)), "true").await.unwrap_err();
    assert!(error.to_string().starts_with("STS in us-east-1 failed at AssumeRoleWithWebIdentity"), "{error}");
    let long = signed_in_by(&signer, "ada", json!({ "picture": "x".repeat(16_000) }));
    let error = account.open(&to(ada(WEB, &long)), "true").await.unwrap_err().to_string();
    assert!(error.contains("longer than the 20000 characters"), "{error}");
}
