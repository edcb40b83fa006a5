//! Any bytes as a sequence of calls, with what must hold after each of them.
//!
//! The fuzzer finds the bytes; the property test tries random ones on every run. A call that breaks a rule panics.

use core::time::Duration;
use std::collections::HashSet;

use bytes::Bytes;
use uuid::Uuid;

use crate::Time;
use crate::channel::{AgentRole, ChannelError, ClientRole, DataChannel, Limits, Resends, Role};
use crate::message::{Message, MessageType};
use crate::mux::{Keepalive, Mux, MuxEvent, MuxLimits, MuxRole, Read, StreamId};
use crate::payload::{
    Acknowledge, ActionStatus, ChannelClosed, ClientAction, Flag, HandshakeComplete, HandshakeRequest,
    HandshakeResponse, KmsEncryption, PayloadType, ProcessedAction, SessionState, SessionType, Size,
};

/// Drives a data channel with calls made up from `bytes`.
pub fn operate(bytes: &[u8]) {
    let mut input = Input(bytes);
    let mut operator = Operator::new(&mut input);
    while !input.0.is_empty() {
        operator.step(&mut input);
        operator.check();
    }
}

/// Drives a multiplexer with calls and with the peer's bytes made up from `bytes`.
pub fn multiplex(bytes: &[u8]) {
    let mut input = Input(bytes);
    let role = if input.flag() { MuxRole::Client } else { MuxRole::Server };
    let keepalive = input.flag().then(Keepalive::default);
    let limits = MuxLimits { frame: input.small() + 1, send_buffer: 64, receive_budget: 256, streams: 4, keepalive };
    let (mut mux, mut now) = (Mux::new(role, limits, START), START);
    let mut streams: Vec<StreamId> = Vec::new();
    while !input.0.is_empty() {
        let stream = streams.get(input.small() % streams.len().max(1)).copied();
        match (input.byte() % 9, stream) {
            (0, _) => streams.extend(mux.open()),
            (1, Some(id)) => {
                let mut data = Bytes::copy_from_slice(input.take());
                let (before, room) = (data.len(), mux.send_capacity(id));
                assert_eq!(mux.write(id, &mut data), room.min(before));
            }
            (2, Some(id)) => while matches!(mux.read(id), Read::Data(_)) {},
            (3, Some(id)) => mux.finish(id),
            (4, Some(id)) => mux.reset(id),
            (5, _) => while mux.poll_output().is_some() {},
            (6, _) => {
                now += Duration::from_millis(u64::from(input.byte()) * 100);
                let failed = mux.handle_timeout(now).is_err();
                assert!(failed || mux.poll_timeout().is_none_or(|at| at > now), "it spins");
            }
            (7, _) => drop(mux.handle_input(now, Bytes::copy_from_slice(input.take()))),
            _ => {
                let (command, number, body) = (input.byte() % 4, input.byte() % 8, input.take());
                let length = if command == 2 { body.len() as u8 } else { 0 };
                let mut frame = vec![1, command, length, 0, number, 0, 0, 0];
                frame.extend_from_slice(&body[..length.into()]);
                drop(mux.handle_input(now, frame.into()));
            }
        }
        while let Some(event) = mux.poll_event() {
            let (MuxEvent::Opened(id) | MuxEvent::Readable(id) | MuxEvent::Writable(id)) = event;
            streams.push(id);
        }
        assert!(mux.stats().streams <= 4);
    }
    for id in streams {
        mux.reset(id);
    }
    assert_eq!((mux.stats().streams, mux.stats().unread), (0, 0));
}

struct Operator {
    channel: DataChannel,
    is_agent: bool,
    oldest_only: bool,
    now: Time,
    sent: HashSet<i64>,
    taken: u64,
    error: Option<ChannelError>,
}

impl Operator {
    fn new(input: &mut Input<'_>) -> Self {
        let limits = Limits {
            payload: input.small() + 1,
            send_buffer: 1000,
            window_min: 1000,
            window_max: 5000,
            window_frames: input.small() + 1,
            receive_buffer: 2000,
            reorder_frames: 8,
            reorder_bytes: 400,
            ..Limits::default()
        };
        let is_agent = input.flag();
        let mut oldest_only = false;
        let role = if is_agent {
            let port = SessionType { name: "Port".to_owned(), properties: serde_json::Value::Null };
            let handshake = input.flag().then_some(port);
            oldest_only = input.flag();
            let resends = if oldest_only { Resends::OldestOnly } else { Resends::Lost };
            Role::Agent(AgentRole { handshake, resends, ..AgentRole::default() })
        } else {
            Role::Client(ClientRole { version: "1.2.764.0".to_owned() })
        };
        let channel = DataChannel::new(role, limits, 1, START);
        Self { channel, is_agent, oldest_only, now: START, sent: HashSet::new(), taken: 0, error: None }
    }

    fn step(&mut self, input: &mut Input<'_>) {
        let now = self.now;
        match input.byte() % 14 {
            0 => self.channel.handle_connected(now),
            1 => self.channel.handle_disconnected(now),
            2 => self.now += Duration::from_millis(u64::from(input.byte()).pow(2)),
            3 => self.handle(Bytes::copy_from_slice(input.take())),
            4 => {
                let message = self.stream_frame(input);
                self.handle(message.encode());
            }
            5 => {
                let body =
                    Acknowledge { kind: self.sends(), id: Uuid::nil(), sequence: input.number(), sequential: true };
                self.handle(self.message(MessageType::Acknowledge, body.encode()).encode());
            }
            6 => {
                let (kind, body) = match input.byte() % 8 {
                    0 => (MessageType::ChannelClosed, ChannelClosed::default().encode()),
                    1..4 => (MessageType::PausePublication, Bytes::new()),
                    _ => (MessageType::StartPublication, Bytes::new()),
                };
                self.handle(self.message(kind, body).encode());
            }
            7 => {
                let mut data = Bytes::copy_from_slice(input.take());
                let (before, room) = (data.len(), self.channel.send_capacity());
                let taken = self.channel.write(now, PayloadType::Output, &mut data);
                assert_eq!(taken, room.min(before));
                assert_eq!(taken + data.len(), before);
                self.taken += taken as u64;
            }
            8 => self.channel.send_size(now, Size { cols: 80, rows: u32::from(input.byte()) }),
            9 => self.channel.send_flag(now, Flag::TerminateSession),
            10 => self.channel.set_ready(input.flag()),
            11 => self.channel.open_silently(now),
            12 => self.transmit(input.small()),
            _ => {
                if input.flag() {
                    self.channel.send_session_state(now, SessionState::Connected, "s");
                }
                while self.channel.poll_event().is_some() {}
                assert!(self.channel.is_read());
            }
        }
    }

    /// What must hold at any time.
    fn check(&mut self) {
        for _ in 0..3 {
            if self.channel.poll_timeout().is_none_or(|at| at > self.now) {
                break;
            }
            let outcome = self.channel.handle_timeout(self.now);
            self.remember(outcome);
        }
        assert!(self.channel.poll_timeout().is_none_or(|at| at > self.now), "it spins");
        assert!(self.error.is_none() || self.channel.error() == self.error.as_ref(), "an error stays");
        let stats = self.channel.stats();
        assert!(stats.reorder_frames <= 8);
        // an agent like AWS's has no window, and numbers what it can't send
        assert!(self.oldest_only || stats.in_flight <= 5000 + 2000, "{stats:?}");
        assert!(stats.outstanding as u64 <= stats.frames_sent);
        assert!(self.oldest_only || stats.frames_sent == self.sent.len() as u64);
        if stats.outstanding == 0 {
            assert_eq!(stats.in_flight, 0);
        }
    }

    fn transmit(&mut self, count: usize) {
        for _ in 0..count {
            let Some(frame) = self.channel.poll_transmit(self.now) else { return };
            assert!(self.channel.error().is_none());
            let message = Message::decode(frame);
            assert!(message.is_ok(), "it sends what cannot be read: {message:?}");
            let Ok(message) = message else { return };
            if message.kind == self.sends() {
                let next = self.channel.stats().frames_sent as i64;
                assert!((0..next).contains(&message.sequence), "a number is left out");
                self.sent.insert(message.sequence);
            }
        }
    }

    fn handle(&mut self, message: Bytes) {
        let before = self.error.clone();
        let outcome = self.channel.handle_message(self.now, message);
        assert!(before.is_none_or(|error| outcome == Err(error)), "an error stays");
        self.remember(outcome);
    }

    fn remember(&mut self, outcome: Result<(), ChannelError>) {
        if let Err(error) = outcome {
            self.error.get_or_insert(error);
        }
    }

    fn stream_frame(&self, input: &mut Input<'_>) -> Message {
        let (sequence, kind) = (input.number(), PayloadType::from(u32::from(input.byte() % 14)));
        let well_formed = input.flag();
        let payload = match kind {
            PayloadType::HandshakeRequest if well_formed => request(input),
            PayloadType::HandshakeResponse if well_formed => response(input),
            PayloadType::HandshakeComplete if well_formed => HandshakeComplete::default().encode(),
            PayloadType::Size if well_formed => Size { cols: 1, rows: 1 }.encode(),
            PayloadType::Flag if well_formed => Flag::ConnectToPortError.encode(),
            _ => Bytes::copy_from_slice(input.take()),
        };
        let kind_of_message = if self.is_agent { MessageType::InputStreamData } else { MessageType::OutputStreamData };
        Message { sequence, payload_type: Some(kind), ..self.message(kind_of_message, payload) }
    }

    fn message(&self, kind: MessageType, payload: Bytes) -> Message {
        let id = Uuid::from_u128(self.taken.into());
        Message { kind, created: self.now, sequence: 0, flags: 0, id, payload_type: Some(PayloadType::Unset), payload }
    }

    fn sends(&self) -> MessageType {
        if self.is_agent { MessageType::OutputStreamData } else { MessageType::InputStreamData }
    }
}

fn request(input: &mut Input<'_>) -> Bytes {
    let name = if input.flag() { "Port" } else { "Telepathy" };
    let session = SessionType { name: name.to_owned(), properties: serde_json::Value::Null };
    let mut actions = vec![ClientAction::SessionType(session)];
    if input.flag() {
        actions.push(ClientAction::KmsEncryption(KmsEncryption::default()));
    }
    HandshakeRequest { agent_version: "3.3.0.0".to_owned(), actions }.encode()
}

fn response(input: &mut Input<'_>) -> Bytes {
    let action = ProcessedAction {
        name: "SessionType".to_owned(),
        status: ActionStatus::from(u32::from(input.byte() % 4)),
        result: serde_json::Value::Null,
        error: String::new(),
    };
    HandshakeResponse { client_version: "1.2.0.0".to_owned(), actions: vec![action], errors: None }.encode()
}

/// Bytes, and zeros when they are used up.
struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        *first
    }

    fn flag(&mut self) -> bool {
        self.byte() % 2 == 1
    }

    fn small(&mut self) -> usize {
        usize::from(self.byte() % 32)
    }

    /// Mostly near zero, sometimes anywhere.
    fn number(&mut self) -> i64 {
        match self.byte() {
            near @ 0..=250 => i64::from(near % 32),
            251 => i64::MIN,
            252 => i64::MAX,
            253 => i64::MAX - 1,
            far => i64::from(far) << 24,
        }
    }

    fn take(&mut self) -> &'a [u8] {
        let length = usize::from(self.byte()).min(self.0.len());
        let (first, rest) = self.0.split_at(length);
        self.0 = rest;
        first
    }
}

const START: Time = Time::from_secs(1_700_000_000);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

        #[test]
        fn any_calls_keep_the_rules(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
            operate(&bytes);
        }

        #[test]
        fn any_streams_keep_the_rules(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
            multiplex(&bytes);
        }
    }
}
