//! Who may say what before the session is established, for both roles.

use super::*;

// === Handshake, client ===

#[test]
fn client_shakes_hands_and_only_then_sends() {
    let mut played = HandPlayed::client();
    played.write(b"early");
    assert_eq!(played.sent(), []);
    played.peer_sends(0, PayloadType::HandshakeRequest, request(vec![port()]));
    let sent = played.sent();
    assert_eq!(sent[0].kind, MessageType::Acknowledge);
    assert_eq!((sent[1].sequence, sent[1].payload_type), (0, Some(PayloadType::HandshakeResponse)));
    let response = HandshakeResponse::decode(&sent[1].payload).unwrap();
    assert_eq!((response.client_version.as_str(), response.actions[0].status), ("1.2.764.0", ActionStatus::Success));
    assert_eq!(sent.len(), 2);
    assert_eq!(played.events(), []);

    let complete = HandshakeComplete { nanoseconds: 1, customer_message: "hello".into() };
    played.peer_sends(1, PayloadType::HandshakeComplete, complete.encode());
    let established = Event::Established {
        session_type: Some("Port".into()),
        properties: json!({"portNumber": "22"}),
        agent_version: Some("3.3.0.0".into()),
        client_version: Some("1.2.764.0".into()),
        handshake: true,
        customer_message: "hello".into(),
    };
    assert_eq!(played.events(), [established]);
    assert_eq!(played.frames(), [output(1, "early")]);
}

#[test]
fn the_response_is_sent_again_under_the_same_number_and_never_twice() {
    let mut played = HandPlayed::client();
    played.peer_sends(0, PayloadType::HandshakeRequest, request(vec![port()]));
    let first = played.frames();
    played.peer_sends(0, PayloadType::HandshakeRequest, request(vec![port()]));
    assert_eq!(played.frames(), []);
    played.pass(Duration::from_secs(1)).unwrap();
    assert_eq!(played.frames(), first);
}

#[test]
fn client_without_handshake_is_established_by_the_first_output() {
    let mut played = HandPlayed::client();
    played.write(b"ls\r");
    played.peer_sends(0, PayloadType::Output, "$ ");
    let events = played.events();
    assert!(matches!(&events[0], Event::Established { handshake: false, session_type: None, .. }), "{events:?}");
    assert_eq!(events[1..], [data("$ ")]);
    assert_eq!(played.frames(), [output(0, "ls\r")]);
}

#[test]
fn a_silent_lane_is_opened_by_hand() {
    let mut played = HandPlayed::client();
    played.channel.open_silently(START);
    assert!(matches!(played.events()[..], [Event::Established { handshake: false, .. }]));
    played.write(b"x");
    assert_eq!(played.frames(), [output(0, "x")]);
    played.peer_sends(0, PayloadType::Output, "y");
    assert_eq!(played.events(), [data("y")]);
}

#[test]
fn a_handshake_after_data_was_sent_silently_is_an_error_because_the_data_is_gone() {
    let mut played = HandPlayed::client();
    played.channel.open_silently(START);
    played.write(b"x");
    played.sent();
    let error = played
        .peer_says(MessageType::OutputStreamData, 0, PayloadType::HandshakeRequest, request(vec![port()]))
        .unwrap_err();
    assert_eq!(error, PeerIncompatible::HandshakeAfterData.into());
    // and if nothing was sent, it goes on as ever
    let mut played = HandPlayed::client();
    played.channel.open_silently(START);
    played.peer_sends(0, PayloadType::HandshakeRequest, request(vec![port()]));
    played.write(b"x");
    assert_eq!(played.frames()[0].1, PayloadType::HandshakeResponse);
    played.peer_sends(1, PayloadType::HandshakeComplete, HandshakeComplete::default().encode());
    assert_eq!(played.frames(), [output(1, "x")]);
}

#[test]
fn encryption_is_declined_with_a_reason_and_ends_the_channel_once_the_agent_knows() {
    let kms = ClientAction::KmsEncryption(KmsEncryption { key_id: "arn:key".into(), challenge: String::new() });
    let mut played = HandPlayed::client();
    played.peer_sends(0, PayloadType::HandshakeRequest, request(vec![port(), kms]));
    let frames = played.frames();
    let response = HandshakeResponse::decode(&frames[0].2).unwrap();
    assert_eq!(response.actions[0].status, ActionStatus::Success);
    assert_eq!(response.actions[1].status, ActionStatus::Failed);
    assert!(response.actions[1].error.contains("arn:key"));
    assert_eq!(played.channel.error(), None);
    let body = Acknowledge { kind: played.kind.clone(), id: Uuid::nil(), sequence: 0, sequential: true }.encode();
    let error = played.peer_says(MessageType::Acknowledge, 0, PayloadType::Unset, body).unwrap_err();
    assert_eq!(error, PeerIncompatible::Encryption { key_id: "arn:key".into() }.into());
}

#[test]
fn unknown_actions_and_session_types_are_declined() {
    let dance = ClientAction::Other { name: "Dance".into(), parameters: Value::Null };
    let strange = ClientAction::SessionType(SessionType { name: "Telepathy".into(), properties: Value::Null });
    for (action, status, reason) in [
        (dance, ActionStatus::Unsupported, PeerIncompatible::Action("Dance".into())),
        (strange, ActionStatus::Failed, PeerIncompatible::SessionType("Telepathy".into())),
    ] {
        let mut played = HandPlayed::client();
        played.peer_sends(0, PayloadType::HandshakeRequest, request(vec![action]));
        let response = HandshakeResponse::decode(&played.frames()[0].2).unwrap();
        assert_eq!(response.actions[0].status, status);
        // the agent's own end of the session tells the reason too
        let closed = ChannelClosed::default().encode();
        let error = played.peer_says(MessageType::ChannelClosed, 0, PayloadType::Unset, closed);
        assert_eq!(error, Err(reason.into()));
    }
}

#[test]
fn handshake_out_of_turn_is_misbehaviour() {
    let complete = HandshakeComplete::default().encode();
    let mut played = HandPlayed::client();
    let early = played.peer_says(MessageType::OutputStreamData, 0, PayloadType::HandshakeComplete, complete.clone());
    assert!(matches!(
        early,
        Err(ChannelError::PeerMisbehaved(PeerMisbehaved::UnexpectedHandshake {
            kind: PayloadType::HandshakeComplete,
            ..
        }))
    ));
    // the error stays
    assert_eq!(played.channel.handle_message(START, Bytes::new()), early);
    assert_eq!(played.channel.handle_timeout(START), early);
    assert_eq!(played.write(b"x"), 0);
    assert_eq!((played.sent(), played.channel.poll_timeout()), (vec![], None));

    let mut played = HandPlayed::client().established();
    let late = played.peer_says(MessageType::OutputStreamData, 1, PayloadType::HandshakeRequest, request(vec![port()]));
    assert!(late.unwrap_err().to_string().contains("the session is established"));
}

#[test]
fn a_silent_node_and_an_endless_handshake_are_told_apart() {
    let mut played = HandPlayed::client();
    assert_eq!(played.channel.poll_timeout(), Some(START + Duration::from_secs(60)));
    assert_eq!(played.pass(Duration::from_secs(60)), Err(Lost::Silent { after: Duration::from_secs(60) }.into()));

    let mut played = HandPlayed::client();
    played.peer_sends(0, PayloadType::HandshakeRequest, request(vec![port()]));
    played.sent();
    played.peer_acknowledges(0);
    assert_eq!(played.pass(Duration::from_secs(60)), Err(Lost::Incomplete { after: Duration::from_secs(60) }.into()));
}

// === Handshake, agent ===

#[test]
fn agent_begins_and_discards_what_comes_too_early() {
    let mut played = HandPlayed::agent(Some("NonInteractiveCommands"));
    played.channel.send_session_state(START, SessionState::Connected, "s-1");
    let sent = played.sent();
    assert_eq!(sent[0].kind, MessageType::AgentSessionState);
    assert_eq!(
        (sent[1].sequence, sent[1].flags, sent[1].payload_type),
        (0, FLAG_SYN, Some(PayloadType::HandshakeRequest))
    );
    played.peer_sends(0, PayloadType::Output, "too early");
    assert_eq!(played.acks(), [0]);
    played.now += Duration::from_millis(5);
    played.peer_sends(1, PayloadType::HandshakeResponse, respond("1.2.764.0", ActionStatus::Success));
    played.peer_sends(2, PayloadType::Output, "now");
    let frames = played.frames();
    let complete = HandshakeComplete::decode(&frames[0].2).unwrap();
    assert_eq!((frames[0].0, complete.nanoseconds), (1, 5_000_000));
    let events = played.events();
    assert!(
        matches!(&events[0], Event::Established { client_version: Some(version), handshake: true, .. } if version == "1.2.764.0")
    );
    assert_eq!(events[1..], [data("now")]);
    assert_eq!(played.channel.stats().early, 1);
}

#[test]
fn agent_reports_what_the_client_could_not_do() {
    let mut played = HandPlayed::agent(Some("Port"));
    let response = respond("1.2.764.0", ActionStatus::Unsupported);
    let error =
        played.peer_says(MessageType::InputStreamData, 0, PayloadType::HandshakeResponse, response).unwrap_err();
    assert_eq!(error.to_string(), "SessionType failed on client with status 3 error: no");
}

#[test]
fn agent_waits_15_seconds() {
    let mut played = HandPlayed::agent(Some("Port"));
    played.sent();
    assert_eq!(played.pass(Duration::from_millis(14_999)), Ok(()));
    let error = played.pass(Duration::from_millis(1)).unwrap_err();
    assert!(error.to_string().starts_with("Encountered error while initiating handshake. Handshake timed out."));
}

#[test]
fn agent_asks_old_clients_to_update() {
    for (version, asks) in [("1.2.295.0", true), ("1.2.0.0", true), ("1.2.296.0", false), ("1.2.764.0", false)] {
        let role = AgentRole {
            handshake: Some(SessionType { name: "NonInteractiveCommands".into(), properties: Value::Null }),
            asks_old_clients_to_update: true,
            ..AgentRole::default()
        };
        let mut played = HandPlayed::new(Role::Agent(role), Limits::default(), MessageType::InputStreamData);
        played.peer_sends(0, PayloadType::HandshakeResponse, respond(version, ActionStatus::Success));
        let Event::Established { customer_message, .. } = &played.events()[0] else { panic!("not established") };
        assert_eq!(!customer_message.is_empty(), asks, "{version}");
    }
}
