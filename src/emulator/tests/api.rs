//! The calls, made by AWS's SDK.

use aws_config::sts::AssumeRoleProvider;
use aws_credential_types::Credentials;
use aws_credential_types::provider::ProvideCredentials;
use aws_sdk_ssm::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_ssm::types::{
    ConnectionStatus, DocumentType, InstanceInformationStringFilter, PingStatus, SessionFilter, SessionFilterKey,
};
use portcullis_protocol::control::InteractiveShell;
use serde_json::json;

use super::callers::*;
use crate::emulator::*;

fn code<E: ProvideErrorMetadata + std::fmt::Debug, R: std::fmt::Debug>(
    result: Result<impl Sized, SdkError<E, R>>,
) -> String {
    let error = result.err().expect("an error");
    error.code().unwrap_or_else(|| panic!("no code in {error:?}")).to_owned()
}

#[tokio::test]
async fn a_session_starts_with_document_and_parameters() {
    let callers = Callers::start().await;
    let mut control = callers.agent().await;
    let started = callers
        .alice()
        .start_session()
        .target(NODE)
        .document_name("AWS-StartPortForwardingSession")
        .parameters("portNumber", vec!["5432".into()])
        .reason("because")
        .send()
        .await
        .unwrap();
    let id = started.session_id().unwrap();
    assert!(id.starts_with("alice-0"), "{id}");
    let url = format!("ws://{}/v1/data-channel/{id}?role=publish_subscribe", callers.service.address());
    assert_eq!(started.stream_url(), Some(url.as_str()));
    let raw = control.next().await.unwrap();
    assert_eq!(&raw[..4], &112_u32.to_be_bytes());
    let task = InteractiveShell::decode(&portcullis_protocol::Message::decode(raw).unwrap().payload).unwrap();
    assert_eq!((task.session_id.as_str(), task.session_owner.as_str()), (id, ALICE));
    assert_eq!(task.document_name, "AWS-StartPortForwardingSession");
    // Strings, not lists: the agent inserts them as they are. What is left to the default stays out.
    assert_eq!(task.parameters, json!({"portNumber": "5432"}));
    assert_eq!(task.document["properties"]["portNumber"], "{{ portNumber }}");
    assert_eq!(task.document["sessionType"], "Port");
    // AWS's documents run under the account's preferences: an assumption, see DocumentStore::for_session.
    assert_eq!(task.document["inputs"]["idleSessionTimeout"], "20");
    let found = callers.described(id, false).await.unwrap();
    assert_eq!(found.status().unwrap().as_str(), "Connecting");
    assert_eq!((found.owner(), found.reason(), found.target()), (Some(ALICE), Some("because"), Some(NODE)));
    assert!(found.start_date().is_some() && found.end_date().is_none());
    assert!(callers.described(id, true).await.is_none());
}

#[tokio::test]
async fn refusals_have_awss_names() {
    let callers = Callers::start_with(|config| {
        let mut denied = ApiKey::client("AKIDDENIED", "s", "arn:aws:iam::123456789012:user/denied");
        denied.policies.push(r#"{"Statement":{"Effect":"Deny","Action":"ssm:StartSession","Resource":"*"}}"#.into());
        config.keys.push(denied);
    })
    .await;
    let alice = callers.alice();
    let start = |client: &aws_sdk_ssm::Client| client.start_session().target(NODE);
    let error = start(&alice).send().await.unwrap_err().into_service_error();
    assert!(error.is_target_not_connected(), "{error:?}");
    assert_eq!(error.message(), Some("mi-0123456789abcdef0 is not connected."));
    let _control = callers.agent().await;
    let ssh =
        |value: &str| start(&alice).document_name("AWS-StartSSHSession").parameters("portNumber", vec![value.into()]);
    assert_eq!(code(ssh("0").send().await), "InvalidParameters");
    assert_eq!(code(ssh("22; reboot").send().await), "InvalidParameters");
    assert_eq!(code(ssh("22").parameters("other", vec!["x".into()]).send().await), "InvalidParameters");
    assert_eq!(code(ssh("").send().await), "ValidationException");
    assert_eq!(code(start(&alice).document_name("AWS-StartInteractiveCommand").send().await), "InvalidParameters");
    assert_eq!(code(start(&alice).document_name("Nobody-Has-This").send().await), "InvalidDocument");
    assert_eq!(code(start(&alice).document_name("no spaces").send().await), "ValidationException");
    assert_eq!(code(start(&alice).reason("x".repeat(257)).send().await), "ValidationException");
    let key = |id: &str, secret: &str, token: Option<&str>| {
        Credentials::new(id, secret, token.map(str::to_owned), None, "test")
    };
    let by = |credentials: Credentials, region: &'static str| start(&callers.sdk(credentials, region)).send();
    let denied = by(key("AKIDDENIED", "s", None), "us-east-1").await;
    assert_eq!(code(denied), "AccessDeniedException");
    assert_eq!(code(by(node(), "us-east-1").await), "AccessDeniedException");
    assert_eq!(code(by(key("AKIDNOBODY", "s", None), "us-east-1").await), "UnrecognizedClientException");
    assert_eq!(code(by(key("AKIDALICE", "wrong", None), "us-east-1").await), "InvalidSignatureException");
    assert_eq!(
        code(by(key("AKIDALICE", "alice's secret", Some("t")), "us-east-1").await),
        "UnrecognizedClientException"
    );
    assert_eq!(code(by(super::callers::alice(), "eu-west-1").await), "InvalidSignatureException");
    assert_eq!(code(alice.terminate_session().session_id("nobody-0123").send().await), "DoesNotExistException");
    assert_eq!(code(alice.resume_session().session_id("nobody-0123").send().await), "DoesNotExistException");
    callers.service.faults().throttle_start_session(1);
    assert_eq!(code(start(&alice).send().await), "ThrottlingException");
    assert!(start(&alice).send().await.is_ok());
}

#[tokio::test]
async fn raw_requests_that_are_not_understood_are_answered() {
    let callers = Callers::start().await;
    let json = ("content-type", "application/x-amz-json-1.1");
    let answer = callers.call("/", &[json, ("x-amz-target", "AmazonSSM.StartSession")], "{}").await;
    assert!(answer.starts_with("HTTP/1.1 400 ") && answer.contains("MissingAuthenticationTokenException"), "{answer}");
    assert!(answer.to_ascii_lowercase().contains("\r\nx-amzn-requestid: "), "{answer}");
    let call = async |name: &str, body: &str| {
        callers.signed_call(("ssm", alice()), "/", &[json, ("x-amz-target", name)], body).await
    };
    assert!(call("AmazonSSM.RunInstances", "{}").await.contains("UnknownOperationException"));
    assert!(call("Whatever", "{}").await.contains("UnknownOperationException"));
    assert!(call("AmazonSSM.StartSession", "{").await.contains("SerializationException"));
    assert!(call("AmazonSSM.StartSession", "{}").await.contains("ValidationException"));
    assert!(call("AmazonSSM.DescribeSessions", r#"{"State":"Active"}"#).await.starts_with("HTTP/1.1 200 "));
    let list = [json, ("x-amz-target", "AmazonSSM.DescribeSessions")];
    let wrong = callers.signed_call(("sts", alice()), "/", &list, "{}").await;
    assert!(wrong.contains("Credential should be scoped to correct service: 'ssm'."));
    assert!(callers.call("/elsewhere", &[], "").await.starts_with("HTTP/1.1 404 "));
    let long = "x".repeat(2 << 20);
    let answer = callers.call("/", &[json], &long).await;
    assert!(answer.is_empty() || answer.contains("RequestEntityTooLargeException"), "{}", answer.len());
}

#[tokio::test]
async fn documents_are_kept_in_versions() {
    let callers = Callers::start().await;
    let alice = callers.alice();
    let text = |port: u16| {
        json!({"schemaVersion": "1.0", "description": "d", "sessionType": "Port", "properties": {"portNumber": port.to_string()}})
            .to_string()
    };
    let create = |name: &str, content: String| {
        alice.create_document().name(name).content(content).document_type(DocumentType::Session).send()
    };
    let made = create("Mine", text(1)).await.unwrap().document_description.unwrap();
    assert_eq!((made.name(), made.document_version(), made.owner()), (Some("Mine"), Some("1"), Some("123456789012")));
    let error = create("Mine", text(1)).await.unwrap_err().into_service_error();
    assert!(error.is_document_already_exists());
    assert!(create("Mine2", "{}".into()).await.unwrap_err().into_service_error().is_invalid_document_content());
    assert_eq!(code(create("AWS-Mine", text(1)).await), "ValidationException");
    let update = |content: String, version: &str| {
        alice.update_document().name("Mine").content(content).document_version(version).send()
    };
    assert!(update(text(1), "$LATEST").await.unwrap_err().into_service_error().is_duplicate_document_content());
    let made = update(text(2), "$LATEST").await.unwrap().document_description.unwrap();
    assert_eq!((made.document_version(), made.default_version()), (Some("2"), Some("1")));
    let get =
        |version: Option<&str>| alice.get_document().name("Mine").set_document_version(version.map(Into::into)).send();
    assert_eq!(get(None).await.unwrap().content(), Some(text(1).as_str()));
    assert_eq!(get(Some("$LATEST")).await.unwrap().content(), Some(text(2).as_str()));
    alice.update_document_default_version().name("Mine").document_version("2").send().await.unwrap();
    assert_eq!(get(None).await.unwrap().content(), Some(text(2).as_str()));
    let described = alice.describe_document().name("AWS-StartSSHSession").send().await.unwrap().document.unwrap();
    assert_eq!(described.owner(), Some("Amazon"));
    assert_eq!(described.parameters()[0].default_value(), Some("22"));
    alice.delete_document().name("Mine").send().await.unwrap();
    assert!(get(None).await.unwrap_err().into_service_error().is_invalid_document());
}

#[tokio::test]
async fn separate_streams_are_refused_where_the_schema_is_strict() {
    let content = json!({"schemaVersion": "1.0", "sessionType": "NonInteractiveCommands",
        "properties": {"linux": {"commands": "true", "separateOutputStream": true}}})
    .to_string();
    for refuse in [false, true] {
        let callers = Callers::start_with(|config| config.refuse_separate_output_stream = refuse).await;
        let made = callers
            .alice()
            .create_document()
            .name("Lane")
            .content(&content)
            .document_type(DocumentType::Session)
            .send()
            .await;
        assert_eq!(made.is_err(), refuse, "{made:?}");
        if let Err(error) = made {
            assert!(error.into_service_error().is_invalid_document_content());
        }
    }
}

#[tokio::test]
async fn nodes_are_found_by_id_and_tag() {
    let callers = Callers::start().await;
    let alice = callers.alice();
    let find = async |key: &str, value: &str| {
        let filter = InstanceInformationStringFilter::builder().key(key).values(value).build().unwrap();
        alice
            .describe_instance_information()
            .filters(filter)
            .send()
            .await
            .map(|answer| answer.instance_information_list.unwrap())
    };
    assert!(find("InstanceIds", NODE).await.unwrap().is_empty(), "it has never registered");
    let status = async || alice.get_connection_status().target(NODE).send().await.unwrap().status.unwrap();
    assert_eq!(status().await, ConnectionStatus::NotConnected);
    let control = callers.agent().await;
    assert_eq!(status().await, ConnectionStatus::Connected);
    for (key, value) in [("InstanceIds", NODE), ("tag:Name", "web-1"), ("tag:env", "prod"), ("PingStatus", "Online")] {
        let found = find(key, value).await.unwrap();
        assert_eq!(found.len(), 1, "{key}");
        assert_eq!((found[0].instance_id(), found[0].name()), (Some(NODE), Some("web-1")));
        assert_eq!((found[0].ping_status(), found[0].agent_version()), (Some(&PingStatus::Online), Some("3.3.0.0")));
        assert!(found[0].last_ping_date_time().is_some());
    }
    for (key, value) in
        [("InstanceIds", "mi-other"), ("tag:Name", "web"), ("tag:x", "web-1"), ("PingStatus", "Inactive")]
    {
        assert!(find(key, value).await.unwrap().is_empty(), "{key}");
    }
    assert_eq!(code(find("Name", "web-1").await), "InvalidFilterKey");
    drop(control);
    until(|| !callers.service.is_connected(NODE)).await;
    let found = find("InstanceIds", NODE).await.unwrap();
    assert_eq!(found[0].ping_status(), Some(&PingStatus::ConnectionLost));
}

#[tokio::test]
async fn sessions_are_listed_by_filter_and_page() {
    let callers = Callers::start().await;
    let _control = callers.agent().await;
    let alice = callers.alice();
    let mut ids = Vec::new();
    for _ in 0..5 {
        ids.push(alice.start_session().target(NODE).send().await.unwrap().session_id.unwrap());
    }
    for id in &ids[..3] {
        alice.terminate_session().session_id(id).send().await.unwrap();
    }
    let list = |state: &str| alice.describe_sessions().state(state.into());
    let count = async |state: &str, key: SessionFilterKey, value: &str| {
        let filter = SessionFilter::builder().key(key).value(value).build().unwrap();
        list(state).filters(filter).send().await.unwrap().sessions().len()
    };
    assert_eq!(count("Active", SessionFilterKey::Owner, ALICE).await, 2);
    assert_eq!(count("History", SessionFilterKey::Owner, ALICE).await, 3);
    assert_eq!(count("History", SessionFilterKey::Owner, "arn:other").await, 0);
    assert_eq!(count("History", SessionFilterKey::Status, "Terminated").await, 3);
    assert_eq!(count("History", SessionFilterKey::SessionId, &ids[0]).await, 1);
    assert_eq!(count("Active", SessionFilterKey::TargetId, NODE).await, 2);
    assert_eq!(count("Active", SessionFilterKey::InvokedAfter, "2020-01-01T00:00:00Z").await, 2);
    assert_eq!(count("Active", SessionFilterKey::InvokedBefore, "2020-01-01T00:00:00Z").await, 0);
    let first = list("History").max_results(2).send().await.unwrap();
    let second = list("History").max_results(2).set_next_token(first.next_token.clone()).send().await.unwrap();
    assert_eq!((first.sessions().len(), second.sessions().len(), second.next_token()), (2, 1, None));
    assert_eq!(first.sessions()[0].session_id(), Some(ids[2].as_str()), "newest first");
    assert!(first.sessions()[0].end_date().is_some());
}

const ROLE: &str = "arn:aws:iam::123456789012:role/operators";

#[tokio::test]
async fn an_assumed_role_is_a_caller_of_its_own() {
    let callers = Callers::start_with(|config| {
        let trust = r#"{"Statement":{"Effect":"Allow","Principal":{"AWS":"123456789012"},"Action":"sts:AssumeRole"}}"#;
        config.roles = vec![Role::new(ROLE, trust, config.keys[0].policies.clone())];
        let assume = json!({ "Statement": { "Effect": "Allow", "Action": "sts:AssumeRole", "Resource": ROLE } });
        config.keys[0].policies = vec![assume.to_string()];
    })
    .await;
    let base = aws_config::defaults(aws_sdk_ssm::config::BehaviorVersion::v2026_01_12())
        .region(aws_sdk_ssm::config::Region::new("us-east-1"))
        .endpoint_url(callers.service.url())
        .http_client(aws_smithy_http_client::Builder::new().build_http())
        .credentials_provider(alice())
        .load()
        .await;
    let assume = async |role: &str| {
        let builder = AssumeRoleProvider::builder(role).session_name("ann@example.com").configure(&base);
        builder.build_from_provider(alice()).await.provide_credentials().await
    };
    assert!(assume("arn:aws:iam::123456789012:role/other").await.is_err());
    let issued = assume(ROLE).await.unwrap();
    assert!(issued.session_token().is_some() && issued.expiry().is_some());
    let _control = callers.agent().await;
    assert_eq!(code(callers.alice().start_session().target(NODE).send().await), "AccessDeniedException");
    let ann = callers.sdk(issued.clone(), "us-east-1");
    let started = ann.start_session().target(NODE).send().await.unwrap();
    assert!(started.session_id().unwrap().starts_with("ann@example.com-0"));
    let owner = "arn:aws:sts::123456789012:assumed-role/operators/ann@example.com";
    assert_eq!(callers.live(started.session_id().unwrap()).owner, owner);
    // The keys without their token, or with another, are worth nothing.
    for token in [None, Some("x".to_owned())] {
        let stolen = Credentials::new(issued.access_key_id(), issued.secret_access_key(), token, None, "test");
        let answer = callers.sdk(stolen, "us-east-1").start_session().target(NODE).send().await;
        assert_eq!(code(answer), "UnrecognizedClientException");
    }
    let form = [("content-type", "application/x-www-form-urlencoded; charset=utf-8")];
    let body = "Action=GetCallerIdentity&Version=2011-06-15";
    let answer = callers.signed_call(("sts", issued), "/", &form, body).await;
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.contains(&format!("<Arn>{owner}</Arn>")), "{answer}");
    let answer = callers.call("/", &form, body).await;
    assert!(
        answer.starts_with("HTTP/1.1 403 ") && answer.contains("<Code>MissingAuthenticationToken</Code>"),
        "{answer}"
    );
}

#[tokio::test]
async fn it_refuses_what_it_cannot_do_safely_at_start() {
    let error = Service::start(ServiceConfig::new("0.0.0.0:0".parse().unwrap())).await.unwrap_err();
    assert!(matches!(error, EmulatorError::PlainOnNetwork(_)));
    let callers = Callers::start().await;
    let error = Service::start(ServiceConfig::new(callers.service.address())).await.unwrap_err();
    assert!(error.to_string().contains("port 0"), "{error}");
    let mut config = ServiceConfig::new("127.0.0.1:0".parse().unwrap());
    config.preferences = Some("{}".into());
    assert!(matches!(Service::start(config).await.unwrap_err(), EmulatorError::Preferences(_)));
    let key = ApiKey::client("AKID", "the secret", "arn");
    assert!(!format!("{key:?}").contains("the secret"));
}
