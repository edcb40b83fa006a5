//! Who may send what before both ends know what session this is.
//!
//! ```text
//!   client                                                  agent
//!   ──────                                                  ─────
//!   ExpectFirst ── HandshakeRequest ──▶ ExpectComplete      (no handshake) ──────────────▶ Established
//!      │  │             │ cannot do it       │
//!      │  │             ▼                    │              ExpectResponse ─ Response ───▶ Established
//!      │  │          Refused ─▶ error        │                   │ refused, or 15 s
//!      │  └─ any other frame ─▶ Established ◀┘                   ▼
//!      └─ open_silently ─▶ Silent ─┘                           error
//! ```
//!
//! The agent acknowledges and discards data that comes before its handshake is over
//! (agent/session/datachannel/datachannel.go, processStreamDataMessage and PerformHandshake), so a client sends nothing
//! but its response before `HandshakeComplete` (or before the first frame of a session without handshake). A command
//! that prints nothing has no first frame: for that there is `Silent`, on the caller's word.

use core::time::Duration;

use serde_json::Value;

use crate::Time;
use crate::payload::{
    ActionStatus, ClientAction, HandshakeComplete, HandshakeRequest, HandshakeResponse, PayloadError, PayloadType,
    ProcessedAction,
};
use crate::version::{self, Version};

use super::config::{AgentRole, ClientRole, Role};
use super::error::{ChannelError, Lost, PeerIncompatible, PeerMisbehaved};
use super::event::Event;
use super::inbound::Frame;

#[derive(Debug)]
pub(crate) struct Handshake {
    role: Role,
    state: State,
}

#[derive(Debug)]
enum State {
    /// Not connected yet (agent), or waiting for the first frame (client).
    ExpectFirst,
    /// Client: told to send without a first frame.
    Silent,
    /// Client: the response is out.
    ExpectComplete(Box<Offer>),
    /// Client: the response says no; the error becomes the channel's as soon as the agent has it.
    Refused(PeerIncompatible),
    /// Agent: the request is out since then.
    ExpectResponse(Time),
    Established,
}

#[derive(Debug)]
struct Offer {
    session_type: Option<String>,
    properties: Value,
    agent_version: String,
}

/// What a step of the handshake leads to.
#[derive(Debug, Default)]
pub(crate) struct Step {
    pub(crate) send: Option<(PayloadType, bytes::Bytes)>,
    pub(crate) event: Option<Event>,
}

impl Handshake {
    pub(crate) fn new(role: Role) -> Self {
        Self { role, state: State::ExpectFirst }
    }

    /// Whether data may be sent.
    pub(crate) fn is_open(&self) -> bool {
        matches!(self.state, State::Established | State::Silent)
    }

    /// Whether a client still waits for its peer.
    pub(crate) fn is_waiting(&self) -> bool {
        matches!(self.state, State::ExpectFirst | State::ExpectComplete(_) | State::Refused(_))
    }

    /// Since when an agent has waited for the response.
    pub(crate) fn request_sent(&self) -> Option<Time> {
        match self.state {
            State::ExpectResponse(since) => Some(since),
            _ => None,
        }
    }

    /// A client's complaint that it has waited so long in vain.
    pub(crate) fn lost(&self, after: Duration) -> Lost {
        match self.state {
            State::ExpectFirst => Lost::Silent { after },
            _ => Lost::Incomplete { after },
        }
    }

    /// Why the client said no, if it did.
    pub(crate) fn refusal(&self) -> Option<&PeerIncompatible> {
        match &self.state {
            State::Refused(reason) => Some(reason),
            _ => None,
        }
    }

    /// Whether an agent discards data, although it acknowledges it (processStreamDataMessage, which returns no error
    /// then).
    pub(crate) fn discards_data(&self) -> bool {
        match (&self.role, &self.state) {
            (Role::Agent(agent), State::ExpectFirst) => agent.handshake.is_some(),
            (_, state) => matches!(state, State::ExpectResponse(_)),
        }
    }

    /// The websocket came up. The agent begins, the first time (agent/session/plugins/sessionplugin/sessionplugin.go,
    /// Execute: PerformHandshake or SkipHandshake).
    pub(crate) fn connected(&mut self, now: Time) -> Step {
        let Role::Agent(agent) = &self.role else { return Step::default() };
        if !matches!(self.state, State::ExpectFirst) {
            return Step::default();
        }
        let Some(session_type) = agent.handshake.clone() else {
            let event = Event::Established {
                session_type: None,
                properties: Value::Null,
                agent_version: Some(agent.version.clone()),
                client_version: None,
                handshake: false,
                customer_message: String::new(),
            };
            self.state = State::Established;
            return Step { send: None, event: Some(event) };
        };
        let request = HandshakeRequest {
            agent_version: agent.version.clone(),
            actions: vec![ClientAction::SessionType(session_type)],
        };
        self.state = State::ExpectResponse(now);
        Step { send: Some((PayloadType::HandshakeRequest, request.encode())), event: None }
    }

    /// The caller vouches that there is no handshake.
    pub(crate) fn open_silently(&mut self) -> Option<Event> {
        let (State::ExpectFirst, Role::Client(client)) = (&self.state, &self.role) else { return None };
        let event = without_handshake(client);
        self.state = State::Silent;
        Some(event)
    }

    /// A client's first frame that is none of the handshake's means that there is none. So does the client of AWS take
    /// it, if it is output (src/sessionmanagerplugin/session/sessionhandler.go, ProcessFirstMessage).
    pub(crate) fn saw_data(&mut self) -> Option<Event> {
        match (&self.state, &self.role) {
            (State::ExpectFirst, Role::Client(client)) => {
                let event = without_handshake(client);
                self.state = State::Established;
                Some(event)
            }
            (State::Silent, _) => {
                self.state = State::Established;
                None
            }
            _ => None,
        }
    }

    /// A frame of the handshake came, in order. `has_sent` tells whether any frame has gone the other way.
    pub(crate) fn handle(&mut self, now: Time, frame: &Frame, has_sent: bool) -> Result<Step, ChannelError> {
        match (&self.role, &self.state, frame.kind) {
            (Role::Client(_), State::Silent, PayloadType::HandshakeRequest) if has_sent => {
                Err(PeerIncompatible::HandshakeAfterData.into())
            }
            (Role::Client(client), State::ExpectFirst | State::Silent, PayloadType::HandshakeRequest) => {
                let request = HandshakeRequest::decode(&frame.payload).map_err(bad(frame))?;
                let (response, outcome) = answer(client, request);
                self.state = match outcome {
                    Ok(offer) => State::ExpectComplete(Box::new(offer)),
                    Err(reason) => State::Refused(reason),
                };
                Ok(Step { send: Some((PayloadType::HandshakeResponse, response.encode())), event: None })
            }
            (Role::Client(client), State::ExpectComplete(offer), PayloadType::HandshakeComplete) => {
                let complete = HandshakeComplete::decode(&frame.payload).map_err(bad(frame))?;
                let event = Event::Established {
                    session_type: offer.session_type.clone(),
                    properties: offer.properties.clone(),
                    agent_version: Some(offer.agent_version.clone()),
                    client_version: Some(client.version.clone()),
                    handshake: true,
                    customer_message: complete.customer_message,
                };
                self.state = State::Established;
                Ok(Step { send: None, event: Some(event) })
            }
            (Role::Agent(agent), State::ExpectResponse(since), PayloadType::HandshakeResponse) => {
                let response = HandshakeResponse::decode(&frame.payload).map_err(bad(frame))?;
                let took = now.saturating_sub(*since);
                let (complete, event) = complete(agent, response, took)?;
                self.state = State::Established;
                Ok(Step { send: Some((PayloadType::HandshakeComplete, complete.encode())), event: Some(event) })
            }
            _ => Err(PeerMisbehaved::UnexpectedHandshake {
                sequence: frame.sequence,
                kind: frame.kind,
                state: self.describe(),
            }
            .into()),
        }
    }

    fn describe(&self) -> &'static str {
        match (&self.role, &self.state) {
            (Role::Client(_), State::ExpectFirst) => "the client waits for the session's first frame",
            (Role::Agent(_), State::ExpectFirst) => "the agent is not connected yet",
            (_, State::Silent) => "the channel was opened without a handshake",
            (_, State::ExpectComplete(_)) => "the client waits for the handshake to be complete",
            (_, State::Refused(_)) => "the client has refused the handshake",
            (_, State::ExpectResponse(_)) => "the agent waits for the handshake response",
            (_, State::Established) => "the session is established",
        }
    }
}

fn without_handshake(client: &ClientRole) -> Event {
    Event::Established {
        session_type: None,
        properties: Value::Null,
        agent_version: None,
        client_version: Some(client.version.clone()),
        handshake: false,
        customer_message: String::new(),
    }
}

/// The client's answer, and what follows from it here (src/datachannel/streaming.go, handleHandshakeRequest). Three
/// things are other than there: the session's type is told as it is, where ProcessSessionTypeHandshakeAction makes the
/// three kinds of shell one; encryption always fails; and an unknown action has the status Unsupported.
fn answer(client: &ClientRole, request: HandshakeRequest) -> (HandshakeResponse, Result<Offer, PeerIncompatible>) {
    let mut offer = Offer { session_type: None, properties: Value::Null, agent_version: request.agent_version };
    let mut refusal = None;
    let mut processed = Vec::with_capacity(request.actions.len());
    for action in request.actions {
        let name = action.name().to_owned();
        let (status, reason) = match action {
            ClientAction::SessionType(session) if SESSION_TYPES.contains(&session.name.as_str()) => {
                offer.session_type = Some(session.name);
                offer.properties = session.properties;
                (ActionStatus::Success, None)
            }
            ClientAction::SessionType(session) => {
                (ActionStatus::Failed, Some(PeerIncompatible::SessionType(session.name)))
            }
            ClientAction::KmsEncryption(kms) => {
                (ActionStatus::Failed, Some(PeerIncompatible::Encryption { key_id: kms.key_id }))
            }
            ClientAction::Other { name, .. } => (ActionStatus::Unsupported, Some(PeerIncompatible::Action(name))),
        };
        let error = reason.as_ref().map(PeerIncompatible::to_string).unwrap_or_default();
        processed.push(ProcessedAction { name, status, result: Value::Null, error });
        refusal = refusal.or(reason);
    }
    let response = HandshakeResponse { client_version: client.version.clone(), actions: processed, errors: None };
    (response, refusal.map_or(Ok(offer), Err))
}

/// The agent's view of the client's answer (agent/session/datachannel/datachannel.go, handleHandshakeResponse and
/// buildHandshakeCompletePayload). Of several failures the agent reports the last, this one the first.
fn complete(
    agent: &AgentRole,
    response: HandshakeResponse,
    took: Duration,
) -> Result<(HandshakeComplete, Event), ChannelError> {
    let failed = response.actions.into_iter().find(|action| action.status != ActionStatus::Success);
    if let Some(ProcessedAction { name, status, error, .. }) = failed {
        return Err(PeerIncompatible::ActionFailed { name, status, error }.into());
    }
    let is_old =
        version::compare(&response.client_version, &Version::CLIENT_WITHOUT_SEPARATE_STREAMS.to_string()).is_le();
    let mut customer_message = agent.customer_message.clone();
    if agent.asks_old_clients_to_update && is_old {
        customer_message.push_str(PLEASE_UPDATE);
    }
    let nanoseconds = i64::try_from(took.as_nanos()).unwrap_or(i64::MAX);
    let event = Event::Established {
        session_type: agent.handshake.as_ref().map(|session| session.name.clone()),
        properties: agent.handshake.as_ref().map(|session| session.properties.clone()).unwrap_or_default(),
        agent_version: Some(agent.version.clone()),
        client_version: Some(response.client_version),
        handshake: true,
        customer_message: customer_message.clone(),
    };
    Ok((HandshakeComplete { nanoseconds, customer_message }, event))
}

fn bad(frame: &Frame) -> impl FnOnce(PayloadError) -> ChannelError {
    let sequence = frame.sequence;
    move |error| PeerMisbehaved::BadPayload { sequence, error }.into()
}

/// The …PluginName of src/config/config.go, which are the session types that ProcessSessionTypeHandshakeAction takes.
const SESSION_TYPES: [&str; 4] = ["Standard_Stream", "InteractiveCommands", "NonInteractiveCommands", "Port"];

/// The agent's own words, grammar included: it is part of what the emulated agent must say
/// (agent/session/datachannel/datachannel.go, buildHandshakeCompletePayload).
const PLEASE_UPDATE: &str = "Please update session manager plugin version (minimum required version 1.2.312.0) for \
                             fully support of separate StdOut/StdErr output.\r\n";
