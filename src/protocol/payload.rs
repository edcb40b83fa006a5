//! What a frame can carry, and the bodies that have a form of their own.
//!
//! The payload type is a number in the frame's header. Most bodies are JSON as Go writes it; data is raw, a flag is four
//! bytes big-endian, an exit code is text.
//!
//! ```text
//!   1 Output             both          raw bytes: stdin down, stdout, terminal or port up
//!   3 Size               client→agent  {"cols":80,"rows":24}
//!   5 HandshakeRequest   agent→client  what the client shall do           (module handshake)
//!   6 HandshakeResponse  client→agent  what came of it
//!   7 HandshakeComplete  agent→client  how long it took, a text for the user
//!   8 EncChallengeRequest, 9 EncChallengeResponse                         only with KMS encryption
//!  10 Flag               both          u32: 1 DisconnectToPort, 2 TerminateSession, 3 ConnectToPortError
//!  11 StdErr             agent→client  raw bytes, commands with separate streams
//!  12 ExitCode           agent→client  "EXIT_CODE: 7"
//! ```
//!
//! The numbers and the names in the JSON are those of agent/session/contracts/model.go; where
//! src/message/clientmessage.go has them as well, they are the same.

use core::fmt;
use core::str;

use bytes::{BufMut, Bytes, BytesMut};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::message::MessageType;

pub use crate::handshake::{
    ActionStatus, ClientAction, HandshakeComplete, HandshakeRequest, HandshakeResponse, KmsEncryption, ProcessedAction,
    SessionType,
};
pub use crate::payload_type::PayloadType;

/// A body is not what its payload or message type promises.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the {what} cannot be read: {why}")]
pub struct PayloadError {
    /// Which body, in words.
    pub what: &'static str,
    /// What is wrong with it.
    pub why: String,
}

impl PayloadError {
    pub(crate) fn new(what: &'static str, why: impl fmt::Display) -> Self {
        Self { what, why: why.to_string() }
    }
}

/// A terminal's size in characters: SizeData in agent/session/contracts/model.go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Size {
    /// Columns.
    pub cols: u32,
    /// Rows.
    pub rows: u32,
}

impl Size {
    /// Reads the body of a frame of type 3.
    ///
    /// # Errors
    ///
    /// [`PayloadError`] if the body has not the form of its type.
    pub fn decode(payload: &[u8]) -> Result<Self, PayloadError> {
        from_json("terminal size", payload)
    }

    /// Writes the body of a frame of type 3.
    pub fn encode(self) -> Bytes {
        format!(r#"{{"cols":{},"rows":{}}}"#, self.cols, self.rows).into()
    }
}

/// A signal outside the data, mostly for port sessions: PayloadTypeFlag in agent/session/contracts/model.go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Flag {
    /// 1, to the agent: close the connection to the port (agent/session/plugins/port/port_basic.go,
    /// HandleStreamMessage). Fatal to a session whose document has no type; a multiplexed one ignores it (port_mux.go).
    DisconnectToPort,
    /// 2, to the agent: end the port session, successfully (the same, and port.go, Execute). Shell sessions ignore it:
    /// agent/session/shell/shell_unix.go, InputStreamMessageHandler, knows only data and sizes.
    TerminateSession,
    /// 3, to the client: the target of a multiplexed stream could not be reached (port_mux.go,
    /// handleServerConnections).
    ConnectToPortError,
    /// Any other number.
    Unknown(u32),
}

impl Flag {
    /// Reads the body of a frame of type 10.
    ///
    /// # Errors
    ///
    /// [`PayloadError`] if the body has not the form of its type.
    pub fn decode(payload: &[u8]) -> Result<Self, PayloadError> {
        // big-endian (port_basic.go, HandleStreamMessage), where a body that is too short passes for flag 0
        let bytes: [u8; size_of::<u32>()] = payload
            .try_into()
            .map_err(|_| PayloadError::new("flag", format_args!("it has {} bytes and not 4", payload.len())))?;
        Ok(match u32::from_be_bytes(bytes) {
            1 => Self::DisconnectToPort,
            2 => Self::TerminateSession,
            3 => Self::ConnectToPortError,
            other => Self::Unknown(other),
        })
    }

    /// Writes the body of a frame of type 10.
    pub fn encode(self) -> Bytes {
        let number = match self {
            Self::DisconnectToPort => 1_u32,
            Self::TerminateSession => 2,
            Self::ConnectToPortError => 3,
            Self::Unknown(number) => number,
        };
        Bytes::copy_from_slice(&number.to_be_bytes())
    }
}

/// How a command with separate streams ended (agent/session/shell/shell.go, sendExitCode). The agent reports −1 for a
/// death by signal, because it asks Go's ExitCode.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ExitCode(pub i32);

impl ExitCode {
    /// Reads the body of a frame of type 12, with or without white space around the parts.
    ///
    /// # Errors
    ///
    /// [`PayloadError`] if the body has not the form of its type.
    pub fn decode(payload: &[u8]) -> Result<Self, PayloadError> {
        let refuse = || PayloadError::new("exit code", format_args!("{:?}", String::from_utf8_lossy(payload)));
        let text = str::from_utf8(payload).map_err(|_| refuse())?;
        let number = text.trim().strip_prefix(EXIT_CODE).ok_or_else(refuse)?;
        number.trim().parse().map(Self).map_err(|_| refuse())
    }

    /// Writes the body of a frame of type 12.
    pub fn encode(self) -> Bytes {
        self.to_string().into()
    }
}

impl fmt::Display for ExitCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{EXIT_CODE} {}", self.0)
    }
}

/// The body of an `acknowledge` frame: AcknowledgeContent in agent/session/contracts/model.go. Acknowledgements are
/// selective: one frame each (agent/session/datachannel/datachannel.go, ProcessAcknowledgedMessage).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Acknowledge {
    /// The type of the acknowledged frame.
    pub kind: MessageType,
    /// Its id. Nobody compares it (ProcessAcknowledgedMessage there and in src/datachannel/streaming.go).
    pub id: Uuid,
    /// Its sequence number: this is what receivers go by.
    pub sequence: i64,
    /// Always true in practice (SendAcknowledgeMessage in both).
    pub sequential: bool,
}

impl Acknowledge {
    /// Reads the body of an `acknowledge` frame.
    ///
    /// # Errors
    ///
    /// [`PayloadError`] if the body has not the form of its type.
    pub fn decode(payload: &[u8]) -> Result<Self, PayloadError> {
        let wire: WireAcknowledge = from_json(ACKNOWLEDGEMENT, payload)?;
        Ok(Self {
            kind: MessageType::from_name(&wire.kind)
                .ok_or_else(|| PayloadError::new(ACKNOWLEDGEMENT, "its message type is no name"))?,
            id: Uuid::parse_str(&wire.id).map_err(|error| PayloadError::new(ACKNOWLEDGEMENT, error))?,
            sequence: wire.sequence,
            sequential: wire.sequential,
        })
    }

    /// Reads only the sequence number, all that a receiver needs.
    ///
    /// # Errors
    ///
    /// [`PayloadError`] if there is no such number in the body.
    pub fn decode_sequence(payload: &[u8]) -> Result<i64, PayloadError> {
        #[derive(Deserialize)]
        struct Sequence {
            #[serde(rename = "AcknowledgedMessageSequenceNumber")]
            sequence: i64,
        }
        match plain_sequence(payload) {
            Some(sequence) => Ok(sequence),
            None => from_json::<Sequence>(ACKNOWLEDGEMENT, payload).map(|wire| wire.sequence),
        }
    }

    /// Writes the body of an `acknowledge` frame.
    pub fn encode(&self) -> Bytes {
        let mut out = BytesMut::with_capacity(Self::ROOM);
        self.write(&mut out);
        out.freeze()
    }

    /// Appends the body: there is one per frame of data, so it is put together by hand.
    pub(crate) fn write(&self, out: &mut BytesMut) {
        let mut digits = [0; DECIMAL_DIGITS];
        let mut id = Uuid::encode_buffer();
        out.put_slice(br#"{"AcknowledgedMessageType":"#);
        match &self.kind {
            // only such a name can hold a quotation mark or a backslash
            MessageType::Unknown(name) => out.put_slice(serde_json::Value::from(name.as_str()).to_string().as_bytes()),
            known => {
                out.put_u8(b'"');
                out.put_slice(known.name().as_bytes());
                out.put_u8(b'"');
            }
        }
        out.put_slice(br#","AcknowledgedMessageId":""#);
        out.put_slice(self.id.hyphenated().encode_lower(&mut id).as_bytes());
        out.put_slice(br#"","AcknowledgedMessageSequenceNumber":"#);
        if self.sequence < 0 {
            out.put_u8(b'-');
        }
        out.put_slice(decimal(self.sequence.unsigned_abs(), &mut digits));
        out.put_slice(br#","IsSequentialMessage":"#);
        out.put_slice(if self.sequential { b"true}" } else { b"false}" });
    }

    /// Enough for any body whose message type is a known one, in bytes: names and signs, 22 for the longest such type,
    /// 36 for a UUID (RFC 9562, section 4), 20 for a number, and a few to spare.
    pub(crate) const ROOM: usize = 212;
}

/// The sequence number, where the body is letter for letter what [`Acknowledge::write`] and both of AWS's programs make of a frame
/// of data: there is one for each, and a JSON parser takes as long for it as all else that is done with it.
fn plain_sequence(payload: &[u8]) -> Option<i64> {
    let rest = payload.strip_prefix(br#"{"AcknowledgedMessageType":""#)?;
    let rest = [MessageType::InputStreamData, MessageType::OutputStreamData]
        .iter()
        .find_map(|kind| rest.strip_prefix(kind.name().as_bytes()))?;
    let (id, rest) = rest.strip_prefix(br#"","AcknowledgedMessageId":""#)?.split_at_checked(UUID_LETTERS)?;
    if !id.iter().all(|byte| byte.is_ascii_hexdigit() || *byte == b'-') {
        return None;
    }
    let rest = rest.strip_prefix(br#"","AcknowledgedMessageSequenceNumber":"#)?;
    let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let (number, rest) = rest.split_at(digits);
    if !matches!(rest, br#","IsSequentialMessage":true}"# | br#","IsSequentialMessage":false}"#) {
        return None;
    }
    match number {
        [b'0', _, ..] => None,
        // too long to be one is left to the parser, which says so
        _ => core::str::from_utf8(number).ok()?.parse().ok(),
    }
}

/// RFC 9562, section 4.
const UUID_LETTERS: usize = 36;

#[derive(Deserialize)]
struct WireAcknowledge {
    #[serde(rename = "AcknowledgedMessageType")]
    kind: String,
    #[serde(rename = "AcknowledgedMessageId")]
    id: String,
    #[serde(rename = "AcknowledgedMessageSequenceNumber")]
    sequence: i64,
    #[serde(rename = "IsSequentialMessage", default)]
    sequential: bool,
}

/// What the agent tells the service about a session: AgentSessionStateContent in agent/session/contracts/model.go. The
/// service does not pass it on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgentSessionState {
    /// 1.
    #[serde(rename = "SchemaVersion", default)]
    pub schema_version: u32,
    /// The news.
    #[serde(rename = "SessionState")]
    pub state: SessionState,
    /// The session.
    #[serde(rename = "SessionId", default)]
    pub session_id: String,
}

/// See [`AgentSessionState`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum SessionState {
    /// Right after the agent's first open of the data channel, not after a reconnection
    /// (agent/session/plugins/sessionplugin/sessionplugin.go, Execute).
    Connected,
    /// The program ended by itself (agent/session/shell/shell.go). Port sessions never say so: nothing in
    /// agent/session/plugins/port does.
    Terminating,
}

impl AgentSessionState {
    /// What the agent writes (agent/session/datachannel/datachannel.go, `schemaVersion`).
    pub(crate) const SCHEMA_VERSION: u32 = 1;

    /// Reads the body of an `agent_session_state` frame.
    ///
    /// # Errors
    ///
    /// [`PayloadError`] if the body has not the form of its type.
    pub fn decode(payload: &[u8]) -> Result<Self, PayloadError> {
        from_json("session state", payload)
    }

    /// Writes the body of an `agent_session_state` frame.
    pub fn encode(&self) -> Bytes {
        to_json(self)
    }
}

/// The service ends the session: ChannelClosed in src/message/clientmessage.go (the agent's own, in
/// agent/session/contracts/model.go, is the same without the text). To the agent's control channel it means: cancel the
/// session of that id (agent/session/contracts/agentmessage.go, parseTerminateSessionMessage).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChannelClosed {
    /// `channel_closed`.
    #[serde(rename = "MessageType", default)]
    pub message_type: String,
    /// A UUID.
    #[serde(rename = "MessageId", default)]
    pub message_id: String,
    /// The node.
    #[serde(rename = "DestinationId", default)]
    pub destination_id: String,
    /// The session.
    #[serde(rename = "SessionId", default)]
    pub session_id: String,
    /// 1.
    #[serde(rename = "SchemaVersion", default)]
    pub schema_version: u32,
    /// A date in no particular form.
    #[serde(rename = "CreatedDate", default)]
    pub created_date: String,
    /// A text for the user, often empty.
    #[serde(rename = "Output", default)]
    pub output: String,
}

impl ChannelClosed {
    /// Reads the body of a `channel_closed` frame.
    ///
    /// # Errors
    ///
    /// [`PayloadError`] if the body has not the form of its type.
    pub fn decode(payload: &[u8]) -> Result<Self, PayloadError> {
        from_json("notice that the channel is closed", payload)
    }

    /// Writes the body of a `channel_closed` frame.
    pub fn encode(&self) -> Bytes {
        to_json(self)
    }
}

pub(crate) fn from_json<'a, T: Deserialize<'a>>(what: &'static str, payload: &'a [u8]) -> Result<T, PayloadError> {
    serde_json::from_slice(payload).map_err(|error| PayloadError::new(what, error))
}

/// Writes one of our own types, all of which have text keys and can be written.
pub(crate) fn to_json<T: Serialize>(value: &T) -> Bytes {
    serde_json::to_vec(value).unwrap_or_default().into()
}

/// Go writes `null` for a list or text that was never set.
pub(crate) fn null_as_default<'de, D, T>(from: D) -> Result<T, D::Error>
where
    D: serde::Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Option::<T>::deserialize(from).map(Option::unwrap_or_default)
}

fn decimal(mut number: u64, digits: &mut [u8; DECIMAL_DIGITS]) -> &[u8] {
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            return &digits[at..];
        }
    }
}

const ACKNOWLEDGEMENT: &str = "acknowledgement";
/// In front of the code: agent/session/shell/shell.go, sendExitCode.
const EXIT_CODE: &str = "EXIT_CODE:";
/// Those of the greatest u64.
const DECIMAL_DIGITS: usize = 20;

#[cfg(test)]
#[path = "payload_tests.rs"]
mod tests;
