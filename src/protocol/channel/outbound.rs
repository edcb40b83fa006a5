//! Frames that go out: data is cut in frames, numbered, sent as far as the window allows, and kept until acknowledged.
//!
//! ```text
//!   write ──▶ drafts ──▶ (gate: established, not paused) ──▶ (window) ──▶ flight ──▶ acknowledged
//!             small writes join the last draft                              ▲  │
//!             while it is not sent                                          └──┘ lost
//! ```
//!
//! A draft is a buffer with room for the header in front, so that data is copied once and a frame is one allocation. It
//! gets its number when it is first sent; so the handshake's frames, which pass the gate, come before data that waits.
//!
//! An agent can also be told to send again as AWS's does ([`Resends::OldestOnly`]): there is no window then, what can't be
//! sent counts as sent, and of what is lost only the oldest is sent again, by the agent's own clock.

use core::time::Duration;
use std::collections::VecDeque;

use bytes::{Buf, BufMut, Bytes, BytesMut};

use crate::Time;
use crate::message::{FIRST_SEQUENCE, FLAG_SYN, HEADER_ROOM, Header, MessageType};
use crate::payload::PayloadType;
use crate::rng::Rng;

use super::config::{Limits, Resends};
use super::flight::Flight;
use super::rtt::Rtt;
use super::tick::Tick;
use super::window::Window;

#[derive(Debug)]
pub(crate) struct Outbound {
    kind: MessageType,
    /// Set on frame 0: the agent does (agent/session/datachannel/datachannel.go, SendStreamDataMessage), the client
    /// does not (src/datachannel/streaming.go, SendInputDataMessage).
    first_flags: u64,
    payload_max: usize,
    queue_max: usize,
    frames_max: usize,
    drafts: VecDeque<Draft>,
    /// Handshake frames, which go out while the gate is shut.
    urgent: VecDeque<Draft>,
    queued: usize,
    next_sequence: i64,
    /// Set if only the oldest frame is sent again, at its ticks.
    tick: Option<Tick>,
    flight: Flight,
    window: Window,
    rtt: Rtt,
    /// Something waits that the window did not let out.
    limited: bool,
    /// Since when nothing was acknowledged although something was outstanding.
    pub(crate) stalled_since: Time,
    pub(crate) frames_sent: u64,
    pub(crate) retransmits: u64,
    pub(crate) acks_received: u64,
}

#[derive(Debug)]
struct Draft {
    kind: PayloadType,
    buffer: BytesMut,
}

impl Draft {
    fn new(kind: PayloadType, room: usize) -> Self {
        let mut buffer = BytesMut::with_capacity(HEADER_ROOM + room);
        buffer.put_bytes(0, HEADER_ROOM);
        Self { kind, buffer }
    }

    fn with(kind: PayloadType, body: &[u8]) -> Self {
        let mut draft = Self::new(kind, body.len());
        draft.buffer.put_slice(body);
        draft
    }

    fn length(&self) -> usize {
        self.buffer.len() - HEADER_ROOM
    }
}

impl Outbound {
    pub(crate) fn new(kind: MessageType, resends: Resends, limits: &Limits, now: Time) -> Self {
        let first_flags = if kind == MessageType::OutputStreamData { FLAG_SYN } else { 0 };
        Self {
            kind,
            first_flags,
            payload_max: limits.payload.max(1),
            queue_max: limits.send_buffer.max(1),
            frames_max: limits.window_frames.max(1),
            drafts: VecDeque::new(),
            urgent: VecDeque::new(),
            queued: 0,
            next_sequence: FIRST_SEQUENCE,
            tick: (resends == Resends::OldestOnly).then(|| Tick::starting(now)),
            flight: Flight::default(),
            window: Window::new(limits),
            rtt: Rtt::new(limits, now),
            limited: false,
            stalled_since: now,
            frames_sent: 0,
            retransmits: 0,
            acks_received: 0,
        }
    }

    pub(crate) fn capacity(&self) -> usize {
        self.queue_max.saturating_sub(self.queued)
    }

    pub(crate) fn queued(&self) -> usize {
        self.queued
    }

    pub(crate) fn flight(&self) -> &Flight {
        &self.flight
    }

    pub(crate) fn rtt(&self) -> &Rtt {
        &self.rtt
    }

    pub(crate) fn window(&self) -> usize {
        self.window.size()
    }

    /// Nothing waits to be sent, nothing waits to be acknowledged.
    pub(crate) fn is_drained(&self) -> bool {
        self.drafts.is_empty() && self.urgent.is_empty() && self.flight.outstanding() == 0
    }

    /// Whether the other end has everything that was not held back by the gate.
    pub(crate) fn is_response_acknowledged(&self) -> bool {
        self.urgent.is_empty() && self.flight.outstanding() == 0
    }

    /// Whether any frame was ever sent or is about to be, whatever the gate says.
    pub(crate) fn has_begun(&self) -> bool {
        self.next_sequence > FIRST_SEQUENCE || !self.urgent.is_empty()
    }

    /// Takes as much as the queue has room for.
    pub(crate) fn write(&mut self, kind: PayloadType, data: &mut Bytes) -> usize {
        let mut left = self.capacity().min(data.len());
        let taken = left;
        while left > 0 {
            let joins = self.drafts.back().is_some_and(|last| last.kind == kind && last.length() < self.payload_max);
            if !joins {
                self.drafts.push_back(Draft::new(kind, left.min(self.payload_max)));
            }
            let Some(draft) = self.drafts.back_mut() else { break };
            let part = left.min(self.payload_max - draft.length());
            draft.buffer.put_slice(&data[..part]);
            data.advance(part);
            left -= part;
        }
        self.queued += taken;
        taken
    }

    /// A small body that takes its place among the data but needs no room. Of several in a row only the last one counts
    /// if `replaces`.
    pub(crate) fn push(&mut self, kind: PayloadType, body: &[u8], replaces: bool) {
        if let Some(old) = self.drafts.pop_back_if(|last| replaces && last.kind == kind) {
            self.queued -= old.length();
        }
        self.queued += body.len();
        self.drafts.push_back(Draft::with(kind, body));
    }

    /// A body of the handshake.
    pub(crate) fn push_urgent(&mut self, kind: PayloadType, body: &[u8]) {
        self.urgent.push_back(Draft::with(kind, body));
    }

    /// The next frame of stream data: lost ones, then the handshake's, then data if the gate is open.
    pub(crate) fn poll(&mut self, now: Time, gate: bool, rng: &mut Rng) -> Option<Bytes> {
        if let Some(length) = self.flight.next_lost() {
            if !self.has_window(length) && !self.flight.is_probe() {
                self.limited = true;
                return None;
            }
            self.retransmits += 1;
            return self.flight.resend(now);
        }
        if let Some(draft) = self.urgent.pop_front() {
            return Some(self.send(now, draft, rng));
        }
        let next = self.drafts.front().filter(|_| gate).map(|draft| draft.buffer.len());
        self.limited = next.is_some_and(|length| !self.has_window(length));
        if self.limited || !self.has_span(next?) {
            return None;
        }
        let draft = self.drafts.pop_front()?;
        self.queued -= draft.length();
        Some(self.send(now, draft, rng))
    }

    /// A frame was acknowledged, perhaps once more.
    pub(crate) fn acknowledge(&mut self, now: Time, sequence: i64) {
        let used = self.limited || self.flight.in_flight() * 2 >= self.window.size();
        let Some(acked) = self.flight.acknowledge(now, sequence, &self.rtt) else { return };
        self.acks_received += 1;
        self.stalled_since = now;
        if let Some(sample) = acked.sample {
            self.rtt.sample(now, sample);
        }
        if self.tick.is_some() {
            return;
        }
        if self.is_agent() {
            self.flight.conclude(CLIENT_HOLDS);
        }
        self.window.acknowledged(&acked, &self.rtt, used, self.flight.next_transmission());
        if let Some(transmission) = self.flight.detect(now, &self.rtt) {
            self.window.lost(transmission, self.flight.next_transmission());
        }
    }

    /// Looks for frames that are due to be sent again.
    pub(crate) fn check(&mut self, now: Time) {
        if let Some(tick) = &mut self.tick {
            if tick.has_come(now) {
                self.flight.lose_oldest(now, self.rtt.rto());
            }
            return;
        }
        let lost = self.flight.detect(now, &self.rtt).max(self.flight.expire(now, &self.rtt));
        if let Some(transmission) = lost {
            self.window.lost(transmission, self.flight.next_transmission());
        }
    }

    /// The websocket came up again.
    pub(crate) fn reconnected(&mut self, now: Time) {
        if self.tick.is_none() {
            self.flight.lose_all(now);
        }
        self.skip_ticks(now);
        self.rtt.reconnected(now);
    }

    /// The clock has ticked while nothing could be sent, to no effect.
    pub(crate) fn skip_ticks(&mut self, now: Time) {
        if let Some(tick) = &mut self.tick {
            tick.has_come(now);
        }
    }

    /// Nothing can be sent, and AWS's agent does not care: whatever there is gets its number, and counts as sent.
    pub(crate) fn send_into_nothing(&mut self, now: Time, gate: bool, rng: &mut Rng) {
        while let Some(draft) = self.urgent.pop_front() {
            self.send(now, draft, rng);
        }
        while gate && self.has_span(0) {
            let Some(draft) = self.drafts.pop_front() else { return };
            self.queued -= draft.length();
            self.send(now, draft, rng);
        }
    }

    /// Acknowledgements are read again, after they were not for a while.
    pub(crate) fn listens_again(&mut self, now: Time, deaf_for: Duration) {
        self.stalled_since += deaf_for;
        self.flight.listens_again(now);
    }

    /// When [`Self::check`] will have something to say.
    pub(crate) fn deadline(&self) -> Option<Time> {
        match &self.tick {
            Some(tick) => (self.flight.outstanding() > 0).then(|| tick.next()),
            None => self.flight.deadline(&self.rtt),
        }
    }

    fn send(&mut self, now: Time, draft: Draft, rng: &mut Rng) -> Bytes {
        let Draft { kind, mut buffer } = draft;
        let sequence = self.next_sequence;
        Header {
            kind: &self.kind,
            created: now,
            sequence,
            flags: if sequence == FIRST_SEQUENCE { self.first_flags } else { 0 },
            id: rng.uuid(),
            payload_type: Some(kind),
        }
        .write(&mut buffer);
        let frame = buffer.freeze();
        if self.flight.outstanding() == 0 {
            self.stalled_since = now;
        }
        self.next_sequence += 1;
        self.frames_sent += 1;
        self.flight.push(now, sequence, frame.clone());
        frame
    }

    fn has_window(&self, length: usize) -> bool {
        let in_flight = self.flight.in_flight();
        self.tick.is_some() || in_flight == 0 || in_flight + length <= self.window.size()
    }

    /// A receiver holds back whatever follows a gap; it must not be asked for more than it has room for. Unless it only
    /// seems to have a gap: see [`CLIENT_HOLDS`].
    fn has_span(&self, length: usize) -> bool {
        if self.tick.is_some() {
            return self.flight.outstanding() < AGENT_REMEMBERS;
        }
        let frames = self.flight.span_frames();
        let fits = frames < self.frames_max && self.flight.span() + length <= self.window.max();
        frames == 0 || fits || (self.is_agent() && frames <= 2 * CLIENT_HOLDS && self.is_stuck())
    }

    /// The oldest frame has been sent again and again, and later ones are acknowledged all the same.
    fn is_stuck(&self) -> bool {
        self.flight.oldest().is_some_and(|(_, sends)| sends >= STUCK_SENDS)
            && self.flight.outstanding() * 2 < self.flight.span_frames()
    }

    fn is_agent(&self) -> bool {
        self.kind == MessageType::OutputStreamData
    }
}

/// More frames than any known client holds back after a gap (10,000 in AWS's own: IncomingMessageBufferCapacity in
/// src/config/config.go). If a frame is acknowledged that is so much later than another, that other one has arrived as
/// well, although its acknowledgement never came: AWS's client does not acknowledge duplicates
/// (src/datachannel/streaming.go, HandleOutputMessage), so that an acknowledgement that is lost is lost for good.
/// Agents do (handleStreamDataMessage), and hold 100,000 (agent/session/config/config.go).
pub(super) const CLIENT_HOLDS: usize = 40_000;
/// OutgoingMessageBufferCapacity in agent/session/config/config.go. What comes on top AWS's agent sends once and forgets;
/// here its writer waits.
const AGENT_REMEMBERS: usize = 100_000;
/// So often a frame is sent before it counts as one of those.
const STUCK_SENDS: u32 = 8;
