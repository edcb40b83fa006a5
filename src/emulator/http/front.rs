//! Where every request goes.
//!
//! ```text
//!   POST /                      X-Amz-Target  ──▶ api          (signed for ssm, ec2messages or tagging)
//!                               a form        ──▶ api::sts, api::user_keys  (signed for sts or iam, but for who comes with a token)
//!   POST /v1/…-channel/<id>                   ──▶ channels::create   (signed for ssmmessages)
//!   GET  /v1/…-channel/<id>     Upgrade       ──▶ channels::upgrade  (signed for ssmmessages; a client's need not be)
//! ```

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::request::Parts;
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use serde_json::Value;
use time::OffsetDateTime;
use tokio::sync::OwnedSemaphorePermit;
use uuid::Uuid;

use super::reply::{ApiError, Reply, json_ok, xml_reply};
use super::sigv4::Claim;
use crate::emulator::api::{self, assume_role, sts, user_keys, web_identity};
use crate::emulator::channels::upgrade::{is_upgrade, upgrade};
use crate::emulator::channels::{Channel, channel, create};
use crate::emulator::fault::Call;
use crate::emulator::relay::faults::FailedCall;
use crate::emulator::state::Shared;
use crate::emulator::trail::{self, Trail};

/// Answers one request. The permit is the connection's place among all of them.
pub(crate) async fn handle(
    shared: Arc<Shared>,
    permit: Arc<OwnedSemaphorePermit>,
    mut request: Request<Incoming>,
) -> Result<Reply, Infallible> {
    let on_upgrade = hyper::upgrade::on(&mut request);
    let (parts, body) = request.into_parts();
    let id = Uuid::new_v4().to_string();
    if let Some(channel) = channel(parts.uri.path()) {
        let reply = if parts.method == Method::GET && is_upgrade(&parts) {
            let caller = match Claim::read(&parts) {
                Ok(None) => Ok(None),
                _ => shared.keys.authenticate(&parts, b"", MESSAGES, OffsetDateTime::now_utc()).map(Some),
            };
            caller.and_then(|caller| upgrade(&shared, &parts, channel, caller, on_upgrade, permit))
        } else if parts.method == Method::POST {
            match read(body).await {
                // exactly 201: agents look at it
                Ok(body) => create_channel(&shared, &parts, &channel, &body)
                    .await
                    .map(|document| xml_reply(StatusCode::CREATED, document, &id)),
                Err(error) => Err(error),
            }
        } else {
            Err(ApiError::new("BadRequestException", "A channel takes POST, or GET with a websocket upgrade."))
        };
        return Ok(reply.unwrap_or_else(|error| refused(&parts, &error).message_service(&id)));
    }
    if parts.uri.path() != "/" || parts.method != Method::POST {
        return Ok(ApiError { status: StatusCode::NOT_FOUND, ..unknown() }.json(&id));
    }
    let form = parts
        .headers
        .get(CONTENT_TYPE)
        .is_some_and(|kind| kind.to_str().is_ok_and(|kind| kind.starts_with("application/x-www-form-urlencoded")));
    let body = match read(body).await {
        Ok(body) => body,
        Err(error) if form => return Ok(error.query(sts::NAMESPACE, &id)),
        Err(error) => return Ok(error.json(&id)),
    };
    Ok(match form {
        true => {
            let form = sts::Form::parse(&body);
            let of_iam = form.get("Version") == Some(user_keys::VERSION);
            let namespace = if of_iam { user_keys::NAMESPACE } else { sts::NAMESPACE };
            let answer = match of_iam {
                true => iam_call(&shared, &parts, &body, &form).await,
                false => sts_call(&shared, &parts, &body, &form, &id).await,
            };
            match answer {
                Ok(answer) => xml_reply(StatusCode::OK, answer.document(&id), &id),
                Err(error) => refused(&parts, &error).query(namespace, &id),
            }
        }
        false => match json_call(&shared, &parts, &body, &id).await {
            Ok(value) => json_ok(&value, &id),
            Err(error) => refused(&parts, &error).json(&id),
        },
    })
}

async fn iam_call(shared: &Shared, parts: &Parts, body: &[u8], form: &sts::Form) -> Result<sts::Answer, ApiError> {
    let caller = shared.keys.authenticate(parts, body, "iam", OffsetDateTime::now_utc())?;
    let name = form.get("Action").unwrap_or_default();
    unless_failed(shared.faults.fails(name), async { user_keys::call(shared, &caller, form) }).await
}

async fn sts_call(
    shared: &Shared,
    parts: &Parts,
    body: &[u8],
    form: &sts::Form,
    id: &str,
) -> Result<sts::Answer, ApiError> {
    let name = form.get("Action").unwrap_or_default();
    if name == web_identity::NAME {
        return call_with_token(shared, parts, form, id).await;
    }
    let caller = shared.keys.authenticate(parts, body, "sts", OffsetDateTime::now_utc())?;
    let answer = unless_failed(shared.faults.fails(name), async { sts::call(shared, &caller, form) }).await;
    if let Some(trail) = shared.trail.as_ref().filter(|_| Trail::has(name)) {
        let outcome = answer.as_ref().map(|answer| answer.shown.clone());
        let parameters = assume_role::request_parameters(form);
        let identity = trail::identity(&caller);
        trail.note(&trail::Call { identity, parts, service: "sts", name, parameters, outcome, request_id: id });
    }
    answer
}

/// The one call that nobody signs.
async fn call_with_token(shared: &Shared, parts: &Parts, form: &sts::Form, id: &str) -> Result<sts::Answer, ApiError> {
    let said = web_identity::said(shared, form);
    let answer = unless_failed(shared.faults.fails(web_identity::NAME), async {
        match &said {
            Ok(said) => web_identity::assume(shared, parts, form, said),
            Err(error) => Err(error.clone()),
        }
    })
    .await;
    if let Some(trail) = &shared.trail {
        let outcome = answer.as_ref().map(|answer| answer.shown.clone());
        let said = said.as_ref().ok();
        let parameters = web_identity::request_parameters(form, said);
        let (identity, name) = (trail::federated(said.map(|said| &said.who)), web_identity::NAME);
        trail.note(&trail::Call { identity, parts, service: "sts", name, parameters, outcome, request_id: id });
    }
    answer
}

async fn json_call(shared: &Shared, parts: &Parts, body: &[u8], id: &str) -> Result<Value, ApiError> {
    let header = parts.headers.get("x-amz-target").and_then(|value| value.to_str().ok());
    let (service, name) = header.and_then(api::target).ok_or_else(unknown)?;
    let caller = shared.keys.authenticate(parts, body, service, OffsetDateTime::now_utc())?;
    tracing::debug!(call = name, caller = caller.arn(), "call");
    let call = async {
        let answer = api::call(shared, &caller, name, body).await;
        if let Some(trail) = shared.trail.as_ref().filter(|_| Trail::has(name)) {
            let outcome = answer.as_ref().map(trail::shown);
            let parameters = serde_json::from_slice(body).map(|asked| trail::shown(&asked)).unwrap_or_default();
            let identity = trail::identity(&caller);
            trail.note(&trail::Call { identity, parts, service, name, parameters, outcome, request_id: id });
        }
        answer
    };
    unless_failed(shared.faults.fails(name), call).await
}

async fn create_channel(shared: &Shared, parts: &Parts, channel: &Channel, body: &[u8]) -> Result<String, ApiError> {
    let caller = shared.keys.authenticate(parts, body, MESSAGES, OffsetDateTime::now_utc())?;
    let fault = match channel {
        Channel::Data(_) => shared.faults.fails(Call::CreateDataChannel.name()),
        Channel::Control(_) => None,
    };
    unless_failed(fault, async { create::create(shared, &caller, channel, body) }).await
}

/// The answer to a call, unless it is to fail: before it is done, or after.
async fn unless_failed<T>(
    fault: Option<FailedCall>,
    call: impl Future<Output = Result<T, ApiError>>,
) -> Result<T, ApiError> {
    if let Some(FailedCall { failure, done: false }) = fault {
        return Err(ApiError::failed(failure));
    }
    let answer = call.await?;
    fault.map_or(Ok(answer), |fault| Err(ApiError::failed(fault.failure)))
}

/// The whole body, chunked or not, within a size and a time.
async fn read(body: Incoming) -> Result<Bytes, ApiError> {
    let collected = tokio::time::timeout(BODY_TIME, Limited::new(body, BODY_SIZE).collect()).await;
    match collected {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(_)) => {
            Err(ApiError::new("RequestEntityTooLargeException", "The request's body is too long or broken off."))
        }
        Err(_) => Err(ApiError::new("RequestTimeoutException", "The request's body did not arrive in time.")),
    }
}

fn refused<'a>(parts: &Parts, error: &'a ApiError) -> &'a ApiError {
    tracing::debug!(path = parts.uri.path(), code = error.code, message = error.message, "refused");
    error
}

fn unknown() -> ApiError {
    ApiError::new("UnknownOperationException", "X-Amz-Target names no operation of Systems Manager.")
}

const MESSAGES: &str = "ssmmessages";
const BODY_SIZE: usize = 1 << 20;
const BODY_TIME: Duration = Duration::from_secs(20);
