//! CreateControlChannel and CreateDataChannel: the agent asks for a token for its websocket.

use serde::Deserialize;

use super::{Channel, session_is_over};
use crate::emulator::end::End;
use crate::emulator::fault::Failure;
use crate::emulator::http::caller::Caller;
use crate::emulator::http::reply::ApiError;
use crate::emulator::state::Shared;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Body {
    message_schema_version: String,
    #[allow(dead_code, reason = "required of the caller, needed by nobody")]
    request_id: String,
}

/// Answers with a token, in XML.
pub(crate) fn create(shared: &Shared, caller: &Caller, channel: &Channel, body: &[u8]) -> Result<String, ApiError> {
    let body: Body = serde_json::from_slice(body).map_err(|_| {
        ApiError::new("BadRequestException", "The body must be JSON with MessageSchemaVersion and RequestId.")
    })?;
    if body.message_schema_version != "1.0" {
        return Err(ApiError::new("BadRequestException", "MessageSchemaVersion must be 1.0."));
    }
    let (name, token) = match channel {
        Channel::Control(node) => {
            caller.may_as_agent("ssmmessages:CreateControlChannel", node)?;
            let token = shared.nodes.issue_token(node, shared.token_lifetime);
            let token = token.ok_or_else(|| ApiError::new("ThrottlingException", "There are too many nodes."))?;
            ("CreateControlChannelResponse", token)
        }
        Channel::Data(id) => {
            let session = shared.sessions.get(id);
            // Without a session there is no node; a key for one node only must not learn more than that.
            let node = session.as_ref().map_or("*", |session| session.target());
            caller.may_as_agent("ssmmessages:CreateDataChannel", node)?;
            let session = session.ok_or_else(session_is_over)?;
            if session.is_kept_away(End::Agent) {
                return Err(ApiError::failed(Failure::Unavailable));
            }
            let token = session.issue_token(End::Agent, shared.token_lifetime).ok_or_else(session_is_over)?;
            ("CreateDataChannelResponse", token)
        }
    };
    Ok(format!("<{name}><MessageSchemaVersion>1.0</MessageSchemaVersion><TokenValue>{token}</TokenValue></{name}>"))
}
