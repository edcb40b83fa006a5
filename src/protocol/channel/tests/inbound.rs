//! Order, duplicates, readiness, and frames that make no sense.

use super::*;

#[test]
fn gaps_are_acknowledged_at_once_and_delivered_in_order() {
    let mut played = HandPlayed::client().established();
    played.peer_sends(3, PayloadType::Output, "three");
    played.peer_sends(2, PayloadType::Output, "two");
    played.peer_sends(3, PayloadType::Output, "three");
    assert_eq!(played.acks(), [3, 2, 3]);
    assert_eq!(played.events(), []);
    played.peer_sends(1, PayloadType::Output, "one");
    assert_eq!(played.acks(), [1]);
    assert_eq!(played.events(), [data("one"), data("two"), data("three")]);
    played.peer_sends(0, PayloadType::Output, "$ ");
    assert_eq!((played.acks(), played.events()), (vec![0], vec![]));
    assert_eq!(played.channel.stats().duplicates, 2);
}

#[test]
fn one_acknowledgement_waits_a_little_and_a_few_go_at_once() {
    let delay = Duration::from_millis(2);
    let role = Role::Client(ClientRole { version: "1.2.764.0".into() });
    let limits = Limits { ack_delay: delay, ..Limits::default() };
    let mut played = HandPlayed::waiting(role, limits, MessageType::OutputStreamData);
    played.peer_sends(0, PayloadType::Output, "e");
    assert_eq!(played.acks().len(), 0);
    assert_eq!(played.channel.poll_timeout(), Some(START + delay));
    played.pass(delay).unwrap();
    assert_ne!(
        played.channel.poll_timeout(),
        Some(START + delay),
        "a websocket that takes nothing must not keep us busy"
    );
    assert_eq!(played.acks(), [0]);
    for sequence in 1..=4 {
        assert_eq!(played.acks().len(), 0);
        played.peer_sends(sequence, PayloadType::Output, "e");
    }
    assert_eq!(played.acks(), [1, 2, 3, 4]);
    // a peer that says something twice has missed the answer
    played.peer_sends(5, PayloadType::Output, "e");
    played.peer_sends(1, PayloadType::Output, "e");
    assert_eq!(played.acks(), [5, 1]);
    // one that was about to go when the websocket went still goes
    played.peer_sends(6, PayloadType::Output, "e");
    played.channel.handle_disconnected(played.now);
    assert_ne!(played.channel.poll_timeout(), Some(played.now + delay));
    played.channel.handle_connected(played.now);
    assert!(played.acks().ends_with(&[6]));
}

#[test]
fn the_reorder_buffer_is_bounded_and_what_does_not_fit_is_not_acknowledged() {
    let mut played =
        HandPlayed::client_with(Limits { reorder_frames: 2, reorder_bytes: 10, ..Limits::default() }).established();
    played.peer_sends(2, PayloadType::Output, "12345");
    played.peer_sends(3, PayloadType::Output, "123456");
    played.peer_sends(4, PayloadType::Output, "1");
    played.peer_sends(i64::MAX, PayloadType::Output, "1");
    assert_eq!(played.acks(), [2, 4]);
    assert_eq!(played.channel.stats().overflows, 2);
}

#[test]
fn a_damaged_frame_is_not_acknowledged() {
    let mut played = HandPlayed::client().established();
    let message = Message {
        kind: MessageType::OutputStreamData,
        created: START,
        sequence: 1,
        flags: 0,
        id: Uuid::nil(),
        payload_type: Some(PayloadType::Output),
        payload: Bytes::from_static(b"data"),
    };
    let mut frame = message.encode().to_vec();
    *frame.last_mut().unwrap() ^= 1;
    played.channel.handle_message(START, frame.into()).unwrap();
    assert_eq!((played.sent(), played.channel.stats().ignored), (vec![], 1));
}

#[test]
fn an_agent_that_is_not_ready_refuses_in_silence() {
    let mut played = HandPlayed::agent(None);
    played.channel.set_ready(false);
    played.events();
    played.peer_sends(0, PayloadType::Size, Size { cols: 80, rows: 24 }.encode());
    played.peer_sends(1, PayloadType::Output, "ls\r");
    assert_eq!(played.acks(), [1], "the next one is held, and so acknowledged");
    played.channel.set_ready(true);
    assert_eq!(played.events(), []);
    played.peer_sends(0, PayloadType::Size, Size { cols: 80, rows: 24 }.encode());
    assert_eq!(played.acks(), [0]);
    assert_eq!(played.events(), [Event::Size(Size { cols: 80, rows: 24 }), data("ls\r")]);
}

#[test]
fn held_frames_wait_for_readiness_too() {
    let mut played = HandPlayed::agent(Some("Port"));
    played.channel.set_ready(false);
    played.sent();
    played.peer_sends(1, PayloadType::Output, "x");
    played.peer_sends(0, PayloadType::HandshakeResponse, respond("1.2.764.0", ActionStatus::Success));
    assert!(matches!(played.events()[..], [Event::Established { .. }]));
    played.channel.set_ready(true);
    assert_eq!(played.events(), [data("x")]);
}

#[test]
fn malformed_bodies_are_misbehaviour() {
    let mut played = HandPlayed::agent(None);
    let error = played.peer_says(MessageType::InputStreamData, 0, PayloadType::Size, "80x24".into()).unwrap_err();
    assert!(error.to_string().starts_with("frame 0 makes no sense: the terminal size cannot be read"), "{error}");
    let mut played = HandPlayed::client().established();
    assert!(played.peer_says(MessageType::OutputStreamData, 1, PayloadType::Flag, "3".into()).is_err());
}

#[test]
fn an_empty_body_takes_its_number_and_tells_nothing() {
    let mut played = HandPlayed::client().established();
    played.peer_sends(1, PayloadType::Flag, "");
    played.peer_sends(2, PayloadType::Output, "x");
    assert_eq!(played.events(), [data("x")]);
}

#[test]
fn frames_that_mean_nothing_here_are_ignored() {
    let mut played = HandPlayed::client().established();
    for kind in ["input_stream_data", "agent_session_state", "agent_telemetry", "interactive_shell"] {
        played.peer_says(MessageType::from_name(kind).unwrap(), 1, PayloadType::Output, "{}".into()).unwrap();
    }
    played.peer_says(MessageType::Acknowledge, 0, PayloadType::Unset, "{}".into()).unwrap();
    assert_eq!((played.sent(), played.events()), (vec![], vec![]));
    assert_eq!(played.channel.stats().ignored, 5);
}
