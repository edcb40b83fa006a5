//! A service, callers, and the two ends of a session, as small as they can be.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use ::http::{HeaderMap, Request};
use aws_credential_types::Credentials;
use aws_sdk_ssm::config::{BehaviorVersion, Region, retry::RetryConfig};
use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningSettings, sign};
use aws_sigv4::sign::v4::SigningParams;
use aws_smithy_http_client::tls::{Provider, TlsContext, TrustStore, rustls_provider::CryptoMode};
use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use portcullis_protocol::control::{AgentTaskComplete, InteractiveShell};
use portcullis_protocol::open::{OpenControlChannel, OpenDataChannel};
use portcullis_protocol::payload::ChannelClosed;
use portcullis_protocol::{Message as Frame, MessageType, PayloadType};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_tungstenite::tungstenite::{self, Message, client::IntoClientRequest};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};
use uuid::Uuid;

use crate::emulator::*;
use crate::testing::EmbeddedService;
pub(super) use crate::testing::NODE;

pub(super) const ALICE: &str = "arn:aws:iam::123456789012:user/alice";

/// Everybody who calls a service, which has a client's key, an agent's, and whatever the test changes.
pub(super) struct Callers {
    pub(super) service: EmbeddedService,
}

impl Callers {
    pub(super) async fn start() -> Self {
        Self::start_with(|_| {}).await
    }

    pub(super) async fn start_with(change: impl FnOnce(&mut ServiceConfig)) -> Self {
        let builder = EmbeddedService::builder().without_agent().configured(|config| {
            config.keys = vec![
                ApiKey::client("AKIDALICE", "alice's secret", ALICE),
                ApiKey::agent("AKIDNODE", "node's secret", "arn:aws:iam::123456789012:role/node"),
            ];
            config.nodes = vec![NodeConfig::named(NODE, "web-1").tag("env", "prod")];
        });
        Self { service: builder.configured(change).start().await }
    }

    /// AWS's SDK as alice.
    pub(super) fn alice(&self) -> aws_sdk_ssm::Client {
        self.sdk(alice(), "us-east-1")
    }

    pub(super) fn sdk(&self, credentials: Credentials, region: &'static str) -> aws_sdk_ssm::Client {
        let mut config = aws_sdk_ssm::Config::builder()
            .behavior_version(BehaviorVersion::v2026_01_12())
            .region(Region::new(region))
            .credentials_provider(credentials)
            .retry_config(RetryConfig::disabled())
            .endpoint_url(self.service.url());
        if let Some(pem) = self.service.ca_pem() {
            let trust = TrustStore::empty().with_pem_certificate(pem.into_bytes());
            let context = TlsContext::builder().with_trust_store(trust).build().unwrap();
            let builder = aws_smithy_http_client::Builder::new().tls_provider(Provider::Rustls(CryptoMode::AwsLc));
            config = config.http_client(builder.tls_context(context).build_https());
        }
        aws_sdk_ssm::Client::from_conf(config.build())
    }

    /// AWS's SDK for STS, of a service without TLS, as whoever these are; a pair that nobody knows signs nothing that is taken.
    pub(super) fn sts(&self, credentials: Credentials) -> aws_sdk_sts::Client {
        let config = aws_sdk_sts::Config::builder()
            .behavior_version(BehaviorVersion::v2026_01_12())
            .region(Region::new("us-east-1"))
            .credentials_provider(credentials)
            .retry_config(RetryConfig::disabled())
            .endpoint_url(self.service.url())
            .http_client(aws_smithy_http_client::Builder::new().build_http());
        aws_sdk_sts::Client::from_conf(config.build())
    }

    /// A raw call; the answer's status line, headers and body.
    pub(super) async fn call(&self, path: &str, headers: &[(&str, &str)], body: &str) -> String {
        let host = self.service.address();
        let mut request = format!("POST {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n");
        for (name, value) in headers {
            request += &format!("{name}: {value}\r\n");
        }
        request += &format!("content-length: {}\r\n\r\n{body}", body.len());
        let mut stream = self.dial().await;
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        String::from_utf8(answer).unwrap()
    }

    /// The same, signed.
    pub(super) async fn signed_call(
        &self,
        (service, credentials): (&str, Credentials),
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> String {
        let url = format!("http://{}{path}", self.service.address());
        let signed = sign_headers(credentials, service, "POST", &url, headers, body.as_bytes());
        let signed = signed.iter().map(|(name, value)| (name.as_str(), value.to_str().unwrap()));
        self.call(path, &headers.iter().copied().chain(signed).collect::<Vec<_>>(), body).await
    }

    async fn dial(&self) -> MaybeTlsStream<TcpStream> {
        let tcp = TcpStream::connect(self.service.address()).await.unwrap();
        tcp.set_nodelay(true).unwrap();
        let Some(pem) = self.service.ca_pem() else { return MaybeTlsStream::Plain(tcp) };
        let mut roots = rustls::RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(pem.as_bytes()).unwrap()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let name = ServerName::try_from(self.service.address().ip().to_string()).unwrap();
        MaybeTlsStream::Rustls(TlsConnector::from(Arc::new(config)).connect(name, tcp).await.unwrap())
    }

    /// A websocket, signed for whoever these are.
    pub(super) async fn websocket(
        &self,
        path: &str,
        signer: Option<Credentials>,
    ) -> Result<Socket, tungstenite::Error> {
        let mut request = format!("ws://{}{path}", self.service.address()).into_client_request()?;
        if let Some(credentials) = signer {
            let url = format!("http://{}{path}", self.service.address());
            request.headers_mut().extend(sign_headers(credentials, "ssmmessages", "GET", &url, &[], b""));
        }
        let (stream, _) = tokio_tungstenite::client_async(request, self.dial().await).await?;
        Ok(Socket(stream))
    }

    /// A token from CreateControlChannel or CreateDataChannel.
    pub(super) async fn token(&self, path: &str, credentials: Credentials) -> Result<String, String> {
        let body = format!(r#"{{"MessageSchemaVersion":"1.0","RequestId":"{}","ClientId":""}}"#, Uuid::new_v4());
        let answer =
            self.signed_call(("ssmmessages", credentials), path, &[("content-type", "application/json")], &body).await;
        if !answer.starts_with("HTTP/1.1 201 ") {
            return Err(answer);
        }
        let (_, rest) = answer.split_once("<TokenValue>").unwrap();
        Ok(rest.split_once("</TokenValue>").unwrap().0.to_owned())
    }

    /// The node's control channel.
    pub(super) async fn agent(&self) -> Socket {
        let path = format!("/v1/control-channel/{NODE}");
        let token = self.token(&path, node()).await.unwrap();
        let mut socket = self.websocket(&format!("{path}?role=subscribe&stream=input"), Some(node())).await.unwrap();
        socket.text(OpenControlChannel::new(Uuid::new_v4(), token, "3.3.0.0").encode()).await;
        until(|| self.service.is_connected(NODE)).await;
        socket
    }

    /// The agent's end of a session.
    pub(super) async fn agent_end(&self, session: &str) -> Socket {
        let path = format!("/v1/data-channel/{session}");
        let token = self.token(&path, node()).await.unwrap();
        let mut socket = self.websocket(&format!("{path}?role=publish_subscribe"), Some(node())).await.unwrap();
        socket.text(OpenDataChannel::agent(Uuid::new_v4(), token, NODE).encode()).await;
        until(|| self.live(session).agent_attached).await;
        socket
    }

    /// The client's end, by stream URL and token.
    pub(super) async fn client_end(&self, session: &str, url: &str, token: &str) -> Socket {
        let path = &url[url.find("/v1/").unwrap()..];
        let mut socket = self.websocket(path, None).await.unwrap();
        socket.text(OpenDataChannel::client(Uuid::new_v4(), token, Uuid::new_v4(), "1.2.764.0").encode()).await;
        until(|| self.live(session).client_attached).await;
        socket
    }

    /// A session with both ends, by way of all that comes before.
    pub(super) async fn session(&self) -> Session {
        let mut control = self.agent().await;
        let started = self.alice().start_session().target(NODE).reason("a test").send().await.unwrap();
        let (id, url) = (started.session_id.unwrap(), started.stream_url.unwrap());
        let task = InteractiveShell::decode(&control.frame().await.payload).unwrap();
        assert_eq!(task.session_id, id);
        let agent = self.agent_end(&id).await;
        let client = self.client_end(&id, &url, &started.token_value.unwrap()).await;
        Session { id, url, control, agent, client }
    }

    pub(super) fn live(&self, session: &str) -> LiveSession {
        let all = self.service.faults().sessions();
        all.into_iter().find(|live| live.id == session).expect("a live session")
    }

    /// The session as DescribeSessions has it.
    pub(super) async fn described(&self, session: &str, over: bool) -> Option<aws_sdk_ssm::types::Session> {
        use aws_sdk_ssm::types::SessionState;
        let state = if over { SessionState::History } else { SessionState::Active };
        let answer = self.alice().describe_sessions().state(state).send().await.unwrap();
        answer.sessions.unwrap_or_default().into_iter().find(|found| found.session_id() == Some(session))
    }
}

/// A session with both its ends.
pub(super) struct Session {
    pub(super) id: String,
    pub(super) url: String,
    pub(super) control: Socket,
    pub(super) agent: Socket,
    pub(super) client: Socket,
}

pub(super) fn alice() -> Credentials {
    Credentials::new("AKIDALICE", "alice's secret", None, None, "test")
}

pub(super) fn node() -> Credentials {
    Credentials::new("AKIDNODE", "node's secret", None, None, "test")
}

/// One websocket.
pub(super) struct Socket(pub(super) WebSocketStream<MaybeTlsStream<TcpStream>>);

impl Socket {
    pub(super) async fn text(&mut self, text: String) {
        self.0.send(Message::text(text)).await.unwrap();
    }

    pub(super) async fn send(&mut self, frame: Bytes) {
        self.0.send(Message::Binary(frame)).await.unwrap();
    }

    /// The next binary message; `None` once the socket has ended.
    pub(super) async fn next(&mut self) -> Option<Bytes> {
        loop {
            match within(self.0.next()).await {
                Some(Ok(Message::Binary(frame))) => return Some(frame),
                Some(Ok(Message::Close(_)) | Err(_)) | None => return None,
                Some(Ok(_)) => {}
            }
        }
    }

    pub(super) async fn frame(&mut self) -> Frame {
        Frame::decode(self.next().await.expect("a frame")).unwrap()
    }

    pub(super) async fn expect(&mut self, frame: &Bytes) {
        let got = self.next().await.expect("a frame");
        assert!(got == *frame, "{:?} instead of {:?}", Frame::decode(got), Frame::decode(frame.clone()));
    }

    /// The text of a `channel_closed`, which must be next.
    pub(super) async fn closed(&mut self) -> String {
        let frame = self.frame().await;
        assert_eq!(frame.kind, MessageType::ChannelClosed);
        ChannelClosed::decode(&frame.payload).unwrap().output
    }

    /// Nothing comes for a while.
    pub(super) async fn silent(&mut self) {
        let next = tokio::time::timeout(Duration::from_millis(150), self.0.next()).await;
        assert!(next.is_err(), "{next:?}");
    }

    pub(super) async fn ended(&mut self) {
        assert_eq!(self.next().await, None);
    }
}

pub(super) fn frame(kind: MessageType, sequence: i64, payload_type: PayloadType, payload: &[u8]) -> Bytes {
    let message = Frame {
        kind,
        created: Duration::from_millis(1_700_000_000_000),
        sequence,
        flags: 0,
        id: Uuid::new_v4(),
        payload_type: Some(payload_type),
        payload: Bytes::copy_from_slice(payload),
    };
    message.encode()
}

pub(super) fn input(sequence: i64, payload: &[u8]) -> Bytes {
    frame(MessageType::InputStreamData, sequence, PayloadType::Output, payload)
}

pub(super) fn output(sequence: i64, payload: &[u8]) -> Bytes {
    frame(MessageType::OutputStreamData, sequence, PayloadType::Output, payload)
}

pub(super) fn ack(sequence: i64) -> Bytes {
    let body = format!(r#"{{"AcknowledgedMessageSequenceNumber":{sequence}}}"#);
    frame(MessageType::Acknowledge, 0, PayloadType::from(0), body.as_bytes())
}

pub(super) fn complete(session: &str, status: &str, output: &str) -> Bytes {
    let body = AgentTaskComplete::new(session, NODE, status, output).encode();
    frame(MessageType::AgentTaskComplete, 0, PayloadType::from(0), &body)
}

pub(super) fn sign_headers(
    credentials: Credentials,
    service: &str,
    method: &str,
    url: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> HeaderMap {
    let identity = credentials.into();
    let params = SigningParams::builder()
        .identity(&identity)
        .region("us-east-1")
        .name(service)
        .time(SystemTime::now())
        .settings(SigningSettings::default())
        .build()
        .unwrap()
        .into();
    let request = SignableRequest::new(method, url, headers.iter().copied(), SignableBody::Bytes(body)).unwrap();
    let (instructions, _) = sign(request, &params).unwrap().into_parts();
    let mut signed = Request::new(());
    instructions.apply_to_request_http1x(&mut signed);
    signed.into_parts().0.headers
}

pub(super) async fn within<F: Future>(future: F) -> F::Output {
    tokio::time::timeout(Duration::from_secs(30), future).await.expect("in time")
}

pub(super) async fn until(mut condition: impl FnMut() -> bool) {
    within(async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    })
    .await;
}
