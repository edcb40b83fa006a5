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

mod handshake;
mod inbound;
mod link;
mod oldest_only;
mod outbound;

const START: Time = Time::from_secs(1_700_000_000);

/// A channel and its hand-played peer.
struct HandPlayed {
    channel: DataChannel,
    now: Time,
    kind: MessageType,
}

impl HandPlayed {
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

    /// Acknowledgements go at once here, so that each test sees its own; the delay has tests of its own.
    fn new(role: Role, limits: Limits, kind: MessageType) -> Self {
        Self::waiting(role, Limits { ack_delay: Duration::ZERO, ..limits }, kind)
    }

    fn waiting(role: Role, limits: Limits, kind: MessageType) -> Self {
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

fn respond(version: &str, status: ActionStatus) -> Bytes {
    let action = ProcessedAction { name: "SessionType".into(), status, result: Value::Null, error: "no".into() };
    HandshakeResponse { client_version: version.into(), actions: vec![action], errors: None }.encode()
}
