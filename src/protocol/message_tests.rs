//! Golden frames (made independently, accepted by the real agent and the real client), round trips, arbitrary bytes.

use bytes::Bytes;
use proptest::prelude::*;
use uuid::uuid;

use super::*;
use crate::payload::Acknowledge;

/// 2023-11-14T22:13:20Z.
const CREATED: Time = Time::from_millis(1_700_000_000_000);
const ID: Uuid = uuid!("00112233-4455-6677-8899-aabbccddeeff");

const GOLDEN_INPUT: &str = "00000074 696e7075745f73747265616d5f64617461202020202020202020202020202020 \
    00000001 0000018bcfe56800 0000000000000005 0000000000000000 8899aabbccddeeff0011223344556677 \
    559aead08264d5795d3909718cdd05abd49572e84fe55590eef31a88a08fdffd 00000001 00000001 41";

const GOLDEN_ACK_HEADER: &str = "00000074 61636b6e6f776c65646765202020202020202020202020202020202020202020 \
    00000001 0000018bcfe56800 0000000000000000 0000000000000003 8899aabbccddeeff0011223344556677 \
    62d57ca2dfb7aa0eee6a8e12491c3e9feffd166f2b0f36b96eba41866669e854 00000000 000000b0";

fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(|b| !b.is_ascii_whitespace()).collect();
    let pair = |p: &[u8]| u8::from_str_radix(core::str::from_utf8(p).unwrap(), 16).unwrap();
    digits.chunks(2).map(pair).collect()
}

fn input() -> Message {
    Message {
        kind: MessageType::InputStreamData,
        created: CREATED,
        sequence: 5,
        flags: 0,
        id: ID,
        payload_type: Some(PayloadType::Output),
        payload: Bytes::from_static(b"A"),
    }
}

#[test]
fn golden_input_frame() {
    let golden = hex(GOLDEN_INPUT);
    assert_eq!(golden.len(), 121);
    assert_eq!(input().encode(), golden);
    assert_eq!(Message::decode(golden.into()), Ok(input()));
}

#[test]
fn golden_acknowledgement() {
    let body = Acknowledge { kind: MessageType::OutputStreamData, id: ID, sequence: 7, sequential: true };
    let message = Message {
        kind: MessageType::Acknowledge,
        created: CREATED,
        sequence: 0,
        flags: FLAG_SYN | FLAG_FIN,
        id: ID,
        payload_type: Some(PayloadType::Unset),
        payload: body.encode(),
    };
    let frame = message.encode();
    assert_eq!(frame.len(), 296);
    assert_eq!(frame[..120], hex(GOLDEN_ACK_HEADER));
    let back = Message::decode(frame).unwrap();
    assert_eq!(Acknowledge::decode(&back.payload).unwrap(), body);
}

#[test]
fn the_service_writes_a_short_header_padded_with_nuls() {
    let mut message = input();
    message.kind = MessageType::ChannelClosed;
    message.payload_type = None;
    let mut frame = message.encode().to_vec();
    assert_eq!(frame[..4], 112_u32.to_be_bytes());
    assert_eq!(frame.len(), 117);
    for byte in &mut frame[OFFSET_TYPE..OFFSET_SCHEMA] {
        if *byte == b' ' {
            *byte = 0;
        }
    }
    assert_eq!(Message::decode(frame.into()), Ok(message));
}

#[test]
fn the_payload_ends_with_the_message_whatever_its_length_field_says() {
    let mut frame = input().encode().to_vec();
    frame[119] = 77;
    assert_eq!(Message::decode(frame.into()).unwrap().payload, "A");
}

#[test]
fn damage_is_refused_with_its_reason() {
    let frame = input().encode();
    let mut damaged = frame.to_vec();
    damaged[120] ^= 1;
    assert_eq!(Message::decode(damaged.into()), Err(MessageError::Digest(1)));

    let mut longer = frame.to_vec();
    longer.push(0);
    assert_eq!(Message::decode(longer.into()), Err(MessageError::Digest(2)));

    let mut undated = frame.to_vec();
    undated[OFFSET_CREATED..OFFSET_SEQUENCE].fill(0);
    assert_eq!(Message::decode(undated.into()), Err(MessageError::Created));

    let mut nameless = frame.to_vec();
    nameless[OFFSET_TYPE..OFFSET_SCHEMA].fill(b' ');
    assert_eq!(Message::decode(nameless.into()), Err(MessageError::Type));

    let mut huge = frame.to_vec();
    huge[..4].copy_from_slice(&u32::MAX.to_be_bytes());
    assert_eq!(Message::decode(huge.into()), Err(MessageError::HeaderLength(u32::MAX)));

    for length in 0..120 {
        let cut = Message::decode(frame.slice(..length));
        assert!(matches!(cut, Err(MessageError::Truncated { .. })), "{length}: {cut:?}");
    }
}

#[test]
fn pause_needs_neither_date_nor_digest() {
    let mut message = input();
    message.kind = MessageType::PausePublication;
    let mut frame = message.encode().to_vec();
    frame[OFFSET_CREATED..OFFSET_SEQUENCE].fill(0);
    frame[OFFSET_DIGEST..OFFSET_PAYLOAD_TYPE].fill(0);
    assert_eq!(Message::decode(frame.into()).unwrap().kind, MessageType::PausePublication);
}

#[test]
fn the_table_of_names_agrees_with_the_names() {
    for (kind, name) in &KNOWN {
        assert_eq!(kind.name(), *name);
        assert_eq!(MessageType::from_name(name).as_ref(), Some(kind));
    }
    assert_eq!(MessageType::from_name("agent_telemetry").unwrap().name(), "agent_telemetry");
    for name in ["", " a", "a\n", "ä", "012345678901234567890123456789012"] {
        assert_eq!(MessageType::from_name(name), None, "{name:?}");
    }
}

prop_compose! {
    fn any_message()(
        kind in "[!-~]([ -~]{0,30}[!-~])?",
        created in 1..=u64::MAX,
        sequence: i64,
        flags: u64,
        id: u128,
        payload_type in proptest::option::of(any::<u32>()),
        payload in proptest::collection::vec(any::<u8>(), 0..2000),
    ) -> Message {
        Message {
            kind: MessageType::from_name(&kind).unwrap(),
            created: Time::from_millis(created),
            sequence,
            flags,
            id: Uuid::from_u128(id),
            payload_type: payload_type.map(PayloadType::from),
            payload: payload.into(),
        }
    }
}

proptest! {
    #[test]
    fn what_is_written_is_read_back(message in any_message()) {
        prop_assert_eq!(Message::decode(message.encode()), Ok(message));
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = Message::decode(bytes.into());
    }

    #[test]
    fn a_damaged_frame_never_panics(message in any_message(), at: prop::sample::Index, value: u8, keep: prop::sample::Index) {
        let mut frame = message.encode().to_vec();
        let place = at.index(frame.len());
        frame[place] = value;
        frame.truncate(keep.index(frame.len() + 1));
        let _ = Message::decode(frame.into());
    }
}
