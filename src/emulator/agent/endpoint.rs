//! The way to the service: signed calls and signed websockets, over TLS or, on loopback, plain.
//!
//! ```text
//!   POST /v1/control-channel/<node>      201 <…><TokenValue>…</TokenValue></…>     SigV4, service ssmmessages
//!   GET  /v1/control-channel/<node>?…    101, then a text message with the token   SigV4 over host and date
//!   POST /                               AmazonSSM.UpdateInstanceInformation       SigV4, service ssm
//! ```

use std::time::{Duration, SystemTime};

use aws_credential_types::Credentials;
use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningSettings, sign};
use aws_sigv4::sign::v4;
use bytes::Bytes;
use http::header::{CONTENT_TYPE, HOST};
use http::{HeaderName, Method, Request, StatusCode, Uri};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_util::rt::TokioIo;
use portcullis_protocol::open::Token;
use tokio_tungstenite::tungstenite::handshake::client::generate_key;
use uuid::Uuid;

use crate::data_channel::{DialError, Dialer, ProxyRules, Socket};

/// Where the service is and who we are to it.
#[derive(Clone)]
pub(super) struct Endpoint {
    dialer: Dialer,
    secure: bool,
    host: String,
    port: u16,
    /// What `Host` says.
    authority: String,
    region: String,
    credentials: Credentials,
}

/// The endpoint is not one.
#[derive(Debug, thiserror::Error)]
pub(super) enum EndpointError {
    #[error("{0:?} is no endpoint: write http://host:port or https://host:port")]
    Url(String),
    #[error("the CA certificate of the service cannot be read as PEM: {0}")]
    Ca(DialError),
}

/// A call failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum CallError {
    #[error("{what} failed: {why}")]
    Failed { what: &'static str, why: String },
    /// Anything but the status that means success; the body says why.
    #[error("{what} was refused with status {status}: {body}")]
    Refused { what: &'static str, status: StatusCode, body: String },
}

impl CallError {
    fn new(what: &'static str, why: impl std::fmt::Display) -> Self {
        Self::Failed { what, why: why.to_string() }
    }

    /// Whether the service says that the session is over, after which the agent does not try again.
    pub(super) fn is_terminated(&self) -> bool {
        matches!(self, Self::Refused { body, .. } if body.contains("Session is already terminated"))
    }
}

impl Endpoint {
    pub(super) fn new(
        url: &str,
        ca_pem: Option<&str>,
        region: &str,
        credentials: Credentials,
    ) -> Result<Self, EndpointError> {
        let wrong = || EndpointError::Url(url.to_owned());
        let uri: Uri = url.trim_end_matches('/').parse().map_err(|_| wrong())?;
        let secure = match uri.scheme_str() {
            Some("https" | "wss") => true,
            Some("http" | "ws") => false,
            _ => return Err(wrong()),
        };
        let host = uri.host().ok_or_else(wrong)?;
        let port = uri.port_u16().unwrap_or(if secure { 443 } else { 80 });
        let authority = match uri.port_u16() {
            Some(port) => format!("{host}:{port}"),
            None => host.to_owned(),
        };
        Ok(Self {
            dialer: Dialer::new(ca_pem.filter(|_| secure).map(str::as_bytes), ProxyRules::default())
                .map_err(EndpointError::Ca)?,
            secure,
            host: host.trim_matches(['[', ']']).to_owned(),
            port,
            authority,
            region: region.to_owned(),
            credentials,
        })
    }

    /// CreateControlChannel or CreateDataChannel: `path` names the node or the session.
    pub(super) async fn create_channel(
        &self,
        what: &'static str,
        path: &str,
        client_id: Option<&str>,
    ) -> Result<Token, CallError> {
        let mut body = serde_json::json!({"MessageSchemaVersion": "1.0", "RequestId": Uuid::new_v4().to_string()});
        if let Some(client_id) = client_id {
            body["ClientId"] = client_id.into();
        }
        let request = Call { what, service: "ssmmessages", path, content_type: "application/json", target: None };
        let (status, answer) = self.post(request, body.to_string()).await?;
        let answer = String::from_utf8_lossy(&answer);
        if status != StatusCode::CREATED {
            return Err(CallError::Refused { what, status, body: answer.into_owned() });
        }
        match element(&answer, "TokenValue") {
            Some(token) => Ok(Token::new(token)),
            None => Err(CallError::new(what, "the answer holds no TokenValue")),
        }
    }

    /// An operation of the SSM API; the answer is of no interest.
    pub(super) async fn call_ssm(&self, what: &'static str, target: &str, body: String) -> Result<(), CallError> {
        let content_type = "application/x-amz-json-1.1";
        let request = Call { what, service: "ssm", path: "/", content_type, target: Some(target) };
        let (status, answer) = self.post(request, body).await?;
        if status.is_success() {
            return Ok(());
        }
        Err(CallError::Refused { what, status, body: String::from_utf8_lossy(&answer).into_owned() })
    }

    /// Opens a websocket at `path`, query included.
    pub(super) async fn websocket(&self, what: &'static str, path: &str) -> Result<Socket, CallError> {
        let failed = |why: &dyn std::fmt::Display| CallError::new(what, why);
        let open = async {
            let (scheme, secure_scheme) = if self.secure { ("https", "wss") } else { ("http", "ws") };
            let mut request = Request::get(format!("{secure_scheme}://{}{path}", self.authority))
                .header(HOST, &self.authority)
                .header("connection", "Upgrade")
                .header("upgrade", "websocket")
                .header("sec-websocket-version", "13")
                .header("sec-websocket-key", generate_key())
                .body(())
                .map_err(|error| failed(&error))?;
            let url = format!("{scheme}://{}{path}", self.authority);
            let signed = self.sign("ssmmessages", "GET", &url, &[], b"").map_err(|error| failed(&error))?;
            request.headers_mut().extend(signed);
            self.dialer.dial(request).await.map_err(|error| failed(&error))
        };
        tokio::time::timeout(CALL_TIMEOUT, open).await.map_err(|_| failed(&"it took more than 15 s"))?
    }

    async fn post(&self, call: Call<'_>, body: String) -> Result<(StatusCode, Bytes), CallError> {
        let failed = |why: &dyn std::fmt::Display| CallError::new(call.what, why);
        let exchange = async {
            let mut headers = vec![("content-type", call.content_type)];
            headers.extend(call.target.map(|target| ("x-amz-target", target)));
            let scheme = if self.secure { "https" } else { "http" };
            let url = format!("{scheme}://{}{}", self.authority, call.path);
            let signed =
                self.sign(call.service, "POST", &url, &headers, body.as_bytes()).map_err(|error| failed(&error))?;
            let mut request = Request::builder()
                .method(Method::POST)
                .uri(call.path)
                .header(HOST, &self.authority)
                .header(CONTENT_TYPE, call.content_type)
                .body(Full::new(Bytes::from(body)))
                .map_err(|error| failed(&error))?;
            if let Some(target) = call.target.and_then(|target| target.parse().ok()) {
                request.headers_mut().insert("x-amz-target", target);
            }
            request.headers_mut().extend(signed);
            let stream =
                self.dialer.connect(self.secure, &self.host, self.port).await.map_err(|error| failed(&error))?;
            let (mut sender, connection) =
                hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(|error| failed(&error))?;
            let connection = tokio::spawn(connection);
            let response = sender.send_request(request).await.map_err(|error| failed(&error))?;
            let (head, body) = response.into_parts();
            let body = Limited::new(body, ANSWER_MAX).collect().await.map_err(|error| failed(&error))?;
            connection.abort();
            Ok((head.status, body.to_bytes()))
        };
        tokio::time::timeout(CALL_TIMEOUT, exchange).await.map_err(|_| failed(&"it took more than 15 s"))?
    }

    /// The headers that sign a request: authorization, date and, for temporary credentials, their token.
    fn sign(
        &self,
        service: &str,
        method: &str,
        url: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Result<http::HeaderMap, String> {
        let identity = self.credentials.clone().into();
        let params = v4::SigningParams::builder()
            .identity(&identity)
            .region(&self.region)
            .name(service)
            .time(SystemTime::now())
            .settings(SigningSettings::default())
            .build()
            .map_err(|error| error.to_string())?
            .into();
        let request = SignableRequest::new(method, url, headers.iter().copied(), SignableBody::Bytes(body))
            .map_err(|error| error.to_string())?;
        let (instructions, _) = sign(request, &params).map_err(|error| error.to_string())?.into_parts();
        let mut signed = http::HeaderMap::new();
        for (name, value) in instructions.headers() {
            let name: HeaderName = name.parse().map_err(|error| format!("{error}"))?;
            let mut value: http::HeaderValue = value.parse().map_err(|error| format!("{error}"))?;
            value.set_sensitive(true);
            signed.insert(name, value);
        }
        Ok(signed)
    }
}

#[derive(Clone, Copy)]
struct Call<'a> {
    what: &'static str,
    service: &'static str,
    path: &'a str,
    content_type: &'static str,
    target: Option<&'a str>,
}

/// The text of the first element of that name.
fn element(xml: &str, name: &str) -> Option<String> {
    let (_, rest) = xml.split_once(&format!("<{name}>"))?;
    let (text, _) = rest.split_once(&format!("</{name}>"))?;
    let unescaped = text
        .trim()
        .replace("&lt;", "<")
        .replace("&gt;", ">")
        .replace("&quot;", "\"")
        .replace("&apos;", "'")
        .replace("&amp;", "&");
    (!unescaped.is_empty()).then_some(unescaped)
}

const CALL_TIMEOUT: Duration = Duration::from_secs(15);
const ANSWER_MAX: usize = 256 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_token_is_found_whatever_the_root_is_called() {
        let answer = "<X><MessageSchemaVersion>1.0</MessageSchemaVersion><TokenValue>a&amp;b=</TokenValue></X>";
        assert_eq!(element(answer, "TokenValue").as_deref(), Some("a&b="));
        for wrong in ["", "<TokenValue></TokenValue>", "<TokenValue>a", "TokenValue"] {
            assert_eq!(element(wrong, "TokenValue"), None, "{wrong:?}");
        }
    }

    #[test]
    fn endpoints() {
        let credentials = || Credentials::new("id", "secret", None, None, "test");
        let endpoint = |url: &str| Endpoint::new(url, None, "us-east-1", credentials());
        let plain = endpoint("http://127.0.0.1:8080/").unwrap();
        assert_eq!((plain.host.as_str(), plain.port, plain.authority.as_str()), ("127.0.0.1", 8080, "127.0.0.1:8080"));
        let six = endpoint("http://[::1]:8080").unwrap();
        assert_eq!((six.host.as_str(), six.authority.as_str()), ("::1", "[::1]:8080"));
        assert_eq!(endpoint("https://ssmmessages.us-east-1.amazonaws.com").unwrap().port, 443);
        for wrong in ["127.0.0.1:8080", "ftp://x", "", "http://"] {
            assert!(matches!(endpoint(wrong), Err(EndpointError::Url(_))), "{wrong:?}");
        }
        let no_ca = Endpoint::new("https://x", Some("no PEM"), "us-east-1", credentials());
        assert!(matches!(no_ca, Err(EndpointError::Ca(_))));
    }

    #[test]
    fn signatures_name_the_service_and_region() {
        let credentials = Credentials::new("AKID", "secret", Some("session".into()), None, "test");
        let endpoint = Endpoint::new("http://h:1", None, "eu-west-1", credentials).unwrap();
        let headers = endpoint.sign("ssmmessages", "GET", "http://h:1/v1/data-channel/s?role=x", &[], b"").unwrap();
        let authorization = headers["authorization"].to_str().unwrap();
        assert!(authorization.contains("/eu-west-1/ssmmessages/aws4_request"), "{authorization}");
        assert!(authorization.contains("SignedHeaders=host;x-amz-date;x-amz-security-token"), "{authorization}");
        assert!(!format!("{headers:?}").contains("AKID"));
    }
}
