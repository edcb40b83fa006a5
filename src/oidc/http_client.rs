//! One request to a provider and its answer: one connection each, of bounded time and size, and no redirect followed.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{Method, Request, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_util::rt::TokioIo;
use zeroize::Zeroizing;

use super::endpoint::Endpoint;
use super::error::SignInError;
use crate::data_channel::Dialer;

/// From the first packet to the last byte of the answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// The largest answer: keys of a provider, or tokens with hundreds of groups, are well under it.
const MOST_BYTES: usize = 256 * 1024;

/// What a provider has answered.
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) body: Zeroizing<Vec<u8>>,
}

/// Who the client is.
pub(super) struct Client<'a> {
    pub(super) id: &'a str,
    pub(super) secret: Option<&'a str>,
    pub(super) secret_in_body: bool,
}

/// Gets a document.
pub(super) async fn get(dialer: &Dialer, endpoint: &Endpoint) -> Result<Answer, SignInError> {
    let request = request(Method::GET, endpoint);
    exchange(dialer, endpoint, request.body(Full::default())).await
}

/// Sends a form as this client (RFC 6749, section 2.3.1). Who has no secret says only who it is.
pub(super) async fn post(
    dialer: &Dialer,
    endpoint: &Endpoint,
    client: &Client<'_>,
    fields: &[(&str, &str)],
) -> Result<Answer, SignInError> {
    exchange(dialer, endpoint, form(endpoint, client, fields)).await
}

fn form(endpoint: &Endpoint, client: &Client<'_>, fields: &[(&str, &str)]) -> http::Result<Request<Full<Bytes>>> {
    // no reallocation leaves a copy of a secret behind
    let size: usize = fields.iter().map(|(name, value)| name.len() + 3 * value.len() + 2).sum();
    let secret_size = client.secret.map_or(0, str::len);
    let mut form =
        form_urlencoded::Serializer::new(String::with_capacity(size + 3 * (client.id.len() + secret_size) + 64));
    form.extend_pairs(fields);
    let mut request = request(Method::POST, endpoint);
    match client.secret {
        Some(secret) if !client.secret_in_body => {
            let encoded = |text: &str| -> Zeroizing<String> {
                Zeroizing::new(form_urlencoded::byte_serialize(text.as_bytes()).collect())
            };
            let pair = Zeroizing::new(format!("{}:{}", *encoded(client.id), *encoded(secret)));
            let value = Zeroizing::new(format!("Basic {}", *Zeroizing::new(STANDARD.encode(pair.as_bytes()))));
            if let Ok(mut value) = http::HeaderValue::from_str(&value) {
                value.set_sensitive(true);
                request = request.header(header::AUTHORIZATION, value);
            }
        }
        secret => {
            form.append_pair("client_id", client.id);
            if let Some(secret) = secret {
                form.append_pair("client_secret", secret);
            }
        }
    }
    let body = Bytes::from_owner(Zeroizing::new(form.finish().into_bytes()));
    let request = request.header(header::CONTENT_TYPE, "application/x-www-form-urlencoded");
    request.body(Full::new(body))
}

fn request(method: Method, endpoint: &Endpoint) -> http::request::Builder {
    Request::builder()
        .method(method)
        .uri(&endpoint.target)
        .header(header::HOST, &endpoint.authority)
        .header(header::ACCEPT, "application/json")
        .header(header::CONNECTION, "close")
}

async fn exchange(
    dialer: &Dialer,
    endpoint: &Endpoint,
    request: http::Result<Request<Full<Bytes>>>,
) -> Result<Answer, SignInError> {
    let request = request.map_err(|error| SignInError::Unusable(format!("no such request can be made: {error}")))?;
    let authority = &endpoint.authority;
    match tokio::time::timeout(PATIENCE, exchanged(dialer, endpoint, request)).await {
        Ok(answer) => answer,
        Err(_) => Err(SignInError::Unreachable(format!("{authority} has not answered in {} s", PATIENCE.as_secs()))),
    }
}

async fn exchanged(dialer: &Dialer, endpoint: &Endpoint, request: Request<Full<Bytes>>) -> Result<Answer, SignInError> {
    let Endpoint { secure, host, port, authority, .. } = endpoint;
    let stream = dialer.connect(*secure, host, *port).await;
    let stream = stream.map_err(|error| SignInError::Unreachable(error.to_string()))?;
    let broken = |error: hyper::Error| SignInError::Unreachable(format!("{authority}: {error}"));
    let handshake = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await;
    let (mut sender, connection) = handshake.map_err(broken)?;
    let answered = async {
        let response = sender.send_request(request).await.map_err(broken)?;
        let status = response.status();
        if status.is_redirection() {
            let why = format!("{authority} sends elsewhere (HTTP status {}), and nobody follows", status.as_u16());
            return Err(SignInError::Unusable(why));
        }
        let body = Limited::new(response.into_body(), MOST_BYTES).collect().await;
        let body =
            body.map_err(|_| SignInError::Unreachable(format!("{authority}: the answer broke off, or has no end")))?;
        Ok(Answer { status: status.as_u16(), body: Zeroizing::new(body.to_bytes().to_vec()) })
    };
    tokio::pin!(answered);
    tokio::select! {
        biased;
        answer = &mut answered => answer,
        // all that will come is there
        _ = connection => answered.await,
    }
}
