//! Cutting, the window, loss and patience.

use super::*;

#[test]
fn data_is_cut_and_small_writes_join() {
    let mut played = HandPlayed::client_with(Limits { payload: 4, ..Limits::default() }).established();
    for part in [b"a".as_slice(), b"bc", b"defghi", b"j"] {
        played.write(part);
    }
    played.channel.send_size(START, Size { cols: 1, rows: 1 });
    played.channel.send_size(START, Size { cols: 2, rows: 2 });
    played.write(b"k");
    played.channel.send_flag(START, Flag::TerminateSession);
    let frames = played.frames();
    assert_eq!(frames[..3], [output(0, "abcd"), output(1, "efgh"), output(2, "ij")]);
    assert_eq!(frames[3], (3, PayloadType::Size, Size { cols: 2, rows: 2 }.encode()));
    assert_eq!(frames[4..], [output(4, "k"), (5, PayloadType::Flag, Flag::TerminateSession.encode())]);
    played.write(b"l");
    assert_eq!(played.frames(), [output(6, "l")]);
}

#[test]
fn what_does_not_fit_stays_with_the_writer() {
    let mut played = HandPlayed::client_with(Limits { send_buffer: 10, ..Limits::default() }).established();
    let mut data = Bytes::from_static(b"0123456789abcdef");
    assert_eq!(played.channel.write(START, PayloadType::Output, &mut data), 10);
    assert_eq!((data.as_ref(), played.channel.send_capacity()), (b"abcdef".as_slice(), 0));
    assert_eq!(played.frames(), [output(0, "0123456789")]);
    assert_eq!(played.channel.send_capacity(), 10);
    assert!(!played.channel.is_drained());
    played.peer_acknowledges(0);
    assert!(played.channel.is_drained());
}

#[test]
fn handshake_payloads_are_not_for_the_application() {
    let mut played = HandPlayed::client().established();
    assert_eq!(played.channel.write(START, PayloadType::HandshakeResponse, &mut Bytes::from_static(b"{}")), 0);
    assert_eq!(played.channel.error(), Some(&Misuse::Reserved(PayloadType::HandshakeResponse).into()));
}

#[test]
fn the_window_opens_with_acknowledgements() {
    let limits = Limits { window_min: 10_000, send_buffer: 1 << 20, ..Limits::default() };
    let mut played = HandPlayed::client_with(limits).established();
    played.write(&[0; 100_000]);
    let first = played.frames().len();
    assert_eq!(first, 10_000 / (1024 + 120));
    played.now += Duration::from_millis(10);
    for sequence in 0..first as i64 {
        played.peer_acknowledges(sequence);
    }
    let second = played.frames().len();
    assert!(second > first && second <= 2 * first, "{second} after {first}");
    assert_eq!(played.channel.stats().rtt, Some(Duration::from_millis(10)));
}

#[test]
fn a_lost_frame_is_sent_again_within_a_round_trip() {
    let mut played = HandPlayed::client_with(Limits { payload: 1, ..Limits::default() }).established();
    played.write(b"abcdefgh");
    assert_eq!(played.frames().len(), 8);
    played.now += Duration::from_millis(20);
    for sequence in 1..8 {
        played.peer_acknowledges(sequence);
    }
    assert_eq!(played.frames(), []);
    let deadline = played.channel.poll_timeout().unwrap();
    assert!(deadline <= START + Duration::from_millis(23), "{:?}", deadline - START);
    played.now = deadline;
    played.channel.handle_timeout(deadline).unwrap();
    assert_eq!(played.frames(), [output(0, "a")]);
    assert_eq!(played.channel.stats().retransmits, 1);
}

#[test]
fn an_agent_gets_over_an_acknowledgement_that_the_client_of_aws_will_never_repeat() {
    let mut played = HandPlayed::agent(None);
    let (mut written, mut acknowledged) = (0, 0);
    while acknowledged < 60_000 {
        written += played.write(&[0; 1024]);
        played.pass(Duration::from_millis(1)).unwrap();
        for (sequence, _, _) in played.frames() {
            if sequence != 5 {
                acknowledged += 1;
                played.peer_acknowledges(sequence);
            }
        }
        assert!(played.now < START + Duration::from_secs(100), "{:?}", played.channel.stats());
    }
    assert!(written > 60_000 * 1000);
    assert!(played.channel.is_drained());
    assert!(played.channel.stats().retransmits < 100);
}

#[test]
fn nothing_acknowledged_ends_in_an_error_that_says_what() {
    let limits = Limits { ack_timeout: Some(Duration::from_secs(30)), ..Limits::default() };
    let mut played = HandPlayed::client_with(limits).established();
    played.write(b"hello?");
    played.sent();
    let mut sends = 1;
    let error = loop {
        played.now = played.channel.poll_timeout().unwrap();
        match played.channel.handle_timeout(played.now) {
            Ok(()) => sends += played.frames().len() as u32,
            Err(error) => break error,
        }
        assert!(played.now <= START + Duration::from_secs(30));
    };
    let expected = Lost::Unacknowledged { after: Duration::from_secs(30), sequence: 0, sends, outstanding: 1 };
    assert_eq!(error, expected.into());
    assert!((30..60).contains(&sends), "{sends}");
}

#[test]
fn what_is_not_heard_for_a_slow_application_is_not_late() {
    let limits = Limits { receive_buffer: 1000, ack_timeout: Some(Duration::from_secs(30)), ..Limits::default() };
    let mut played = HandPlayed::client_with(limits).established();
    played.write(b"x");
    assert_eq!(played.frames().len(), 1);
    let mut sequence = 1;
    while played.channel.wants_input() {
        played.peer_sends(sequence, PayloadType::Output, "0123456789");
        sequence += 1;
    }
    assert_eq!(played.channel.poll_timeout(), None);
    played.pass(Duration::from_secs(1000)).unwrap();
    assert_eq!(played.frames(), []);
    played.events();
    // the application reads again, and the driver too: patience begins anew
    assert_eq!(played.channel.poll_timeout(), Some(played.now));
    played.pass(Duration::from_secs(1)).unwrap();
    assert!(played.channel.poll_timeout().is_some_and(|at| at > played.now));
    played.peer_acknowledges(0);
    assert!(played.channel.is_drained());
    assert_eq!(played.channel.stats().rtt, None, "the wait says nothing about the path");
    played.write(b"y");
    played.sent();
    assert!(played.pass(Duration::from_secs(30)).is_err());
}
