//! The handshake's three JSON bodies (payload types 5, 6 and 7).
//!
//! ```text
//!   agent                                                                              client
//!     │ {"AgentVersion":"3.3.0.0","RequestedClientActions":[                             │
//!     │   {"ActionType":"SessionType","ActionParameters":                                │
//!     │     {"SessionType":"Port","Properties":{"portNumber":"22"}}}]}                   │
//!     │ ───────────────────────────────────────────────────────────────────────────────▶ │
//!     │           {"ClientVersion":"1.2.764.0","ProcessedClientActions":[                │
//!     │             {"ActionType":"SessionType","ActionStatus":1,                        │
//!     │              "ActionResult":null,"Error":""}],"Errors":null}                     │
//!     │ ◀─────────────────────────────────────────────────────────────────────────────── │
//!     │ {"HandshakeTimeToComplete":732061,"CustomerMessage":""}                          │
//!     │ ───────────────────────────────────────────────────────────────────────────────▶ │
//! ```
//!
//! Sessions of the types Port and NonInteractiveCommands always have it; the others only if their document asks for
//! encryption with a KMS key (RequireHandshake of each of agent/session/plugins, and sessionplugin/sessionplugin.go,
//! Execute). The names are those of agent/session/contracts/model.go and of src/message/handshakemessage.go.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::payload::{PayloadError, from_json, null_as_default, to_json};

/// What the agent asks of the client before anything else.
#[derive(Clone, Debug, PartialEq)]
pub struct HandshakeRequest {
    /// Such as `3.3.0.0`; clients compare all four components (src/version/versionvalidator.go).
    pub agent_version: String,
    /// What the client shall do, in order: the session's type first (agent/session/datachannel/datachannel.go,
    /// buildHandshakeRequestPayload).
    pub actions: Vec<ClientAction>,
}

/// One thing the agent asks for.
#[derive(Clone, Debug, PartialEq)]
pub enum ClientAction {
    /// Be a client for this type of session.
    SessionType(SessionType),
    /// Encrypt the data with a key from KMS.
    KmsEncryption(KmsEncryption),
    /// Something newer than this crate.
    Other {
        /// Its name.
        name: String,
        /// Its parameters.
        parameters: Value,
    },
}

/// The session's type and, for ports, the document's properties: SessionTypeRequest in
/// agent/session/contracts/model.go.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SessionType {
    /// `Standard_Stream`, `InteractiveCommands`, `NonInteractiveCommands` or `Port`.
    #[serde(rename = "SessionType")]
    pub name: String,
    /// The properties of the session's document as the agent resolved them; null for all but `Port`
    /// (GetPluginParameters of each of agent/session/plugins).
    #[serde(rename = "Properties", default)]
    pub properties: Value,
}

/// The parameters of the request for encryption: KMSEncryptionRequest in agent/session/contracts/model.go.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct KmsEncryption {
    /// The key's ARN.
    #[serde(rename = "KMSKeyId", default)]
    pub key_id: String,
    /// Random, in base64; newer agents send it (buildHandshakeRequestPayload), and the client of that time does not
    /// read it (src/message/handshakemessage.go).
    #[serde(rename = "Challenge", default)]
    pub challenge: String,
}

impl HandshakeRequest {
    /// Reads the body of a frame of type 5.
    ///
    /// # Errors
    ///
    /// [`PayloadError`] if the body is not the JSON that it must be.
    pub fn decode(payload: &[u8]) -> Result<Self, PayloadError> {
        let wire: WireRequest = from_json(REQUEST, payload)?;
        let actions = wire.actions.into_iter().map(ClientAction::from_wire).collect::<Result<_, _>>()?;
        Ok(Self { agent_version: wire.agent_version, actions })
    }

    /// Writes the body of a frame of type 5.
    pub fn encode(&self) -> Bytes {
        to_json(&WireRequest {
            agent_version: self.agent_version.clone(),
            actions: self.actions.iter().map(ClientAction::to_wire).collect(),
        })
    }
}

impl ClientAction {
    /// `SessionType`, `KMSEncryption` or the unknown name.
    pub fn name(&self) -> &str {
        match self {
            Self::SessionType(_) => SESSION_TYPE,
            Self::KmsEncryption(_) => KMS_ENCRYPTION,
            Self::Other { name, .. } => name,
        }
    }

    fn from_wire(wire: WireAction) -> Result<Self, PayloadError> {
        let refuse = |error| PayloadError::new(REQUEST, error);
        Ok(match wire.name.as_str() {
            SESSION_TYPE => Self::SessionType(serde_json::from_value(wire.parameters).map_err(refuse)?),
            KMS_ENCRYPTION => Self::KmsEncryption(serde_json::from_value(wire.parameters).map_err(refuse)?),
            _ => Self::Other { name: wire.name, parameters: wire.parameters },
        })
    }

    fn to_wire(&self) -> WireAction {
        let parameters = match self {
            Self::SessionType(session_type) => serde_json::to_value(session_type).unwrap_or_default(),
            Self::KmsEncryption(encryption) => serde_json::to_value(encryption).unwrap_or_default(),
            Self::Other { parameters, .. } => parameters.clone(),
        };
        WireAction { name: self.name().to_owned(), parameters }
    }
}

/// What the client did about the request. It is sent once: a second one with another sequence number makes the agent's
/// reader hang for good (observed).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct HandshakeResponse {
    /// Such as `1.2.764.0`; the agent turns features on and off by it (see [`crate::version`]).
    #[serde(rename = "ClientVersion", default)]
    pub client_version: String,
    /// One entry for each action.
    #[serde(rename = "ProcessedClientActions", default, deserialize_with = "null_as_default")]
    pub actions: Vec<ProcessedAction>,
    /// Further errors; `None` is written as null, as the client does. Where an action failed the client lists its error
    /// here a second time (src/datachannel/streaming.go, handleHandshakeRequest); the agent does not look
    /// (handleHandshakeResponse).
    #[serde(rename = "Errors", default)]
    pub errors: Option<Vec<String>>,
}

/// What came of one action.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ProcessedAction {
    /// The action's name.
    #[serde(rename = "ActionType", default)]
    pub name: String,
    /// Everything but success makes the agent fail the session (agent/session/datachannel/datachannel.go,
    /// handleHandshakeResponse).
    #[serde(rename = "ActionStatus", default)]
    pub status: ActionStatus,
    /// Depends on the action.
    #[serde(rename = "ActionResult", default)]
    pub result: Value,
    /// Why it failed.
    #[serde(rename = "Error", default, deserialize_with = "null_as_default")]
    pub error: String,
}

/// See [`ProcessedAction`]. The numbers are ActionStatus in agent/session/contracts/model.go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(from = "u32", into = "u32")]
pub enum ActionStatus {
    /// 0: left out. The client of AWS does so for actions it does not know: it puts the number of Unsupported in the
    /// result instead (src/datachannel/streaming.go, handleHandshakeRequest).
    #[default]
    Unset,
    /// 1.
    Success,
    /// 2.
    Failed,
    /// 3.
    Unsupported,
    /// Any other number.
    Unknown(u32),
}

impl From<u32> for ActionStatus {
    fn from(number: u32) -> Self {
        match number {
            0 => Self::Unset,
            1 => Self::Success,
            2 => Self::Failed,
            3 => Self::Unsupported,
            other => Self::Unknown(other),
        }
    }
}

impl From<ActionStatus> for u32 {
    fn from(status: ActionStatus) -> Self {
        match status {
            ActionStatus::Unset => 0,
            ActionStatus::Success => 1,
            ActionStatus::Failed => 2,
            ActionStatus::Unsupported => 3,
            ActionStatus::Unknown(number) => number,
        }
    }
}

impl HandshakeResponse {
    /// Reads the body of a frame of type 6.
    ///
    /// # Errors
    ///
    /// [`PayloadError`] if the body is not the JSON that it must be.
    pub fn decode(payload: &[u8]) -> Result<Self, PayloadError> {
        from_json("handshake response", payload)
    }

    /// Writes the body of a frame of type 6.
    pub fn encode(&self) -> Bytes {
        to_json(self)
    }
}

/// The agent is content; data may flow.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HandshakeComplete {
    /// How long the handshake took, in nanoseconds, as Go writes a Duration (HandshakeCompletePayload in
    /// agent/session/contracts/model.go).
    #[serde(rename = "HandshakeTimeToComplete", default)]
    pub nanoseconds: i64,
    /// A text for the user; empty most of the time (agent/session/datachannel/datachannel.go,
    /// buildHandshakeCompletePayload).
    #[serde(rename = "CustomerMessage", default)]
    pub customer_message: String,
}

impl HandshakeComplete {
    /// Reads the body of a frame of type 7.
    ///
    /// # Errors
    ///
    /// [`PayloadError`] if the body is not the JSON that it must be.
    pub fn decode(payload: &[u8]) -> Result<Self, PayloadError> {
        from_json("notice that the handshake is complete", payload)
    }

    /// Writes the body of a frame of type 7.
    pub fn encode(&self) -> Bytes {
        to_json(self)
    }
}

#[derive(Serialize, Deserialize)]
struct WireRequest {
    #[serde(rename = "AgentVersion", default)]
    agent_version: String,
    #[serde(rename = "RequestedClientActions", default, deserialize_with = "null_as_default")]
    actions: Vec<WireAction>,
}

#[derive(Serialize, Deserialize)]
struct WireAction {
    #[serde(rename = "ActionType", default)]
    name: String,
    #[serde(rename = "ActionParameters", default)]
    parameters: Value,
}

const REQUEST: &str = "handshake request";
const SESSION_TYPE: &str = "SessionType";
const KMS_ENCRYPTION: &str = "KMSEncryption";
