//! Keys of IAM users, through the SDK: against the embedded service, which evaluates IAM, and against answers of every kind.

use std::sync::{Arc, Mutex};

use aws_credential_types::Credentials;
use aws_sdk_iam as iam;
use aws_sdk_iam::types::StatusType;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use super::*;
use crate::backend::{BackendError, UserKeys as _};
use crate::emulator::ApiKey;
use crate::model::RealmName;
use crate::testing::{EmbeddedService, keygen};

const GATEWAY: &str = "arn:aws:iam::123456789012:user/gateway";

/// A document of `deploy/iam`, for the account of the tests.
fn deployed(name: &str) -> String {
    let path = format!("{}/deploy/iam/{name}", env!("CARGO_MANIFEST_DIR"));
    std::fs::read_to_string(path).unwrap().replace("${Account}", "123456789012").replace("${Gateway}", GATEWAY)
}

/// An account with the users ada and bob, and a gateway that these policies are of.
async fn account(policies: Vec<String>) -> (EmbeddedService, AwsBackend) {
    let service = EmbeddedService::builder().without_agent().configured(|config| {
        config.keys[0] = ApiKey::new("AKIDCLIENT", "client-secret", GATEWAY, policies);
        for (id, user) in [("AKIDADA", "user/team/ada"), ("AKIDBOB", "user/bob")] {
            config.keys.push(ApiKey::client(id, "user-secret", format!("arn:aws:iam::123456789012:{user}")));
        }
    });
    let service = service.start().await;
    let backend = AwsBackend::new(RealmName::for_test(), service.aws_options()).await.unwrap();
    (service, backend)
}

/// The SDK's own client, as a user.
fn client(service: &EmbeddedService, access_key: &str) -> iam::Client {
    let config = iam::Config::builder()
        .behavior_version(iam::config::BehaviorVersion::v2026_01_12())
        .region(iam::config::Region::new("us-east-1"))
        .credentials_provider(Credentials::new(access_key, "user-secret", None, None, "test"))
        .endpoint_url(service.url())
        .http_client(aws_smithy_http_client::Builder::new().build_http());
    iam::Client::from_conf(config.build())
}

/// An RSA key's `.pub` line.
async fn rsa() -> String {
    let dir = tempfile::tempdir().unwrap();
    keygen(&dir.path().join("key"), &["-t", "rsa", "-b", "2048"]).await;
    std::fs::read_to_string(dir.path().join("key.pub")).unwrap()
}

async fn upload(client: &iam::Client, user: &str, body: &str) -> String {
    let uploaded = client.upload_ssh_public_key().user_name(user).ssh_public_key_body(body).send().await.unwrap();
    uploaded.ssh_public_key.unwrap().ssh_public_key_id
}

#[tokio::test]
async fn the_active_keys_of_a_user_are_read_and_nobody_else_s() {
    let policies = vec![deployed("gateway-policy.json"), deployed("user-keys-policy.json")];
    let (service, backend) = account(policies).await;
    let ada = client(&service, "AKIDADA");
    let (line, other) = (rsa().await, rsa().await);
    let (first, second) = (upload(&ada, "ada", &line).await, upload(&ada, "ada", &other).await);
    let of_bob = upload(&ada, "bob", &line).await;
    let mut both = vec![first.clone(), second.clone()];
    both.sort();
    assert_eq!(backend.active_keys("ada").await, Ok(Some(both)));
    assert_eq!(backend.key_text("ada", &first).await, Ok(Some(line.trim().to_owned())));
    ada.update_ssh_public_key()
        .user_name("ada")
        .ssh_public_key_id(&first)
        .status(StatusType::Inactive)
        .send()
        .await
        .unwrap();
    assert_eq!(backend.active_keys("ada").await, Ok(Some(vec![second.clone()])));
    ada.delete_ssh_public_key().user_name("ada").ssh_public_key_id(&second).send().await.unwrap();
    assert_eq!(
        (backend.active_keys("ada").await, backend.key_text("ada", &second).await),
        (Ok(Some(vec![])), Ok(None))
    );
    assert_eq!(backend.key_text("ada", &of_bob).await, Ok(None), "it is another's");
    assert_eq!(backend.active_keys("eve").await, Ok(None));
}

#[tokio::test]
async fn what_iam_does_not_let_the_gateway_read_is_a_sentence_that_says_what_to_grant() {
    let only = |action: &str, user: &str| {
        format!(
            "{{\"Version\":\"2012-10-17\",\"Statement\":{{\"Effect\":\"Allow\",\"Action\":\"iam:{action}\",\
             \"Resource\":\"arn:aws:iam::123456789012:user/{user}\"}}}}"
        )
    };
    let sentence = |refused: Result<Option<Vec<String>>, BackendError>| match refused {
        Err(error @ BackendError::Denied { .. }) => error.for_operator(),
        other => panic!("{other:?}"),
    };
    let (service, backend) = account(vec![deployed("gateway-policy.json")]).await;
    let id = upload(&client(&service, "AKIDADA"), "ada", &rsa().await).await;
    let refused = |action: &str| {
        format!(
            "IAM refuses iam:{action} on ada: User: {GATEWAY} is not authorized to perform: iam:{action} on resource: \
             user ada because no identity-based policy allows the iam:{action} action; grant iam:{action} on its users to \
             the gateway's role (deploy/iam/user-keys-policy.json)"
        )
    };
    assert_eq!(sentence(backend.active_keys("ada").await), refused("ListSSHPublicKeys"));
    let text = |answer: Result<Option<String>, BackendError>| answer.map(|text| text.map(|text| vec![text]));
    assert_eq!(sentence(text(backend.key_text("ada", &id).await)), refused("GetSSHPublicKey"));
    // another user, and the other action
    let (service, backend) = account(vec![only("ListSSHPublicKeys", "bob"), only("GetSSHPublicKey", "bob")]).await;
    let id = upload(&client(&service, "AKIDADA"), "ada", &rsa().await).await;
    assert_eq!(backend.active_keys("bob").await, Ok(Some(vec![])));
    assert_eq!(sentence(backend.active_keys("ada").await), refused("ListSSHPublicKeys"));
    assert_eq!(sentence(text(backend.key_text("ada", &id).await)), refused("GetSSHPublicKey"));
    // a path is part of what a policy names
    let (service, backend) = account(vec![only("ListSSHPublicKeys", "team/*")]).await;
    let id = upload(&client(&service, "AKIDADA"), "ada", &rsa().await).await;
    assert_eq!(backend.active_keys("ada").await, Ok(Some(vec![id.clone()])));
    assert_eq!(sentence(text(backend.key_text("ada", &id).await)), refused("GetSSHPublicKey"));
    assert_eq!(
        sentence(backend.active_keys("bob").await).split(" on ").nth(1),
        Some("bob: User: arn:aws:iam::123456789012:user/gateway is not authorized to perform: iam:ListSSHPublicKeys")
    );
}

/// Something in IAM's place that gives the same answer to every call, and counts them.
struct Answers {
    url: String,
    calls: Arc<Mutex<Vec<String>>>,
    task: JoinHandle<()>,
}

impl Drop for Answers {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Answers {
    async fn with(status: u16, body: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let calls: Arc<Mutex<Vec<String>>> = Arc::default();
        let seen = calls.clone();
        let task = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let (seen, body) = (seen.clone(), body.clone());
                tokio::spawn(async move { answer(stream, &seen, status, &body).await });
            }
        });
        Self { url, calls, task }
    }

    async fn backend(&self) -> AwsBackend {
        let options = AwsOptions {
            region: Some("eu-west-1".into()),
            endpoint_ssm: Some(self.url.clone()),
            endpoint_iam: Some(self.url.clone()),
            credentials: Some(Credentials::new("AKIDEXAMPLE", "secret", None, None, "test")),
            ..AwsOptions::default()
        };
        AwsBackend::new(RealmName::for_test(), options).await.unwrap()
    }
}

async fn answer(mut stream: TcpStream, seen: &Mutex<Vec<String>>, status: u16, body: &str) {
    let mut read = Vec::new();
    loop {
        let head = loop {
            let text = String::from_utf8_lossy(&read).to_ascii_lowercase();
            let length =
                text.split("content-length: ").nth(1).and_then(|rest| rest.lines().next()?.parse::<usize>().ok());
            if let (Some(end), Some(length)) = (text.find("\r\n\r\n"), length)
                && read.len() >= end + 4 + length
            {
                break end + 4;
            }
            let mut some = [0; 4096];
            match stream.read(&mut some).await {
                Ok(0) | Err(_) => return,
                Ok(count) => read.extend(&some[..count]),
            }
        };
        seen.lock().unwrap().push(String::from_utf8_lossy(&read[head..]).into_owned());
        read.clear();
        let head = format!("HTTP/1.1 {status} X\r\ncontent-type: text/xml\r\ncontent-length: {}\r\n\r\n", body.len());
        if stream.write_all(format!("{head}{body}").as_bytes()).await.is_err() {
            return;
        }
    }
}

fn listing(user: &str, more: &str) -> String {
    format!(
        "<ListSSHPublicKeysResponse xmlns=\"https://iam.amazonaws.com/doc/2010-05-08/\"><ListSSHPublicKeysResult>{more}\
         <SSHPublicKeys><member><UserName>{user}</UserName><SSHPublicKeyId>APKA1</SSHPublicKeyId><Status>Active</Status>\
         <UploadDate>2026-11-30T00:00:00Z</UploadDate></member></SSHPublicKeys></ListSSHPublicKeysResult>\
         <ResponseMetadata><RequestId>x</RequestId></ResponseMetadata></ListSSHPublicKeysResponse>"
    )
}

fn key(user: &str, id: &str) -> String {
    format!(
        "<GetSSHPublicKeyResponse xmlns=\"https://iam.amazonaws.com/doc/2010-05-08/\"><GetSSHPublicKeyResult><SSHPublicKey>\
         <UserName>{user}</UserName><SSHPublicKeyId>{id}</SSHPublicKeyId><Fingerprint>x</Fingerprint><Status>Active</Status>\
         <SSHPublicKeyBody>ssh-rsa AAAA ada</SSHPublicKeyBody></SSHPublicKey></GetSSHPublicKeyResult></GetSSHPublicKeyResponse>"
    )
}

#[tokio::test]
async fn an_answer_that_is_none_or_is_about_somebody_else_is_no_answer() {
    let fine = Answers::with(200, listing("Ada", "<IsTruncated>false</IsTruncated>")).await;
    assert_eq!(fine.backend().await.active_keys("ada").await, Ok(Some(vec!["APKA1".to_owned()])));
    // the user is named in the call: without one IAM would answer for whoever asks
    assert!(fine.calls.lock().unwrap()[0].contains("Action=ListSSHPublicKeys&Version=2010-05-08&UserName=ada"));
    let endless = listing("ada", "<IsTruncated>true</IsTruncated><Marker>again</Marker>");
    for (status, body, calls) in [
        (200, String::new(), None),
        (200, "<html><body>sign in</body></html>".to_owned(), None),
        (200, listing("bob", ""), Some(1)),
        (200, endless, Some(10)),
        (302, "<html>elsewhere</html>".to_owned(), Some(1)),
        (503, "<html>later</html>".to_owned(), Some(3)),
    ] {
        let answers = Answers::with(status, body.clone()).await;
        let answered = answers.backend().await.active_keys("ada").await;
        assert!(answered.is_err(), "{body}: {answered:?}");
        let seen = answers.calls.lock().unwrap().len();
        assert!(calls.is_none_or(|calls| calls == seen), "{body}: {seen} calls");
    }
    // the SDK reads what was cut as far as it goes: that takes keys away, and gives nobody one
    let cut = Answers::with(200, listing("ada", "").split_at(200).0.to_owned()).await;
    assert_eq!(cut.backend().await.active_keys("ada").await, Ok(Some(Vec::new())));
    let fine = Answers::with(200, key("ada", "APKA1")).await;
    assert_eq!(fine.backend().await.key_text("ada", "APKA1").await, Ok(Some("ssh-rsa AAAA ada".to_owned())));
    let asked = fine.calls.lock().unwrap()[0].clone();
    assert!(asked.contains("SSHPublicKeyId=APKA1") && asked.contains("Encoding=SSH"), "{asked}");
    for body in [key("bob", "APKA1"), key("ada", "APKA2"), key("", ""), "<a/>".to_owned(), "\u{0}".to_owned()] {
        let answered = Answers::with(200, body.clone()).await.backend().await.key_text("ada", "APKA1").await;
        assert!(answered.is_err(), "{body}: {answered:?}");
    }
}

#[tokio::test]
async fn a_throttled_reading_is_tried_three_times_and_not_more() {
    let error = "<ErrorResponse><Error><Type>Sender</Type><Code>Throttling</Code><Message>Rate exceeded</Message></Error>\
                 <RequestId>x</RequestId></ErrorResponse>";
    let throttled = Answers::with(400, error.to_owned()).await;
    let refused = throttled.backend().await.active_keys("ada").await.unwrap_err();
    assert!(
        matches!(&refused, BackendError::Unreachable(text) if text.contains("throttling ListSSHPublicKeys")),
        "{refused:?}"
    );
    assert_eq!(throttled.calls.lock().unwrap().len(), 3);
    // and one that says that there is no such user is asked once
    let gone = error.replace("Throttling", "NoSuchEntity");
    let gone = Answers::with(404, gone).await;
    assert_eq!(gone.backend().await.active_keys("ada").await, Ok(None));
    assert_eq!(gone.calls.lock().unwrap().len(), 1);
}
