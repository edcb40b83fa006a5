//! The rules of the channel, one by one, with a peer that is played by hand. Whole conversations under faults are in
//! `crate::testing`.

use core::time::Duration;

use bytes::Bytes;
use serde_json::{Value, json};
use uuid::Uuid;

use super::*;
use crate::Time;
use crate::message::{FLAG_SYN, Message, MessageType};
use crate::payload::{
    Acknowledge, ActionStatus, ChannelClosed, ClientAction, Flag, HandshakeComplete, HandshakeRequest,
    HandshakeResponse, KmsEncryption, PayloadType, ProcessedAction, SessionState, SessionType, Size,
};

const START: Time = Time::from_secs(1_700_000_000);

/// A channel and its hand-played peer.
struct Bench {
    channel: DataChannel,
    now: Time,
    kind: MessageType,
}

impl Bench {
    fn client() -> Self {
        Self::client_with(Limits::default())
    }

    fn client_with(limits: Limits) -> Self {
        let role = Role::Client(ClientRole { version: "1.2.764.0".into() });
        Self::new(role, limits, MessageType::OutputStreamData)
    }

    fn agent(handshake: Option<&str>) -> Self {
        let handshake = handshake.map(|name| SessionType { name: name.into(), properties: Value::Null });
        let role = Role::Agent(AgentRole { handshake, ..AgentRole::default() });
        Self::new(role, Limits::default(), MessageType::InputStreamData)
    }

    fn new(role: Role, limits: Limits, kind: MessageType) -> Self {
        let mut channel = DataChannel::new(role, limits, 1, START);
        channel.handle_connected(START);
        Self { channel, now: START, kind }
    }

    fn pass(&mut self, duration: Duration) -> Result<(), ChannelError> {
        self.now += duration;
        self.channel.handle_timeout(self.now)
    }

    fn peer_says(
        &mut self,
        kind: MessageType,
        sequence: i64,
        payload_type: PayloadType,
        payload: Bytes,
    ) -> Result<(), ChannelError> {
        let id = Uuid::from_u128(sequence as u128);
        let payload_type = Some(payload_type);
        let message = Message { kind, created: self.now, sequence, flags: 0, id, payload_type, payload };
        self.channel.handle_message(self.now, message.encode())
    }

    fn peer_sends(&mut self, sequence: i64, payload_type: PayloadType, payload: impl Into<Bytes>) {
        self.peer_says(self.kind.clone(), sequence, payload_type, payload.into()).unwrap();
    }

    fn peer_acknowledges(&mut self, sequence: i64) {
        let body = Acknowledge { kind: self.kind.clone(), id: Uuid::nil(), sequence, sequential: true }.encode();
        self.peer_says(MessageType::Acknowledge, 0, PayloadType::Unset, body).unwrap();
    }

    fn sent(&mut self) -> Vec<Message> {
        core::iter::from_fn(|| self.channel.poll_transmit(self.now))
            .map(|frame| Message::decode(frame).unwrap())
            .collect()
    }

    /// Stream frames among what is sent now.
    fn frames(&mut self) -> Vec<(i64, PayloadType, Bytes)> {
        let stream = |kind: &MessageType| matches!(kind, MessageType::InputStreamData | MessageType::OutputStreamData);
        let sent = self.sent().into_iter().filter(|message| stream(&message.kind));
        sent.map(|message| (message.sequence, message.payload_type.unwrap(), message.payload)).collect()
    }

    /// Acknowledged sequence numbers among what is sent now.
    fn acks(&mut self) -> Vec<i64> {
        let sent = self.sent().into_iter().filter(|message| message.kind == MessageType::Acknowledge);
        sent.map(|message| Acknowledge::decode(&message.payload).unwrap().sequence).collect()
    }

    fn events(&mut self) -> Vec<Event> {
        core::iter::from_fn(|| self.channel.poll_event()).collect()
    }

    fn write(&mut self, data: &'static [u8]) -> usize {
        self.channel.write(self.now, PayloadType::Output, &mut Bytes::from_static(data))
    }

    fn established(mut self) -> Self {
        self.peer_sends(0, PayloadType::Output, "$ ");
        self.events();
        self.sent();
        self
    }
}

fn data(text: &'static str) -> Event {
    Event::Data { kind: PayloadType::Output, bytes: Bytes::from_static(text.as_bytes()) }
}

fn output(sequence: i64, text: &'static str) -> (i64, PayloadType, Bytes) {
    (sequence, PayloadType::Output, Bytes::from_static(text.as_bytes()))
}

fn request(actions: Vec<ClientAction>) -> Bytes {
    HandshakeRequest { agent_version: "3.3.0.0".into(), actions }.encode()
}

fn port() -> ClientAction {
    ClientAction::SessionType(SessionType { name: "Port".into(), properties: json!({"portNumber": "22"}) })
}

// === Handshake, client ===

#[test]
fn client_shakes_hands_and_only_then_sends() {
    let mut bench = Bench::client();
    bench.write(b"early");
    assert_eq!(bench.sent(), []);
    bench.peer_sends(0, PayloadType::HandshakeRequest, request(vec![port()]));
    let sent = bench.sent();
    assert_eq!(sent[0].kind, MessageType::Acknowledge);
    assert_eq!((sent[1].sequence, sent[1].payload_type), (0, Some(PayloadType::HandshakeResponse)));
    let response = HandshakeResponse::decode(&sent[1].payload).unwrap();
    assert_eq!((response.client_version.as_str(), response.actions[0].status), ("1.2.764.0", ActionStatus::Success));
    assert_eq!(sent.len(), 2);
    assert_eq!(bench.events(), []);

    let complete = HandshakeComplete { nanoseconds: 1, customer_message: "hello".into() };
    bench.peer_sends(1, PayloadType::HandshakeComplete, complete.encode());
    let established = Event::Established {
        session_type: Some("Port".into()),
        properties: json!({"portNumber": "22"}),
        agent_version: Some("3.3.0.0".into()),
        client_version: Some("1.2.764.0".into()),
        handshake: true,
        customer_message: "hello".into(),
    };
    assert_eq!(bench.events(), [established]);
    assert_eq!(bench.frames(), [output(1, "early")]);
}

#[test]
fn the_response_is_sent_again_under_the_same_number_and_never_twice() {
    let mut bench = Bench::client();
    bench.peer_sends(0, PayloadType::HandshakeRequest, request(vec![port()]));
    let first = bench.frames();
    bench.peer_sends(0, PayloadType::HandshakeRequest, request(vec![port()]));
    assert_eq!(bench.frames(), []);
    bench.pass(Duration::from_secs(1)).unwrap();
    assert_eq!(bench.frames(), first);
}

#[test]
fn client_without_handshake_is_established_by_the_first_output() {
    let mut bench = Bench::client();
    bench.write(b"ls\r");
    bench.peer_sends(0, PayloadType::Output, "$ ");
    let events = bench.events();
    assert!(matches!(&events[0], Event::Established { handshake: false, session_type: None, .. }), "{events:?}");
    assert_eq!(events[1..], [data("$ ")]);
    assert_eq!(bench.frames(), [output(0, "ls\r")]);
}

#[test]
fn a_silent_lane_is_opened_by_hand() {
    let mut bench = Bench::client();
    bench.channel.open_silently(START);
    assert!(matches!(bench.events()[..], [Event::Established { handshake: false, .. }]));
    bench.write(b"x");
    assert_eq!(bench.frames(), [output(0, "x")]);
    bench.peer_sends(0, PayloadType::Output, "y");
    assert_eq!(bench.events(), [data("y")]);
}

#[test]
fn a_handshake_after_data_was_sent_silently_is_an_error_because_the_data_is_gone() {
    let mut bench = Bench::client();
    bench.channel.open_silently(START);
    bench.write(b"x");
    bench.sent();
    let error = bench
        .peer_says(MessageType::OutputStreamData, 0, PayloadType::HandshakeRequest, request(vec![port()]))
        .unwrap_err();
    assert_eq!(error, PeerIncompatible::HandshakeAfterData.into());
    // and if nothing was sent, it goes on as ever
    let mut bench = Bench::client();
    bench.channel.open_silently(START);
    bench.peer_sends(0, PayloadType::HandshakeRequest, request(vec![port()]));
    bench.write(b"x");
    assert_eq!(bench.frames()[0].1, PayloadType::HandshakeResponse);
    bench.peer_sends(1, PayloadType::HandshakeComplete, HandshakeComplete::default().encode());
    assert_eq!(bench.frames(), [output(1, "x")]);
}

#[test]
fn encryption_is_declined_with_a_reason_and_ends_the_channel_once_the_agent_knows() {
    let kms = ClientAction::KmsEncryption(KmsEncryption { key_id: "arn:key".into(), challenge: String::new() });
    let mut bench = Bench::client();
    bench.peer_sends(0, PayloadType::HandshakeRequest, request(vec![port(), kms]));
    let frames = bench.frames();
    let response = HandshakeResponse::decode(&frames[0].2).unwrap();
    assert_eq!(response.actions[0].status, ActionStatus::Success);
    assert_eq!(response.actions[1].status, ActionStatus::Failed);
    assert!(response.actions[1].error.contains("arn:key"));
    assert_eq!(bench.channel.error(), None);
    let body = Acknowledge { kind: bench.kind.clone(), id: Uuid::nil(), sequence: 0, sequential: true }.encode();
    let error = bench.peer_says(MessageType::Acknowledge, 0, PayloadType::Unset, body).unwrap_err();
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
        let mut bench = Bench::client();
        bench.peer_sends(0, PayloadType::HandshakeRequest, request(vec![action]));
        let response = HandshakeResponse::decode(&bench.frames()[0].2).unwrap();
        assert_eq!(response.actions[0].status, status);
        // the agent's own end of the session tells the reason too
        let closed = ChannelClosed::default().encode();
        let error = bench.peer_says(MessageType::ChannelClosed, 0, PayloadType::Unset, closed);
        assert_eq!(error, Err(reason.into()));
    }
}

#[test]
fn handshake_out_of_turn_is_misbehaviour() {
    let complete = HandshakeComplete::default().encode();
    let mut bench = Bench::client();
    let early = bench.peer_says(MessageType::OutputStreamData, 0, PayloadType::HandshakeComplete, complete.clone());
    assert!(matches!(
        early,
        Err(ChannelError::PeerMisbehaved(PeerMisbehaved::UnexpectedHandshake {
            kind: PayloadType::HandshakeComplete,
            ..
        }))
    ));
    // the error stays
    assert_eq!(bench.channel.handle_message(START, Bytes::new()), early);
    assert_eq!(bench.channel.handle_timeout(START), early);
    assert_eq!(bench.write(b"x"), 0);
    assert_eq!((bench.sent(), bench.channel.poll_timeout()), (vec![], None));

    let mut bench = Bench::client().established();
    let late = bench.peer_says(MessageType::OutputStreamData, 1, PayloadType::HandshakeRequest, request(vec![port()]));
    assert!(late.unwrap_err().to_string().contains("the session is established"));
}

#[test]
fn a_silent_node_and_an_endless_handshake_are_told_apart() {
    let mut bench = Bench::client();
    assert_eq!(bench.channel.poll_timeout(), Some(START + Duration::from_secs(60)));
    assert_eq!(bench.pass(Duration::from_secs(60)), Err(Lost::Silent { after: Duration::from_secs(60) }.into()));

    let mut bench = Bench::client();
    bench.peer_sends(0, PayloadType::HandshakeRequest, request(vec![port()]));
    bench.sent();
    bench.peer_acknowledges(0);
    assert_eq!(bench.pass(Duration::from_secs(60)), Err(Lost::Incomplete { after: Duration::from_secs(60) }.into()));
}

// === Handshake, agent ===

fn respond(version: &str, status: ActionStatus) -> Bytes {
    let action = ProcessedAction { name: "SessionType".into(), status, result: Value::Null, error: "no".into() };
    HandshakeResponse { client_version: version.into(), actions: vec![action], errors: None }.encode()
}

#[test]
fn agent_begins_and_discards_what_comes_too_early() {
    let mut bench = Bench::agent(Some("NonInteractiveCommands"));
    bench.channel.send_session_state(START, SessionState::Connected, "s-1");
    let sent = bench.sent();
    assert_eq!(sent[0].kind, MessageType::AgentSessionState);
    assert_eq!(
        (sent[1].sequence, sent[1].flags, sent[1].payload_type),
        (0, FLAG_SYN, Some(PayloadType::HandshakeRequest))
    );
    bench.peer_sends(0, PayloadType::Output, "too early");
    assert_eq!(bench.acks(), [0]);
    bench.now += Duration::from_millis(5);
    bench.peer_sends(1, PayloadType::HandshakeResponse, respond("1.2.764.0", ActionStatus::Success));
    bench.peer_sends(2, PayloadType::Output, "now");
    let frames = bench.frames();
    let complete = HandshakeComplete::decode(&frames[0].2).unwrap();
    assert_eq!((frames[0].0, complete.nanoseconds), (1, 5_000_000));
    let events = bench.events();
    assert!(
        matches!(&events[0], Event::Established { client_version: Some(version), handshake: true, .. } if version == "1.2.764.0")
    );
    assert_eq!(events[1..], [data("now")]);
    assert_eq!(bench.channel.stats().early, 1);
}

#[test]
fn agent_reports_what_the_client_could_not_do() {
    let mut bench = Bench::agent(Some("Port"));
    let response = respond("1.2.764.0", ActionStatus::Unsupported);
    let error = bench.peer_says(MessageType::InputStreamData, 0, PayloadType::HandshakeResponse, response).unwrap_err();
    assert_eq!(error.to_string(), "SessionType failed on client with status 3 error: no");
}

#[test]
fn agent_waits_15_seconds() {
    let mut bench = Bench::agent(Some("Port"));
    bench.sent();
    assert_eq!(bench.pass(Duration::from_millis(14_999)), Ok(()));
    let error = bench.pass(Duration::from_millis(1)).unwrap_err();
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
        let mut bench = Bench::new(Role::Agent(role), Limits::default(), MessageType::InputStreamData);
        bench.peer_sends(0, PayloadType::HandshakeResponse, respond(version, ActionStatus::Success));
        let Event::Established { customer_message, .. } = &bench.events()[0] else { panic!("not established") };
        assert_eq!(!customer_message.is_empty(), asks, "{version}");
    }
}

// === Order, duplicates, readiness ===

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

// === Sending ===

#[test]
fn data_is_cut_and_small_writes_join() {
    let mut bench = Bench::client_with(Limits { payload: 4, ..Limits::default() }).established();
    for part in [b"a".as_slice(), b"bc", b"defghi", b"j"] {
        bench.write(part);
    }
    bench.channel.send_size(START, Size { cols: 1, rows: 1 });
    bench.channel.send_size(START, Size { cols: 2, rows: 2 });
    bench.write(b"k");
    bench.channel.send_flag(START, Flag::TerminateSession);
    let frames = bench.frames();
    assert_eq!(frames[..3], [output(0, "abcd"), output(1, "efgh"), output(2, "ij")]);
    assert_eq!(frames[3], (3, PayloadType::Size, Size { cols: 2, rows: 2 }.encode()));
    assert_eq!(frames[4..], [output(4, "k"), (5, PayloadType::Flag, Flag::TerminateSession.encode())]);
    bench.write(b"l");
    assert_eq!(bench.frames(), [output(6, "l")]);
}

#[test]
fn what_does_not_fit_stays_with_the_writer() {
    let mut bench = Bench::client_with(Limits { send_buffer: 10, ..Limits::default() }).established();
    let mut data = Bytes::from_static(b"0123456789abcdef");
    assert_eq!(bench.channel.write(START, PayloadType::Output, &mut data), 10);
    assert_eq!((data.as_ref(), bench.channel.send_capacity()), (b"abcdef".as_slice(), 0));
    assert_eq!(bench.frames(), [output(0, "0123456789")]);
    assert_eq!(bench.channel.send_capacity(), 10);
    assert!(!bench.channel.is_drained());
    bench.peer_acknowledges(0);
    assert!(bench.channel.is_drained());
}

#[test]
fn handshake_payloads_are_not_for_the_application() {
    let mut bench = Bench::client().established();
    assert_eq!(bench.channel.write(START, PayloadType::HandshakeResponse, &mut Bytes::from_static(b"{}")), 0);
    assert_eq!(bench.channel.error(), Some(&Misuse::Reserved(PayloadType::HandshakeResponse).into()));
}

#[test]
fn the_window_opens_with_acknowledgements() {
    let limits = Limits { window_min: 10_000, send_buffer: 1 << 20, ..Limits::default() };
    let mut bench = Bench::client_with(limits).established();
    bench.write(&[0; 100_000]);
    let first = bench.frames().len();
    assert_eq!(first, 10_000 / (1024 + 120));
    bench.now += Duration::from_millis(10);
    for sequence in 0..first as i64 {
        bench.peer_acknowledges(sequence);
    }
    let second = bench.frames().len();
    assert!(second > first && second <= 2 * first, "{second} after {first}");
    assert_eq!(bench.channel.stats().rtt, Some(Duration::from_millis(10)));
}

#[test]
fn a_lost_frame_is_sent_again_within_a_round_trip() {
    let mut bench = Bench::client_with(Limits { payload: 1, ..Limits::default() }).established();
    bench.write(b"abcdefgh");
    assert_eq!(bench.frames().len(), 8);
    bench.now += Duration::from_millis(20);
    for sequence in 1..8 {
        bench.peer_acknowledges(sequence);
    }
    assert_eq!(bench.frames(), []);
    let deadline = bench.channel.poll_timeout().unwrap();
    assert!(deadline <= START + Duration::from_millis(23), "{:?}", deadline - START);
    bench.now = deadline;
    bench.channel.handle_timeout(deadline).unwrap();
    assert_eq!(bench.frames(), [output(0, "a")]);
    assert_eq!(bench.channel.stats().retransmits, 1);
}

#[test]
fn an_agent_gets_over_an_acknowledgement_that_the_client_of_aws_will_never_repeat() {
    let mut bench = Bench::agent(None);
    let (mut written, mut acknowledged) = (0, 0);
    while acknowledged < 60_000 {
        written += bench.write(&[0; 1024]);
        bench.pass(Duration::from_millis(1)).unwrap();
        for (sequence, _, _) in bench.frames() {
            if sequence != 5 {
                acknowledged += 1;
                bench.peer_acknowledges(sequence);
            }
        }
        assert!(bench.now < START + Duration::from_secs(100), "{:?}", bench.channel.stats());
    }
    assert!(written > 60_000 * 1000);
    assert!(bench.channel.is_drained());
    assert!(bench.channel.stats().retransmits < 100);
}

#[test]
fn nothing_acknowledged_ends_in_an_error_that_says_what() {
    let limits = Limits { ack_timeout: Some(Duration::from_secs(30)), ..Limits::default() };
    let mut bench = Bench::client_with(limits).established();
    bench.write(b"hello?");
    bench.sent();
    let mut sends = 1;
    let error = loop {
        bench.now = bench.channel.poll_timeout().unwrap();
        match bench.channel.handle_timeout(bench.now) {
            Ok(()) => sends += bench.frames().len() as u32,
            Err(error) => break error,
        }
        assert!(bench.now <= START + Duration::from_secs(30));
    };
    let expected = Lost::Unacknowledged { after: Duration::from_secs(30), sequence: 0, sends, outstanding: 1 };
    assert_eq!(error, expected.into());
    assert!((30..60).contains(&sends), "{sends}");
}

#[test]
fn what_is_not_heard_for_a_slow_application_is_not_late() {
    let limits = Limits { receive_buffer: 1000, ack_timeout: Some(Duration::from_secs(30)), ..Limits::default() };
    let mut bench = Bench::client_with(limits).established();
    bench.write(b"x");
    assert_eq!(bench.frames().len(), 1);
    let mut sequence = 1;
    while bench.channel.wants_input() {
        bench.peer_sends(sequence, PayloadType::Output, "0123456789");
        sequence += 1;
    }
    assert_eq!(bench.channel.poll_timeout(), None);
    bench.pass(Duration::from_secs(1000)).unwrap();
    assert_eq!(bench.frames(), []);
    bench.events();
    // the application reads again, and the driver too: patience begins anew
    assert_eq!(bench.channel.poll_timeout(), Some(bench.now));
    bench.pass(Duration::from_secs(1)).unwrap();
    assert!(bench.channel.poll_timeout().is_some_and(|at| at > bench.now));
    bench.peer_acknowledges(0);
    assert!(bench.channel.is_drained());
    assert_eq!(bench.channel.stats().rtt, None, "the wait says nothing about the path");
    bench.write(b"y");
    bench.sent();
    assert!(bench.pass(Duration::from_secs(30)).is_err());
}

// === Pause, resume, close ===

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
