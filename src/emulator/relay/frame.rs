//! What the relay needs to know of a frame, and the frames that the service makes itself.

use bytes::Bytes;
use portcullis_protocol::payload::{ChannelClosed, PayloadType};
use portcullis_protocol::{Message, MessageType};
use time::OffsetDateTime;
use uuid::Uuid;

/// What a frame is, as far as the relay cares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// `input_stream_data`.
    Input,
    /// `output_stream_data`.
    Output,
    /// `acknowledge`.
    Acknowledge,
    /// `agent_session_state`.
    State,
    /// Anything else; not relayed.
    Other,
}

impl Kind {
    /// Numbered data, which its sender repeats until it is acknowledged.
    pub(crate) fn is_stream(self) -> bool {
        matches!(self, Self::Input | Self::Output)
    }
}

/// Looks at the message type only.
pub(crate) fn kind(frame: &[u8]) -> Kind {
    let name = frame.get(4..36).unwrap_or_default();
    // Both paddings occur: spaces from the ends, NULs from services.
    let is = |known: &[u8]| name.starts_with(known) && matches!(name.get(known.len()), Some(b' ' | 0));
    match name.first() {
        Some(b'o') if is(b"output_stream_data") => Kind::Output,
        Some(b'i') if is(b"input_stream_data") => Kind::Input,
        Some(b'a') if is(b"acknowledge") => Kind::Acknowledge,
        Some(b'a') if is(b"agent_session_state") => Kind::State,
        _ => Kind::Other,
    }
}

/// Whether a stream frame belongs to the handshake.
pub(crate) fn is_handshake(frame: &[u8]) -> bool {
    let word = |at: usize| frame.get(at..at + 4).and_then(|bytes| bytes.try_into().ok()).map(u32::from_be_bytes);
    word(0) == Some(116) && word(112).is_some_and(|kind| PayloadType::from(kind).is_handshake())
}

/// A frame of the service's own: short header, type padded with NULs.
pub(crate) fn from_service(kind: MessageType, payload: Bytes) -> Bytes {
    let now = OffsetDateTime::now_utc().unix_timestamp_nanos() / 1_000_000;
    let message = Message {
        kind,
        created: std::time::Duration::from_millis(u64::try_from(now).unwrap_or(1)),
        sequence: 0,
        flags: 0,
        id: Uuid::new_v4(),
        payload_type: None,
        payload,
    };
    let mut frame = message.encode().to_vec();
    if let Some(name) = frame.get_mut(4..36) {
        name.iter_mut().rev().take_while(|byte| **byte == b' ').for_each(|byte| *byte = 0);
    }
    frame.into()
}

/// `channel_closed` for a session.
pub(crate) fn channel_closed(session: &str, node: &str, output: &str) -> Bytes {
    let body = ChannelClosed {
        message_type: "channel_closed".to_owned(),
        message_id: Uuid::new_v4().to_string(),
        destination_id: node.to_owned(),
        session_id: session.to_owned(),
        schema_version: 1,
        created_date: OffsetDateTime::now_utc().to_string(),
        output: output.to_owned(),
    };
    from_service(MessageType::ChannelClosed, body.encode())
}

/// `pause_publication` or `start_publication` for the agent.
pub(crate) fn publication(paused: bool, session: &str) -> Bytes {
    let kind = if paused { MessageType::PausePublication } else { MessageType::StartPublication };
    let body = serde_json::json!({ "MessageType": kind.name(), "SchemaVersion": 1, "SessionId": session });
    from_service(kind, body.to_string().into())
}

#[cfg(test)]
pub(crate) mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A frame as the ends write it.
    pub(crate) fn frame(kind: MessageType, sequence: i64, payload_type: u32, payload: &[u8]) -> Bytes {
        Message {
            kind,
            created: std::time::Duration::from_millis(1_700_000_000_000),
            sequence,
            flags: 0,
            id: Uuid::nil(),
            payload_type: Some(PayloadType::from(payload_type)),
            payload: Bytes::copy_from_slice(payload),
        }
        .encode()
    }

    #[test]
    fn kinds_are_told_by_the_whole_name() {
        assert_eq!(kind(&frame(MessageType::OutputStreamData, 0, 1, b"x")), Kind::Output);
        assert_eq!(kind(&frame(MessageType::InputStreamData, 0, 1, b"x")), Kind::Input);
        assert_eq!(kind(&frame(MessageType::Acknowledge, 0, 0, b"{}")), Kind::Acknowledge);
        assert_eq!(kind(&frame(MessageType::AgentSessionState, 0, 0, b"{}")), Kind::State);
        assert_eq!(kind(&from_service(MessageType::Acknowledge, Bytes::from_static(b"{}"))), Kind::Acknowledge);
        assert_eq!(kind(&frame(MessageType::ChannelClosed, 0, 0, b"{}")), Kind::Other);
        let longer = MessageType::from_name("acknowledged").unwrap();
        assert_eq!(kind(&frame(longer, 0, 0, b"{}")), Kind::Other);
    }

    #[test]
    fn handshake_frames_are_told_by_payload_type() {
        for kind in [5, 6, 7, 8, 9] {
            assert!(is_handshake(&frame(MessageType::OutputStreamData, 0, kind, b"{}")), "{kind}");
        }
        assert!(!is_handshake(&frame(MessageType::OutputStreamData, 0, 1, b"x")));
        assert!(!is_handshake(&from_service(MessageType::ChannelClosed, Bytes::from_static(&[0; 64]))));
    }

    #[test]
    fn the_services_frames_have_the_short_header_and_nul_padding() {
        let raw = channel_closed("s-1", "mi-1", "Bye.");
        assert_eq!(raw[..4], 112_u32.to_be_bytes());
        assert_eq!(raw[4..36], *b"channel_closed\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0");
        let message = Message::decode(raw).unwrap();
        let body = ChannelClosed::decode(&message.payload).unwrap();
        assert_eq!((body.session_id.as_str(), body.output.as_str()), ("s-1", "Bye."));
        for paused in [true, false] {
            let message = Message::decode(publication(paused, "s-1")).unwrap();
            assert_eq!(message.kind == MessageType::PausePublication, paused);
            assert!(!message.created.is_zero(), "the agent refuses a creation date of zero");
        }
    }

    proptest! {
        #[test]
        fn arbitrary_frames_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = kind(&bytes);
            let _ = is_handshake(&bytes);
        }
    }
}
