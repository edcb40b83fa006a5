//! Order, duplicates, readiness, and frames that make no sense.

use super::*;

#[test]
fn gaps_are_acknowledged_at_once_and_delivered_in_order() {
    let mut bench = Bench::client().established();
    bench.peer_sends(3, PayloadType::Output, "three");
    bench.peer_sends(2, PayloadType::Output, "two");
    bench.peer_sends(3, PayloadType::Output, "three");
    assert_eq!(bench.acks(), [3, 2, 3]);
    assert_eq!(bench.events(), []);
    bench.peer_sends(1, PayloadType::Output, "one");
    assert_eq!(bench.acks(), [1]);
    assert_eq!(bench.events(), [data("one"), data("two"), data("three")]);
    bench.peer_sends(0, PayloadType::Output, "$ ");
    assert_eq!((bench.acks(), bench.events()), (vec![0], vec![]));
    assert_eq!(bench.channel.stats().duplicates, 2);
}

#[test]
fn one_acknowledgement_waits_a_little_and_a_few_go_at_once() {
    let delay = Duration::from_millis(2);
    let role = Role::Client(ClientRole { version: "1.2.764.0".into() });
    let limits = Limits { ack_delay: delay, ..Limits::default() };
    let mut bench = Bench::waiting(role, limits, MessageType::OutputStreamData);
    bench.peer_sends(0, PayloadType::Output, "e");
    assert_eq!(bench.acks().len(), 0);
    assert_eq!(bench.channel.poll_timeout(), Some(START + delay));
    bench.pass(delay).unwrap();
    assert_ne!(
        bench.channel.poll_timeout(),
        Some(START + delay),
        "a websocket that takes nothing must not keep us busy"
    );
    assert_eq!(bench.acks(), [0]);
    for sequence in 1..=4 {
        assert_eq!(bench.acks().len(), 0);
        bench.peer_sends(sequence, PayloadType::Output, "e");
    }
    assert_eq!(bench.acks(), [1, 2, 3, 4]);
    // a peer that says something twice has missed the answer
    bench.peer_sends(5, PayloadType::Output, "e");
    bench.peer_sends(1, PayloadType::Output, "e");
    assert_eq!(bench.acks(), [5, 1]);
    // one that was about to go when the websocket went still goes
    bench.peer_sends(6, PayloadType::Output, "e");
    bench.channel.handle_disconnected(bench.now);
    assert_ne!(bench.channel.poll_timeout(), Some(bench.now + delay));
    bench.channel.handle_connected(bench.now);
    assert!(bench.acks().ends_with(&[6]));
}

#[test]
fn the_reorder_buffer_is_bounded_and_what_does_not_fit_is_not_acknowledged() {
    let mut bench =
        Bench::client_with(Limits { reorder_frames: 2, reorder_bytes: 10, ..Limits::default() }).established();
    bench.peer_sends(2, PayloadType::Output, "12345");
    bench.peer_sends(3, PayloadType::Output, "123456");
    bench.peer_sends(4, PayloadType::Output, "1");
    bench.peer_sends(i64::MAX, PayloadType::Output, "1");
    assert_eq!(bench.acks(), [2, 4]);
    assert_eq!(bench.channel.stats().overflows, 2);
}

#[test]
fn a_damaged_frame_is_not_acknowledged() {
    let mut bench = Bench::client().established();
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
    bench.channel.handle_message(START, frame.into()).unwrap();
    assert_eq!((bench.sent(), bench.channel.stats().ignored), (vec![], 1));
}

#[test]
fn an_agent_that_is_not_ready_refuses_in_silence() {
    let mut bench = Bench::agent(None);
    bench.channel.set_ready(false);
    bench.events();
    bench.peer_sends(0, PayloadType::Size, Size { cols: 80, rows: 24 }.encode());
    bench.peer_sends(1, PayloadType::Output, "ls\r");
    assert_eq!(bench.acks(), [1], "the next one is held, and so acknowledged");
    bench.channel.set_ready(true);
    assert_eq!(bench.events(), []);
    bench.peer_sends(0, PayloadType::Size, Size { cols: 80, rows: 24 }.encode());
    assert_eq!(bench.acks(), [0]);
    assert_eq!(bench.events(), [Event::Size(Size { cols: 80, rows: 24 }), data("ls\r")]);
}

#[test]
fn held_frames_wait_for_readiness_too() {
    let mut bench = Bench::agent(Some("Port"));
    bench.channel.set_ready(false);
    bench.sent();
    bench.peer_sends(1, PayloadType::Output, "x");
    bench.peer_sends(0, PayloadType::HandshakeResponse, respond("1.2.764.0", ActionStatus::Success));
    assert!(matches!(bench.events()[..], [Event::Established { .. }]));
    bench.channel.set_ready(true);
    assert_eq!(bench.events(), [data("x")]);
}

#[test]
fn malformed_bodies_are_misbehaviour() {
    let mut bench = Bench::agent(None);
    let error = bench.peer_says(MessageType::InputStreamData, 0, PayloadType::Size, "80x24".into()).unwrap_err();
    assert!(error.to_string().starts_with("frame 0 makes no sense: the terminal size cannot be read"), "{error}");
    let mut bench = Bench::client().established();
    assert!(bench.peer_says(MessageType::OutputStreamData, 1, PayloadType::Flag, "3".into()).is_err());
}

#[test]
fn an_empty_body_takes_its_number_and_tells_nothing() {
    let mut bench = Bench::client().established();
    bench.peer_sends(1, PayloadType::Flag, "");
    bench.peer_sends(2, PayloadType::Output, "x");
    assert_eq!(bench.events(), [data("x")]);
}

#[test]
fn frames_that_mean_nothing_here_are_ignored() {
    let mut bench = Bench::client().established();
    for kind in ["input_stream_data", "agent_session_state", "agent_telemetry", "interactive_shell"] {
        bench.peer_says(MessageType::from_name(kind).unwrap(), 1, PayloadType::Output, "{}".into()).unwrap();
    }
    bench.peer_says(MessageType::Acknowledge, 0, PayloadType::Unset, "{}".into()).unwrap();
    assert_eq!((bench.sent(), bench.events()), (vec![], vec![]));
    assert_eq!(bench.channel.stats().ignored, 5);
}
