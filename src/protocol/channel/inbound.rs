//! Frames that come in: their order, their duplicates, and the acknowledgements they are owed.
//!
//! ```text
//!            sequence = expected      deliver, acknowledge, then look into the reorder buffer
//!            sequence > expected      hold and acknowledge; no room: drop, and the peer sends it again
//!            sequence < expected      acknowledge again: the peer has missed it
//! ```
//!
//! This is the agent's rule (agent/session/datachannel/datachannel.go, handleStreamDataMessage). The client of AWS
//! leaves duplicates unacknowledged (src/datachannel/streaming.go, HandleOutputMessage), and with that one lost
//! acknowledgement stalls the agent for good: it sends only its oldest frame again (ResendStreamDataMessageScheduler),
//! which then never goes away (observed). Worse, the agent forgets frames beyond 100,000 unacknowledged ones
//! (AddDataToOutgoingMessageBuffer, OutgoingMessageBufferCapacity). So acknowledgements are owed the moment a frame is
//! here, never given up, and after a resume those that may have been on their way when the websocket went are sent
//! again.

use core::time::Duration;
use std::collections::{BTreeMap, VecDeque};

use bytes::{BufMut, Bytes, BytesMut};
use uuid::Uuid;

use crate::Time;
use crate::message::{FIRST_SEQUENCE, FLAG_FIN, FLAG_SYN, HEADER_ROOM, Header, Message, MessageType};
use crate::payload::{Acknowledge, PayloadType};
use crate::rng::Rng;

use super::config::{Limits, Resends};
use super::outbound::CLIENT_HOLDS;
use super::tick;

#[derive(Debug)]
pub(crate) struct Inbound {
    expected: i64,
    held: BTreeMap<i64, Frame>,
    held_bytes: usize,
    frames_max: usize,
    bytes_max: usize,
    owed: VecDeque<Ack>,
    /// Until when the ones that are owed may wait; `None`: they go now.
    wait_until: Option<Time>,
    delay: Duration,
    /// Set in the agent of AWS.
    by_one: Option<ByOne>,
    recent: VecDeque<(Time, Ack)>,
    last_duplicate: Option<(Time, i64)>,
    pub(crate) received: u64,
    pub(crate) duplicates: u64,
    pub(crate) overflows: u64,
    pub(crate) acks_sent: u64,
}

/// A frame of stream data, as far as it matters here.
#[derive(Debug)]
pub(crate) struct Frame {
    pub(crate) sequence: i64,
    pub(crate) kind: PayloadType,
    pub(crate) payload: Bytes,
}

#[derive(Clone, Copy, Debug)]
struct Ack {
    sequence: i64,
    id: Uuid,
}

/// One frame after the other, as AWS's agent takes them (agent/session/datachannel/datachannel.go,
/// handleStreamDataMessage): delivered, then acknowledged, and only then no longer expected. Nothing that could not be
/// written is written later.
#[derive(Debug, Default)]
struct ByOne {
    /// Read, and not looked at before the acknowledgement of the last one is written.
    unread: VecDeque<Message>,
    /// The expected frame is delivered, but its acknowledgement is not written.
    delivered: bool,
}

/// What to do with a frame that came in.
#[derive(Debug)]
pub(crate) enum Arrival {
    /// It is the one: deliver it, then call [`Inbound::advance`], or do not and it will come again.
    Expected(Frame),
    /// Held, acknowledged again or dropped; nothing to do.
    Handled,
}

impl Inbound {
    pub(crate) fn new(resends: Resends, limits: &Limits) -> Self {
        Self {
            expected: FIRST_SEQUENCE,
            held: BTreeMap::new(),
            held_bytes: 0,
            frames_max: limits.reorder_frames.min(REORDER_MAX),
            bytes_max: limits.reorder_bytes,
            owed: VecDeque::new(),
            wait_until: None,
            delay: limits.ack_delay,
            by_one: (resends == Resends::OldestOnly).then(ByOne::default),
            recent: VecDeque::new(),
            last_duplicate: None,
            received: 0,
            duplicates: 0,
            overflows: 0,
            acks_sent: 0,
        }
    }

    /// AWS's agent: keeps a frame back while the last one is not acknowledged.
    pub(crate) fn wait_in_line(&mut self, message: Message) -> Option<Message> {
        match &mut self.by_one {
            Some(by_one) if !self.owed.is_empty() => {
                by_one.unread.push_back(message);
                None
            }
            _ => Some(message),
        }
    }

    /// AWS's agent: the next one in line, once the last one is acknowledged.
    pub(crate) fn next_in_line(&mut self) -> Option<Message> {
        if self.owed.is_empty() { self.by_one.as_mut()?.unread.pop_front() } else { None }
    }

    /// AWS's agent: whether the frame that was delivered is acknowledged by now and another one expected.
    pub(crate) fn moves_on(&mut self) -> bool {
        let acknowledged = self.owed.is_empty();
        let Some(by_one) = self.by_one.as_mut().filter(|by_one| by_one.delivered && acknowledged) else { return false };
        by_one.delivered = false;
        self.expect_next();
        true
    }

    /// The websocket is gone. What AWS's agent has read and not acknowledged is as if it had never come, although the first
    /// of it is delivered: unless it was the handshake's, of which there is one.
    pub(crate) fn disconnected(&mut self, handshake: bool) {
        let Some(by_one) = &mut self.by_one else { return };
        by_one.unread.clear();
        let acknowledged = self.owed.is_empty();
        self.owed.clear();
        if core::mem::take(&mut by_one.delivered) && (acknowledged || handshake) {
            self.expect_next();
        }
    }

    /// Sorts a frame in.
    pub(crate) fn arrive(&mut self, now: Time, message: Message) -> Arrival {
        let ack = Ack { sequence: message.sequence, id: message.id };
        let frame = Frame {
            sequence: message.sequence,
            kind: message.payload_type.unwrap_or(PayloadType::Unset),
            payload: message.payload,
        };
        // exactly the next: handleStreamDataMessage, HandleOutputMessage
        if frame.sequence == self.expected {
            return Arrival::Expected(frame);
        }
        if frame.sequence < self.expected || self.held.contains_key(&frame.sequence) {
            // the agent does so, the client does not: see the top
            self.duplicates += 1;
            self.owe(ack);
            self.notice_duplicate(now, ack.sequence);
        } else if self.held.len() < self.frames_max && self.held_bytes + frame.payload.len() <= self.bytes_max {
            self.owe(ack);
            self.held_bytes += frame.payload.len();
            self.held.insert(frame.sequence, frame);
        } else {
            // both programs drop what does not fit, unacknowledged, but go only by the number of frames
            self.overflows += 1;
        }
        Arrival::Handled
    }

    /// The expected frame was delivered: it is acknowledged, and the next one is expected.
    pub(crate) fn advance(&mut self, now: Time, id: Option<Uuid>) {
        if let Some(id) = id {
            if self.owed.is_empty() {
                self.wait_until = Some(now + self.delay);
            }
            self.owed.push_back(Ack { sequence: self.expected, id });
            if self.owed.len() >= ACKS_AT_ONCE {
                self.wait_until = None;
            }
            if let Some(by_one) = &mut self.by_one {
                by_one.delivered = true;
                return;
            }
        }
        self.expect_next();
    }

    fn expect_next(&mut self) {
        self.expected = self.expected.saturating_add(1);
        self.received += 1;
    }

    /// The expected frame, if it is held: it was acknowledged already.
    pub(crate) fn take_held(&mut self) -> Option<Frame> {
        let frame = self.held.remove(&self.expected)?;
        self.held_bytes -= frame.payload.len();
        Some(frame)
    }

    /// Puts back what [`Self::take_held`] gave, because nobody is ready for it.
    pub(crate) fn put_back(&mut self, frame: Frame) {
        self.held_bytes += frame.payload.len();
        self.held.insert(frame.sequence, frame);
    }

    /// The next frame in order.
    pub(crate) fn expected(&self) -> i64 {
        self.expected
    }

    /// The first frame that waits for an earlier one.
    pub(crate) fn first_held(&self) -> Option<i64> {
        self.held.first_key_value().map(|(sequence, _)| *sequence)
    }

    pub(crate) fn held(&self) -> usize {
        self.held.len()
    }

    /// Acknowledgements that wait to be written, and frames that wait for that.
    pub(crate) fn owed(&self) -> usize {
        self.owed.len() + self.by_one.as_ref().map_or(0, |by_one| by_one.unread.len())
    }

    /// Until when the acknowledgements that are owed may wait.
    pub(crate) fn ack_deadline(&self) -> Option<Time> {
        self.wait_until.filter(|_| !self.owed.is_empty())
    }

    /// The deadline may have passed: then what is owed goes, as soon as the websocket takes it.
    pub(crate) fn check(&mut self, now: Time) {
        if self.wait_until.is_some_and(|until| until <= now) {
            self.wait_until = None;
        }
    }

    /// The next acknowledgement as a websocket message. `of` is the message type of what is acknowledged.
    pub(crate) fn poll_ack(&mut self, now: Time, of: &MessageType, rng: &mut Rng) -> Option<Bytes> {
        self.check(now);
        if self.wait_until.is_some() {
            return None;
        }
        let ack = self.owed.pop_front()?;
        self.remember(now, ack);
        self.acks_sent += 1;
        let mut message = BytesMut::with_capacity(HEADER_ROOM + Acknowledge::ROOM);
        message.put_bytes(0, HEADER_ROOM);
        Acknowledge { kind: of.clone(), id: ack.id, sequence: ack.sequence, sequential: true }.write(&mut message);
        // both programs: sendAgentMessage of the agent, SerializeClientMessageWithAcknowledgeContent of the client
        Header {
            kind: &MessageType::Acknowledge,
            created: now,
            sequence: 0,
            flags: FLAG_SYN | FLAG_FIN,
            id: rng.uuid(),
            payload_type: Some(PayloadType::Unset),
        }
        .write(&mut message);
        Some(message.freeze())
    }

    /// The websocket is back after it went at `lost_at`: what was sent shortly before may not have arrived.
    pub(crate) fn reconnected(&mut self, lost_at: Time) {
        let doubtful = self.recent.drain(..).filter(|(at, _)| *at + DOUBTFUL >= lost_at);
        let mut again: VecDeque<Ack> = doubtful.map(|(_, ack)| ack).collect();
        again.append(&mut self.owed);
        self.owed = again;
        self.wait_until = None;
        self.last_duplicate = None;
    }

    /// A peer that sends only its oldest frame again, ten times a second, and now the very next one, has lost not one
    /// acknowledgement but a row of them: give it all that we remember at once. Two that come sooner than half of the
    /// pause between its looks were not sent by that loop.
    fn notice_duplicate(&mut self, now: Time, sequence: i64) {
        if let Some((at, last)) = self.last_duplicate {
            let in_a_row = last.checked_add(1) == Some(sequence);
            if in_a_row && now.saturating_sub(at) >= tick::SLEEP / 2 {
                self.owed.extend(self.recent.drain(..).map(|(_, ack)| ack).filter(|ack| ack.sequence > sequence));
            }
        }
        self.last_duplicate = Some((now, sequence));
    }

    /// Something is out of order: the peer waits for this one.
    fn owe(&mut self, ack: Ack) {
        self.owed.push_back(ack);
        self.wait_until = None;
    }

    fn remember(&mut self, now: Time, ack: Ack) {
        if self.by_one.is_some() {
            return;
        }
        while self.recent.front().is_some_and(|(at, _)| self.recent.len() >= RECENT_MAX || *at + DOUBTFUL < now) {
            self.recent.pop_front();
        }
        if self.recent.capacity() > RECENT_IDLE && self.recent.len() < RECENT_IDLE / 4 {
            self.recent.shrink_to(RECENT_IDLE);
        }
        self.recent.push_back((now, ack));
    }
}

/// So many acknowledgements do not wait for more. TCP waits for a second one (RFC 1122, section 4.2.3.2).
const ACKS_AT_ONCE: usize = 4;
/// What an agent may count on; see `outbound`.
const REORDER_MAX: usize = CLIENT_HOLDS;
/// Acknowledgements older than this when the websocket went have surely arrived.
const DOUBTFUL: Duration = Duration::from_secs(30);
/// So many acknowledgements are remembered at most.
const RECENT_MAX: usize = 4096;
/// Room that an idle channel may keep.
const RECENT_IDLE: usize = 128;
