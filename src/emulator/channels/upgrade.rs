//! From an HTTP request to an open websocket: the upgrade, then the text message with the token.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use http::header::{CONNECTION, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION, UPGRADE};
use http::request::Parts;
use http::{HeaderName, HeaderValue, Response, StatusCode};
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use portcullis_protocol::open::{OpenControlChannel, OpenDataChannel, Party};
use tokio::sync::OwnedSemaphorePermit;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::{Message, protocol::Role};

use super::{Channel, control, session_is_over};
use crate::emulator::api::resources::{session_arn, session_arn_by_user, session_facts};
use crate::emulator::end::End;
use crate::emulator::http::caller::Caller;
use crate::emulator::http::reply::{ApiError, Reply};
use crate::emulator::nodes::Facts;
use crate::emulator::relay::socket::{Socket, websocket_config};
use crate::emulator::session::Session;
use crate::emulator::state::Shared;

type Websocket = WebSocketStream<TokioIo<Upgraded>>;

/// Whether a request asks for a websocket.
pub(crate) fn is_upgrade(parts: &Parts) -> bool {
    header_has(parts, &UPGRADE, "websocket")
}

/// Agrees to the upgrade, if the caller may have this channel. A client's upgrade need not be signed: its token counts.
pub(crate) fn upgrade(
    shared: &Arc<Shared>,
    parts: &Parts,
    channel: Channel,
    caller: Option<Caller>,
    on_upgrade: OnUpgrade,
    permit: Arc<OwnedSemaphorePermit>,
) -> Result<Reply, ApiError> {
    let bad = |text: &str| ApiError::new("BadRequestException", text);
    let key = parts.headers.get(SEC_WEBSOCKET_KEY).ok_or_else(|| bad("Sec-WebSocket-Key is missing."))?;
    if !header_has(parts, &CONNECTION, "upgrade") || !header_has(parts, &SEC_WEBSOCKET_VERSION, "13") {
        return Err(bad("The websocket upgrade needs Connection: Upgrade and Sec-WebSocket-Version: 13."));
    }
    let session = match &channel {
        Channel::Control(node) => {
            let caller = caller.as_ref().ok_or_else(unsigned)?;
            caller.may_as_agent("ssmmessages:OpenControlChannel", node)?;
            None
        }
        Channel::Data(id) => {
            if shared.faults.refuses_upgrade() {
                return Err(bad("Refused on request."));
            }
            let session = shared.sessions.get(id).filter(|session| !session.is_over()).ok_or_else(session_is_over)?;
            if let Some(caller) = &caller {
                may_open(shared, caller, &session)?;
            } else if shared.require_signed_upgrade {
                return Err(unsigned());
            }
            Some(session)
        }
    };
    let accept = HeaderValue::from_str(&derive_accept_key(key.as_bytes())).map_err(|_| bad("Sec-WebSocket-Key."))?;
    let shared = shared.clone();
    let tasks = shared.tasks.clone();
    tasks.spawn(async move {
        let stop = shared.stop.clone();
        let serving = async {
            let Ok(Ok(upgraded)) = tokio::time::timeout(OPENING, on_upgrade).await else { return };
            let config = websocket_config(shared.most_message);
            let io = TokioIo::new(upgraded);
            let stream = WebSocketStream::from_raw_socket(io, Role::Server, Some(config)).await;
            match (channel, session) {
                (Channel::Control(node), _) => serve_control(&shared, &node, stream).await,
                (Channel::Data(_), Some(session)) => serve_data(session, caller, stream).await,
                (Channel::Data(_), None) => {}
            }
        };
        tokio::select! {
            () = serving => {}
            () = stop.cancelled() => {}
        }
        drop(permit);
    });
    let mut reply = Response::new(Default::default());
    *reply.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = reply.headers_mut();
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(SEC_WEBSOCKET_ACCEPT, accept);
    Ok(reply)
}

/// An agent's key opens the data channels of its node; anybody else's is asked about the session, under either name that
/// policies have for it.
fn may_open(shared: &Shared, caller: &Caller, session: &Session) -> Result<(), ApiError> {
    const OPEN: &str = "ssmmessages:OpenDataChannel";
    if caller.is_agent() {
        return caller.may_as_agent(OPEN, session.target());
    }
    let facts = session_facts(caller, Some(session));
    let (by_id, by_user) = (session_arn(shared, session.id()), session_arn_by_user(shared, session));
    caller.may_under_either(OPEN, [&by_id, &by_user], &facts)
}

async fn serve_control(shared: &Shared, node: &str, mut stream: Websocket) {
    let Some(text) = first_text(&mut stream).await else { return };
    let Ok(open) = OpenControlChannel::decode(&text) else { return };
    if !shared.nodes.admits(node, open.token.reveal()) {
        tracing::debug!(node, "a control channel came with a wrong token");
        return;
    }
    let known = |text: String| (!text.is_empty()).then_some(text);
    let facts = Facts {
        agent_version: known(open.agent_version),
        platform_type: known(capital(&open.platform_type)),
        ..Facts::default()
    };
    shared.nodes.report(node, facts);
    control::serve(shared, node, stream).await;
}

async fn serve_data(session: Arc<Session>, caller: Option<Caller>, mut stream: Websocket) {
    let Some(text) = first_text(&mut stream).await else { return };
    let Ok(open) = OpenDataChannel::decode(&text) else { return };
    let end = match &open.party {
        Party::Client { .. } => End::Client,
        Party::Agent { instance_id } => {
            // Unlike a client's, an agent's upgrade must be signed, and be the node's own.
            let action = "ssmmessages:OpenDataChannel";
            let signed = caller.is_some_and(|caller| caller.may_as_agent(action, session.target()).is_ok());
            if !signed || instance_id != session.target() {
                tracing::debug!(session = session.id(), "an agent came that is not the session's");
                return;
            }
            End::Agent
        }
    };
    if !session.admits(end, open.token.reveal()) {
        tracing::debug!(session = session.id(), ?end, "a data channel came with a wrong token");
        return;
    }
    if session.is_kept_away(end) {
        return;
    }
    Socket::new(stream, session, end).run().await;
}

/// The message that opens every channel. Whoever does not send it soon is cut off.
async fn first_text(stream: &mut Websocket) -> Option<String> {
    let first = async {
        loop {
            match stream.next().await {
                Some(Ok(Message::Text(text))) => return Some(text.to_string()),
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                _ => return None,
            }
        }
    };
    tokio::time::timeout(OPENING, first).await.ok().flatten()
}

fn header_has(parts: &Parts, name: &HeaderName, word: &str) -> bool {
    let values = parts.headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).any(|part| part.trim().eq_ignore_ascii_case(word))
}

fn unsigned() -> ApiError {
    ApiError::new("MissingAuthenticationTokenException", "Missing Authentication Token")
}

/// `linux` on the wire, `Linux` in the API.
fn capital(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map(|first| first.to_ascii_uppercase().to_string() + chars.as_str()).unwrap_or_default()
}

const OPENING: Duration = Duration::from_secs(15);
