//! The multiplexer: streams, their turns, the budget, and signs of life.

use core::time::Duration;
use std::collections::{HashMap, VecDeque};

use bytes::{Buf, BufMut, Bytes, BytesMut};

use crate::Time;

use super::frame::{Command, FrameError, Header};
use super::stream::{Read, Stream, StreamId, weight};

/// Many streams over one stream of bytes. It has no socket and no clock, like the rest of this crate.
#[derive(Debug)]
pub struct Mux {
    role: MuxRole,
    limits: MuxLimits,
    streams: HashMap<StreamId, Stream>,
    next_id: Option<u32>,
    /// Frames without data, which go first.
    urgent: VecDeque<Header>,
    /// Streams with something to send, each once, in turn.
    round: VecDeque<StreamId>,
    events: VecDeque<MuxEvent>,
    parser: Parser,
    /// Weight of everything received and not read.
    unread: usize,
    last_heard: Time,
    /// Nothing was heard for the whole timeout: if there is still nothing by then, the peer is lost.
    in_doubt_until: Option<Time>,
    last_nop: Time,
    error: Option<MuxError>,
    stats: MuxStats,
}

/// Which end of the multiplexer this is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MuxRole {
    /// The client's end: its streams have odd numbers from 3.
    Client,
    /// The agent's end: its streams would have even numbers from 2.
    Server,
}

/// How much a multiplexer may hold.
#[derive(Clone, Debug)]
pub struct MuxLimits {
    /// Most bytes of data in a frame; at most 65,535. The agent cuts at 32,768 (MaxFrameSize of DefaultConfig in smux's
    /// mux.go); less lets the streams take shorter turns.
    pub frame: usize,
    /// Bytes that a stream holds ahead of what is sent.
    pub send_buffer: usize,
    /// Bytes received and not read, all streams together, beyond which [`Mux::wants_input`] is false.
    pub receive_budget: usize,
    /// Streams at once; further ones of the peer are finished at once. As many as smux has room for before they are
    /// accepted (defaultAcceptBacklog in its session.go), where it stops reading instead.
    pub streams: usize,
    /// Signs of life. `None` is right for clients after 1.2.331.0 with agents after 3.1.1511.0 (see
    /// [`crate::version`]): they count as traffic and so keep a session from becoming idle (the agent's port_mux.go,
    /// initialize).
    pub keepalive: Option<Keepalive>,
}

impl Default for MuxLimits {
    fn default() -> Self {
        Self {
            frame: 16 << 10,
            send_buffer: 64 << 10,
            receive_budget: MAX_RECEIVE_BUFFER,
            streams: ACCEPT_BACKLOG,
            keepalive: None,
        }
    }
}

/// Signs of life: how often to give one, and how long to do without.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keepalive {
    /// Give one so often.
    pub interval: Duration,
    /// Fail if nothing at all came for so long.
    pub timeout: Duration,
}

impl Default for Keepalive {
    /// What agents do unless the client is new enough.
    fn default() -> Self {
        Self { interval: KEEP_ALIVE_INTERVAL, timeout: KEEP_ALIVE_TIMEOUT }
    }
}

/// News of the streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MuxEvent {
    /// The peer has opened a stream.
    Opened(StreamId),
    /// There is something to read, or the end. Read until [`Read::Empty`] or [`Read::End`]: only then is it sure to come
    /// again.
    Readable(StreamId),
    /// A write was cut short, and now there is room again.
    Writable(StreamId),
}

/// The multiplexer is of no more use: every later call returns the same error.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MuxError {
    /// Nothing came for too long although the peer should give signs of life.
    #[error("the multiplexer's peer gave no sign of life for {} s", .0.as_secs())]
    Lost(Duration),
    /// The peer sent something else than frames.
    #[error(transparent)]
    PeerMisbehaved(#[from] FrameError),
}

/// A multiplexer's figures.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MuxStats {
    /// Streams that exist now.
    pub streams: usize,
    /// Streams opened by us.
    pub opened: u64,
    /// Streams opened by the peer.
    pub accepted: u64,
    /// Streams of the peer refused because there were too many.
    pub refused: u64,
    /// Bytes received and not yet read, with a little for every piece.
    pub unread: usize,
}

/// Where in the peer's bytes we are.
#[derive(Debug)]
enum Parser {
    Header { bytes: [u8; Header::LENGTH], filled: usize },
    Body { stream: StreamId, left: usize },
}

impl Parser {
    const START: Self = Self::Header { bytes: [0; Header::LENGTH], filled: 0 };
}

impl Mux {
    /// A multiplexer without streams.
    pub fn new(role: MuxRole, limits: MuxLimits, now: Time) -> Self {
        let first = match role {
            MuxRole::Client => FIRST_OF_CLIENT,
            MuxRole::Server => FIRST_OF_SERVER,
        };
        Self {
            role,
            limits,
            streams: HashMap::new(),
            next_id: Some(first),
            urgent: VecDeque::new(),
            round: VecDeque::new(),
            events: VecDeque::new(),
            parser: Parser::START,
            unread: 0,
            last_heard: now,
            in_doubt_until: None,
            last_nop: now,
            error: None,
            stats: MuxStats::default(),
        }
    }

    /// Which end this is.
    pub fn role(&self) -> MuxRole {
        self.role
    }

    // === What the channel and the clock did ===

    /// Bytes of the peer came, cut anywhere.
    ///
    /// # Errors
    ///
    /// The [`MuxError`] that ended the multiplexer, now or before.
    pub fn handle_input(&mut self, now: Time, mut input: Bytes) -> Result<(), MuxError> {
        self.check_error()?;
        self.last_heard = now;
        self.in_doubt_until = None;
        while !input.is_empty() {
            match &mut self.parser {
                Parser::Header { bytes, filled } => {
                    let part = input.len().min(Header::LENGTH - *filled);
                    bytes[*filled..*filled + part].copy_from_slice(&input[..part]);
                    *filled += part;
                    input.advance(part);
                    if *filled == Header::LENGTH {
                        let header = Header::decode(*bytes).map_err(|error| self.fail(error.into()))?;
                        self.handle_header(header);
                    }
                }
                Parser::Body { stream, left } => {
                    let (stream, part) = (*stream, input.len().min(*left));
                    *left -= part;
                    if *left == 0 {
                        self.parser = Parser::START;
                    }
                    self.handle_data(stream, input.split_to(part));
                }
            }
        }
        Ok(())
    }

    /// The time that [`Self::poll_timeout`] gave has come.
    ///
    /// # Errors
    ///
    /// The [`MuxError`] that ended the multiplexer, now or before: a peer that gave no sign of life is one.
    pub fn handle_timeout(&mut self, now: Time) -> Result<(), MuxError> {
        self.check_error()?;
        let Some(keepalive) = self.limits.keepalive else { return Ok(()) };
        if now >= self.last_nop + keepalive.interval {
            self.last_nop = now;
            // smux's session.go, keepalive
            let nop = Header { command: Command::Nop, length: 0, stream: StreamId::new(NO_STREAM) };
            if self.urgent.back() != Some(&nop) {
                self.urgent.push_back(nop);
            }
        }
        // Whoever does not read cannot complain of silence (smux's session.go, keepalive). There it is looked at once per
        // timeout, so that silence may last for nearly two. Here the time runs from the last byte, and then an interval more:
        // on a busy machine the clock is often heard before what came in the meantime.
        if !self.wants_input() || now < self.last_heard + keepalive.timeout {
            return Ok(());
        }
        match self.in_doubt_until {
            None => self.in_doubt_until = Some(now + keepalive.interval),
            Some(until) if now >= until => {
                return Err(self.fail(MuxError::Lost(now.saturating_sub(self.last_heard))));
            }
            Some(_) => {}
        }
        Ok(())
    }

    // === Commands ===

    /// Opens a stream. `None` if there are too many, or the numbers are used up, or the multiplexer has failed.
    pub fn open(&mut self) -> Option<StreamId> {
        if self.error.is_some() || self.streams.len() >= self.limits.streams {
            return None;
        }
        // a peer may have taken a number of ours; there are only so many streams to step over
        let id = loop {
            let number = self.next_id?;
            // Numbers are not used again: smux's session.go, OpenStream.
            self.next_id = number.checked_add(ID_STEP);
            let id = StreamId::new(number);
            if !self.streams.contains_key(&id) {
                break id;
            }
        };
        self.streams.insert(id, Stream::default());
        self.urgent.push_back(Header { command: Command::Syn, length: 0, stream: id });
        self.stats.opened += 1;
        Some(id)
    }

    /// Takes as much of `data` as the stream has room for, off its front, and returns how much. A stream that is
    /// finished, or does not exist, takes nothing. If not all fits, there will be a [`MuxEvent::Writable`].
    pub fn write(&mut self, id: StreamId, data: &mut Bytes) -> usize {
        let Some(stream) = self.streams.get_mut(&id).filter(|stream| !stream.finished) else { return 0 };
        let room = self.limits.send_buffer.saturating_sub(stream.outgoing_bytes).min(data.len());
        stream.blocked = room < data.len();
        if room > 0 {
            stream.queue(data.split_to(room));
            self.schedule(id);
        }
        room
    }

    /// The next bytes of a stream. Frees their part of the budget.
    pub fn read(&mut self, id: StreamId) -> Read {
        let Some(stream) = self.streams.get_mut(&id) else { return Read::End };
        let read = stream.read();
        if let Read::Data(data) = &read {
            self.unread -= weight(data);
        }
        self.forget_if_done(id);
        read
    }

    /// Nothing more will be written to the stream; what was written is sent first. Its other direction goes on, if the
    /// peer lets it.
    pub fn finish(&mut self, id: StreamId) {
        if let Some(stream) = self.streams.get_mut(&id) {
            stream.finished = true;
            self.schedule(id);
        }
    }

    /// Ends a stream at once, in both directions: what was not sent or not read is discarded.
    pub fn reset(&mut self, id: StreamId) {
        let Some(mut stream) = self.streams.remove(&id) else { return };
        self.unread -= stream.discard();
        if !stream.fin_sent {
            self.urgent.push_back(Header { command: Command::Fin, length: 0, stream: id });
        }
    }

    // === What must be sent, slept on, told ===

    /// The next frame for the peer. Streams take turns.
    pub fn poll_output(&mut self) -> Option<Bytes> {
        if self.error.is_some() {
            return None;
        }
        if let Some(header) = self.urgent.pop_front() {
            return Some(Bytes::copy_from_slice(&header.encode()));
        }
        loop {
            let id = self.round.pop_front()?;
            let Some(stream) = self.streams.get_mut(&id) else { continue };
            stream.scheduled = false;
            let frame = Self::next_frame(id, stream, &self.limits);
            if stream.blocked && stream.outgoing_bytes < self.limits.send_buffer {
                stream.blocked = false;
                self.events.push_back(MuxEvent::Writable(id));
            }
            if stream.has_output() {
                self.schedule(id);
            }
            self.forget_if_done(id);
            if frame.is_some() {
                return frame;
            }
        }
    }

    /// When [`Self::handle_timeout`] must be called at the latest.
    pub fn poll_timeout(&self) -> Option<Time> {
        let keepalive = self.limits.keepalive.filter(|_| self.error.is_none())?;
        let nop = self.last_nop + keepalive.interval;
        let silence = self.in_doubt_until.unwrap_or(self.last_heard + keepalive.timeout);
        Some(if self.wants_input() { nop.min(silence) } else { nop })
    }

    /// The next piece of news.
    pub fn poll_event(&mut self) -> Option<MuxEvent> {
        self.events.pop_front()
    }

    // === How it stands ===

    /// Whether the budget has room. While it is false, do not poll the data channel's events: it then holds back the peer.
    pub fn wants_input(&self) -> bool {
        self.unread < self.limits.receive_budget
    }

    /// Whether everything written has been handed out by [`Self::poll_output`].
    pub fn is_flushed(&self) -> bool {
        self.urgent.is_empty() && self.round.is_empty()
    }

    /// How much a stream would take now.
    pub fn send_capacity(&self, id: StreamId) -> usize {
        let stream = self.streams.get(&id).filter(|stream| !stream.finished);
        stream.map_or(0, |stream| self.limits.send_buffer.saturating_sub(stream.outgoing_bytes))
    }

    /// How much of the budget what waits to be read of a stream takes.
    pub fn backlog(&self, id: StreamId) -> usize {
        self.streams.get(&id).map_or(0, |stream| stream.backlog)
    }

    /// Whether [`Self::read`] would give something: bytes, or the end.
    pub fn is_readable(&self, id: StreamId) -> bool {
        self.streams.get(&id).is_none_or(|stream| !stream.is_empty() || stream.peer_finished)
    }

    /// The figures.
    pub fn stats(&self) -> MuxStats {
        MuxStats { streams: self.streams.len(), unread: self.unread, ..self.stats }
    }

    // === One frame ===

    fn handle_header(&mut self, header: Header) {
        self.parser = match header.length {
            0 => Parser::START,
            length => Parser::Body { stream: header.stream, left: length.into() },
        };
        match header.command {
            Command::Syn => self.handle_syn(header.stream),
            Command::Fin => self.handle_fin(header.stream),
            Command::Nop | Command::Psh => {}
        }
    }

    /// A second SYN means nothing, and a number's parity is not looked at: smux's session.go, recvLoop.
    fn handle_syn(&mut self, id: StreamId) {
        if self.streams.contains_key(&id) {
            return;
        }
        if self.streams.len() >= self.limits.streams {
            self.stats.refused += 1;
            // as often as it is asked, but with bounded memory
            if self.urgent.len() < self.limits.streams {
                self.urgent.push_back(Header { command: Command::Fin, length: 0, stream: id });
            }
            return;
        }
        self.streams.insert(id, Stream::default());
        self.stats.accepted += 1;
        self.events.push_back(MuxEvent::Opened(id));
    }

    fn handle_fin(&mut self, id: StreamId) {
        let Some(stream) = self.streams.get_mut(&id).filter(|stream| !stream.peer_finished) else { return };
        stream.peer_finished = true;
        if stream.is_empty() {
            self.events.push_back(MuxEvent::Readable(id));
        }
    }

    /// Data of a stream that does not exist (any more) is dropped, as smux does (session.go, recvLoop).
    fn handle_data(&mut self, id: StreamId, data: Bytes) {
        let Some(stream) = self.streams.get_mut(&id).filter(|stream| !stream.peer_finished) else { return };
        self.unread += weight(&data);
        if stream.receive(data) {
            self.events.push_back(MuxEvent::Readable(id));
        }
    }

    fn next_frame(id: StreamId, stream: &mut Stream, limits: &MuxLimits) -> Option<Bytes> {
        if stream.outgoing_bytes == 0 {
            if !stream.finished || stream.fin_sent {
                return None;
            }
            stream.fin_sent = true;
            let header = Header { command: Command::Fin, length: 0, stream: id };
            return Some(Bytes::copy_from_slice(&header.encode()));
        }
        let length = limits.frame.clamp(1, MAX_FRAME).min(stream.outgoing_bytes);
        let wire_length = u16::try_from(length).unwrap_or(u16::MAX);
        let mut frame = BytesMut::with_capacity(Header::LENGTH + length);
        frame.put_slice(&Header { command: Command::Psh, length: wire_length, stream: id }.encode());
        stream.take(length, &mut frame);
        Some(frame.freeze())
    }

    fn schedule(&mut self, id: StreamId) {
        if let Some(stream) = self.streams.get_mut(&id).filter(|stream| !stream.scheduled) {
            stream.scheduled = true;
            self.round.push_back(id);
        }
    }

    fn forget_if_done(&mut self, id: StreamId) {
        if self.streams.get(&id).is_some_and(Stream::is_done) {
            self.streams.remove(&id);
        }
    }

    fn fail(&mut self, error: MuxError) -> MuxError {
        self.error.get_or_insert(error).clone()
    }

    fn check_error(&self) -> Result<(), MuxError> {
        self.error.clone().map_or(Ok(()), Err)
    }
}

/// Bytes of data that the header can tell; also VerifyConfig in smux's mux.go.
const MAX_FRAME: usize = u16::MAX as usize;
/// Bytes, all streams together: MaxReceiveBuffer of DefaultConfig in smux's mux.go.
const MAX_RECEIVE_BUFFER: usize = 4 << 20;
/// Streams: defaultAcceptBacklog in smux's session.go.
const ACCEPT_BACKLOG: usize = 1024;
/// KeepAliveInterval and KeepAliveTimeout of the same DefaultConfig.
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(10);
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(30);
// smux's session.go: newSession starts with 1 and 0, and OpenStream adds before it takes.
const FIRST_OF_CLIENT: u32 = 3;
const FIRST_OF_SERVER: u32 = 2;
const ID_STEP: u32 = 2;
/// The stream of a NOP: smux's session.go, keepalive.
const NO_STREAM: u32 = 0;
