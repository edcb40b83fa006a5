//! People in their roles, through the SDK against the embedded service, which evaluates IAM: what each may, and everything
//! that they may not; and the calls that it takes.

use std::sync::Arc;
use std::time::Duration;

use aws_credential_types::Credentials;
use aws_sdk_ssm as ssm;
use aws_sdk_ssm::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_sts as sts;
use serde_json::{Value, json};
use tokio::time::timeout;

use super::persons::{Caller, Person};
use super::*;
use crate::backend::lanes::{Lane, Lanes as _, SessionRequest};
use crate::backend::{BackendError, Directory as _, Realm, Realms};
use crate::data_channel::ChannelEvent;
use crate::emulator::faults::{Cut, End};
use crate::emulator::{ApiKey, NodeConfig, Role as IamRole, ServiceConfig};
use crate::identity::{Identity, RealmRoles, Role, RoleOf, Roles};
use crate::model::{RealmName, RoleArn};
use crate::policy::{Action, Grant};
use crate::testing::{EmbeddedService, NODE, PATIENCE};

const ROLE: &str = "arn:aws:iam::123456789012:role/portcullis-people";
pub(super) const GATEWAY: &str = "arn:aws:iam::123456789012:user/gateway";
pub(super) const OTHER_NODE: &str = "mi-00000000000000bad";
pub(super) const DOCUMENT: &str = "Portcullis-Test";
const OTHER_DOCUMENT: &str = "Portcullis-Other";

/// A document of `deploy/iam`, for the account of the tests.
pub(super) fn deployed(name: &str) -> String {
    let path = format!("{}/deploy/iam/{name}", env!("CARGO_MANIFEST_DIR"));
    std::fs::read_to_string(path).unwrap().replace("${Account}", "123456789012").replace("${Gateway}", GATEWAY)
}

/// An account as `deploy/iam` makes it, and a gateway in it.
pub(super) struct Account {
    pub(super) service: EmbeddedService,
    pub(super) backend: AwsBackend,
}

impl Account {
    async fn start() -> Self {
        Self::with(|_| {}).await
    }

    pub(super) async fn with(change: impl FnOnce(&mut ServiceConfig)) -> Self {
        Self::of(RealmName::for_test(), change).await
    }

    /// One that a gateway calls so.
    async fn of(realm: RealmName, change: impl FnOnce(&mut ServiceConfig)) -> Self {
        let service = EmbeddedService::builder()
            .configured(|config| {
                config.keys[0] =
                    ApiKey::new("AKIDCLIENT", "client-secret", GATEWAY, vec![deployed("gateway-policy.json")]);
                let deployer = "arn:aws:iam::123456789012:user/deployer";
                let policies = vec![deployed("deployer-policy.json")];
                config.keys.push(ApiKey::new("AKIDDEPLOYER", "deployer-secret", deployer, policies));
                let policies = vec![deployed("sessions-policy.json")];
                config.roles = vec![IamRole::new(ROLE, deployed("person-trust.json"), policies)];
                config.nodes = vec![
                    NodeConfig::named(NODE, "demo").tag("portcullis", "allowed"),
                    NodeConfig::named(OTHER_NODE, "other").tag("portcullis", "allowed"),
                ];
                config.trail = Some("trail.jsonl".into());
                change(config);
            })
            .start()
            .await;
        let keys = Credentials::new("AKIDDEPLOYER", "deployer-secret", None, None, "test");
        let deployer =
            AwsBackend::new(RealmName::for_test(), AwsOptions { credentials: Some(keys), ..service.aws_options() })
                .await
                .unwrap();
        let document = r#"{"schemaVersion":"1.0","sessionType":"NonInteractiveCommands",
            "parameters":{"command":{"type":"String"}},
            "properties":{"linux":{"commands":"{{command}}","runAsElevated":true,"separateOutputStream":true}}}"#;
        for name in [DOCUMENT, OTHER_DOCUMENT] {
            deployer.put_document(name, document).await.unwrap();
        }
        let backend = AwsBackend::new(realm, service.aws_options()).await.unwrap();
        Self { service, backend }
    }

    pub(super) async fn open(&self, grant: &Grant, line: &str) -> Result<Lane, BackendError> {
        self.backend.open(grant, request(line)).await
    }

    /// What the SDK would sign with for that grant.
    pub(super) async fn credentials(&self, grant: &Grant) -> Credentials {
        let inner = self.backend.inner();
        let caller = inner.persons.caller(&inner.clients, grant, &request("true")).unwrap();
        caller.credentials(&inner.clients).await.unwrap()
    }

    pub(super) fn person(&self, grant: &Grant, request: &SessionRequest) -> Arc<Person> {
        let inner = self.backend.inner();
        match inner.persons.caller(&inner.clients, grant, request).unwrap() {
            Caller::Person(person) => person,
            Caller::Gateway => panic!("the gateway itself"),
        }
    }

    pub(super) fn ssm(&self, credentials: &Credentials) -> ssm::Client {
        let inner = self.backend.inner();
        let config = inner.clients.ssm.config().to_builder().credentials_provider(credentials.clone());
        ssm::Client::from_conf(config.build())
    }

    /// The records of a call.
    pub(super) fn records(&self, name: &str) -> Vec<Value> {
        let text = std::fs::read_to_string(self.service.trail().unwrap()).unwrap();
        let records = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        records.filter(|record| record["eventName"] == name).collect()
    }

    /// Waits until there are so many.
    pub(super) async fn until_records(&self, name: &str, count: usize) {
        let enough = async {
            while self.records(name).len() < count {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        timeout(PATIENCE, enough).await.expect("the records come");
    }
}

pub(super) fn request(line: &str) -> SessionRequest {
    let mut request = SessionRequest::new(DOCUMENT);
    request.parameters.insert("command".into(), vec![line.into()]);
    request
}

fn person(name: &str, groups: &[&str]) -> Identity {
    in_role(name, groups, ROLE, None)
}

fn in_role(name: &str, groups: &[&str], role: &str, external_id: Option<&str>) -> Identity {
    let arn = RoleArn::parse(role).unwrap();
    let external_id = external_id.map(str::to_owned);
    let role = Role { arn, external_id, duration: Duration::from_secs(900), web_identity: None };
    Identity::for_test_in(name, groups).in_role(Arc::new(role))
}

pub(super) fn to(identity: Identity) -> Grant {
    Grant::for_test_to(identity, NODE, Action::Shell)
}

pub(super) async fn ends(mut lane: Lane) -> Option<i32> {
    let mut exit = None;
    while let Some(event) = timeout(PATIENCE, lane.reader.next()).await.expect("the lane hangs") {
        if let ChannelEvent::ExitCode(code) = event {
            exit = Some(code);
        }
    }
    lane.close().await;
    exit
}

#[track_caller]
pub(super) fn denied<T: std::fmt::Debug, E: ProvideErrorMetadata + std::fmt::Debug, R: std::fmt::Debug>(
    result: Result<T, SdkError<E, R>>,
) -> String {
    let error = result.expect_err("a refusal");
    assert_eq!(error.code(), Some("AccessDeniedException"), "{error:?}");
    error.message().unwrap_or_default().to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_is_begun_resumed_and_ended_by_its_person_whose_role_is_assumed_once() {
    let account = Account::start().await;
    let ann = to(person("ann@example.com", &["dev"]));
    assert_eq!(ends(account.open(&ann, "sh -c 'exit 3'").await.unwrap()).await, Some(3));
    let mut lane = account.open(&ann, "sleep 1000").await.unwrap();
    assert_eq!(timeout(PATIENCE, lane.reader.next()).await.unwrap(), Some(ChannelEvent::Established));
    assert!(lane.id.0.starts_with("ann@example.com-"), "{}", lane.id);
    assert!(account.service.faults().cut(&lane.id.0, End::Client, Cut::Abort));
    while timeout(PATIENCE, lane.reader.next()).await.unwrap() != Some(ChannelEvent::Reconnected) {}
    lane.close().await;
    account.service.no_session_is_left().await;
    let assumed = account.records("AssumeRole");
    let [assumed] = &assumed[..] else { panic!("a warm login has no call more: {assumed:?}") };
    assert_eq!(assumed["userIdentity"]["arn"], GATEWAY);
    let asked = &assumed["requestParameters"];
    assert_eq!(
        (&asked["roleSessionName"], &asked["sourceIdentity"]),
        (&json!("ann@example.com"), &json!("ann@example.com"))
    );
    assert_eq!(asked["durationSeconds"], 900);
    let key = ann.identity().key().unwrap().to_string();
    let tags = [
        ("portcullis:person", "ann@example.com"),
        ("portcullis:node", NODE),
        ("portcullis:key", &key),
        ("portcullis:groups", ":dev:"),
    ];
    assert_eq!(asked["tags"], json!(tags.map(|(key, value)| json!({ "key": key, "value": value }))));
    let who = "arn:aws:sts::123456789012:assumed-role/portcullis-people/ann@example.com";
    for (call, least) in [("StartSession", 2), ("ResumeSession", 1), ("TerminateSession", 1)] {
        let records = account.records(call);
        assert!(records.len() >= least, "{call}: {records:?}");
        for record in records {
            let identity = &record["userIdentity"];
            assert_eq!((&identity["arn"], &record["errorCode"]), (&json!(who), &Value::Null), "{record}");
            assert_eq!(identity["sessionContext"]["sourceIdentity"], "ann@example.com");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn z7_another_node_and_another_document_are_refused_although_the_role_may() {
    let account = Account::start().await;
    let ssm = account.ssm(&account.credentials(&to(person("ann", &[]))).await);
    let start = || ssm.start_session().parameters("command", vec!["true".into()]);
    let told = denied(start().target(OTHER_NODE).document_name(DOCUMENT).send().await);
    assert!(told.contains(&format!("{OTHER_NODE} because no session policy")), "{told}");
    let told = denied(start().target(NODE).document_name(OTHER_DOCUMENT).send().await);
    assert!(told.contains(&format!("document/{OTHER_DOCUMENT} because no session policy")), "{told}");
    denied(ssm.start_session().target(NODE).send().await);
    // nothing beside sessions, either
    denied(ssm.describe_sessions().state("Active".into()).send().await);
    denied(ssm.get_document().name(DOCUMENT).send().await);
    assert!(start().target(NODE).document_name(DOCUMENT).send().await.is_ok());
}

/// Whatever the role may do: here it may do everything.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn z7_each_action_is_cut_down_by_what_is_sent_along_and_not_by_the_role() {
    let statement = json!({ "Effect": "Allow", "Action": "*", "Resource": "*" });
    let everything = json!({ "Version": "2012-10-17", "Statement": statement }).to_string();
    let account = Account::with(|config| {
        config.roles = vec![IamRole::new(ROLE, deployed("person-trust.json"), vec![everything.clone()])];
    })
    .await;
    let bobs = account.open(&to(person("bob", &[])), "sleep 1000").await.unwrap();
    let credentials = account.credentials(&to(person("ann", &[]))).await;
    let ssm = account.ssm(&credentials);
    let start = || ssm.start_session().parameters("command", vec!["true".into()]);
    let refused = [
        denied(start().target(OTHER_NODE).document_name(DOCUMENT).send().await),
        denied(start().target(NODE).document_name(OTHER_DOCUMENT).send().await),
        denied(ssm.start_session().target(NODE).send().await),
        denied(ssm.resume_session().session_id(&bobs.id.0).send().await),
        denied(ssm.terminate_session().session_id(&bobs.id.0).send().await),
        denied(ssm.describe_sessions().state("Active".into()).send().await),
        denied(ssm.describe_instance_information().send().await),
        denied(ssm.get_connection_status().target(NODE).send().await),
        denied(ssm.get_document().name(DOCUMENT).send().await),
        denied(ssm.create_document().name("Portcullis-Mine").content("{}").send().await),
        denied(ssm.update_document().name(DOCUMENT).content("{}").send().await),
    ];
    for told in refused {
        assert!(told.contains("because no session policy allows"), "{told}");
    }
    let inner = account.backend.inner();
    let url = account.service.url().replace("http", "ws");
    let uri = inner.clients.origin.check(&format!("{url}/v1/data-channel/{}?role=publish_subscribe", bobs.id)).unwrap();
    let now = std::time::SystemTime::now();
    let upgrade = super::sign::upgrade_request(&uri, &inner.clients.region, &credentials, now).unwrap();
    let channel = inner.clients.dialer.dial(upgrade).await.expect_err("a refusal");
    assert!(matches!(channel, crate::data_channel::DialError::Refused { status: 403, .. }), "{channel:?}");
    // nor does anybody become more by becoming the role again
    let config = inner.clients.sts.config().to_builder().credentials_provider(credentials).build();
    let again = sts::Client::from_conf(config).assume_role().role_arn(ROLE).role_session_name("ann").send().await;
    let again = again.expect_err("a refusal");
    assert_eq!(again.code(), Some("AccessDenied"), "{again:?}");
    assert!(start().target(NODE).document_name(DOCUMENT).send().await.is_ok(), "what was granted is there");
    bobs.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn z8_no_name_of_a_person_or_of_a_group_is_another_s_in_a_role_s_conditions() {
    let trust = |condition: Value| {
        let actions = json!(["sts:AssumeRole", "sts:TagSession", "sts:SetSourceIdentity"]);
        let statement =
            json!({ "Effect": "Allow", "Principal": { "AWS": GATEWAY }, "Action": actions, "Condition": condition });
        json!({ "Version": "2012-10-17", "Statement": statement }).to_string()
    };
    let named = |name: &str| format!("arn:aws:iam::123456789012:role/portcullis-{name}");
    let roles = [
        ("of-ops", json!({ "StringLike": { "aws:RequestTag/portcullis:groups": "*:ops:*" } })),
        (
            "of-ann",
            json!({ "StringEquals": { "aws:RequestTag/portcullis:person": "ann", "sts:SourceIdentity": "ann" } }),
        ),
    ];
    let account = Account::with(|config| {
        let role = |(name, condition): &(&str, Value)| {
            IamRole::new(named(name), trust(condition.clone()), vec![deployed("sessions-policy.json")])
        };
        config.roles = roles.iter().map(role).collect();
    })
    .await;
    let gets = async |name: &str, groups: &[&str], role: &str| {
        account.open(&to(in_role(name, groups, &named(role), None)), "true").await.is_ok()
    };
    // groups may be a provider's claim, with whatever somebody could call one there
    let long = format!("{}:ops:", "x".repeat(250));
    for group in ["x:ops:y", ":ops:", "ops:", ":ops", "OPS", "ops ", "ops\u{0}", "*", "o?s", "оps", "dev,ops", &long] {
        assert!(!gets("ann", &[group], "of-ops").await, "{group:?} passes for ops");
        assert!(!gets("ann", &[group, "dev"], "of-ops").await, "{group:?} passes for ops");
    }
    assert!(gets("ann", &["dev", "ops"], "of-ops").await);
    for name in ["Ann", "ann.", "ann@", "an", "ann-ann", "portcullis:person", "ann\n"] {
        assert!(!gets(name, &["ann"], "of-ann").await, "{name:?} passes for ann");
    }
    assert!(gets("ann", &[], "of-ann").await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn z9_another_person_s_session_is_refused_by_every_call() {
    let account = Account::start().await;
    let lane = account.open(&to(person("ann-marie", &[])), "sleep 1000").await.unwrap();
    for other in ["ann", "ann_marie", "bob"] {
        let credentials = account.credentials(&to(person(other, &[]))).await;
        let ssm = account.ssm(&credentials);
        denied(ssm.resume_session().session_id(&lane.id.0).send().await);
        denied(ssm.terminate_session().session_id(&lane.id.0).send().await);
        let inner = account.backend.inner();
        let url = format!(
            "{}/v1/data-channel/{}?role=publish_subscribe",
            account.service.url().replace("http", "ws"),
            lane.id
        );
        let uri = inner.clients.origin.check(&url).unwrap();
        let now = std::time::SystemTime::now();
        let upgrade = super::sign::upgrade_request(&uri, &inner.clients.region, &credentials, now).unwrap();
        let refused = inner.clients.dialer.dial(upgrade).await.expect_err("a refusal");
        assert!(matches!(refused, crate::data_channel::DialError::Refused { status: 403, .. }), "{refused:?}");
    }
    lane.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_role_that_does_not_trust_the_gateway_so_far_is_a_sentence_that_says_what_is_missing() {
    let trust = |actions: Value, condition: Value| {
        let statement =
            json!({ "Effect": "Allow", "Principal": { "AWS": GATEWAY }, "Action": actions, "Condition": condition });
        json!({ "Version": "2012-10-17", "Statement": statement }).to_string()
    };
    let all = json!(["sts:AssumeRole", "sts:TagSession", "sts:SetSourceIdentity"]);
    let named = |name: &str| format!("arn:aws:iam::123456789012:role/portcullis-{name}");
    let team = json!({ "Null": { "aws:RequestTag/portcullis:groups": "false" } });
    let roles = [
        ("nameless", trust(json!(["sts:AssumeRole", "sts:TagSession"]), json!({}))),
        ("tagless", trust(json!(["sts:AssumeRole", "sts:SetSourceIdentity"]), json!({}))),
        ("of-a-group", trust(all.clone(), team)),
        ("deputy", trust(all.clone(), json!({ "StringEquals": { "sts:ExternalId": "realm-1" } }))),
    ];
    let account = Account::with(|config| {
        config.roles = roles
            .iter()
            .map(|(name, trust)| IamRole::new(named(name), trust.as_str(), vec![deployed("sessions-policy.json")]))
            .collect();
    })
    .await;
    for (name, external, missing) in [
        ("nameless", None, "sts:SetSourceIdentity"),
        ("tagless", None, "sts:TagSession"),
        ("of-a-group", None, "sts:AssumeRole"),
        ("deputy", None, "sts:AssumeRole"),
        ("deputy", Some("realm-2"), "sts:AssumeRole"),
        ("unknown", None, "sts:AssumeRole"),
    ] {
        let grant = to(in_role("ann", &[], &named(name), external));
        let error = account.open(&grant, "true").await.unwrap_err();
        let told = error.to_string();
        assert!(told.contains("(sts:AssumeRole)") && !told.contains("123456789012"), "{told}");
        let operator = error.for_operator();
        assert!(
            operator.contains(&format!("not authorized to perform: {missing} on resource: {}", named(name))),
            "{operator}"
        );
        assert!(operator.contains("its trust policy must let the gateway"), "{operator}");
    }
    for (name, groups, external) in [("of-a-group", &["dev"][..], None), ("deputy", &[][..], Some("realm-1"))] {
        let grant = to(in_role("ann", groups, &named(name), external));
        assert_eq!(ends(account.open(&grant, "true").await.unwrap()).await, Some(0), "{name}");
    }
    let started = account.records("StartSession").len();
    assert_eq!(started, 2, "nothing is started by anybody else instead");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_has_no_role_or_no_right_to_the_node_is_nobody_and_never_the_gateway() {
    let account = Account::with(|config| config.nodes[0].tags.clear()).await;
    let nobody = to(Identity::for_test("ann").without_a_role());
    let error = account.open(&nobody, "true").await.unwrap_err();
    assert_eq!(error.to_string(), "nobody can be this person in AWS: they have no role there");
    assert!(account.records("AssumeRole").is_empty() && account.records("StartSession").is_empty());
    // a node without the tag, which the role's own policy asks for
    let error = account.open(&to(person("ann", &[])), "true").await.unwrap_err();
    let operator = error.for_operator();
    assert!(operator.contains(&format!("grant ssm:StartSession to the role {ROLE}")), "{operator}");
    assert!(operator.contains("no identity-based policy allows"), "{operator}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn z9_credentials_are_kept_for_one_proof_person_role_node_and_kind_of_channel() {
    let account = Account::start().await;
    let other_role = "arn:aws:iam::123456789012:role/portcullis-others";
    let of = |identity: Identity, node: &str, document: &str| {
        account.person(&Grant::for_test_to(identity, node, Action::Shell), &SessionRequest::new(document))
    };
    let one = of(person("ann", &[]), NODE, DOCUMENT);
    assert!(Arc::ptr_eq(&one, &of(person("ann", &[]), NODE, DOCUMENT)));
    for other in [
        of(person("bob", &[]), NODE, DOCUMENT),
        of(person("ann", &["dev"]), NODE, DOCUMENT),
        of(person("ann", &[]), OTHER_NODE, DOCUMENT),
        of(person("ann", &[]), NODE, OTHER_DOCUMENT),
        of(in_role("ann", &[], other_role, None), NODE, DOCUMENT),
        of(in_role("ann", &[], ROLE, Some("x-1")), NODE, DOCUMENT),
        of(person("ann", &[]).proved_by("publickey SHA256:other"), NODE, DOCUMENT),
    ] {
        assert!(!Arc::ptr_eq(&one, &other), "{other:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_at_once_are_one_call_and_what_is_forgotten_is_got_anew() {
    let account = Account::start().await;
    let ann = to(person("ann", &[]));
    let opening = (0..20).map(|_| account.open(&ann, "true"));
    for lane in futures_util::future::join_all(opening).await {
        assert_eq!(ends(lane.unwrap()).await, Some(0));
    }
    assert_eq!(account.records("AssumeRole").len(), 1);
    account.backend.forget();
    assert_eq!(ends(account.open(&ann, "true").await.unwrap()).await, Some(0));
    assert_eq!(account.records("AssumeRole").len(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sts_that_throttles_or_fails_is_waited_for_a_little_and_then_said() {
    let account = Account::start().await;
    let faults = account.service.faults();
    faults.add("fail AssumeRole with throttling 2 times".parse().unwrap());
    assert_eq!(ends(account.open(&to(person("ann", &[])), "true").await.unwrap()).await, Some(0));
    for (name, fault, says) in [
        ("bob", "fail AssumeRole with throttling 100 times", "STS in us-east-1 is throttling AssumeRole: try again"),
        ("eve", "fail AssumeRole with 503 100 times", "STS in us-east-1 failed at AssumeRole"),
    ] {
        faults.clear();
        faults.add(fault.parse().unwrap());
        let error = account.open(&to(person(name, &[])), "true").await.unwrap_err();
        assert!(matches!(error, BackendError::Unreachable(_)) && error.to_string().starts_with(says), "{error:?}");
    }
    assert!(account.records("StartSession").iter().all(|record| record["userIdentity"]["arn"] != GATEWAY));
    let nowhere = AwsOptions { endpoint_sts: Some("http://127.0.0.1:1".into()), ..account.service.aws_options() };
    let backend = AwsBackend::new(RealmName::for_test(), nowhere).await.unwrap();
    let error = backend.open(&to(person("ann", &[])), request("true")).await.unwrap_err();
    assert!(error.to_string().starts_with("could not reach STS in us-east-1 for AssumeRole"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn credentials_are_renewed_while_a_session_lives_and_their_end_is_told() {
    // a quarter of an hour is four seconds
    let account = Account::with(|config| config.minute = Duration::from_millis(267)).await;
    // something passes, or the service finds the session idle
    let line = "sh -c 'while :; do echo x; sleep 0.2; done'";
    let mut lane = account.open(&to(person("ann", &[])), line).await.unwrap();
    account.until_records("AssumeRole", 2).await;
    account.service.faults().add("fail AssumeRole with 500 10000 times".parse().unwrap());
    let why = timeout(PATIENCE, lane.lapse.told()).await.expect("it is told").to_string();
    assert!(
        why.starts_with("the session ends, because what you are in AWS has ended and could not be renewed"),
        "{why}"
    );
    assert!(why.contains("STS in us-east-1 failed at AssumeRole"), "{why}");
    lane.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_secret_is_in_what_is_printed_of_a_person() {
    let account = Account::start().await;
    let ann = to(person("ann", &[]));
    let credentials = account.credentials(&ann).await;
    let printed = format!("{:?} {:?}", account.backend, account.person(&ann, &request("true")));
    assert!(printed.contains("ann"), "{printed}");
    for secret in [credentials.access_key_id(), credentials.secret_access_key(), credentials.session_token().unwrap()] {
        assert!(!printed.contains(secret), "{printed}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_that_may_start_sessions_itself_is_found_out_and_nothing_is_started() {
    let account = Account::start().await;
    assert_eq!(account.backend.may_start_itself(DOCUMENT).await, None);
    let both = || vec![deployed("gateway-policy.json"), deployed("sessions-policy.json")];
    let account = Account::with(|config| config.keys[0].policies = both()).await;
    assert_eq!(account.backend.may_start_itself(DOCUMENT).await.unwrap().id.0, NODE);
    assert!(account.service.faults().sessions().is_empty());
    assert!(account.records("TerminateSession").is_empty());
}

#[tokio::test]
async fn z7_a_person_is_in_each_realm_what_that_realm_has_them_be() {
    let named = |name: &str| format!("arn:aws:iam::123456789012:role/portcullis-{name}");
    let roles_of = |name: &str| {
        let role = Role {
            arn: RoleArn::parse(&named(name)).unwrap(),
            external_id: None,
            duration: Duration::from_secs(900),
            web_identity: None,
        };
        Roles::OfPeople(vec![RoleOf { people: vec!["ann".to_owned()], groups: Vec::new(), role: Arc::new(role) }])
    };
    let start = async |name: &str| {
        let iam = IamRole::new(named(name), deployed("person-trust.json"), vec![deployed("sessions-policy.json")]);
        Account::of(RealmName::of_test(name), |config| config.roles = vec![iam]).await
    };
    let (dev, prod) = tokio::join!(start("dev"), start("prod"));
    let [in_dev, in_prod] = ["dev", "prod"].map(|name| (RealmName::of_test(name), roles_of(name)));
    let ann = Identity::for_test("ann").in_roles(&RealmRoles::new([in_dev, in_prod]));
    let grant = |realm: &str| Grant::for_test_to_in(ann.clone(), realm, NODE, Action::Shell);
    let realms = [("dev", &dev), ("prod", &prod)];
    let each = realms.map(|(name, account)| Realm::new(RealmName::of_test(name), account.backend.clone()));
    let (_, lanes) = Realms::of(each.to_vec());
    for (name, account) in realms {
        lanes.open(&grant(name), request("true")).await.unwrap().close().await;
        let asked = account.records("AssumeRole");
        assert_eq!(asked.len(), 1);
        assert_eq!(asked[0]["requestParameters"]["roleArn"], named(name));
    }
    // what is kept of the one is nothing to the other, and both are let go of
    lanes.forget();
    lanes.open(&grant("dev"), request("true")).await.unwrap().close().await;
    assert_eq!(realms.map(|(_, account)| account.records("AssumeRole").len()), [2, 1]);
    // who has a role in one has none in the other
    let half = Identity::for_test("ann").in_roles(&RealmRoles::new([(RealmName::of_test("dev"), roles_of("dev"))]));
    let refused = lanes.open(&Grant::for_test_to_in(half, "prod", NODE, Action::Shell), request("true")).await;
    assert_eq!(refused.unwrap_err().to_string(), "nobody can be this person in AWS: they have no role there");
}
