//! The backend against a service in this test that answers from a script: what is sent, how often, and what is made of
//! the answers. The embedded service has tests of its own in `tests/e2e`.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aws_credential_types::Credentials;
use bytes::Bytes;
use futures_util::{SinkExt as _, StreamExt as _};
use portcullis_protocol::message::FLAG_SYN;
use portcullis_protocol::{Message as Frame, MessageType, PayloadType};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::server::{ErrorResponse, Request, Response};

use super::*;
use crate::backend::lanes::{Lanes as _, SessionRequest};
use crate::backend::{BackendError, Directory as _};
use crate::data_channel::ChannelEvent;
use crate::model::{NodeName, RealmName, ReasonText};
use crate::policy::{Action, Grant};

const PATIENCE: Duration = Duration::from_secs(20);
const NODE: &str = "mi-0123456789abcdef0";

/// A call that came, or a websocket: its target or path, and its body or open message.
type Seen = (String, Value);

/// What each call is answered, in turn.
type Script = Arc<Mutex<Vec<(&'static str, VecDeque<(u16, Value)>)>>>;

/// The service. Each call gets the next answer of the script for its name, the last one again and again.
struct Service {
    url: String,
    seen: Arc<Mutex<Vec<Seen>>>,
    script: Script,
    /// Counts up: every websocket of an earlier number is cut.
    cut: watch::Sender<u32>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Service {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Service {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (cut, _) = watch::channel(0);
        let service = Self {
            url: url.clone(),
            seen: Arc::default(),
            script: Arc::default(),
            cut: cut.clone(),
            task: tokio::spawn(async {}),
        };
        let (seen, script) = (Arc::clone(&service.seen), Arc::clone(&service.script));
        let task = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let (seen, script, cut) = (Arc::clone(&seen), Arc::clone(&script), cut.subscribe());
                tokio::spawn(async move {
                    let mut start = [0; 4];
                    while stream.peek(&mut start).await.unwrap() < 4 {}
                    match &start {
                        b"GET " => websocket(stream, seen, cut).await,
                        _ => while_calls_come(stream, seen, script).await,
                    }
                });
            }
        });
        let service = Self {
            task,
            seen: Arc::clone(&service.seen),
            script: Arc::clone(&service.script),
            url,
            cut: service.cut.clone(),
        };
        service.answer("StartSession", 200, service.session("token-1"));
        service.answer("GetResources", 200, json!({"PaginationToken": "", "ResourceTagMappingList": []}));
        service.answer("TerminateSession", 200, json!({"SessionId": "bob-01"}));
        service
    }

    fn session(&self, token: &str) -> Value {
        let url = format!("{}/v1/data-channel/bob-01?role=publish_subscribe", self.url.replace("http", "ws"));
        json!({"SessionId": "bob-01", "StreamUrl": url, "TokenValue": token})
    }

    /// Appends to the script.
    fn answer(&self, call: &'static str, status: u16, body: Value) {
        let mut script = self.script.lock().unwrap();
        match script.iter_mut().find(|(name, _)| *name == call) {
            Some((_, answers)) => answers.push_back((status, body)),
            None => script.push((call, VecDeque::from([(status, body)]))),
        }
    }

    /// Replaces the script of one call.
    fn only(&self, call: &'static str, answers: &[(u16, Value)]) {
        self.script.lock().unwrap().retain(|(name, _)| *name != call);
        for (status, body) in answers {
            self.answer(call, *status, body.clone());
        }
    }

    fn calls(&self, name: &str) -> Vec<Value> {
        self.seen.lock().unwrap().iter().filter(|(call, _)| call == name).map(|(_, body)| body.clone()).collect()
    }

    async fn backend(&self) -> AwsBackend {
        AwsBackend::new(
            RealmName::for_test(),
            AwsOptions {
                region: Some("eu-west-1".into()),
                endpoint_ssm: Some(self.url.clone()),
                endpoint_sts: Some(self.url.clone()),
                endpoint_tagging: Some(self.url.clone()),
                credentials: Some(Credentials::new("AKIDEXAMPLE", "secret", None, None, "test")),
                ..AwsOptions::default()
            },
        )
        .await
        .unwrap()
    }

    async fn wait_for(&self, name: &str, count: usize) -> Vec<Value> {
        timeout(PATIENCE, async {
            loop {
                let calls = self.calls(name);
                if calls.len() >= count {
                    return calls;
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        })
        .await
        .unwrap_or_else(|_| panic!("{count} × {name} did not come: {:?}", self.seen.lock().unwrap()))
    }
}

async fn while_calls_come(mut stream: TcpStream, seen: Arc<Mutex<Vec<Seen>>>, script: Script) {
    loop {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let Ok(byte) = stream.read_u8().await else { return };
            head.push(byte);
        }
        let head = String::from_utf8(head).unwrap().to_ascii_lowercase();
        let header = |name: &str| {
            head.lines().find_map(|line| line.strip_prefix(&format!("{name}: "))).unwrap_or_default().to_owned()
        };
        let mut body = vec![0; header("content-length").parse().unwrap()];
        stream.read_exact(&mut body).await.unwrap();
        let target = header("x-amz-target");
        let (service, known) = match target.split_once('.') {
            None => ("sts", "sts"),
            Some(("amazonssm", call)) => ("ssm", call),
            Some((_, call)) => ("tagging", call),
        };
        assert!(header("authorization").contains(&format!("/eu-west-1/{service}/aws4_request")), "{head}");
        if service == "sts" {
            let answer = "<GetCallerIdentityResponse><GetCallerIdentityResult>\
                          <Arn>arn:aws:sts::123456789012:assumed-role/gateway/x</Arn>\
                          </GetCallerIdentityResult></GetCallerIdentityResponse>";
            let head = format!("HTTP/1.1 200 X\r\ncontent-type: text/xml\r\ncontent-length: {}\r\n\r\n", answer.len());
            stream.write_all(format!("{head}{answer}").as_bytes()).await.unwrap();
            continue;
        }
        let (status, answer) = {
            let mut script = script.lock().unwrap();
            let found = script.iter_mut().find(|(name, _)| name.eq_ignore_ascii_case(known));
            let (name, answers) = found.unwrap_or_else(|| panic!("no script for {target}"));
            seen.lock().unwrap().push(((*name).to_owned(), serde_json::from_slice(&body).unwrap()));
            if answers.len() > 1 { answers.pop_front().unwrap() } else { answers[0].clone() }
        };
        let answer = answer.to_string();
        let answer = format!(
            "HTTP/1.1 {status} X\r\ncontent-type: application/x-amz-json-1.1\r\ncontent-length: {}\r\n\r\n{answer}",
            answer.len()
        );
        stream.write_all(answer.as_bytes()).await.unwrap();
    }
}

/// Speaks first, with one frame of output, then takes whatever comes until it is cut.
#[allow(clippy::result_large_err, reason = "the callback's type is tungstenite's")]
async fn websocket(stream: TcpStream, seen: Arc<Mutex<Vec<Seen>>>, mut cut: watch::Receiver<u32>) {
    let mut upgrade = Value::Null;
    let callback = |request: &Request, response: Response| -> Result<Response, ErrorResponse> {
        let header = |name: &str| {
            request.headers().get(name).map(|value| value.to_str().unwrap().to_owned()).unwrap_or_default()
        };
        upgrade = json!({"path": request.uri().to_string(), "authorization": header("authorization"), "date": header("x-amz-date")});
        Ok(response)
    };
    let mut socket = tokio_tungstenite::accept_hdr_async(stream, callback).await.unwrap();
    seen.lock().unwrap().push(("upgrade".into(), upgrade));
    let Some(Ok(Message::Text(open))) = socket.next().await else { return };
    seen.lock().unwrap().push(("open".into(), serde_json::from_str(&open).unwrap()));
    let frame = Frame {
        kind: MessageType::OutputStreamData,
        created: Duration::from_secs(1_700_000_000),
        sequence: 0,
        flags: FLAG_SYN,
        id: uuid::Uuid::from_u128(7),
        payload_type: Some(PayloadType::Output),
        payload: Bytes::from_static(b"hello"),
    };
    socket.send(Message::Binary(frame.encode())).await.unwrap();
    cut.borrow_and_update();
    tokio::select! {
        _ = cut.changed() => {}
        () = async { while let Some(Ok(_)) = socket.next().await {} } => {}
    }
}

fn grant() -> Grant {
    Grant::for_test(NODE, Action::Shell).because(ReasonText::new("ticket 7").unwrap())
}

fn request() -> SessionRequest {
    let mut request = SessionRequest::new("Portcullis-Out");
    request.parameters.insert("command".into(), vec!["uptime".into()]);
    request
}

fn error(code: &str) -> (u16, Value) {
    (400, json!({"__type": code, "message": "no"}))
}

#[tokio::test]
async fn a_session_is_started_once_signed_and_terminated_when_let_go() {
    let service = Service::start().await;
    let backend = service.backend().await;
    let mut lane = backend.open(&grant(), request()).await.unwrap();
    assert_eq!(lane.id.0, "bob-01");
    let expected = json!({"Target": NODE, "DocumentName": "Portcullis-Out", "Reason": "ticket 7",
        "Parameters": {"command": ["uptime"]}});
    assert_eq!(service.calls("StartSession"), [expected]);
    assert_eq!(timeout(PATIENCE, lane.reader.next()).await.unwrap(), Some(ChannelEvent::Established));
    assert_eq!(lane.reader.next().await, Some(ChannelEvent::Output(Bytes::from_static(b"hello"))));
    let upgrade = &service.calls("upgrade")[0];
    assert_eq!(upgrade["path"], "/v1/data-channel/bob-01?role=publish_subscribe");
    let authorization = upgrade["authorization"].as_str().unwrap();
    assert!(authorization.contains("/eu-west-1/ssmmessages/aws4_request, SignedHeaders=host;x-amz-date,"));
    let open = &service.calls("open")[0];
    assert_eq!((&open["TokenValue"], &open["ClientVersion"]), (&json!("token-1"), &json!("1.2.764.0")));
    assert!(service.calls("TerminateSession").is_empty());
    drop(lane);
    let terminated = service.wait_for("TerminateSession", 1).await;
    assert_eq!(terminated, [json!({"SessionId": "bob-01"})]);
    assert_eq!(backend.drain(PATIENCE).await, 0);
}

#[tokio::test]
async fn close_waits_for_the_termination() {
    let service = Service::start().await;
    let lane = service.backend().await.open(&grant(), request()).await.unwrap();
    timeout(PATIENCE, lane.close()).await.unwrap();
    assert_eq!(service.calls("TerminateSession").len(), 1);
}

#[tokio::test]
async fn a_lost_socket_resumes_with_a_fresh_token_and_the_same_client() {
    let service = Service::start().await;
    service.answer("ResumeSession", 200, service.session("token-2"));
    // The token alone is enough, as it is for AWS's client.
    service.answer("ResumeSession", 200, json!({"SessionId": "bob-01", "TokenValue": "token-3"}));
    let mut lane = service.backend().await.open(&grant(), request()).await.unwrap();
    for count in 1..=3 {
        service.wait_for("open", count).await;
        if count < 3 {
            service.cut.send_modify(|number| *number += 1);
        }
    }
    let opens = service.calls("open");
    let tokens: Vec<_> = opens.iter().map(|open| open["TokenValue"].as_str().unwrap()).collect();
    assert_eq!(tokens, ["token-1", "token-2", "token-3"]);
    assert!(opens.iter().all(|open| open["ClientId"] == opens[0]["ClientId"]));
    assert_ne!(opens[0]["RequestId"], opens[1]["RequestId"]);
    // The frame that came again on each websocket is delivered once.
    let mut events = Vec::new();
    while events.iter().filter(|event| **event == ChannelEvent::Reconnected).count() < 2 {
        events.push(timeout(PATIENCE, lane.reader.next()).await.unwrap().unwrap());
    }
    assert_eq!(events.iter().filter(|event| matches!(event, ChannelEvent::Output(_))).count(), 1);
}

#[tokio::test]
async fn a_session_that_is_gone_is_not_resumed_and_not_terminated() {
    for answer in [error("DoesNotExistException"), (200, json!({"SessionId": "bob-01"}))] {
        let service = Service::start().await;
        service.only("ResumeSession", &[answer]);
        let mut lane = service.backend().await.open(&grant(), request()).await.unwrap();
        service.wait_for("open", 1).await;
        service.cut.send_modify(|number| *number += 1);
        let last = timeout(PATIENCE, async {
            loop {
                if let Some(ChannelEvent::Lost(sentence)) = lane.reader.next().await {
                    return sentence;
                }
            }
        });
        assert_eq!(last.await.unwrap(), "the session bob-01 has ended and can't be resumed");
        lane.close().await;
        assert!(service.calls("TerminateSession").is_empty());
    }
}

#[tokio::test]
async fn a_start_that_was_throttled_or_failed_is_tried_again() {
    let service = Service::start().await;
    service.only("StartSession", &[error("ThrottlingException"), (200, service.session("token-1"))]);
    let backend = service.backend().await;
    drop(backend.open(&grant(), request()).await.unwrap());
    assert_eq!(service.calls("StartSession").len(), 2);
    let failed = (500, json!({"__type": "InternalServerError", "message": "no"}));
    service.only("StartSession", &[failed, (200, service.session("token-1"))]);
    drop(backend.open(&grant(), request()).await.unwrap());
    assert_eq!(service.calls("StartSession").len(), 4);
}

#[tokio::test]
async fn a_hostile_stream_url_is_not_dialled_and_its_session_ends() {
    let service = Service::start().await;
    let trap = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("ws://{}/v1/data-channel/bob-01", trap.local_addr().unwrap());
    service.only("StartSession", &[(200, json!({"SessionId": "bob-01", "StreamUrl": url, "TokenValue": "hunter2"}))]);
    let text = service.backend().await.open(&grant(), request()).await.unwrap_err().to_string();
    assert!(text.contains("was not dialled") && !text.contains("hunter2"), "{text}");
    assert_eq!(service.calls("TerminateSession").len(), 1);
    assert!(timeout(Duration::from_millis(50), trap.accept()).await.is_err(), "it was dialled");
}

#[tokio::test]
async fn a_node_that_is_away_is_said_with_its_last_ping() {
    let service = Service::start().await;
    service.only("StartSession", &[error("TargetNotConnected")]);
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    let node = json!({"InstanceId": NODE, "ComputerName": "web-1", "PingStatus": "ConnectionLost",
        "LastPingDateTime": now - 845});
    service.answer("DescribeInstanceInformation", 200, json!({"InstanceInformationList": [node]}));
    let error = service.backend().await.open(&grant(), request()).await.unwrap_err();
    assert!(
        matches!(&error, BackendError::Target(text)
        if text.starts_with("web-1 is not connected to Systems Manager: last ping 14 min ago")),
        "{error}"
    );
}

#[tokio::test]
async fn names_resolve_by_tag_first_then_by_computer_name() {
    let service = Service::start().await;
    let online = |id: &str, name: &str| json!({"InstanceId": id, "ComputerName": name, "PingStatus": "Online"});
    let list = |nodes: &[Value]| (200, json!({"InstanceInformationList": nodes}));
    let backend = service.backend().await;

    // The tag decides, though another node calls itself so.
    service.only("DescribeInstanceInformation", &[list(&[online(NODE, "ip-10-0-0-1")])]);
    let node = backend.resolve(&NodeName::for_test("web-1")).await.unwrap();
    assert_eq!((node.node_ref().id.0.as_str(), node.name.as_str(), node.online), (NODE, "web-1", true));
    let filters = &service.calls("DescribeInstanceInformation")[0]["Filters"];
    assert_eq!(*filters, json!([{"Key": "tag:Name", "Values": ["web-1"]}]));
    // Remembered.
    backend.resolve(&NodeName::for_test("web-1")).await.unwrap();
    assert_eq!(service.calls("DescribeInstanceInformation").len(), 1);

    // No tag: the computer name, on the second page.
    let mut first = list(&[online("mi-00000000000000001", "db-1")]);
    first.1["NextToken"] = json!("more");
    service.only("DescribeInstanceInformation", &[list(&[]), first, list(&[online(NODE, "Web-2.corp.example")])]);
    assert_eq!(backend.resolve(&NodeName::for_test("web-2")).await.unwrap().node_ref().id.0, NODE);

    // Two: neither.
    let backend = service.backend().await;
    service.only("DescribeInstanceInformation", &[list(&[online(NODE, "a"), online("mi-00000000000000001", "b")])]);
    let several = backend.resolve(&NodeName::for_test("tag:env=prod")).await.unwrap_err();
    assert_eq!(several.to_string(), "2 nodes are called tag:env=prod: use the id of the one that you mean");
    let BackendError::Several { nodes, .. } = several else { panic!("{several:?}") };
    assert_eq!(nodes[0].node_ref().id.0, NODE);

    service.only("DescribeInstanceInformation", &[list(&[])]);
    let text = backend.resolve(&NodeName::for_test("web-3")).await.unwrap_err().to_string();
    assert!(text.starts_with("web-3 is no managed node in eu-west-1"), "{text}");

    // A role that may not read the inventory still reaches a node by its id.
    service.only("DescribeInstanceInformation", &[error("AccessDeniedException")]);
    service.answer("GetConnectionStatus", 200, json!({"Target": NODE, "Status": "connected"}));
    assert!(backend.resolve(&NodeName::for_test(NODE)).await.unwrap().online);
}

#[tokio::test]
async fn a_name_that_is_no_node_s_is_asked_for_once_by_many_and_remembered_for_seconds() {
    let service = Service::start().await;
    let backend = service.backend().await;
    service.only("DescribeInstanceInformation", &[(200, json!({"InstanceInformationList": []}))]);
    let name = NodeName::for_test("web-9");
    let asked = || backend.resolve(&name);
    let (first, second, third) = tokio::join!(asked(), asked(), asked());
    for refused in [first, second, third, asked().await] {
        assert!(refused.unwrap_err().to_string().starts_with("web-9 is no managed node"));
    }
    // by its tag and by its computer name
    assert_eq!(service.calls("DescribeInstanceInformation").len(), 2);
}

#[tokio::test]
async fn who_asks_for_a_name_meanwhile_shares_the_failure_as_well() {
    let service = Service::start().await;
    let backend = service.backend().await;
    let name = NodeName::for_test("tag:env=prod");
    service.only("DescribeInstanceInformation", &[error("AccessDeniedException")]);
    let asked = || backend.resolve(&name);
    let (first, second, third) = tokio::join!(asked(), asked(), asked());
    for refused in [first, second, third] {
        assert!(matches!(refused, Err(BackendError::Denied { .. })), "{refused:?}");
    }
    assert_eq!(service.calls("DescribeInstanceInformation").len(), 1);
    // it says nothing of the next moment
    let node = json!({"InstanceId": NODE, "ComputerName": "web-1", "PingStatus": "Online"});
    service.only("DescribeInstanceInformation", &[(200, json!({"InstanceInformationList": [node]}))]);
    assert_eq!(asked().await.unwrap().node_ref().id.0, NODE);
}

#[tokio::test]
async fn whoever_stops_asking_leaves_the_question_to_those_who_wait() {
    let service = Service::start().await;
    let backend = service.backend().await;
    let name = NodeName::for_test("tag:env=prod");
    let node = json!({"InstanceId": NODE, "ComputerName": "web-1", "PingStatus": "Online"});
    service.only("DescribeInstanceInformation", &[(200, json!({"InstanceInformationList": [node]}))]);
    let mut first = Box::pin(backend.resolve(&name));
    assert!(futures_util::poll!(first.as_mut()).is_pending());
    let mut second = Box::pin(backend.resolve(&name));
    assert!(futures_util::poll!(second.as_mut()).is_pending());
    drop(first);
    assert_eq!(second.await.unwrap().node_ref().id.0, NODE);
}

#[tokio::test]
async fn names_that_nobody_has_cost_one_reading_of_the_inventory_however_many_they_are() {
    let service = Service::start().await;
    let backend = service.backend().await;
    let node = json!({"InstanceId": NODE, "ComputerName": "web-1", "PingStatus": "Online"});
    let list = |nodes: Value| (200, json!({"InstanceInformationList": nodes}));
    service.only("DescribeInstanceInformation", &[list(json!([])), list(json!([node]))]);
    for n in 0..50 {
        let error = backend.resolve(&NodeName::for_test(&format!("nobody-{n}"))).await.unwrap_err();
        assert!(matches!(error, BackendError::Target(_)), "{error:?}");
    }
    // the first name's tag, and all of it
    assert_eq!(service.calls("DescribeInstanceInformation").len(), 2);
    assert_eq!(service.calls("GetResources").len(), 1);
    // which has the names that there are, too
    assert_eq!(backend.resolve(&NodeName::for_test("web-1")).await.unwrap().node_ref().id.0, NODE);
    assert_eq!(backend.nodes().await.unwrap().nodes.len(), 1);
    assert_eq!(service.calls("DescribeInstanceInformation").len(), 2);
}

#[tokio::test]
async fn a_node_has_the_tags_that_aws_says_or_none_that_are_known() {
    let service = Service::start().await;
    let node = json!({"InstanceId": "i-0123456789abcdef0", "PlatformType": "Linux", "PingStatus": "Online"});
    service.only("DescribeInstanceInformation", &[(200, json!({"InstanceInformationList": [node]}))]);
    let arn = "arn:aws:ec2:eu-west-1:123456789012:instance/i-0123456789abcdef0";
    let mapping =
        json!({"ResourceARN": arn, "Tags": [{"Key": "Name", "Value": "web-1"}, {"Key": "env", "Value": "prod"}]});
    service.only("GetResources", &[(200, json!({"PaginationToken": "", "ResourceTagMappingList": [mapping]}))]);
    let backend = service.backend().await;
    let name = NodeName::for_test("i-0123456789abcdef0");
    let found = backend.resolve(&name).await.unwrap();
    assert_eq!(service.calls("GetResources"), [json!({"ResourceARNList": [arn]})]);
    assert_eq!((found.facts.name(), found.facts.platform.as_deref()), ("web-1", Some("Linux")));
    assert_eq!(found.facts.tags.as_ref().unwrap().get("env").map(String::as_str), Some("prod"));
    // kept with the node
    assert_eq!(backend.resolve(&name).await.unwrap(), found);
    assert_eq!(service.calls("GetResources").len(), 1);

    // who may not read them knows that, and asks once in a while
    service.only("GetResources", &[error("AccessDeniedException")]);
    let backend = service.backend().await;
    let found = backend.resolve(&name).await.unwrap();
    let why = found.facts.tags.clone().unwrap_err();
    assert!(why.contains("(tag:GetResources)") && !found.facts.is_name_known(), "{why}");
    backend.resolve(&NodeName::for_test("tag:env=prod")).await.unwrap();
    assert_eq!(service.calls("GetResources").len(), 2);
}

#[tokio::test]
async fn documents_are_read_created_and_made_the_default() {
    let service = Service::start().await;
    let backend = service.backend().await;
    service.only("GetDocument", &[error("InvalidDocument")]);
    assert_eq!(backend.document("Portcullis-Out").await.unwrap(), None);
    assert_eq!(
        crate::backend::preferences::Preferences::of_account(&backend).await.unwrap(),
        crate::backend::preferences::Preferences::default()
    );
    service.only("GetDocument", &[(200, json!({"Name": "x", "Content": "{\"inputs\":{\"kmsKeyId\":\"k\"}}"}))]);
    let preferences = crate::backend::preferences::Preferences::of_account(&backend).await.unwrap();
    assert_eq!(preferences.kms_key.as_deref(), Some("k"));
    service.only("GetDocument", &[error("AccessDeniedException")]);
    assert!(matches!(
        crate::backend::preferences::Preferences::of_account(&backend).await,
        Err(BackendError::Denied { .. })
    ));

    service.only("CreateDocument", &[(200, json!({}))]);
    backend.put_document("Portcullis-Out", "{}").await.unwrap();
    assert_eq!(service.calls("CreateDocument")[0]["DocumentType"], "Session");
    assert!(service.calls("UpdateDocument").is_empty());

    service.only("CreateDocument", &[error("DocumentAlreadyExists")]);
    service.only("UpdateDocument", &[(200, json!({"DocumentDescription": {"DocumentVersion": "7"}}))]);
    service.only("UpdateDocumentDefaultVersion", &[(200, json!({}))]);
    backend.put_document("Portcullis-Out", "{}").await.unwrap();
    let made_default = &service.calls("UpdateDocumentDefaultVersion")[0];
    assert_eq!(*made_default, json!({"Name": "Portcullis-Out", "DocumentVersion": "7"}));
}
