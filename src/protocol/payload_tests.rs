//! Bodies as they were captured from the real agent and client, round trips, arbitrary bytes.

use proptest::prelude::*;
use serde_json::{Value, json};
use uuid::uuid;

use super::*;

#[test]
fn acknowledgement_is_byte_for_byte_what_the_agent_writes() {
    let ack = Acknowledge {
        kind: MessageType::OutputStreamData,
        id: uuid!("00112233-4455-6677-8899-aabbccddeeff"),
        sequence: 7,
        sequential: true,
    };
    let golden = concat!(
        r#"{"AcknowledgedMessageType":"output_stream_data","#,
        r#""AcknowledgedMessageId":"00112233-4455-6677-8899-aabbccddeeff","#,
        r#""AcknowledgedMessageSequenceNumber":7,"IsSequentialMessage":true}"#,
    );
    assert_eq!(ack.encode(), golden);
    assert_eq!(golden.len(), 176);
    assert_eq!(Acknowledge::decode_sequence(golden.as_bytes()), Ok(7));
    let longest = Acknowledge { kind: MessageType::AgentTaskAcknowledge, sequence: i64::MIN, sequential: false, ..ack };
    assert!(longest.encode().len() <= Acknowledge::ROOM);
}

#[test]
fn handshake_as_captured() {
    let request = br#"{"AgentVersion":"3.3.0.0","RequestedClientActions":[{"ActionType":"SessionType","ActionParameters":{"SessionType":"Port","Properties":{"portNumber":"22"}}},{"ActionType":"KMSEncryption","ActionParameters":{"KMSKeyId":"arn:aws:kms:k","Challenge":"AAAA"}},{"ActionType":"Dance","ActionParameters":null}]}"#;
    let decoded = HandshakeRequest::decode(request).unwrap();
    assert_eq!(decoded.agent_version, "3.3.0.0");
    assert_eq!(
        decoded.actions,
        [
            ClientAction::SessionType(SessionType { name: "Port".into(), properties: json!({"portNumber": "22"}) }),
            ClientAction::KmsEncryption(KmsEncryption { key_id: "arn:aws:kms:k".into(), challenge: "AAAA".into() }),
            ClientAction::Other { name: "Dance".into(), parameters: Value::Null },
        ]
    );
    assert_eq!(json_of(&decoded.encode()), json_of(request));

    let response = br#"{"ClientVersion":"1.2.0.0","ProcessedClientActions":[{"ActionType":"SessionType","ActionStatus":1,"ActionResult":null,"Error":""}],"Errors":null}"#;
    let decoded = HandshakeResponse::decode(response).unwrap();
    assert_eq!(decoded.actions[0].status, ActionStatus::Success);
    assert_eq!(decoded.encode(), response.as_slice());

    // the client's answer to an action it does not know
    let odd = br#"{"ClientVersion":"1.2.0.0","ProcessedClientActions":[{"ActionType":"Dance","ActionResult":3}],"Errors":["x"]}"#;
    let decoded = HandshakeResponse::decode(odd).unwrap();
    assert_eq!((decoded.actions[0].status, &decoded.actions[0].result), (ActionStatus::Unset, &json!(3)));

    let complete = br#"{"HandshakeTimeToComplete":732061,"CustomerMessage":""}"#;
    let decoded = HandshakeComplete::decode(complete).unwrap();
    assert_eq!(decoded.nanoseconds, 732_061);
    assert_eq!(decoded.encode(), complete.as_slice());
}

#[test]
fn small_bodies() {
    assert_eq!(Size { cols: 80, rows: 24 }.encode(), r#"{"cols":80,"rows":24}"#);
    assert_eq!(Size::decode(br#"{"cols":300,"rows":100}"#), Ok(Size { cols: 300, rows: 100 }));
    assert!(Size::decode(br#"{"cols":-1,"rows":100}"#).is_err());

    assert_eq!(Flag::TerminateSession.encode(), [0, 0, 0, 2].as_slice());
    assert_eq!(Flag::decode(&[0, 0, 0, 3]), Ok(Flag::ConnectToPortError));
    assert_eq!(Flag::decode(&[1, 0, 0, 0]), Ok(Flag::Unknown(1 << 24)));
    assert!(Flag::decode(&[0, 2]).is_err());

    assert_eq!(ExitCode(-1).encode(), "EXIT_CODE: -1");
    assert_eq!(ExitCode::decode(b"EXIT_CODE: 7"), Ok(ExitCode(7)));
    assert_eq!(ExitCode::decode(b" EXIT_CODE:7\r\n"), Ok(ExitCode(7)));
    for text in ["EXIT_CODE: ", "exit 7", "EXIT_CODE: 99999999999", "\u{fffd}"] {
        assert!(ExitCode::decode(text.as_bytes()).is_err(), "{text:?}");
    }
    let error = ExitCode::decode(b"seven").unwrap_err().to_string();
    assert_eq!(error, r#"the exit code cannot be read: "seven""#);
}

#[test]
fn service_bodies() {
    let state = br#"{"SchemaVersion":1,"SessionState":"Terminating","SessionId":"s-1"}"#;
    let decoded = AgentSessionState::decode(state).unwrap();
    assert_eq!(decoded.state, SessionState::Terminating);
    assert_eq!(decoded.encode(), state.as_slice());

    let closed = br#"{"MessageType":"channel_closed","MessageId":"u","DestinationId":"i-1","SessionId":"s-1","SchemaVersion":1,"CreatedDate":"today","Output":"bye"}"#;
    let decoded = ChannelClosed::decode(closed).unwrap();
    assert_eq!(decoded.output, "bye");
    assert_eq!(decoded.encode(), closed.as_slice());
    assert_eq!(ChannelClosed::decode(b"{}"), Ok(ChannelClosed::default()));
}

fn json_of(bytes: &[u8]) -> Value {
    serde_json::from_slice(bytes).unwrap()
}

proptest! {
    #[test]
    fn payload_types_are_numbers(number: u32) {
        prop_assert_eq!(u32::from(PayloadType::from(number)), number);
        prop_assert_eq!(u32::from(ActionStatus::from(number)), number);
    }

    #[test]
    fn acknowledgements_round_trip(kind in "[!-~]([ -~]{0,30}[!-~])?", id: u128, sequence: i64, sequential: bool) {
        let kind = MessageType::from_name(&kind).unwrap();
        let ack = Acknowledge { kind, id: Uuid::from_u128(id), sequence, sequential };
        prop_assert_eq!(Acknowledge::decode_sequence(&ack.encode()), Ok(sequence));
        prop_assert_eq!(Acknowledge::decode(&ack.encode()), Ok(ack));
    }

    #[test]
    fn what_needs_no_parser_means_the_same_to_one(
        agent: bool, id: u128, sequence in 0..i64::MAX, at in 0usize..200, byte: u8,
    ) {
        let kind = if agent { MessageType::OutputStreamData } else { MessageType::InputStreamData };
        let mut body = Acknowledge { kind, id: Uuid::from_u128(id), sequence, sequential: true }.encode().to_vec();
        prop_assert_eq!(plain_sequence(&body), Some(sequence));
        let at = at % body.len();
        body[at] = byte;
        if let Some(sequence) = plain_sequence(&body) {
            let parsed: serde_json::Value = serde_json::from_slice(&body).unwrap();
            prop_assert_eq!(parsed["AcknowledgedMessageSequenceNumber"].as_i64(), Some(sequence));
        }
    }

    #[test]
    fn small_bodies_round_trip(cols: u32, rows: u32, flag: [u8; 4], code: i32) {
        prop_assert_eq!(Size::decode(&Size { cols, rows }.encode()), Ok(Size { cols, rows }));
        prop_assert_eq!(Flag::decode(&flag).unwrap().encode(), flag.as_slice());
        prop_assert_eq!(ExitCode::decode(&ExitCode(code).encode()), Ok(ExitCode(code)));
    }

    #[test]
    fn handshakes_round_trip(agent: String, client: String, name: String, error: String, status: u32, nanoseconds: i64) {
        let request = HandshakeRequest {
            agent_version: agent,
            actions: vec![ClientAction::SessionType(SessionType { name: name.clone(), properties: json!({"a": [1, null]}) })],
        };
        prop_assert_eq!(HandshakeRequest::decode(&request.encode()), Ok(request));
        let action = ProcessedAction { name, status: status.into(), result: Value::Null, error: error.clone() };
        let response = HandshakeResponse { client_version: client, actions: vec![action], errors: None };
        prop_assert_eq!(HandshakeResponse::decode(&response.encode()), Ok(response));
        let complete = HandshakeComplete { nanoseconds, customer_message: error };
        prop_assert_eq!(HandshakeComplete::decode(&complete.encode()), Ok(complete));
    }

    #[test]
    fn arbitrary_bodies_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200), text in "[\\[{\":,}\\]a-zA-Z0-9null ]{0,60}") {
        for body in [bytes.as_slice(), text.as_bytes()] {
            let _ = Acknowledge::decode(body);
            let _ = Acknowledge::decode_sequence(body);
            let _ = AgentSessionState::decode(body);
            let _ = ChannelClosed::decode(body);
            let _ = ExitCode::decode(body);
            let _ = Flag::decode(body);
            let _ = HandshakeComplete::decode(body);
            let _ = HandshakeRequest::decode(body);
            let _ = HandshakeResponse::decode(body);
            let _ = Size::decode(body);
        }
    }
}
