//! IAM over the wire: who may do what a gateway does, and what the trail says of it. One refusal for each call.

use aws_credential_types::Credentials;
use aws_sdk_ssm::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_sts::operation::assume_role::AssumeRoleOutput;
use aws_sdk_sts::operation::assume_role::builders::AssumeRoleFluentBuilder;
use portcullis_protocol::open::OpenDataChannel;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio_tungstenite::tungstenite::Error;
use uuid::Uuid;

use super::callers::*;
use crate::emulator::*;

const ACCOUNT: &str = "123456789012";
const ROLE: &str = "arn:aws:iam::123456789012:role/team/operators";
const BARE: &str = "arn:aws:iam::123456789012:role/bare";
const ANN: &str = "arn:aws:sts::123456789012:assumed-role/operators/ann";
const DOCUMENT: &str = "AWS-StartInteractiveCommand";
const OTHER_NODE: &str = "mi-00000000000000bad";

/// A document of `deploy/iam`, for the account of the tests.
fn deployed(name: &str) -> String {
    let path = format!("{}/deploy/iam/{name}", env!("CARGO_MANIFEST_DIR"));
    std::fs::read_to_string(path).unwrap().replace("${Account}", ACCOUNT).replace("${Gateway}", ALICE)
}

/// What the sessions of a person are cut down to: one node, one document, their own sessions.
fn session_policy(document: &str) -> String {
    json!({ "Version": "2012-10-17", "Statement": [
        { "Effect": "Allow", "Action": "ssm:StartSession", "Resource": [
            format!("arn:aws:ssm:us-east-1:{ACCOUNT}:managed-instance/{NODE}"),
            format!("arn:aws:ssm:us-east-1::document/{document}"),
        ] },
        { "Effect": "Allow", "Action": ["ssm:ResumeSession", "ssm:TerminateSession"],
          "Resource": format!("arn:aws:ssm:us-east-1:{ACCOUNT}:session/ann-*") },
        { "Effect": "Allow", "Action": "ssmmessages:OpenDataChannel", "Resource": "arn:aws:ssm:*:*:session/${aws:userid}-*" },
    ] })
    .to_string()
}

/// A service with a gateway (alice) that is nothing but the name in a role's trust policy.
struct Account {
    callers: Callers,
    _control: Socket,
    directory: TempDir,
}

impl Account {
    async fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let trail = directory.path().join("trail.jsonl");
        let callers = Callers::start_with(|config| {
            let trust = json!({ "Version": "2012-10-17", "Statement": {
                "Effect": "Allow", "Principal": { "AWS": ALICE },
                "Action": ["sts:AssumeRole", "sts:TagSession", "sts:SetSourceIdentity"],
                "Condition": { "StringEquals": { "sts:ExternalId": "realm-1" } },
            } });
            let bare = json!({ "Version": "2012-10-17", "Statement": {
                "Effect": "Allow", "Principal": { "AWS": ALICE }, "Action": ["sts:AssumeRole", "sts:TagSession"],
            } });
            let policies = vec![deployed("sessions-policy.json")];
            config.roles =
                vec![Role::new(ROLE, trust.to_string(), policies.clone()), Role::new(BARE, bare.to_string(), policies)];
            config.keys[0].policies.clear();
            config.nodes = vec![
                NodeConfig::named(NODE, "web-1").tag("portcullis", "allowed"),
                NodeConfig::named(OTHER_NODE, "db-1").tag("portcullis", "allowed"),
            ];
            config.trail = Some(trail);
        })
        .await;
        let _control = callers.agent().await;
        Self { callers, _control, directory }
    }

    fn assume(&self) -> AssumeRoleFluentBuilder {
        let tag = aws_sdk_sts::types::Tag::builder().key("portcullis:person").value("ann").build().unwrap();
        let sts = self.callers.sts(alice());
        sts.assume_role()
            .role_arn(ROLE)
            .role_session_name("ann")
            .external_id("realm-1")
            .source_identity("ann")
            .tags(tag)
            .policy(session_policy(DOCUMENT))
    }

    /// Ann's credentials.
    async fn ann(&self) -> Credentials {
        credentials(self.assume().send().await.unwrap())
    }

    fn ssm(&self, credentials: &Credentials) -> aws_sdk_ssm::Client {
        self.callers.sdk(credentials.clone(), "us-east-1")
    }

    /// A session on the node, by Ann.
    async fn session(&self, ann: &Credentials) -> aws_sdk_ssm::operation::start_session::StartSessionOutput {
        let start = self.ssm(ann).start_session().target(NODE).document_name(DOCUMENT).reason("ticket-7");
        start.parameters("command", vec!["id".into()]).send().await.unwrap()
    }

    fn trail(&self) -> Vec<Value> {
        let text = std::fs::read_to_string(self.directory.path().join("trail.jsonl")).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

fn credentials(answer: AssumeRoleOutput) -> Credentials {
    let found = answer.credentials.unwrap();
    Credentials::new(found.access_key_id, found.secret_access_key, Some(found.session_token), None, "test")
}

#[track_caller]
fn denied<T: std::fmt::Debug, E: ProvideErrorMetadata + std::fmt::Debug, R: std::fmt::Debug>(
    result: Result<T, SdkError<E, R>>,
) -> String {
    let error = result.expect_err("a refusal");
    assert!(matches!(error.code(), Some("AccessDeniedException" | "AccessDenied")), "{error:?}");
    error.message().unwrap_or_default().to_owned()
}

#[tokio::test]
async fn a_person_s_session_starts_resumes_and_ends_its_own_and_nothing_else() {
    let account = Account::start().await;
    let ann = account.ann().await;
    let who = account.callers.sts(ann.clone()).get_caller_identity().send().await.unwrap();
    assert_eq!((who.arn(), who.account()), (Some(ANN), Some(ACCOUNT)));
    assert!(who.user_id().is_some_and(|id| id.starts_with("AROA") && id.ends_with(":ann")));
    let started = account.session(&ann).await;
    let id = started.session_id().unwrap();
    assert!(id.starts_with("ann-"), "{id}");
    // the data channel is opened with a signature of the same credentials
    let path = format!("/v1/data-channel/{id}?role=publish_subscribe");
    let mut socket = account.callers.websocket(&path, Some(ann.clone())).await.unwrap();
    let token = started.token_value().unwrap();
    socket.text(OpenDataChannel::client(Uuid::new_v4(), token, Uuid::new_v4(), "1.2.764.0").encode()).await;
    until(|| account.callers.live(id).client_attached).await;
    let ssm = account.ssm(&ann);
    assert!(ssm.resume_session().session_id(id).send().await.unwrap().token_value().is_some());
    ssm.terminate_session().session_id(id).send().await.unwrap();
}

#[tokio::test]
async fn another_node_and_another_document_are_refused() {
    let account = Account::start().await;
    let ssm = account.ssm(&account.ann().await);
    let start = || ssm.start_session().target(NODE).document_name(DOCUMENT).parameters("command", vec!["id".into()]);
    let told = denied(start().target(OTHER_NODE).send().await);
    let on = format!("arn:aws:ssm:us-east-1:{ACCOUNT}:managed-instance/{OTHER_NODE}");
    assert_eq!(
        told,
        format!(
            "User: {ANN} is not authorized to perform: ssm:StartSession on resource: {on} because no session policy \
             allows the ssm:StartSession action"
        )
    );
    // the role may use it, the session may not
    let told = denied(start().document_name("SSM-SessionManagerRunShell").send().await);
    assert!(told.contains("document/SSM-SessionManagerRunShell because no session policy"), "{told}");
    // the role may not use it either
    let told = denied(start().document_name("AWS-StartNonInteractiveCommand").send().await);
    assert!(told.contains(":document/AWS-StartNonInteractiveCommand because no identity-based policy"), "{told}");
    // and without a name it is the account's preferences
    let told = denied(ssm.start_session().target(NODE).send().await);
    assert!(told.contains("document/SSM-SessionManagerRunShell because no session policy"), "{told}");
}

#[tokio::test]
async fn another_person_s_session_is_refused() {
    let account = Account::start().await;
    let id = account.session(&account.ann().await).await.session_id.unwrap();
    let path = format!("/v1/data-channel/{id}?role=publish_subscribe");
    for (name, policy) in [("bob", None), ("ann-marie", Some(session_policy(DOCUMENT)))] {
        let bob = account.assume().role_session_name(name).source_identity(name).set_policy(policy);
        let bob = credentials(bob.send().await.unwrap());
        let ssm = account.ssm(&bob);
        let told = denied(ssm.resume_session().session_id(&id).send().await);
        assert!(
            told.contains(&format!("ssm:ResumeSession on resource: arn:aws:ssm:us-east-1:{ACCOUNT}:session/{id}")),
            "{told}"
        );
        denied(ssm.terminate_session().session_id(&id).send().await);
        let refused = account.callers.websocket(&path, Some(bob)).await.err().expect("a refusal");
        assert!(matches!(&refused, Error::Http(response) if response.status() == 403), "{refused:?}");
    }
}

#[tokio::test]
async fn a_node_without_the_tag_is_refused() {
    let account = Account::start().await;
    let ann = credentials(account.assume().set_policy(None).send().await.unwrap());
    let start = account.ssm(&ann).start_session().target("mi-0aaaaaaaaaaaaaaaa").document_name(DOCUMENT);
    let told = denied(start.send().await);
    assert!(told.ends_with("because no identity-based policy allows the ssm:StartSession action"), "{told}");
}

#[tokio::test]
async fn a_role_gives_itself_only_as_it_trusts() {
    let account = Account::start().await;
    let refused = async |asked: AssumeRoleFluentBuilder| denied(asked.send().await);
    let told = refused(account.assume().role_arn(BARE)).await;
    assert_eq!(told, format!("User: {ALICE} is not authorized to perform: sts:SetSourceIdentity on resource: {BARE}"));
    assert!(account.assume().role_arn(BARE).set_source_identity(None).send().await.is_ok());
    let told = refused(account.assume().external_id("realm-2")).await;
    assert_eq!(told, format!("User: {ALICE} is not authorized to perform: sts:AssumeRole on resource: {ROLE}"));
    assert!(refused(account.assume().set_external_id(None)).await.contains("sts:AssumeRole"));
    let unknown = "arn:aws:iam::123456789012:role/unknown";
    assert!(refused(account.assume().role_arn(unknown)).await.contains("sts:AssumeRole"));
    // an agent's key is nobody whom the role trusts
    let node = account.callers.sts(node()).assume_role().role_arn(ROLE).role_session_name("ann").external_id("realm-1");
    assert!(denied(node.send().await).contains("role/node is not authorized"));
}

#[tokio::test]
async fn what_sts_cannot_take_is_refused_by_name() {
    let account = Account::start().await;
    let refused = async |asked: AssumeRoleFluentBuilder| {
        let error = asked.send().await.expect_err("a refusal");
        error.code().unwrap_or_default().to_owned()
    };
    let tag = |key: &str, value: &str| aws_sdk_sts::types::Tag::builder().key(key).value(value).build().unwrap();
    let asks = || account.assume();
    assert_eq!(refused(asks().role_session_name("a")).await, "ValidationError");
    assert_eq!(refused(asks().role_session_name("a b")).await, "ValidationError");
    assert_eq!(refused(asks().source_identity("a/b")).await, "ValidationError");
    assert_eq!(refused(asks().duration_seconds(899)).await, "ValidationError");
    assert_eq!(refused(asks().duration_seconds(3601)).await, "ValidationError");
    assert_eq!(refused(asks().policy("{}")).await, "MalformedPolicyDocument");
    assert_eq!(refused(asks().policy(" ".repeat(2049))).await, "ValidationError");
    assert_eq!(refused(asks().tags(tag("x", &"y".repeat(257)))).await, "ValidationError");
    assert_eq!(refused(asks().tags(tag("x", "a\tb"))).await, "ValidationError");
    assert_eq!(refused(asks().tags(tag("Portcullis:Person", "bob"))).await, "InvalidParameterValue");
    assert_eq!(refused(asks().tags(tag("aws:x", "y"))).await, "InvalidParameterValue");
    assert_eq!(refused(asks().transitive_tag_keys("nothing")).await, "InvalidParameterValue");
    let many = (0..20).fold(asks(), |asks, n| asks.tags(tag(&format!("t{n}"), &"y".repeat(256))));
    assert_eq!(refused(many).await, "PackedPolicyTooLarge");
    let answer = asks().send().await.unwrap();
    assert!(answer.session_token_utilization().is_some_and(|percent| (1..100).contains(&percent)));
    assert_eq!(answer.source_identity(), Some("ann"));
}

#[tokio::test]
async fn tags_of_a_session_are_what_policies_ask_for() {
    let directory = tempfile::tempdir().unwrap();
    let callers = Callers::start_with(|config| {
        let trust = json!({ "Statement": { "Effect": "Allow", "Principal": { "AWS": ALICE }, "Action": "sts:*" } });
        let own = json!({ "Version": "2012-10-17", "Statement": {
            "Effect": "Allow", "Action": "ssm:StartSession", "Resource": "*",
            "Condition": { "StringEqualsIfExists": { "ssm:resourceTag/team": "${aws:PrincipalTag/team}" },
                           "StringEquals": { "aws:SourceIdentity": "ann" } },
        } });
        config.roles = vec![Role::new(ROLE, trust.to_string(), vec![own.to_string()])];
        config.nodes = vec![NodeConfig::named(NODE, "web-1").tag("team", "blue")];
    })
    .await;
    let account = Account { _control: callers.agent().await, callers, directory };
    let tag = |value: &str| aws_sdk_sts::types::Tag::builder().key("team").value(value).build().unwrap();
    let start = async |asked: AssumeRoleFluentBuilder| {
        let ann = credentials(asked.set_policy(None).send().await.unwrap());
        account.ssm(&ann).start_session().target(NODE).send().await
    };
    assert!(start(account.assume().tags(tag("blue"))).await.is_ok());
    denied(start(account.assume().tags(tag("red"))).await);
    denied(start(account.assume()).await);
    denied(start(account.assume().tags(tag("blue")).source_identity("bob")).await);
}

#[tokio::test]
async fn the_documents_of_deploy_allow_what_they_say_and_no_more() {
    let callers = Callers::start_with(|config| {
        config.keys[0].policies = vec![deployed("gateway-policy.json"), deployed("sessions-policy.json")];
        let deployer = "arn:aws:iam::123456789012:user/deployer";
        config.keys.push(ApiKey::new("AKIDDEPLOY", "d", deployer, vec![deployed("deployer-policy.json")]));
        config.nodes = vec![NodeConfig::named(NODE, "web-1").tag("portcullis", "allowed")];
    })
    .await;
    let _control = callers.agent().await;
    let gateway = callers.alice();
    let deployer = callers.sdk(Credentials::new("AKIDDEPLOY", "d", None, None, "test"), "us-east-1");
    let text = json!({ "schemaVersion": "1.0", "sessionType": "NonInteractiveCommands", "properties": { "linux": { "commands": "true" } } }).to_string();
    let create = |client: &aws_sdk_ssm::Client, name: &str| {
        client.create_document().name(name).content(&text).document_type("Session".into()).send()
    };
    assert!(create(&deployer, "Portcullis-Out").await.is_ok());
    denied(create(&deployer, "Another").await);
    denied(create(&gateway, "Portcullis-In").await);
    denied(deployer.start_session().target(NODE).send().await);
    denied(deployer.describe_instance_information().send().await);
    assert!(gateway.get_document().name("Portcullis-Out").send().await.is_ok());
    assert!(gateway.get_document().name("SSM-SessionManagerRunShell").send().await.is_ok());
    denied(gateway.get_document().name("AWS-StartSSHSession").send().await);
    assert!(gateway.describe_instance_information().send().await.is_ok());
    assert!(gateway.get_connection_status().target(NODE).send().await.is_ok());
    assert!(gateway.describe_sessions().state("Active".into()).send().await.is_ok());
    let start = |document: &str| gateway.start_session().target(NODE).document_name(document).send();
    let id = start("Portcullis-Out").await.unwrap().session_id.unwrap();
    assert!(start("SSM-SessionManagerRunShell").await.is_ok());
    assert!(start("AWS-StartSSHSession").await.is_ok());
    denied(start("AWS-StartNonInteractiveCommand").await);
    assert!(gateway.resume_session().session_id(&id).send().await.is_ok());
    assert!(gateway.terminate_session().session_id(&id).send().await.is_ok());
}

#[tokio::test]
async fn the_gateway_s_own_policy_starts_no_session_and_becomes_people_only_as_their_roles_trust() {
    const PERSON: &str = "arn:aws:iam::123456789012:role/portcullis-people";
    let directory = tempfile::tempdir().unwrap();
    let callers = Callers::start_with(|config| {
        config.keys[0].policies = vec![deployed("gateway-policy.json")];
        config.roles = vec![Role::new(PERSON, deployed("person-trust.json"), vec![deployed("sessions-policy.json")])];
        config.nodes = vec![NodeConfig::named(NODE, "web-1").tag("portcullis", "allowed")];
    })
    .await;
    let account = Account { _control: callers.agent().await, callers, directory };
    let gateway = account.callers.alice();
    assert!(gateway.describe_instance_information().send().await.is_ok());
    let told = denied(gateway.start_session().target(NODE).document_name(DOCUMENT).send().await);
    assert!(told.contains("because no identity-based policy allows the ssm:StartSession action"), "{told}");
    let asks = || account.assume().role_arn(PERSON).set_external_id(None);
    assert!(account.session(&credentials(asks().send().await.unwrap())).await.token_value().is_some());
    let tag = |key: &str| aws_sdk_sts::types::Tag::builder().key(key).value("x").build().unwrap();
    let refused = async |asked: AssumeRoleFluentBuilder| denied(asked.send().await);
    assert!(refused(asks().set_source_identity(None)).await.contains("sts:AssumeRole"), "without a name");
    assert!(refused(asks().set_tags(Some(vec![tag("portcullis:node")]))).await.contains("sts:AssumeRole"));
    assert!(refused(asks().tags(tag("team"))).await.contains("sts:TagSession"), "a tag that others' policies look at");
    let node =
        account.callers.sts(node()).assume_role().role_arn(PERSON).role_session_name("ann").source_identity("ann");
    denied(node.send().await);
}

#[tokio::test]
async fn the_trail_tells_who_where_and_why() {
    let account = Account::start().await;
    let ann = account.ann().await;
    let started = account.session(&ann).await;
    let id = started.session_id().unwrap();
    let ssm = account.ssm(&ann);
    ssm.resume_session().session_id(id).send().await.unwrap();
    ssm.terminate_session().session_id(id).send().await.unwrap();
    denied(ssm.start_session().target(OTHER_NODE).document_name(DOCUMENT).reason("curious").send().await);
    let trail = account.trail();
    let names: Vec<&str> = trail.iter().map(|record| record["eventName"].as_str().unwrap()).collect();
    assert_eq!(names, ["AssumeRole", "StartSession", "ResumeSession", "TerminateSession", "StartSession"]);
    let [assumed, opened, resumed, ended, refused] = &trail[..] else { panic!("{trail:?}") };
    assert_eq!((&assumed["userIdentity"]["type"], &assumed["userIdentity"]["arn"]), (&json!("IAMUser"), &json!(ALICE)));
    let asked = &assumed["requestParameters"];
    assert_eq!((&asked["sourceIdentity"], &asked["roleSessionName"]), (&json!("ann"), &json!("ann")));
    assert_eq!((&asked["externalId"], &asked["roleArn"]), (&json!("realm-1"), &json!(ROLE)));
    assert_eq!(asked["tags"], json!([{ "key": "portcullis:person", "value": "ann" }]));
    let key = &assumed["responseElements"]["credentials"]["accessKeyId"];
    assert_eq!(assumed["responseElements"]["assumedRoleUser"]["arn"], ANN);
    for record in [opened, resumed, ended, refused] {
        let who = &record["userIdentity"];
        assert_eq!((&who["type"], &who["arn"], &who["accessKeyId"]), (&json!("AssumedRole"), &json!(ANN), key));
        assert_eq!(who["sessionContext"]["sourceIdentity"], "ann");
        assert_eq!(who["sessionContext"]["sessionIssuer"]["arn"], ROLE);
        assert_eq!((&record["eventSource"], &record["awsRegion"]), (&json!("ssm.amazonaws.com"), &json!("us-east-1")));
        assert_eq!(record["sourceIPAddress"], "127.0.0.1");
        assert!(record["userAgent"].as_str().is_some_and(|agent| agent.contains("aws-sdk-rust")), "{record}");
    }
    let parameters =
        json!({ "target": NODE, "documentName": DOCUMENT, "reason": "ticket-7", "parameters": { "command": ["id"] } });
    assert_eq!(opened["requestParameters"], parameters);
    assert_eq!(
        (&opened["responseElements"]["sessionId"], &ended["requestParameters"]["sessionId"]),
        (&json!(id), &json!(id))
    );
    assert_eq!(opened["responseElements"]["tokenValue"], "Value hidden due to security reasons.");
    let request = aws_sdk_ssm::operation::RequestId::request_id(&started);
    assert_eq!(opened["requestID"].as_str(), request, "the caller finds its call by the id that it got");
    assert_eq!((&refused["errorCode"], &refused["responseElements"]), (&json!("AccessDenied"), &Value::Null));
    assert!(refused["errorMessage"].as_str().is_some_and(|text| text.contains("no session policy")));
    // no token and no secret is in it
    let text = std::fs::read_to_string(account.directory.path().join("trail.jsonl")).unwrap();
    for secret in [started.token_value().unwrap(), ann.secret_access_key(), ann.session_token().unwrap()] {
        assert!(!text.contains(secret));
    }
}

#[tokio::test]
async fn a_policy_that_cannot_be_read_is_the_end_of_the_start() {
    let mut config = ServiceConfig::new("127.0.0.1:0".parse().unwrap());
    config.keys = vec![ApiKey::new("AKID", "s", ALICE, vec!["{}".into()])];
    let error = Service::start(config).await.unwrap_err().to_string();
    assert_eq!(error, format!("the policies of {ALICE} are not usable: the policy: Statement is missing"));
}
