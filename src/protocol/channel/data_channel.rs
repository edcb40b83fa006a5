//! The public calls of a channel, and which mechanism gets which frame. There is no mechanism in this file.

use std::collections::VecDeque;

use bytes::Bytes;

use crate::Time;
use crate::message::{FLAG_FIN, FLAG_SYN, Message, MessageType};
use crate::payload::{
    Acknowledge, AgentSessionState, ChannelClosed, Flag, PayloadError, PayloadType, SessionState, Size,
};
use crate::rng::Rng;

use super::config::{Limits, Resends, Role};
use super::error::{ChannelError, Lost, Misuse, PeerMisbehaved};
use super::event::{Event, Stats};
use super::handshake::{Handshake, Step};
use super::inbound::{Arrival, Frame, Inbound};
use super::outbound::Outbound;
use super::stall::Watch;

/// One end of a data channel, client or agent, over any number of websockets one after the other.
///
/// See the [module](super) for how to drive it. An error is final: every later call that can fail returns it again, and
/// nothing is transmitted any more; events from before the error can still be polled.
#[derive(Debug)]
pub struct DataChannel {
    is_agent: bool,
    resends: Resends,
    limits: Limits,
    rng: Rng,
    link: Link,
    /// When the websocket first came up.
    began: Option<Time>,
    connections: u64,
    handshake: Handshake,
    inbound: Inbound,
    outbound: Outbound,
    watch: Watch,
    /// Frames outside the stream: session states.
    notices: VecDeque<Message>,
    events: VecDeque<Event>,
    events_weight: usize,
    /// Since when so much waits for the application that the driver does not read: what is not heard is not late.
    deaf_since: Option<Time>,
    ready: bool,
    /// The service asked not to publish. Only an agent obeys.
    paused: bool,
    pauses: u64,
    closed: bool,
    error: Option<ChannelError>,
    /// The last time the caller told.
    latest: Time,
    ignored: u64,
    rejected: u64,
    early: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Link {
    Never,
    Up,
    DownSince(Time),
}

impl DataChannel {
    /// A channel that was never connected. Equal seeds give equal message ids, and nothing depends on them.
    pub fn new(role: Role, limits: Limits, seed: u64, now: Time) -> Self {
        let is_agent = matches!(role, Role::Agent(_));
        let resends = match &role {
            Role::Agent(agent) => agent.resends,
            Role::Client(_) => Resends::Lost,
        };
        let kind = if is_agent { MessageType::OutputStreamData } else { MessageType::InputStreamData };
        Self {
            is_agent,
            resends,
            rng: Rng::new(seed),
            link: Link::Never,
            began: None,
            connections: 0,
            handshake: Handshake::new(role),
            inbound: Inbound::new(resends, &limits),
            outbound: Outbound::new(kind, resends, &limits, now),
            watch: Watch::new(&limits),
            notices: VecDeque::new(),
            events: VecDeque::new(),
            events_weight: 0,
            deaf_since: None,
            ready: true,
            paused: false,
            pauses: 0,
            closed: false,
            error: None,
            latest: now,
            ignored: 0,
            rejected: 0,
            early: 0,
            limits,
        }
    }

    // === What the network and the clock did ===

    /// The websocket is open and the open message is sent: the first one, or one after a resume. Everything that was
    /// not acknowledged is sent again in order, and acknowledgements that may have been lost with the last websocket too.
    pub fn handle_connected(&mut self, now: Time) {
        match self.link {
            Link::DownSince(since) => {
                self.inbound.reconnected(since);
                // the time without a websocket is not held against the peer
                self.outbound.stalled_since += now.saturating_sub(since);
            }
            Link::Up => self.inbound.reconnected(now),
            Link::Never => self.began = Some(now),
        }
        self.link = Link::Up;
        self.connections += 1;
        self.outbound.reconnected(now);
        self.watch.restart(now);
        // agent/session/datachannel/datachannel.go, Reconnect
        self.set_paused(now, false);
        let step = self.handshake.connected(now);
        self.take_step(step);
    }

    /// The websocket is gone. Nothing is lost yet: resume the session and call [`Self::handle_connected`].
    pub fn handle_disconnected(&mut self, now: Time) {
        if self.link == Link::Up {
            self.link = Link::DownSince(now);
            self.inbound.disconnected(!self.handshake.is_open());
            self.send_into_nothing(now);
        }
    }

    /// One binary message came from the websocket.
    ///
    /// # Errors
    ///
    /// The [`ChannelError`] that ended the channel, now or before. A message that is no frame is none: both ends of
    /// AWS go on.
    pub fn handle_message(&mut self, now: Time, message: Bytes) -> Result<(), ChannelError> {
        self.check_error()?;
        if self.closed {
            return Ok(());
        }
        self.listen(now);
        let outcome = self.dispatch(now, message);
        self.listen(now);
        self.settle(outcome)
    }

    /// The time that [`Self::poll_timeout`] gave has come. Calling it early or often does no harm.
    ///
    /// # Errors
    ///
    /// The [`ChannelError`] that ended the channel, now or before: patience that has run out is one.
    pub fn handle_timeout(&mut self, now: Time) -> Result<(), ChannelError> {
        self.check_error()?;
        if self.closed {
            return Ok(());
        }
        self.listen(now);
        self.inbound.check(now);
        if self.may_resend() {
            self.outbound.check(now);
        }
        self.watch(now);
        let outcome = match self.expired(now) {
            Some(lost) => Err(self.handshake.refusal().cloned().map_or(lost.into(), ChannelError::from)),
            None => Ok(()),
        };
        self.settle(outcome)
    }

    // === Commands ===

    /// Takes as much of `data` as the send buffer has room for, off its front, and returns how much. Before the session
    /// is established it is kept back. Small writes share a frame as long as it is not sent.
    pub fn write(&mut self, now: Time, kind: PayloadType, data: &mut Bytes) -> usize {
        if self.error.is_some() || self.closed {
            return 0;
        }
        if kind.is_handshake() {
            self.fail(Misuse::Reserved(kind).into());
            return 0;
        }
        let taken = self.outbound.write(kind, data);
        self.send_into_nothing(now);
        taken
    }

    /// Tells the terminal's size, at its place among the data. Of several unsent ones in a row only the last is sent.
    pub fn send_size(&mut self, _now: Time, size: Size) {
        self.push(PayloadType::Size, &size.encode(), true);
    }

    /// Sends a flag, at its place among the data.
    pub fn send_flag(&mut self, _now: Time, flag: Flag) {
        self.push(PayloadType::Flag, &flag.encode(), false);
    }

    /// Client: send without waiting for a first frame. A session of type InteractiveCommands whose command prints
    /// nothing has no first frame, and does no handshake. Does nothing once the session is established.
    ///
    /// Only for a session that is known to have no handshake: an agent discards what comes before its own is over.
    pub fn open_silently(&mut self, _now: Time) {
        if let Some(event) = self.handshake.open_silently() {
            self.emit(event);
        }
    }

    /// Agent: whether the terminal or the port is there. While it is not, frames in order are refused silently, as the
    /// real agent does: not acknowledged, and to be sent again (ErrHandlerNotReady in
    /// agent/session/datachannel/datachannel.go, handleStreamDataMessage; raised by agent/session/shell/shell_unix.go
    /// and agent/session/plugins/port/port.go). A channel starts out ready.
    pub fn set_ready(&mut self, ready: bool) {
        self.ready = ready;
        if ready && !self.closed && self.error.is_none() {
            let outcome = self.deliver_held(self.latest);
            // an error shows at the next call
            let _ = self.settle(outcome);
        }
    }

    /// Agent: tells the service how the session stands. Such frames are not acknowledged, and outside the sequence
    /// (agent/session/datachannel/datachannel.go, SendAgentSessionStateMessage and sendAgentMessage).
    pub fn send_session_state(&mut self, now: Time, state: SessionState, session_id: &str) {
        let schema_version = AgentSessionState::SCHEMA_VERSION;
        let body = AgentSessionState { schema_version, state, session_id: session_id.to_owned() };
        self.notices.push_back(Message {
            kind: MessageType::AgentSessionState,
            created: now,
            sequence: 0,
            flags: FLAG_SYN | FLAG_FIN,
            id: self.rng.uuid(),
            payload_type: Some(PayloadType::Unset),
            payload: body.encode(),
        });
    }

    // === What must be sent, slept on, told ===

    /// The next websocket message to send; `None` if there is nothing to send now. A message that was handed out counts
    /// as sent.
    pub fn poll_transmit(&mut self, now: Time) -> Option<Bytes> {
        if self.link != Link::Up || self.error.is_some() || self.closed {
            return None;
        }
        self.listen(now);
        let outcome = self.go_on(now);
        self.settle(outcome).ok()?;
        let peer = if self.is_agent { &MessageType::InputStreamData } else { &MessageType::OutputStreamData };
        if let Some(ack) = self.inbound.poll_ack(now, peer, &mut self.rng) {
            return Some(ack);
        }
        if let Some(notice) = self.notices.pop_front() {
            return Some(notice.encode());
        }
        if !self.may_publish() {
            return None;
        }
        if self.may_resend() {
            self.outbound.check(now);
        }
        self.outbound.poll(now, self.handshake.is_open(), &mut self.rng)
    }

    /// When [`Self::handle_timeout`] must be called at the latest. `None`: not before something else happens.
    pub fn poll_timeout(&self) -> Option<Time> {
        if self.error.is_some() || self.closed {
            return None;
        }
        if self.deaf_since.is_some() && self.has_room() {
            // patience begins anew, as soon as somebody tells the time
            return Some(self.latest);
        }
        let resend = if self.may_resend() { self.outbound.deadline() } else { None };
        let acks = self.inbound.ack_deadline().filter(|_| self.link == Link::Up);
        let sign = self.watch.deadline(self.silent_since()).filter(|_| self.may_resend());
        let deadlines =
            [resend, acks, sign, self.stall_deadline(), self.establish_deadline(), self.reconnect_deadline()];
        deadlines.into_iter().flatten().min()
    }

    /// The next piece of news.
    pub fn poll_event(&mut self) -> Option<Event> {
        let event = self.events.pop_front()?;
        self.events_weight -= event.weight();
        Some(event)
    }

    // === How it stands ===

    /// Whether the driver should go on reading the socket. False while the application has not polled what came: the
    /// websocket then holds the peer back. Frames are never dropped for that.
    pub fn wants_input(&self) -> bool {
        self.has_room() && self.inbound.owed() < OWED_MAX
    }

    /// Whether every event has been polled.
    pub fn is_read(&self) -> bool {
        self.events.is_empty()
    }

    /// How many bytes [`Self::write`] would take now.
    pub fn send_capacity(&self) -> usize {
        if self.error.is_some() || self.closed { 0 } else { self.outbound.capacity() }
    }

    /// Whether everything written has been acknowledged.
    pub fn is_drained(&self) -> bool {
        self.outbound.is_drained()
    }

    /// Whether data may flow: [`Event::Established`] was emitted.
    pub fn is_established(&self) -> bool {
        self.handshake.is_open()
    }

    /// Whether the service has ended the session.
    pub fn is_closed(&self) -> bool {
        self.closed
    }

    /// Whether the service has asked not to publish.
    pub fn is_paused(&self) -> bool {
        self.paused
    }

    /// How often it has asked so: a pause may be over before anybody looks.
    pub fn pauses(&self) -> u64 {
        self.pauses
    }

    /// The error that ended the channel.
    pub fn error(&self) -> Option<&ChannelError> {
        self.error.as_ref()
    }

    /// The channel's figures.
    pub fn stats(&self) -> Stats {
        let (rtt, flight) = (self.outbound.rtt(), self.outbound.flight());
        Stats {
            rtt: rtt.smoothed(),
            rtt_min: rtt.minimum(),
            rto: rtt.rto(),
            window: self.outbound.window(),
            in_flight: flight.in_flight(),
            outstanding: flight.outstanding(),
            queued: self.outbound.queued(),
            frames_sent: self.outbound.frames_sent,
            retransmits: self.outbound.retransmits,
            frames_received: self.inbound.received,
            duplicates: self.inbound.duplicates,
            reorder_frames: self.inbound.held(),
            overflows: self.inbound.overflows,
            rejected: self.rejected,
            early: self.early,
            ignored: self.ignored,
            acks_sent: self.inbound.acks_sent,
            acks_received: self.outbound.acks_received,
            acks_owed: self.inbound.owed(),
            connections: self.connections,
        }
    }

    // === Which mechanism gets which frame ===

    fn dispatch(&mut self, now: Time, message: Bytes) -> Result<(), ChannelError> {
        // Both ends of AWS log a message that is no frame, and go on (OutputMessageHandler in
        // src/datachannel/streaming.go, dataChannelIncomingMessageHandler in agent/session/datachannel/datachannel.go);
        // so does a digest that is wrong go unacknowledged. Which message types they know is in the same two functions.
        let Ok(message) = Message::decode(message) else {
            self.ignored += 1;
            return Ok(());
        };
        match message.kind {
            MessageType::OutputStreamData if !self.is_agent => self.handle_stream(now, message),
            MessageType::InputStreamData if self.is_agent => {
                // a sign that the peer is there: handleStreamDataMessage, and below handleAcknowledgeMessage
                self.set_paused(now, false);
                self.handle_stream(now, message)
            }
            MessageType::Acknowledge => {
                if self.is_agent {
                    self.set_paused(now, false);
                }
                match Acknowledge::decode_sequence(&message.payload) {
                    Ok(sequence) => self.outbound.acknowledge(now, sequence),
                    Err(_) => self.ignored += 1,
                }
                Ok(())
            }
            MessageType::ChannelClosed => {
                self.handle_closed(&message);
                Ok(())
            }
            // handlePausePublicationMessage of the agent; the client takes both and does nothing
            MessageType::PausePublication => {
                self.set_paused(now, true);
                Ok(())
            }
            MessageType::StartPublication => {
                self.set_paused(now, false);
                Ok(())
            }
            _ => {
                self.ignored += 1;
                Ok(())
            }
        }
    }

    fn handle_stream(&mut self, now: Time, message: Message) -> Result<(), ChannelError> {
        self.go_on(now)?;
        match self.inbound.wait_in_line(message) {
            Some(message) => self.take_stream(now, message),
            None => Ok(()),
        }
    }

    /// AWS's agent: if the last acknowledgement is written, the next frame may be looked at.
    fn go_on(&mut self, now: Time) -> Result<(), ChannelError> {
        if self.inbound.moves_on() {
            self.deliver_held(now)?;
        }
        while let Some(message) = self.inbound.next_in_line() {
            self.take_stream(now, message)?;
        }
        Ok(())
    }

    fn take_stream(&mut self, now: Time, message: Message) -> Result<(), ChannelError> {
        let id = message.id;
        let duplicates = self.inbound.duplicates;
        let Arrival::Expected(frame) = self.inbound.arrive(now, message) else {
            if self.inbound.duplicates > duplicates {
                self.watch.repeated(now);
            } else {
                self.watch.progressed();
            }
            self.watch.arrived(now, self.inbound.expected(), self.inbound.first_held());
            self.watch(now);
            return Ok(());
        };
        if self.refuses(&frame) {
            self.rejected += 1;
            return Ok(());
        }
        // The agent acknowledges after it has delivered, and so not what it fails at (handleStreamDataMessage). Here
        // what fails ends the channel, and nothing more is sent.
        self.inbound.advance(now, Some(id));
        self.deliver(now, frame)?;
        self.deliver_held(now)?;
        self.watch.progressed();
        self.watch.arrived(now, self.inbound.expected(), self.inbound.first_held());
        Ok(())
    }

    /// Frames that waited for one that is here now. They were acknowledged when they came
    /// (processIncomingMessageBufferItems of the agent; its refusal, too, leaves them where they are).
    fn deliver_held(&mut self, now: Time) -> Result<(), ChannelError> {
        while let Some(frame) = self.inbound.take_held() {
            if self.refuses(&frame) {
                self.inbound.put_back(frame);
                return Ok(());
            }
            self.inbound.advance(now, None);
            self.deliver(now, frame)?;
        }
        Ok(())
    }

    /// Before the handshake is over nothing is refused: it is discarded instead (processStreamDataMessage of the agent,
    /// which asks for the handshake before it asks the plugin).
    fn refuses(&self, frame: &Frame) -> bool {
        !self.ready && !frame.kind.is_handshake() && !self.handshake.discards_data()
    }

    fn deliver(&mut self, now: Time, frame: Frame) -> Result<(), ChannelError> {
        if frame.kind.is_handshake() {
            let step = self.handshake.handle(now, &frame, self.outbound.has_begun())?;
            self.take_step(step);
            return Ok(());
        }
        if self.handshake.discards_data() {
            self.early += 1;
            return Ok(());
        }
        if let Some(established) = self.handshake.saw_data() {
            self.emit(established);
        }
        let bad = |error: PayloadError| PeerMisbehaved::BadPayload { sequence: frame.sequence, error };
        match frame.kind {
            // neither end of AWS can write an empty body (SendStreamDataMessage ignores it, putBytes of the client's
            // messageparser.go fails), and there is nothing in it to tell
            _ if frame.payload.is_empty() => {}
            PayloadType::Flag => self.emit(Event::Flag(Flag::decode(&frame.payload).map_err(bad)?)),
            PayloadType::Size => self.emit(Event::Size(Size::decode(&frame.payload).map_err(bad)?)),
            kind => self.emit(Event::Data { kind, bytes: frame.payload }),
        }
        Ok(())
    }

    fn handle_closed(&mut self, message: &Message) {
        if let Some(reason) = self.handshake.refusal().cloned() {
            self.fail(reason.into());
            return;
        }
        // a body that cannot be read ends the session all the same: src/datachannel/streaming.go,
        // HandleChannelClosedMessage (to the agent it does not: handleChannelClosedMessage)
        let output = ChannelClosed::decode(&message.payload).map(|closed| closed.output).unwrap_or_default();
        self.emit(Event::Closed { output });
        self.closed = true;
    }

    fn set_paused(&mut self, now: Time, paused: bool) {
        if self.paused == paused {
            return;
        }
        self.paused = paused;
        if paused {
            self.pauses += 1;
            self.send_into_nothing(now);
        }
        if self.is_agent && !paused {
            // nor is the time of the pause held against the peer
            self.outbound.stalled_since = now;
            self.outbound.skip_ticks(now);
        }
        self.emit(if paused { Event::Paused } else { Event::Resumed });
    }

    /// Only an agent obeys: agent/session/datachannel/datachannel.go, SendStreamDataMessage, against
    /// OutputMessageHandler in src/datachannel/streaming.go.
    fn may_publish(&self) -> bool {
        self.link == Link::Up && !(self.is_agent && self.paused)
    }

    /// AWS's agent sends again by the clock, whether or not anybody listens to what is acknowledged.
    fn may_resend(&self) -> bool {
        self.may_publish() && (self.deaf_since.is_none() || self.resends == Resends::OldestOnly)
    }

    /// AWS's agent goes on while it can't send, and what it would have sent is lost (SendStreamDataMessage logs the error and
    /// keeps the frame).
    fn send_into_nothing(&mut self, now: Time) {
        if self.resends == Resends::OldestOnly && self.link != Link::Never && !self.may_publish() {
            self.outbound.send_into_nothing(now, self.handshake.is_open(), &mut self.rng);
        }
    }

    fn has_room(&self) -> bool {
        self.events_weight < self.limits.receive_buffer
    }

    /// While the application is slow and the driver does not read, acknowledgements are not heard, and patience stops.
    fn listen(&mut self, now: Time) {
        self.latest = now;
        match self.deaf_since {
            None if !self.has_room() => self.deaf_since = Some(now),
            Some(since) if self.has_room() => {
                self.deaf_since = None;
                self.outbound.listens_again(now, now.saturating_sub(since));
                self.watch.restart(now);
            }
            _ => {}
        }
    }

    fn take_step(&mut self, step: Step) {
        if let Some((kind, body)) = step.send {
            self.outbound.push_urgent(kind, &body);
        }
        if let Some(event) = step.event {
            self.emit(event);
        }
    }

    fn push(&mut self, kind: PayloadType, body: &[u8], replaces: bool) {
        if self.error.is_none() && !self.closed {
            self.outbound.push(kind, body, replaces);
            self.send_into_nothing(self.latest);
        }
    }

    fn emit(&mut self, event: Event) {
        self.events_weight += event.weight();
        self.events.push_back(event);
    }

    // === Deadlines ===

    fn expired(&self, now: Time) -> Option<Lost> {
        let due = |deadline: Option<Time>| deadline.is_some_and(|deadline| now >= deadline);
        if due(self.establish_deadline()) {
            return Some(match self.began {
                Some(began) if !self.is_agent => self.handshake.lost(now.saturating_sub(began)),
                _ => Lost::Handshake,
            });
        }
        if let (true, Link::DownSince(since)) = (due(self.reconnect_deadline()), self.link) {
            return Some(Lost::Disconnected { after: now.saturating_sub(since) });
        }
        if due(self.stall_deadline()) {
            let flight = self.outbound.flight();
            let (sequence, sends) = flight.oldest()?;
            let after = now.saturating_sub(self.outbound.stalled_since);
            return Some(Lost::Unacknowledged { after, sequence, sends, outstanding: flight.outstanding() });
        }
        None
    }

    /// Tells of a sign, when it has become one.
    fn watch(&mut self, now: Time) {
        if self.may_resend()
            && let Some(stall) = self.watch.poll(now, self.silent_since())
        {
            self.emit(Event::Stalled(stall));
        }
    }

    /// Since when frames are out and none was acknowledged.
    fn silent_since(&self) -> Option<Time> {
        (self.outbound.flight().outstanding() > 0).then_some(self.outbound.stalled_since)
    }

    fn stall_deadline(&self) -> Option<Time> {
        let waits = self.may_resend() && self.outbound.flight().outstanding() > 0;
        self.limits.ack_timeout.filter(|_| waits).map(|timeout| self.outbound.stalled_since + timeout)
    }

    fn establish_deadline(&self) -> Option<Time> {
        if self.is_agent {
            return self.handshake.request_sent().map(|sent| sent + self.limits.handshake_timeout);
        }
        let began = self.began.filter(|_| self.handshake.is_waiting())?;
        self.limits.establish_timeout.map(|timeout| began + timeout)
    }

    fn reconnect_deadline(&self) -> Option<Time> {
        match (self.link, self.limits.reconnect_timeout) {
            (Link::DownSince(since), Some(timeout)) => Some(since + timeout),
            _ => None,
        }
    }

    // === Errors ===

    /// Keeps an error for good, and lets a refusal become one as soon as the agent has been told.
    fn settle(&mut self, outcome: Result<(), ChannelError>) -> Result<(), ChannelError> {
        if let Err(error) = outcome {
            self.fail(error);
        } else if let Some(reason) = self.handshake.refusal().filter(|_| self.outbound.is_response_acknowledged()) {
            self.fail(reason.clone().into());
        }
        self.check_error()
    }

    fn fail(&mut self, error: ChannelError) {
        self.error.get_or_insert(error);
    }

    fn check_error(&self) -> Result<(), ChannelError> {
        self.error.clone().map_or(Ok(()), Err)
    }
}

/// So many acknowledgements can wait before the driver is asked to stop reading. Few enough to bound memory, and so many
/// that two ends which both wait for the other to read cannot come from this alone.
const OWED_MAX: usize = 65_536;
