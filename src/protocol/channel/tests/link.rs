//! Pause, resume, close, and a slow application.

use super::*;

#[test]
fn a_paused_agent_sends_nothing_but_acknowledgements_until_it_hears_something() {
    let pause = |bench: &mut Bench| {
        bench.peer_says(MessageType::PausePublication, 0, PayloadType::Unset, Bytes::new()).unwrap();
        bench.write(b"x");
        assert_eq!(bench.frames(), []);
        assert_eq!(bench.events().last(), Some(&Event::Paused));
    };
    let mut bench = Bench::agent(None);
    pause(&mut bench);
    assert_eq!(bench.channel.poll_timeout(), None);
    bench.peer_says(MessageType::StartPublication, 0, PayloadType::Unset, Bytes::new()).unwrap();
    assert_eq!(bench.frames(), [output(0, "x")]);
    pause(&mut bench);
    bench.peer_sends(0, PayloadType::Output, "y");
    assert_eq!(bench.frames(), [output(1, "x")]);
    pause(&mut bench);
    bench.peer_acknowledges(0);
    assert_eq!(bench.frames(), [output(2, "x")]);
    pause(&mut bench);
    bench.channel.handle_disconnected(bench.now);
    bench.channel.handle_connected(bench.now);
    assert_eq!(bench.frames(), [output(1, "x"), output(2, "x"), output(3, "x")]);
}

#[test]
fn a_client_goes_on_while_paused() {
    let mut bench = Bench::client().established();
    bench.peer_says(MessageType::PausePublication, 0, PayloadType::Unset, Bytes::new()).unwrap();
    bench.write(b"x");
    assert_eq!(bench.frames(), [output(0, "x")]);
    bench.peer_says(MessageType::StartPublication, 0, PayloadType::Unset, Bytes::new()).unwrap();
    assert_eq!(bench.events(), [Event::Paused, Event::Resumed]);
}

#[test]
fn a_resume_repeats_frames_and_acknowledgements() {
    let mut bench = Bench::client_with(Limits { payload: 1, ..Limits::default() }).established();
    bench.write(b"abc");
    assert_eq!(bench.frames().len(), 3);
    bench.peer_acknowledges(1);
    bench.peer_sends(1, PayloadType::Output, "out");
    assert_eq!(bench.acks(), [1]);
    bench.channel.handle_disconnected(bench.now);
    bench.write(b"d");
    assert_eq!(bench.sent(), []);
    bench.now += Duration::from_secs(100);
    bench.channel.handle_connected(bench.now);
    let sent = bench.sent();
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
    assert_eq!(bench.channel.stats().connections, 2);
}

#[test]
fn a_websocket_that_does_not_come_back_is_an_error() {
    let mut bench = Bench::client().established();
    bench.channel.handle_disconnected(bench.now);
    let deadline = bench.channel.poll_timeout().unwrap();
    assert_eq!(deadline, START + Duration::from_secs(900));
    let lost = Lost::Disconnected { after: Duration::from_secs(900) };
    assert_eq!(bench.channel.handle_timeout(deadline), Err(lost.into()));
}

#[test]
fn the_time_without_a_websocket_is_not_held_against_the_peer() {
    let mut bench = Bench::client().established();
    bench.write(b"x");
    bench.sent();
    bench.pass(Duration::from_secs(200)).unwrap();
    bench.channel.handle_disconnected(bench.now);
    bench.pass(Duration::from_secs(200)).unwrap();
    bench.channel.handle_connected(bench.now);
    bench.sent();
    bench.pass(Duration::from_secs(99)).unwrap();
    assert!(bench.pass(Duration::from_secs(1)).is_err());
}

#[test]
fn a_row_of_lost_acknowledgements_is_made_good_at_once() {
    let mut bench = Bench::client().established();
    for sequence in 1..100 {
        bench.peer_sends(sequence, PayloadType::Output, "x");
    }
    assert_eq!(bench.acks().len(), 99);
    // the agent repeats its oldest frame, one per 100 ms
    bench.pass(Duration::from_millis(200)).unwrap();
    bench.peer_sends(40, PayloadType::Output, "x");
    assert_eq!(bench.acks(), [40]);
    bench.pass(Duration::from_millis(100)).unwrap();
    bench.peer_sends(41, PayloadType::Output, "x");
    let acks = bench.acks();
    assert_eq!(acks[0], 41);
    assert!((42..100).all(|sequence| acks.contains(&sequence)), "{acks:?}");
}

#[test]
fn closed_is_the_last_word() {
    let mut bench = Bench::client().established();
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
    bench.channel.handle_message(START, message.encode()).unwrap();
    bench.peer_sends(1, PayloadType::Output, "late");
    assert_eq!(bench.events(), [Event::Closed { output: "idle for too long".into() }]);
    assert!(bench.channel.is_closed());
    assert_eq!((bench.write(b"x"), bench.sent(), bench.channel.poll_timeout()), (0, vec![], None));
}

#[test]
fn a_slow_application_is_heard_but_loses_nothing() {
    let mut bench = Bench::client_with(Limits { receive_buffer: 1000, ..Limits::default() }).established();
    let mut sequence = 1;
    while bench.channel.wants_input() {
        bench.peer_sends(sequence, PayloadType::Output, "0123456789");
        sequence += 1;
    }
    assert_eq!(bench.acks().len(), sequence as usize - 1);
    assert_eq!(bench.events().len(), sequence as usize - 1);
    assert!(bench.channel.wants_input());
}
