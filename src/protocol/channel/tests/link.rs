//! Pause, resume, close, and a slow application.

use super::*;

#[test]
fn a_paused_agent_sends_nothing_but_acknowledgements_until_it_hears_something() {
    let pause = |played: &mut HandPlayed| {
        played.peer_says(MessageType::PausePublication, 0, PayloadType::Unset, Bytes::new()).unwrap();
        played.write(b"x");
        assert_eq!(played.frames(), []);
        assert_eq!(played.events().last(), Some(&Event::Paused));
    };
    let mut played = HandPlayed::agent(None);
    pause(&mut played);
    assert_eq!(played.channel.poll_timeout(), None);
    played.peer_says(MessageType::StartPublication, 0, PayloadType::Unset, Bytes::new()).unwrap();
    assert_eq!(played.frames(), [output(0, "x")]);
    pause(&mut played);
    played.peer_sends(0, PayloadType::Output, "y");
    assert_eq!(played.frames(), [output(1, "x")]);
    pause(&mut played);
    played.peer_acknowledges(0);
    assert_eq!(played.frames(), [output(2, "x")]);
    pause(&mut played);
    played.channel.handle_disconnected(played.now);
    played.channel.handle_connected(played.now);
    assert_eq!(played.frames(), [output(1, "x"), output(2, "x"), output(3, "x")]);
}

#[test]
fn a_client_goes_on_while_paused() {
    let mut played = HandPlayed::client().established();
    played.peer_says(MessageType::PausePublication, 0, PayloadType::Unset, Bytes::new()).unwrap();
    played.write(b"x");
    assert_eq!(played.frames(), [output(0, "x")]);
    played.peer_says(MessageType::StartPublication, 0, PayloadType::Unset, Bytes::new()).unwrap();
    assert_eq!(played.events(), [Event::Paused, Event::Resumed]);
}

#[test]
fn a_resume_repeats_frames_and_acknowledgements() {
    let mut played = HandPlayed::client_with(Limits { payload: 1, ..Limits::default() }).established();
    played.write(b"abc");
    assert_eq!(played.frames().len(), 3);
    played.peer_acknowledges(1);
    played.peer_sends(1, PayloadType::Output, "out");
    assert_eq!(played.acks(), [1]);
    played.channel.handle_disconnected(played.now);
    played.write(b"d");
    assert_eq!(played.sent(), []);
    played.now += Duration::from_secs(100);
    played.channel.handle_connected(played.now);
    let sent = played.sent();
    let sequences = |kind: MessageType| {
        let of_kind = sent.iter().filter(|message| message.kind == kind);
        of_kind
            .map(|message| match kind {
                MessageType::Acknowledge => Acknowledge::decode_sequence(&message.payload).unwrap(),
                _ => message.sequence,
            })
            .collect::<Vec<_>>()
    };
    assert_eq!(sequences(MessageType::Acknowledge), [0, 1]);
    assert_eq!(sequences(MessageType::InputStreamData), [0, 2, 3]);
    assert_eq!(played.channel.stats().connections, 2);
}

#[test]
fn a_websocket_that_does_not_come_back_is_an_error() {
    let mut played = HandPlayed::client().established();
    played.channel.handle_disconnected(played.now);
    let deadline = played.channel.poll_timeout().unwrap();
    assert_eq!(deadline, START + Duration::from_secs(900));
    let lost = Lost::Disconnected { after: Duration::from_secs(900) };
    assert_eq!(played.channel.handle_timeout(deadline), Err(lost.into()));
}

#[test]
fn the_time_without_a_websocket_is_not_held_against_the_peer() {
    let mut played = HandPlayed::client().established();
    played.write(b"x");
    played.sent();
    played.pass(Duration::from_secs(200)).unwrap();
    played.channel.handle_disconnected(played.now);
    played.pass(Duration::from_secs(200)).unwrap();
    played.channel.handle_connected(played.now);
    played.sent();
    played.pass(Duration::from_secs(99)).unwrap();
    assert!(played.pass(Duration::from_secs(1)).is_err());
}

#[test]
fn a_row_of_lost_acknowledgements_is_made_good_at_once() {
    let mut played = HandPlayed::client().established();
    for sequence in 1..100 {
        played.peer_sends(sequence, PayloadType::Output, "x");
    }
    assert_eq!(played.acks().len(), 99);
    // the agent repeats its oldest frame, one per 100 ms
    played.pass(Duration::from_millis(200)).unwrap();
    played.peer_sends(40, PayloadType::Output, "x");
    assert_eq!(played.acks(), [40]);
    played.pass(Duration::from_millis(100)).unwrap();
    played.peer_sends(41, PayloadType::Output, "x");
    let acks = played.acks();
    assert_eq!(acks[0], 41);
    assert!((42..100).all(|sequence| acks.contains(&sequence)), "{acks:?}");
}

#[test]
fn closed_is_the_last_word() {
    let mut played = HandPlayed::client().established();
    let closed = ChannelClosed { output: "idle for too long".into(), ..ChannelClosed::default() };
    let message = Message {
        kind: MessageType::ChannelClosed,
        created: START,
        sequence: 0,
        flags: 0,
        id: Uuid::nil(),
        payload_type: None,
        payload: closed.encode(),
    };
    played.channel.handle_message(START, message.encode()).unwrap();
    played.peer_sends(1, PayloadType::Output, "late");
    assert_eq!(played.events(), [Event::Closed { output: "idle for too long".into() }]);
    assert!(played.channel.is_closed());
    assert_eq!((played.write(b"x"), played.sent(), played.channel.poll_timeout()), (0, vec![], None));
}

#[test]
fn a_slow_application_is_heard_but_loses_nothing() {
    let mut played = HandPlayed::client_with(Limits { receive_buffer: 1000, ..Limits::default() }).established();
    let mut sequence = 1;
    while played.channel.wants_input() {
        played.peer_sends(sequence, PayloadType::Output, "0123456789");
        sequence += 1;
    }
    assert_eq!(played.acks().len(), sequence as usize - 1);
    assert_eq!(played.events().len(), sequence as usize - 1);
    assert!(played.channel.wants_input());
}
