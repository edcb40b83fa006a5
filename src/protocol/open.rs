//! The text message that opens a websocket: who is there, and the token that lets it in.
//!
//! ```text
//!  client → data channel    MessageSchemaVersion, RequestId, TokenValue, ClientId, ClientVersion
//!  agent  → data channel    MessageSchemaVersion, RequestId, TokenValue, ClientInstanceId, ClientId ("")
//!  agent  → control channel MessageSchemaVersion, RequestId, TokenValue, AgentVersion, PlatformType, Cookie (null)
//! ```
//!
//! Nobody answers it: a token that is not right is answered by closing the socket. It is a text message (RFC 6455,
//! section 5.6); everything after it is binary.
//!
//! The names are those of OpenDataChannelInput in src/service/service.go (client) and agent/session/service/api.go
//! (agent), and of OpenControlChannelInput in the latter; they are filled in by src/datachannel/streaming.go,
//! FinalizeDataChannelHandshake, agent/session/datachannel/datachannel.go, Open, and
//! agent/session/controlchannel/controlchannel.go, Open.

use core::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

use crate::payload::{PayloadError, from_json};

/// A secret that opens one websocket. Its `Debug` says only that there is one.
#[derive(Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Token(String);

impl Token {
    /// A token with this text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The secret text, for comparison or for the wire.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_empty() { "Token(empty)" } else { "Token(hidden)" })
    }
}

impl From<String> for Token {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl From<&str> for Token {
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}

/// Opens a data channel, from either end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenDataChannel {
    /// A UUID, new for every open.
    pub request_id: String,
    /// From StartSession or ResumeSession (client; `TokenValue` in the answers of both, AWS Systems Manager API
    /// Reference) or CreateDataChannel (agent; agent/session/service/service.go).
    pub token: Token,
    /// Which end.
    pub party: Party,
}

/// Who opens a data channel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Party {
    /// The client. A client that is not AWS's own may leave out both, although the service's model in
    /// src/service/service.go calls the id required.
    Client {
        /// A UUID, the same again after a resume (src/datachannel/streaming.go, Initialize and Reconnect).
        id: Option<String>,
        /// Such as `1.2.764.0`.
        version: Option<String>,
    },
    /// The agent, known by a `ClientInstanceId`.
    Agent {
        /// The node's id, such as `mi-0123456789abcdef0`.
        instance_id: String,
    },
}

impl OpenDataChannel {
    /// The client's message. `client_id` stays the same when the session is resumed; `request_id` does not.
    pub fn client(request_id: Uuid, token: impl Into<Token>, client_id: Uuid, version: impl Into<String>) -> Self {
        Self {
            request_id: request_id.to_string(),
            token: token.into(),
            party: Party::Client { id: Some(client_id.to_string()), version: Some(version.into()) },
        }
    }

    /// The agent's message.
    pub fn agent(request_id: Uuid, token: impl Into<Token>, instance_id: impl Into<String>) -> Self {
        Self {
            request_id: request_id.to_string(),
            token: token.into(),
            party: Party::Agent { instance_id: instance_id.into() },
        }
    }

    /// Reads the message. What it is told by is `ClientInstanceId`: only the agent has one
    /// (agent/session/service/api.go against src/service/service.go).
    ///
    /// # Errors
    ///
    /// [`PayloadError`] if the text is not the JSON that it must be, or of neither end.
    pub fn decode(text: &str) -> Result<Self, PayloadError> {
        let wire: WireData = from_json("request to open a data channel", text.as_bytes())?;
        let party = match wire.client_instance_id {
            Some(instance_id) => Party::Agent { instance_id },
            None => Party::Client { id: wire.client_id, version: wire.client_version },
        };
        Ok(Self { request_id: wire.request_id, token: wire.token, party })
    }

    /// Writes the message.
    pub fn encode(&self) -> String {
        let (client_instance_id, client_id, client_version) = match &self.party {
            Party::Agent { instance_id } => (Some(instance_id.clone()), Some(String::new()), None),
            Party::Client { id, version } => (None, id.clone(), version.clone()),
        };
        to_text(&WireData {
            schema_version: SCHEMA_VERSION.to_owned(),
            request_id: self.request_id.clone(),
            token: self.token.clone(),
            client_instance_id,
            client_id,
            client_version,
        })
    }
}

/// Opens the agent's control channel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenControlChannel {
    /// `1.0`.
    #[serde(rename = "MessageSchemaVersion", default)]
    pub schema_version: String,
    /// A UUID, new for every open.
    #[serde(rename = "RequestId", default)]
    pub request_id: String,
    /// From CreateControlChannel (agent/session/controlchannel/controlchannel.go, getControlChannelToken).
    #[serde(rename = "TokenValue")]
    pub token: Token,
    /// Such as `3.3.0.0`.
    #[serde(rename = "AgentVersion", default)]
    pub agent_version: String,
    /// Such as `linux`.
    #[serde(rename = "PlatformType", default)]
    pub platform_type: String,
    /// Null: the agent never sets it, and Go writes what is not set.
    #[serde(rename = "Cookie", default)]
    pub cookie: Value,
}

impl OpenControlChannel {
    /// The agent's message.
    pub fn new(request_id: Uuid, token: impl Into<Token>, agent_version: impl Into<String>) -> Self {
        Self {
            schema_version: SCHEMA_VERSION.to_owned(),
            request_id: request_id.to_string(),
            token: token.into(),
            agent_version: agent_version.into(),
            platform_type: PLATFORM.to_owned(),
            cookie: Value::Null,
        }
    }

    /// Reads the message.
    ///
    /// # Errors
    ///
    /// [`PayloadError`] if the text is not the JSON that it must be, or of neither end.
    pub fn decode(text: &str) -> Result<Self, PayloadError> {
        from_json("request to open a control channel", text.as_bytes())
    }

    /// Writes the message.
    pub fn encode(&self) -> String {
        to_text(self)
    }
}

#[derive(Serialize, Deserialize)]
struct WireData {
    #[serde(rename = "MessageSchemaVersion", default)]
    schema_version: String,
    #[serde(rename = "RequestId", default)]
    request_id: String,
    #[serde(rename = "TokenValue")]
    token: Token,
    #[serde(rename = "ClientInstanceId", default, skip_serializing_if = "Option::is_none")]
    client_instance_id: Option<String>,
    #[serde(rename = "ClientId", default, skip_serializing_if = "Option::is_none")]
    client_id: Option<String>,
    #[serde(rename = "ClientVersion", default, skip_serializing_if = "Option::is_none")]
    client_version: Option<String>,
}

fn to_text<T: Serialize>(value: &T) -> String {
    serde_json::to_string(value).unwrap_or_default()
}

/// MessageSchemaVersion in agent/session/config/config.go and src/config/config.go.
const SCHEMA_VERSION: &str = "1.0";
/// agent/platform/platform_unix.go, getPlatformType.
const PLATFORM: &str = "linux";

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_ends_are_told_apart() {
        let client = OpenDataChannel::client(Uuid::nil(), "t", Uuid::max(), "1.2.764.0");
        assert_eq!(
            client.encode(),
            concat!(
                r#"{"MessageSchemaVersion":"1.0","RequestId":"00000000-0000-0000-0000-000000000000","TokenValue":"t","#,
                r#""ClientId":"ffffffff-ffff-ffff-ffff-ffffffffffff","ClientVersion":"1.2.764.0"}"#,
            )
        );
        assert_eq!(OpenDataChannel::decode(&client.encode()), Ok(client));

        let agent = OpenDataChannel::agent(Uuid::nil(), "t", "mi-1");
        assert!(agent.encode().contains(r#""ClientInstanceId":"mi-1","ClientId":"""#));
        assert_eq!(OpenDataChannel::decode(&agent.encode()), Ok(agent));

        // a client that is not AWS's own
        let third = r#"{"MessageSchemaVersion":"1.0","RequestId":"r","TokenValue":"t"}"#;
        let party = OpenDataChannel::decode(third).unwrap().party;
        assert_eq!(party, Party::Client { id: None, version: None });
    }

    #[test]
    fn control_channel() {
        let open = OpenControlChannel::new(Uuid::nil(), "t", "3.3.0.0");
        assert!(open.encode().contains(r#""Cookie":null"#));
        assert_eq!(OpenControlChannel::decode(&open.encode()), Ok(open));
    }

    #[test]
    fn a_token_is_required_and_never_shown() {
        assert!(OpenDataChannel::decode("{}").is_err());
        assert!(OpenControlChannel::decode("{}").is_err());
        let client = OpenDataChannel::client(Uuid::nil(), "squeamish", Uuid::nil(), "1");
        let control = OpenControlChannel::new(Uuid::nil(), "squeamish", "3");
        assert!(!format!("{client:?} {control:?}").contains("squeamish"));
        let error = OpenDataChannel::decode(r#"{"TokenValue":"squeamish","RequestId":3}"#).unwrap_err();
        assert!(!error.to_string().contains("squeamish"));
    }

    proptest! {
        #[test]
        fn arbitrary_text_never_panics(text: String) {
            let _ = OpenDataChannel::decode(&text);
            let _ = OpenControlChannel::decode(&text);
        }

        #[test]
        fn any_open_is_read_back(request: u128, token: String, id: u128, version: String) {
            let open = OpenDataChannel::client(Uuid::from_u128(request), token, Uuid::from_u128(id), version);
            prop_assert_eq!(OpenDataChannel::decode(&open.encode()), Ok(open));
        }
    }
}
