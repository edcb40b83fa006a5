//! The frame around everything on a data or control channel: one websocket message is one frame.
//!
//! All integers are big-endian.
//!
//! ```text
//!    0  HeaderLength    u32   116, or 112 if PayloadType is left out
//!    4  MessageType     32    ASCII, padded with spaces (agent, client) or NULs (service)
//!   36  SchemaVersion   u32   1
//!   40  CreatedDate     u64   milliseconds since the Unix epoch
//!   48  SequenceNumber  i64   per direction, from 0
//!   56  Flags           u64   bit 0 first, bit 1 last message of a stream; nobody checks them
//!   64  MessageId       16    a UUID, its second half first
//!   80  PayloadDigest   32    SHA-256 of the payload
//!  112  PayloadType     u32   only if HeaderLength is 116
//!  116  PayloadLength   u32   at 112 if HeaderLength is 112
//!  120  Payload               to the end of the websocket message
//! ```
//!
//! The layout is that of agent/session/contracts/agentmessage.go and of src/message/clientmessage.go, whose tables of
//! offsets agree. Both programs write only the long header. Frames that the service makes itself (`channel_closed` at
//! least) have the short one, padded with NULs: datachannel/agent_message.go of
//! github.com/mmmorris1975/ssm-session-client has met it too.
//!
//! Both programs find the payload by HeaderLength and take everything up to the end of the message, whatever
//! PayloadLength says (agentmessage.go, Deserialize; src/message/messageparser.go, DeserializeClientMessage); so does
//! this one. It checks the digest, as the client does (messageparser.go, Validate); the agent does not. Unlike both it
//! refuses header lengths that nobody writes, instead of reading past the end.

use core::fmt;

use bytes::{Bytes, BytesMut};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::Time;
use crate::payload_type::PayloadType;

/// One frame, decoded. The payload is a slice of the websocket message it came in, not a copy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// What the frame is for.
    pub kind: MessageType,
    /// When it was made, in whole milliseconds. Zero is not allowed on the wire.
    pub created: Time,
    /// Its number within its direction; 0 for everything that is not stream data.
    pub sequence: i64,
    /// [`FLAG_SYN`] and [`FLAG_FIN`].
    pub flags: u64,
    /// Names the frame; acknowledgements repeat it.
    pub id: Uuid,
    /// What the payload is; `None` for frames with the short header.
    pub payload_type: Option<PayloadType>,
    /// The body.
    pub payload: Bytes,
}

/// Set on the agent's frame 0, and on acknowledgements and session states together with [`FLAG_FIN`]
/// (agent/session/datachannel/datachannel.go, SendStreamDataMessage and `messageFlags`). Bit 0, as in the comment on
/// the header in agentmessage.go.
pub const FLAG_SYN: u64 = 1;
/// Set on acknowledgements and session states (the same, bit 1; src/message/messageparser.go,
/// SerializeClientMessageWithAcknowledgeContent).
pub const FLAG_FIN: u64 = 2;

/// The number of the first frame of stream data in each direction, and of everything that is none
/// (agent/session/datachannel/datachannel.go, Initialize and `sequenceNumber`; src/datachannel/streaming.go,
/// Initialize).
pub(crate) const FIRST_SEQUENCE: i64 = 0;

/// The frame cannot be read. Receivers drop such a frame and do not acknowledge it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MessageError {
    /// The creation date is zero.
    #[error("the frame's creation date is zero")]
    Created,
    /// Payload and digest differ: the frame was damaged or cut.
    #[error("the frame's digest does not match its payload of {0} bytes")]
    Digest(usize),
    /// Neither of the two header layouts.
    #[error("the frame's header length is {0}; only 112 and 116 are known")]
    HeaderLength(u32),
    /// Shorter than its own header.
    #[error("the frame has {length} bytes, but its header alone takes {needed}")]
    Truncated {
        /// What came.
        length: usize,
        /// What the header needs.
        needed: usize,
    },
    /// The message type is empty or holds something else than printable ASCII.
    #[error("the frame's message type is empty or not printable ASCII")]
    Type,
}

impl Message {
    /// Reads one websocket message.
    ///
    /// # Errors
    ///
    /// [`MessageError`] if the frame is too short, its header makes no sense, or its digest is not its payload's.
    pub fn decode(frame: Bytes) -> Result<Self, MessageError> {
        let header_length = read_u32(&frame, 0)?;
        let payload_type = match header_length {
            HEADER_WITH_TYPE => Some(PayloadType::from(read_u32(&frame, OFFSET_PAYLOAD_TYPE)?)),
            HEADER_WITHOUT_TYPE => None,
            other => return Err(MessageError::HeaderLength(other)),
        };
        let start = header_length as usize + LENGTH_SIZE;
        if frame.len() < start {
            return Err(MessageError::Truncated { length: frame.len(), needed: start });
        }
        let kind = MessageType::from_padded(&frame[OFFSET_TYPE..OFFSET_SCHEMA])?;
        let created = Time::from_millis(read_u64(&frame, OFFSET_CREATED)?);
        let payload = frame.slice(start..);
        // The service's own pause and start frames are taken as they come, as by the client (messageparser.go,
        // Validate).
        let lenient = matches!(kind, MessageType::PausePublication | MessageType::StartPublication);
        if !lenient {
            // both readers refuse it: Validate in agentmessage.go and in messageparser.go
            if created.is_zero() {
                return Err(MessageError::Created);
            }
            // The client goes by PayloadLength here (Validate); this goes by what there is, which is what will be used.
            if !payload.is_empty() && digest(&payload) != frame[OFFSET_DIGEST..OFFSET_PAYLOAD_TYPE] {
                return Err(MessageError::Digest(payload.len()));
            }
        }
        Ok(Self {
            kind,
            created,
            sequence: read_u64(&frame, OFFSET_SEQUENCE)?.cast_signed(),
            flags: read_u64(&frame, OFFSET_FLAGS)?,
            id: read_uuid(&frame)?,
            payload_type,
            payload,
        })
    }

    /// Writes the frame as one websocket message.
    ///
    /// A creation date of zero is written as one millisecond, because every reader refuses zero.
    pub fn encode(&self) -> Bytes {
        let mut frame = BytesMut::zeroed(if self.payload_type.is_some() { HEADER_ROOM } else { HEADER_ROOM_UNTYPED });
        frame.extend_from_slice(&self.payload);
        Header {
            kind: &self.kind,
            created: self.created,
            sequence: self.sequence,
            flags: self.flags,
            id: self.id,
            payload_type: self.payload_type,
        }
        .write(&mut frame);
        frame.freeze()
    }
}

/// What a message is for, by its name on the wire (agent/session/contracts/model.go; the client's share of them is in
/// src/message/clientmessage.go).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum MessageType {
    /// `acknowledge`: both ends, for every frame of stream data.
    Acknowledge,
    /// `agent_job`: the service asks the agent to run a command document.
    AgentJob,
    /// `agent_job_ack`: the agent took it.
    AgentJobAck,
    /// `agent_job_reply`: the agent's result.
    AgentJobReply,
    /// `agent_job_reply_ack`: the service has it.
    AgentJobReplyAck,
    /// `agent_session_state`: the agent tells the service (never the client) that it is connected or ending.
    AgentSessionState,
    /// `agent_task_acknowledge`: the service has seen an `agent_task_complete`.
    AgentTaskAcknowledge,
    /// `agent_task_complete`: the agent's session ended, on the control channel.
    AgentTaskComplete,
    /// `channel_closed`: the service ends the session, towards both ends.
    ChannelClosed,
    /// `input_stream_data`: client to agent.
    InputStreamData,
    /// `interactive_shell`: the service tells the agent to start a session, on the control channel.
    InteractiveShell,
    /// `output_stream_data`: agent to client.
    OutputStreamData,
    /// `pause_publication`: the service asks to stop sending.
    PausePublication,
    /// `start_publication`: the service asks to send again.
    StartPublication,
    /// Any other name; both ends ignore such frames (agent/session/datachannel/datachannel.go,
    /// dataChannelIncomingMessageHandler; src/datachannel/streaming.go, OutputMessageHandler).
    Unknown(TypeName),
}

/// The name of a message type that this crate does not know: 1 to 32 printable ASCII characters.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct TypeName(Box<str>);

impl TypeName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for TypeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl MessageType {
    /// The type of that name; `None` if it is empty, longer than 32 bytes or not printable ASCII.
    pub fn from_name(name: &str) -> Option<Self> {
        let fits = (1..=NAME_LENGTH).contains(&name.len());
        let printable = name.bytes().all(|b| (b' '..=b'~').contains(&b));
        if !fits || !printable || name.trim() != name {
            return None;
        }
        let known = KNOWN.iter().find(|(_, known)| *known == name);
        Some(known.map_or_else(|| Self::Unknown(TypeName(name.into())), |(kind, _)| kind.clone()))
    }

    /// The name on the wire.
    pub fn name(&self) -> &str {
        match self {
            Self::Acknowledge => "acknowledge",
            Self::AgentJob => "agent_job",
            Self::AgentJobAck => "agent_job_ack",
            Self::AgentJobReply => "agent_job_reply",
            Self::AgentJobReplyAck => "agent_job_reply_ack",
            Self::AgentSessionState => "agent_session_state",
            Self::AgentTaskAcknowledge => "agent_task_acknowledge",
            Self::AgentTaskComplete => "agent_task_complete",
            Self::ChannelClosed => "channel_closed",
            Self::InputStreamData => "input_stream_data",
            Self::InteractiveShell => "interactive_shell",
            Self::OutputStreamData => "output_stream_data",
            Self::PausePublication => "pause_publication",
            Self::StartPublication => "start_publication",
            Self::Unknown(name) => name.as_str(),
        }
    }

    /// Readers trim NULs, then white space, on both sides: both paddings occur (getString in agentmessage.go and in
    /// messageparser.go). That the name is UTF-8 is what the comment there says; that it is ASCII, only experience.
    fn from_padded(field: &[u8]) -> Result<Self, MessageError> {
        // as both programs write the names that come with every frame: nothing needs to be trimmed or looked up
        let known = KNOWN.iter().find(|(_, name)| {
            let padding = field.strip_prefix(name.as_bytes());
            padding.is_some_and(|padding| padding.iter().all(|&byte| byte == b' '))
        });
        if let Some((kind, _)) = known {
            return Ok(kind.clone());
        }
        let text = core::str::from_utf8(field).map_err(|_| MessageError::Type)?;
        Self::from_name(text.trim_matches('\0').trim()).ok_or(MessageError::Type)
    }
}

impl fmt::Display for MessageType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Everything of a frame but its payload, to be written in front of a payload that is already in place.
pub(crate) struct Header<'a> {
    pub(crate) kind: &'a MessageType,
    pub(crate) created: Time,
    pub(crate) sequence: i64,
    pub(crate) flags: u64,
    pub(crate) id: Uuid,
    pub(crate) payload_type: Option<PayloadType>,
}

impl Header<'_> {
    /// Fills in the header of `frame`, whose payload follows [`HEADER_ROOM`] bytes ([`HEADER_ROOM_UNTYPED`] without a
    /// payload type).
    pub(crate) fn write(&self, frame: &mut [u8]) {
        let (header_length, start) = match self.payload_type {
            Some(_) => (HEADER_WITH_TYPE, HEADER_ROOM),
            None => (HEADER_WITHOUT_TYPE, HEADER_ROOM_UNTYPED),
        };
        let (header, payload) = frame.split_at_mut(start);
        let created = u64::try_from(self.created.as_millis()).unwrap_or(u64::MAX).max(1);
        let name = self.kind.name().as_bytes();
        header[..OFFSET_TYPE].copy_from_slice(&header_length.to_be_bytes());
        // putString in agentmessage.go: spaces first, then the name over them
        header[OFFSET_TYPE..OFFSET_SCHEMA].fill(b' ');
        header[OFFSET_TYPE..OFFSET_TYPE + name.len()].copy_from_slice(name);
        header[OFFSET_SCHEMA..OFFSET_CREATED].copy_from_slice(&SCHEMA_VERSION.to_be_bytes());
        header[OFFSET_CREATED..OFFSET_SEQUENCE].copy_from_slice(&created.to_be_bytes());
        header[OFFSET_SEQUENCE..OFFSET_FLAGS].copy_from_slice(&self.sequence.to_be_bytes());
        header[OFFSET_FLAGS..OFFSET_ID].copy_from_slice(&self.flags.to_be_bytes());
        // The less significant half comes first (putUuid in agentmessage.go), and not last as in RFC 9562, section 4.
        let (first, second) = self.id.as_bytes().split_at(UUID_HALF);
        header[OFFSET_ID..OFFSET_ID + UUID_HALF].copy_from_slice(second);
        header[OFFSET_ID + UUID_HALF..OFFSET_DIGEST].copy_from_slice(first);
        header[OFFSET_DIGEST..OFFSET_PAYLOAD_TYPE].copy_from_slice(&digest(payload));
        if let Some(payload_type) = self.payload_type {
            header[OFFSET_PAYLOAD_TYPE..OFFSET_PAYLOAD_TYPE + LENGTH_SIZE]
                .copy_from_slice(&u32::from(payload_type).to_be_bytes());
        }
        let length = u32::try_from(payload.len()).unwrap_or(u32::MAX);
        header[start - LENGTH_SIZE..].copy_from_slice(&length.to_be_bytes());
    }
}

/// SHA-256 of the payload and nothing else: agentmessage.go, Serialize. The header is not protected by it.
fn digest(payload: &[u8]) -> [u8; DIGEST_LENGTH] {
    Sha256::digest(payload).into()
}

fn read_u32(frame: &[u8], at: usize) -> Result<u32, MessageError> {
    read_array(frame, at).map(u32::from_be_bytes)
}

fn read_u64(frame: &[u8], at: usize) -> Result<u64, MessageError> {
    read_array(frame, at).map(u64::from_be_bytes)
}

/// The halves of a UUID change places: getUuid in agentmessage.go.
fn read_uuid(frame: &[u8]) -> Result<Uuid, MessageError> {
    let wire: [u8; 2 * UUID_HALF] = read_array(frame, OFFSET_ID)?;
    Ok(Uuid::from_u128(u128::from_be_bytes(wire).rotate_left(u64::BITS)))
}

fn read_array<const N: usize>(frame: &[u8], at: usize) -> Result<[u8; N], MessageError> {
    let bytes = frame.get(at..).and_then(|rest| rest.first_chunk());
    bytes.copied().ok_or(MessageError::Truncated { length: frame.len(), needed: at + N })
}

/// Where the payload of a frame with a payload type starts, in bytes: AgentMessage_PayloadOffset in agentmessage.go.
pub(crate) const HEADER_ROOM: usize = HEADER_WITH_TYPE as usize + LENGTH_SIZE;
/// The same without a payload type.
const HEADER_ROOM_UNTYPED: usize = HEADER_WITHOUT_TYPE as usize + LENGTH_SIZE;

/// Bytes before PayloadLength, which HeaderLength does not count: AgentMessage_PayloadLengthOffset.
const HEADER_WITH_TYPE: u32 = 116;
/// The same in frames of the service: no source has a name for it (see the top).
const HEADER_WITHOUT_TYPE: u32 = 112;
/// Bytes of PayloadLength, and of PayloadType: AgentMessage_PayloadLengthLength, AgentMessage_PayloadTypeLength.
const LENGTH_SIZE: usize = 4;
/// What both programs write (SendStreamDataMessage, SendInputDataMessage). Nobody reads it.
const SCHEMA_VERSION: u32 = 1;
/// Bytes of MessageType: AgentMessage_MessageTypeLength.
const NAME_LENGTH: usize = 32;
/// Bytes of half a UUID, of which each half travels as one integer: putUuid.
const UUID_HALF: usize = 8;
/// Bytes of PayloadDigest: AgentMessage_PayloadDigestLength.
const DIGEST_LENGTH: usize = 32;

// AgentMessage_…Offset in agentmessage.go, by the same names
const OFFSET_TYPE: usize = 4;
const OFFSET_SCHEMA: usize = OFFSET_TYPE + NAME_LENGTH;
const OFFSET_CREATED: usize = 40;
const OFFSET_SEQUENCE: usize = 48;
const OFFSET_FLAGS: usize = 56;
const OFFSET_ID: usize = 64;
const OFFSET_DIGEST: usize = 80;
const OFFSET_PAYLOAD_TYPE: usize = OFFSET_DIGEST + DIGEST_LENGTH;

/// Ordered by how often they come: the search is linear.
const KNOWN: [(MessageType, &str); 14] = [
    (MessageType::Acknowledge, "acknowledge"),
    (MessageType::OutputStreamData, "output_stream_data"),
    (MessageType::InputStreamData, "input_stream_data"),
    (MessageType::ChannelClosed, "channel_closed"),
    (MessageType::PausePublication, "pause_publication"),
    (MessageType::StartPublication, "start_publication"),
    (MessageType::AgentSessionState, "agent_session_state"),
    (MessageType::InteractiveShell, "interactive_shell"),
    (MessageType::AgentTaskComplete, "agent_task_complete"),
    (MessageType::AgentTaskAcknowledge, "agent_task_acknowledge"),
    (MessageType::AgentJob, "agent_job"),
    (MessageType::AgentJobAck, "agent_job_ack"),
    (MessageType::AgentJobReply, "agent_job_reply"),
    (MessageType::AgentJobReplyAck, "agent_job_reply_ack"),
];

#[cfg(test)]
#[path = "message_tests.rs"]
mod tests;
