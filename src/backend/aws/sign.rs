//! The signed upgrade: since 1.2.764.0 AWS's client signs the data channel's websocket request with SigV4.
//!
//! ```text
//!   GET /v1/data-channel/<session>?role=publish_subscribe HTTP/1.1
//!   Host: ssmmessages.<region>.amazonaws.com          ─┐
//!   X-Amz-Date: 20261122T033000Z                       ├─ signed, with the empty body's hash and the query
//!   X-Amz-Security-Token: …  (temporary credentials)  ─┘
//!   Authorization: AWS4-HMAC-SHA256 Credential=…/<region>/ssmmessages/aws4_request, SignedHeaders=host;…
//!   Connection, Upgrade, Sec-WebSocket-…: not signed, a proxy may change them
//! ```
//!
//! A URL that already carries a signature is left alone. A signature is good for minutes, so every dial makes a new one.

use std::time::SystemTime;

use aws_credential_types::Credentials;
use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningSettings, sign};
use aws_sigv4::sign::v4;
use http::{HeaderName, HeaderValue, Request, Uri};
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;

/// The service's name in the credential scope.
const SERVICE: &str = "ssmmessages";

/// The upgrade could not be signed or formed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the data channel's websocket request could not be signed: {0}")]
pub(super) struct SignError(String);

/// The upgrade request for a checked stream URL.
pub(super) fn upgrade_request(
    uri: &Uri,
    region: &str,
    credentials: &Credentials,
    now: SystemTime,
) -> Result<Request<()>, SignError> {
    let mut request = uri.clone().into_client_request().map_err(|_| SignError("the URL is not usable".into()))?;
    if is_signed(uri) {
        return Ok(request);
    }
    let host = request.headers().get(http::header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let identity = credentials.clone().into();
    let params = v4::SigningParams::builder()
        .identity(&identity)
        .region(region)
        .name(SERVICE)
        .time(now)
        .settings(SigningSettings::default())
        .build()
        .map_err(|_| SignError("a signing parameter is missing".into()))?
        .into();
    // The signer reads the URL as an HTTP one.
    let url = match uri.scheme_str() {
        Some("wss") => uri.to_string().replacen("wss://", "https://", 1),
        _ => uri.to_string().replacen("ws://", "http://", 1),
    };
    let headers = [("host", host)];
    let signable = SignableRequest::new("GET", url, headers.into_iter(), SignableBody::Bytes(b""))
        .map_err(|_| SignError("the URL can't be put into canonical form".into()))?;
    let (instructions, _) = sign(signable, &params).map_err(|_| SignError("the signature failed".into()))?.into_parts();
    let (added, _) = instructions.into_parts();
    for header in added {
        let name = HeaderName::from_bytes(header.name().as_bytes()).map_err(|_| SignError("a header's name".into()))?;
        let mut value = HeaderValue::from_str(header.value()).map_err(|_| SignError("a header's value".into()))?;
        // Hides it from anything that prints requests.
        value.set_sensitive(true);
        request.headers_mut().insert(name, value);
    }
    Ok(request)
}

/// Whether the service has signed the URL itself.
fn is_signed(uri: &Uri) -> bool {
    let query = uri.query().unwrap_or_default();
    query.split('&').any(|pair| pair.split('=').next().is_some_and(|name| name.eq_ignore_ascii_case("X-Amz-Signature")))
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;

    const URL: &str =
        "wss://ssmmessages.eu-west-1.amazonaws.com/v1/data-channel/bob-01?role=publish_subscribe&cell-number=A";

    fn signed(url: &str, token: Option<&str>) -> Request<()> {
        let credentials = Credentials::new("AKIDEXAMPLE", "secret", token.map(str::to_owned), None, "test");
        upgrade_request(
            &url.parse().unwrap(),
            "eu-west-1",
            &credentials,
            UNIX_EPOCH + Duration::from_secs(1_700_000_000),
        )
        .unwrap()
    }

    fn header<'a>(request: &'a Request<()>, name: &str) -> &'a str {
        request.headers().get(name).map(|value| value.to_str().unwrap()).unwrap_or_default()
    }

    /// The signature made by hand, step by step, from the description of Signature Version 4.
    fn expected(token: Option<&str>, date: &str) -> String {
        use hmac::{KeyInit as _, Mac as _};
        use sha2::Digest as _;
        let mac = |key: &[u8], text: &str| {
            let mut mac = hmac::Hmac::<sha2::Sha256>::new_from_slice(key).unwrap();
            mac.update(text.as_bytes());
            mac.finalize().into_bytes().to_vec()
        };
        let (token_line, token_name) = match token {
            Some(token) => (format!("x-amz-security-token:{token}\n"), ";x-amz-security-token"),
            None => (String::new(), ""),
        };
        let canonical = format!(
            "GET\n/v1/data-channel/bob-01\ncell-number=A&role=publish_subscribe\n\
             host:ssmmessages.eu-west-1.amazonaws.com\nx-amz-date:{date}\n{token_line}\n\
             host;x-amz-date{token_name}\n{}",
            hex::encode(sha2::Sha256::digest(b""))
        );
        let scope = format!("{}/eu-west-1/ssmmessages/aws4_request", &date[..8]);
        let to_sign = format!("AWS4-HMAC-SHA256\n{date}\n{scope}\n{}", hex::encode(sha2::Sha256::digest(&canonical)));
        let key = mac(b"AWS4secret", &date[..8]);
        let key = mac(&mac(&mac(&key, "eu-west-1"), "ssmmessages"), "aws4_request");
        format!(
            "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/{scope}, SignedHeaders=host;x-amz-date{token_name}, Signature={}",
            hex::encode(mac(&key, &to_sign))
        )
    }

    #[test]
    fn host_date_and_token_are_signed_and_nothing_else() {
        for token in [None, Some("session-token")] {
            let request = signed(URL, token);
            assert_eq!(header(&request, "x-amz-date"), "20231114T221320Z");
            assert_eq!(header(&request, "authorization"), expected(token, "20231114T221320Z"));
            assert_eq!(header(&request, "x-amz-security-token"), token.unwrap_or_default());
            assert!(request.headers().contains_key("sec-websocket-key"));
            assert!(!format!("{request:?}").contains("AKIDEXAMPLE"));
        }
    }

    #[test]
    fn a_signed_url_is_left_alone() {
        let request = signed(&format!("{URL}&X-Amz-Signature=00ff"), None);
        assert!(!request.headers().contains_key("authorization") && !request.headers().contains_key("x-amz-date"));
    }

    #[test]
    fn a_port_belongs_to_the_signed_host() {
        let request = signed("ws://127.0.0.1:4100/v1/data-channel/bob-01", None);
        assert_eq!(header(&request, "host"), "127.0.0.1:4100");
        assert!(header(&request, "authorization").contains("SignedHeaders=host;x-amz-date,"));
    }
}
